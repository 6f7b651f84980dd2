// Owns: the neutral form every dialect reads into and every rule answers from, and the sizes measured on it.
// Invariant: nothing here (nor in the rules) knows a wire format, so a new dialect adds one file and changes none.
//
// Conversation: {
//   turns:  [{ role: "system" | "user" | "assistant" | "tool", text, media: [Medium], toolCalls: [{ id, name, arguments }] }],
//   tools:  [{ name, parameters }],
//   toolChoice: "auto" | "none" | "required" | { name },
//   parallel: boolean,
//   schema: null | JSON schema the answer's text must satisfy,
//   maxTokens: null | number,
//   stop: [string],
// }
// Medium: { kind: "image" | "audio" | "file", url } or { kind, bytes, type }
// Answer: { text } or { toolCalls: [{ name, arguments /* JSON text */ }] }, with cut: true once a limit shortened it,
// filtered: true where a safety filter ended it, verbatim: true where its text was not written to the schema.

import { randomBytes } from "node:crypto";

/** A refusal, in no dialect yet. `retryAfter` is in seconds. */
export class ApiError extends Error {
  constructor(
    status,
    message,
    { type = "invalid_request_error", code = null, param = null, retryAfter } = {},
  ) {
    super(message);
    Object.assign(this, { status, type, code, param, retryAfter });
  }
}

export const invalid = (message, param, code = null) => new ApiError(400, message, { param, code });

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/** Ids are random, unlike answers: two turns of one thread must never share a tool call id. */
export const newId = (prefix, length = 24) =>
  prefix + Array.from(randomBytes(length), (byte) => ALPHABET[byte % ALPHABET.length]).join("");

/** A data URL or a plain one, as a Medium. */
export function medium(kind, reference = "") {
  const data = /^data:([^;,]{0,100})/.exec(reference.slice(0, 110));
  if (!data) return { kind, url: reference };
  return base64Medium(kind, data[1], reference.slice(reference.indexOf(",") + 1));
}

export function base64Medium(kind, type, base64 = "") {
  const padding = base64.endsWith("==") ? 2 : base64.endsWith("=") ? 1 : 0;
  return { kind, type, bytes: Math.max(0, Math.floor((base64.length * 3) / 4) - padding) };
}

export const tokens = (characters) => Math.ceil(characters / 4);

export function promptTokens({ turns, tools }) {
  let characters = tools.length ? JSON.stringify(tools).length : 0;
  for (const turn of turns) {
    characters += turn.text.length;
    for (const call of turn.toolCalls) characters += call.name.length + call.arguments.length;
  }
  return Math.max(1, tokens(characters));
}

export function completionTokens({ text = "", toolCalls = [] }) {
  return tokens(
    text.length + toolCalls.reduce((sum, call) => sum + call.name.length + call.arguments.length, 0),
  );
}

/** Text in the pieces a stream sends: a word each, more only where that would mean millions of events. */
export function* words(text) {
  const perPiece = Math.ceil(text.length / 1_000_000);
  let piece = "",
    held = 0;
  for (const [word] of text.matchAll(/\s*\S+|\s+$/g)) {
    piece += word;
    if (++held < perPiece) continue;
    yield piece;
    ((piece = ""), (held = 0));
  }
  if (piece) yield piece;
}

/** Tool arguments in the pieces a stream sends; breaks fall inside strings and escapes, as with real providers. */
export function* argumentPieces(json) {
  for (let at = 0; at < json.length; at += 6) yield json.slice(at, at + 6);
}

/** The answer under the request's own limits: stop sequences, then about one token a word. */
export function limit(answer, { maxTokens, stop }) {
  if (answer.toolCalls) return limitToolCalls(answer, maxTokens);
  let { text, ...marks } = answer;
  for (const sequence of stop) {
    const at = sequence ? text.indexOf(sequence) : -1;
    if (at >= 0) text = text.slice(0, at);
  }
  if (maxTokens === null) return { text, ...marks };
  let end = 0,
    count = 0;
  for (const match of text.matchAll(/\S+/g)) {
    if (++count > maxTokens) return { text: text.slice(0, end), cut: true };
    end = match.index + match[0].length;
  }
  return { text, ...marks };
}

// A call cut by the token limit keeps its broken JSON: clients have to survive that from real providers.
function limitToolCalls({ toolCalls }, maxTokens) {
  let left = maxTokens === null ? Infinity : maxTokens * 6;
  const kept = [];
  for (const call of toolCalls) {
    if (left <= 0) break;
    kept.push({ ...call, arguments: call.arguments.slice(0, left) });
    left -= call.arguments.length;
  }
  return { toolCalls: kept, ...(left < 0 && { cut: true }) };
}
