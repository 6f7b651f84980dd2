// Owns: reading one Gemini request into the neutral conversation.
// Invariant: what Google refuses in a single field is refused here, what is undeclared in geminishape.mjs, and what is
// wrong between contents in geminiorder.mjs.

import { base64Medium, invalid } from "./conversation.mjs";
import { checkOrder } from "./geminiorder.mjs";
import { COUNT, GENERATE, read } from "./geminishape.mjs";

const refuse = (path, told) => {
  throw invalid(`* GenerateContentRequest.${path}: ${told}\n`, path);
};

/** What a model of this name can do, as far as requests and answers show it. */
export const abilities = (model) => ({
  third: /^gemini-3/.test(model),
  thinker: /^gemini-(?:2\.5|3)/.test(model),
  // These think on their own; the light ones only when told a budget.
  byDefault: /^gemini-(?:2\.5|3)/.test(model) && !/^gemini-2\.5-flash-lite/.test(model),
  always: /^gemini-(?:2\.5|3[\d.]*)-pro/.test(model),
});

/** { conversation, thinks, showsThoughts, candidates, logprobs, cached, unwrap } */
export function readRequest(body, model) {
  return interpret(read(body, GENERATE), model);
}

export function readCount(body, model) {
  const { contents, generateContentRequest: request } = read(body, COUNT);
  if (request === undefined) return interpret({ contents }, model);
  if (contents !== undefined)
    throw invalid("Only one of contents and generate_content_request may be set.", "contents");
  if (request.model !== `models/${model}`)
    throw invalid(
      `generate_content_request.model must be 'models/${model}'.`,
      "generate_content_request.model",
    );
  return interpret(request, model);
}

function interpret(request, model) {
  const { contents = [], systemInstruction: system, cachedContent, generationConfig: config = {} } = request;
  if (contents.length === 0) refuse("contents", "contents is not specified");
  contents.forEach(checkContent);
  const merged = modelsMerged(contents);
  const turns = [...readSystem(system), ...merged.flatMap(readContent)];
  checkOrder(merged, model);
  if (cachedContent !== undefined) checkCached(request);
  checkConfig(config);
  const tools = readTools(request.tools ?? [], request, model),
    format = readFormat(config, request, model);
  return {
    ...readThinking(config.thinkingConfig ?? {}, model),
    candidates: config.candidateCount ?? 1,
    logprobs: config.responseLogprobs ? (config.logprobs ?? 0) : null,
    cached: cachedContent !== undefined,
    unwrap: format.unwrap,
    conversation: {
      turns,
      parallel: true,
      ...readToolConfig(request.toolConfig?.functionCallingConfig ?? {}, tools),
      schema: format.schema,
      maxTokens: config.maxOutputTokens ?? null,
      stop: config.stopSequences ?? [],
    },
  };
}

const turn = (role, text, more) => ({ role, text, media: [], toolCalls: [], ...more });

function readSystem(system) {
  if (system === undefined) return [];
  if (!system.parts?.length) refuse("system_instruction.parts", "must not be empty.");
  if (system.parts.some(({ text }) => text === undefined))
    throw invalid("System instruction only supports text parts.", "system_instruction");
  return [turn("system", system.parts.map(({ text }) => text).join("\n"))];
}

const DATA = [
  "text",
  "inlineData",
  "fileData",
  "functionCall",
  "functionResponse",
  "executableCode",
  "codeExecutionResult",
  "toolCall",
  "toolResponse",
];

function checkContent({ role = "user", parts = [] }, n) {
  const where = `contents[${n}]`;
  if (role !== "user" && role !== "model")
    throw invalid("Please use a valid role: user, model.", `${where}.role`);
  if (parts.length === 0) refuse(`${where}.parts`, "contents.parts must not be empty.");
  parts.forEach((part, k) => checkPart(part, `${where}.parts[${k}]`, role));
}

