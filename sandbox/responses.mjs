// Owns: OpenAI Responses on the wire, as OpenAI and OpenRouter send it, and the responses stored for later turns.
// Invariant: a stored response holds the whole chain of items before it, so one look-up restores a conversation.

import {
  ApiError,
  argumentPieces,
  completionTokens,
  invalid,
  limit,
  medium,
  newId,
  promptTokens,
  words,
} from "./conversation.mjs";
import { openai, routesFor } from "./openai.mjs";

const STORED_AT_MOST = 10_000;

export const responses = {
  ...openai,
  speaks: true,
  routes: routesFor("POST", "/responses", ["openai", "openrouter"]),

  answer({ body, model, flavour, answerTo, state }) {
    const stored = (state.responses ??= new Map());
    const items = chain(body, flavour, stored);
    const conversation = readConversation(body, items);
    const answer = limit(answerTo(conversation), conversation);
    const prompt = promptTokens(conversation),
      completion = completionTokens(answer);
    const run = {
      body,
      model,
      flavour,
      answer,
      output: outputItems(answer),
      id: flavour === "openrouter" ? newId("gen-", 20) : newId("resp_", 48).toLowerCase(),
      created: Math.floor(Date.now() / 1000),
      usage: {
        input_tokens: prompt,
        input_tokens_details: { cached_tokens: 0 },
        output_tokens: completion,
        output_tokens_details: { reasoning_tokens: 0 },
        total_tokens: prompt + completion,
        ...(flavour === "openrouter" && { cost: (prompt + completion * 4) / 1e7, is_byok: false }),
      },
    };
    const last = finished(run);
    if (last.store) remember(stored, last, items);
    if (body.stream === true)
      return {
        named: flavour === "openai",
        events: events(run, last),
        failure: (error, sent) => failure(run, error, sent),
      };
    return { whole: last, failedWhole: (error) => failed(run, error) };
  },
};

/** `GET` and `DELETE /v1/responses/{id}`, over the same store. */
export const storedResponses = {
  ...openai,
  routes: ["GET", "DELETE"].map((method) => ({
    method,
    path: /^\/v1\/responses\/([^/]+)$/,
    flavour: "openai",
  })),

  answer({ method, match, state }) {
    const id = decodeURIComponent(match[1]),
      found = state.responses?.get(id);
    if (!found) throw new ApiError(404, `There is no response '${id}'.`);
    if (method === "GET") return { whole: found.response };
    state.responses.delete(id);
    return { whole: { id, object: "response", deleted: true } };
  },
};

function remember(stored, response, items) {
  if (stored.size >= STORED_AT_MOST) stored.delete(stored.keys().next().value);
  stored.set(response.id, { response, items: [...items, ...response.output] });
}

function chain(body, flavour, stored) {
  const { input, previous_response_id: previous } = body;
  if (input === undefined || input === null)
    throw invalid("'input' is required.", "input", "missing_required_parameter");
  if (typeof input !== "string" && !Array.isArray(input))
    throw invalid("'input' must be a string or a list of items.", "input", "invalid_type");
  if (input.length === 0) throw invalid("'input' is empty.", "input", "empty_array");
  let before = [];
  if (previous != null) {
    if (flavour === "openrouter")
      throw invalid(
        "'previous_response_id' is not supported: this host keeps no responses.",
        "previous_response_id",
      );
    before = stored.get(previous)?.items;
    if (!before)
      throw invalid(
        `There is no stored response '${previous}'.`,
        "previous_response_id",
        "previous_response_not_found",
      );
  }
  const given =
    typeof input === "string"
      ? [{ type: "message", role: "user", content: input }]
      : input.map((item, n) => resolve(item, n, stored));
  return [...before, ...given];
}

function resolve(item, n, stored) {
  if (item?.type !== "item_reference") return item;
  for (const { items } of stored.values()) {
    const found = items.find(({ id }) => id === item.id);
    if (found) return found;
  }
  throw new ApiError(404, `'input[${n}]' refers to '${item.id}', which is not stored.`, { param: "input" });
}

function readConversation(body, items) {
  const turns = [];
  if (typeof body.instructions === "string")
    turns.push({ role: "system", text: body.instructions, media: [], toolCalls: [] });
  items.forEach((item, n) => readItem(item, `input[${n}]`, turns));
  checkToolItems(items);
  if (body.tools != null && !Array.isArray(body.tools))
    throw invalid("'tools' must be a list.", "tools", "invalid_type");
  const tools = (body.tools ?? []).filter((tool) => tool?.type === "function").map(readTool);
  const maxTokens = body.max_output_tokens ?? null;
  // OpenAI itself wants at least 16 on some models; the documented examples of the gateway send 10, so 1 is the least here.
  if (maxTokens !== null && !(Number.isInteger(maxTokens) && maxTokens >= 1))
    throw invalid(
      "'max_output_tokens' must be an integer of at least 1.",
      "max_output_tokens",
      "integer_below_min_value",
    );
  const format = body.text?.format;
  return {
    turns,
    parallel: body.parallel_tool_calls !== false,
    maxTokens,
    stop: [],
    ...readToolChoice(body.tool_choice, tools, body.tools),
    schema:
      format?.type === "json_schema" ? (format.schema ?? {}) : format?.type === "json_object" ? {} : null,
  };
}

