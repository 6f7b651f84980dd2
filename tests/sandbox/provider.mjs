// Owns: one sandbox for a test file, and short ways to talk to it. Not a test itself.

import { after, before } from "node:test";
import { startSandbox } from "../../sandbox/server.mjs";

export function useSandbox() {
  const at = { key: "sk-test" };
  before(async () => { at.sandbox = await startSandbox(); });
  after(() => at.sandbox.close());

  at.post = (path, body, { key = at.key, signal } = {}) => fetch(at.sandbox.url + path, {
    method: "POST", signal, redirect: "manual",
    headers: { "content-type": "application/json", ...(key && { authorization: `Bearer ${key}` }) },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  at.chat = (body, path = "/v1/chat/completions") => at.post(path, { model: "gpt-5.4-mini", ...body });
  at.say = async (...messages) => {
    const turns = messages.map((message) => (typeof message === "string" ? { role: "user", content: message } : message));
    const reply = await (await at.chat({ messages: turns })).json();
    return reply.choices[0].message.content;
  };
  at.respond = (body, path = "/v1/responses") => at.post(path, { model: "gpt-5.4-mini", ...body });
  return at;
}

export const user = (content) => ({ role: "user", content });
export const system = (content) => ({ role: "system", content });
export const assistant = (content) => ({ role: "assistant", content });

export const helloWorld = {
  type: "function",
  function: { name: "helloWorld", parameters: { type: "object", properties: { name: { type: "string" } }, required: ["name"] } },
};

/** The data of every server-sent event; "[DONE]" stays a string. */
export const events = (text) => text.split(/\r?\n\r?\n/).flatMap((frame) => {
  const data = frame.split(/\r?\n/).filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n");
  return data === "" ? [] : [data === "[DONE]" ? data : JSON.parse(data)];
});
