// Owns: OpenAI Chat Completions on the wire, in the accents of OpenAI, Google's compatible endpoint and OpenRouter.
// Invariant: a request OpenAI would refuse is refused here, naming the same `param`; no answer is made up in this file.

import {
  argumentPieces,
  base64Medium,
  completionTokens,
  invalid,
  limit,
  medium,
  newId,
  promptTokens,
  words,
} from "./conversation.mjs";
import { openai, routesFor } from "./openai.mjs";

export const chat = {
  ...openai,
  speaks: true,
  routes: routesFor("POST", "/chat/completions"),

  answer({ body, model, flavour, answerTo }) {
    const conversation = readConversation(body, model, flavour);
    const answer = limit(answerTo(conversation), conversation);
    for (const call of answer.toolCalls ?? []) call.id = newId("call_");
    const run = {
      flavour,
      model,
      answer,
      id:
        flavour === "openrouter"
          ? newId("gen-", 20)
          : flavour === "google"
            ? newId("", 22)
            : newId("chatcmpl-", 29),
      created: Math.floor(Date.now() / 1000),
      choices: Array.from({ length: body.n ?? 1 }, (_, index) => index),
      finish: finishOf(answer),
      usage: usage(conversation, answer, body.n ?? 1, flavour),
      includeUsage: body.stream_options?.include_usage === true,
    };
    if (body.stream === true) return { events: events(run), failure: (error) => failure(run, error) };
    return { whole: whole(run), failedWhole: (error) => openai.errorBody(error, flavour) };
  },
};

const finishOf = ({ cut, filtered, toolCalls }) =>
  filtered ? "content_filter" : cut ? "length" : toolCalls ? "tool_calls" : "stop";

const ROLES = ["system", "developer", "user", "assistant", "tool", "function"];
const PARTS = {
  system: ["text"],
  developer: ["text"],
  tool: ["text"],
  function: ["text"],
  assistant: ["text", "refusal"],
  user: ["text", "image_url", "input_audio", "file"],
};

function readConversation(body, model, flavour) {
  if (!Array.isArray(body.messages))
    throw invalid("'messages' is required and must be a list.", "messages", "missing_required_parameter");
  if (body.messages.length === 0)
    throw invalid("'messages' is empty: at least one message is needed.", "messages", "empty_array");
  if (body.n !== undefined && !(Number.isInteger(body.n) && body.n >= 1 && body.n <= 128))
    throw invalid("'n' must be an integer from 1 to 128.", "n", "invalid_value");
  const turns = body.messages.map(readMessage);
  checkToolTurns(body.messages);
  if (flavour === "google") checkThoughtSignatures(body.messages, model);
  if (body.tools != null && !Array.isArray(body.tools))
    throw invalid("'tools' must be a list.", "tools", "invalid_type");
  const tools = (body.tools ?? []).filter((tool) => tool?.type === "function").map(readTool);
  const format = body.response_format;
  return {
    turns,
    parallel: body.parallel_tool_calls !== false,
    ...readToolChoice(body, tools),
    schema:
      format?.type === "json_schema"
        ? (format.json_schema?.schema ?? {})
        : format?.type === "json_object"
          ? {}
          : null,
    maxTokens: readLimit(body, "max_completion_tokens") ?? readLimit(body, "max_tokens"),
    stop: [body.stop ?? []].flat().filter((sequence) => typeof sequence === "string"),
  };
}

function readMessage(message, n) {
  const role = message?.role;
  if (!ROLES.includes(role))
    throw invalid(
      `'messages[${n}].role' must be one of ${ROLES.join(", ")}.`,
      `messages[${n}].role`,
      "invalid_value",
    );
  const turn = {
    role: role === "developer" ? "system" : role === "function" ? "tool" : role,
    text: "",
    media: [],
    toolCalls: [],
  };
  const { content } = message;
  if (typeof content === "string") turn.text = content;
  else if (Array.isArray(content)) {
    turn.text = content
      .map((part, k) => readPart(part, `messages[${n}].content[${k}]`, role, turn.media))
      .filter((text) => text !== null)
      .join("\n");
  } else if (!(
    role === "assistant" &&
    content == null &&
    (message.tool_calls || message.refusal || message.function_call || message.audio)
  )) {
    throw invalid(
      `'messages[${n}].content' must be a string or a list of parts.`,
      `messages[${n}].content`,
      "invalid_type",
    );
  }
  if (message.tool_calls != null && !Array.isArray(message.tool_calls))
    throw invalid(`'messages[${n}].tool_calls' must be a list.`, `messages[${n}].tool_calls`, "invalid_type");
  for (const [k, call] of (message.tool_calls ?? []).entries()) {
    const inner = call?.function ?? call?.custom;
    if (typeof call?.id !== "string" || typeof inner?.name !== "string")
      throw invalid(
        `'messages[${n}].tool_calls[${k}]' needs an id and a function name.`,
        `messages[${n}].tool_calls[${k}]`,
        "missing_required_parameter",
      );
    turn.toolCalls.push({ id: call.id, name: inner.name, arguments: inner.arguments ?? inner.input ?? "" });
  }
  return turn;
}

