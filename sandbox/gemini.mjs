// Owns: Gemini's native generateContent, its stream and its token counting on the wire.
// Invariant: the chunks of a streamed answer add up to the parts of the whole one; no answer is made up in this file.
// Source: https://ai.google.dev/api/generate-content

import { completionTokens, limit, newId, promptTokens, tokens, words } from "./conversation.mjs";
import { callSignature, textSignature } from "./geminiorder.mjs";
import { abilities, readCount, readRequest } from "./geminirequest.mjs";
import { google, inLine, printed } from "./google.mjs";
import { thoughtOn } from "./thinking.mjs";

const JSON_TYPE = "application/json; charset=UTF-8";
const CACHED_TOKENS = 1_000;

const route = (method, flavour, when) => ({
  method: "POST",
  path: new RegExp(`^/v1beta/models/([^/:]+):${method}$`),
  flavour,
  when,
});
const asEvents = (_headers, query) => query.get("alt") === "sse";

export const gemini = {
  ...google,
  canBlock: true,
  speaks: true,
  routes: [
    route("generateContent", "whole"),
    route("streamGenerateContent", "events", asEvents),
    route("streamGenerateContent", "list", (...asked) => !asEvents(...asked)),
  ],

  answer({ body, model, flavour, answerTo, blocked }) {
    const request = readRequest(body, model);
    const run = runOf(request, model, { answerTo, blocked });
    const failed = (error) => google.errorBody(error);
    if (flavour === "whole")
      return { type: JSON_TYPE, json: printed, whole: whole(run), failedWhole: failed };
    return {
      ...(flavour === "events"
        ? { type: "text/event-stream", json: inLine, end: "\r\n" }
        : { type: JSON_TYPE, json: (value) => printed(value).trimEnd(), list: true }),
      events: events(run),
      failure: (error) => [{ data: failed(error) }],
    };
  },
};

export const geminiCount = {
  ...google,
  routes: [route("countTokens", "whole")],

  answer({ body, model }) {
    const count = promptTokens(readCount(body, model).conversation);
    return {
      type: JSON_TYPE,
      json: printed,
      whole: {
        totalTokens: count,
        promptTokensDetails: [{ modality: "TEXT", tokenCount: count }],
      },
    };
  },
};

function runOf({ conversation, ...request }, model, { answerTo, blocked }) {
  const { third } = abilities(model);
  const thoughts = request.thinks ? thoughtOn(conversation) : "";
  const thoughtsTokens = completionTokens({ text: thoughts });
  const found = answerTo(conversation);
  if (request.unwrap && found.text !== undefined && !found.verbatim) found.text = request.unwrap(found.text);
  const answer = limitedBy(found, conversation, thoughtsTokens);
  // A call whose JSON the limit broke never shows: Google tells of it and sends none.
  const malformed = answer.cut === true && answer.toolCalls !== undefined;
  const finish = found.filtered
    ? "SAFETY"
    : malformed
      ? "MALFORMED_FUNCTION_CALL"
      : answer.cut
        ? "MAX_TOKENS"
        : "STOP";
  return {
    model,
    third,
    blocked,
    finish,
    id: newId("", 22),
    answer: malformed ? { text: "" } : answer,
    message: malformed
      ? `Malformed function call: ${answer.toolCalls.map(({ name }) => name).join(", ")}`
      : answer.toolCalls && "Model generated function call(s).",
    thoughts,
    thoughtsTokens,
    showsThoughts: request.showsThoughts && thoughts !== "",
    signs: third || request.thinks,
    candidates: request.candidates,
    logprobs: request.logprobs,
    prompt: promptTokens(conversation) + (request.cached ? CACHED_TOKENS : 0),
    cached: request.cached ? CACHED_TOKENS : 0,
  };
}

// Thoughts come out of the same limit, and may leave nothing for the answer.
function limitedBy(found, conversation, thoughtsTokens) {
  if (conversation.maxTokens === null) return limit(found, conversation);
  const left = conversation.maxTokens - thoughtsTokens;
  return left > 0 ? limit(found, { ...conversation, maxTokens: left }) : { text: "", cut: true };
}

const thoughtParts = ({ showsThoughts, thoughts }) =>
  showsThoughts ? [{ text: thoughts, thought: true }] : [];

function callParts({ answer: { toolCalls = [] }, signs }) {
  return toolCalls.map(({ name, arguments: json }, n) => {
    const functionCall = { name, args: JSON.parse(json) };
    // Of several calls at once only the first is signed.
    return { functionCall, ...(signs && n === 0 && { thoughtSignature: callSignature(functionCall) }) };
  });
}

