// Owns: what the ledger says of a request, for every way in which one can end.
// Invariant: each row is found by the id that the client sent, and asserted whole but for its times; what a provider
// counted is compared with what that provider, scripted here or the sandbox, says it served.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { after, before, test } from "node:test";
import { memoryHeaders, newThread, stored, until, user } from "./conversation.mjs";
import {
  chatUsage,
  chunk,
  COMPLETE,
  COUNTS,
  cut,
  data,
  EVENTS,
  hang,
  json,
  stream,
  WHOLE,
} from "./counts.mjs";
import { directBaseURL } from "./direct.mjs";
import { sandboxVars, startGateway, startSandbox } from "./gateway.mjs";
import { begin, startUpstream, whole } from "./wire.mjs";

let sandbox, upstream, gateway;
before(async () => {
  [sandbox, upstream] = await Promise.all([startSandbox(), startUpstream()]);
  gateway = await startGateway({
    vars: {
      ...sandboxVars(sandbox),
      UPSTREAM_TIMEOUT_MS: "1500",
      PROVIDERS: JSON.stringify({
        raw: { base_url: `${upstream.url}/v1`, dialects: ["chat", "responses", "messages"] },
      }),
      PRICES: JSON.stringify({ "raw/m": { input: 1, output: 10, cached: 0.5, reasoning: 20 } }),
    },
  });
});
after(async () => {
  await gateway?.stop();
  await sandbox?.close();
  await upstream?.close();
});

const PATHS = { chat: "/chat/completions", responses: "/responses", messages: "/messages" };
const bodyOf = (dialect, { model = "raw/m", stream = false, text = "hello", ...more } = {}) => ({
  model,
  ...(stream && { stream }),
  ...(dialect === "responses" ? { input: text, store: false } : { messages: [user(text)] }),
  ...(dialect === "messages" && { max_tokens: 50 }),
  ...more,
});

/** Begins a request; `id` is the one that its row is found by. */
function ask(
  dialect,
  { body = bodyOf(dialect), thread, headers, key = gateway.key, path, base = gateway.baseURL } = {},
) {
  const id = `test-${randomUUID()}`;
  const options = {
    headers: {
      authorization: `Bearer ${key}`,
      "content-type": "application/json",
      "x-request-id": id,
      ...(thread && memoryHeaders(thread)),
      ...headers,
    },
    body: typeof body === "string" ? body : JSON.stringify(body),
  };
  return { id, url: base + (path ?? PATHS[dialect]), options };
}

const COLUMNS = `outcome, status_code AS status, prompt_tokens AS input, completion_tokens AS output,
  reasoning_tokens AS reasoning, cached_tokens AS cached, estimated, cost_nano_usd AS cost, is_stream AS stream,
  attempts, error, provider, model, source, endpoint, dialect, key_id, project_id AS project, thread_id AS thread,
  resource_id AS resource, memory_tokens, latency_ms, ttft_ms, swept, id`;

const rowsOf = async (id, from = gateway) =>
  from.d1(`SELECT ${COLUMNS} FROM ledger WHERE request_id = '${id}'`);

/** The one row of a request, once it is settled; and that no second one comes. */
async function rowOf(id, from = gateway) {
  const row = await until(async () => {
    const rows = await rowsOf(id, from);
    return rows.length > 0 && rows.every(({ outcome }) => outcome !== "pending") && rows;
  }, `a settled row of ${id}`);
  assert.equal(row.length, 1);
  return row[0];
}

const pick = (row, ...names) => Object.fromEntries(names.map((name) => [name, row[name]]));
const USED = ["outcome", "status", "input", "output", "estimated", "cost"];

