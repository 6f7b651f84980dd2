// Owns: the fields of Gemini's requests, and reading JSON by them as Google's protobuf layer does.
// Invariant: what comes out has camelCase names and declared fields only; either spelling of a name is read, null counts
// as absent, and anything undeclared is refused by its name and the path of what holds it.
// Source: https://ai.google.dev/api/generate-content, https://ai.google.dev/api/caching#Content

import { invalid } from "./conversation.mjs";

const bad = (path, message) => {
  throw invalid(message, path, "BAD_REQUEST");
};
const mistyped = (path, type, value) =>
  bad(path, `Invalid value at '${path}' (${type}), ${JSON.stringify(value).slice(0, 200)}`);

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
const camel = (name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());

// A shape is a function (value, path) => value for one value, a list of one shape for a repeated field, or an object of
// shapes by field.

const string = (value, path) => (typeof value === "string" ? value : mistyped(path, "TYPE_STRING", value));
const bool = (value, path) => (typeof value === "boolean" ? value : mistyped(path, "TYPE_BOOL", value));
const any = (value) => value;
const struct = (value, path) =>
  isObject(value) ? value : mistyped(path, "type.googleapis.com/google.protobuf.Struct", value);

// Protobuf takes numbers as text too.
function number(value, path) {
  const read = typeof value === "string" && value.trim() ? Number(value) : value;
  return Number.isFinite(read) ? read : mistyped(path, "TYPE_FLOAT", value);
}

function int(value, path) {
  const read = typeof value === "string" && value.trim() ? Number(value) : value;
  return Number.isInteger(read) ? read : mistyped(path, "TYPE_INT32", value);
}

function bytes(value, path) {
  if (typeof value !== "string") mistyped(path, "TYPE_BYTES", value);
  // A data URL put in whole is the likely mistake, and its first characters show it.
  if (!/^[A-Za-z0-9+/_-]*={0,2}$/.test(value))
    bad(path, `Invalid value at '${path}' (TYPE_BYTES), Base64 decoding failed for "${value.slice(0, 100)}"`);
  return value;
}

const oneOf =
  (...names) =>
  (value, path) => {
    const name = typeof value === "string" ? value.toUpperCase() : null;
    return names.includes(name) ? name : mistyped(path, "TYPE_ENUM", value);
  };

const mapOf = (shape) => (value, path) =>
  Object.fromEntries(
    Object.entries(struct(value, path)).map(([name, inner]) => [
      name,
      read(inner, shape, `${path}[${name}].value`),
    ]),
  );

/** The value by its shape; `path` is in snake_case, as Google names fields in its errors. */
export function read(value, shape, path = "") {
  if (typeof shape === "function") return shape(value, path);
  if (Array.isArray(shape)) {
    // Google's own examples give a single message where the field is repeated, and it is read as a list of one.
    if (!Array.isArray(value) && !(isObject(value) && typeof shape[0] === "object"))
      mistyped(path, "repeated", value);
    return [value].flat().map((inner, n) => read(inner, shape[0], `${path}[${n}]`));
  }
  if (!isObject(value)) mistyped(path, "message", value);
  const fields = {};
  for (const [given, inner] of Object.entries(value)) {
    const name = Object.hasOwn(shape, given) ? given : camel(given);
    if (!Object.hasOwn(shape, name))
      bad(
        path,
        `Invalid JSON payload received. Unknown name "${given}"${path && ` at '${path}'`}: Cannot find field.`,
      );
    if (inner !== null)
      fields[name] = read(inner, shape[name], path ? `${path}.${snake(name)}` : snake(name));
  }
  return fields;
}

const schema = (value, path) => {
  // Said apart, because JSON schema's list of types is what a translation leaves in.
  if (Array.isArray(value?.type))
    bad(path, `Invalid value at '${path}.type': Proto field is not repeating, cannot start list.`);
  return read(value, SCHEMA, path);
};

const SCHEMA = {
  type: oneOf("TYPE_UNSPECIFIED", "STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL"),
  format: string,
  title: string,
  description: string,
  nullable: bool,
  enum: [string],
  maxItems: int,
  minItems: int,
  properties: mapOf(schema),
  required: [string],
  minProperties: int,
  maxProperties: int,
  minLength: int,
  maxLength: int,
  pattern: string,
  example: any,
  anyOf: [schema],
  propertyOrdering: [string],
  default: any,
  items: schema,
  minimum: number,
  maximum: number,
};

