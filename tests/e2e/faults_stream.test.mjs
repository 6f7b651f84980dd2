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
      PROVIDERS: JSON.stringify(
        Object.fromEntries(
          Object.keys(DIALECTS).map((name) => [name, { base_url: `${upstream.url}/v1`, dialects: [name] }]),
        ),
      ),
    },
  });
});
after(async () => {
  await gateway?.stop();
  await upstream?.close();
});

const EVENTS = { "content-type": "text/event-stream" };
const data = (value) => `data: ${typeof value === "string" ? value : JSON.stringify(value)}\n\n`;
const event = ({ type, ...more }) => `event: ${type}\n${data({ type, ...more })}`;
const delta = (content, finish_reason = null) =>
  data({
    id: "x",
    object: "chat.completion.chunk",
    choices: [{ index: 0, delta: { content }, finish_reason }],
  });
const message = { id: "m", type: "message", role: "assistant", model: "m", content: [] };
const said = (text) => ({
  ...{ type: "message", id: "msg_1", status: "completed", role: "assistant" },
  content: [{ type: "output_text", text, annotations: [] }],
});
const responded = (status, more) => ({
  response: { id: "resp_1", object: "response", model: "m", status, ...more },
});

/**
 * A stream that says "Hello there" in each dialect: its beginning, a word, its end, and what says that it is over; `bad` is
 * an event that no dialect knows.
 */
const DIALECTS = {
  chat: {
    request: ["/chat/completions", { messages: [user("hello")] }],
    begin: "",
    word: delta,
    end:
      delta("", "stop") +
      data({ choices: [], usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 } }),
    over: data("[DONE]"),
    failed: /"code":"upstream_incomplete"/,
  },
  messages: {
    request: ["/messages", { max_tokens: 9, messages: [user("hello")] }],
    begin:
      event({
        type: "message_start",
        message: { ...message, usage: { input_tokens: 3, output_tokens: 0 } },
      }) + event({ type: "content_block_start", index: 0, content_block: { type: "text", text: "" } }),
    word: (text) => event({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text } }),
    end:
      event({ type: "content_block_stop", index: 0 }) +
      event({ type: "message_delta", delta: { stop_reason: "end_turn" }, usage: { output_tokens: 2 } }),
    over: event({ type: "message_stop" }),
    failed: /event: error\ndata: .*broke off/,
  },
  responses: {
    request: ["/responses", { input: "hello", store: false }],
    begin:
      event({ type: "response.created", ...responded("in_progress", { output: [] }) }) +
      event({ type: "response.output_item.added", output_index: 0, item: { ...said(""), content: [] } }) +
      event({
        type: "response.content_part.added",
        ...{ item_id: "msg_1", output_index: 0, content_index: 0, part: said("").content[0] },
      }),
    word: (text) =>
      event({
        type: "response.output_text.delta",
        ...{ item_id: "msg_1", output_index: 0, content_index: 0, delta: text },
      }),
    end: event({ type: "response.output_item.done", output_index: 0, item: said("Hello there") }),
    over: event({
      type: "response.completed",
      ...responded("completed", {
        output: [said("Hello there")],
        usage: { input_tokens: 3, output_tokens: 2, total_tokens: 5 },
      }),
    }),
    failed: /event: response\.failed\ndata: .*upstream_incomplete/,
  },
};
const healthy = ({ begin, word, end, over }) => begin + word("Hello") + word(" there") + end + over;

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

async function ask(answer, dialect, memory) {
  upstream.answer = answer;
  const thread = memory ? newThread() : undefined;
  const id = `test-${randomUUID()}`;
  const [path, body] = DIALECTS[dialect].request;
  const got = await whole(gateway.baseURL + path, {
    headers: {
      authorization: `Bearer ${gateway.key}`,
      "content-type": "application/json",
      "x-request-id": id,
      ...(memory && memoryHeaders(thread)),
    },
    body: JSON.stringify({ model: `${dialect}/m`, stream: true, ...body }),
  });
  const row = await until(async () => {
    const [row] = await gateway.d1(
      `SELECT outcome, status_code AS status, estimated FROM ledger WHERE request_id = '${id}'`,
    );
    return row && row.outcome !== "pending" && row;
  }, "a settled row");
  return {
    ...got,
    row: [row.outcome, row.status, row.estimated === 1],
    kept: memory && (await stored(gateway, thread)),
  };
}

