// Owns: clients that are slow on purpose: those that never end their request, and those that do not take their answer.
// Invariant: what such a client costs is bounded: its request by time, its answer by what the provider may run ahead.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { request } from "node:http";
import { after, before, test } from "node:test";
import { memoryHeaders, newThread, post, until, user } from "./conversation.mjs";
import { startGateway } from "./gateway.mjs";
import { startUpstream } from "./wire.mjs";

const BODY_TIMEOUT_MS = 1_000;
let upstream, gateway;
before(async () => {
  upstream = await startUpstream();
  const provider = (...dialects) => ({ base_url: `${upstream.url}/v1`, dialects });
  gateway = await startGateway({
    vars: {
      BODY_TIMEOUT_MS: String(BODY_TIMEOUT_MS),
      PROVIDERS: JSON.stringify({ chat: provider("chat"), messages: provider("messages") }),
    },
  });
});
after(async () => {
  await gateway?.stop();
  await upstream?.close();
});

const REQUESTS = {
  chat: ["/chat/completions", { messages: [user("hello")] }],
  messages: ["/messages", { max_tokens: 9, messages: [user("hello")] }],
  responses: ["/responses", { input: "hello", store: false }],
};

/** Sends a request whose body never ends; gives the answer. */
function trickle(path, headers, { chunked }) {
  return new Promise((resolve, reject) => {
    const outgoing = request(gateway.baseURL + path, {
      method: "POST",
      headers: {
        authorization: `Bearer ${gateway.key}`,
        "content-type": "application/json",
        ...(!chunked && { "content-length": 100_000 }),
        ...headers,
      },
      agent: false,
    });
    const timer = setInterval(() => outgoing.write(" "), 50);
    const end = (settle) => (value) => {
      clearInterval(timer);
      outgoing.destroy();
      settle(value);
    };
    outgoing.on("error", end(reject));
    outgoing.on("response", async (answer) => {
      const parts = [];
      for await (const part of answer) parts.push(part);
      end(resolve)({ status: answer.statusCode, body: JSON.parse(Buffer.concat(parts).toString()) });
    });
    outgoing.write("{");
  });
}

for (const [dialect, [path]] of Object.entries(REQUESTS))
  for (const chunked of [false, true])
    test(`${dialect}: a body that trickles in ${chunked ? "without" : "with"} a length is a 408, and nothing of it is kept`, async () => {
      const [thread, id] = [newThread(), `test-${randomUUID()}`];
      const { status, body } = await trickle(
        path,
        { "x-request-id": id, ...memoryHeaders(thread) },
        { chunked },
      );
      const { message, ...rest } = body.error;
      assert.match(message, /not there after 1000 ms/);
      assert.deepEqual(
        [status, rest],
        [
          408,
          dialect === "messages"
            ? { type: "timeout" }
            : { type: "timeout", param: null, code: "body_timeout" },
        ],
      );
      assert.equal(
        upstream.requests.some(({ raw }) => /^\{ /.test(raw)),
        false,
        "what came of the body went to no provider",
      );
      const row = await until(async () => {
        const [row] = await gateway.d1(
          `SELECT outcome, status_code AS status, cost_nano_usd AS cost FROM ledger WHERE request_id = '${id}'`,
        );
        return row && row.outcome !== "pending" && row;
      }, "a settled row");
      assert.deepEqual(row, { outcome: "refused", status: 408, cost: 0 });
      const found = await fetch(`${gateway.baseURL}/memory/threads/${thread}`, {
        headers: { authorization: `Bearer ${gateway.key}` },
      });
      assert.equal(found.status, 404);
    });

test("bodies that trickle in hold nobody else up", async () => {
  const slow = Array.from({ length: 20 }, () => trickle("/chat/completions", {}, { chunked: false }));
  upstream.answer = (res) =>
    res.writeHead(200, { "content-type": "application/json" }).end(
      JSON.stringify({
        ...{ id: "x", object: "chat.completion", model: "m" },
        choices: [{ index: 0, message: { role: "assistant", content: "Hi." }, finish_reason: "stop" }],
      }),
    );
  const answer = await post(gateway, "/chat/completions", { model: "chat/m", messages: [user("hello")] });
  assert.equal((await answer.json()).choices[0].message.content, "Hi.");
  assert.deepEqual(new Set((await Promise.all(slow)).map(({ status }) => status)), new Set([408]));
});

/** More than anything between the provider and a client may hold; the sockets of three programs hold some megabytes. */
const ENDLESS = 256 * 1024 * 1024;

for (const [dialect, memory] of [
  ["chat", "on"],
  ["chat", "off"],
  ["messages", "on"],
  ["messages", "off"],
])
  test(`${dialect}, memory ${memory}: a client that takes nothing of its stream stops the provider`, async () => {
    let sent = 0;
    let waits = false;
    let closed = false;
    upstream.answer = async (res) => {
      res.writeHead(200, { "content-type": "text/event-stream" });
      const piece = `: ${"x".repeat(64 * 1024)}\n\n`;
      res.on("close", () => (closed = true));
      while (!closed && sent < ENDLESS) {
        sent += piece.length;
        const taken = new Promise((resolve) => res.write(piece, () => resolve(true)));
        const late = new Promise((resolve) => setTimeout(resolve, 1_500, false));
        const left = new Promise((resolve) => res.once("close", resolve));
        waits = !(await Promise.race([taken, late, left]));
        if (waits) await Promise.race([taken, left]);
        await new Promise(setImmediate);
      }
    };
    const [path, body] = REQUESTS[dialect];
    const outgoing = request(gateway.baseURL + path, {
      method: "POST",
      headers: {
        authorization: `Bearer ${gateway.key}`,
        "content-type": "application/json",
        ...(memory === "on" && memoryHeaders(newThread())),
      },
      agent: false,
    });
    outgoing.on("error", () => {});
    const head = new Promise((resolve) => outgoing.on("response", resolve));
    outgoing.end(JSON.stringify({ model: `${dialect}/m`, stream: true, ...body }));
    const answer = await head; // Nobody reads it.
    assert.equal(answer.statusCode, 200);
    await until(() => waits || sent >= ENDLESS, "the provider waits", 240_000);
    assert.ok(sent < ENDLESS, `the provider could send ${sent} bytes`);
    outgoing.destroy();
    await until(() => closed, "the provider is let go", 60_000);
  });