// Google's own client gives back each chunk of a stream as a content of its own, so neighbours of the model are one;
// `at` is the place the first of them had.
function modelsMerged(contents) {
  const merged = [];
  contents.forEach(({ role = "user", parts }, at) => {
    if (role === "model" && merged.at(-1)?.role === "model") merged.at(-1).parts.push(...parts);
    else merged.push({ role, parts: [...parts], at });
  });
  return merged;
}

function readContent({ role, parts }) {
  const shown = parts.filter(({ thought }) => !thought);
  const results = shown.flatMap(({ functionResponse }) =>
    functionResponse ? [resultOf(functionResponse)] : [],
  );
  const said = turn(
    role === "model" ? "assistant" : "user",
    shown
      .flatMap(({ text }) => text ?? [])
      // What was streamed in pieces is one text when it comes back.
      .join(role === "model" ? "" : "\n"),
    {
      media: shown.flatMap(mediumOf),
      toolCalls: shown.flatMap(({ functionCall: call }) =>
        call ? [{ id: call.id, name: call.name, arguments: JSON.stringify(call.args ?? {}) }] : [],
      ),
    },
  );
  return results.length && !said.text && !said.media.length ? results : [...results, said];
}

function checkPart(part, path, role) {
  const [first, second] = DATA.filter((field) => field in part);
  if (first === undefined)
    refuse(`${path}.data`, "required oneof field 'data' must have one initialized field");
  if (second !== undefined)
    throw invalid(
      `Invalid value at '${path}' (oneof), oneof field 'data' is already set. Cannot set '${second}'`,
      path,
      "BAD_REQUEST",
    );
  if (part.functionCall && role !== "model")
    throw invalid("Function calls may only be in a model turn.", path);
  if (part.functionResponse && role === "model")
    throw invalid("Function responses may not be in a model turn.", path);
  if (part.functionCall && !part.functionCall.name)
    refuse(`${path}.function_call.name`, "Name cannot be empty.");
  if (part.functionResponse) {
    const { name, response, parts = [] } = part.functionResponse;
    if (!name) refuse(`${path}.function_response.name`, "Name cannot be empty.");
    if (response === undefined) refuse(`${path}.function_response.response`, "must be set.");
    parts.forEach((inner, k) => checkMedium(inner, `${path}.function_response.parts[${k}]`));
  }
  checkMedium(part, path);
}

const READABLE =
  /^(?:image\/(?:png|jpe?g|webp|heic|heif|avif)|audio\/[\w.+-]+|video\/[\w.+-]+|text\/[\w.+-]+|application\/(?:pdf|json|xml))(?:;|$)/;

function checkMedium({ inlineData, fileData }, path) {
  if (inlineData) {
    if (!inlineData.mimeType) refuse(`${path}.inline_data.mime_type`, "mime_type must be set.");
    if (!READABLE.test(inlineData.mimeType))
      throw invalid(`Unsupported MIME type: ${inlineData.mimeType}`, `${path}.inline_data.mime_type`);
    if (!inlineData.data) refuse(`${path}.inline_data.data`, "data must not be empty.");
  }
  if (fileData && !fileData.fileUri) refuse(`${path}.file_data.file_uri`, "file_uri must be set.");
}

const kindOf = (type = "") => (/^image/.test(type) ? "image" : /^audio/.test(type) ? "audio" : "file");

function mediumOf({ inlineData, fileData }) {
  if (inlineData) return [base64Medium(kindOf(inlineData.mimeType), inlineData.mimeType, inlineData.data)];
  return fileData ? [{ kind: kindOf(fileData.mimeType), url: fileData.fileUri }] : [];
}

// A result that is plain text has to be put under a name, and is told again without it.
function resultOf({ response, parts = [] }) {
  const values = Object.values(response);
  const text = values.length === 1 && typeof values[0] === "string" ? values[0] : JSON.stringify(response);
  return turn("tool", text, { media: parts.flatMap(mediumOf) });
}

function checkCached({ cachedContent, systemInstruction, tools, toolConfig }) {
  if (!/^cachedContents\/[\w-]+$/.test(cachedContent))
    throw invalid(`Invalid CachedContent name: ${cachedContent}.`, "cached_content");
  if (systemInstruction ?? tools ?? toolConfig)
    throw invalid(
      "CachedContent can not be used with GenerateContent request setting system_instruction, tools or tool_config.",
      "cached_content",
    );
}

