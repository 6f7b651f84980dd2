// Owns: one sandbox for a test file, and short ways to talk to it. Not a test itself.

import assert from "node:assert/strict";
import { after, before } from "node:test";
import { startSandbox } from "../../sandbox/server.mjs";

export function useSandbox() {
  const at = { key: "sk-test" };
  before(async () => {
    at.sandbox = await startSandbox();
  });
  after(() => at.sandbox.close());

  at.post = (path, body, { key = at.key, signal, headers } = {}) =>
    fetch(at.sandbox.url + path, {
      method: "POST",
      signal,
      redirect: "manual",
      headers: {
        "content-type": "application/json",
        ...(key && { authorization: `Bearer ${key}` }),
        ...headers,
      },
      body: typeof body === "string" ? body : JSON.stringify(body),
    });
  at.chat = (body, path = "/v1/chat/completions") => at.post(path, { model: "gpt-5.4-mini", ...body });
  at.say = async (...messages) => {
    const turns = messages.map((message) =>
      typeof message === "string" ? { role: "user", content: message } : message,
    );
    const reply = await (await at.chat({ messages: turns })).json();
    return reply.choices[0].message.content;
  };
  at.respond = (body, path = "/v1/responses") => at.post(path, { model: "gpt-5.4-mini", ...body });
  at.message = (body, { path = "/v1/messages", headers = at.anthropic } = {}) =>
    at.post(path, { model: "claude-sonnet-4-5", max_tokens: 2000, ...body }, { key: null, headers });
  at.anthropic = { "x-api-key": "sk-ant-test", "anthropic-version": "2023-06-01" };
  at.refuses = async (body, told, more) => {
    const response = await at.message(body, more);
    const { type, error, request_id: id } = await response.json();
    assert.deepEqual(
      [response.status, type, error.type, id],
      [400, "error", "invalid_request_error", response.headers.get("request-id")],
      `${JSON.stringify(body).slice(0, 300)} ${error.message}`,
    );
    assert.match(error.message, told);
  };
  return at;
}

export const user = (content) => ({ role: "user", content });
export const system = (content) => ({ role: "system", content });
export const assistant = (content) => ({ role: "assistant", content });

export const helloWorld = {
  type: "function",
  function: {
    name: "helloWorld",
    parameters: { type: "object", properties: { name: { type: "string" } }, required: ["name"] },
  },
};

/** The data of every server-sent event; "[DONE]" stays a string. */
export const events = (text) =>
  text.split(/\r?\n\r?\n/).flatMap((frame) => {
    const data = frame
      .split(/\r?\n/)
      .filter((line) => line.startsWith("data: "))
      .map((line) => line.slice(6))
      .join("\n");
    return data === "" ? [] : [data === "[DONE]" ? data : JSON.parse(data)];
  });

/** The Anthropic message a reader puts together from a stream. */
export function assembled(all) {
  const message = structuredClone(all[0].message),
    json = {};
  for (const { type, index, content_block: block, delta, usage } of all) {
    if (type === "content_block_start") message.content[index] = block;
    const to = message.content[index];
    if (delta?.type === "text_delta") to.text += delta.text;
    if (delta?.type === "thinking_delta") to.thinking += delta.thinking;
    if (delta?.type === "signature_delta") to.signature = delta.signature;
    if (delta?.type === "input_json_delta") json[index] = (json[index] ?? "") + delta.partial_json;
    if (type === "content_block_stop" && json[index]) to.input = JSON.parse(json[index]);
    if (type === "message_delta") Object.assign(message, delta, { usage: { ...message.usage, ...usage } });
  }
  return message;
}

export const sameButIds = (message) => ({
  ...message,
  id: 0,
  content: message.content.map((block) => ({ ...block, ...(block.id && { id: 0 }) })),
});
