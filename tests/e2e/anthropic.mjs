// Owns the gateways of the tests of Anthropic Messages, and how these speak with them.
// Invariant: the sandbox is as strict as the real host; `raw/` is a provider that a test scripts itself.
import Anthropic from "@anthropic-ai/sdk";
import assert from "node:assert/strict";
import { after, before } from "node:test";
import { memoryHeaders, newThread, user } from "./conversation.mjs";
import { sandboxVars, startGateway, startSandbox } from "./gateway.mjs";
import { begin, startUpstream, whole } from "./wire.mjs";

/** What `startGateways` started. */
export let sandbox, gateway, upstream, router, poor;

/**
 * Has a file's tests run with `gateway`, the sandbox behind it and a scripted provider; `more`: "router", which has nothing but
 * OpenRouter, and "poor", with a key for OpenAI, a wrong one for Anthropic, none for OpenRouter.
 */
export function startGateways(...more) {
  before(async () => {
    [sandbox, upstream] = await Promise.all([startSandbox(), startUpstream()]);
    const PROVIDERS = JSON.stringify({ raw: { base_url: `${upstream.url}/v1`, dialects: ["messages"] } });
    const start = (name, vars) => (more.includes(name) ? startGateway({ vars }) : undefined);
    [gateway, router, poor] = await Promise.all([
      startGateway({
        vars: {
          ...sandboxVars(sandbox),
          ANTHROPIC_API_KEY: STORED_KEY,
          PROVIDERS,
          MAX_BODY_BYTES: String(LIMIT),
        },
      }),
      start("router", {
        OPENROUTER_API_KEY: "sk-or-stored",
        OPENROUTER_BASE_URL: `${sandbox.url}/api/v1`,
      }),
      start("poor", {
        OPENAI_API_KEY: "sk-stored",
        OPENAI_BASE_URL: `${sandbox.url}/v1`,
        ANTHROPIC_API_KEY: "invalid-key",
        ANTHROPIC_BASE_URL: sandbox.url,
      }),
    ]);
  });
  after(async () => {
    await Promise.all([gateway, router, poor].map((started) => started?.stop()));
    await sandbox?.close();
    await upstream?.close();
  });
}

export const CLAUDE = "anthropic/claude-sonnet-4-5";
export const NAME = "claude-sonnet-4-5";
export const STORED_KEY = "sk-ant-api03-stored";
export const LIMIT = 300_000;

/** The official client, without its own retries. */
export const anthropic = (at = gateway, options = {}) =>
  new Anthropic({ apiKey: at.key, baseURL: at.url, maxRetries: 0, ...options });

/** The same client, straight to the provider. */
export const direct = () => new Anthropic({ apiKey: "sk-direct", baseURL: sandbox.url, maxRetries: 0 });

export const asked = (said, more) => ({
  model: CLAUDE,
  max_tokens: 2_000,
  messages: typeof said === "string" ? [user(said)] : said,
  ...more,
});

export const withMemory = (thread, resource) => ({
  ...(thread && { headers: memoryHeaders(thread, resource) }),
});

/** One turn by the official client, streamed or not. */
export function turn(thread, said, { stream = false, at = gateway, ...more } = {}) {
  const { messages } = anthropic(at);
  const body = asked(said, more);
  return stream
    ? messages.stream(body, withMemory(thread)).finalMessage()
    : messages.create(body, withMemory(thread));
}

export const textOf = ({ content }) => content.map(({ text }) => text ?? "").join("");

/** A message without what no two answers share. */
export const sameButIds = (message) =>
  JSON.parse(
    JSON.stringify({
      ...message,
      id: "",
      content: message.content.map((block) => ({ ...block, ...(block.id && { id: "" }) })),
    }),
  );

export const roles = (messages) => messages.map(({ role }) => role);

/** The newest request with this text that reached the sandbox, whatever else came meanwhile. */
export const newest = (text) =>
  sandbox.requests.findLast(({ body }) => JSON.stringify(body ?? "").includes(text));