for (const dialect of ["chat", "responses", "messages"]) {
  const { head, words, tail, failure } = EVENTS[dialect];
  const full = [...head, ...words, ...tail];
  for (const memory of [false, true]) {
    const name = `${dialect}, memory ${memory ? "on" : "off"}`;
    const thread = () => (memory ? newThread() : undefined);

    test(`${name}: a whole answer`, async () => {
      upstream.answer = json(WHOLE[dialect]);
      const where = thread();
      const { id, url, options } = ask(dialect, { thread: where });
      const answer = await whole(url, options);
      assert.equal(answer.text, JSON.stringify(WHOLE[dialect]));
      const row = await rowOf(id);
      assert.deepEqual(pick(row, ...USED, "reasoning", "cached"), COMPLETE);
      assert.deepEqual(
        pick(row, "stream", "attempts", "error", "provider", "model", "source", "ttft_ms", "swept"),
        {
          stream: 0,
          attempts: 1,
          error: null,
          provider: "raw",
          model: "m",
          source: "none",
          ttft_ms: null,
          swept: 0,
        },
      );
      assert.deepEqual(pick(row, "endpoint", "dialect", "project", "thread", "resource"), {
        endpoint: `/v1${PATHS[dialect]}`,
        dialect,
        project: "default",
        thread: where ?? null,
        resource: memory ? "ann" : null,
      });
      assert.match(row.key_id, /^key_/);
    });

    test(`${name}: a streamed answer, whose bytes are the provider's`, async () => {
      upstream.answer = stream(full);
      const { id, url, options } = ask(dialect, {
        body: bodyOf(dialect, { stream: true }),
        thread: thread(),
      });
      const answer = await whole(url, options);
      // The client of chat did not ask for counts: the gateway did, and hides them.
      const expected = full.filter((event) => dialect !== "chat" || !event.includes('"usage"')).join("");
      assert.equal(answer.text, expected);
      assert.ok(answer.clean);
      const row = await rowOf(id);
      assert.deepEqual(pick(row, ...USED, "reasoning", "cached"), COMPLETE);
      assert.equal(row.stream, 1);
      assert.ok(row.ttft_ms >= 0 && row.ttft_ms <= row.latency_ms, JSON.stringify(row));
    });

    test(`${name}: the client leaves at the first byte, in the middle, at the last byte`, async () => {
      for (const [events, then] of [
        [head.slice(0, 1), hang],
        [[...head, ...words.slice(0, 4)], hang],
        [full, hang],
      ]) {
        upstream.answer = stream(events, then);
        const { id, url, options } = ask(dialect, {
          body: bodyOf(dialect, { stream: true }),
          thread: thread(),
          base: await directBaseURL(gateway),
        });
        const answer = await begin(url, options).head;
        const visible = events.filter((event) => dialect !== "chat" || !event.includes('"usage"'));
        await answer.seen(visible.at(-1).trimEnd());
        answer.leave();
        const row = await rowOf(id);
        if (events === full) {
          assert.deepEqual(pick(row, ...USED), pick(COMPLETE, ...USED));
          continue;
        }
        assert.deepEqual(pick(row, "outcome", "status", "estimated"), {
          outcome: "aborted",
          status: 200,
          estimated: 1,
        });
        assert.ok(row.input > 0 && row.cost > 0, JSON.stringify(row));
        // 18 characters said, or none, and what frames a message.
        const said = events.length > 2 ? 9 : 1;
        assert.ok(row.output <= said, JSON.stringify(row));
      }
    });

    test(`${name}: the client leaves before an answer, and while a whole one comes`, async () => {
      for (const answer of [
        hang,
        (res) => {
          res.writeHead(200, { "content-type": "application/json" });
          res.write(JSON.stringify(WHOLE[dialect]).slice(0, 40));
        },
      ]) {
        upstream.answer = answer;
        const before = upstream.requests.length;
        const { id, url, options } = ask(dialect, { thread: thread(), base: await directBaseURL(gateway) });
        const leaving = begin(url, options);
        leaving.head.catch(() => {});
        await until(() => upstream.requests.length > before, "the provider is asked");
        await sleep(50);
        leaving.leave();
        const row = await rowOf(id);
        assert.deepEqual(pick(row, "outcome", "output", "estimated"), {
          outcome: "aborted",
          output: 0,
          estimated: 1,
        });
        assert.ok(row.input > 0 && row.cost > 0, JSON.stringify(row));
      }
    });

    test(`${name}: the provider breaks off in the middle`, async () => {
      upstream.answer = stream([...head, ...words], cut);
      const { id, url, options } = ask(dialect, {
        body: bodyOf(dialect, { stream: true }),
        thread: thread(),
      });
      const answer = await whole(url, options);
      assert.ok(!answer.clean);
      const row = await rowOf(id);
      assert.deepEqual(pick(row, "outcome", "status", "estimated"), {
        outcome: "truncated",
        status: 200,
        estimated: 1,
      });
      assert.ok(row.output >= 10 && row.input > 0 && row.cost > 0, JSON.stringify(row));
    });

    test(`${name}: the provider fails before the answer and inside it`, async () => {
      upstream.answer = json({ error: { message: "private words", type: "t" } }, 500);
      const before = ask(dialect, { thread: thread() });
      assert.equal((await whole(before.url, before.options)).status, 500);
      const early = await rowOf(before.id);
      assert.deepEqual(pick(early, ...USED, "error"), {
        outcome: "failed",
        status: 500,
        input: 0,
        output: 0,
        estimated: 0,
        cost: 0,
        error: "The provider answered with status 500.",
      });
      upstream.answer = stream([...head, ...words, failure]);
      const inside = ask(dialect, { body: bodyOf(dialect, { stream: true }), thread: thread() });
      await whole(inside.url, inside.options);
      const late = await rowOf(inside.id);
      assert.deepEqual(pick(late, "outcome", "status", "estimated"), {
        outcome: "failed",
        status: 200,
        estimated: 1,
      });
      assert.ok(late.output >= 10, JSON.stringify(late));
    });

    test(`${name}: the provider is silent, before the answer and inside it`, async () => {
      upstream.answer = hang;
      const before = ask(dialect, { thread: thread() });
      assert.equal((await whole(before.url, before.options)).status, 504);
      const early = await rowOf(before.id);
      assert.deepEqual(pick(early, "outcome", "status", "output", "estimated"), {
        outcome: "timed_out",
        status: 504,
        output: 0,
        estimated: 1,
      });
      assert.ok(early.input > 0 && early.cost > 0);
      upstream.answer = stream([...head, ...words.slice(0, 2)], hang);
      const inside = ask(dialect, { body: bodyOf(dialect, { stream: true }), thread: thread() });
      await whole(inside.url, inside.options);
      const late = await rowOf(inside.id);
      assert.deepEqual(pick(late, "outcome", "status", "estimated"), {
        outcome: "timed_out",
        status: 200,
        estimated: 1,
      });
    });
  }
}

