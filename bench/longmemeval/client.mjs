// Owns the calls of the benchmark: to the gateway, and to the judge where it is elsewhere.
// Invariant: a call is repeated only where repeating can help, and never for ever; no key is in any error.
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

/** A call that failed for good. `status` is 0 where nothing was answered. */
export class CallError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 30_000;
const isWorthRepeating = (status) => status === 0 || status === 408 || status === 429 || status >= 500;

/** A client of an address (without `/v1`). */
export function clientOf(url, key, { retries, timeoutMs }) {
  const base = url.replace(/\/+$/, "").replace(/\/v1$/, "");

  async function call(method, path, { body, headers } = {}) {
    // A repeated turn is known by it, and stored once.
    const idempotency = randomUUID();
    for (let attempt = 0; ; attempt += 1) {
      const outcome = await once(method, path, body, {
        ...headers,
        "idempotency-key": idempotency,
        "x-stainless-retry-count": String(attempt),
      });
      if (!outcome.failure) return outcome;
      if (attempt >= retries || !isWorthRepeating(outcome.status))
        throw new CallError(`${method} ${base}${path}: ${outcome.failure}`, outcome.status);
      const wait = outcome.retryAfterMs ?? FIRST_WAIT_MS * 2 ** attempt * (0.5 + Math.random());
      await sleep(Math.min(wait, LONGEST_WAIT_MS));
    }
  }

  async function once(method, path, body, headers) {
    let response, text;
    try {
      response = await fetch(base + path, {
        method,
        headers: { authorization: `Bearer ${key}`, "content-type": "application/json", ...headers },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(timeoutMs),
      });
      text = await response.text();
    } catch (error) {
      return { status: 0, failure: error.cause?.message ?? error.message };
    }
    const json = jsonOf(text);
    if (response.ok && json !== null) return { json, headers: response.headers };
    const seconds = Number(response.headers.get("retry-after") ?? NaN);
    return {
      status: response.status,
      failure: `${response.status}: ${json?.error?.message ?? (text.slice(0, 300) || "no body")}`,
      retryAfterMs: Number.isFinite(seconds) ? seconds * 1000 : undefined,
    };
  }

  return {
    call,
    /** A chat completion: `{ text, memoryTokens, usage: { model, prompt, completion, cached } }`. */
    async chat(purpose, { model, messages, headers, ...rest }) {
      const { json, headers: answered } = await call("POST", "/v1/chat/completions", {
        body: { model, messages, ...rest },
        headers,
      });
      const { usage = {} } = json;
      return {
        text: json.choices?.[0]?.message?.content ?? "",
        memoryTokens: Number(answered.get("x-memory-tokens") ?? 0),
        memoryStatus: answered.get("x-memory-status"),
        usage: {
          purpose,
          model,
          prompt: usage?.prompt_tokens ?? 0,
          completion: usage?.completion_tokens ?? 0,
          cached: usage?.prompt_tokens_details?.cached_tokens ?? 0,
        },
      };
    },
  };
}

function jsonOf(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