export const TOOL = {
  name: "helloWorld",
  description: "Greets.",
  input_schema: { type: "object", properties: { name: { type: "string" } }, required: ["name"] },
};
export const CHAT_TOOL = { type: "function", function: { name: TOOL.name, parameters: TOOL.input_schema } };
export const FORCED = { type: "tool", name: TOOL.name };
export const ALICE = "Use the helloWorld tool to greet Alice.";
export const greeting = (name) => JSON.stringify({ greeting: `Hello, ${name}!` });
export const result = (id, name = "Alice") => ({
  type: "tool_result",
  tool_use_id: id,
  content: greeting(name),
});
export const callOf = ({ content }) => content.find(({ type }) => type === "tool_use");

/** A call and its result as the memory API gives them. */
export const storedCall = (id, name = "Alice") => ({
  type: "tool_call",
  toolCallId: id,
  toolName: TOOL.name,
  arguments: JSON.stringify({ name }),
});
export const storedResult = (id, name = "Alice") => ({
  role: "tool",
  content: [{ type: "tool_result", toolCallId: id, content: [{ type: "text", text: greeting(name) }] }],
});

export const THINKING = { type: "enabled", budget_tokens: 1_024 };

/** A streamed request on the bare wire. */
export const open = (text, { model = "raw/m", thread, stream = true } = {}) =>
  begin(`${gateway.baseURL}/messages`, {
    headers: {
      "x-api-key": gateway.key,
      "content-type": "application/json",
      ...(thread && memoryHeaders(thread)),
    },
    body: JSON.stringify(asked(text, { model, stream })),
  }).head;

export async function readAll(text, options) {
  const answer = await open(text, options);
  const { bytes, clean } = await answer.ended;
  return { status: answer.status, headers: answer.headers, text: bytes.toString("utf8"), bytes, clean };
}

export const eventsOf = (text) =>
  text.split(/\r?\n\r?\n/).flatMap((event) => {
    const [, json] = /^data: ?(.*)$/m.exec(event) ?? [];
    return json === undefined ? [] : [JSON.parse(json)];
  });

export const MEMORY = [
  ["off", () => undefined],
  ["on", newThread],
];

/** Checks the form of one of the gateway's own errors; gives it without its ids. */
export function own(answer) {
  const { type, error, request_id: id, ...nothing } = JSON.parse(answer.text);
  assert.deepEqual(
    [type, nothing, answer.headers["content-type"]],
    ["error", {}, "application/json"],
    answer.text,
  );
  assert.match(id, /^req_[0-9a-f]{24}$/);
  assert.equal(id, answer.headers["x-request-id"]);
  const { message, ...rest } = error;
  assert.ok(message.length > 20, message);
  return { status: answer.status, message, ...rest };
}

/** Sends to the Messages API on the bare wire. */
export const send = (body, { path = "/messages", headers, thread, method, at = gateway } = {}) =>
  whole(at.baseURL + path, {
    method,
    headers: {
      "x-api-key": at.key,
      "content-type": "application/json",
      ...(thread && memoryHeaders(thread)),
      ...headers,
    },
    ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });

/** One of the gateway's own errors, and what its message says. */
export async function told(answer, ...says) {
  const { message, ...rest } = own(await answer);
  for (const part of says) assert.ok(message.includes(part), message);
  return rest;
}

export const INVALID = { status: 400, type: "invalid_request_error" };
export const PATHS = ["/messages", "/messages/count_tokens"];

/** What the provider saw of the newest request with this text that says who asks and how. */
export function seen(text = "Say: hi") {
  const entry = newest(text);
  for (const [name, value] of Object.entries(entry.headers)) assert.doesNotMatch(String(value), /msk_/, name);
  const names = ["x-api-key", "authorization", "anthropic-version", "anthropic-beta"];
  return Object.fromEntries(
    names.flatMap((name) => (name in entry.headers ? [[name, entry.headers[name]]] : [])),
  );
}

/** What a request without a version means, and what the SDK's requests mean. */
export const VERSION = { "anthropic-version": "2023-06-01" };
export const SDK_VERSION = { "anthropic-version": "2026-10-21" };