const half = (words) => ({ ...assistant(words), incomplete: true });
const COMPLETE = ["complete", 200, false];
const TRUNCATED = ["truncated", 200, true];
const BIG = 50 * 1024 * 1024;

const WHOLE = { clean: true, kept: assistant("Hello there"), row: COMPLETE };
const TORN = { clean: false, kept: half("Hello"), row: TRUNCATED };

/** What goes wrong, and what becomes of it; `silent` where the client is told by the broken connection alone. */
const rows = (dialect) => {
  const { begin, word, end, over } = dialect;
  const hello = begin + word("Hello");
  return [
    {
      what: "lines that end in CR and LF, behind a byte order mark",
      answer: streams(`\uFEFF${healthy(dialect).replaceAll("\n", "\r\n")}`),
      ...WHOLE,
    },
    {
      what: "bytes that are no UTF-8 inside an event",
      answer: streams([
        hello,
        Buffer.from('data: {"x":"\xff\xfe"}\n\n', "latin1"),
        word(" there") + end + over,
      ]),
      ...WHOLE,
    },
    {
      what: "garbage behind its end",
      answer: streams([healthy(dialect), "\x00\x01 garbage\n\ndata: {\n\n"]),
      ...WHOLE,
    },
    {
      what: "a connection that breaks between two events",
      answer: streams(hello, { broken: true }),
      ...TORN,
    },
    { what: "a clean end between two events", answer: streams(hello), ...TORN },
    {
      what: "half an event and a clean end",
      answer: streams(hello + word(" there").slice(0, 40)),
      ...TORN,
      silent: true,
    },
    {
      what: "half an event and a connection that breaks",
      answer: streams(hello + word(" there").slice(0, 40), { broken: true }),
      ...TORN,
      silent: true,
    },
    {
      what: "a connection that breaks behind the last event",
      answer: streams(healthy(dialect), { broken: true }),
      ...WHOLE,
    },
    {
      what: "fewer bytes than it promised",
      answer: streams(hello, { broken: true, headers: { "content-length": "100000" } }),
      ...TORN,
    },
    { what: "one byte at a time", answer: streams(healthy(dialect).split("")), ...WHOLE },
    {
      what: "compressed bytes",
      answer: streams(gzipSync(healthy(dialect)), { headers: { "content-encoding": "gzip" } }),
      ...WHOLE,
    },
    {
      what: "compressed bytes that stop in the middle",
      answer: streams(gzipSync(hello, { finishFlush: constants.Z_SYNC_FLUSH }), {
        broken: true,
        headers: { "content-encoding": "gzip" },
      }),
      ...TORN,
    },
    {
      what: "a thousand headers",
      answer: streams(healthy(dialect), {
        headers: Object.fromEntries(Array.from({ length: 1_000 }, (_, n) => [`x-bomb-${n}`, "y"])),
      }),
      ...WHOLE,
    },
  ];
};

/** What only one dialect has. */
const ONLY = {
  chat: [
    {
      what: "no [DONE], but a reason to stop",
      answer: streams(delta("Hello there") + DIALECTS.chat.end),
      ...WHOLE,
    },
    {
      what: "an event of fifty megabytes",
      answer: streams([
        delta("Hello"),
        ...[`data: {"x":"`, Buffer.alloc(BIG, "y"), `"}\n\n`],
        DIALECTS.chat.end + DIALECTS.chat.over,
      ]),
      ...WHOLE,
      kept: assistant("Hello"),
    },
  ],
};

for (const [name, dialect] of Object.entries(DIALECTS))
  for (const memory of [true, false])
    for (const { what, answer, clean, silent, kept, row } of [...rows(dialect), ...(ONLY[name] ?? [])])
      test(`${name}, memory ${memory ? "on" : "off"}: a stream with ${what}`, async () => {
        const got = await ask(answer, name, memory);
        assert.deepEqual([got.status, got.clean], [200, clean]);
        if (!clean) assert.ok(!got.text.includes(dialect.over));
        if (!clean && !silent) assert.match(got.text, dialect.failed);
        if (memory) assert.deepEqual(got.kept, [user("hello"), kept]);
        assert.deepEqual(got.row, row);
        const next = await ask(streams(healthy(dialect)), name, memory);
        assert.deepEqual([next.status, next.clean, next.row], [200, true, COMPLETE]);
      });
