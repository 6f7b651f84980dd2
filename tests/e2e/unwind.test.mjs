// Owns what a panic leaves alone: ten answers of every kind under way in the same isolate, and what comes after.
// Invariant: a panic costs one request, and its client and its thread know. A build that cannot unwind promises less, which
// panic.test.mjs holds it to.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { panicOf } from "../../scripts/build.mjs";
import { assistant, memoryHeaders, newThread, refused, stored, until, user } from "./conversation.mjs";
import { startGateway } from "./gateway.mjs";
import { begin, startUpstream } from "./wire.mjs";

const skip = panicOf("build/faults") !== "unwind" && "this build does not unwind";

let upstream, gateway;
/** Who waits for a request of which text. */
const expected = new Map();
before(async () => {
  if (skip) return;
  upstream = await startUpstream();
  upstream.answer = (res, { raw }) => {
    const respond = expected.get(raw && JSON.parse(raw).messages?.at(-1).content);
    // What no test asked for, such as the list of models, is not here.
    return respond ? respond(res) : res.writeHead(404).end();
  };
  const raw = { base_url: `${upstream.url}/v1`, dialects: ["chat"] };
  gateway = await startGateway({
    build: "faults",
    // What a failing object may hold an answer up for.
    vars: { PROVIDERS: JSON.stringify({ raw }), MEMORY_DEADLINE_MS: "2000", CIRCUIT_FAILURES: "1000" },
  });
});
after(async () => {
  await gateway?.stop();
  await upstream?.close();
});

const data = (value) => `data: ${JSON.stringify(value)}\n\n`;
const piece = (n) => data({ id: "c", choices: [{ index: 0, delta: { content: `word${n} ` } }] });
const STOP = data({ id: "c", choices: [{ index: 0, delta: {}, finish_reason: "stop" }] });
const USAGE = data({ id: "c", choices: [], usage: { prompt_tokens: 7, completion_tokens: 5 } });
const DONE = "data: [DONE]\n\n";
const NUMBERS = Array.from({ length: 20 }, (_, n) => n + 1);
const TEXT = NUMBERS.map((n) => `word${n} `).join("");
const PIECES = NUMBERS.map(piece).join("");
const WHOLE = JSON.stringify({
  id: "c",
  object: "chat.completion",
  created: 1,
  model: "m",
  choices: [{ index: 0, message: { role: "assistant", content: TEXT }, finish_reason: "stop" }],
  usage: { prompt_tokens: 7, completion_tokens: 5 },
});

/** The ways that an answer can take through the gateway, and what its client is to get. */
const KINDS = {
  watched: { body: { stream: true }, whole: PIECES + STOP + DONE },
  flowing: {
    body: { stream: true, stream_options: { include_usage: true } },
    whole: PIECES + STOP + USAGE + DONE,
  },
  translated: { path: "/messages", body: { stream: true, max_tokens: 100 } },
  remembered: {
    body: { stream: true, stream_options: { include_usage: true } },
    remembers: true,
    whole: PIECES + STOP + USAGE + DONE,
  },
  unstreamed: { body: {}, remembers: true, whole: WHOLE },
};

/** Asks, and gives the request with the provider's side of it; where it streams its first word is with the client. */
async function ask(kind, headers = {}) {
  const { path = "/chat/completions", body, remembers } = KINDS[kind];
  const text = `${kind} ${randomUUID()}`;
  const thread = remembers && newThread();
  const id = `test-${randomUUID()}`;
  const arrived = new Promise((resolve) => expected.set(text, resolve));
  const { head } = begin(gateway.baseURL + path, {
    headers: {
      authorization: `Bearer ${gateway.key}`,
      "content-type": "application/json",
      "x-request-id": id,
      ...(thread && memoryHeaders(thread)),
      ...headers,
    },
    body: JSON.stringify({ model: "raw/m", messages: [user(text)], ...body }),
  });
  const provider = await arrived;
  const asked = { kind, text, thread, id, head, provider };
  if (!body.stream) return asked;
  provider.writeHead(200, { "content-type": "text/event-stream" });
  provider.write(piece(1));
  return asked;
}

/** Lets the provider say the rest. */
function finish({ kind, provider }) {
  if (KINDS[kind].body.stream)
    return provider.end(NUMBERS.slice(1).map(piece).join("") + STOP + USAGE + DONE);
  provider.writeHead(200, { "content-type": "application/json" });
  return provider.end(WHOLE);
}

