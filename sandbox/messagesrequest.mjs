// Owns: reading one Messages request into the neutral conversation, field by field.
// Invariant: what Anthropic refuses in a single field or block is refused here, the message beginning with its path;
// what is wrong between messages is messagesorder.mjs's.

import { base64Medium, invalid } from "./conversation.mjs";
import { checkOrder } from "./messagesorder.mjs";
import { marksOf } from "./promptcache.mjs";
import { isGenuine } from "./thinking.mjs";

const refuse = (path, told) => {
  throw invalid(`${path}: ${told}`, path);
};

const COUNTED = [
  "model",
  "messages",
  "system",
  "tools",
  "tool_choice",
  "thinking",
  "cache_control",
  "output_config",
  "output_format",
  "context_management",
  "mcp_servers",
  "speed",
];
const FIELDS = {
  count: COUNTED,
  create: [
    ...COUNTED,
    "max_tokens",
    "stream",
    "stop_sequences",
    "temperature",
    "top_p",
    "top_k",
    "metadata",
    "service_tier",
    "container",
    "inference_geo",
  ],
};

/** { conversation, thinking, prefill }: `thinking` is null unless asked for, `prefill` the answer's given beginning. */
export function readRequest(body, { model, flavour, kind, version }) {
  // Fields of other APIs that a translation left in are the mistake to find; OpenRouter has fields of its own.
  if (flavour === "anthropic") only(body, FIELDS[kind], "");
  if (!Array.isArray(body.messages)) refuse("messages", "this field is required and must be a list.");
  if (body.messages.length === 0) refuse("messages", "at least one message is required.");
  if (kind === "create" && body.max_tokens === undefined) refuse("max_tokens", "this field is required.");
  if (kind === "create" && !(Number.isInteger(body.max_tokens) && body.max_tokens >= 0))
    refuse("max_tokens", "must be an integer of at least 0.");
  if (flavour === "anthropic" && version >= "2026-10-21") checkNewest(body);
  const thinking = readThinking(body);
  const turns = [...readSystem(body.system), ...body.messages.flatMap(readMessage)];
  checkOrder(body, model, thinking);
  const tools = readTools(body.tools);
  checkMarks(body);
  const format = body.output_config?.format ?? body.output_format;
  const last = body.messages.at(-1);
  return {
    thinking,
    prefill: last.role === "assistant" ? turns.at(-1).text : "",
    conversation: {
      turns,
      tools,
      ...readToolChoice(body, tools, thinking),
      schema: format?.type === "json_schema" ? (format.schema ?? {}) : null,
      maxTokens: body.max_tokens ?? null,
      stop: readStop(body.stop_sequences),
    },
  };
}

function only(value, fields, path) {
  const other = Object.keys(value).find((field) => !fields.includes(field));
  if (other) refuse(path + other, "Extra inputs are not permitted.");
}

// What version 2026-10-21 took away: sampling, and citations of the user's. Documents of the assistant's are none of any
// version here.
function checkNewest(body) {
  only(
    body,
    FIELDS.create.filter((field) => !["temperature", "top_p", "top_k"].includes(field)),
    "",
  );
  body.messages.forEach((message, n) => {
    if (message?.role !== "user" || !Array.isArray(message.content)) return;
    message.content.forEach((block, k) => {
      if (block?.type === "text" && block.citations?.length)
        refuse(`messages.${n}.content.${k}.text.citations`, "Extra inputs are not permitted.");
    });
  });
}

function readThinking({ thinking, max_tokens: most, temperature }) {
  if (temperature !== undefined && !(temperature >= 0 && temperature <= 1))
    refuse("temperature", "must be between 0 and 1.");
  if (thinking == null || thinking.type === "disabled") return null;
  if (thinking.type !== "enabled" && thinking.type !== "adaptive")
    refuse("thinking.type", "must be enabled, adaptive or disabled.");
  if (temperature !== undefined && temperature !== 1) refuse("temperature", "may only be 1 with thinking.");
  if (thinking.type === "adaptive") return thinking;
  const budget = thinking.budget_tokens;
  if (!(Number.isInteger(budget) && budget >= 1024))
    refuse("thinking.enabled.budget_tokens", "must be an integer of at least 1024.");
  if (most !== undefined && budget >= most)
    refuse("max_tokens", "must be greater than thinking.budget_tokens.");
  return thinking;
}

const turn = (role, text, more) => ({ role, text, media: [], toolCalls: [], ...more });

function readSystem(system) {
  if (system == null || system === "") return [];
  if (typeof system === "string") return [turn("system", system)];
  if (!Array.isArray(system)) refuse("system", "must be a string or a list of text blocks.");
  system.forEach((block, n) =>
    block?.type === "text"
      ? checkText(block.text, `system.${n}`)
      : refuse(`system.${n}.type`, "must be text."),
  );
  return [turn("system", system.map(({ text }) => text).join("\n"))];
}