const RANGES = {
  temperature: ["temperature", 0, 2],
  topP: ["top_p", 0, 1],
  topK: ["top_k", 1, Infinity],
  candidateCount: ["candidate_count", 1, 8],
  maxOutputTokens: ["max_output_tokens", 1, Infinity],
  presencePenalty: ["presence_penalty", -2, 2],
  frequencyPenalty: ["frequency_penalty", -2, 2],
  logprobs: ["logprobs", 0, 20],
};

function checkConfig(config) {
  for (const [field, [name, least, most]] of Object.entries(RANGES)) {
    if (config[field] !== undefined && !(config[field] >= least && config[field] <= most))
      refuse(`generation_config.${name}`, `must be in the range [${least}, ${most}].`);
  }
  const stop = config.stopSequences ?? [];
  if (stop.length > 5) refuse("generation_config.stop_sequences", "at most 5 stop sequences are allowed.");
  if (stop.includes("")) refuse("generation_config.stop_sequences", "stop sequences must not be empty.");
  if (config.logprobs !== undefined && !config.responseLogprobs)
    refuse("generation_config.logprobs", "may only be set when response_logprobs is true.");
}

function readThinking(config, model) {
  const { thinkingBudget: budget, thinkingLevel: level, includeThoughts } = config;
  const { third, thinker, byDefault, always } = abilities(model);
  const no = (told) => {
    throw invalid(told, "generation_config.thinking_config");
  };
  if (budget !== undefined && level !== undefined)
    no("You can only set only one of thinking budget and thinking level.");
  if (/^gemini-(?:1|2\.0)(?!.*thinking)/.test(model) && Object.keys(config).length)
    no("Unable to submit request because thinking is not supported by this model.");
  if (level !== undefined && thinker && !third) no("Thinking level is not supported for this model.");
  if (budget < -1) no("The thinking budget must be -1 or more.");
  if (budget === 0 && always) no("Budget 0 is invalid. This model only works in thinking mode.");
  const thinks =
    budget === undefined ? byDefault || (thinker && level !== undefined) : thinker && budget !== 0;
  if (includeThoughts && !thinks)
    no("Unable to submit request because include_thoughts is only enabled when thinking is enabled.");
  return { thinks, showsThoughts: includeThoughts === true };
}

const NAME = /^[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}$/;

function readTools(tools, { toolConfig }, model) {
  const names = new Set(),
    builtIn = tools.some((tool) => Object.keys(tool).some((kind) => kind !== "functionDeclarations"));
  const functions = tools.flatMap(({ functionDeclarations: declared = [] }, n) =>
    declared.map(({ name, parameters, parametersJsonSchema: json }, k) => {
      const where = `tools[${n}].function_declarations[${k}]`;
      if (!NAME.test(name ?? ""))
        refuse(
          `${where}.name`,
          "Invalid function name. Must start with a letter or an underscore. Must be alphanumeric (a-z, A-Z, 0-9), underscores (_), dots (.), colons (:), or dashes (-), with a maximum length of 128.",
        );
      if (names.has(name)) throw invalid(`Duplicate function declaration found: ${name}`, `${where}.name`);
      names.add(name);
      if (parameters && json) refuse(where, "parameters and parameters_json_schema are mutually exclusive.");
      if (parameters) checkSchema(parameters, `${where}.parameters`);
      if (parameters && parameters.type !== "OBJECT")
        refuse(`${where}.parameters`, "schema should be of type OBJECT.");
      return { name, parameters: json ?? jsonSchema(parameters ?? {}) };
    }),
  );
  const both = abilities(model).third && toolConfig?.includeServerSideToolInvocations;
  if (builtIn && functions.length && !both)
    throw invalid(
      "Built-in tools and Function Calling cannot be combined in the same request. Please choose one.",
      "tools",
    );
  return functions;
}

