// Owns: what Anthropic's endpoints share on the wire: credential, version header, error object, response headers.
// Invariant: the type of an error follows from its status alone, so that no OpenAI type shows through.

import { invalid, newId } from "./conversation.mjs";
import { credential as bearer } from "./openai.mjs";

const VERSIONS = ["2023-01-01", "2023-06-01", "2026-10-21"];

const ERROR_TYPES = {
  401: "authentication_error",
  402: "billing_error",
  403: "permission_error",
  404: "not_found_error",
  408: "timeout_error",
  413: "request_too_large",
  429: "rate_limit_error",
  503: "overloaded_error",
  504: "timeout_error",
  529: "overloaded_error",
};

/** The key that was sent; what is no key where it was sent reads as the invalid one. */
export function credential(headers, flavour) {
  const token = bearer(headers),
    key = headers["x-api-key"];
  // A gateway key beside a good one is as leaked as a gateway key alone.
  const leaked = [key, token].find((one) => one?.startsWith("msk_"));
  if (leaked || flavour === "openrouter") return leaked ?? token;
  // The real host takes OAuth tokens as bearers only, API keys in either header (as bearers since the SDKs of 2026-10-21
  // send them so), and of two headers it reads x-api-key.
  return key?.startsWith("sk-ant-oat") ? "invalid-key" : key || token;
}

export function checkVersion(headers) {
  const version = headers["anthropic-version"];
  if (!version) throw invalid("anthropic-version: this header is required.", "anthropic-version");
  if (!VERSIONS.includes(version))
    throw invalid(
      `anthropic-version: '${version}' is not a version; known are ${VERSIONS.join(", ")}.`,
      "anthropic-version",
    );
}

export function errorBody({ message, status }, flavour, requestId) {
  const type = ERROR_TYPES[status] ?? (status < 500 ? "invalid_request_error" : "api_error");
  return { type: "error", error: { type, message }, request_id: requestId ?? null };
}

export function headers(flavour) {
  if (flavour === "openrouter") return { "cf-ray": newId("", 16).toLowerCase() };
  const reset = new Date(Date.now() + 1000).toISOString().replace(/\.\d+Z$/, "Z");
  const limits = { requests: 4_000, tokens: 4_800_000, "input-tokens": 4_000_000, "output-tokens": 800_000 };
  const sent = { "request-id": newId("req_01", 22), "anthropic-organization-id": "sandbox" };
  for (const [of, most] of Object.entries(limits)) {
    sent[`anthropic-ratelimit-${of}-limit`] = String(most);
    sent[`anthropic-ratelimit-${of}-remaining`] = String(most - 1);
    sent[`anthropic-ratelimit-${of}-reset`] = reset;
  }
  return sent;
}

/** Everything of a dialect that is the same for all Anthropic endpoints. */
export const anthropic = { credential, errorBody, headers, modelName: ({ body }) => body?.model };
