// Owns: which stored messages a request's row in the ledger names, for every way in which its turn can end.
// Invariant: the row is compared with what the thread itself lists.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { memoryHeaders, messagesOf, newThread, until, user } from "./conversation.mjs";
import { directBaseURL } from "./direct.mjs";
import { sandboxVars, startGateway, startSandbox } from "./gateway.mjs";
import { begin, startUpstream, whole } from "./wire.mjs";

let sandbox, upstream, gateway;
before(async () => {
  [sandbox, upstream] = await Promise.all([startSandbox(), startUpstream()]);
  gateway = await startGateway({
    vars: { ...sandboxVars(sandbox), PROVIDERS: JSON.stringify({ raw: { base_url: `${upstream.url}/v1` } }) },
  });
});
after(async () => {
  await gateway?.stop();
  await sandbox?.close();
  await upstream?.close();
});

const chunk = (delta, finish_reason = null) =>
  `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason }] })}\n\n`;
const BEGUN = chunk({ role: "assistant", content: "one two " });
const ENDED = `${chunk({ content: "three" })}${chunk({}, "stop")}data: [DONE]\n\n`;

const json = (value, status) => (res) =>
  res.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
const stream = (text, ends) => (res) => {
  res.writeHead(200, { "content-type": "text/event-stream" });
  if (ends) res.end(text);
  else res.write(text);
};

/** A request of its own; `id` is the one that its row is found by. */
function ask({ thread, streams = false, base = gateway.baseURL, headers } = {}) {
  const id = `test-${randomUUID()}`;
  const options = {
    headers: {
      authorization: `Bearer ${gateway.key}`,
      "content-type": "application/json",
      "x-request-id": id,
      ...(thread && memoryHeaders(thread)),
      ...headers,
    },
    body: JSON.stringify({ model: "raw/m", stream: streams, messages: [user("hello")] }),
  };
  return { id, url: `${base}/chat/completions`, options };
}

/** The messages that the row of a request names, once it is settled. */
async function namedBy(id) {
  const { log } = await until(async () => {
    const found = await gateway.manage("GET", `/projects/default/usage/logs/${id}`);
    return found.status === 200 && found.log.outcome !== "pending" && found;
  }, `a settled row of ${id}`);
  return log.message_ids;
}

const idsOf = async (thread) => (await messagesOf(gateway, thread)).messages.map(({ id }) => id);

test("a row names the question and the answer, whole or streamed", async () => {
  const message = { role: "assistant", content: "one two three" };
  const answer = {
    id: "c",
    object: "chat.completion",
    choices: [{ index: 0, message, finish_reason: "stop" }],
  };
  for (const [streams, reply] of [
    [false, json(answer, 200)],
    [true, stream(BEGUN + ENDED, true)],
  ]) {
    upstream.answer = reply;
    const thread = newThread();
    const { id, url, options } = ask({ thread, streams });
    assert.equal((await whole(url, options)).status, 200);
    const [named, kept] = [await namedBy(id), await idsOf(thread)];
    assert.deepEqual([named, named.length], [kept, 2]);
  }
});

test("of an answer that broke off it names what was kept, and of a failure the question alone", async () => {
  upstream.answer = stream(BEGUN, false);
  const left = newThread();
  const leaving = ask({ thread: left, streams: true, base: await directBaseURL(gateway) });
  const answer = await begin(leaving.url, leaving.options).head;
  await answer.seen("one two");
  answer.leave();
  const named = await namedBy(leaving.id);
  assert.deepEqual([named, named.length], [await idsOf(left), 2]);

  upstream.answer = json({ error: { message: "No.", type: "t" } }, 500);
  const failed = newThread();
  const failing = ask({ thread: failed });
  assert.equal((await whole(failing.url, failing.options)).status, 500);
  const question = await namedBy(failing.id);
  assert.deepEqual([question, question.length], [await idsOf(failed), 1]);
});

test("a row names nothing where nothing was stored", async () => {
  upstream.answer = stream(BEGUN + ENDED, true);
  const thread = newThread();
  for (const options of [{}, { thread, headers: { "x-memory-mode": "read" } }]) {
    const { id, url, options: sent } = ask({ ...options, streams: true });
    await whole(url, sent);
    assert.deepEqual(await namedBy(id), []);
  }
});