/** What the client got must be whole, byte for byte where the bytes are the provider's; and kept where it is remembered. */
async function assertWhole({ kind, text, thread, head }) {
  const answer = await head;
  const { bytes, clean } = await answer.ended;
  const got = bytes.toString();
  assert.deepEqual([answer.status, clean], [200, true], `${kind}: ${got}`);
  if (KINDS[kind].whole) {
    assert.equal(got, KINDS[kind].whole, kind);
  } else {
    const events = got.matchAll(/^data: (.*)$/gm).map(([, event]) => JSON.parse(event));
    const said = [...events].map(({ delta }) => delta?.text ?? "").join("");
    assert.equal(said, TEXT, kind);
    assert.match(got, /event: message_stop/);
  }
  if (!thread) return;
  await until(async () => {
    assert.deepEqual(await stored(gateway, thread), [user(text), assistant(TEXT)]);
    return true;
  }, `the turn of the ${kind} answer is stored`);
}

/** The settled row of a request. */
const rowOf = (id) =>
  until(async () => {
    const rows = await gateway.d1(
      `SELECT outcome, status_code AS status, error FROM ledger WHERE request_id = '${id}'`,
    );
    return rows.length === 1 && rows[0].outcome !== "pending" && rows[0];
  }, `a settled row of ${id}`);

/** Runs `strike` while ten answers are under way, two of each kind. */
async function besideTen(strike) {
  const ten = await Promise.all(Object.keys(KINDS).flatMap((kind) => [ask(kind), ask(kind)]));
  for (const { kind, head } of ten) if (KINDS[kind].body.stream) await (await head).seen("word1 ");
  await strike();
  ten.forEach(finish);
  await Promise.all(ten.map(assertWhole));
  assert.doesNotMatch(
    gateway.logs(),
    /Reinitializing|handler_died/,
    "the isolate lives on with all that it knew",
  );
}

for (const fault of ["panic", "panic-turn"])
  test(`a handler's panic (${fault}) costs its request alone`, { skip }, async () => {
    await besideTen(async () => {
      const id = `test-${randomUUID()}`;
      const body = JSON.stringify({ model: "raw/m", messages: [user("boom")] });
      const headers = {
        authorization: `Bearer ${gateway.key}`,
        "content-type": "application/json",
        "x-request-id": id,
      };
      const failed = await fetch(`${gateway.baseURL}/chat/completions`, {
        method: "POST",
        headers: { ...headers, "x-fault": fault },
        body,
      });
      assert.equal(failed.headers.get("x-request-id"), id);
      const { message, ...rest } = await refused(failed);
      assert.deepEqual(rest, { status: 500, type: "server_error", param: null, code: null });
      assert.match(message, /The gateway failed/);
      if (fault === "panic-turn")
        assert.deepEqual(await rowOf(id), { outcome: "failed", status: 500, error: message });
    });
  });

const MESSAGE = "The gateway failed. Try again; if it persists, look for the request id in the Worker's log.";
const openai = () => ({ error: { message: MESSAGE, type: "server_error", param: null, code: null } });
const anthropic = (id) => ({
  type: "error",
  error: { type: "server_error", message: MESSAGE },
  request_id: id,
});

for (const [fault, path, told] of [
  ["exception", "/chat/completions", openai],
  ["exception", "/messages", anthropic],
  ["exception-turn", "/responses", openai],
  ["exception-turn", "/messages", anthropic],
])
  test(
    `an exception that Rust cannot catch (${fault}, ${path}) costs its request alone, whose client is told in its dialect`,
    { skip },
    async () => {
      await besideTen(async () => {
        const id = `test-${randomUUID()}`;
        const failed = await fetch(gateway.baseURL + path, {
          method: "POST",
          headers: {
            authorization: `Bearer ${gateway.key}`,
            "content-type": "application/json",
            "x-request-id": id,
            "x-fault": fault,
          },
          body: JSON.stringify({ model: "raw/m", max_tokens: 9, messages: [user("boom")] }),
        });
        const { status, headers } = failed;
        const said = await failed.text();
        const head = ["x-request-id", "content-type"].map((name) => headers.get(name));
        assert.deepEqual([status, ...head], [500, id, "application/json"], said);
        assert.deepEqual(JSON.parse(said), told(id));
        if (fault !== "exception") return;
        const line = await until(() => {
          const lines = gateway.logs().split("\n");
          return lines.find((line) => line.includes('"event":"request"') && line.includes(id));
        }, "the request's line in the log");
        assert.match(line, /"status":500/);
      });
    },
  );

test(
  "the tasks that were to run after one that an exception unwound run all the same",
  { skip, timeout: 60_000 },
  async () => {
    const beside = await ask("unstreamed", { "x-fault": "exception-before" });
    finish(beside);
    await assertWhole(beside);
  },
);

