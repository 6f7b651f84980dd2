// Owns: what all OpenAI-shaped endpoints share: key, error object, headers, and the three hosts that speak it.
// Invariant: a flavour differs from OpenAI only where the real host does (OpenRouter's numeric codes, Google's list).

import { newId } from "./conversation.mjs";

export const FLAVOURS = { openai: "/v1", google: "/v1beta/openai", openrouter: "/api/v1" };

export const routesFor = (method, suffix, flavours = Object.keys(FLAVOURS)) =>
  flavours.map((flavour) => ({ method, path: FLAVOURS[flavour] + suffix, flavour }));

export const credential = (headers) => /^Bearer\s+(\S+)\s*$/i.exec(headers.authorization ?? "")?.[1];

export const GOOGLE_STATUS = {
  400: "INVALID_ARGUMENT",
  401: "UNAUTHENTICATED",
  403: "PERMISSION_DENIED",
  404: "NOT_FOUND",
  408: "DEADLINE_EXCEEDED",
  429: "RESOURCE_EXHAUSTED",
  500: "INTERNAL",
  503: "UNAVAILABLE",
  504: "DEADLINE_EXCEEDED",
};

export function errorBody({ message, type, code, param, status }, flavour) {
  if (flavour === "openrouter")
    return { error: { message, code: status, ...(param && { metadata: { param } }) } };
  if (flavour === "google")
    return [{ error: { code: status, message, status: GOOGLE_STATUS[status] ?? "UNKNOWN" } }];
  return { error: { message, type, param, code } };
}

export function headers(flavour) {
  if (flavour === "google") return { vary: "Origin" };
  if (flavour === "openrouter") return { "cf-ray": newId("", 16).toLowerCase() };
  return {
    "x-request-id": newId("req_").toLowerCase(),
    "openai-processing-ms": "7",
    "openai-version": "2020-10-01",
    "openai-organization": "sandbox",
    "x-ratelimit-limit-requests": "30000",
    "x-ratelimit-limit-tokens": "150000000",
    "x-ratelimit-remaining-requests": "29999",
    "x-ratelimit-remaining-tokens": "149999000",
    "x-ratelimit-reset-requests": "2ms",
    "x-ratelimit-reset-tokens": "0s",
  };
}

/** Everything of a dialect that is the same for all OpenAI-shaped endpoints. */
export const openai = { credential, errorBody, headers, modelName: ({ body }) => body?.model };
