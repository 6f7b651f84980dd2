// Owns: the ledger as a whole: that nothing is missing in it, that nothing is written down which must not be, and that it
// holds when its storage or its Worker does not.
// Invariant: what the gateway wrote anywhere (log, ledger, spans) is looked at in full.
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { storageOf } from "../../scripts/local-database.mjs";
import { memoryHeaders, newThread, post, until, user } from "./conversation.mjs";
import { sandboxVars, startGateway, startSandbox } from "./gateway.mjs";
import { begin, send, startUpstream, whole } from "./wire.mjs";

let sandbox, upstream, collector, gateway;
before(async () => {
  [sandbox, upstream, collector] = await Promise.all([startSandbox(), startUpstream(), startCollector()]);
  gateway = await startGateway({
    vars: {
      ...sandboxVars(sandbox),
      PROVIDERS: JSON.stringify({
        raw: { base_url: `${upstream.url}/v1`, dialects: ["chat", "responses", "messages"] },
      }),
      // Its failures are the test's own.
      CIRCUIT_FAILURES: "1000",
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_EXPORTER_OTLP_HEADERS: "authorization=Basic%20collectorsecret",
      PENDING_TURN_TTL_MS: "1000",
      LIMITS: JSON.stringify({ global: 100_000, llm_proxy: 100_000, llm_proxy_burst: 100_000 }),
    },
  });
});
after(async () => {
  await gateway?.stop();
  await sandbox?.close();
  await upstream?.close();
  await collector?.close();
});

/** Takes spans as a collector of OpenTelemetry does. */
async function startCollector() {
  const received = [];
  const server = createServer(async (req, res) => {
    let text = "";
    for await (const part of req) text += part;
    received.push({ path: req.url, headers: req.headers, text });
    res.writeHead(200, { "content-type": "application/json" }).end("{}");
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    received,
    url: `http://127.0.0.1:${server.address().port}`,
    spans: () => received.flatMap(({ text }) => JSON.parse(text).resourceSpans[0].scopeSpans[0].spans),
    close: () =>
      new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      }),
  };
}

/** The lines of the log that are ours. */
const logged = (at = gateway) =>
  at
    .logs()
    .split("\n")
    .map((line) => /\{"event":.*\}/.exec(line)?.[0])
    .filter(Boolean)
    .map((line) => JSON.parse(line));

// ——— The sum

const tokensOf = (usage) => [
  usage.prompt_tokens ?? usage.input_tokens,
  usage.completion_tokens ?? usage.output_tokens ?? 0,
];
/** The counts that an answer of Messages gives beside those of its cache, as everybody else gives them. */
const messagesTokens = ({
  input_tokens,
  output_tokens,
  cache_read_input_tokens = 0,
  cache_creation_input_tokens = 0,
}) => [input_tokens + (cache_read_input_tokens ?? 0) + (cache_creation_input_tokens ?? 0), output_tokens];
const eventsOf = (text) =>
  text
    .split(/\r?\n/)
    .filter((line) => line.startsWith("data: {"))
    .map((line) => JSON.parse(line.slice(6)));

const KINDS = [
  [
    "/chat/completions",
    (text, stream) => ({
      messages: [user(text)],
      ...(stream && { stream_options: { include_usage: true } }),
    }),
  ],
  ["/responses", (text) => ({ input: text, store: false })],
  ["/messages", (text) => ({ messages: [user(text)], max_tokens: 200 })],
];
const MODELS = [
  "openai/gpt-5.4-mini",
  "anthropic/claude-sonnet-4-5",
  "google/gemini-2.5-flash",
  "openrouter/openai/gpt-5.4-mini",
];

/** The counts that the client was told: `[input, output]`. */
function told(path, stream, text) {
  const events = stream ? eventsOf(text) : [];
  if (path === "/chat/completions") {
    return tokensOf(stream ? events.findLast(({ usage }) => usage).usage : JSON.parse(text).usage);
  }
  if (path === "/responses") {
    return tokensOf(
      (stream ? events.findLast(({ response }) => response?.usage).response : JSON.parse(text)).usage,
    );
  }
  if (path === "/messages") {
    const usage = stream
      ? { ...events[0].message.usage, ...events.findLast(({ type }) => type === "message_delta").usage }
      : JSON.parse(text).usage;
    return messagesTokens(usage);
  }
  return tokensOf(JSON.parse(text).usage);
}

