// Owns: limits on real workerd: how many requests get through, what answers tell of it, what survives a restart.
// Invariant: every test has a key of its own, so that none spends another's requests; nothing sleeps for a whole minute.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { newThread, post, refused, until, user } from "./conversation.mjs";
import { sandboxVars, startGateway, startSandbox } from "./gateway.mjs";

const DEFAULTS = {
  global: 5_000,
  llm_proxy: 2_000,
  llm_proxy_burst: 400,
  memory_read: 1_200,
  memory_write: 600,
};

let sandbox, gateway;
before(async () => {
  sandbox = await startSandbox();
  gateway = await startGateway({ vars: { ...sandboxVars(sandbox), LIMITS: "" } });
  await gateway.manage("POST", "/projects", { id: "limited" });
});
after(async () => {
  await gateway?.stop();
  await sandbox?.close();
});

async function newKey(limits, at = gateway) {
  const made = await at.manage("POST", "/projects/limited/keys", { limits });
  assert.equal(made.status, 201, JSON.stringify(made));
  return made.secret;
}

const BODY = { model: "openai/gpt-5.4-mini", messages: [user("Hello.")] };
const say = (key, options = {}) => post(gateway, "/chat/completions", BODY, { key, ...options });
const read = (key, at = gateway, thread = "nobody") =>
  fetch(`${at.baseURL}/memory/threads/${thread}/messages`, { headers: { authorization: `Bearer ${key}` } });

/** Its four headers: `[limit, remaining, seconds until reset, scope]`. */
function standing({ headers }) {
  const [limit, remaining, reset] = ["limit", "remaining", "reset"].map((name) =>
    Number(headers.get(`x-ratelimit-${name}`)),
  );
  return [limit, remaining, reset - Date.now() / 1_000, headers.get("x-ratelimit-scope")];
}

test("every answer to a known key tells how the key stands", async () => {
  const key = await newKey({});
  const thread = newThread();
  const answers = [
    [await say(key), 200, "llm_proxy"],
    [await say(key, { thread }), 200, "llm_proxy"],
    [await post(gateway, "/chat/completions", { ...BODY, stream: true }, { key }), 200, "llm_proxy"],
    [await post(gateway, "/messages", { ...BODY, max_tokens: 9 }, { key }), 200, "llm_proxy"],
    [await post(gateway, "/responses", { model: BODY.model, input: "Hello." }, { key }), 200, "llm_proxy"],
    [await post(gateway, "/chat/completions", "{", { key }), 400, "llm_proxy"],
    [await post(gateway, "/chat/completions", { ...BODY, model: "/" }, { key }), 400, "llm_proxy"],
    [
      await fetch(`${gateway.baseURL}/models`, { headers: { authorization: `Bearer ${key}` } }),
      200,
      "llm_proxy",
    ],
    [await read(key, gateway, thread), 200, "memory_read"],
    [await read(key), 404, "memory_read"],
  ];
  const left = { llm_proxy: DEFAULTS.llm_proxy, memory_read: DEFAULTS.memory_read };
  for (const [answer, status, scope] of answers) {
    await answer.arrayBuffer();
    assert.equal(answer.status, status);
    const [limit, remaining, reset, told] = standing(answer);
    left[scope] -= 1;
    assert.deepEqual([limit, remaining, told], [DEFAULTS[scope], left[scope], scope]);
    assert.ok(reset > 0 && reset < 63, `resets in ${reset} s`);
  }
  for (const answer of [await fetch(`${gateway.url}/health`), await say("msk_unknown")]) {
    assert.equal(answer.headers.get("x-ratelimit-limit"), null);
  }
});

