// Owns: `web_search` where the model's provider searches by itself: what it is asked, and how its sources reach the client.
// Invariant: the provider says what its API's reference says; the gateway's own search is never asked.
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import { openai, post, user } from "./conversation.mjs";
import { startGateway } from "./gateway.mjs";
import { startSearchEngine } from "./searchengine.mjs";
import { startUpstream } from "./wire.mjs";

const SEARCH = { "x-gateway-tools": "web_search" };
const PLACE = "https://harbour.example/today";
const SAID = "High water is at noon.";

let upstream, engine, gateway;
before(async () => {
  upstream = await startUpstream();
  engine = await startSearchEngine();
  gateway = await startGateway({
    vars: {
      OPENAI_API_KEY: "k",
      OPENAI_BASE_URL: `${upstream.url}/v1`,
      ANTHROPIC_API_KEY: "k",
      ANTHROPIC_BASE_URL: upstream.url,
      GOOGLE_API_KEY: "k",
      GOOGLE_BASE_URL: upstream.url,
      OPENROUTER_API_KEY: "k",
      OPENROUTER_BASE_URL: `${upstream.url}/api/v1`,
      WEB_SEARCH: "searxng",
      SEARXNG_BASE_URL: engine.url,
    },
  });
});
after(async () => {
  await gateway?.stop();
  await Promise.all([upstream?.close(), engine?.close()]);
});
afterEach(() => assert.deepEqual(engine.requests, [], "nothing is searched by the gateway"));

// ——— What providers answer that have searched

const WHOLE = {
  responses: {
    ...{ id: "resp_1", object: "response", created_at: 1, status: "completed", model: "gpt-5.4-mini" },
    output: [
      { id: "ws_1", type: "web_search_call", status: "completed", action: { type: "search", query: "tide" } },
      {
        ...{ id: "msg_1", type: "message", role: "assistant", status: "completed" },
        content: [
          {
            type: "output_text",
            text: SAID,
            annotations: [
              { type: "url_citation", start_index: 0, end_index: 22, url: PLACE, title: "Harbour" },
            ],
          },
        ],
      },
    ],
    usage: {
      ...{ input_tokens: 10, output_tokens: 5, total_tokens: 15 },
      input_tokens_details: { cached_tokens: 0 },
      output_tokens_details: { reasoning_tokens: 0 },
    },
  },
  messages: {
    ...{ id: "msg_1", type: "message", role: "assistant", model: "claude-sonnet-4-5" },
    content: [
      { type: "server_tool_use", id: "srvtoolu_1", name: "web_search", input: { query: "tide" } },
      {
        type: "web_search_tool_result",
        tool_use_id: "srvtoolu_1",
        content: [{ type: "web_search_result", url: PLACE, title: "Harbour", encrypted_content: "c2VhbGVk" }],
      },
      {
        type: "text",
        text: SAID,
        citations: [
          {
            type: "web_search_result_location",
            ...{ url: PLACE, title: "Harbour", encrypted_index: "aW5kZXg=", cited_text: "noon" },
          },
        ],
      },
    ],
    ...{ stop_reason: "end_turn", stop_sequence: null },
    usage: { input_tokens: 10, output_tokens: 5, server_tool_use: { web_search_requests: 1 } },
  },
  google: {
    candidates: [
      {
        content: { role: "model", parts: [{ text: SAID }] },
        finishReason: "STOP",
        groundingMetadata: {
          webSearchQueries: ["tide"],
          groundingChunks: [{ web: { uri: PLACE, title: "Harbour" } }],
          groundingSupports: [
            { segment: { startIndex: 0, endIndex: 22, text: SAID }, groundingChunkIndices: [0] },
          ],
        },
      },
    ],
    usageMetadata: { promptTokenCount: 10, candidatesTokenCount: 5, totalTokenCount: 15 },
    modelVersion: "gemini-2.5-flash",
  },
  chat: {
    ...{ id: "gen-1", object: "chat.completion", created: 1, model: "some/model" },
    choices: [
      {
        index: 0,
        message: {
          role: "assistant",
          content: SAID,
          annotations: [
            {
              type: "url_citation",
              url_citation: { url: PLACE, title: "Harbour", start_index: 0, end_index: 22 },
            },
          ],
        },
        finish_reason: "stop",
      },
    ],
    usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 },
  },
};

