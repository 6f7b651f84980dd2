// Owns: the knobs after the first ";" of a model name, and what they do to the words and the bytes of an answer.
// Invariant: without knobs the words are the rules' and the bytes exactly the dialect's, one event a write; an unknown
// knob is refused, so that a misspelt test fails instead of passing over a healthy answer.

import { ApiError, invalid } from "./conversation.mjs";

const DEGENERATE_LINES = 1_000;

// What a model itself can do wrong, in the words of its answer and in why it says that it ended. A half is cut inside
// a word where it falls so, as a token limit does.
const SPOILERS = {
  empty: () => ({ text: "" }),
  truncated: ({ text }) => ({ text: firstHalf(text), cut: true }),
  unfinished: ({ text }) => ({ text: firstHalf(text) }),
  filtered: ({ text }) => ({ text: firstHalf(text), filtered: true }),
  malformed: ({ text }, lines) => ({ text: prose(lines) + text }),
  degenerate: ({ text }) => ({ text: `${text.split("\n", 1)}\n`.repeat(DEGENERATE_LINES), cut: true }),
};

const prose = (lines) =>
  Array.from({ length: lines }, (_, n) => `Here is part ${n + 1} of what you asked for:\n`).join("");
const firstHalf = (text) => [...text].slice(0, text.length / 2).join("");

const KNOBS = [
  "delay",
  "chunk",
  "cut",
  "eof",
  "stall",
  "pause",
  "status",
  "words",
  "pad",
  "nodone",
  "garbage",
  "error",
  "html",
  "redirect",
  "crlf",
  "comments",
  "gzip",
  "blocked",
  "first",
  "loop",
  ...Object.keys(SPOILERS),
];

/** "gpt-5.4-mini;delay=50;cut=300" -> { model: "gpt-5.4-mini", knobs: { delay: 50, cut: 300 } } */
export function splitModel(name) {
  const [model, ...settings] = name.split(";");
  const knobs = {};
  for (const setting of settings) {
    const [knob, value = "1"] = setting.trim().split("=");
    if (!KNOBS.includes(knob))
      throw invalid(`The sandbox has no knob '${knob}'; it has ${KNOBS.join(", ")}.`, "model");
    if (!/^\d{1,9}$/.test(value)) throw invalid(`The sandbox knob '${knob}' needs a number.`, "model");
    knobs[knob] = Number(value);
  }
  return { model, knobs };
}

/** The knobs among these that change words, so that an endpoint without words can refuse them. */
export const spoilersIn = (knobs) => Object.keys(knobs).filter((knob) => knob in SPOILERS);

/** An answer as a model that goes wrong gives it. What is spoiled is no JSON any more that fits a schema. */
export function spoiled(answer, knobs) {
  for (const knob of spoilersIn(knobs)) {
    answer = { ...SPOILERS[knob]({ text: answer.text ?? "" }, knobs[knob]), verbatim: true };
  }
  return answer;
}

const STATUS = {
  400: ["The sandbox was told to refuse this request.", "invalid_request_error", null],
  401: ["The sandbox was told to refuse this key.", "invalid_request_error", "invalid_api_key"],
  403: [
    "The sandbox was told that this key may not use the model.",
    "invalid_request_error",
    "model_not_allowed",
  ],
  404: ["The sandbox was told that this model does not exist.", "invalid_request_error", "model_not_found"],
  408: ["The sandbox was told that the request took too long to arrive.", "server_error", "timeout"],
  413: ["The sandbox was told that the request is too large.", "invalid_request_error", "request_too_large"],
  429: ["The sandbox was told that the rate limit is reached.", "requests", "rate_limit_exceeded"],
  500: ["The sandbox was told to fail.", "server_error", null],
  502: ["The sandbox was told to be a bad gateway.", "server_error", null],
  503: ["The sandbox was told to be overloaded.", "server_error", "server_overloaded"],
  504: ["The sandbox was told to time out.", "server_error", "timeout"],
  529: ["The sandbox was told to be overloaded.", "server_error", "server_overloaded"],
};

export function statusError(status) {
  if (!STATUS[status])
    return invalid(`The sandbox knob 'status' may be ${Object.keys(STATUS).join(", ")}.`, "model");
  const [message, type, code] = STATUS[status];
  return new ApiError(status, message, { type, code, ...(status === 429 && { retryAfter: 2 }) });
}

const midStream = () =>
  new ApiError(500, "The sandbox was told to fail in the middle of the answer.", {
    type: "server_error",
    code: "server_error",
  });

/** The bytes of a whole answer. */
export function wholeBody({ whole, failedWhole, json = JSON.stringify }, knobs) {
  let body = json(knobs.error && failedWhole ? failedWhole(midStream()) : whole);
  if (knobs.garbage) body = `${body.slice(0, body.length / 2)}<<sandbox garbage>>`;
  return body + " ".repeat(knobs.pad ?? 0);
}

const DELTAS_BEFORE_FAILURE = 2;

/** The frames of a streamed answer, as text: events, or the elements of one JSON list if it is one. */
export function* frames({ events, failure, named, list, json = JSON.stringify, end = "\n" }, knobs) {
  if (knobs.crlf) end = "\r\n";
  let sent = 0,
    deltas = 0;
  const frame = ({ comment, data }) => {
    if (comment !== undefined) return list ? "\n" : `: ${comment}${end}${end}`;
    const padded =
      knobs.pad && typeof data !== "string" ? { ...data, obfuscation: "x".repeat(knobs.pad) } : data;
    const text = typeof data === "string" ? data : json(padded);
    if (list) return (sent ? "\n,\r\n" : "[") + text;
    return `${named && text !== data ? `event: ${data.type}${end}` : ""}data: ${text}${end}${end}`;
  };
  for (const event of knobs.error ? failing(events, failure) : events) {
    if (knobs.nodone && event.terminal) continue;
    if (knobs.comments && sent > 0) yield frame({ comment: "PROCESSING" });
    yield frame(event);
    sent++;
    if (event.delta) deltas++;
    // After the first piece of text, so that a reader has something valid to lose.
    if (knobs.garbage && event.delta && deltas === 1) yield frame({ data: '{"sandbox": garbage' });
  }
  if (list && !knobs.nodone) yield sent ? "\n]" : "[]";
}

function* failing(events, failure) {
  let deltas = 0,
    sent = 0;
  for (const event of events) {
    if ((event.delta && deltas === DELTAS_BEFORE_FAILURE) || event.closing || event.terminal) break;
    yield event;
    if (event.delta) deltas++;
    if (event.data) sent++;
  }
  yield* failure(midStream(), sent);
}

/** Frames or bodies re-cut into the writes that reach the socket. chunk=0 is one write for everything. */
export function* writes(parts, { chunk }) {
  if (chunk === undefined) {
    for (const part of parts) yield Buffer.from(part);
    return;
  }
  const whole = Buffer.concat([...parts].map((part) => Buffer.from(part)));
  for (let at = 0; at < whole.length; at += chunk || whole.length)
    yield whole.subarray(at, at + (chunk || whole.length));
}
