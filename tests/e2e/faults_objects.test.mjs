// Owns: calls of Durable Objects that fail as the platform says they do, by flags of the thrown error: what is asked again,
// what goes on without memory, what is stored in the end.
// Invariant: each test's faults have names of their own, so that none counts for another; only what the log says of the
// test's own time is counted.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { chat, echo, MODEL, newThread, openai, post, stored, until, user } from "./conversation.mjs";
import { sandboxVars, startGateway, startSandbox } from "./gateway.mjs";

let sandbox, gateway;
before(async () => {
  sandbox = await startSandbox();
  gateway = await startGateway({ build: "faults", vars: sandboxVars(sandbox) });
});
after(async () => {
  await gateway?.stop();
  await sandbox?.close();
});

/** The first `times` calls of an object that carry it fail with an error of these flags. */
const failing = (flags, times) => ({ "x-fault": `throw-${flags}=${times}/${randomUUID()}` });

/** The failed calls that the log tells of since it had this length, as `message: failure, again or not`. */
const failuresSince = (length) =>
  [
    ...gateway
      .logs()
      .slice(length)
      .matchAll(/\{"event":"object_failed".*\}/g),
  ].map(([line]) => {
    const { message, failure, again_in_ms: pause } = JSON.parse(line);
    return [message, failure, pause !== null];
  });

/** A turn whose thread's object fails; gives how memory stood and what failed until it was stored. */
async function turn(fault) {
  const [thread, since] = [newThread(), gateway.logs().length];
  const { text, headers } = await chat(gateway, thread, "one", { headers: fault });
  assert.equal(text, "You said: one");
  await until(async () => {
    assert.deepEqual(await stored(gateway, thread), [user("one"), echo("one")]);
    return true;
  }, "the turn is stored, once");
  return { memory: headers.get("x-memory-status"), failures: failuresSince(since) };
}

const AGAIN = true;
const [PREPARE, COMMIT] = ["/v1/prepare", "/v1/commit"];

for (const flag of ["retryable", "durableObjectReset"])
  test(`a call that failed with ${flag} is made once more, and memory is there`, async () => {
    const { memory, failures } = await turn(failing(flag, 1));
    assert.equal(memory, "empty");
    assert.deepEqual(failures, [[PREPARE, "passing", AGAIN]]);
  });

test("a call that goes on failing with retryable is given up after two, and the turn goes on without memory", async () => {
  const { memory, failures } = await turn(failing("retryable", 3));
  assert.equal(memory, "degraded");
  assert.deepEqual(failures, [
    [PREPARE, "passing", AGAIN],
    [PREPARE, "passing", false],
    [COMMIT, "passing", AGAIN],
  ]);
});

for (const [flags, failure] of [
  ["overloaded", "overloaded"],
  ["overloaded,retryable", "overloaded"],
  ["", "lasting"],
])
  test(`an object's error (${flags || "no flag"}) is not asked again for the client, and the turn is stored later`, async () => {
    const { memory, failures } = await turn(failing(flags, 2));
    assert.equal(memory, "degraded");
    assert.deepEqual(failures, [
      [PREPARE, failure, false],
      [COMMIT, failure, AGAIN],
    ]);
  });

test("a streamed turn of an overloaded object ends, and is stored later", async () => {
  const thread = newThread();
  const stream = await openai(gateway).chat.completions.create(
    { model: MODEL, stream: true, messages: [user("one")] },
    {
      headers: { "x-thread-id": thread, "x-resource-id": "ann", ...failing("overloaded", 2) },
    },
  );
  let text = "";
  for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? "";
  assert.equal(text, "You said: one");
  await until(async () => {
    assert.deepEqual(await stored(gateway, thread), [user("one"), echo("one")]);
    return true;
  }, "the turn is stored, once");
});

test("a response whose object is overloaded for a while is kept, and can be built on", async () => {
  const since = gateway.logs().length;
  const ask = (body, headers) => post(gateway, "/responses", { model: MODEL, ...body }, { headers });
  const first = await (await ask({ input: "one" }, failing("overloaded", 1))).json();
  const kept = await until(async () => {
    const response = await fetch(`${gateway.baseURL}/responses/${first.id}`, {
      headers: { authorization: `Bearer ${gateway.key}` },
    });
    return response.status === 200 && response.json();
  }, "the response is kept");
  assert.deepEqual(kept, first);
  assert.deepEqual(
    failuresSince(since).map(([, failure, again]) => [failure, again]),
    [["overloaded", AGAIN]],
  );
});