// ——— Counts in odd places

for (const [name, tail, expected] of [
  [
    "late, behind [DONE]",
    [chunk({}, "stop"), data("[DONE]"), data({ choices: [], usage: chatUsage })],
    // Read where they come with the end, and not waited for where they do not.
    "either",
  ],
  [
    "late, long after the reason to stop",
    [chunk({}, "stop"), ": wait\n\n", data({ choices: [], usage: chatUsage }), data("[DONE]")],
    COUNTS,
  ],
  [
    "beside content",
    [chunk({ content: "!" }, null, { usage: chatUsage }), chunk({}, "stop"), data("[DONE]")],
    COUNTS,
  ],
  [
    "zero",
    [
      chunk({}, "stop", { usage: { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 } }),
      data("[DONE]"),
    ],
    { input: 0, output: 0 },
  ],
  ["absent", [chunk({}, "stop"), data("[DONE]")], "estimated"],
  ["absent, and no [DONE]", [chunk({}, "stop")], "estimated"],
]) {
  test(`counts that are ${name}`, async () => {
    upstream.answer = stream([...EVENTS.chat.head, ...EVENTS.chat.words, ...tail]);
    const { id, url, options } = ask("chat", { body: bodyOf("chat", { stream: true }) });
    assert.ok((await whole(url, options)).clean);
    const row = await rowOf(id);
    assert.equal(row.outcome, "complete");
    if (expected === "either" && row.estimated === 0) {
      assert.deepEqual(pick(row, ...Object.keys(COUNTS)), COUNTS);
    } else if (expected === "estimated" || expected === "either") {
      assert.equal(row.estimated, 1);
      assert.ok(row.input > 10 && row.output >= 10 && row.cost > 0, JSON.stringify(row));
    } else {
      assert.deepEqual(pick(row, "estimated", ...Object.keys(expected)), { estimated: 0, ...expected });
    }
  });
}

test("a client that asks for counts itself gets them", async () => {
  upstream.answer = stream([...EVENTS.chat.head, ...EVENTS.chat.tail]);
  const body = bodyOf("chat", { stream: true, stream_options: { include_usage: true } });
  const { id, url, options } = ask("chat", { body });
  const answer = await whole(url, options);
  assert.equal(answer.text, [...EVENTS.chat.head, ...EVENTS.chat.tail].join(""));
  assert.equal((await rowOf(id)).input, 100);
});

// ——— What never reached a provider

test("a request that is refused has a row, and used nothing", async () => {
  for (const [body, more, status, model] of [
    ["{", {}, 400, ""],
    [bodyOf("chat", { model: "raw/" }), {}, 400, "raw/"],
    [bodyOf("chat"), { headers: { "content-type": "text/plain" } }, 415, ""],
    [bodyOf("chat"), { headers: { "x-thread-id": "t" } }, 400, ""],
  ]) {
    const { id, url, options } = ask("chat", { body, ...more });
    const answer = await whole(url, options);
    assert.equal(answer.status, status);
    const row = await rowOf(id);
    assert.deepEqual(pick(row, ...USED, "attempts", "model"), {
      outcome: "refused",
      status,
      input: 0,
      output: 0,
      estimated: 0,
      cost: 0,
      attempts: 0,
      model,
    });
    assert.equal(row.error, JSON.parse(answer.text).error.message);
  }
});

