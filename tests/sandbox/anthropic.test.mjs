import assert from "node:assert/strict";
import { test } from "node:test";
import { assembled, assistant, events, helloWorld, sameButIds, user, useSandbox } from "./provider.mjs";

const at = useSandbox();
const tool = { name: "helloWorld", input_schema: helloWorld.function.parameters };
const answer = async (body, more) => (await at.message(body, more)).json();
const stream = async (body, more) => (await at.message({ stream: true, ...body }, more)).text();
const refused = (...asked) => at.refuses(...asked);

test("a known prompt is read from the cache, a grown one read as far as it is known", async () => {
  const mark = { cache_control: { type: "ephemeral" } },
    long = "word ".repeat(400);
  const used = async (body, more) => {
    const {
      input_tokens: input,
      cache_creation_input_tokens: created,
      cache_read_input_tokens: read,
    } = (await answer(body, more)).usage;
    return [input, created, read];
  };
  const text = (said, more) => ({ type: "text", text: said, ...more });
  const body = { system: [text(long, mark)], messages: [user([text("My name is Alex.", mark)])] };
  const [input, created, read] = await used(body);
  assert.deepEqual([input, read], [0, 0]);
  assert.ok(created > 400);
  assert.deepEqual(await used(body), [0, 0, created]);
  const grown = {
    system: [text(long, mark)],
    messages: [
      user("My name is Alex."),
      assistant("Got it."),
      user([text("What is my name?", mark)]),
      user("Please."),
    ],
  };
  const [left, added, known] = await used(grown);
  assert.deepEqual(await used(grown), [left, 0, added + known]);
  assert.ok(left > 0 && added > 0);
  assert.equal(known, created);
  assert.equal((await used({ ...body, system: [text(`${long}.`, mark)] }))[2], 0);
  assert.equal((await used(body, { headers: { ...at.anthropic, "x-api-key": "another" } }))[2], 0);
  const hour = await answer({
    cache_control: { type: "ephemeral", ttl: "1h" },
    messages: [user("Say a new thing")],
  });
  assert.equal(hour.usage.cache_creation.ephemeral_1h_input_tokens, hour.usage.cache_creation_input_tokens);
  const five = Array.from({ length: 5 }, (_, n) => text(`x${n}`, mark));
  await refused({ messages: [user(five)] }, /At most 4 .*; 5 have/);
  assert.equal((await at.message({ messages: [user(five.slice(1))] })).status, 200);
});

test("tokens are counted as the prompt's are, and need no limit", async () => {
  const ask = { system: "Be kind.", messages: [user("Say hi")], tools: [tool] };
  const count = (body) =>
    at.post(
      "/v1/messages/count_tokens",
      { model: "claude-sonnet-4-5", ...body },
      { key: null, headers: at.anthropic },
    );
  assert.deepEqual(await (await count(ask)).json(), { input_tokens: (await answer(ask)).usage.input_tokens });
  assert.equal((await count({ ...ask, max_tokens: 5 })).status, 400);
});

test("keys are required in their own header, the version too, and a gateway key is called a leak", async () => {
  const version = { "anthropic-version": "2023-06-01" },
    body = { messages: [user("Say hi")] };
  const unwanted = [
    [{}, /no API key/],
    [{ "x-api-key": "invalid-key" }, /not valid/],
    [{ "x-api-key": "msk_abc" }, /gateway key .* leaked/],
    [{ "x-api-key": "sk-ant-api03-x", authorization: "Bearer msk_abc" }, /leaked/],
    [{ "x-api-key": "sk-ant-oat01-x" }, /not valid/],
  ];
  for (const [headers, told] of unwanted) {
    const response = await at.message(body, { headers: { ...version, ...headers } });
    const { type, error, request_id: id } = await response.json();
    assert.deepEqual(
      [response.status, type, error.type, id],
      [401, "error", "authentication_error", response.headers.get("request-id")],
    );
    assert.match(error.message, told);
  }
  for (const wanted of [
    { authorization: "Bearer sk-ant-oat01-x" },
    { authorization: "Bearer sk-ant-api03-x" },
    { "x-api-key": "k", authorization: "Bearer invalid-key" },
  ]) {
    assert.equal((await at.message(body, { headers: { ...version, ...wanted } })).status, 200);
  }
  await refused(body, /^anthropic-version: /, { headers: { "x-api-key": "k" } });
  await refused(body, /^anthropic-version: /, {
    headers: { "x-api-key": "k", "anthropic-version": "2020-01-01" },
  });
  const wrong = await fetch(`${at.sandbox.url}/v1/messages`, { headers: at.anthropic });
  assert.deepEqual([wrong.status, (await wrong.json()).type], [405, "error"]);
});