function readPart(part, where, role, media) {
  if (typeof part?.type !== "string")
    throw invalid(`'${where}.type' is required.`, `${where}.type`, "missing_required_parameter");
  if (!PARTS[role].includes(part.type))
    throw invalid(
      `'${where}.type' is '${part.type}'; a ${role} message may hold ${PARTS[role].join(", ")}.`,
      `${where}.type`,
      "invalid_value",
    );
  if (part.type === "image_url") media.push(medium("image", part.image_url?.url));
  else if (part.type === "input_audio")
    media.push(base64Medium("audio", `audio/${part.input_audio?.format}`, part.input_audio?.data));
  else if (part.type === "file") media.push(medium("file", part.file?.file_data ?? part.file?.file_id));
  else if (typeof (part.text ?? part.refusal) !== "string")
    throw invalid(`'${where}.text' is required.`, `${where}.text`, "missing_required_parameter");
  return part.text ?? part.refusal ?? null;
}

// The pairing is checked on raw messages, because it is about neighbours and not about meaning.
function checkToolTurns(messages) {
  for (let n = 0; n < messages.length; n++) {
    if (messages[n].role === "tool") {
      throw invalid(
        `'messages[${n}]' is a tool message that answers no tool call of the assistant message before it.`,
        `messages.[${n}].role`,
      );
    }
    const open = new Set((messages[n].tool_calls ?? []).map((call) => call.id));
    if (open.size === 0) continue;
    const asked = n;
    while (messages[n + 1]?.role === "tool") {
      if (!open.delete(messages[++n].tool_call_id))
        throw invalid(
          `'messages[${n}].tool_call_id' names no open tool call of 'messages[${asked}]'.`,
          `messages.[${n}].tool_call_id`,
        );
    }
    if (open.size)
      throw invalid(
        `The tool calls of 'messages[${asked}]' must be answered by tool messages right after it; unanswered: ${[...open].join(", ")}.`,
        `messages.[${asked}].tool_calls`,
      );
  }
}

// Gemini 3 refuses a tool result whose call lost the signature it was given with: the field a proxy drops most easily.
function checkThoughtSignatures(messages, model) {
  if (!/(^|\/)gemini-3/.test(model)) return;
  const current = messages.findLastIndex(({ role }) => role === "user");
  for (const [n, message] of messages.entries()) {
    if (
      n > current &&
      message.tool_calls?.length &&
      !message.tool_calls[0].extra_content?.google?.thought_signature
    ) {
      throw invalid(`The function call of messages[${n}] has no thought_signature.`, null);
    }
  }
}

function readTool(tool, n) {
  if (!/^[a-zA-Z0-9_.:-]{1,128}$/.test(tool.function?.name ?? ""))
    throw invalid(
      `'tools[${n}].function.name' is missing or has characters outside a-z, A-Z, 0-9, _ and -.`,
      `tools[${n}].function.name`,
      "invalid_value",
    );
  return { name: tool.function.name, parameters: tool.function.parameters ?? {} };
}

function readToolChoice({ tool_choice: choice, tools: given }, tools) {
  if (choice == null || choice === "auto") return { tools, toolChoice: "auto" };
  if (!given?.length) throw invalid("'tool_choice' needs 'tools'.", "tool_choice");
  if (choice === "none" || choice === "required") return { tools, toolChoice: choice };
  if (choice.type === "allowed_tools") {
    const names = (choice.allowed_tools?.tools ?? []).map((tool) => tool.function?.name);
    return {
      tools: tools.filter(({ name }) => names.includes(name)),
      toolChoice: choice.allowed_tools?.mode ?? "auto",
    };
  }
  const name = choice.function?.name;
  if (!tools.some((tool) => tool.name === name))
    throw invalid(`'tool_choice' names '${name}', which is not among 'tools'.`, "tool_choice");
  return { tools, toolChoice: { name } };
}

function readLimit(body, field) {
  const value = body[field] ?? null;
  if (value !== null && !(Number.isInteger(value) && value >= 1))
    throw invalid(`'${field}' must be an integer of at least 1.`, field, "integer_below_min_value");
  return value;
}