const TURN_ROLE = { user: "user", assistant: "assistant", system: "system", developer: "system" };

function readItem(item, where, turns) {
  const type = item?.type ?? (item?.role ? "message" : undefined);
  if (typeof type !== "string")
    throw invalid(`'${where}.type' is required.`, `${where}.type`, "missing_required_parameter");
  if (type === "function_call") {
    if (typeof item.call_id !== "string" || typeof item.name !== "string")
      throw invalid(
        `'${where}' needs a call_id and a name.`,
        `${where}.call_id`,
        "missing_required_parameter",
      );
    const call = { id: item.call_id, name: item.name, arguments: item.arguments ?? "" };
    const before = turns.at(-1);
    // Calls of one step are separate items here but one assistant turn everywhere else.
    if (before?.role === "assistant") before.toolCalls.push(call);
    else turns.push({ role: "assistant", text: "", media: [], toolCalls: [call] });
  } else if (type === "function_call_output") {
    const media = [];
    const text =
      typeof item.output === "string"
        ? item.output
        : readParts(item.output, `${where}.output`, "user", media);
    turns.push({ role: "tool", text, media, toolCalls: [] });
  } else if (type === "message") {
    const role = TURN_ROLE[item.role];
    if (!role)
      throw invalid(
        `'${where}.role' must be one of ${Object.keys(TURN_ROLE).join(", ")}.`,
        `${where}.role`,
        "invalid_value",
      );
    const media = [];
    const text =
      typeof item.content === "string"
        ? item.content
        : readParts(item.content, `${where}.content`, role, media);
    turns.push({ role, text, media, toolCalls: [] });
  }
  // Other items (reasoning, calls of hosted tools) carry nothing a rule could read.
}

function readParts(parts, where, role, media) {
  if (!Array.isArray(parts))
    throw invalid(`'${where}' must be a string or a list of parts.`, where, "invalid_type");
  const allowed =
    role === "assistant" ? ["output_text", "refusal"] : ["input_text", "input_image", "input_file"];
  const texts = [];
  parts.forEach((part, k) => {
    if (!allowed.includes(part?.type))
      throw invalid(
        `'${where}[${k}].type' is '${part?.type}'; supported here: ${allowed.join(", ")}.`,
        `${where}[${k}].type`,
        "invalid_value",
      );
    if (part.type === "input_image") media.push(medium("image", part.image_url ?? part.file_id));
    else if (part.type === "input_file")
      media.push(medium("file", part.file_data ?? part.file_url ?? part.file_id));
    else texts.push(part.text ?? part.refusal ?? "");
  });
  return texts.join("\n");
}

function checkToolItems(items) {
  const open = new Set(),
    seen = new Map();
  items.forEach((item, n) => {
    if (item.type === "function_call" || item.type === "custom_tool_call") {
      open.add(item.call_id);
      seen.set(item.call_id, `${item.type}_output`);
    } else if (item.type === "function_call_output" || item.type === "custom_tool_call_output") {
      if (seen.get(item.call_id) !== item.type)
        throw invalid(`No call that 'input[${n}]' answers has the call_id '${item.call_id}'.`, "input");
      open.delete(item.call_id);
    } else if (item.type !== "reasoning" && open.size) {
      throw invalid(`The function call '${[...open][0]}' has no output before 'input[${n}]'.`, "input");
    }
  });
}

function readTool(tool, n) {
  if (!/^[a-zA-Z0-9_.:-]{1,128}$/.test(tool.name ?? ""))
    throw invalid(
      `'tools[${n}].name' is missing or has characters outside a-z, A-Z, 0-9, _ and -.`,
      `tools[${n}].name`,
      "missing_required_parameter",
    );
  return { name: tool.name, parameters: tool.parameters ?? {} };
}

function readToolChoice(choice, tools, given) {
  if (choice == null || choice === "auto") return { tools, toolChoice: "auto" };
  if (choice === "none") return { tools, toolChoice: "none" };
  if (!given?.length) throw invalid("'tool_choice' needs 'tools'.", "tool_choice");
  if (choice === "required") return { tools, toolChoice: "required" };
  if (choice.type === "allowed_tools") {
    const names = (choice.tools ?? []).map(({ name }) => name);
    return { tools: tools.filter(({ name }) => names.includes(name)), toolChoice: choice.mode ?? "auto" };
  }
  if (choice.type !== "function") return { tools, toolChoice: "auto" };
  if (!tools.some(({ name }) => name === choice.name))
    throw invalid(`'tool_choice' names '${choice.name}', which is not among 'tools'.`, "tool_choice");
  return { tools, toolChoice: { name: choice.name } };
}

