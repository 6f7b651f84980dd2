import assert from "node:assert/strict";
import { test } from "node:test";
import { splitModel } from "../../sandbox/faults.mjs";
import { events, user, useSandbox } from "./provider.mjs";

const at = useSandbox();
const chat = (knobs, more) =>
  at.chat({ model: `gpt-x;${knobs}`, messages: [user("Say a b c d e")], ...more });
const stream = (knobs) => chat(knobs, { stream: true });
const respond = (knobs, more) => at.respond({ model: `gpt-x;${knobs}`, input: "Say a b c d e", ...more });
const content = (chunks) => chunks.map((chunk) => chunk.choices?.[0]?.delta.content ?? "").join("");

test("knobs are split from the model, and unknown ones refused", async () => {
  assert.deepEqual(splitModel("a/b;delay=50;nodone"), { model: "a/b", knobs: { delay: 50, nodone: 1 } });
  assert.equal((await (await chat("pad=0")).json()).model, "gpt-x");
  for (const knobs of ["dealy=1", "delay=x", "status=418"])
    assert.equal((await chat(knobs)).status, 400, knobs);
});

test("every status has an error of the provider's shape", async () => {
  for (const status of [400, 401, 403, 404, 408, 413, 429, 500, 502, 503, 504, 529]) {
    const response = await chat(`status=${status}`);
    assert.equal(response.status, status);
    assert.deepEqual(Object.keys((await response.json()).error), ["message", "type", "param", "code"]);
    assert.equal(response.headers.get("retry-after"), status === 429 ? "2" : null);
  }
});

test("chunks re-cut the bytes without changing them", async () => {
  const shape = (text) => text.replace(/"(id|created)":("[^"]*"|\d+)/g, '"$1":0');
  const whole = shape(await (await stream("delay=0")).text());
  for (const size of [1, 7, 0]) assert.equal(shape(await (await stream(`chunk=${size}`)).text()), whole);
});

test("cut breaks the connection and eof ends it cleanly, both after the given bytes", async () => {
  for (const ask of [stream, chat]) {
    const reader = (await ask("cut=100")).body.getReader();
    let got = 0;
    await assert.rejects(async () => {
      for (let part; !(part = await reader.read()).done;) got += part.value.length;
    });
    assert.equal(got, 100);
    assert.equal((await (await ask("eof=100")).text()).length, 100);
  }
  const [cut, eof] = at.sandbox.requests.slice(-2);
  assert.deepEqual([cut.aborted, cut.finished, cut.bytesSent], [false, false, 100]);
  assert.deepEqual([eof.aborted, eof.finished, eof.bytesSent], [false, true, 100]);
});

test("waits come where they are asked for", async () => {
  const timed = async (promise) => {
    const start = performance.now();
    await promise;
    return performance.now() - start;
  };
  assert.ok((await timed(chat("stall=150"))) >= 140);
  const head = stream("pause=150");
  assert.ok((await timed(head.then((response) => response.text()))) >= 140);
  assert.ok((await timed(stream("delay=20").then((response) => response.text()))) >= 100);
});

test("a failure inside a stream comes after some output and nothing follows it", async () => {
  const chunks = events(await (await stream("error=1")).text());
  assert.equal(content(chunks), "a b");
  assert.equal(chunks.at(-1).error.type, "server_error");
  const all = events(await (await respond("error=1", { stream: true })).text());
  assert.deepEqual(
    all.slice(-2).map(({ type }) => type),
    ["error", "response.failed"],
  );
  assert.deepEqual(
    all.map(({ sequence_number }) => sequence_number),
    all.map((_, n) => n),
  );
  assert.equal(all.at(-1).response.status, "failed");
  assert.equal((await (await chat("error=1")).json()).error.code, "server_error");
  assert.equal((await (await respond("error=1")).json()).status, "failed");
});

test("framing can be unusual: CRLF, comments, padding, no end", async () => {
  const crlf = await (await stream("crlf=1")).text();
  assert.ok(crlf.endsWith("data: [DONE]\r\n\r\n") && !/[^\r]\n/.test(crlf));
  assert.match(await (await stream("comments=1")).text(), /\n\n: PROCESSING\n\ndata:/);
  assert.ok((await (await stream("pad=5000")).text()).length > 35_000);
  assert.ok((await (await chat("pad=5000")).text()).endsWith(" "));
  assert.ok(!(await (await stream("nodone=1")).text()).includes("[DONE]"));
  assert.ok(!(await (await respond("nodone=1", { stream: true })).text()).includes("response.completed"));
});

test("answers can be no JSON, another page, elsewhere, or packed", async () => {
  await assert.rejects(async () => (await chat("garbage=1")).json(), SyntaxError);
  assert.throws(() => events('data: {"sandbox": garbage\n\n'));
  assert.match(await (await stream("garbage=1")).text(), /\ndata: \{"sandbox": garbage\n/);
  assert.match((await chat("html=1")).headers.get("content-type"), /^text\/html/);
  const moved = await chat("redirect=1");
  assert.deepEqual([moved.status, moved.headers.get("location")], [307, "http://127.0.0.1:9/"]);
  const packed = await chat("gzip=1");
  assert.equal(packed.headers.get("content-encoding"), "gzip");
  assert.equal((await packed.json()).choices[0].message.content, "a b c d e");
});

test("words make a stream of any length", async () => {
  const chunks = events(await (await stream("words=20000")).text());
  assert.equal(content(chunks).split(" ").length, 20_000);
});
