// Owns how the end-to-end tests talk to a gateway and look at what it keeps: turns, stored messages, prompts, waiting.
// Invariant: nothing here asserts more than that a request was answered; what an answer must be is the tests' business.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import OpenAI from "openai";

export const MODEL = "openai/gpt-5.4-mini";

/** Waits for a condition; `condition` gives something truthy, or throws or gives nothing as long as it does not hold. */
export async function until(condition, what, within = 60_000) {
  const deadline = performance.now() + within;
  for (;;) {
    let failure = "";
    try {
      const found = await condition();
      if (found) return found;
    } catch (error) {
      failure = `: ${error.message}`;
    }
    if (performance.now() > deadline) assert.fail(`waited ${within} ms in vain for this: ${what}${failure}`);
    await sleep(20);
  }
}

/** A thread id that no other test uses. */
export const newThread = () => `thread-${randomUUID()}`;

export const user = (content) => ({ role: "user", content });
export const assistant = (content) => ({ role: "assistant", content });
export const system = (content) => ({ role: "system", content });

/** What the sandbox says to a text that no rule of its applies to. */
export const echo = (text) => assistant(`You said: ${text}`);

/** The official client, without its own retries unless told otherwise. */
export const openai = (gateway, options = {}) =>
  new OpenAI({ apiKey: gateway.key, baseURL: gateway.baseURL, maxRetries: 0, ...options });

export const memoryHeaders = (thread, resource = "ann") => ({
  "x-thread-id": thread,
  "x-resource-id": resource,
});

/** Sends a body to the gateway with fetch; `thread` switches memory on. */
export function post(gateway, path, body, { thread, resource, key = gateway.key, headers, signal } = {}) {
  return fetch(gateway.baseURL + path, {
    method: "POST",
    headers: {
      authorization: `Bearer ${key}`,
      "content-type": "application/json",
      ...(thread !== undefined && memoryHeaders(thread, resource)),
      ...headers,
    },
    body: typeof body === "string" ? body : JSON.stringify(body),
    signal,
  });
}

/**
 * One chat turn by the official client. `said` is a text or a list of messages. Gives the answer's `message` and `text`,
 * and the `headers`.
 */
export async function chat(gateway, thread, said, { resource, key, headers, retries = 0, ...body } = {}) {
  const messages = typeof said === "string" ? [user(said)] : said;
  const client = openai(gateway, { maxRetries: retries, ...(key && { apiKey: key }) });
  const { data, response } = await client.chat.completions
    .create(
      { model: MODEL, messages, ...body },
      { headers: { ...(thread !== undefined && memoryHeaders(thread, resource)), ...headers } },
    )
    .withResponse();
  const { message } = data.choices[0];
  return { message, text: message.content, headers: response.headers };
}

/** One streamed chat turn by the official client; gives the whole text. */
export async function streamed(gateway, thread, said, { resource, headers, ...body } = {}) {
  const messages = typeof said === "string" ? [user(said)] : said;
  const stream = await openai(gateway).chat.completions.create(
    { model: MODEL, messages, stream: true, ...body },
    { headers: { ...(thread !== undefined && memoryHeaders(thread, resource)), ...headers } },
  );
  let text = "";
  for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? "";
  return text;
}

/** The stored messages as the memory API gives them. */
export async function messagesOf(gateway, thread, { key = gateway.key, query = "?limit=200" } = {}) {
  const response = await fetch(
    `${gateway.baseURL}/memory/threads/${encodeURIComponent(thread)}/messages${query}`,
    { headers: { authorization: `Bearer ${key}` } },
  );
  const body = await response.text();
  assert.equal(response.status, 200, body);
  return JSON.parse(body);
}

/**
 * The stored messages in short: `{role, content}`, content a text where there is one text; `incomplete` only where it is.
 */
export async function stored(gateway, thread, options) {
  const { messages, total } = await messagesOf(gateway, thread, options);
  assert.equal(messages.length, Math.min(total, 200));
  return messages.map(({ role, content, status }) => ({
    role,
    content: content.length === 1 && content[0].type === "text" ? content[0].text : content,
    ...(status === "incomplete" && { incomplete: true }),
  }));
}

/** The messages that the provider was shown by the newest request. */
export const lastPrompt = (sandbox) => sandbox.requests.findLast(({ body }) => body?.messages).body.messages;

/** The newest request to the provider whose body, as JSON, holds a text. */
export function requestWith(sandbox, text) {
  const found = sandbox.requests.findLast(({ body }) => JSON.stringify(body ?? "").includes(text));
  assert.ok(found, `the provider was never asked with this: ${text}`);
  return found;
}

/** The error of an answer: `{status, ...error}`. */
export async function refused(response) {
  const body = await response.text();
  const parsed = JSON.parse(body);
  assert.deepEqual(Object.keys(parsed), ["error"], body);
  return { status: response.status, ...parsed.error };
}