function checkSchema(schema, path) {
  const { type, format, items, properties = {}, required = [], anyOf = [] } = schema;
  if (type === undefined && !anyOf.length) refuse(`${path}.type`, "must be specified.");
  if (type === "ARRAY" && !items) refuse(`${path}.items`, "missing field.");
  if (schema.enum && type !== "STRING" && type !== "INTEGER")
    refuse(`${path}.enum`, "only allowed for STRING type");
  (schema.enum ?? []).forEach((value, n) => value === "" && refuse(`${path}.enum[${n}]`, "cannot be empty"));
  if (type === "STRING" && format && !["enum", "date-time"].includes(format))
    refuse(`${path}.format`, "only 'enum' and 'date-time' are supported for STRING type");
  required.forEach(
    (name, n) =>
      Object.hasOwn(properties, name) || refuse(`${path}.required[${n}]`, "property is not defined"),
  );
  for (const [name, inner] of Object.entries(properties)) checkSchema(inner, `${path}.properties[${name}]`);
  if (items) checkSchema(items, `${path}.items`);
  anyOf.forEach((inner, n) => checkSchema(inner, `${path}.any_of[${n}]`));
}

// The rules read JSON schema, whose types are written small.
function jsonSchema({ type, properties, items, anyOf, ...rest }) {
  return {
    ...(type && { type: type.toLowerCase() }),
    ...(properties && {
      properties: Object.fromEntries(
        Object.entries(properties).map(([name, inner]) => [name, jsonSchema(inner)]),
      ),
    }),
    ...(items && { items: jsonSchema(items) }),
    ...(anyOf && { anyOf: anyOf.map(jsonSchema) }),
    ...rest,
  };
}

function readToolConfig({ mode = "AUTO", allowedFunctionNames: allowed }, tools) {
  const where = "tool_config.function_calling_config";
  if (allowed?.length && mode !== "ANY" && mode !== "VALIDATED")
    throw invalid(
      "Function calling config: allowed_function_names may only be set when the mode is ANY or VALIDATED.",
      where,
    );
  const missing = allowed?.find((name) => !tools.some((tool) => tool.name === name));
  if (missing !== undefined)
    throw invalid(`allowed_function_names: '${missing}' is not among the function declarations.`, where);
  if (mode === "ANY" && tools.length === 0)
    throw invalid("Function calling config is set without function_declarations.", where);
  return {
    tools: allowed?.length ? tools.filter(({ name }) => allowed.includes(name)) : tools,
    toolChoice: mode === "ANY" ? "required" : mode === "NONE" ? "none" : "auto",
  };
}

/** { schema, unwrap }: `unwrap` makes the answer's text of what the rules wrote to the schema. */
function readFormat(config, { tools = [] }, model) {
  const { responseMimeType: type = "text/plain", responseSchema: own, responseJsonSchema: json } = config;
  if (!["text/plain", "application/json", "text/x.enum"].includes(type))
    refuse(
      "generation_config.response_mime_type",
      "allowed mimetypes are `text/plain`, `application/json`, `text/x.enum`.",
    );
  if (own && json)
    refuse("generation_config", "response_schema and response_json_schema are mutually exclusive.");
  if ((own ?? json) && type === "text/plain")
    refuse(
      "generation_config.response_schema",
      "response_mime_type must be application/json where a schema is set.",
    );
  if (own) checkSchema(own, "generation_config.response_schema");
  if (type === "text/plain") return { schema: null };
  if (tools.some(({ functionDeclarations }) => functionDeclarations?.length) && !abilities(model).third)
    throw invalid(`Function calling with a response mime type: '${type}' is unsupported`, "tools");
  const schema = json ?? (own ? jsonSchema(own) : {});
  if (schema.properties || schema.$ref || Object.keys(schema).length === 0) return { schema };
  // The rules write objects alone, and Google also lists and single values.
  return {
    schema: { type: "object", properties: { answer: schema }, required: ["answer"], $defs: schema.$defs },
    unwrap(text) {
      const { answer } = JSON.parse(text);
      return type === "text/x.enum" ? String(answer) : JSON.stringify(answer);
    },
  };
}
