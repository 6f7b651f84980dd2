// Owns: what happens when a provider fails before it answers: the same asked again, another asked in its place, the whole
// given up; and what the client, the thread and the ledger know of it.
// Invariant: each test's models have names of their own, so that no circuit of one is another's; requests are found by them.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { assistant, MODEL, memoryHeaders, newThread, stored, until, user } from "./conversation.mjs";
import { directBaseURL } from "./direct.mjs";
import { startGateway } from "./gateway.mjs";
import { begin, startUpstream, whole } from "./wire.mjs";

const SECRET = "sk-stored-elsewhere";
let first, second, gateway;
/** What a provider does with a request for a model, by the model's name; `{res, times}`. */
const scripts = new Map();
/** The requests for a model, in the order in which they came. */
const asked = (model) =>
  [first, second].flatMap(({ requests }) => requests).filter((entry) => modelOf(entry) === model);
const modelOf = ({ raw }) => /"model":"([^"]+)"/.exec(raw)?.[1];

before(async () => {
  [first, second] = await Promise.all([startUpstream(), startUpstream()]);
  for (const upstream of [first, second]) {
    upstream.answer = (res, entry) => {
      // Whoever looks for a gateway's port looks here, too.
      const script = scripts.get(modelOf(entry)) ?? (() => refuse(404)(res));
      return script({ res, times: asked(modelOf(entry)).length });
    };
  }
  gateway = await startGateway({
    vars: {
      CIRCUIT_FAILURES: "4",
      CIRCUIT_OPEN_MS: "600000",
      ELSEWHERE_KEY: SECRET,
      OPENAI_API_KEY: "sk-of-the-sandbox",
      OPENAI_BASE_URL: `${first.url}/v1`,
      PROVIDERS: JSON.stringify({
        one: { base_url: `${first.url}/v1` },
        two: { base_url: `${second.url}/v1`, dialects: ["messages"] },
        keyed: { base_url: `${first.url}/v1`, api_key_secret: "ELSEWHERE_KEY" },
        three: { base_url: `${second.url}/v1`, dialects: ["responses"] },
        dead: { base_url: "http://127.0.0.1:1/v1" },
      }),
    },
  });
});
after(async () => {
  await gateway?.stop();
  await Promise.all([first?.close(), second?.close()]);
});

const JSON_TYPE = { "content-type": "application/json" };
const EVENTS = { "content-type": "text/event-stream" };
const refuse = (status, headers) => (res) =>
  res.writeHead(status, { ...JSON_TYPE, ...headers }).end('{"error":{"message":"Not now.","type":"t"}}');
const drop = (res) => res.destroy();
const silence = () => {};
const dropBeforeFirstByte = (res) => {
  res.writeHead(200, EVENTS).flushHeaders();
  setImmediate(() => res.destroy());
};
const endBeforeFirstByte = (res) => res.writeHead(200, EVENTS).end();
const silenceBeforeFirstByte = (res) => res.writeHead(200, EVENTS).flushHeaders();
const page = (res) => res.writeHead(200, { "content-type": "text/html" }).end("<p>Sign in</p>");

/** An error in the place of an answer: under a status of success, or as the first event of a stream. */
const ERROR = { error: { message: "Not now.", type: "server_error", code: null } };
const report = (error, usage) => (res) => res.writeHead(200, JSON_TYPE).end(JSON.stringify({ error, usage }));
const reportEvent = (error) => (res) =>
  res.writeHead(200, EVENTS).end(`data: ${JSON.stringify({ error })}\n\n`);
/** The same in pieces, of which none is a whole event. */
const reportInPieces = async (res) => {
  res.writeHead(200, EVENTS);
  for (const piece of `data: ${JSON.stringify(ERROR)}\n\n`.match(/.{1,20}/gs)) {
    await new Promise((written) => res.write(piece, written));
    await new Promise(setImmediate);
  }
  res.end();
};

const chunk = (delta, finish_reason = null) =>
  `data: ${JSON.stringify({ id: "x", object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason }] })}\n\n`;
