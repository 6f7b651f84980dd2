// Owns the search service of the tests of the gateway's tools: an HTTP server that answers as a test scripts it.
// Invariant: every search is logged before it is answered, and `aborted` is true only if the gateway left first.
import { once } from "node:events";
import { createServer } from "node:http";

/** What SearXNG says where a test scripts nothing else: one result that repeats the question. */
export const resultsFor = (query) => ({
  results: [
    {
      title: "Tides",
      url: "https://tides.example/high",
      content: `About ${query}.`,
      publishedDate: "2026-11-02T08:00:00",
    },
  ],
});

/** Sends JSON. */
export function sendJson(response, value, status = 200) {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
}

/**
 * Starts a service. `script(query, entry, response)` answers a request, or gives false to have it answered as ever; `entry` is
 * its line of the log: method, url, headers, body, query, `aborted`, `bytesSent`.
 */
export async function startSearchEngine(script = () => false) {
  const requests = [];
  const server = createServer(async (request, response) => {
    // That is `directBaseURL`, of this test or another, in search of its gateway.
    if (request.url.startsWith("/v1/memory/")) return void response.writeHead(404).end();
    const entry = { method: request.method, url: request.url, headers: request.headers, aborted: false };
    requests.push(entry);
    response.once("close", () => (entry.aborted = !response.writableFinished && !entry.cut));
    const parts = [];
    for await (const part of request) parts.push(part);
    entry.body = parts.length > 0 ? JSON.parse(Buffer.concat(parts).toString()) : undefined;
    entry.query = entry.body?.query ?? new URL(request.url, "http://engine").searchParams.get("q") ?? "";
    if ((await script(entry.query, entry, response)) === false) sendJson(response, resultsFor(entry.query));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    requests,
    /** The requests whose question holds these words. */
    asked: (words) => requests.filter(({ query }) => query?.includes(words)),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
