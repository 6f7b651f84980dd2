// Owns: the model lists, as OpenAI-shaped hosts, Anthropic and Google's native API give them.
// Invariant: a list is only a sample; any model name is answered, listed or not.

import { anthropic, checkVersion } from "./anthropic.mjs";
import { ApiError, invalid } from "./conversation.mjs";
import { google, printed } from "./google.mjs";
import { openai, routesFor } from "./openai.mjs";

const CREATED = 1_750_000_000;

const MODELS = {
  openai: ["gpt-5.4-mini", "gpt-5.4", "gpt-4o", "text-embedding-3-small"],
  google: ["models/gemini-2.5-flash", "models/gemini-2.5-pro"],
  openrouter: ["google/gemini-2.5-flash", "openai/gpt-5.4-mini", "anthropic/claude-sonnet-4.5"],
  // More than the 20 of Anthropic's default page, so that a reader of the first page alone is found out.
  anthropic: [
    "claude-opus-4-8",
    "claude-sonnet-4-5",
    ...Array.from({ length: 20 }, (_, n) => `claude-sandbox-${n + 1}`),
  ],
};

/** The ids that a host of this flavour lists, in order. */
export const listed = (flavour) => MODELS[flavour];

export const models = {
  ...openai,
  routes: routesFor("GET", "/models"),

  answer: ({ flavour }) => ({
    whole: {
      object: "list",
      data: MODELS[flavour].map((id) => ({ id, object: "model", created: CREATED, owned_by: "sandbox" })),
    },
  }),
};

/** At the path of OpenAI's list, for those who come with Anthropic's headers. */
export const anthropicModels = {
  ...anthropic,
  routes: [
    {
      method: "GET",
      path: "/v1/models",
      flavour: "anthropic",
      when: (headers) => "x-api-key" in headers || "anthropic-version" in headers,
    },
  ],

  answer({ headers, query }) {
    checkVersion(headers);
    const limit = Number(query.get("limit") ?? 20);
    if (!(Number.isInteger(limit) && limit >= 1 && limit <= 1000))
      throw invalid("limit: must be an integer from 1 to 1000.", "limit");
    const after = query.get("after_id"),
      start = after === null ? 0 : MODELS.anthropic.indexOf(after) + 1;
    const data = MODELS.anthropic.slice(start, start + limit).map((id) => ({
      type: "model",
      id,
      display_name: displayName(id),
      created_at: new Date(CREATED * 1000).toISOString().replace(".000", ""),
    }));
    return {
      whole: {
        data,
        has_more: start + limit < MODELS.anthropic.length,
        first_id: data[0]?.id ?? null,
        last_id: data.at(-1)?.id ?? null,
      },
    };
  },
};

// "claude-opus-4-8" -> "Claude Opus 4.8"
const displayName = (id) =>
  id
    .replace(/(\d)-(?=\d)/g, "$1.")
    .split("-")
    .map((word) => word[0].toUpperCase() + word.slice(1))
    .join(" ");

const NATIVE = [
  ...MODELS.google,
  "models/gemini-3-flash-preview",
  "models/gemini-3-pro-preview",
  // No chat model, so that a list taken over whole is found out.
  "models/gemini-embedding-001",
];

const native = (name) => ({
  name,
  version: "001",
  displayName: displayName(name.slice("models/".length)),
  description: "A model of the sandbox",
  inputTokenLimit: 1_048_576,
  outputTokenLimit: 65_536,
  supportedGenerationMethods: name.includes("embedding")
    ? ["embedContent", "countTokens"]
    : ["generateContent", "countTokens", "createCachedContent", "batchGenerateContent"],
  ...(!name.includes("embedding") && {
    temperature: 1,
    topP: 0.95,
    topK: 64,
    maxTemperature: 2,
    thinking: true,
  }),
});

export const geminiModels = {
  ...google,
  routes: [{ method: "GET", path: "/v1beta/models", flavour: "whole" }],

  answer({ query }) {
    const size = Number(query.get("pageSize") ?? 50),
      start = Number(query.get("pageToken") ?? 0);
    if (!(Number.isInteger(size) && size >= 0 && size <= 1000))
      throw invalid("page_size must be an integer from 0 to 1000.", "page_size");
    if (!(Number.isInteger(start) && start >= 0)) throw invalid("page_token is not valid.", "page_token");
    const end = start + (size || 50);
    return {
      type: "application/json; charset=UTF-8",
      json: printed,
      whole: {
        models: NATIVE.slice(start, end).map(native),
        ...(end < NATIVE.length && { nextPageToken: String(end) }),
      },
    };
  },
};

export const geminiModel = {
  ...google,
  routes: [{ method: "GET", path: /^\/v1beta\/models\/([^/:]+)$/, flavour: "whole" }],

  answer({ match }) {
    const name = `models/${match[1]}`;
    if (!NATIVE.includes(name))
      throw new ApiError(
        404,
        `${name} is not found for API version v1beta, or is not supported for generateContent. Call ListModels to see the list of available models and their supported methods.`,
      );
    return { type: "application/json; charset=UTF-8", json: printed, whole: native(name) };
  },
};
