// Owns: what happens to everybody else when the gateway itself fails: a panic, or an exception that Rust cannot catch, in a
// handler or in a thread's object; a slow object; a sudden end in the middle of a turn.
// Invariant: nobody hangs: each wait here has a limit far below any timeout of a client. What holds here holds whether or not
// the build unwinds; what one that does promises beyond it is in unwind.test.mjs.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { panicOf } from "../../scripts/build.mjs";
import {
  assistant,
  chat,
  echo,
  lastPrompt,
  memoryHeaders,
  MODEL,
  newThread,
  post,
  refused,
  stored,
  until,
  user,
} from "./conversation.mjs";
import { startGateway, startSandbox, sandboxVars } from "./gateway.mjs";
import { send } from "./wire.mjs";

let sandbox, gateway;
const gateways = [];
async function start(vars) {
  const started = await startGateway({ build: "faults", vars: { ...sandboxVars(sandbox), ...vars } });
  gateways.push(started);
  return started;
}
before(async () => {
  sandbox = await startSandbox();
  gateway = await start({});
});
after(async () => {
  await Promise.all(gateways.map((started) => started.stop()));
  await sandbox?.close();
});

/** In a build that unwinds an exception, too, costs its request alone. */
const unwinds = panicOf("build/faults") === "unwind";
const CHAT = "/chat/completions";
const body = (text, model = MODEL, stream = false) => ({ model, stream, messages: [user(text)] });

/** A streamed answer on the bare wire, as soon as its first word is there. */
async function stream(thread, model = `${MODEL};words=40;delay=50`) {
  const answer = await send(gateway.baseURL + CHAT, {
    headers: {
      authorization: `Bearer ${gateway.key}`,
      "content-type": "application/json",
      ...(thread && memoryHeaders(thread)),
    },
    body: JSON.stringify(body("one", model, true)),
  });
  await until(() => answer.received().includes("word1"), "the stream has begun");
  return answer;
}