const chatEvents = (text) =>
  chunk({ role: "assistant", content: text }) +
  chunk({}, "stop") +
  'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}\n\ndata: [DONE]\n\n';
const event = (type, more) => `event: ${type}\ndata: ${JSON.stringify({ type, ...more })}\n\n`;
const messagesEvents = (text) =>
  event("message_start", {
    message: {
      id: "m",
      type: "message",
      role: "assistant",
      content: [],
      usage: { input_tokens: 3, output_tokens: 0 },
    },
  }) +
  event("content_block_start", { index: 0, content_block: { type: "text", text: "" } }) +
  event("content_block_delta", { index: 0, delta: { type: "text_delta", text } }) +
  event("content_block_stop", { index: 0 }) +
  event("message_delta", { delta: { stop_reason: "end_turn" }, usage: { output_tokens: 2 } }) +
  event("message_stop", {});
const chatWhole = (text) =>
  JSON.stringify({
    ...{ id: "x", object: "chat.completion", model: "m" },
    choices: [{ index: 0, message: assistant(text), finish_reason: "stop" }],
    usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
  });
const messagesWhole = (text) =>
  JSON.stringify({
    ...{ id: "m", type: "message", role: "assistant", model: "m", stop_reason: "end_turn" },
    content: [{ type: "text", text }],
    usage: { input_tokens: 3, output_tokens: 2 },
  });
const says = (dialect, text, stream) => (res) =>
  stream
    ? res.writeHead(200, EVENTS).end(dialect === "chat" ? chatEvents(text) : messagesEvents(text))
    : res.writeHead(200, JSON_TYPE).end(dialect === "chat" ? chatWhole(text) : messagesWhole(text));

const name = () => `m-${randomUUID()}`;

/** A request that names a model of each of these providers; `act` says what the provider does the nth time. */
function plan(...providers) {
  return providers.map(([provider, act]) => {
    const model = name();
    scripts.set(model, ({ res, times }) => [act].flat()[Math.min(times, [act].flat().length) - 1](res));
    return { model, id: `${provider}/${model}` };
  });
}

function options(
  models,
  { stream = false, thread, headers, base = gateway.baseURL, id = `test-${randomUUID()}` } = {},
) {
  const [model, ...rest] = models.map((planned) => planned.id);
  return {
    id,
    url: `${base}/chat/completions`,
    headers: {
      authorization: `Bearer ${gateway.key}`,
      "x-request-id": id,
      ...JSON_TYPE,
      ...(thread && memoryHeaders(thread)),
      ...headers,
    },
    body: JSON.stringify({ model, ...(rest.length && { models: rest }), stream, messages: [user("hello")] }),
  };
}

const ask = (models, how) => {
  const { url, ...sent } = options(models, how);
  return whole(url, sent);
};

const COLUMNS =
  "outcome, status_code AS status, provider, model, attempts, prompt_tokens AS input, completion_tokens AS output";
const rowOf = (id) =>
  until(async () => {
    const [row] = await gateway.d1(`SELECT ${COLUMNS} FROM ledger WHERE request_id = '${id}'`);
    return row && row.outcome !== "pending" && row;
  }, `a settled row of ${id}`);