const BLOB = { mimeType: string, data: bytes, displayName: string };
const FILE = { mimeType: string, fileUri: string, displayName: string };
const LEVELS = [
  "MEDIA_RESOLUTION_UNSPECIFIED",
  "MEDIA_RESOLUTION_LOW",
  "MEDIA_RESOLUTION_MEDIUM",
  "MEDIA_RESOLUTION_HIGH",
];

const PART = {
  text: string,
  inlineData: BLOB,
  fileData: FILE,
  functionCall: { id: string, name: string, args: struct },
  functionResponse: {
    id: string,
    name: string,
    response: struct,
    parts: [{ inlineData: BLOB, fileData: FILE }],
    willContinue: bool,
    scheduling: oneOf("SCHEDULING_UNSPECIFIED", "SILENT", "WHEN_IDLE", "INTERRUPT"),
  },
  executableCode: { id: string, language: oneOf("LANGUAGE_UNSPECIFIED", "PYTHON"), code: string },
  codeExecutionResult: { id: string, outcome: string, output: string },
  toolCall: struct,
  toolResponse: struct,
  thought: bool,
  thoughtSignature: bytes,
  videoMetadata: { startOffset: string, endOffset: string, fps: number },
  mediaResolution: { level: oneOf(...LEVELS), numTokens: int },
  partMetadata: struct,
};

const CONTENT = { role: string, parts: [PART] };

const TOOL = {
  functionDeclarations: [
    {
      name: string,
      description: string,
      behavior: oneOf("UNSPECIFIED", "BLOCKING", "NON_BLOCKING"),
      parameters: schema,
      parametersJsonSchema: struct,
      response: schema,
      responseJsonSchema: struct,
    },
  ],
  googleSearch: struct,
  googleSearchRetrieval: struct,
  codeExecution: struct,
  urlContext: struct,
  googleMaps: struct,
  fileSearch: struct,
  computerUse: struct,
  mcpServers: [struct],
};

const GENERATION = {
  stopSequences: [string],
  responseMimeType: string,
  responseSchema: schema,
  responseJsonSchema: any,
  responseModalities: [string],
  candidateCount: int,
  maxOutputTokens: int,
  temperature: number,
  topP: number,
  topK: int,
  seed: int,
  presencePenalty: number,
  frequencyPenalty: number,
  responseLogprobs: bool,
  logprobs: int,
  enableEnhancedCivicAnswers: bool,
  speechConfig: struct,
  imageConfig: struct,
  mediaResolution: oneOf(...LEVELS),
  thinkingConfig: {
    includeThoughts: bool,
    thinkingBudget: int,
    thinkingLevel: oneOf("THINKING_LEVEL_UNSPECIFIED", "MINIMAL", "LOW", "MEDIUM", "HIGH"),
  },
};

/** The body of generateContent and streamGenerateContent. */
export const GENERATE = {
  model: string,
  contents: [CONTENT],
  systemInstruction: CONTENT,
  tools: [TOOL],
  toolConfig: {
    functionCallingConfig: {
      mode: oneOf("MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"),
      allowedFunctionNames: [string],
    },
    retrievalConfig: struct,
    includeServerSideToolInvocations: bool,
  },
  safetySettings: [
    {
      category: string,
      threshold: oneOf(
        "HARM_BLOCK_THRESHOLD_UNSPECIFIED",
        "BLOCK_LOW_AND_ABOVE",
        "BLOCK_MEDIUM_AND_ABOVE",
        "BLOCK_ONLY_HIGH",
        "BLOCK_NONE",
        "OFF",
      ),
    },
  ],
  generationConfig: GENERATION,
  cachedContent: string,
  labels: mapOf(string),
  serviceTier: oneOf("SERVICE_TIER_UNSPECIFIED", "UNSPECIFIED", "STANDARD", "FLEX", "PRIORITY"),
  store: bool,
};

/** The body of countTokens. */
export const COUNT = { contents: [CONTENT], generateContentRequest: GENERATE };