/** Why an answer is not whole; null if it is. */
const cutShort = ({ cut, filtered }) => (filtered ? "content_filter" : cut ? "max_output_tokens" : null);

const textPart = (text) => ({ type: "output_text", annotations: [], logprobs: [], text });

function outputItems(answer) {
  const status = cutShort(answer) ? "incomplete" : "completed";
  if (!answer.toolCalls)
    return [
      {
        id: newId("msg_", 48).toLowerCase(),
        type: "message",
        status,
        content: [textPart(answer.text)],
        role: "assistant",
      },
    ];
  return answer.toolCalls.map(({ name, arguments: json }) => ({
    id: newId("fc_", 48).toLowerCase(),
    type: "function_call",
    status,
    arguments: json,
    call_id: newId("call_"),
    name,
  }));
}

function snapshot({ id, created, body, model, flavour }) {
  return {
    id,
    object: "response",
    created_at: created,
    status: "in_progress",
    background: false,
    completed_at: null,
    error: null,
    frequency_penalty: 0,
    incomplete_details: null,
    instructions: body.instructions ?? null,
    max_output_tokens: body.max_output_tokens ?? null,
    max_tool_calls: null,
    model,
    output: [],
    parallel_tool_calls: body.parallel_tool_calls ?? true,
    presence_penalty: 0,
    previous_response_id: body.previous_response_id ?? null,
    prompt_cache_key: body.prompt_cache_key ?? null,
    reasoning: { effort: body.reasoning?.effort ?? null, summary: body.reasoning?.summary ?? null },
    safety_identifier: null,
    service_tier: "default",
    store: flavour === "openai" && body.store !== false,
    system_fingerprint: "sandbox",
    temperature: body.temperature ?? 1,
    text: body.text ?? { format: { type: "text" }, verbosity: "medium" },
    tool_choice: body.tool_choice ?? "auto",
    tools: body.tools ?? [],
    top_logprobs: 0,
    top_p: body.top_p ?? 1,
    truncation: body.truncation ?? "disabled",
    usage: null,
    user: body.user ?? null,
    metadata: body.metadata ?? {},
    ...(flavour === "openrouter" && { output_text: "" }),
  };
}

const finished = (run) => ({
  ...snapshot(run),
  output: run.output,
  usage: run.usage,
  ...(cutShort(run.answer)
    ? { status: "incomplete", incomplete_details: { reason: cutShort(run.answer) } }
    : { status: "completed", completed_at: Math.floor(Date.now() / 1000) }),
});

const failed = (run, { code, type, message }) => ({
  ...snapshot(run),
  status: "failed",
  error: { code: code ?? type, message },
});

function* events(run, last) {
  let sequence = 0;
  const event = (type, fields, mark) => ({ ...mark, data: { type, ...fields, sequence_number: sequence++ } });
  if (run.flavour === "openrouter") yield { comment: "OPENROUTER PROCESSING" };
  yield event("response.created", { response: snapshot(run) });
  yield event("response.in_progress", { response: snapshot(run) });
  for (const [output_index, item] of run.output.entries()) {
    yield* item.type === "message"
      ? messageEvents(event, item, output_index)
      : callEvents(event, item, output_index);
  }
  yield event(
    cutShort(run.answer) ? "response.incomplete" : "response.completed",
    { response: last },
    { terminal: true },
  );
  if (run.flavour === "openrouter") yield { terminal: true, data: "[DONE]" };
}

function* messageEvents(event, item, output_index) {
  const [part] = item.content;
  const place = { item_id: item.id, output_index, content_index: 0 };
  yield event("response.output_item.added", {
    output_index,
    item: { ...item, status: "in_progress", content: [] },
  });
  yield event("response.content_part.added", { ...place, part: textPart("") });
  for (const piece of words(part.text))
    yield event("response.output_text.delta", { ...place, delta: piece, logprobs: [] }, { delta: true });
  yield event("response.output_text.done", { ...place, text: part.text, logprobs: [] }, { closing: true });
  yield event("response.content_part.done", { ...place, part }, { closing: true });
  yield event("response.output_item.done", { output_index, item }, { closing: true });
}

function* callEvents(event, item, output_index) {
  const place = { item_id: item.id, output_index };
  yield event("response.output_item.added", {
    output_index,
    item: { ...item, status: "in_progress", arguments: "" },
  });
  for (const piece of argumentPieces(item.arguments))
    yield event("response.function_call_arguments.delta", { ...place, delta: piece }, { delta: true });
  yield event(
    "response.function_call_arguments.done",
    { ...place, name: item.name, arguments: item.arguments },
    { closing: true },
  );
  yield event("response.output_item.done", { output_index, item }, { closing: true });
}

function failure(run, error, sent) {
  const { type, code, message, param } = error;
  return [
    { data: { type: "error", sequence_number: sent, error: { type, code, message, param } } },
    { data: { type: "response.failed", sequence_number: sent + 1, response: failed(run, error) } },
  ];
}