test("the sum of a thousand rows is what a thousand clients were told", async () => {
  const COUNT = 1_000;
  const counted = async () =>
    (
      await gateway.d1(
        `SELECT count(*) AS rows, coalesce(sum(prompt_tokens), 0) AS input, coalesce(sum(completion_tokens), 0) AS output,
           coalesce(sum(estimated), 0) AS estimated FROM ledger WHERE outcome = 'complete'`,
      )
    )[0];
  const before = await counted();
  const sum = { input: 0, output: 0 };
  let next = 0;
  const work = async () => {
    for (let n = next++; n < COUNT; n = next++) {
      const model = MODELS[n % MODELS.length];
      const stream = n % 2 === 0;
      const words = "word ".repeat(1 + (n % 17));
      let [path, rest] = KINDS[Math.floor(n / 8) % KINDS.length];
      let body = { model, ...(stream && { stream }), ...rest(words, stream) };
      if (n % 25 === 24) {
        path = "/embeddings";
        body = { model: "openai/text-embedding-3-small", input: words };
      }
      const answer = await post(gateway, path, body);
      const text = await answer.text();
      assert.equal(answer.status, 200, text);
      const [input, output] = told(path, stream && path !== "/embeddings", text);
      sum.input += input;
      sum.output += output;
    }
  };
  await Promise.all(Array.from({ length: 12 }, work));
  const after = await until(
    async () => {
      const found = await counted();
      return found.rows - before.rows === COUNT && found;
    },
    "a thousand rows",
    30_000,
  );
  assert.deepEqual(
    { input: after.input - before.input, output: after.output - before.output, estimated: after.estimated },
    { ...sum, estimated: before.estimated },
  );
});

// ——— The log, spans, secrets

test("each request has one line in the log, with ids and figures and no word of the conversation", async () => {
  const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  const thread = newThread();
  const answer = await post(
    gateway,
    "/chat/completions",
    { model: "openai/gpt-5.4-mini", messages: [user("UNSPEAKABLE")] },
    { thread, headers: { "x-request-id": "logged-1", traceparent } },
  );
  const { usage } = await answer.json();
  await fetch(`${gateway.baseURL}/models`, {
    headers: { "x-request-id": "logged-2", authorization: `Bearer ${gateway.key}` },
  });
  await fetch(`${gateway.baseURL}/memory/threads/${thread}/messages`, {
    headers: { "x-request-id": "logged-3" },
  });
  const lines = (id) => logged().filter(({ event, request_id }) => event === "request" && request_id === id);
  await until(() => ["logged-1", "logged-2", "logged-3"].every((id) => lines(id).length > 0), "three lines");
  const [line, ...rest] = lines("logged-1");
  assert.deepEqual(rest, []);
  const { latency_ms, key, cost_usd, ...figures } = line;
  assert.ok(latency_ms >= 0);
  assert.match(key, /^key_/);
  assert.equal(cost_usd, (usage.prompt_tokens * 0.75 + usage.completion_tokens * 4.5) / 1e6);
  assert.deepEqual(figures, {
    event: "request",
    request_id: "logged-1",
    trace_id: "4bf92f3577b34da6a3ce929d0e0e4736",
    project: "default",
    endpoint: "/v1/chat/completions",
    provider: "openai",
    model: "gpt-5.4-mini",
    source: "deployment",
    stream: false,
    status: 200,
    outcome: "complete",
    error: null,
    prompt_tokens: usage.prompt_tokens,
    completion_tokens: usage.completion_tokens,
    cached_tokens: 0,
    memory_tokens: 0,
    estimated: false,
    ttft_ms: null,
    attempts: 1,
  });
  assert.deepEqual(
    lines("logged-2").map(({ endpoint, status, method, error }) => [endpoint, status, method, error]),
    [["/v1/models", 200, "GET", null]],
  );
  const [refusal] = lines("logged-3");
  assert.deepEqual(
    [refusal.endpoint, refusal.status, refusal.code],
    ["/v1/memory/threads", 401, "missing_api_key"],
  );
  // `wrangler dev` writes a line of its own for each request, with its path.
  const own = gateway.logs().replace(/^.*\b(GET|POST) \/v1\/.*$/gm, "");
  assert.ok(own.includes("logged-1") && !own.includes("UNSPEAKABLE") && !own.includes(thread), own);
  const span = await until(
    () => collector.spans().find(({ traceId }) => traceId === "4bf92f3577b34da6a3ce929d0e0e4736"),
    "a span",
  );
  assert.deepEqual(
    [span.parentSpanId, span.name, span.kind, span.status],
    ["00f067aa0ba902b7", "chat gpt-5.4-mini", 3, {}],
  );
  const attributes = Object.fromEntries(
    span.attributes.map(({ key, value }) => [key, Object.values(value)[0]]),
  );
  assert.deepEqual(
    Object.fromEntries(Object.entries(attributes).filter(([name]) => name.startsWith("gen_ai."))),
    {
      "gen_ai.operation.name": "chat",
      "gen_ai.provider.name": "openai",
      "gen_ai.request.model": "gpt-5.4-mini",
      "gen_ai.usage.input_tokens": String(usage.prompt_tokens),
      "gen_ai.usage.output_tokens": String(usage.completion_tokens),
      "gen_ai.usage.cache_read.input_tokens": "0",
      "gen_ai.usage.cache_creation.input_tokens": "0",
    },
  );
  assert.equal(
    BigInt(span.endTimeUnixNano) - BigInt(span.startTimeUnixNano),
    BigInt(latency_ms) * 1_000_000n,
  );
  const [first] = collector.received;
  assert.deepEqual([first.path, first.headers.authorization], ["/v1/traces", "Basic collectorsecret"]);
});