for (const fault of ["panic-object", "panic-transaction", "exception-object"])
  test(
    `an object's failure (${fault}) costs its message alone, and undoes what it wrote`,
    { skip },
    async () => {
      await besideTen(async () => {
        const first = await ask("unstreamed");
        finish(first);
        await assertWhole(first);
        const thread = first.thread;
        const objectFailures = () => gateway.logs().split('"event":"object_failed"').length;
        const failures = objectFailures();
        const boom = await ask("unstreamed", { ...memoryHeaders(thread), "x-fault": fault });
        finish(boom);
        const answer = await boom.head;
        assert.deepEqual([answer.status, answer.headers["x-memory-status"]], [200, "degraded"]);
        assert.equal((await answer.ended).bytes.toString(), WHOLE);
        assert.deepEqual(await stored(gateway, thread), [user(first.text), assistant(TEXT)]);
        // Its caller hears of it, and does not wait until memory's time is over.
        await until(() => objectFailures() > failures, "the failed call is in the log");
      });
    },
  );

for (const [name, fault] of [
  ["a panic", "panic-stream"],
  ["an exception", "exception-stream"],
])
  test(
    `${name} in the middle of a stream is an error in it, and its turn is kept as it was left`,
    { skip },
    async () => {
      await besideTen(async () => {
        const broken = await ask("remembered", { "x-fault": fault });
        const answer = await broken.head;
        const { bytes, clean } = await answer.ended;
        assert.equal(clean, false);
        const { error } = JSON.parse(/^data: (.*)$/m.exec(bytes.toString())[1]);
        assert.equal(error.type, "server_error");
        assert.match(error.message, /The gateway failed/);
        await until(() => broken.provider.destroyed, "the provider is let go");
        await until(async () => {
          assert.deepEqual(await stored(gateway, broken.thread), [user(broken.text)]);
          return true;
        }, "the message of the turn is kept");
        assert.deepEqual(await rowOf(broken.id), {
          outcome: "failed",
          status: 200,
          error: "The gateway failed.",
        });
      });
    },
  );

test(
  "a turn that an exception cut is told to its thread and its account at once, as one that failed",
  { skip },
  async () => {
    await besideTen(async () => {
      const [thread, id, text] = [newThread(), `test-${randomUUID()}`, `cut ${randomUUID()}`];
      const failed = await fetch(`${gateway.baseURL}/chat/completions`, {
        method: "POST",
        headers: {
          authorization: `Bearer ${gateway.key}`,
          "content-type": "application/json",
          "x-request-id": id,
          ...memoryHeaders(thread),
          "x-fault": "exception-asking",
        },
        body: JSON.stringify({ model: "raw/m", messages: [user(text)] }),
      });
      const { message, ...rest } = await refused(failed);
      assert.deepEqual(rest, { status: 500, type: "server_error", param: null, code: null });
      assert.deepEqual(await rowOf(id), { outcome: "failed", status: 500, error: message });
      await until(async () => {
        assert.deepEqual(await stored(gateway, thread), [user(text)]);
        return true;
      }, "the message of the turn is kept");
    });
  },
);

test(
  "an alarm that an exception cut rings again, and its work is done",
  { skip, timeout: 60_000 },
  async () => {
    const turn = await ask("unstreamed", { "x-fault": "exception-alarm" });
    finish(turn);
    await assertWhole(turn);
    await until(() => gateway.logs().includes("alarm: fa"), "the alarm has failed");
    await until(async () => {
      const listed = await fetch(`${gateway.baseURL}/memory/threads?resourceId=ann`, {
        headers: { authorization: `Bearer ${gateway.key}` },
      });
      return (await listed.text()).includes(turn.thread);
    }, "the index across threads has heard of the thread");
  },
);

test(
  "what was said before a panic in the middle of a stream stays said, to the client and in the thread",
  { skip },
  async () => {
    await besideTen(async () => {
      const broken = await ask("remembered", { "x-fault": "panic-stream=2" });
      const answer = await broken.head;
      await answer.seen("word1 ");
      broken.provider.write(piece(2));
      const { bytes, clean } = await answer.ended;
      assert.equal(clean, false);
      const [first, failure] = [...bytes.toString().matchAll(/^data: (.*)$/gm)].map(([, event]) => event);
      assert.equal(`data: ${first}\n\n`, piece(1));
      assert.match(JSON.parse(failure).error.message, /The gateway failed/);
      await until(async () => {
        const kept = await stored(gateway, broken.thread);
        assert.deepEqual(kept, [user(broken.text), { ...assistant("word1 "), incomplete: true }]);
        return true;
      }, "what was said of the turn is kept");
    });
  },
);

test(
  "who only listens to an answer that flows by costs its client nothing by a panic",
  { skip },
  async () => {
    await besideTen(async () => {
      const flowing = await ask("flowing", { "x-fault": "panic-stream" });
      await (await flowing.head).seen("word1 ");
      await until(async () => (await rowOf(flowing.id)).outcome === "failed", "listening has failed");
      finish(flowing);
      await assertWhole(flowing);
    });
  },
);
