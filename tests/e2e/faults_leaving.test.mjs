// Owns: how soon a provider is let go when the client has left, whatever the answer's state is then; and what is kept.
// Invariant: the provider of a test never ends an answer itself: that its connection is closed is the gateway's doing. The
// times are printed, and judged only where LEAVING_MOST_MS says how long they may be: a busy machine is no fault.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { memoryHeaders, newThread, stored, until, user } from "./conversation.mjs";
import { directBaseURL } from "./direct.mjs";
import { startGateway } from "./gateway.mjs";
import { begin, startUpstream } from "./wire.mjs";

let upstream, gateway, unwatched, base, unwatchedBase;
/** How long a provider may be kept at work, in milliseconds. */
const MOST_MS = Number(process.env.LEAVING_MOST_MS ?? 10_000);

/** The model that `directBaseURL` asks. */
const GREETED = "gpt-5.4-mini";

before(async () => {
  upstream = await startUpstream();
  const provider = (...dialects) => ({ base_url: `${upstream.url}/v1`, dialects });
  const vars = {
    ...{ UPSTREAM_ATTEMPTS: "1", CIRCUIT_FAILURES: "1000" },
    ...{ OPENAI_API_KEY: "sk-of-the-sandbox", OPENAI_BASE_URL: `${upstream.url}/v1` },
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
  upstream.answer = greet;
  base = await directBaseURL(gateway);
  unwatchedBase = await directBaseURL(unwatched);
});
after(async () => {
  await Promise.all([gateway?.stop(), unwatched?.stop()]);
  await upstream?.close();
});

const JSON_TYPE = { "content-type": "application/json" };
const EVENTS = { "content-type": "text/event-stream" };
const greet = (res) =>
  res.writeHead(200, JSON_TYPE).end(
    JSON.stringify({
      ...{ id: "x", object: "chat.completion", model: GREETED },
      choices: [{ index: 0, message: { role: "assistant", content: "Hello." }, finish_reason: "stop" }],
      usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
    }),
  );

const data = (value, name) => `${name ? `event: ${name}\n` : ""}data: ${JSON.stringify(value)}\n\n`;
const WORDS = {
  chat: data({
    ...{ id: "x", object: "chat.completion.chunk" },
    choices: [{ index: 0, delta: { role: "assistant", content: "word" }, finish_reason: null }],
  }),
  messages:
    data({ type: "message_start", message: { id: "m", role: "assistant", content: [] } }, "message_start") +
    data(
      { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } },
      "content_block_start",
    ) +
    data(
      { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "word" } },
      "content_block_delta",
    ),
  responses:
    data({ type: "response.created", response: { id: "resp_1", output: [] } }, "response.created") +
    data(
      { type: "response.output_text.delta", output_index: 0, content_index: 0, delta: "word" },
      "response.output_text.delta",
    ),
};
const REQUESTS = {
  chat: ["/chat/completions", { messages: [user("hello")] }],
  messages: ["/messages", { max_tokens: 9, messages: [user("hello")] }],
  responses: ["/responses", { input: "hello", store: false }],
};

/** The states in which a client leaves: what the provider does, and whether the client has seen something then. */
const STATES = {
  "before the head": { act: () => {} },
  "while the model is silent behind the head": { act: (res) => res.writeHead(200, EVENTS).flushHeaders() },
  "in the middle of a stream that goes on": {
    seen: true,
    act: (res, dialect) => {
      res.writeHead(200, EVENTS).write(WORDS[dialect]);
      const timer = setInterval(() => res.write(": on\n\n"), 20);
      res.on("close", () => clearInterval(timer));
    },
  },
  "in the middle of a stream that is silent": {
    seen: true,
    act: (res, dialect) => res.writeHead(200, EVENTS).write(WORDS[dialect]),
  },
  "in the middle of an answer that is not streamed": {
    whole: true,
    act: (res) => res.writeHead(200, JSON_TYPE).write('{"id":"x",'),
  },
};

/** Leaves in this state; gives what it took until the provider's connection was closed, and the request's id. */
async function leave({ act, seen, whole }, { dialect, thread, at = base, key = gateway.key }) {
  const model = `m-${randomUUID()}`;
  const ours = ({ raw }) => raw.includes(model);
  const started = new Promise((resolve) => {
    upstream.answer = (res, entry) => {
      if (!ours(entry)) return greet(res);
      res.on("close", () => (entry.closedAt = performance.now()));
      act(res, dialect);
      resolve(entry);
    };
  });
  const id = `test-${randomUUID()}`;
  const [path, body] = REQUESTS[dialect];
  const request = begin(at + path, {
    headers: {
      authorization: `Bearer ${key}`,
      ...JSON_TYPE,
      "x-request-id": id,
      ...(thread && memoryHeaders(thread)),
    },
    body: JSON.stringify({ model: `${dialect}/${model}`, stream: !whole, ...body }),
  });
  request.head.catch(() => {});
  const entry = await started;
  if (seen) await (await request.head).seen("word");
  assert.equal(entry.closed, false);
  const left = performance.now();
  request.leave();
  await until(() => entry.closed, "the provider's connection is closed");
  const ms = entry.closedAt - left;
  assert.ok(ms <= MOST_MS, `closed after ${ms} ms`);
  return { id, ms };
}

for (const [state, how] of Object.entries(STATES))
  for (const dialect of Object.keys(REQUESTS))
    for (const memory of ["on", "off"])
      test(`${dialect}, memory ${memory}: a client that leaves ${state} ends the provider's work`, async (t) => {
        const thread = memory === "on" ? newThread() : undefined;
        const { id, ms } = await leave(how, { dialect, thread });
        t.diagnostic(`closed after ${ms.toFixed(1)} ms`);
        const row = await until(async () => {
          const [row] = await gateway.d1(`SELECT outcome FROM ledger WHERE request_id = '${id}'`);
          return row && row.outcome !== "pending" && row;
        }, "a settled row");
        assert.equal(row.outcome, "aborted");
        if (!thread) return;
        const partial = how.seen ? [{ role: "assistant", content: "word", incomplete: true }] : [];
        await until(async () => {
          assert.deepEqual(await stored(gateway, thread), [user("hello"), ...partial]);
          return true;
        }, "what was said is kept");
      });

for (const [state, how] of Object.entries(STATES))
  test(`chat, unwatched: a client that leaves ${state} ends the provider's work`, async (t) => {
    const { ms } = await leave(how, { dialect: "chat", at: unwatchedBase, key: unwatched.key });
    t.diagnostic(`closed after ${ms.toFixed(1)} ms`);
  });