test("a caller that does not keep its trace gets no span", async () => {
  const traceparent = "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-00f067aa0ba902b7-00";
  const marker = "00-bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb-00f067aa0ba902b7-01";
  const body = { model: "openai/gpt-5.4-mini", messages: [user("hi")] };
  for (const header of [traceparent, marker]) {
    await (await post(gateway, "/chat/completions", body, { headers: { traceparent: header } })).text();
  }
  await until(() => collector.spans().some(({ traceId }) => traceId === "b".repeat(32)), "the other's span");
  assert.ok(!collector.spans().some(({ traceId }) => traceId === "a".repeat(32)));
});

test("no secret that is planted anywhere is written down anywhere", async () => {
  let planted = 0;
  const secrets = [];
  const plant = (shape) => {
    const secret = shape(`planted${String((planted += 1)).padStart(3, "0")}PLANT`);
    secrets.push(/planted\d+PLANT/.exec(secret)[0]);
    return secret;
  };
  const shapes = [
    (core) => `sk-proj-${core}`,
    (core) => `sk-ant-api03-${core}`,
    (core) => `msk_${core}`,
    (core) => `AIzaSy${core}abcdefgh`,
    (core) => `Bearer ${core}`,
    (core) => `gsk_${core}`,
    (core) => `xai-${core}`,
  ];
  const echo = (status) => (res, entry) => {
    // A provider that repeats whatever it was sent.
    res.writeHead(status, { "content-type": "application/json" });
    res.end(
      JSON.stringify({ error: { message: `No: ${JSON.stringify(entry.headers)} ${entry.raw}`, type: "t" } }),
    );
  };
  const HEADERS = [
    "x-request-id",
    "x-memory-mode",
    "x-thread-id",
    "x-resource-id",
    "x-sm-user-id",
    "x-sm-conversation-id",
    "origin",
    "content-type",
    "anthropic-version",
    "anthropic-beta",
    "openai-organization",
    "openai-project",
    "openai-beta",
    "chatgpt-account-id",
    "originator",
    "traceparent",
    "tracestate",
    "cookie",
    "x-forwarded-for",
    "user-agent",
  ];
  const PATHS = ["/chat/completions", "/responses", "/messages", "/embeddings", "/messages/count_tokens"];
  const statuses = [];
  for (const [at, shape] of shapes.entries()) {
    upstream.answer = echo([400, 401, 429, 500][at % 4]);
    const asks = [
      // In each header of a request that is otherwise sound.
      ...HEADERS.map((name) => [PATHS[at % 5], { [name]: plant(shape) }, {}]),
      // As credentials: unknown keys, and keys of the caller's own.
      ["/chat/completions", { authorization: plant(shape) }, {}],
      ["/messages", { "x-api-key": plant(shape) }, {}],
      ["/chat/completions", { "x-memory-gateway-authorization": plant(shape) }, {}],
      [
        "/chat/completions",
        { "x-memory-gateway-authorization": `Bearer ${gateway.key}`, authorization: plant(shape) },
        {},
      ],
      // In the fields of a body.
      ["/chat/completions", {}, { model: plant(shape) }],
      ["/chat/completions", {}, { model: `raw/${plant(shape)}` }],
      ["/chat/completions", {}, { messages: [user(plant(shape))] }],
      ["/chat/completions", {}, { user: plant(shape), metadata: { [plant(shape)]: plant(shape) } }],
      ["/responses", {}, { previous_response_id: plant(shape) }],
      ["/chat/completions", {}, { stream: plant(shape) }],
    ];
    for (const [path, headers, more] of asks) {
      const body = {
        model: "raw/m",
        ...(path === "/responses" || path === "/embeddings" ? { input: "hi" } : { messages: [user("hi")] }),
        ...(path === "/messages" && { max_tokens: 9 }),
        ...more,
      };
      const answer = await whole(gateway.baseURL + path, {
        headers: { authorization: `Bearer ${gateway.key}`, "content-type": "application/json", ...headers },
        body: JSON.stringify(body),
      });
      statuses.push(answer.status);
    }
    for (const path of [
      `/models/${encodeURIComponent(plant(shape))}`,
      `/memory/threads/${encodeURIComponent(plant(shape))}/messages`,
      `/${encodeURIComponent(plant(shape))}`,
    ]) {
      const answer = await fetch(gateway.baseURL + path, {
        headers: { authorization: `Bearer ${gateway.key}` },
      });
      await answer.text();
    }
  }
  assert.ok(
    statuses.includes(400) && statuses.includes(401) && statuses.includes(429) && statuses.includes(500),
  );
  await sleep(2_000);
  const rows = await gateway.d1("SELECT * FROM ledger");
  // Where a conversation belongs and who it is with is what the caller says it is.
  const kept = JSON.stringify(rows.map((row) => ({ ...row, thread_id: null, resource_id: null })));
  // wrangler dev's own lines show the path; ours do not, and in production there are no others.
  const log = gateway
    .logs()
    .split("\n")
    .filter((line) => !line.includes("[wrangler:info]"))
    .join("\n");
  const written = {
    log,
    ledger: kept,
    spans: collector.received.map(({ text }) => text).join("\n"),
  };
  assert.ok(written.log.length > 10_000 && written.ledger.length > 10_000 && written.spans.length > 10_000);
  for (const [place, text] of Object.entries(written)) {
    assert.deepEqual([place, secrets.filter((secret) => text.includes(secret))], [place, []]);
  }
  assert.ok(!written.log.includes("sandbox-key") && !written.log.includes("collectorsecret"));
});

