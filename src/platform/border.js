// What Rust asks of the runtime in one call where the web API would take many: each crossing of the border costs about
// a microsecond, and a request has dozens of headers. Invariant: nothing is decided here; what to send, how long to wait
// and what an outcome means are Rust's to say.

import { joined } from "./conveyor.js";

// Streams that are under way. What ends the wasm instance ends them all through entry.js, so that nobody hangs.
const live = (globalThis.__memoryGatewayLive ??= new Set());

/** The headers of these names as `name: value` lines. Values cannot hold line breaks. */
export function pickHeaders(headers, names) {
  let lines = "";
  for (const name of names) {
    const value = headers.get(name);
    if (value !== null) lines += `${name}: ${value}\n`;
  }
  return lines;
}

/** All headers as lines. */
function headerLines(headers) {
  let lines = "";
  for (const [name, value] of headers) lines += `${name}: ${value}\n`;
  return lines;
}

function toHeaders(lines) {
  const headers = new Headers();
  for (const line of lines.split("\n")) {
    const colon = line.indexOf(": ");
    if (colon > 0) headers.append(line.slice(0, colon), line.slice(colon + 2));
  }
  return headers;
}

/**
 * Sends a request and waits for the answer to begin; credentials never follow a redirect. Resolves to the answer, its
 * headers as lines and what ends its connection, or to why there is none: "gone" (the client left), "slow" (the time is
 * up) or "unreachable". One promise for all of it: each one that Rust awaits costs as much as the rest of the call.
 *
 * With `most`, the body of a success is read as well, unless it is of the type `unread`: `whole` is its bytes then, or why
 * they could not be had: "gone", "slow" (not all of it was there `wholeMs` after the sending), "large" or "broken".
 */
export async function send(method, url, lines, body, client, timeoutMs, most, unread, wholeMs) {
  const controller = new AbortController();
  let why = "unreachable";
  const end = (reason) => {
    why = reason;
    controller.abort();
  };
  if (client.aborted) return "gone";
  const leave = () => end("gone");
  client.addEventListener("abort", leave);
  const began = Date.now();
  let timer = setTimeout(end, timeoutMs, "slow");
  try {
    const init = { method, headers: toHeaders(lines), body, signal: controller.signal, redirect: "manual" };
    const answer = await fetch(url, init);
    const { status, headers } = answer;
    const sent = { answer, controller, status, lines: headerLines(headers), whole: undefined };
    if (most && answer.ok && !(unread && headers.get("content-type")?.toLowerCase().startsWith(unread))) {
      clearTimeout(timer);
      timer = setTimeout(end, wholeMs - (Date.now() - began), "slow");
      why = "broken";
      // Compressed, a length says nothing of what comes out.
      const length = headers.has("content-encoding") ? NaN : Number(headers.get("content-length") ?? NaN);
      sent.whole = await bytesOf(answer, most, length).catch(() => why);
      if (typeof sent.whole === "string") controller.abort();
    }
    return sent;
  } catch {
    return why;
  } finally {
    clearTimeout(timer);
    client.removeEventListener("abort", leave);
  }
}

/** Makes an answer; `body` may be a stream, bytes, a string or null. */
export function respond(status, lines, body) {
  return new Response(body, { status, headers: toHeaders(lines) });
}

/**
 * Reads the body of a request or an answer to its end; its `length` is NaN where nobody knows. Resolves to its bytes, to
 * "large" as soon as there are more than `most`, or to "slow" after so many milliseconds; what is not wanted any more is let go.
 */
export function readWhole(message, most, length, ms) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms, "slow");
    const settle = (how) => (what) => {
      clearTimeout(timer);
      how(what);
    };
    bytesOf(message, most, length).then(settle(resolve), settle(reject));
  });
}

/** The bytes of a body, or "large". */
async function bytesOf(message, most, length) {
  // Not a byte of it is touched: who gives a body up that is still being sent resets the connection, and with it the answer.
  if (length > most) return "large";
  if (length >= 0) {
    const bytes = new Uint8Array(await message.arrayBuffer());
    return bytes.byteLength > most ? "large" : bytes;
  }
  return message.body ? gather(message.body.getReader(), most) : new Uint8Array();
}

async function gather(reader, most) {
  const pieces = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.byteLength;
    if (length > most) {
      reader.cancel().catch(() => {});
      return "large";
    }
    pieces.push(value);
  }
  return joined(pieces, length);
}

/** The document of the HTTP surface, as text; entry.js has it. */
export function openapi() {
  return globalThis.__memoryGatewayOpenapi;
}

/** The body's stream, or null. */
export function bodyOf(message) {
  return message.body;
}

/**
 * Remembers a stream that Rust writes, and what feeds it. Only the request that made them may touch them, so they are
 * ended through a promise of that request, which may be resolved from any other.
 */
export function watch(writer, controller) {
  const entry = {};
  new Promise((resolve) => (entry.end = resolve))
    .then((why) => {
      controller.abort();
      return writer.abort(why);
    })
    .catch(() => {});
  live.add(entry);
  return entry;
}

/**
 * Lets a stream flow into a pipe without JavaScript in between, behind the `first` of its bytes where those were read before;
 * gives the promise of its end, and a reader that hears the same bytes. How the pipe ends is Rust's to say, unless Rust has
 * died: then the flow's own end is the pipe's.
 */
export function overhear(stream, pipe, first) {
  const [flowing, heard] = stream.tee();
  const on = () => flowing.pipeTo(pipe.writable, { preventClose: true, preventAbort: true });
  const flow = first ? writeFirst(pipe, first).then(on) : on();
  const entry = {};
  new Promise((resolve) => (entry.end = resolve))
    .then(() => flow)
    .then(
      () => pipe.writable.close(),
      (why) => pipe.writable.abort(why),
    )
    .catch(() => {});
  live.add(entry);
  return { flow, reader: heard.getReader({ mode: "byob" }), entry };
}

async function writeFirst(pipe, bytes) {
  const writer = pipe.writable.getWriter();
  try {
    await writer.write(bytes);
  } finally {
    writer.releaseLock();
  }
}

/** Ends what nobody will end any more. */
export function breakOff(entry) {
  live.delete(entry);
  entry.end("the gateway failed");
}

/** The wasm instance is at its end; entry.js hears of it here. */
export function instanceEnded() {
  globalThis.__worker_init_state.criticalError = true;
}

/** Forgets it: it has ended. */
export function unwatch(entry) {
  live.delete(entry);
}

/** Runs one SQLite statement; values and rows as JSON arrays. */
export function sqlQuery(sql, statement, values) {
  return JSON.stringify(
    sql
      .exec(statement, ...JSON.parse(values))
      .raw()
      .toArray(),
  );
}

const calendars = new Map();
const MOST_CALENDARS = 64; // Names come from clients; a deployment's users live in a handful of zones.

/** Minutes east of UTC in a time zone at an instant; NaN for a name that is no time zone. */
export function zoneOffset(zone, ms) {
  try {
    let calendar = calendars.get(zone);
    if (!calendar) {
      calendar = new Intl.DateTimeFormat("en", { timeZone: zone, timeZoneName: "longOffset" });
      if (calendars.size >= MOST_CALENDARS) calendars.clear();
      calendars.set(zone, calendar);
    }
    const name = calendar.formatToParts(ms).find(({ type }) => type === "timeZoneName").value;
    const [, sign, hours, minutes] = /^GMT(?:([+-])(\d\d):(\d\d))?/.exec(name);
    return hours ? (sign === "-" ? -1 : 1) * (Number(hours) * 60 + Number(minutes)) : 0;
  } catch {
    return NaN;
  }
}