/** The words of an answer in Chat Completions, streamed or not. */
const words = (text, stream) =>
  stream
    ? [...text.matchAll(/^data: (\{.*)$/gm)]
        .map(([, data]) => JSON.parse(data).choices[0]?.delta?.content ?? "")
        .join("")
    : JSON.parse(text).choices[0].message.content;

// ——— Another in its place

const FAILURES = [
  ["drops the connection", drop, 2],
  ["fails with 500", refuse(500), 2],
  ["is overloaded with 503", refuse(503), 2],
  ["is overloaded with 529", refuse(529), 2],
  ["times out with 408", refuse(408), 2],
  ["limits the rate", refuse(429, { "retry-after": "30" }), 1],
  ["answers with a page", page, 1],
  ["answers with a redirect", refuse(307, { location: "http://127.0.0.1:1/" }), 1],
];
const WHOLE_FAILURES = [
  ["reports an error", report(ERROR.error), 2],
  ["reports an error with a code", report({ message: "Not now.", code: 502 }), 2],
  ["reports that it limits the rate", report({ message: "Not now.", type: "rate_limit_error" }), 1],
];
const STREAM_FAILURES = [
  ["begins a stream with an error", reportEvent(ERROR.error), 2],
  ["begins a stream with an error in pieces", reportInPieces, 2],
  ["begins a stream with a limit of its rate", reportEvent({ message: "Not now.", code: 429 }), 1],
  ["drops a stream before its first byte", dropBeforeFirstByte, 2],
  ["ends a stream before its first byte", endBeforeFirstByte, 2],
];

for (const stream of [false, true]) {
  for (const [what, act, times] of [...FAILURES, ...(stream ? STREAM_FAILURES : WHOLE_FAILURES)]) {
    test(`${stream ? "streamed" : "whole"}: when a provider ${what}, the next model answers, in its own dialect`, async () => {
      for (const thread of [undefined, newThread()]) {
        const [bad, good] = plan(["one", act], ["two", says("messages", "from two", stream)]);
        const id = `test-${randomUUID()}`;
        const answer = await ask([bad, good], { stream, thread, id });
        assert.deepEqual([answer.status, answer.clean, words(answer.text, stream)], [200, true, "from two"]);
        const { headers } = answer;
        assert.deepEqual(
          [headers["x-gateway-provider"], headers["x-gateway-model"], headers["x-gateway-attempts"]],
          ["two", good.model, String(times + 1)],
        );
        assert.deepEqual([asked(bad.model).length, asked(good.model).length], [times, 1]);
        assert.ok(!asked(good.model)[0].raw.includes("models"), "the list is not the provider's business");
        assert.deepEqual(await rowOf(id), {
          ...{ outcome: "complete", status: 200, provider: "two", model: good.model },
          ...{ attempts: times + 1, input: 3, output: 2 },
        });
        if (thread) assert.deepEqual(await stored(gateway, thread), [user("hello"), assistant("from two")]);
      }
    });
  }
}

test("a provider that cannot be reached is asked twice, then the next", async () => {
  const [good] = plan(["one", says("chat", "from one")]);
  const answer = await ask([{ id: "dead/m" }, good]);
  assert.deepEqual([words(answer.text), answer.headers["x-gateway-attempts"]], ["from one", "3"]);
});

test("a passing failure of the only provider is not seen by the client", async () => {
  for (const stream of [false, true]) {
    for (const failure of [refuse(500), stream ? reportEvent(ERROR.error) : report(ERROR.error)]) {
      const [only] = plan(["one", [failure, says("chat", "at last", stream)]]);
      const answer = await ask([only], { stream });
      assert.deepEqual([words(answer.text, stream), answer.headers["x-gateway-attempts"]], ["at last", "2"]);
    }
  }
});

test("a stream that flows by begins behind what failed, byte for byte", async () => {
  const overloaded = event("error", { error: { type: "overloaded_error", message: "Overloaded" } });
  const failing = (res) => res.writeHead(200, EVENTS).end(overloaded);
  const answer = messagesEvents("at last ".repeat(30_000));
  for (const begin of [1, 20, 10_000, answer.length]) {
    const inPieces = async (res) => {
      res.writeHead(200, EVENTS);
      await new Promise((written) => res.write(answer.slice(0, begin), written));
      await new Promise(setImmediate);
      res.end(answer.slice(begin));
    };
    for (const failure of [failing, dropBeforeFirstByte, endBeforeFirstByte]) {
      const [only] = plan(["two", [failure, inPieces]]);
      const { id, headers } = options([only]);
      const body = JSON.stringify({ model: only.id, max_tokens: 9, stream: true, messages: [user("hello")] });
      const { text, headers: told } = await whole(`${gateway.baseURL}/messages`, { headers, body });
      assert.equal(told["x-gateway-attempts"], "2");
      assert.equal(text, answer);
      assert.deepEqual(await rowOf(id), {
        ...{ outcome: "complete", status: 200, provider: "two", model: only.model },
        ...{ attempts: 2, input: 3, output: 2 },
      });
    }
  }
});

test("a short wait that the only provider asks for is kept", async () => {
  const [only] = plan(["one", [refuse(429, { "retry-after": "1" }), says("chat", "at last")]]);
  const began = performance.now();
  const answer = await ask([only]);
  assert.deepEqual([words(answer.text), answer.headers["x-gateway-attempts"]], ["at last", "2"]);
  assert.ok(performance.now() - began >= 990);
});

test("what the only provider answers at last passes unchanged", async () => {
  for (const [status, headers, times] of [
    [500, {}, 2],
    [429, { "retry-after": "30" }, 1],
    [400, {}, 1],
    [404, {}, 1],
  ]) {
    const [only] = plan(["one", refuse(status, headers)]);
    const answer = await ask([only]);
    assert.deepEqual(
      [answer.status, answer.text, answer.headers["retry-after"], answer.headers["x-gateway-attempts"]],
      [status, '{"error":{"message":"Not now.","type":"t"}}', headers["retry-after"], String(times)],
    );
  }
});

test("what the only provider reports at last passes unchanged", async () => {
  for (const [stream, act, text] of [
    [false, report(ERROR.error), JSON.stringify(ERROR)],
    [true, reportEvent(ERROR.error), `data: ${JSON.stringify(ERROR)}\n\n`],
  ]) {
    const [only] = plan(["one", act]);
    const id = `test-${randomUUID()}`;
    const answer = await ask([only], { stream, id });
    assert.deepEqual([answer.status, answer.headers["x-gateway-attempts"]], [200, "2"]);
    assert.ok(answer.text.startsWith(text), answer.text);
    assert.doesNotMatch(answer.text, /\[DONE\]/);
    assert.equal((await rowOf(id)).outcome, "failed");
  }
});

test("an error that says the request is at fault is passed on, and nobody else is asked", async () => {
  const error = { message: "Too long.", type: "invalid_request_error" };
  for (const stream of [false, true]) {
    const act = stream ? reportEvent(error) : report(error);
    const [bad, good] = plan(["one", act], ["two", says("messages", "no", stream)]);
    const answer = await ask([bad, good], { stream });
    assert.match(answer.text, /Too long\./);
    assert.deepEqual([asked(bad.model).length, asked(good.model).length], [1, 0]);
  }
});

test("errors of Messages and Responses that begin a stream are failures, too", async () => {
  const event = (data) => `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`;
  const overloaded = { type: "error", error: { type: "overloaded_error", message: "Overloaded" } };
  const failed = { error: { code: "server_error", message: "Sorry." }, id: "r", status: "failed" };
  for (const [provider, events, headers] of [
    ["two", event({ type: "message_start", message: { content: [] } }) + event(overloaded), {}],
    ["two", event(overloaded), {}],
    [
      "three",
      event({ type: "response.created", response: {} }) +
        event({ type: "response.failed", response: failed }),
      {},
    ],
    ["three", event({ type: "error", code: "rate_limit_exceeded", message: "Slow down." }), {}],
  ]) {
    const act = (res) => res.writeHead(200, { ...EVENTS, ...headers }).end(events);
    const [bad, good] = plan([provider, act], ["one", says("chat", "from one", true)]);
    const answer = await ask([bad, good], { stream: true });
    assert.deepEqual([words(answer.text, true), answer.headers["x-gateway-provider"]], ["from one", "one"]);
  }
});

test("the ledger lists what failed before an answer, with what the provider counted", async () => {
  const usage = { prompt_tokens: 7, completion_tokens: 1, total_tokens: 8 };
  const [reported, dropped, good] = plan(
    ["one", report({ message: "Too many.", code: 429 }, usage)],
    ["two", drop],
    ["one", says("chat", "from one")],
  );
  const id = `test-${randomUUID()}`;
  assert.equal((await ask([reported, dropped, good], { id })).status, 200);
  await rowOf(id);
  const { log } = await gateway.manage("GET", `/projects/default/usage/logs/${id}`);
  const shown = log.failed_attempts.map(({ latency_ms: ms, ...rest }) => (assert.ok(ms >= 0), rest));
  const unused = { prompt_tokens: 0, completion_tokens: 0, cost_usd: 0 };
  const broken = { provider: "two", model: dropped.model, failure: "unreachable", upstream_status: null };
  assert.deepEqual(shown, [
    {
      ...{ provider: "one", model: reported.model, failure: "reported", upstream_status: 429 },
      // Nobody knows the price of this model.
      ...{ prompt_tokens: 7, completion_tokens: 1, cost_usd: null },
    },
    { ...broken, ...unused },
    { ...broken, ...unused },
  ]);
  assert.deepEqual([log.attempts, log.prompt_tokens, log.completion_tokens], [4, 3, 2]);
});

test("a budget counts what providers counted for attempts that failed", async () => {
  const usage = { prompt_tokens: 99_000, completion_tokens: 900, total_tokens: 99_900 };
  const budget = { tokens: 100_000, period: "month" };
  await gateway.manage("POST", "/projects", { id: "spent" });
  const { secret } = await gateway.manage("POST", "/projects/spent/keys", { budget });
  const headers = { authorization: `Bearer ${secret}` };
  const [costly, good] = plan(
    ["one", report({ message: "Too many.", code: 429 }, usage)],
    ["one", says("chat", "from one")],
  );
  assert.equal((await ask([costly, good], { headers })).status, 200);
  const error = await until(async () => {
    const answer = await ask([good], { headers });
    return answer.status !== 200 && JSON.parse(answer.text).error;
  }, "the budget is spent");
  assert.equal(error.code, "budget_exceeded");
});

test("a request that is at fault itself is refused by the first, and nobody else is asked", async () => {
  for (const status of [400, 404, 413, 422]) {
    const [bad, good] = plan(["one", refuse(status)], ["two", says("messages", "no")]);
    assert.equal((await ask([bad, good])).status, status);
    assert.deepEqual([asked(bad.model).length, asked(good.model).length], [1, 0]);
  }
});

test("a stored credential that is refused is passed over, and shown to nobody", async () => {
  const [good, again] = plan(["two", says("messages", "from two")], ["two", says("messages", "from two")]);
  const [refused] = plan(["keyed", refuse(401)]);
  assert.equal(words((await ask([refused, good])).text), "from two");
  assert.equal(asked(refused.model)[0].headers.authorization, `Bearer ${SECRET}`);
  assert.equal(
    asked(good.model)[0].headers["x-api-key"] ?? asked(good.model)[0].headers.authorization,
    undefined,
  );
  // Another model of the same credential: it is not tried while something else is there.
  const [other] = plan(["keyed", says("chat", "no")]);
  assert.equal(words((await ask([other, again])).text), "from two");
  assert.equal(asked(other.model).length, 0);
  assert.ok(!gateway.logs().includes(SECRET));
});

// ——— Names of the project's own

test("a name of the project's own stands for its models, which are tried in turn; it may be taken back", async () => {
  const [bad, good] = plan(["one", refuse(500)], ["two", says("messages", "from two")]);
  const set = (aliases) => gateway.manage("PATCH", "/projects/aliased", { settings: { aliases } });
  await gateway.manage("POST", "/projects", { id: "aliased" });
  const { secret } = await gateway.manage("POST", "/projects/aliased/keys", {});
  const changed = await set({ fast: [bad.id, good.id] });
  assert.deepEqual([changed.status, changed.project.settings.aliases], [200, { fast: [bad.id, good.id] }]);
  const headers = { authorization: `Bearer ${secret}` };
  const answer = await until(async () => {
    const answer = await ask([{ id: "fast" }], { headers });
    return answer.status === 200 && answer;
  }, "the setting is known");
  assert.deepEqual([words(answer.text), answer.headers["x-gateway-model"]], ["from two", good.model]);
  assert.ok(asked(bad.model).length > 0);
  const listed = await (await fetch(`${gateway.baseURL}/models/fast`, { headers })).json();
  assert.deepEqual(listed, { id: "fast", object: "model", created: 0, owned_by: "project" });
  // Another project knows nothing of it.
  assert.equal((await ask([{ id: "fast" }])).status, 400);
  for (const aliases of [{ "a/b": [good.id] }, { fast: [] }, { fast: ["good"] }, { fast: "one/m" }]) {
    const refused = await set(aliases);
    assert.deepEqual([refused.status, refused.error.param.split(".")[1]], [400, "aliases"]);
  }
  assert.deepEqual((await set({ fast: null })).project.settings, {});
});

test("a key that may not ask a model may not ask it by another name", async () => {
  const [good] = plan(["one", says("chat", "no")]);
  await gateway.manage("POST", "/projects", {
    ...{ id: "aliased-too", settings: { aliases: { fast: [good.id] } } },
  });
  const { secret } = await gateway.manage("POST", "/projects/aliased-too/keys", {
    models: ["two/*", "fast"],
  });
  const answer = await ask([{ id: "fast" }], { headers: { authorization: `Bearer ${secret}` } });
  assert.equal(answer.status, 403, answer.text);
  assert.equal(asked(good.model).length, 0);
});

// ——— Nothing left

test("when all failed the client is told what was tried, and no secret", async () => {
  for (const thread of [undefined, newThread()]) {
    const [one, two] = plan(["one", refuse(503)], ["two", drop]);
    const id = `test-${randomUUID()}`;
    const answer = await ask([one, two], { thread, id });
    const { error } = JSON.parse(answer.text);
    assert.deepEqual(
      [answer.status, error.type, error.code, answer.headers["x-gateway-attempts"]],
      [503, "overloaded", "all_routes_failed", "4"],
    );
    const tried = (provider, { model }, failure) => ({ provider, model, failure });
    const refused = { ...tried("one", one, "refused"), upstream_status: 503 };
    const broken = tried("two", two, "unreachable");
    assert.deepEqual(error.tried, [refused, refused, broken, broken]);
    assert.deepEqual(await rowOf(id), {
      ...{ outcome: "failed", status: 503, provider: "two", model: two.model },
      ...{ attempts: 4, input: 0, output: 0 },
    });
    if (thread) assert.deepEqual(await stored(gateway, thread), [user("hello")]);
  }
});

test("a route that failed too often is not asked for a while, and the answer says so", async () => {
  const [down] = plan(["one", drop]);
  for (let n = 0; n < 2; n++) assert.equal((await ask([down])).status, 502);
  assert.equal(asked(down.model).length, 4);
  const answer = await ask([down]);
  const { error } = JSON.parse(answer.text);
  assert.deepEqual([answer.status, error.type, error.tried], [503, "overloaded", []]);
  assert.match(error.message, /failed too often/);
  assert.ok(answer.headers["retry-after"]);
  assert.equal(asked(down.model).length, 4);
  const [good] = plan(["two", says("messages", "from two")]);
  const elsewhere = await ask([down, good]);
  assert.deepEqual([words(elsewhere.text), elsewhere.headers["x-gateway-attempts"]], ["from two", "1"]);
});

// ——— Deadlines

test("the first byte of a stream is waited for as long as the client allows, then another is asked", async () => {
  for (const act of [silence, silenceBeforeFirstByte]) {
    const [slow, good] = plan(["one", act], ["two", says("messages", "from two", true)]);
    const answer = await ask([slow, good], {
      stream: true,
      headers: { "x-gateway-first-token-timeout-ms": "300" },
    });
    assert.deepEqual([words(answer.text, true), answer.headers["x-gateway-attempts"]], ["from two", "2"]);
    await until(() => asked(slow.model)[0].closed, "the slow provider is let go");
  }
});

test("when the whole time is up and nothing began, it is a 504", async () => {
  for (const stream of [false, true]) {
    const [slow, other] = plan(["one", silence], ["two", says("messages", "late", stream)]);
    const answer = await ask([slow, other], { stream, headers: { "x-gateway-timeout-ms": "300" } });
    assert.deepEqual([answer.status, JSON.parse(answer.text).error.type], [504, "timeout"]);
    assert.equal(asked(other.model).length, 0);
  }
});

test("a stream that is not over when the whole time is up is broken off for all to see", async () => {
  const [endless] = plan([
    "one",
    (res) => {
      res.writeHead(200, EVENTS);
      const timer = setInterval(() => res.write(chunk({ content: "word " })), 20);
      res.on("close", () => clearInterval(timer));
    },
  ]);
  const id = `test-${randomUUID()}`;
  const answer = await ask([endless], { stream: true, id, headers: { "x-gateway-timeout-ms": "800" } });
  assert.equal(answer.status, 200);
  assert.match(answer.text, /"error"/);
  assert.doesNotMatch(answer.text, /\[DONE\]/);
  await until(() => asked(endless.model)[0].closed, "the provider is let go");
  assert.equal((await rowOf(id)).outcome, "timed_out");
});

test("a deadline that is no number is refused by the header's name", async () => {
  const [good] = plan(["one", says("chat", "no")]);
  for (const header of ["x-gateway-timeout-ms", "x-gateway-first-token-timeout-ms"]) {
    const answer = await ask([good], { headers: { [header]: "soon" } });
    assert.deepEqual([answer.status, JSON.parse(answer.text).error.param], [400, header]);
  }
});

// ——— One answer only

test("once a byte of a stream is out nobody else is asked", async () => {
  const [torn, other] = plan(
    ["one", (res) => res.writeHead(200, EVENTS).write(chunk({ content: "half" }), () => res.destroy())],
    ["two", says("messages", "other half", true)],
  );
  const answer = await ask([torn, other], { stream: true });
  assert.match(answer.text, /half/);
  assert.doesNotMatch(answer.text, /other half|\[DONE\]/);
  assert.equal(asked(other.model).length, 0);
});

test("the first byte reaches the client before the provider says more", async () => {
  let goOn;
  const [slow] = plan([
    "one",
    (res) => {
      res.writeHead(200, EVENTS).write(chunk({ role: "assistant", content: "early" }));
      goOn = () => res.end(chunk({}, "stop") + "data: [DONE]\n\n");
    },
  ]);
  const { url, ...sent } = options([slow], { stream: true });
  const answer = await begin(url, sent).head;
  await answer.seen("early");
  goOn();
  assert.equal((await answer.ended).clean, true);
});

test("the caller's own credential goes to no second provider", async () => {
  const [bad, other] = plan(["one", refuse(500)], ["two", says("messages", "no")]);
  const answer = await ask([bad, other], {
    headers: {
      "x-memory-gateway-authorization": `Bearer ${gateway.key}`,
      authorization: "Bearer sk-own",
    },
  });
  assert.equal(answer.status, 500);
  assert.deepEqual(
    [asked(bad.model).map(({ headers }) => headers.authorization), asked(other.model).length],
    [["Bearer sk-own", "Bearer sk-own"], 0],
  );
});

test("when the client leaves between two attempts nobody is asked any more", async () => {
  const [waits] = plan(["one", [refuse(429, { "retry-after": "2" }), says("chat", "late")]]);
  const thread = newThread();
  scripts.set(MODEL.split("/")[1], ({ res }) => says("chat", "Hello.")(res));
  const { url, id, ...sent } = options([waits], { thread, base: await directBaseURL(gateway) });
  const request = begin(url, sent);
  request.head.catch(() => {});
  await until(() => asked(waits.model).length === 1, "the first attempt");
  request.leave();
  assert.equal((await rowOf(id)).outcome, "aborted");
  assert.equal(asked(waits.model).length, 1);
});

test("a list of models that cannot be read is refused, and so is one that is too long", async () => {
  for (const models of ["one/m", [7], Array.from({ length: 9 }, (_, n) => `one/${n}`)]) {
    const answer = await whole(`${gateway.baseURL}/chat/completions`, {
      headers: { authorization: `Bearer ${gateway.key}`, ...JSON_TYPE },
      body: JSON.stringify({ models, messages: [user("hello")] }),
    });
    assert.deepEqual([answer.status, JSON.parse(answer.text).error.param], [400, "models"]);
  }
});
