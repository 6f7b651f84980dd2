// Owns: each of the services that can search the web for the gateway, as a server of its own API's form.
// Invariant: a service is asked at its own address in its own form, and its key is in a header; what comes of it is told in one
// and the same form.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { MODEL, openai, until, user } from "./conversation.mjs";
import { sandboxVars, startGateway, startSandbox } from "./gateway.mjs";
import { sendJson, startSearchEngine } from "./searchengine.mjs";

let sandbox;
before(async () => (sandbox = await startSandbox()));
after(() => sandbox?.close());

const DAY = 24 * 60 * 60 * 1_000;
/** Results in odd shapes, with the service's names of title, address, excerpt and date. */
const odd = (excerpt, date, on) => [
  {
    title: "Tides &amp; times",
    url: "https://tides.example/",
    [excerpt]: "High at <b>noon</b>.",
    [date]: on,
  },
  { url: "https://bare.example/" },
  { title: "Script", url: "javascript:alert(1)", [excerpt]: "Never told." },
  { title: "Nobody's", url: null },
  null,
];

// `check` looks at what is asked for "spring tides" of the last week; `title` is the first result's as it is told: Brave's texts
// are HTML.
const SERVICES = {
  tavily: {
    vars: { TAVILY_API_KEY: "service-key" },
    answer: { results: odd("content", "published_date", "Mon, 02 Nov 2026 08:00:00 GMT") },
    header: ["authorization", "Bearer service-key"],
    cost: 8_000_000,
    check({ method, url, body }) {
      assert.deepEqual(
        [method, url, body],
        [
          "POST",
          "/search",
          { query: "spring tides", max_results: 8, search_depth: "basic", time_range: "week" },
        ],
      );
    },
    title: "Tides &amp; times",
  },
  brave: {
    vars: { BRAVE_API_KEY: "service-key" },
    answer: { web: { results: odd("description", "page_age", "2026-11-02T08:00:00") } },
    header: ["x-subscription-token", "service-key"],
    cost: 8_000_000,
    check({ method, url }) {
      assert.deepEqual(
        [method, url],
        ["GET", "/res/v1/web/search?q=spring%20tides&count=8&text_decorations=false&freshness=pw"],
      );
    },
    title: "Tides & times",
  },
  exa: {
    vars: { EXA_API_KEY: "service-key" },
    answer: {
      results: odd("text", "publishedDate", "2026-11-02T08:00:00.000Z"),
      costDollars: { total: 0.005 },
    },
    header: ["x-api-key", "service-key"],
    // What the service says goes before what the deployment does.
    cost: 5_000_000,
    check({ method, url, body: { startPublishedDate, ...body } }) {
      assert.deepEqual(
        [method, url, body],
        [
          "POST",
          "/search",
          { query: "spring tides", numResults: 8, contents: { text: { maxCharacters: 1_000 } } },
        ],
      );
      const age = Date.now() - Date.parse(startPublishedDate);
      assert.ok(age >= 7 * DAY && age < 8 * DAY, startPublishedDate);
    },
    title: "Tides &amp; times",
  },
  searxng: {
    vars: {},
    answer: { results: odd("content", "publishedDate", "2026-11-02T08:00:00") },
    header: ["authorization", undefined],
    cost: 8_000_000,
    check({ method, url }) {
      assert.deepEqual([method, url], ["GET", "/search?q=spring%20tides&format=json&time_range=month"]);
    },
    title: "Tides &amp; times",
  },
};

for (const [name, { vars, answer, header, cost, check, title }] of Object.entries(SERVICES)) {
  test(`${name} is asked in its own form, and odd results are told as far as they can be`, async () => {
    const engine = await startSearchEngine((query, entry, response) => sendJson(response, answer));
    const gateway = await startGateway({
      vars: {
        ...sandboxVars(sandbox),
        ...vars,
        WEB_SEARCH: name,
        [`${name.toUpperCase()}_BASE_URL`]: engine.url,
        WEB_SEARCH_PRICE_USD: "0.008",
        PRICES: JSON.stringify({ [MODEL]: { input: 0, output: 0 } }),
      },
    });
    try {
      const said = 'Call web_search with {"query": "spring tides", "recency": "week"}.';
      const { data, response } = await openai(gateway)
        .chat.completions.create(
          { model: MODEL, messages: [user(said)] },
          { headers: { "x-gateway-tools": "web_search" } },
        )
        .withResponse();
      const [{ message }] = data.choices;
      assert.deepEqual(message.content.split("\n").slice(4), [
        `[1] ${title}`,
        "Address: https://tides.example/",
        "Date: 2026-11-02",
        "Excerpt: High at <b>noon</b>.",
        "",
        "[2] (no title)",
        "Address: https://bare.example/",
        "</web_search_results>",
      ]);
      assert.equal(engine.requests.length, 1);
      const [request] = engine.requests;
      check(request);
      assert.equal(request.headers[header[0]], header[1]);
      assert.ok(!request.url.includes("service-key"));
      const id = response.headers.get("x-request-id");
      const row = await until(async () => {
        const [row] = await gateway.d1(
          `SELECT outcome, cost_nano_usd AS cost FROM ledger WHERE request_id = '${id}'`,
        );
        return row && row.outcome !== "pending" && row;
      }, "the row is settled");
      assert.deepEqual(row, { outcome: "complete", cost });
    } finally {
      await gateway.stop();
      await engine.close();
    }
  });
}