test("what version 2026-10-21 took away is refused from then on", async () => {
  const newest = { headers: { ...at.anthropic, "anthropic-version": "2026-10-21" } },
    body = { messages: [user("Say hi")] };
  const cited = {
    messages: [user([{ type: "text", text: "Say hi", citations: [{ type: "char_location" }] }])],
  };
  for (const [more, path] of [
    [{ temperature: 1 }, "temperature"],
    [{ top_p: 0.5 }, "top_p"],
    [{ top_k: 5 }, "top_k"],
    [cited, "messages.0.content.0.text.citations"],
  ]) {
    assert.equal((await at.message({ ...body, ...more })).status, 200);
    await refused({ ...body, ...more }, new RegExp(`^${path}: Extra inputs`), newest);
  }
  assert.equal((await at.message(body, newest)).status, 200);
});

test("OpenRouter takes a bearer key and no version, and adds comments and costs", async () => {
  const here = { path: "/api/v1/messages", headers: { authorization: "Bearer sk-or-x" } },
    body = { messages: [user("Say hi")], provider: {} };
  const reply = await answer(body, here);
  assert.deepEqual([reply.content, reply.usage.cost > 0], [[{ type: "text", text: "hi" }], true]);
  const text = await stream(body, here);
  assert.ok(text.startsWith(": OPENROUTER PROCESSING\n\nevent: message_start\n"));
  assert.deepEqual(sameButIds(assembled(events(text))), sameButIds(reply));
  assert.equal((await at.message(body, { ...here, headers: { "x-api-key": "sk-or-x" } })).status, 401);
  await refused({ messages: [] }, /^messages: /, here);
});

test("every status has its own type of error", async () => {
  const types = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    502: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
  };
  for (const [status, type] of Object.entries(types)) {
    const response = await at.message({ model: `claude;status=${status}`, messages: [user("x")] });
    assert.deepEqual([response.status, (await response.json()).error.type], [Number(status), type]);
    assert.equal(response.headers.get("retry-after"), status === "429" ? "2" : null);
  }
});

test("the knobs do to a stream what they do to the others", async () => {
  const knob = (knobs, more) =>
    stream({ model: `claude;${knobs}`, messages: [user("Say a b c d e")], ...more });
  const text = (all) => all.map(({ delta }) => delta?.text ?? "").join("");
  for (const more of [{}, { thinking: { type: "adaptive" } }]) {
    const failed = events(await knob("error=1", more));
    assert.deepEqual(
      [text(failed), failed.at(-1).type, failed.at(-1).error.type],
      ["a b", "error", "api_error"],
    );
  }
  assert.match(await knob("error=1"), /\n\nevent: error\ndata: [^\n]+\n\n$/);
  assert.equal(events(await knob("nodone=1")).at(-1).type, "message_delta");
  assert.ok((await knob("crlf=1")).endsWith('event: message_stop\r\ndata: {"type":"message_stop"}\r\n\r\n'));
  assert.match(await knob("comments=1"), /\n\n: PROCESSING\n\nevent:/);
  assert.ok((await knob("pad=5000")).length > 40_000);
  assert.match(await knob("garbage=1"), /\ndata: \{"sandbox": garbage\n/);
  assert.equal((await knob("eof=100")).length, 100);
  await assert.rejects(knob("cut=100"));
  assert.equal(text(events(await knob("chunk=1;delay=0"))), "a b c d e");
  assert.equal(text(events(await knob("words=20000", { max_tokens: 30_000 }))).split(" ").length, 20_000);
  const start = performance.now();
  await knob("stall=120");
  assert.ok(performance.now() - start > 100);
  const packed = await at.message({ model: "claude;gzip=1", messages: [user("Say hi")] });
  assert.deepEqual(
    [packed.headers.get("content-encoding"), (await packed.json()).content[0].text],
    ["gzip", "hi"],
  );
  assert.equal((await answer({ model: "claude;error=1", messages: [user("x")] })).type, "error");
});
