// Owns: answers that flow to the client by the runtime's own hands while the gateway only listens: streams without memory
// whose clients get all that the provider says.
// Invariant: what the client sees is the provider's doing alone, and what the ledger says is as exact as elsewhere.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { post, until, user } from "./conversation.mjs";
import { startGateway } from "./gateway.mjs";
import { begin, startUpstream } from "./wire.mjs";

let upstream, gateway;
before(async () => {
  upstream = await startUpstream();
  const raw = { base_url: `${upstream.url}/v1`, dialects: ["chat", "messages"] };
  gateway = await startGateway({ build: "faults", vars: { PROVIDERS: JSON.stringify({ raw }) } });
});
after(async () => {
  await gateway?.stop();
  await upstream?.close();
});

const data = (value) => `data: ${JSON.stringify(value)}\n\n`;
const word = (n) => data({ id: "c", choices: [{ index: 0, delta: { content: `word${n} ` } }] });
const USAGE = data({ id: "c", choices: [], usage: { prompt_tokens: 7, completion_tokens: 5 } });
const END = `${data({ id: "c", choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })}${USAGE}data: [DONE]\n\n`;

/** A request whose client wants the token counts itself; the provider's end of it as `provider`. */
async function ask() {
  const id = `test-${randomUUID()}`;
  const provider = new Promise((resolve) => {
    upstream.answer = (res) => {
      res.writeHead(200, { "content-type": "text/event-stream" });
      resolve(res);
    };
  });
  const body = {
    model: "raw/m",
    stream: true,
    stream_options: { include_usage: true },
    messages: [user("hello")],
  };
  const { head } = begin(`${gateway.baseURL}/chat/completions`, {
    headers: {
      authorization: `Bearer ${gateway.key}`,
      "content-type": "application/json",
      "x-request-id": id,
    },
    body: JSON.stringify(body),
  });
  return { id, head, provider: await provider };
}

/** The settled row of a request. */
const rowOf = (id) =>
  until(async () => {
    const rows = await gateway.d1(
      `SELECT outcome, prompt_tokens AS input, completion_tokens AS output, estimated, ttft_ms, latency_ms
       FROM ledger WHERE request_id = '${id}'`,
    );
    return rows.length === 1 && rows[0].outcome !== "pending" && rows[0];
  }, `a settled row of ${id}`);

test("each event is with the client before the provider says the next, and all of them are counted", async () => {
  const { id, head, provider } = await ask();
  const words = Array.from({ length: 20 }, (_, n) => word(n + 1));
  provider.write(words[0]);
  const answer = await head;
  for (const [n, next] of words.slice(1).entries()) {
    await answer.seen(`word${n + 1} `);
    assert.ok(!answer.received().includes(`word${n + 2} `));
    provider.write(next);
  }
  provider.end(END);
  const { bytes, clean } = await answer.ended;
  assert.deepEqual([bytes.toString(), clean], [words.join("") + END, true]);
  const { ttft_ms, latency_ms, ...row } = await rowOf(id);
  assert.deepEqual(row, { outcome: "complete", input: 7, output: 5, estimated: 0 });
  assert.ok(0 <= ttft_ms && ttft_ms <= latency_ms, `${ttft_ms} ${latency_ms}`);
});

test("beside a panic of the gateway, an answer that flows by ends cleanly only if it is whole", async () => {
  const { head, provider } = await ask();
  provider.write(word(1));
  const answer = await head;
  await answer.seen("word1 ");
  const boom = { model: "raw/m", messages: [user("boom")] };
  const failed = await post(gateway, "/chat/completions", boom, { headers: { "x-fault": "panic" } });
  assert.equal(failed.status, 500);
  provider.end(END);
  const { bytes, clean } = await answer.ended;
  assert.equal(clean, bytes.toString() === word(1) + END);
});

test("a client that takes its time gets every byte of a large answer", async () => {
  const { id, head, provider } = await ask();
  const large = data({ id: "c", choices: [{ index: 0, delta: { content: "x".repeat(3_000_000) } }] });
  provider.write(large);
  provider.end(END);
  const answer = await head;
  const { bytes, clean } = await answer.ended;
  assert.deepEqual([bytes.length, clean], [large.length + END.length, true]);
  assert.ok(bytes.equals(Buffer.from(large + END)));
  assert.equal((await rowOf(id)).output, 5);
});