function readMessage(message, n, { length }) {
  const where = `messages.${n}`;
  if (!["user", "assistant", "system"].includes(message?.role))
    refuse(`${where}.role`, "must be user or assistant.");
  only(message, ["role", "content"], `${where}.`);
  const { role, content } = message;
  if (typeof content !== "string" && !Array.isArray(content))
    refuse(`${where}.content`, "must be a string or a list of blocks.");
  // Only the beginning of an answer, which a last assistant message is, may be empty.
  if (content.length === 0)
    return role === "assistant" && n === length - 1
      ? [turn(role, "")]
      : refuse(where, "content must be non-empty.");
  const blocks = typeof content === "string" ? [{ type: "text", text: content }] : content;
  const said = turn(role, ""),
    texts = [],
    results = [];
  blocks.forEach((block, k) => readBlock(block, `${where}.content.${k}`, said, texts, results));
  said.text = texts.join("\n");
  return results.length && !texts.length && !said.media.length ? results : [...results, said];
}

const BLOCKS = {
  text: { roles: "user assistant system", fields: ["text", "citations"] },
  image: { roles: "user", fields: ["source"] },
  document: { roles: "user", fields: ["source", "title", "context", "citations"] },
  search_result: { roles: "user", fields: ["source", "title", "content", "citations"] },
  tool_result: { roles: "user", fields: ["tool_use_id", "content", "is_error"] },
  tool_use: { roles: "assistant", fields: ["id", "name", "input", "caller"] },
  thinking: { roles: "assistant", fields: ["thinking", "signature"] },
  redacted_thinking: { roles: "assistant", fields: ["data"] },
};
// Anthropic's own tools and betas: valid, but nothing in them that a rule could read.
const UNREAD =
  /^(?:server_tool_use|mcp_tool_use|container_upload|compaction|tool_addition|tool_removal|tool_reference)$|^\w+_tool_result$/;

function readBlock(block, path, said, texts, results) {
  const known = Object.hasOwn(BLOCKS, block?.type) ? BLOCKS[block.type] : null;
  if (!known && UNREAD.test(block?.type ?? "")) return;
  if (!known?.roles.split(" ").includes(said.role))
    refuse(path, `the type '${block?.type}' is none that a message of this role may hold.`);
  only(block, ["type", "cache_control", ...known.fields], `${path}.${block.type}.`);
  READ[block.type](block, path, { said, texts, results });
}

const READ = {
  text({ text }, path, { texts }) {
    checkText(text, path);
    texts.push(text);
  },
  image({ source }, path, { said }) {
    said.media.push(mediumOf("image", source, `${path}.image.source`));
  },
  document({ source }, path, { said }) {
    said.media.push(mediumOf("file", source, `${path}.document.source`));
  },
  search_result({ title, content }, path, { texts }) {
    texts.push(
      [title, ...list(content, `${path}.search_result.content`).map((inner) => inner?.text)].join("\n"),
    );
  },
  tool_result(block, path, { results }) {
    if (!isId(block.tool_use_id))
      refuse(`${path}.tool_result.tool_use_id`, "must be an id of letters, digits, _ and -.");
    const said = turn("user", ""),
      texts = [];
    if (typeof block.content === "string") texts.push(block.content);
    else
      list(block.content ?? [], `${path}.tool_result.content`).forEach((inner, k) =>
        readBlock(inner, `${path}.tool_result.content.${k}`, said, texts, []),
      );
    results.push(turn("tool", texts.join("\n"), { media: said.media }));
  },
  tool_use({ id, name, input }, path, { said }) {
    if (!isId(id)) refuse(`${path}.tool_use.id`, "must be an id of letters, digits, _ and -.");
    if (typeof name !== "string" || name === "" || name.length > 200)
      refuse(`${path}.tool_use.name`, "must have 1 to 200 characters.");
    if (!isObject(input)) refuse(`${path}.tool_use.input`, "must be an object, not JSON text.");
    said.toolCalls.push({ id, name, arguments: JSON.stringify(input) });
  },
  thinking(block, path) {
    if (block.cache_control) refuse(`${path}.thinking.cache_control`, "Extra inputs are not permitted.");
    if (typeof block.thinking !== "string") refuse(`${path}.thinking.thinking`, "this field is required.");
    if (typeof block.signature !== "string") refuse(`${path}.thinking.signature`, "this field is required.");
    if (!isGenuine(block)) refuse(path, "Invalid `signature` in `thinking` block");
  },
  redacted_thinking(block, path) {
    if (!isGenuine(block)) refuse(path, "Invalid `data` in `redacted_thinking` block");
  },
};

const list = (value, path) => (Array.isArray(value) ? value : refuse(path, "must be a list of blocks."));
const isId = (id) => typeof id === "string" && /^[a-zA-Z0-9_-]+$/.test(id);
const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

function checkText(text, path) {
  if (typeof text !== "string") refuse(`${path}.text`, "this field is required and must be a string.");
  if (text === "") refuse(path, "text content blocks must be non-empty.");
  if (!/\S/.test(text)) refuse(path, "text content blocks must hold more than whitespace.");
}

const IMAGE_TYPES = ["image/jpeg", "image/png", "image/gif", "image/webp"];

