// Owns how the tests talk to the Messages API with the official client: turns, the tool that they use, and its calls.
// Invariant: nothing here asserts; what an answer must be is the tests' business.
import Anthropic from "@anthropic-ai/sdk";
import { memoryHeaders, user } from "./conversation.mjs";

export const CLAUDE = "anthropic/claude-sonnet-4-5";
export const NAME = "claude-sonnet-4-5";

/** The official client, without its own retries. */
export const anthropic = (gateway, options = {}) =>
  new Anthropic({ apiKey: gateway.key, baseURL: gateway.url, maxRetries: 0, ...options });

/** The same client, straight to the provider. */
export const direct = (sandbox) =>
  new Anthropic({ apiKey: "sk-direct", baseURL: sandbox.url, maxRetries: 0 });

/** A request's body; `said` is a text or a list of messages. */
export const asked = (said, more) => ({
  model: CLAUDE,
  max_tokens: 2_000,
  messages: typeof said === "string" ? [user(said)] : said,
  ...more,
});

/** The options that switch memory on, where there is a thread. */
export const withMemory = (thread, resource) => ({
  ...(thread && { headers: memoryHeaders(thread, resource) }),
});

/** One turn by the official client, streamed or not. */
export function turn(gateway, thread, said, { stream = false, ...more } = {}) {
  const { messages } = anthropic(gateway);
  const body = asked(said, more);
  return stream
    ? messages.stream(body, withMemory(thread)).finalMessage()
    : messages.create(body, withMemory(thread));
}

/** All the text of an answer. */
export const textOf = ({ content }) => content.map(({ text }) => text ?? "").join("");

export const TOOL = {
  name: "helloWorld",
  description: "Greets.",
  input_schema: { type: "object", properties: { name: { type: "string" } }, required: ["name"] },
};
/** The same tool as chat has it. */
export const CHAT_TOOL = { type: "function", function: { name: TOOL.name, parameters: TOOL.input_schema } };
/** The choice of a request that has to call it. */
export const FORCED = { type: "tool", name: TOOL.name };
/** What makes the sandbox call it. */
export const ALICE = "Use the helloWorld tool to greet Alice.";
/** What the tool gives. */
export const greeting = (name) => JSON.stringify({ greeting: `Hello, ${name}!` });
/** A result of the tool, as Messages has it. */
export const result = (id, name = "Alice") => ({
  type: "tool_result",
  tool_use_id: id,
  content: greeting(name),
});
/** The call in an answer. */
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
