// Owns: requests that are sent twice under one idempotency-key.
// Invariant: what the provider was asked is counted by the text of the question, which no other test uses.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { echo, MODEL, newThread, post, refused, stored, until, user } from "./conversation.mjs";
import { sandboxVars, startGateway, startSandbox } from "./gateway.mjs";
import { startUpstream } from "./wire.mjs";

let sandbox, held, gateway;
before(async () => {
  [sandbox, held] = await Promise.all([startSandbox(), startUpstream()]);
  const PROVIDERS = JSON.stringify({ held: { base_url: `${held.url}/v1` } });
  gateway = await startGateway({ vars: { ...sandboxVars(sandbox), PROVIDERS } });
});
after(async () => {
  await gateway?.stop();
  await Promise.all([sandbox?.close(), held?.close()]);
});

const question = () => `question ${randomUUID()}`;
const askedTimes = (text) =>
  sandbox.requests.filter(({ body }) => JSON.stringify(body ?? null).includes(text)).length;
const CHAT = "/chat/completions";
const chatBody = (text, more) => ({ model: MODEL, messages: [user(text)], ...more });
const ask = (thread, key, body, path = CHAT, more = {}) =>
  post(gateway, path, body, { thread, headers: { "idempotency-key": key, ...more } });

for (const [path, body] of [
  [CHAT, chatBody],
  ["/responses", (text) => ({ model: MODEL, input: text })],
  ["/messages", (text) => ({ model: MODEL, max_tokens: 100, messages: [user(text)] })],
])
  test(`${path}: a finished request that comes again gets the same answer, and the turn is stored once`, async () => {
    const [thread, text, key] = [newThread(), question(), randomUUID()];
    const first = await ask(thread, key, body(text), path);
    const again = await ask(thread, key, body(text), path);
    assert.deepEqual([first.status, again.status], [200, 200]);
    assert.equal(await again.text(), await first.text());
    assert.deepEqual(
      [first, again].map(({ headers }) => [
        headers.get("idempotency-replayed"),
        headers.get("x-gateway-attempts"),
        headers.get("x-gateway-provider"),
      ]),
      [
        [null, "1", "openai"],
        ["true", "0", "openai"],
      ],
    );
    assert.notEqual(first.headers.get("x-request-id"), again.headers.get("x-request-id"));
    assert.equal(askedTimes(text), 1);
    assert.deepEqual(await stored(gateway, thread), [user(text), echo(text)]);
  });

test("an answer that is given again costs nothing in the ledger", async () => {
  const [thread, text, key] = [newThread(), question(), randomUUID()];
  await ask(thread, key, chatBody(text));
  const id = `again-${key}`;
  await ask(thread, key, chatBody(text), CHAT, { "x-request-id": id });
  const row = await until(async () => {
    const [row] = await gateway.d1(
      `SELECT outcome, status_code, prompt_tokens, completion_tokens, cost_nano_usd, attempts, estimated
       FROM ledger WHERE request_id = '${id}'`,
    );
    return row && row.outcome !== "pending" && row;
  }, "the row");
  assert.deepEqual(row, {
    ...{ outcome: "complete", status_code: 200, prompt_tokens: 0, completion_tokens: 0 },
    ...{ cost_nano_usd: 0, attempts: 0, estimated: 0 },
  });
});

test("a streamed request that comes again is asked again and stored once", async () => {
  const [thread, text, key] = [newThread(), question(), randomUUID()];
  for (let n = 0; n < 2; n++) {
    const answer = await ask(thread, key, chatBody(text, { stream: true }));
    assert.match(await answer.text(), /\[DONE\]/);
  }
  assert.equal(askedTimes(text), 2);
  assert.deepEqual(await stored(gateway, thread), [user(text), echo(text)]);
});

test("the same key with another body is a conflict", async () => {
  const [thread, key] = [newThread(), randomUUID()];
  assert.equal((await ask(thread, key, chatBody(question()))).status, 200);
  const error = await refused(await ask(thread, key, chatBody(question())));
  assert.deepEqual(
    [error.status, error.type, error.code, error.param],
    [409, "conflict", "idempotency_key_reused", "idempotency-key"],
  );
});

test("while the first one runs the second is told to wait, and then gets its answer", async () => {
  const [thread, text, key] = [newThread(), question(), randomUUID()];
  const body = chatBody(text, { model: "held/m" });
  let release;
  held.answer = (res) => {
    const message = { role: "assistant", content: "at last" };
    const answer = {
      id: "x",
      object: "chat.completion",
      choices: [{ index: 0, message, finish_reason: "stop" }],
    };
    release = () => res.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answer));
  };
  const first = ask(thread, key, body);
  await until(() => release, "the first one runs");
  const second = await ask(thread, key, body);
  assert.equal(second.headers.get("retry-after"), "1");
  const error = await refused(second);
  assert.deepEqual([error.status, error.type, error.code], [409, "conflict", "idempotency_in_progress"]);
  release();
  const said = await (await first).text();
  assert.equal(await (await ask(thread, key, body)).text(), said);
  assert.equal(held.requests.length, 1);
});

test("a request that failed is made anew, and its message stored once", async () => {
  const [thread, text, key] = [newThread(), question(), randomUUID()];
  const body = chatBody(text, { model: `${MODEL};status=400` });
  for (let n = 0; n < 2; n++) {
    const answer = await ask(thread, key, body);
    assert.deepEqual([answer.status, answer.headers.get("idempotency-replayed")], [400, null]);
    await answer.text();
    await until(async () => (await stored(gateway, thread)).length === 1, "the message");
  }
  assert.equal(askedTimes(text), 2);
  assert.deepEqual(await stored(gateway, thread), [user(text)]);
});

test("a key is its thread's alone, goes with it, and does nothing without memory", async () => {
  const [thread, other, text, key] = [newThread(), newThread(), question(), randomUUID()];
  for (const thread_ of [thread, other, undefined, undefined]) {
    assert.equal((await ask(thread_, key, chatBody(text))).headers.get("idempotency-replayed"), null);
  }
  assert.equal(askedTimes(text), 4);
  const deleted = await fetch(`${gateway.baseURL}/memory/threads/${thread}`, {
    method: "DELETE",
    headers: { authorization: `Bearer ${gateway.key}` },
  });
  assert.equal(deleted.status, 200);
  assert.equal((await ask(thread, key, chatBody(text))).headers.get("idempotency-replayed"), null);
});

test("a key that is too long is refused by the header's name", async () => {
  const error = await refused(await ask(newThread(), "x".repeat(256), chatBody(question())));
  assert.deepEqual([error.status, error.param], [400, "idempotency-key"]);
});