function whole(run) {
  if (run.blocked) return refusal(run);
  const { text } = run.answer;
  const parts = [
    ...thoughtParts(run),
    ...(text ? [{ text, ...(run.third && { thoughtSignature: textSignature(text) }) }] : []),
    ...callParts(run),
  ];
  // What was filtered is not sent, and neither is a content.
  if (run.finish === "SAFETY") return response(run, null, { finish: run.finish });
  return response(run, parts, { finish: run.finish, tokens: completionTokens(run.answer), text });
}

function refusal(run) {
  return {
    promptFeedback: { blockReason: "SAFETY" },
    usageMetadata: {
      promptTokenCount: run.prompt,
      totalTokenCount: run.prompt,
      promptTokensDetails: [{ modality: "TEXT", tokenCount: run.prompt }],
    },
    modelVersion: run.model,
    responseId: run.id,
  };
}

/** One GenerateContentResponse; `parts` null is a candidate without content, `tokens` what was put out so far. */
function response(run, parts, { finish, tokens: put = 0, text }) {
  return {
    candidates: Array.from({ length: run.candidates }, (_, index) => ({
      ...(parts && { content: { ...(parts.length && { parts }), role: "model" } }),
      ...(finish && { finishReason: finish }),
      index,
      ...(finish === "SAFETY" && {
        safetyRatings: [{ category: "HARM_CATEGORY_HARASSMENT", probability: "HIGH", blocked: true }],
      }),
      ...(finish && run.message && finish !== "SAFETY" && { finishMessage: run.message }),
      ...(text && run.logprobs !== null && logprobsOf(text, run.logprobs)),
    })),
    usageMetadata: usage(run, put * run.candidates),
    modelVersion: run.model,
    responseId: run.id,
  };
}

// A count of nothing is left out, as everything is that holds protobuf's default.
function usage({ prompt, cached, thoughtsTokens }, tokens) {
  return {
    promptTokenCount: prompt,
    ...(tokens && { candidatesTokenCount: tokens }),
    totalTokenCount: prompt + tokens + thoughtsTokens,
    ...(cached && { cachedContentTokenCount: cached }),
    promptTokensDetails: [{ modality: "TEXT", tokenCount: prompt }],
    ...(cached && { cacheTokensDetails: [{ modality: "TEXT", tokenCount: cached }] }),
    ...(thoughtsTokens && { thoughtsTokenCount: thoughtsTokens }),
  };
}

function logprobsOf(text, top) {
  const chosen = [...words(text)].map((token, n) => ({ token, tokenId: n + 1, logProbability: -0.01 }));
  return {
    avgLogprobs: -0.01,
    logprobsResult: {
      ...(top && { topCandidates: chosen.map((one) => ({ candidates: [one] })) }),
      chosenCandidates: chosen,
    },
  };
}

function* events(run) {
  if (run.blocked) return yield { closing: true, data: refusal(run) };
  if (run.showsThoughts) {
    // Thinking alone is nothing a reader could lose, so faults wait for what comes after it.
    for (const text of words(run.thoughts)) yield { data: response(run, [{ text, thought: true }], {}) };
  }
  const pieces = [...words(run.answer.text ?? "")],
    calls = callParts(run);
  // The last piece of text itself says why it is the last, unless a signature or a verdict comes after it.
  const apart = run.third || run.finish === "SAFETY";
  const last = apart ? null : pieces.pop();
  let sent = 0;
  for (const text of pieces) {
    sent += text.length;
    yield { delta: true, data: response(run, [{ text }], { tokens: tokens(sent), text }) };
  }
  const end = { finish: run.finish, tokens: completionTokens(run.answer) };
  const ending = (parts, more) => ({ terminal: true, data: response(run, parts, { ...end, ...more }) });
  if (run.finish === "SAFETY") yield ending(null, { tokens: tokens(sent) });
  else if (calls.length) {
    if (!apart) return yield { ...ending(calls), delta: true };
    yield { delta: true, data: response(run, calls, { tokens: end.tokens }) };
    yield ending([{ text: "" }]);
  } else if (last) yield { ...ending([{ text: last }], { text: last }), delta: true };
  else if (pieces.length) yield ending([{ text: "", thoughtSignature: textSignature(run.answer.text) }]);
  else yield ending([]);
}
