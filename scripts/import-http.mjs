// Owns how an import asks gateways: with a deadline, and again where asking again may help.
// Invariant: a key goes to the gateway that it is for and into no message; what is sent twice may be.
import { setTimeout as sleep } from "node:timers/promises";
import { Stop } from "./say.mjs";

const ATTEMPTS = 8;
const DEADLINE_MS = 120_000;
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 60_000;

/** A gateway's address without what clients append. */
export const base = (url) => url.replace(/\/+$/, "").replace(/\/v1$/, "");

/** How long an answer says to wait, in milliseconds; undefined where it does not. */
export function waitOf(answer, now = Date.now()) {
  const said = answer.headers.get("retry-after");
  if (said === null || said === "") return undefined;
  const ms = /^\d+(\.\d+)?$/.test(said) ? Number(said) * 1000 : Date.parse(said) - now;
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), LONGEST_WAIT_MS);
}

/**
 * Asks until there is an answer that is not 408, 429 or 5xx. `body` is a function, so that it can be sent again. `read` makes of
 * the answer what is wanted, and may fail as the connection may.
 */
export async function ask(url, { key, method = "GET", body, headers, read, isLong = false, say = () => {} }) {
  let why = "";
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const deadline = new AbortController();
    const timer = setTimeout(
      () => deadline.abort(new Error(`no answer within ${DEADLINE_MS / 1000} s`)),
      DEADLINE_MS,
    );
    let wait = Math.min(FIRST_WAIT_MS * 2 ** attempt, LONGEST_WAIT_MS);
    try {
      const answer = await fetch(url, {
        method,
        headers: { authorization: `Bearer ${key}`, ...headers },
        redirect: "manual",
        signal: deadline.signal,
        ...(body && { body: body(), duplex: "half" }),
      });
      // A stream may take longer than any deadline; `read` ends it.
      if (isLong) clearTimeout(timer);
      if (answer.status === 401 || answer.status === 403) {
        const fatal = new Stop(`${new URL(url).origin} refuses the key (${answer.status})`);
        throw Object.assign(fatal, { isFatal: true });
      }
      if (answer.status !== 408 && answer.status !== 429 && answer.status < 500) return await read(answer);
      why = `${answer.status} ${(await answer.text()).slice(0, 200)}`;
      wait = waitOf(answer) ?? wait;
      if (answer.status === 429) say(`told to wait ${Math.ceil(wait / 1000)} s`);
    } catch (error) {
      if (error instanceof Stop) throw error;
      why = error.cause?.code ?? error.message;
    } finally {
      clearTimeout(timer);
    }
    if (attempt + 1 < ATTEMPTS) await sleep(wait);
  }
  throw new Stop(`${new URL(url).pathname} failed ${ATTEMPTS} times: ${why}`);
}

/** The JSON of a 200; an answer that is none fails as a broken connection does, and is asked for again. */
export async function json(answer) {
  const text = await answer.text();
  if (answer.ok) return JSON.parse(text);
  let message = text.slice(0, 300);
  try {
    message = JSON.parse(text).error?.message ?? message;
  } catch {
    // Then the text itself is all there is to tell.
  }
  throw Object.assign(new Stop(`${message} (${answer.status})`), { status: answer.status });
}
