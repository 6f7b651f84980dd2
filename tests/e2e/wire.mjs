// Owns both ends of the wire where a client library would hide it: an HTTP client that sees every chunk and how the
// connection ended, and a provider that a test scripts byte by byte.
// Invariant: bytes are neither added nor joined; nothing is retried.
import { createServer, request } from "node:http";

/**
 * Sends a request; `head` resolves when the answer's head is there, with `{status, headers, ended, arrivals, received(),
 * seen(text), leave()}`. `ended` resolves with `{bytes, clean}`; `arrivals` holds `{at, bytes}` for each chunk so far;
 * `seen` resolves in the very moment in which the text has arrived. `leave()`
 * resets the connection: a plain close, which is all that `fetch` can do, workerd on one machine only notices at its next
 * write.
 */
export function begin(url, { method = "POST", path, headers = {}, body } = {}) {
  const target = new URL(url);
  const outgoing = request({
    host: target.hostname,
    port: target.port,
    path: path ?? target.pathname + target.search,
    method,
    headers: { ...(body !== undefined && { "content-length": Buffer.byteLength(body) }), ...headers },
    agent: false,
  });
  const leave = () => outgoing.socket?.resetAndDestroy();
  const head = new Promise((resolve, reject) => {
    outgoing.on("error", reject);
    outgoing.on("response", (answer) => {
      const arrivals = [];
      answer.on("data", (bytes) => arrivals.push({ at: performance.now(), bytes }));
      const received = () => Buffer.concat(arrivals.map(({ bytes }) => bytes));
      const seen = (text) =>
        new Promise((found, failed) => {
          const look = () => received().includes(text) && found();
          answer.on("data", look);
          answer.on("close", () => failed(new Error(`the answer ended without ${text}`)));
          look();
        });
      const ended = new Promise((done) => {
        answer.on("error", () => {});
        answer.on("close", () => done({ bytes: received(), clean: answer.complete }));
      });
      resolve({ status: answer.statusCode, headers: answer.headers, arrivals, received, seen, ended, leave });
    });
  });
  outgoing.end(body);
  return { head, leave };
}

/** As `begin`, when only the head is of interest. */
export const send = (url, options) => begin(url, options).head;

/** As `send`, for a request to a model; gives also the whole answer's text once it ended. */
export async function whole(url, options) {
  const answer = await send(url, options);
  const { bytes, clean } = await answer.ended;
  return { status: answer.status, headers: answer.headers, text: bytes.toString("utf8"), bytes, clean };
}

/**
 * A provider whose answers a test writes itself: `answer(res, entry)` may be replaced at any time. `requests` holds
 * `{path, headers, raw, closed}`; `closed` is true once the connection is gone before the answer was ended.
 */
export async function startUpstream() {
  const requests = [];
  const upstream = { requests, answer: (res) => res.writeHead(500).end() };
  const server = createServer(async (req, res) => {
    // direct.mjs of another test, where the system does not tell it whose a port is: nobody is here.
    if (req.url.startsWith("/v1/memory/")) return res.destroy();
    const entry = { path: req.url, headers: req.headers, raw: "", closed: false };
    requests.push(entry);
    res.on("close", () => (entry.closed = !res.writableFinished));
    const parts = [];
    for await (const part of req) parts.push(part);
    entry.raw = Buffer.concat(parts).toString("utf8");
    await upstream.answer(res, entry);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  upstream.url = `http://127.0.0.1:${server.address().port}`;
  upstream.close = () =>
    new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    });
  return upstream;
}