// ——— Switched off

test("switched off, nothing is counted, and the log still has its line", async () => {
  const off = await startGateway({
    vars: {
      LEDGER: "off",
      PROVIDERS: JSON.stringify({ raw: { base_url: `${upstream.url}/v1` } }),
    },
  });
  try {
    const bytes = 'data: {"choices":[{"index":0,"delta":{"content":"one"}}]}\n\nodd bytes, passed on';
    upstream.answer = (res) => res.writeHead(200, { "content-type": "text/event-stream" }).end(bytes);
    const answer = await whole(`${off.baseURL}/chat/completions`, {
      headers: {
        authorization: `Bearer ${off.key}`,
        "content-type": "application/json",
        "x-request-id": "off-1",
      },
      body: JSON.stringify({ model: "raw/m", stream: true, messages: [user("hello")] }),
    });
    assert.deepEqual([answer.text, answer.clean], [bytes, true]);
    assert.equal(JSON.parse(upstream.requests.at(-1).raw).stream_options, undefined);
    const line = await until(
      () => logged(off).find(({ event, request_id }) => event === "request" && request_id === "off-1"),
      "the line",
    );
    assert.deepEqual(
      [line.status, line.outcome, line.provider, line.cost_usd],
      [200, "complete", "raw", null],
    );
    assert.deepEqual(await off.d1("SELECT * FROM ledger"), []);
  } finally {
    await off.stop();
  }
});

