// What Rust asks of the runtime in one call where the web API would take many: each crossing of the border costs about
// a microsecond, and a request has dozens of headers. Invariant: no logic, only shape.

// Panics take the whole wasm instance with them; entry.js ends these then, so that nobody hangs.
const live = (globalThis.__memoryGatewayLive ??= new Set());

/** All headers as `name: value` lines. Values cannot hold line breaks. */
export function headerLines(headers) {
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

/** Sends a request; credentials never follow a redirect. */
export function send(url, lines, body, signal) {
  return fetch(url, { method: "POST", headers: toHeaders(lines), body, signal, redirect: "manual" });
}

/** Makes an answer; `body` may be a stream, bytes, a string or null. */
export function respond(status, lines, body) {
  return new Response(body, { status, headers: toHeaders(lines) });
}

/** The body's stream, or null. */
export function bodyOf(message) {
  return message.body;
}

/** Remembers a stream that Rust writes, and what feeds it. */
export function watch(writer, controller) {
  const entry = { writer, controller };
  live.add(entry);
  return entry;
}

/** Forgets it: it has ended. */
export function unwatch(entry) {
  live.delete(entry);
}