function mediumOf(kind, source, path) {
  if (source?.type === "url" && typeof source.url === "string") return { kind, url: source.url };
  if (source?.type === "file" && typeof source.file_id === "string") return { kind, url: source.file_id };
  if (kind === "file" && source?.type === "text" && typeof source.data === "string")
    return { kind, type: "text/plain", bytes: Buffer.byteLength(source.data) };
  if (kind === "file" && source?.type === "content")
    return { kind, type: "text/plain", bytes: JSON.stringify(source.content ?? "").length };
  if (source?.type !== "base64") refuse(path, "is none of the kinds of source.");
  const types = kind === "image" ? IMAGE_TYPES : ["application/pdf"];
  if (!types.includes(source.media_type))
    refuse(`${path}.base64.media_type`, `must be one of ${types.join(", ")}.`);
  // A data URL put in whole is the likely mistake, and its first characters show it.
  if (!/^[A-Za-z0-9+/]{2}[A-Za-z0-9+/=]{2,}$/.test(source.data?.slice?.(0, 64) ?? ""))
    refuse(`${path}.base64.data`, "is not base64.");
  return base64Medium(kind, source.media_type, source.data);
}

function checkMarks(body) {
  const blocks = [body.tools, body.system, ...body.messages.map(({ content }) => content)]
    .filter(Array.isArray)
    .flat();
  const marks = [...blocks.flatMap(marksOf), ...(body.cache_control ? [body.cache_control] : [])];
  for (const { type, ttl = "5m" } of marks) {
    if (type !== "ephemeral" || !["5m", "1h"].includes(ttl))
      refuse("cache_control", "the type must be ephemeral, the ttl 5m or 1h.");
  }
  if (marks.length > 4)
    throw invalid(`At most 4 blocks may have cache_control; ${marks.length} have.`, "cache_control");
}

const TOOL_FIELDS = [
  "type",
  "name",
  "description",
  "input_schema",
  "cache_control",
  "strict",
  "defer_loading",
  "allowed_callers",
  "input_examples",
  "eager_input_streaming",
];

function readTools(tools) {
  if (tools == null) return [];
  if (!Array.isArray(tools)) refuse("tools", "must be a list.");
  const names = new Set();
  return tools.flatMap((tool, n) => {
    const own = tool?.type == null || tool.type === "custom";
    // Anthropic's own tools are known by a date; they are executed there and not by rules.
    if (!own && !(isObject(tool) && /_\d{8}$/.test(tool.type)))
      refuse(`tools.${n}`, `the type '${tool.type}' is none of Anthropic's.`);
    if (names.has(tool?.name)) refuse("tools", "names must be unique.");
    names.add(tool?.name);
    return own ? [readTool(tool, `tools.${n}.custom`)] : [];
  });
}

function readTool(tool, path) {
  if (!isObject(tool)) refuse(path, "must be an object.");
  only(tool, TOOL_FIELDS, `${path}.`);
  if (typeof tool.name !== "string" || !/^[a-zA-Z0-9_-]{1,128}$/.test(tool.name))
    refuse(`${path}.name`, "must be 1 to 128 letters, digits, _ and -.");
  const schema = tool.input_schema;
  if (!isObject(schema)) refuse(`${path}.input_schema`, "this field is required.");
  if (schema.type !== "object") refuse(`${path}.input_schema.type`, "must be object.");
  if (schema.oneOf ?? schema.anyOf ?? schema.allOf)
    refuse(`${path}.input_schema`, "may have no oneOf, anyOf or allOf at its top.");
  if (!isObject(schema.properties ?? {})) refuse(`${path}.input_schema.properties`, "must be an object.");
  if (!Array.isArray(schema.required ?? [])) refuse(`${path}.input_schema.required`, "must be a list.");
  // null is allowed for both, and means the same as leaving them out.
  const given = Object.entries(schema).filter(([, value]) => value !== null);
  return { name: tool.name, parameters: Object.fromEntries(given) };
}

function readToolChoice({ tool_choice: choice, tools: given }, tools, thinking) {
  if (choice == null) return { toolChoice: "auto", parallel: true };
  if (!["auto", "any", "tool", "none"].includes(choice.type))
    refuse("tool_choice", "must be an object whose type is auto, any, tool or none.");
  if (!given?.length) refuse("tool_choice", "may only be given with tools.");
  const forced = choice.type === "any" || choice.type === "tool";
  if (forced && thinking?.type === "enabled")
    refuse("tool_choice", "must not force a tool while thinking is enabled.");
  if (choice.type === "tool" && !given.some(({ name }) => name === choice.name))
    refuse("tool_choice", `the tool '${choice.name}' is not among tools.`);
  const named =
    choice.type === "tool" && tools.some(({ name }) => name === choice.name) ? { name: choice.name } : "auto";
  return {
    toolChoice: choice.type === "any" ? "required" : choice.type === "none" ? "none" : named,
    parallel: choice.disable_parallel_tool_use !== true,
  };
}

function readStop(sequences) {
  if (sequences == null) return [];
  if (!Array.isArray(sequences)) refuse("stop_sequences", "must be a list.");
  sequences.forEach(
    (sequence, n) => /\S/.test(sequence) || refuse(`stop_sequences.${n}`, "must hold more than whitespace."),
  );
  return sequences;
}
