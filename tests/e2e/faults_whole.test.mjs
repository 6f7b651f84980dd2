// Owns: answers that are not streamed and go wrong on the wire, one row each, and how large they may be: what the client
// sees, what the thread keeps, what the ledger says. Streams are in faults_stream.test.mjs.
// Invariant: what is not a whole answer is never delivered, stored or charged as one; no answer is held that is larger than
// the bound, however it comes.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { gzipSync } from "node:zlib";
import { assistant, memoryHeaders, newThread, stored, until, user } from "./conversation.mjs";
import { startGateway } from "./gateway.mjs";
import { startUpstream, whole } from "./wire.mjs";

const MOST = 1_000_000;
let upstream, gateway, unwatched;
before(async () => {
  upstream = await startUpstream();
  const provider = (...dialects) => ({ base_url: `${upstream.url}/v1`, dialects });
  const vars = {
    // Each row fails on purpose, and once.
    ...{ UPSTREAM_ATTEMPTS: "1", CIRCUIT_FAILURES: "1000", MAX_ANSWER_BYTES: String(MOST) },
    PROVIDERS: JSON.stringify({
      chat: provider("chat"),
      messages: provider("messages"),
      responses: provider("responses"),
    }),
  };
  [gateway, unwatched] = await Promise.all([
    startGateway({ vars }),
    startGateway({ vars: { ...vars, LEDGER: "off" } }),
  ]);
});
after(async () => {
  await Promise.all([gateway?.stop(), unwatched?.stop()]);
  await upstream?.close();
});

const JSON_TYPE = { "content-type": "application/json" };
const ANSWERS = {
  chat: {
    ...{ id: "x", object: "chat.completion", model: "m" },
    choices: [{ index: 0, message: assistant("Hello there"), finish_reason: "stop" }],
    usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
  },
  messages: {
    ...{ id: "m", type: "message", role: "assistant", model: "m", stop_reason: "end_turn" },
    content: [{ type: "text", text: "Hello there" }],
    usage: { input_tokens: 3, output_tokens: 2 },
  },
  responses: {
    ...{ id: "resp_1", object: "response", status: "completed", model: "m" },
    output: [
      {
        ...{ type: "message", id: "msg_1", status: "completed", role: "assistant" },
        content: [{ type: "output_text", text: "Hello there", annotations: [] }],
      },
    ],
    usage: { input_tokens: 3, output_tokens: 2, total_tokens: 5 },
  },
};
const REQUESTS = {
  chat: ["/chat/completions", { messages: [user("hello")] }],
  messages: ["/messages", { max_tokens: 9, messages: [user("hello")] }],
  responses: ["/responses", { input: "hello", store: false }],
};
const DIALECTS = Object.keys(REQUESTS);
const HEALTHY = JSON.stringify(ANSWERS.chat);

const send = (res, bytes) => new Promise((resolve) => res.write(bytes, resolve));
/** Answers with these bytes, in pieces of unknown number. */
const says =
  (bytes, headers, broken = false) =>
  async (res) => {
    res.writeHead(200, { ...JSON_TYPE, ...headers });
    if (bytes.length > 0) await send(res, bytes);
    if (broken) res.destroy();
    else res.end();
  };

async function ask(answer, { dialect = "chat", provider = dialect, thread, to = gateway } = {}) {
  upstream.answer = answer;
  const id = `test-${randomUUID()}`;
  const [path, body] = REQUESTS[dialect];
  const got = await whole(to.baseURL + path, {
    headers: {
      authorization: `Bearer ${to.key}`,
      ...JSON_TYPE,
      "x-request-id": id,
      ...(thread && memoryHeaders(thread)),
    },
    body: JSON.stringify({ model: `${provider}/m`, ...body }),
  });
  if (to !== gateway) return got;
  const row = await until(async () => {
    const [row] = await gateway.d1(
      `SELECT outcome, status_code AS status, prompt_tokens AS input, completion_tokens AS output
       FROM ledger WHERE request_id = '${id}'`,
    );
    return row && row.outcome !== "pending" && Object.values(row);
  }, "a settled row");
  return { ...got, row, kept: thread && (await stored(gateway, thread)) };
}

// ——— How large an answer may be

/** Sends for as long as somebody takes it; tells how much. */
const endless = (told) => async (res) => {
  res.writeHead(200, JSON_TYPE);
  const piece = Buffer.alloc(64 * 1024, " ");
  told.bytes = 0;
  res.on("close", () => (told.closed = true));
  while (!told.closed && told.bytes < 200 * MOST) {
    told.bytes += piece.length;
    await Promise.race([send(res, piece), new Promise((closed) => res.on("close", closed))]);
    await new Promise(setImmediate); // Else the socket's own events wait until all is sent.
  }
};