/** The value, or a failure after `ms`. */
function soon(promise, ms, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** An object that fails again and again holds an answer up for as long as MEMORY_DEADLINE_MS says, here 5 s, twice at most. */
const OBJECT_FAILS_MS = 15_000;

const WORDS = Array.from({ length: 40 }, (_, n) => `word${n + 1}`);

for (const fault of ["panic", "exception"])
  test(`a handler's ${fault} is a quick 500, streams end for all to see, and life goes on`, async () => {
    const threads = Array.from({ length: 5 }, newThread);
    const plain = await Promise.all(threads.map(() => stream()));
    const remembered = await Promise.all(threads.map((thread) => stream(thread)));
    const waiting = post(gateway, CHAT, body("waits", `${MODEL};stall=3000`), { thread: newThread() });

    const response = await soon(
      post(gateway, CHAT, body("boom"), { headers: { "x-fault": fault } }),
      2_000,
      "the answer to the request that fails",
    );
    assert.equal(response.status, 500);
    assert.match(response.headers.get("x-request-id"), /^req_/);
    assert.match(response.headers.get("content-type"), /^application\/json/);
    const { message, ...rest } = await refused(response);
    assert.deepEqual(rest, { status: 500, type: "server_error", param: null, code: null });
    assert.match(message, /request id/);

    // A request that waited for its provider is told, too.
    const told = await soon(waiting, 5_000, "the answer to the request that waited");
    await told.text();
    assert.ok([200, 500].includes(told.status), `${told.status}`);

    for (const answer of [...plain, ...remembered]) {
      const { bytes, clean } = await soon(answer.ended, 10_000, "the end of a stream");
      // Whole or visibly broken, never cut off with a clean end.
      assert.equal(clean, bytes.includes("[DONE]"));
    }
    for (const thread of threads) {
      assert.equal((await soon(chat(gateway, thread, "two"), 5_000, "the next turn")).text, "You said: two");
      const [first, ...others] = await stored(gateway, thread);
      assert.deepEqual(first, user("one"));
      assert.deepEqual(others.slice(-2), [user("two"), echo("two")]);
    }
  });

test(
  "the provider's work for streams that the end of an instance broke is ended",
  { skip: unwinds },
  async () => {
    const answer = await stream(newThread(), `${MODEL};words=1000;delay=30`);
    const entry = sandbox.requests.findLast(({ body }) => body?.model?.includes("words=1000"));
    await (await post(gateway, CHAT, body("boom"), { headers: { "x-fault": "panic" } })).text();
    const { clean, bytes } = await soon(answer.ended, 5_000, "the end of the broken stream");
    assert.equal(clean, bytes.includes("[DONE]"));
    await until(() => entry.aborted || entry.finished, "the provider's connection was closed", 5_000);
    assert.equal(entry.finished, false);
  },
);

for (const [fault, streamed] of [
  ["panic", false],
  ["panic", true],
  ["exception", false],
]) {
  test(`a failing object (${fault}) is answered for soon (${streamed ? "streamed" : "whole"}), and the thread works again`, async () => {
    const thread = newThread();
    await chat(gateway, thread, "one");
    const other = newThread();
    await chat(gateway, other, "My name is Alex.");
    const response = await soon(
      post(gateway, CHAT, body("boom", MODEL, streamed), {
        thread,
        headers: { "x-fault": `${fault}-object` },
      }),
      OBJECT_FAILS_MS,
      "the answer to the request whose object fails",
    );
    await soon(
      response.text().catch(() => ""),
      OBJECT_FAILS_MS,
      "the end of that answer",
    );
    assert.ok([200, 500, 503].includes(response.status), `${response.status}`);
    assert.equal((await soon(chat(gateway, thread, "two"), 5_000, "the next turn")).text, "You said: two");
    const told = await stored(gateway, thread);
    assert.deepEqual(told.slice(0, 2), [user("one"), echo("one")]);
    assert.deepEqual(told.slice(-2), [user("two"), echo("two")]);
    assert.equal((await chat(gateway, other, "What is my name?")).text, "Alex");
  });
}

test("while objects panic, plain requests are answered", async () => {
  const faults = Array.from({ length: 5 }, () =>
    post(gateway, CHAT, body("boom"), { thread: newThread(), headers: { "x-fault": "panic-object" } })
      .then((response) => response.text())
      .catch(() => ""),
  );
  await soon(Promise.all(faults), 15_000, "the answers to the panicking requests");
  const response = await soon(post(gateway, CHAT, body("fine")), 3_000, "a plain answer");
  assert.equal(response.status, 200, await response.text());
});

test("a client that leaves while everything panics hurts nobody", async () => {
  for (let n = 0; n < 10; n += 1) {
    const answer = await stream(newThread(), `${MODEL};words=200;delay=20`);
    const boom = post(gateway, CHAT, body("boom"), { headers: { "x-fault": "panic" } });
    answer.leave();
    assert.equal((await soon(boom, 3_000, "the answer to the panicking request")).status, 500);
  }
  assert.equal((await chat(gateway, newThread(), "fine")).text, "You said: fine");
});

test("the end of a stream is shown only once the answer is stored, even by a slow object", async () => {
  const thread = newThread();
  const answer = await send(gateway.baseURL + CHAT, {
    headers: {
      authorization: `Bearer ${gateway.key}`,
      "content-type": "application/json",
      "x-fault": "slow-object=500",
      ...memoryHeaders(thread),
    },
    body: JSON.stringify(body("one", MODEL, true)),
  });
  await answer.seen("data: [DONE]");
  await chat(gateway, thread, "two");
  assert.deepEqual(lastPrompt(sandbox), [user("one"), echo("one"), user("two")]);
});

test("a slow object holds no answer up, and the turn is stored afterwards", async () => {
  const hasty = await start({ MEMORY_DEADLINE_MS: "200" });
  const warm = newThread();
  await chat(hasty, warm, "one"); // So that only the object is slow, not the start of the gateway.
  const thread = newThread();
  const since = performance.now();
  const response = await post(hasty, CHAT, body("slow"), {
    thread,
    headers: { "x-fault": "slow-object=3000" },
  });
  const { choices } = await response.json();
  const took = performance.now() - since;
  assert.equal(response.status, 200);
  assert.equal(choices[0].message.content, "You said: slow");
  assert.equal(response.headers.get("x-memory-status"), "degraded");
  assert.equal(response.headers.get("x-memory-tokens"), "0");
  assert.ok(took < 2_000, `${took} ms`);
  await until(
    async () => {
      assert.deepEqual(await stored(hasty, thread), [user("slow"), echo("slow")]);
      return true;
    },
    "the turn is stored",
    15_000,
  );
  assert.match(hasty.logs(), /memory_degraded/);
});

test("a turn that a sudden end of the gateway cut is closed by the alarm; its message stays and is seen", async () => {
  const mortal = await start({ PENDING_TURN_TTL_MS: "1500" });
  const thread = newThread();
  await chat(mortal, thread, "one");
  const answer = await send(mortal.baseURL + CHAT, {
    headers: {
      authorization: `Bearer ${mortal.key}`,
      "content-type": "application/json",
      ...memoryHeaders(thread),
    },
    body: JSON.stringify(body("two", `${MODEL};words=2000;delay=50`, true)),
  });
  await until(() => answer.received().includes("word2"), "the stream has begun");
  await mortal.restart();
  assert.equal((await answer.ended).clean, false);
  assert.deepEqual(await stored(mortal, thread), [user("one"), echo("one"), user("two")]);
  await until(() => /turn_closed_as_lost/.test(mortal.logs()), "the alarm closed the turn");
  // The client sends it again: it is the same message, because its turn is over without an answer.
  await chat(mortal, thread, "two");
  assert.deepEqual(lastPrompt(sandbox), [user("one"), echo("one"), user("two")]);
  assert.deepEqual(await stored(mortal, thread), [user("one"), echo("one"), user("two"), echo("two")]);
});

test("an answer that comes after its turn was closed as lost is stored all the same", async () => {
  const mortal = gateways.at(-1); // With the short PENDING_TURN_TTL_MS.
  const thread = newThread();
  const before = (mortal.logs().match(/turn_closed_as_lost/g) ?? []).length;
  const late = chat(mortal, thread, "slowly", { model: `${MODEL};stall=4000` });
  await until(
    () => (mortal.logs().match(/turn_closed_as_lost/g) ?? []).length > before,
    "the alarm closed the turn",
  );
  assert.equal((await late).text, "You said: slowly");
  assert.deepEqual(await stored(mortal, thread), [user("slowly"), assistant("You said: slowly")]);
});