const dialectOf = (path) =>
  path.includes("generateContent")
    ? "google"
    : path.endsWith("/responses")
      ? "responses"
      : path.endsWith("/messages")
        ? "messages"
        : "chat";
const answering = () => {
  upstream.answer = (res, { path }) =>
    res.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(WHOLE[dialectOf(path)]));
};

// ——— Clients: each gives the text and the cited addresses.

const CLIENTS = {
  async chat(model, more) {
    const body = { model, messages: [user("When is high water?")], ...more };
    const { choices } = await openai(gateway).chat.completions.create(body, { headers: SEARCH });
    const [{ message }] = choices;
    return [message.content, (message.annotations ?? []).map(({ url_citation }) => url_citation.url)];
  },
  async responses(model, more) {
    const body = { model, input: "When is high water?", ...more };
    const answer = await openai(gateway).responses.create(body, { headers: SEARCH });
    const parts = answer.output.flatMap(({ content }) => content ?? []);
    return [answer.output_text, parts.flatMap(({ annotations }) => annotations).map(({ url }) => url)];
  },
  async messages(model, more) {
    const client = new Anthropic({ apiKey: gateway.key, baseURL: gateway.url, maxRetries: 0 });
    const body = { model, max_tokens: 500, messages: [user("When is high water?")], ...more };
    const { content } = await client.messages.create(body, { headers: SEARCH });
    const texts = content.filter(({ type }) => type === "text");
    return [
      texts.map(({ text }) => text).join(""),
      texts.flatMap(({ citations }) => citations ?? []).map(({ url }) => url),
    ];
  },
};

/** The body of the one request that a provider got. */
function asked(before) {
  const since = upstream.requests.slice(before).filter(({ raw }) => raw);
  assert.equal(since.length, 1);
  return JSON.parse(since[0].raw);
}

const ANTHROPIC = { type: "web_search_20250305", name: "web_search", max_uses: 5 };
for (const [client, model, field, entries] of [
  ["responses", "openai/gpt-5.4-mini", "tools", [{ type: "web_search" }]],
  ["messages", "anthropic/claude-sonnet-4-5", "tools", [ANTHROPIC]],
  ["chat", "anthropic/claude-sonnet-4-5", "tools", [ANTHROPIC]],
  ["responses", "anthropic/claude-sonnet-4-5", "tools", [ANTHROPIC]],
  ["responses", "google/gemini-2.5-flash", "tools", [{ googleSearch: {} }]],
  ["messages", "google/gemini-2.5-flash", "tools", [{ googleSearch: {} }]],
  ["chat", "openrouter/some/model", "plugins", [{ id: "web" }]],
]) {
  test(`${model} searches by itself for a client of ${client}, and its sources come through`, async () => {
    answering();
    const before = upstream.requests.length;
    assert.deepEqual(await CLIENTS[client](model), [SAID, [PLACE]]);
    const body = asked(before);
    assert.deepEqual(body[field], entries);
    assert.ok(!JSON.stringify(body).includes('"function"'), "no tool of the gateway's is offered");
  });
}

test("a request that has its provider search already is left as it is", async () => {
  answering();
  const before = upstream.requests.length;
  const tools = [{ type: "web_search", search_context_size: "low" }];
  assert.deepEqual(await CLIENTS.responses("openai/gpt-5.4-mini", { tools }), [SAID, [PLACE]]);
  assert.deepEqual(asked(before).tools, tools);
});

test("beside functions of the client's, which Gemini refuses then, the gateway's own search is offered", async () => {
  answering();
  const before = upstream.requests.length;
  const clock = { type: "function", name: "clock", parameters: { type: "object", properties: {} } };
  await CLIENTS.responses("google/gemini-2.5-flash", { tools: [clock] });
  const { tools } = asked(before);
  assert.deepEqual(
    tools.flatMap(({ functionDeclarations }) => functionDeclarations).map(({ name }) => name),
    ["clock", "web_search"],
  );
});

test("what the provider refuses of it is the provider's error, as ever", async () => {
  upstream.answer = (res) =>
    res.writeHead(400, { "content-type": "application/json" }).end(
      JSON.stringify({
        error: { message: "web_search is not available here", type: "invalid_request_error" },
      }),
    );
  const answer = await post(
    gateway,
    "/responses",
    { model: "openai/gpt-5.4-mini", input: "When?" },
    { headers: SEARCH },
  );
  assert.equal(answer.status, 400);
  assert.match((await answer.json()).error.message, /web_search is not available here/);
});
