// Owns: `npm start` as a user has it, from the command to the end of its last process.
// Invariant: each test uses ports and keys of its own, and removes the state it made.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { root, stateOf } from "../../scripts/paths.mjs";
import { freePort, isFree } from "../../scripts/ports.mjs";

const started = [];
after(async () => {
  await Promise.all(started.map((instance) => instance.stop()));
  for (const { port } of started) rmSync(stateOf(port), { recursive: true, force: true });
});

/** Runs scripts/start.mjs until it has printed all it has to say. */
async function npmStart(environment) {
  const since = performance.now();
  const { OPENAI_API_KEY, ANTHROPIC_API_KEY, GOOGLE_API_KEY, OPENROUTER_API_KEY, PROVIDERS, ...clean } =
    process.env;
  const child = spawn(process.execPath, [join(root, "scripts", "start.mjs")], {
    cwd: root,
    env: { ...clean, ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let text = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (more) => (text += more));
  let code;
  const exited = new Promise((resolve) => child.on("close", (value) => resolve((code = value))));
  const instance = {
    port: Number(environment.PORT),
    url: `http://127.0.0.1:${environment.PORT}`,
    text: () => text,
    exited,
    stop(signal = "SIGTERM") {
      if (code === undefined) child.kill(signal);
      return exited;
    },
  };
  started.push(instance);
  while (!text.includes("Ctrl-C stops it.") && code === undefined && performance.now() - since < 120_000)
    await sleep(50);
  return { ...instance, took: performance.now() - since, ready: text.includes("Ctrl-C stops it.") };
}

async function ports(GATEWAY_KEY) {
  const [PORT, SANDBOX_PORT] = [String(await freePort()), String(await freePort())];
  return { PORT, SANDBOX_PORT, GATEWAY_KEY };
}

function ask(url, key, text, thread) {
  return fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${key}`,
      "content-type": "application/json",
      "x-thread-id": thread,
      "x-resource-id": "ann",
    },
    body: JSON.stringify({ model: "google/gemini-2.5-flash", messages: [{ role: "user", content: text }] }),
  });
}

async function answerTo(...question) {
  const response = await ask(...question);
  const body = await response.text();
  assert.equal(response.status, 200, body);
  return JSON.parse(body).choices[0].message.content;
}

async function runsAnywhere(text) {
  const { stdout } = await promisify(execFile)("ps", ["-A", "-o", "args="]);
  return stdout.split("\n").filter((line) => line.includes(text));
}

test("npm start answers, its curl line works, and a second start is quick and remembers", async () => {
  const environment = await ports("msk_start_one");
  const first = await npmStart(environment);
  assert.ok(first.ready, first.text());
  const health = await (await fetch(`${first.url}/health`)).json();
  assert.equal(health.status, "ok");
  assert.match(first.text(), /SANDBOX/);

  const curl = first
    .text()
    .split("\n")
    .map((line) => line.trim())
    .find((line) => line.startsWith("curl "));
  const { stdout } = await promisify(execFile)("sh", ["-c", curl]);
  assert.match(JSON.parse(stdout).choices[0].message.content, /4/);

  // The gateway on this port is the administrator's by itself: its token was made with it.
  const { stdout: projects } = await promisify(execFile)(
    process.execPath,
    [join(root, "scripts", "admin.mjs"), "projects"],
    { env: { PATH: process.env.PATH, PORT: environment.PORT } },
  );
  assert.match(projects, /^default /m);

  await answerTo(first.url, "msk_start_one", "My name is Grace.", "t1");
  assert.equal(await first.stop(), 0, first.text());

  const second = await npmStart(environment);
  assert.ok(second.ready, second.text());
  assert.ok(second.took < 20_000, `the second start took ${second.took} ms`);
  assert.match(second.text(), /nothing to do/);
  assert.match(await answerTo(second.url, "msk_start_one", "What is my name?", "t1"), /Grace/);
  assert.equal(await second.stop("SIGINT"), 0, second.text());
});

test("two instances run side by side from one checkout and share no storage", async () => {
  const one = await ports("msk_side_one");
  const two = await ports("msk_side_two");
  const [left, right] = await Promise.all([npmStart(one), npmStart(two)]);
  assert.ok(left.ready, left.text());
  assert.ok(right.ready, right.text());
  await answerTo(left.url, "msk_side_one", "My name is Grace.", "t1");
  await answerTo(right.url, "msk_side_two", "Hello.", "t1");
  assert.equal((await ask(right.url, "msk_side_one", "What is my name?", "t1")).status, 401);
  assert.equal((await ask(left.url, "msk_side_two", "What is my name?", "t1")).status, 401);
  assert.deepEqual(await Promise.all([left.stop(), right.stop()]), [0, 0]);
});

for (const [signal, what] of [
  ["SIGTERM", "SIGTERM"],
  ["SIGKILL", "sudden death of npm start"],
]) {
  test(`${what} leaves no process and no port behind`, async () => {
    const environment = await ports("msk_signal");
    const instance = await npmStart(environment);
    assert.ok(instance.ready, instance.text());
    assert.notDeepEqual(await runsAnywhere(stateOf(instance.port)), []);
    await instance.stop(signal);
    // After a SIGKILL the leashes notice by themselves, a moment later.
    for (let tries = 0; tries < 100 && (await runsAnywhere(stateOf(instance.port))).length > 0; tries += 1)
      await sleep(100);
    assert.deepEqual(await runsAnywhere(stateOf(instance.port)), []);
    assert.deepEqual(await runsAnywhere(`server.mjs --port ${environment.SANDBOX_PORT}`), []);
    for (const port of [environment.PORT, environment.SANDBOX_PORT])
      assert.ok(await isFree(Number(port)), `${port} is in use`);
  });
}

test("a port in use and a key of the wrong form are said clearly, at once", async () => {
  const environment = await ports("msk_busy_port");
  const { createServer } = await import("node:http");
  const server = createServer();
  await new Promise((resolve) => server.listen(Number(environment.PORT), "127.0.0.1", resolve));
  const busy = await npmStart(environment);
  assert.equal(await busy.exited, 1);
  assert.match(busy.text(), new RegExp(`port ${environment.PORT} is in use`));
  server.close();

  const wrong = await npmStart({ ...environment, GATEWAY_KEY: "sk-not-ours" });
  assert.equal(await wrong.exited, 1);
  assert.match(wrong.text(), /GATEWAY_KEY must be msk_/);
});
