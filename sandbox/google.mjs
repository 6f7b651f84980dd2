// Owns: what Google's native endpoints share on the wire: credential, error object, the look of their JSON.
// Invariant: a refused key is refused with Google's own statuses (400, 401 and 403), never with OpenAI's 401 alone.

import { ApiError } from "./conversation.mjs";
import { GOOGLE_STATUS, credential as bearer } from "./openai.mjs";

const SERVICE = "generativelanguage.googleapis.com";
const TYPE = "type.googleapis.com/google.rpc.";

export function credential(headers, _flavour, query) {
  const token = bearer(headers),
    keys = [headers["x-goog-api-key"], query.get("key")].filter(Boolean);
  // A gateway key beside a good one is as leaked as a gateway key alone.
  if ([...keys, token].some((one) => one?.startsWith("msk_")))
    throw refused(400, "A gateway key (msk_) leaked upstream: a provider must never see one.");
  if (keys.includes("invalid-key")) throw refused(400, "API key not valid. Please pass a valid API key.");
  if (keys.length) return keys[0];
  if (token === undefined)
    throw refused(
      403,
      "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other form of API consumer identity to call this API.",
    );
  if (token === "invalid-key")
    throw refused(
      401,
      "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential.",
    );
  return token;
}

const refused = (status, message) =>
  new ApiError(status, message, { code: status === 400 ? "API_KEY_INVALID" : null });

export function errorBody({ message, status, code, param, retryAfter }, flavour) {
  const details = [];
  if (code === "API_KEY_INVALID")
    details.push(
      {
        "@type": `${TYPE}ErrorInfo`,
        reason: code,
        domain: "googleapis.com",
        metadata: { service: SERVICE },
      },
      { "@type": `${TYPE}LocalizedMessage`, locale: "en-US", message },
    );
  if (code === "BAD_REQUEST")
    details.push({
      "@type": `${TYPE}BadRequest`,
      fieldViolations: [{ ...(param && { field: param }), description: message }],
    });
  if (retryAfter) details.push({ "@type": `${TYPE}RetryInfo`, retryDelay: `${retryAfter}s` });
  const error = {
    code: status,
    message,
    status: GOOGLE_STATUS[status] ?? "UNKNOWN",
    ...(details.length && { details }),
  };
  // Without alt=sse a stream is a list, and so is what it fails with before it began.
  return flavour === "list" ? [{ error }] : { error };
}

/** JSON as Google prints it: in lines where it is sent whole, with blanks after colons alone where it is an event. */
export const printed = (value) => {
  // The elements of a list begin where its bracket does.
  const text = Array.isArray(value)
    ? `[${value.map((one) => JSON.stringify(one, null, 2)).join("\n,\r\n")}\n]`
    : JSON.stringify(value, null, 2);
  return `${text}\n`;
};
export const inLine = (value) => JSON.stringify(value, null, 1).replace(/\n */g, "");

/** Everything of a dialect that is the same for all of Google's native endpoints. */
export const google = {
  credential,
  errorBody,
  headers: () => ({ vary: "Origin", "server-timing": "gfet4t7; dur=7" }),
  json: printed,
  modelName({ match }) {
    try {
      return decodeURIComponent(match[1]);
    } catch {
      return match[1];
    }
  },
};
