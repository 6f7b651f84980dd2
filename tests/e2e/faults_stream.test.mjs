// Owns: streams that go wrong on the wire, one row each: what the client sees, what the thread keeps, what the ledger says.
// What goes wrong before a stream begins is in attempts.test.mjs.
// Invariant: a stream that did not end as its dialect says is broken for the client, incomplete in the thread and no success
// in the ledger; whatever happened, the next request is served.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { constants, gzipSync } from "node:zlib";
import { assistant, memoryHeaders, newThread, stored, until, user } from "./conversation.mjs";
import { startGateway } from "./gateway.mjs";
import { startUpstream, whole } from "./wire.mjs";

let upstream, gateway;
before(async () => {
  upstream = await startUpstream();
  gateway = await startGateway({
    vars: {
      // Each row fails on purpose, and once.
      ...{ UPSTREAM_ATTEMPTS: "1", CIRCUIT_FAILURES: "1000" },
      PROVIDERS: JSON.stringify({ raw: { base_url: `${upstream.url}/v1` } }),
    },
  });
});
after(async () => {
  await gateway?.stop();
  await upstream?.close();
});

const EVENTS = { "content-type": "text/event-stream" };
const data = (value) => `data: ${typeof value === "string" ? value : JSON.stringify(value)}\n\n`;
const delta = (content, finish_reason = null) =>
  data({
    id: "x",
    object: "chat.completion.chunk",
    choices: [{ index: 0, delta: { content }, finish_reason }],
  });
const END =
  delta("", "stop") +
  data({ choices: [], usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 } });
const DONE = data("[DONE]");
const HEALTHY = delta("Hello") + delta(" there") + END + DONE;

const send = (res, bytes) => new Promise((resolve) => res.write(bytes, resolve));
/** Sends these pieces as they are, and ends the stream or breaks it off. */
const streams =
  (pieces, { broken = false, headers } = {}) =>
  async (res) => {
    res.writeHead(200, { ...EVENTS, ...headers });
    for (const piece of [pieces].flat()) await send(res, piece);
    if (broken) res.destroy();
    else res.end();
  };

async function ask(answer, { stream = true } = {}) {
  upstream.answer = answer;
  const [thread, id] = [newThread(), `test-${randomUUID()}`];
  const got = await whole(`${gateway.baseURL}/chat/completions`, {
    headers: {
      authorization: `Bearer ${gateway.key}`,
      "content-type": "application/json",
      "x-request-id": id,
      ...memoryHeaders(thread),
    },
    body: JSON.stringify({ model: "raw/m", stream, messages: [user("hello")] }),
  });
  const row = await until(async () => {
    const [row] = await gateway.d1(
      `SELECT outcome, status_code AS status, estimated FROM ledger WHERE request_id = '${id}'`,
    );
    return row && row.outcome !== "pending" && row;
  }, "a settled row");
  return { ...got, row: [row.outcome, row.status, row.estimated === 1], kept: await stored(gateway, thread) };
}

const half = (words) => ({ ...assistant(words), incomplete: true });
const COMPLETE = ["complete", 200, false];
const TRUNCATED = ["truncated", 200, true];
const BIG = 50 * 1024 * 1024;

for (const { what, answer, clean, text, kept, row } of [
  {
    what: "lines that end in CR and LF, behind a byte order mark",
    answer: streams(`\uFEFF${HEALTHY.replaceAll("\n", "\r\n")}`),
    clean: true,
    kept: assistant("Hello there"),
    row: COMPLETE,
  },
  {
    what: "bytes that are no UTF-8 inside an event",
    answer: streams([
      delta("Hello"),
      Buffer.from('data: {"x":"\xff\xfe"}\n\n', "latin1"),
      delta(" there"),
      END + DONE,
    ]),
    clean: true,
    kept: assistant("Hello there"),
    row: COMPLETE,
  },
  {
    what: "garbage behind its end",
    answer: streams([HEALTHY, "\x00\x01 garbage\n\ndata: {\n\n"]),
    clean: true,
    kept: assistant("Hello there"),
    row: COMPLETE,
  },
  {
    what: "no [DONE], but a reason to stop",
    answer: streams(delta("Hello there") + END),
    clean: true,
    kept: assistant("Hello there"),
    row: COMPLETE,
  },
  {
    what: "a connection that breaks between two events",
    answer: streams(delta("Hello"), { broken: true }),
    clean: false,
    text: /upstream_incomplete/,
    kept: half("Hello"),
    row: TRUNCATED,
  },
  {
    what: "half an event and a clean end",
    answer: streams(delta("Hello") + delta(" there").slice(0, 40)),
    clean: false,
    kept: half("Hello"),
    row: TRUNCATED,
  },
  {
    what: "half an event and a connection that breaks",
    answer: streams(delta("Hello") + delta(" there").slice(0, 40), { broken: true }),
    clean: false,
    kept: half("Hello"),
    row: TRUNCATED,
  },
  {
    what: "a connection that breaks behind the last event",
    answer: streams(HEALTHY, { broken: true }),
    clean: true,
    kept: assistant("Hello there"),
    row: COMPLETE,
  },
  {
    what: "fewer bytes than it promised",
    answer: streams(delta("Hello"), { broken: true, headers: { "content-length": "100000" } }),
    clean: false,
    text: /upstream_incomplete/,
    kept: half("Hello"),
    row: TRUNCATED,
  },
  {
    what: "one byte at a time",
    answer: streams(HEALTHY.split("")),
    clean: true,
    kept: assistant("Hello there"),
    row: COMPLETE,
  },
  {
    what: "compressed bytes",
    answer: streams(gzipSync(HEALTHY), { headers: { "content-encoding": "gzip" } }),
    clean: true,
    kept: assistant("Hello there"),
    row: COMPLETE,
  },
  {
    what: "compressed bytes that stop in the middle",
    answer: streams(gzipSync(delta("Hello"), { finishFlush: constants.Z_SYNC_FLUSH }), {
      broken: true,
      headers: { "content-encoding": "gzip" },
    }),
    clean: false,
    kept: half("Hello"),
    row: TRUNCATED,
  },
  {
    what: "an event of fifty megabytes",
    answer: streams([delta("Hello"), `data: {"x":"`, Buffer.alloc(BIG, "y"), `"}\n\n`, END + DONE]),
    clean: true,
    kept: assistant("Hello"),
    row: COMPLETE,
  },
  {
    what: "a thousand headers",
    answer: streams(HEALTHY, {
      headers: Object.fromEntries(Array.from({ length: 1_000 }, (_, n) => [`x-bomb-${n}`, "y"])),
    }),
    clean: true,
    kept: assistant("Hello there"),
    row: COMPLETE,
  },
])
  test(`a stream with ${what}`, async () => {
    const got = await ask(answer);
    assert.equal(got.clean, clean);
    if (text) assert.match(got.text, text);
    if (!clean) assert.doesNotMatch(got.text, /\[DONE\]/);
    assert.equal(got.status, 200);
    assert.deepEqual(got.kept, [user("hello"), kept]);
    assert.deepEqual(got.row, row);
    const next = await ask(streams(HEALTHY));
    assert.deepEqual([next.status, next.clean, next.row], [200, true, COMPLETE]);
  });