for (const dialect of DIALECTS)
  for (const memory of ["on", "off"])
    test(`${dialect}, memory ${memory}: an answer over the bound is a 502 that says so, whatever it said of its length`, async () => {
      const told = {};
      const tooLarge = Buffer.alloc(MOST + 1, " ");
      for (const [what, answer] of [
        ["declared", says(tooLarge, { "content-length": MOST + 1 })],
        ["undeclared", says(tooLarge)],
        ["compressed", says(gzipSync(tooLarge), { "content-encoding": "gzip" })],
        ["endless", endless(told)],
      ]) {
        const thread = memory === "on" ? newThread() : undefined;
        const { status, text, row, kept } = await ask(answer, { dialect, thread });
        const { error } = JSON.parse(text);
        assert.deepEqual([status, error.type], [502, "upstream_error"], what);
        assert.match(error.message, /more than 1000000 bytes.*MAX_ANSWER_BYTES/, what);
        assert.deepEqual(row.slice(0, 2), ["failed", 502], what);
        if (thread) assert.deepEqual(kept, [user("hello")], what);
      }
      await until(() => told.closed, "the provider is let go");
      assert.ok(told.bytes < 50 * MOST, `the provider could send ${told.bytes} bytes`);
    });

test("an answer that is read for another dialect has the bound, too", async () => {
  const { status, text } = await ask(says(Buffer.alloc(MOST + 1, " ")), { provider: "messages" });
  assert.deepEqual([status, JSON.parse(text).error.code], [502, "upstream_too_large"]);
});

test("an answer at the bound is delivered, byte for byte", async () => {
  const bytes = HEALTHY + " ".repeat(MOST - HEALTHY.length);
  for (const headers of [{}, { "content-length": MOST }]) {
    const thread = newThread();
    const { status, text, kept, row } = await ask(says(bytes, headers), { thread });
    assert.deepEqual([status, text.length, text.trimEnd()], [200, MOST, HEALTHY]);
    assert.deepEqual(kept, [user("hello"), assistant("Hello there")]);
    assert.deepEqual(row, ["complete", 200, 3, 2]);
  }
});

test("an answer that nobody has to read is as large as it likes", async () => {
  const { status, bytes } = await ask(says(Buffer.alloc(5 * MOST, " ")), { to: unwatched });
  assert.deepEqual([status, bytes.length], [200, 5 * MOST]);
});

// ——— What is wrong with it

const inPieces = async (res) => {
  res.writeHead(200, JSON_TYPE);
  for (const byte of HEALTHY) await send(res, byte);
  res.end();
};
const bomb = Object.fromEntries(Array.from({ length: 1_000 }, (_, n) => [`x-bomb-${n}`, "y"]));
const GZIP = { "content-encoding": "gzip" };
const cut = HEALTHY.slice(0, -20);
const noText = Buffer.from(HEALTHY.replace("Hello", "\xff\xfe"), "latin1");
/** What is charged where the provider was at work and nobody knows what it counted. */
const ASKED = 15;

for (const memory of ["on", "off"]) {
  const thread = () => (memory === "on" ? newThread() : undefined);

  for (const [what, answer] of [
    ["is compressed", says(gzipSync(HEALTHY), GZIP)],
    ["comes a byte at a time", inPieces],
    ["has a thousand headers", says(HEALTHY, bomb)],
  ])
    test(`memory ${memory}: an answer that ${what} is whole`, async () => {
      const { status, text, row, kept } = await ask(answer, { thread: thread() });
      assert.deepEqual([status, text, row], [200, HEALTHY, ["complete", 200, 3, 2]]);
      if (kept) assert.deepEqual(kept, [user("hello"), assistant("Hello there")]);
    });

  for (const [what, answer] of [
    ["breaks off", says(cut, {}, true)],
    ["has fewer bytes than it promised", says(cut, { "content-length": HEALTHY.length }, true)],
    ["is compressed and breaks off", says(gzipSync(HEALTHY).subarray(0, 40), GZIP, true)],
  ])
    test(`memory ${memory}: an answer that ${what} is a 502 and no answer`, async () => {
      const { status, text, row, kept } = await ask(answer, { thread: thread() });
      assert.deepEqual([status, JSON.parse(text).error.code], [502, "upstream_incomplete"]);
      assert.deepEqual(row, ["truncated", 502, ASKED, 0]);
      if (kept) assert.deepEqual(kept, [user("hello")]);
    });

  // The client asked for this provider's own form, and gets its bytes; nobody takes them for an answer.
  for (const [what, bytes] of [
    ["is half a document with a clean end", cut],
    ["has garbage behind it", `${HEALTHY}\x00 garbage`],
    ["has bytes that are no UTF-8", noText],
    ["begins with a byte order mark", `\uFEFF${HEALTHY}`],
    ["is empty", ""],
  ]) {
    test(`memory ${memory}: an answer that ${what} passes as it is, and is neither stored nor a success`, async () => {
      const { status, bytes: got, row, kept } = await ask(says(bytes), { thread: thread() });
      assert.deepEqual([status, got], [200, Buffer.from(bytes)]);
      assert.deepEqual(row, ["failed", 200, ASKED, 0]);
      if (kept) assert.deepEqual(kept, [user("hello")]);
    });

    test(`memory ${memory}: an answer for another dialect that ${what} is a 502`, async () => {
      const { status, text, row, kept } = await ask(says(bytes), { provider: "messages", thread: thread() });
      assert.deepEqual([status, JSON.parse(text).error.type], [502, "upstream_error"]);
      assert.deepEqual(row.slice(0, 2), ["failed", 502]);
      if (kept) assert.deepEqual(kept, [user("hello")]);
    });
  }
}