test("a thread of another resource is refused with a row; an unknown key has none", async () => {
  const thread = newThread();
  upstream.answer = json(WHOLE.chat);
  const first = ask("chat", { thread });
  await whole(first.url, first.options);
  await until(async () => (await stored(gateway, thread)).length === 2, "the turn is stored");
  const foreign = ask("chat", { headers: memoryHeaders(thread, "bob") });
  assert.equal((await whole(foreign.url, foreign.options)).status, 404);
  assert.deepEqual(pick(await rowOf(foreign.id), "outcome", "status", "cost"), {
    outcome: "refused",
    status: 404,
    cost: 0,
  });
  const unknown = ask("chat", { key: "msk_nobody_knows_it" });
  assert.equal((await whole(unknown.url, unknown.options)).status, 401);
  await sleep(300);
  assert.deepEqual(await rowsOf(unknown.id), []);
});

test("a provider that cannot be reached used nothing", async () => {
  const { id, url, options } = ask("chat", {
    body: bodyOf("chat", { model: "ollama/m" }), // Nothing listens at its usual port.
  });
  assert.equal((await whole(url, options)).status, 502);
  assert.deepEqual(pick(await rowOf(id), "outcome", "status", "input", "cost", "attempts"), {
    outcome: "failed",
    status: 502,
    input: 0,
    cost: 0,
    attempts: 2,
  });
});

test("two requests of one id are two rows", async () => {
  upstream.answer = json(WHOLE.chat);
  const { id, url, options } = ask("chat");
  await whole(url, options);
  await whole(url, options);
  const rows = await until(async () => {
    const rows = await rowsOf(id);
    return rows.length === 2 && rows.every(({ outcome }) => outcome === "complete") && rows;
  }, "two rows");
  assert.equal(new Set(rows.map((row) => row.id)).size, 2);
});

test("a model without a price costs null", async () => {
  upstream.answer = json(WHOLE.chat);
  const { id, url, options } = ask("chat", { body: bodyOf("chat", { model: "raw/unpriced" }) });
  await whole(url, options);
  assert.deepEqual(pick(await rowOf(id), "outcome", "input", "cost"), {
    outcome: "complete",
    input: 100,
    cost: null,
  });
});

test("vectors and counts have rows, too", async () => {
  const vectors = ask("chat", {
    path: "/embeddings",
    body: { model: "openai/text-embedding-3-small", input: "some text to embed" },
  });
  const answer = JSON.parse((await whole(vectors.url, vectors.options)).text);
  const row = await rowOf(vectors.id);
  assert.deepEqual(pick(row, "outcome", "input", "output", "estimated", "endpoint", "cost"), {
    outcome: "complete",
    input: answer.usage.prompt_tokens,
    output: 0,
    estimated: 0,
    endpoint: "/v1/embeddings",
    cost: answer.usage.prompt_tokens * 20,
  });
  for (const model of ["anthropic/claude-sonnet-4-5", "openai/gpt-5.4-mini"]) {
    const count = ask("messages", {
      path: "/messages/count_tokens",
      body: { model, messages: [user("hello")] },
    });
    assert.equal((await whole(count.url, count.options)).status, 200);
    assert.deepEqual(pick(await rowOf(count.id), ...USED, "endpoint"), {
      outcome: "complete",
      status: 200,
      input: 0,
      output: 0,
      estimated: 0,
      cost: 0,
      endpoint: "/v1/messages/count_tokens",
    });
  }
});

test("the row is there while the answer is still running, as an estimate of what was asked", async () => {
  upstream.answer = stream([...EVENTS.chat.head, ...EVENTS.chat.words], async (res) => {
    await sleep(1_000);
    res.end(EVENTS.chat.tail.join(""));
  });
  const { id, url, options } = ask("chat", { body: bodyOf("chat", { stream: true }) });
  const answer = begin(url, options);
  const [open] = await until(async () => {
    const rows = await rowsOf(id);
    return rows.length === 1 && rows;
  }, "an open row");
  assert.deepEqual(pick(open, "outcome", "status", "output", "estimated", "latency_ms"), {
    outcome: "pending",
    status: null,
    output: 0,
    estimated: 1,
    latency_ms: null,
  });
  assert.ok(open.input > 0 && open.cost > 0);
  await (
    await answer.head
  ).ended;
  assert.deepEqual(pick(await rowOf(id), ...USED), pick(COMPLETE, ...USED));
});