// ——— When something breaks

test("while the database takes no rows, answers come as ever, and the rows come afterwards", async () => {
  const body = { model: "openai/gpt-5.4-mini", messages: [user("hi")] };
  await (await post(gateway, "/chat/completions", body)).text(); // The key is known from now on.
  const folder = join(storageOf(gateway.state), "v3", "d1", "miniflare-D1DatabaseObject");
  const [file] = readdirSync(folder).filter((name) => /^[0-9a-f]+\.sqlite$/.test(name));
  const blocker = new DatabaseSync(join(folder, file), { timeout: 10_000 });
  blocker.exec("BEGIN IMMEDIATE");
  const ids = Array.from({ length: 20 }, (_, n) => `blocked-${n}`);
  try {
    for (const id of ids) {
      const since = performance.now();
      const answer = await post(gateway, "/chat/completions", body, { headers: { "x-request-id": id } });
      assert.equal(answer.status, 200);
      await answer.text();
      assert.ok(performance.now() - since < 2_000, "an answer waited for the ledger");
    }
  } finally {
    blocker.exec("ROLLBACK");
    blocker.close();
  }
  await until(
    async () => {
      const [{ rows }] = await gateway.d1(
        "SELECT count(*) AS rows FROM ledger WHERE request_id LIKE 'blocked-%' AND outcome = 'complete'",
      );
      return rows === ids.length;
    },
    "all rows",
    30_000,
  );
});

test("a request that the Worker did not survive is closed as an estimate, also when no request follows", async () => {
  upstream.answer = (res) => {
    res.writeHead(200, { "content-type": "text/event-stream" });
    res.write('data: {"choices":[{"index":0,"delta":{"content":"one "}}]}\n\n');
  };
  const lost = async (id) => {
    const answer = begin(gateway.baseURL + "/chat/completions", {
      headers: {
        authorization: `Bearer ${gateway.key}`,
        "content-type": "application/json",
        "x-request-id": id,
        ...memoryHeaders(newThread()),
      },
      body: JSON.stringify({ model: "raw/m", stream: true, messages: [user("hello")] }),
    });
    answer.head.catch(() => {});
    await until(
      async () => (await gateway.d1(`SELECT 1 FROM ledger WHERE request_id = '${id}'`)).length === 1,
      "the open row",
    );
    await gateway.restart();
    await sleep(1_100);
  };
  const rowOf = async (id) =>
    (
      await gateway.d1(
        `SELECT outcome, status_code, completion_tokens AS output, estimated, swept, prompt_tokens > 0 AS asked
         FROM ledger WHERE request_id = '${id}'`,
      )
    )[0];
  const closed = { outcome: "aborted", status_code: null, output: 0, estimated: 1, swept: 1, asked: 1 };
  const isClosed = (id) =>
    until(async () => (await rowOf(id)).outcome !== "pending" && rowOf(id), "the closed row");
  await lost("lost-1");
  await (
    await post(gateway, "/chat/completions", { model: "openai/gpt-5.4-mini", messages: [user("hi")] })
  ).text();
  assert.deepEqual(await isClosed("lost-1"), closed);
  await lost("lost-2");
  const tick = await send(`${gateway.url}/cdn-cgi/handler/scheduled`, { method: "GET" });
  assert.equal(tick.status, 200);
  assert.deepEqual(await isClosed("lost-2"), closed);
});
