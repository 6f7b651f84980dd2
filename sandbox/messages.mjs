// Owns: Anthropic Messages and its token counting on the wire, as Anthropic and OpenRouter send them.
// Invariant: the blocks of a streamed answer add up to the content of the whole one; no answer is made up in this file.

import { anthropic, checkVersion } from "./anthropic.mjs";
import { argumentPieces, completionTokens, limit, newId, promptTokens, words } from "./conversation.mjs";
import { readRequest } from "./messagesrequest.mjs";
import { cachedUsage } from "./promptcache.mjs";
import { thoughtsOn } from "./thinking.mjs";

export const messages = {
  ...anthropic,
  speaks: true,
  routes: [
    { method: "POST", path: "/v1/messages", flavour: "anthropic" },
    { method: "POST", path: "/api/v1/messages", flavour: "openrouter" },
  ],

  answer({ body, model, flavour, headers, key, requestId, answerTo, state }) {
    if (flavour === "anthropic") checkVersion(headers);
    const { conversation, thinking, prefill } = readRequest(body, {
      model,
      flavour,
      kind: "create",
      version: headers["anthropic-version"],
    });
    const { answer, ...stop } = ended(withoutPrefill(answerTo(conversation), prefill), conversation);
    const thoughts = conversation.maxTokens === 0 ? null : thoughtsOn(conversation, thinking);
    const prompt = cachedUsage(
      body,
      { model, key, total: promptTokens(conversation) },
      (state.promptCache ??= new Set()),
    );
    const reply = {
      model,
      id: flavour === "openrouter" ? newId("gen-", 20) : newId("msg_01", 22),
      type: "message",
      role: "assistant",
      content: contentOf(answer, thoughts),
      ...stop,
      stop_details: answer.filtered ? { type: "refusal", category: null, explanation: null } : null,
      usage: {
        ...prompt,
        output_tokens: outputTokens(answer, thoughts),
        service_tier: "standard",
        inference_geo: "global",
      },
    };
    if (flavour === "openrouter")
      Object.assign(reply.usage, {
        cost: (promptTokens(conversation) + reply.usage.output_tokens * 4) / 1e7,
        is_byok: false,
      });
    const failed = (error) => anthropic.errorBody(error, flavour, requestId);
    if (body.stream !== true) return { whole: reply, failedWhole: failed };
    // A call cut by the token limit is streamed as far as it got; only there can its broken JSON be seen.
    const inputs = (answer.toolCalls ?? []).map((call) => call.arguments);
    return {
      named: true,
      events: events(reply, inputs, flavour),
      failure: (error) => [{ data: failed(error) }],
    };
  },
};

export const countTokens = {
  ...anthropic,
  routes: [{ method: "POST", path: "/v1/messages/count_tokens", flavour: "anthropic" }],

  answer({ body, model, flavour, headers }) {
    checkVersion(headers);
    return {
      whole: {
        input_tokens: promptTokens(
          readRequest(body, { model, flavour, kind: "count", version: headers["anthropic-version"] })
            .conversation,
        ),
      },
    };
  },
};

// A begun answer is gone on with, not begun again.
function withoutPrefill(answer, prefill) {
  return answer.text?.startsWith(prefill) ? { ...answer, text: answer.text.slice(prefill.length) } : answer;
}

function ended(full, conversation) {
  const first = conversation.stop
    .map((sequence) => ({ sequence, at: full.toolCalls ? -1 : full.text.indexOf(sequence) }))
    .filter(({ at }) => at >= 0)
    .sort((a, b) => a.at - b.at)[0]?.sequence;
  const answer = limit(full, { ...conversation, stop: first === undefined ? [] : [first] });
  const stopped = !answer.cut && first !== undefined;
  // No tokens at all only fill the cache.
  const cut = answer.cut || conversation.maxTokens === 0;
  return {
    answer,
    stop_reason: answer.filtered
      ? "refusal"
      : cut
        ? "max_tokens"
        : answer.toolCalls
          ? "tool_use"
          : stopped
            ? "stop_sequence"
            : "end_turn",
    stop_sequence: stopped && !cut ? first : null,
  };
}

function contentOf({ text, toolCalls = [] }, thoughts) {
  return [
    ...(thoughts ? [thoughts] : []),
    // There are no empty text blocks, in answers as little as in requests.
    ...(text ? [{ type: "text", text }] : []),
    ...toolCalls.map((call) => ({
      type: "tool_use",
      id: newId("toolu_01", 22),
      name: call.name,
      input: inputOf(call),
      caller: { type: "direct" },
    })),
  ];
}

function inputOf({ arguments: json }) {
  try {
    return JSON.parse(json);
  } catch {
    return {};
  }
}

const outputTokens = (answer, thoughts) =>
  completionTokens(answer) + completionTokens({ text: thoughts?.thinking ?? thoughts?.data });

function* events(reply, inputs, flavour) {
  const { content, stop_reason, stop_sequence, stop_details, usage } = reply;
  const { input_tokens, cache_creation_input_tokens, cache_read_input_tokens, output_tokens } = usage;
  if (flavour === "openrouter") yield { comment: "OPENROUTER PROCESSING" };
  // What the output will cost is not known yet, so the real host says 1.
  const opened = { ...usage, output_tokens: 1 };
  delete opened.cost;
  yield {
    data: {
      type: "message_start",
      message: { ...reply, content: [], stop_reason: null, stop_sequence: null, usage: opened },
    },
  };
  const calls = inputs.values();
  let pinged = false;
  for (const [index, block] of content.entries()) {
    yield { data: { type: "content_block_start", index, content_block: emptied(block) } };
    if (!pinged) yield { data: { type: "ping" } };
    pinged = true;
    const visible = block.type === "text" || block.type === "tool_use";
    for (const delta of deltas(block, calls)) {
      // Thinking alone is nothing a reader could lose, so faults wait for what comes after it.
      yield {
        delta: visible && delta.partial_json !== "",
        data: { type: "content_block_delta", index, delta },
      };
    }
    yield { closing: visible, data: { type: "content_block_stop", index } };
  }
  if (!pinged) yield { data: { type: "ping" } };
  const counted = { input_tokens, cache_creation_input_tokens, cache_read_input_tokens, output_tokens };
  if (flavour === "openrouter") Object.assign(counted, { cost: usage.cost, is_byok: usage.is_byok });
  yield {
    closing: true,
    data: { type: "message_delta", delta: { stop_reason, stop_sequence, stop_details }, usage: counted },
  };
  yield { terminal: true, data: { type: "message_stop" } };
}

function emptied(block) {
  if (block.type === "text") return { ...block, text: "" };
  if (block.type === "thinking") return { ...block, thinking: "", signature: "" };
  return block.type === "tool_use" ? { ...block, input: {} } : block;
}

function* deltas(block, calls) {
  if (block.type === "text") {
    for (const text of words(block.text)) yield { type: "text_delta", text };
  } else if (block.type === "thinking") {
    for (const thinking of words(block.thinking)) yield { type: "thinking_delta", thinking };
    yield { type: "signature_delta", signature: block.signature };
  } else if (block.type === "tool_use") {
    yield { type: "input_json_delta", partial_json: "" };
    const json = calls.next().value;
    // Of a call without arguments nothing follows: what arrives is no JSON at all.
    for (const partial_json of json === "{}" ? [] : argumentPieces(json))
      yield { type: "input_json_delta", partial_json };
  }
}