test("a request over the limit is refused with when to come back, and other scopes and keys are not", async () => {
  const key = await newKey({ llm_proxy: 5 });
  for (let left = 4; left >= 0; left--) {
    const answer = await say(key);
    assert.deepEqual([answer.status, standing(answer)[1]], [200, left]);
  }
  const before = sandbox.requests.length;
  const answer = await say(key);
  const [limit, remaining, reset, scope] = standing(answer);
  assert.deepEqual([limit, remaining, scope], [5, 0, "llm_proxy"]);
  const error = await refused(answer);
  assert.deepEqual(
    [error.status, error.type, error.scope, error.retry_after_seconds],
    [429, "rate_limit_error", "llm_proxy", Number(answer.headers.get("retry-after"))],
  );
  const wait = error.retry_after_seconds;
  assert.ok(wait > 40 && wait <= 61 && Math.abs(reset - wait) < 3, `wait ${wait} s, reset in ${reset} s`);
  const messages = await post(gateway, "/messages", { ...BODY, max_tokens: 9 }, { key });
  const told = await messages.json();
  assert.deepEqual(
    [messages.status, told.type, told.error.type, told.error.scope],
    [429, "error", "rate_limit_error", "llm_proxy"],
  );
  assert.equal(sandbox.requests.length, before, "nothing of it reached a provider");
  assert.equal((await read(key)).status, 404);
  assert.equal((await say(await newKey({}))).status, 200);
});

test("of many requests at once exactly the limit gets through", async () => {
  for (const limit of [37, 150]) {
    const key = await newKey({ llm_proxy_burst: limit });
    const answers = await Promise.all(Array.from({ length: limit + 30 }, () => say(key)));
    const statuses = answers.map(({ status }) => status);
    const let_in = statuses.filter((status) => status === 200).length;
    assert.ok(let_in <= limit, `${let_in} of ${limit}`);
    assert.ok(let_in >= Math.floor(limit * 0.95), `${let_in} of ${limit}`);
    assert.ok(statuses.every((status) => status === 200 || status === 429));
  }
});

test("who waits as long as told is let in again", async () => {
  const key = await newKey({ llm_proxy_burst: 2 });
  await say(key);
  await say(key);
  const { status, retry_after_seconds: wait, message } = await refused(await say(key));
  assert.equal(status, 429);
  assert.ok(wait <= 11, `${wait} s`);
  assert.match(message, /2 in 10 seconds/);
  await sleep(wait * 1_000);
  assert.equal((await say(key)).status, 200);
});

test("all requests together have a limit, too", async () => {
  const key = await newKey({ global: 3 });
  assert.equal((await say(key)).status, 200);
  assert.equal((await read(key)).status, 404);
  assert.equal((await read(key)).status, 404);
  const answer = await say(key);
  assert.deepEqual([answer.status, answer.headers.get("x-ratelimit-scope")], [429, "global"]);
});

test("a lowered and a raised limit hold at once", async () => {
  const made = await gateway.manage("POST", "/projects/limited/keys", {});
  const limit = (llm_proxy) =>
    gateway.manage("PATCH", `/projects/limited/keys/${made.key.id}`, { limits: { llm_proxy } });
  assert.equal((await say(made.secret)).status, 200);
  await limit(1);
  assert.equal((await say(made.secret)).status, 429);
  await limit(2);
  assert.equal((await say(made.secret)).status, 200);
  assert.equal((await say(made.secret)).status, 429);
});

test("what was counted survives a restart", async () => {
  const key = await newKey({ llm_proxy: 2 });
  assert.equal((await say(key)).status, 200);
  assert.equal((await say(key)).status, 200);
  await gateway.restart();
  assert.equal((await say(key)).status, 429);
});

test("a counter that does not answer stops nobody, and the log tells of it", async () => {
  const broken = await startGateway({ build: "faults", vars: { ...sandboxVars(sandbox), LIMITS: "" } });
  try {
    await broken.manage("POST", "/projects", { id: "limited" });
    const key = await newKey({ llm_proxy: 10 }, broken);
    const slow = (key) =>
      post(broken, "/chat/completions", BODY, { key, headers: { "x-fault": "slow-key=60000" } });
    // Whoever holds permits asks nobody: a counter that is slow is not noticed.
    const usual = await newKey({}, broken);
    await post(broken, "/chat/completions", BODY, { key: usual });
    assert.equal((await slow(usual)).status, 200);
    assert.doesNotMatch(broken.logs(), /limits_unreachable/);

    const first = await slow(key);
    assert.deepEqual([first.status, standing(first)[0]], [200, 10]);
    assert.match(broken.logs(), /"event":"limits_unreachable"/);
    // A tenth of the limit goes without being counted; then nobody can say.
    const error = await refused(await slow(key));
    assert.deepEqual([error.status, error.type], [503, "overloaded"]);
    await until(
      async () => (await post(broken, "/chat/completions", BODY, { key })).status === 200,
      "once it answers, requests go on",
    );
  } finally {
    await broken.stop();
  }
});
