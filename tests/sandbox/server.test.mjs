import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { user, useSandbox } from "./provider.mjs";

const at = useSandbox();
const hello = { messages: [user("Say hello there friend")] };
const logged = async () => (await fetch(`${at.sandbox.url}/sandbox/requests`)).json();

test("keys are required, and a gateway key is called a leak", async () => {
  for (const [key, told] of [
    [null, /no API key/],
    ["invalid-key", /not valid/],
    ["msk_abc", /gateway key .* leaked/],
  ]) {
    const response = await at.post("/v1/chat/completions", { model: "m", ...hello }, { key });
    assert.equal(response.status, 401);
    const { error } = await response.json();
    assert.equal(error.code, "invalid_api_key");
    assert.match(error.message, told);
  }
});

test("unknown paths and methods are OpenAI errors", async () => {
  const missing = await at.post("/v1/nothing", {});
  assert.deepEqual([missing.status, (await missing.json()).error.code], [404, "unknown_url"]);
  const wrong = await fetch(`${at.sandbox.url}/v1/chat/completions`, {
    headers: { authorization: "Bearer k" },
  });
  assert.equal(wrong.status, 405);
});

test("models are listed and embeddings are stable", async () => {
  const list = await (
    await fetch(`${at.sandbox.url}/v1/models`, { headers: { authorization: "Bearer k" } })
  ).json();
  assert.ok(list.data.every(({ object, owned_by: owner }) => object === "model" && owner === "sandbox"));
  const embed = async (body) =>
    (await (await at.post("/v1/embeddings", { model: "e", ...body })).json()).data.map(
      ({ embedding }) => embedding,
    );
  const [cat, cats, tax] = await embed({ input: ["the cat sat", "the cat slept", "income tax form"] });
  const dot = (a, b) => a.reduce((sum, value, n) => sum + value * b[n], 0);
  assert.ok(dot(cat, cats) > dot(cat, tax));
  const [base64] = await embed({ input: "the cat sat", encoding_format: "base64" });
  const floats = new Float32Array(new Uint8Array(Buffer.from(base64, "base64")).buffer);
  assert.ok(floats.every((value, n) => Math.abs(value - cat[n]) < 1e-6));
});

test("the log holds what arrived, and can be cleared", async () => {
  await fetch(`${at.sandbox.url}/sandbox/requests`, { method: "DELETE" });
  await (await at.chat(hello)).text();
  await (await at.post("/v1/chat/completions?a=1", "{")).text();
  const [first, second] = await logged();
  assert.deepEqual(
    [first.n, first.method, first.path, first.body.messages, first.headers.authorization],
    [1, "POST", "/v1/chat/completions", hello.messages, "Bearer sk-test"],
  );
  assert.deepEqual([first.finished, first.aborted, first.bytesSent > 100], [true, false, true]);
  assert.deepEqual([second.path, second.body], ["/v1/chat/completions?a=1", "{"]);
  at.sandbox.clear();
  assert.deepEqual(at.sandbox.requests, []);
});

test("a client that leaves is logged as aborted, in a stream and in a wait", async () => {
  for (const knobs of ["delay=20;words=1000", "stall=60000"]) {
    at.sandbox.clear();
    const left = new AbortController();
    const reading = at
      .post("/v1/chat/completions", { model: `m;${knobs}`, stream: true, ...hello }, { signal: left.signal })
      .then((response) => response.text());
    await pause(100);
    left.abort();
    await assert.rejects(reading);
    await pause(50);
    assert.deepEqual([at.sandbox.requests[0].aborted, at.sandbox.requests[0].finished], [true, false], knobs);
  }
});

test("run directly it prints its address and stops on SIGTERM", async () => {
  const child = spawn(
    process.execPath,
    [new URL("../../sandbox/server.mjs", import.meta.url).pathname, "--port", "0"],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const [line] = await once(child.stdout, "data");
  const url = /^sandbox provider on (http:\/\/127\.0\.0\.1:\d+)\n$/.exec(line)[1];
  assert.equal((await fetch(`${url}/health`)).status, 200);
  child.kill("SIGTERM");
  assert.deepEqual(await once(child, "exit"), [0, null]);
});