function usage(conversation, answer, n, flavour) {
  const prompt = promptTokens(conversation),
    completion = completionTokens(answer) * n;
  const sum = { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion };
  if (flavour === "google") return sum;
  const details = {
    prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
    completion_tokens_details: {
      reasoning_tokens: 0,
      audio_tokens: 0,
      accepted_prediction_tokens: 0,
      rejected_prediction_tokens: 0,
    },
  };
  return flavour === "openrouter"
    ? { ...sum, cost: (prompt + completion * 4) / 1e7, is_byok: false, ...details }
    : { ...sum, ...details };
}

const SIGNATURE = { extra_content: { google: { thought_signature: "c2FuZGJveA==" } } };

const wireCall = ({ id, name, arguments: json }, flavour, first) => ({
  ...(flavour === "google" && first && SIGNATURE),
  id,
  type: "function",
  function: { name, arguments: json },
});

function whole({ id, created, model, flavour, answer, finish, choices, usage: used }) {
  const message = { role: "assistant", content: answer.text ?? null };
  if (answer.toolCalls)
    message.tool_calls = answer.toolCalls.map((call, n) => wireCall(call, flavour, n === 0));
  if (flavour === "google" && message.content === null) delete message.content;
  if (flavour === "openai") Object.assign(message, { refusal: null, annotations: [] });
  if (flavour === "openrouter") Object.assign(message, { refusal: null, reasoning: null });
  const reply = {
    id,
    object: "chat.completion",
    created,
    model,
    choices: choices.map((index) => ({ index, message, ...choiceEnd(flavour, finish) })),
    usage: used,
  };
  if (flavour === "openrouter") reply.provider = "Sandbox";
  return flavour === "google" ? reply : { ...reply, service_tier: "default", system_fingerprint: "sandbox" };
}

const choiceEnd = (flavour, finish) => ({
  ...(flavour === "openai" && { logprobs: null }),
  // Google leaves a field out where OpenAI writes null.
  ...((flavour !== "google" || finish) && { finish_reason: finish }),
  ...(flavour === "openrouter" && { native_finish_reason: finish }),
});

function chunk({ id, created, model, flavour, includeUsage, usage: used }, index, delta, finish = null) {
  return {
    id,
    object: "chat.completion.chunk",
    created,
    model,
    ...(flavour === "openai" && { service_tier: "default" }),
    ...(flavour === "openrouter" && { provider: "Sandbox" }),
    ...(flavour !== "google" && { system_fingerprint: "sandbox" }),
    choices: [
      {
        index,
        delta: flavour === "openai" ? delta : { role: "assistant", ...delta },
        ...choiceEnd(flavour, finish),
      },
    ],
    ...(flavour === "openai" && includeUsage && { usage: null }),
    ...(flavour === "google" && { usage: used }),
  };
}

function* events(run) {
  const { answer, choices, flavour, finish } = run;
  if (flavour === "openrouter") yield { comment: "OPENROUTER PROCESSING" };
  if (flavour === "openai") {
    for (const index of choices)
      yield {
        data: chunk(run, index, { role: "assistant", content: answer.toolCalls ? null : "", refusal: null }),
      };
  }
  for (const piece of words(answer.text ?? "")) {
    for (const index of choices) yield { delta: true, data: chunk(run, index, { content: piece }) };
  }
  for (const [n, call] of (answer.toolCalls ?? []).entries()) {
    for (const index of choices) yield* callEvents(run, index, n, call);
  }
  const empty = flavour === "openai" ? {} : { content: "" };
  for (const index of choices) yield { closing: true, data: chunk(run, index, empty, finish) };
  if (flavour === "openrouter")
    yield { closing: true, data: { ...chunk(run, 0, empty, finish), usage: run.usage } };
  if (flavour === "openai" && run.includeUsage)
    yield { closing: true, data: { ...chunk(run, 0, {}), choices: [], usage: run.usage } };
  yield { terminal: true, data: "[DONE]" };
}

function* callEvents(run, index, n, call) {
  const wire = { index: n, ...wireCall(call, run.flavour, n === 0) };
  // Google sends a call whole, in one chunk.
  if (run.flavour === "google") return yield { delta: true, data: chunk(run, index, { tool_calls: [wire] }) };
  yield {
    delta: true,
    data: chunk(run, index, { tool_calls: [{ ...wire, function: { ...wire.function, arguments: "" } }] }),
  };
  for (const piece of argumentPieces(call.arguments)) {
    yield {
      delta: true,
      data: chunk(run, index, { tool_calls: [{ index: n, function: { arguments: piece } }] }),
    };
  }
}

function failure(run, error) {
  if (run.flavour !== "openrouter") return [{ data: [openai.errorBody(error, run.flavour)].flat()[0] }];
  // OpenRouter reports it inside an otherwise ordinary chunk, where a reader of choices alone overlooks it.
  return [
    {
      data: {
        ...chunk(run, 0, { content: "" }, "error"),
        error: { code: error.status, message: error.message },
      },
    },
  ];
}
