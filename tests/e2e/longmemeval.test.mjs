// Owns the tests of the LongMemEval runner: end to end against a gateway with the sandbox behind it, and a judge that
// decides by a rule.
// Invariant: the runner is started as a user starts it, as a process with flags and an environment.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { judgement, verdictOf } from "../../bench/longmemeval/judge.mjs";
import { cost, scores, wilson } from "../../bench/longmemeval/score.mjs";
import { root } from "../../scripts/paths.mjs";
import { sandboxVars, startGateway, startSandbox } from "./gateway.mjs";

const TINY = join(root, "tests/fixtures/longmemeval/tiny.json");
const MODEL = "openai/gpt-5.4-mini";
const JUDGE = "judges/strict";
const folder = mkdtempSync(join(tmpdir(), "memory-gateway-longmemeval-"));

let sandbox, gateway, judge;

before(async () => {
  sandbox = await startSandbox();
  gateway = await startGateway({ vars: sandboxVars(sandbox) });
  judge = await startJudge();
});

after(async () => {
  await gateway?.stop();
  await sandbox?.close();
  await judge?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A server of the given handler of JSON, and the requests it got. */
async function startServer(answer) {
  const requests = [];
  const server = createServer(async (req, res) => {
    let text = "";
    for await (const chunk of req) text += chunk;
    const request = {
      method: req.method,
      path: req.url,
      headers: req.headers,
      body: text ? JSON.parse(text) : null,
    };
    // Other tests knock at every port of this machine, in search of their own gateway.
    if (req.method !== "POST" && !req.url.includes("longmemeval")) return void res.writeHead(404).end("{}");
    requests.push(request);
    const { status = 200, json, headers = {} } = answer(request, requests.length);
    res.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(json));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    requests,
    close: () => new Promise((resolve) => server.close(resolve).closeAllConnections()),
  };
}

const completion = (content, prompt = 100, tokens = 1) => ({
  json: {
    choices: [{ index: 0, message: { role: "assistant", content }, finish_reason: "stop" }],
    usage: { prompt_tokens: prompt, completion_tokens: tokens, total_tokens: prompt + tokens },
  },
});

/** Says yes where the response holds the correct answer, one of the wanted words, or owns to not knowing. */
function startJudge() {
  return startServer(({ body }) => {
    const asked = body.messages[0].content;
    const section = (label) => new RegExp(`\n${label}:\n([^]*?)\n\n`).exec(asked)?.[1];
    const response = section("Response");
    const right =
      section("Correct answer") !== undefined
        ? response.includes(section("Correct answer"))
        : section("Why it cannot be answered") !== undefined
          ? response.includes("I don't know")
          : response.includes("window seats");
    return completion(right ? "Yes." : "no");
  });
}

/** Runs the benchmark; gives its exit code and what it wrote. */
function run(args, env = {}) {
  const child = spawn(process.execPath, [join(root, "bench/longmemeval/run.mjs"), ...args], {
    cwd: folder,
    env: { ...process.env, NO_COLOR: "1", GATEWAY_KEY: gateway.key, JUDGE_KEY: "judge-key", ...env },
  });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (text += chunk));
  return new Promise((resolve) => child.on("close", (code) => resolve({ code, text })));
}

const flags = (out, more = {}) =>
  Object.entries({
    data: TINY,
    model: MODEL,
    judge: JUDGE,
    gateway: gateway.url,
    "judge-url": judge.url,
    out: join(folder, out),
    settle: "0.1",
    retries: "1",
    ...more,
  }).flatMap(([name, value]) => (value === null ? [] : [`--${name}`, value]));

const askedOfModels = () => sandbox.requests.filter(({ method }) => method === "POST").length;

const linesOf = (out) =>
  readFileSync(join(folder, out), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));

const stored = async (thread) => {
  const response = await fetch(
    `${gateway.baseURL}/memory/threads/${encodeURIComponent(thread)}/messages?limit=200`,
    { headers: { authorization: `Bearer ${gateway.key}` } },
  );
  return (await response.json()).messages.map(({ role, content }) => [
    role,
    content.map(({ text }) => text).join(""),
  ]);
};

const closing = (date, id) => ["user", `[${date}] Session ${id} ends here. Reply with exactly: OK`];

test("a file of questions is remembered, asked and judged, and the figures are those of the answers", async () => {
  const json = join(folder, "summary.json");
  const { code, text } = await run([
    ...flags("whole.jsonl", { concurrency: "2", json }),
    ...["--price", `${MODEL}=1/10/0.1`, "--price", `${JUDGE}=2/4`],
  ]);
  assert.equal(code, 0, text);
  const lines = linesOf("whole.jsonl");
  const responses = Object.fromEntries(
    lines.filter(({ event }) => event === "answered").map(({ id, response }) => [id, response]),
  );
  const verdicts = Object.fromEntries(
    lines.filter(({ event }) => event === "judged").map(({ id, correct }) => [id, correct]),
  );
  assert.deepEqual(
    [responses.tiny_user, responses.tiny_update, responses.tiny_preference, responses.tiny_user_abs],
    ["Biscuit", "rooibos", "window seats on trains", "I don't know your cat's name."],
  );
  assert.deepEqual(verdicts, {
    tiny_user: true,
    tiny_update: true,
    tiny_preference: true,
    tiny_temporal: false,
    tiny_user_abs: true,
  });

  const summary = JSON.parse(readFileSync(json, "utf8"));
  const figures = ({ right, all }) => [right, all];
  assert.deepEqual(figures(summary.micro), [4, 5]);
  assert.equal(summary.macro, (1 + 1 + 1 + 0) / 4);
  assert.deepEqual(
    Object.fromEntries(Object.entries(summary.byType).map(([type, of]) => [type, figures(of)])),
    {
      "knowledge-update": [1, 1],
      "single-session-preference": [1, 1],
      "single-session-user": [2, 2],
      "temporal-reasoning": [0, 1],
    },
  );
  assert.deepEqual(figures(summary.abstention), [1, 1]);
  assert.deepEqual(summary.settings, {
    data: "tiny.json",
    model: MODEL,
    judge: JUDGE,
    history: "memory",
    ingest: "turns",
  });
  const spent = Object.fromEntries(summary.spent.map((sum) => [sum.purpose, sum]));
  // Eight sessions, five questions, five judgements.
  assert.deepEqual([spent.ingest.calls, spent.answer.calls, spent.judge.calls], [8, 5, 5]);
  assert.deepEqual([spent.judge.prompt, spent.judge.completion], [500, 5]);
  assert.equal(spent.judge.usd, (500 * 2 + 5 * 4) / 1e6);
  assert.ok(spent.answer.prompt > 0 && spent.ingest.prompt > 0);
  assert.ok(Math.abs(summary.usd - spent.ingest.usd - spent.answer.usd - spent.judge.usd) < 1e-12);
  assert.ok(summary.memory.tokensPerQuestion > 20);
  assert.equal(summary.memory.degraded, 0);
  assert.match(text, /all questions \(micro\) +4\/5 +80\.0 % +37\.6 % to 96\.4 %/);
  assert.match(text, /mean of types \(macro\) +75\.0 %/);
});

test("a question's sessions are stored in order of time with their dates, and the question is not", async () => {
  const { code, text } = await run(flags("stored.jsonl", { only: "tiny_user" }));
  assert.equal(code, 0, text);
  const { thread } = linesOf("stored.jsonl").find(({ event }) => event === "ingested");
  assert.deepEqual(await stored(thread), [
    ["user", "[2024/02/11 (Sun) 10:00]\nMy dog's name is Biscuit."],
    ["assistant", "A lovely name for a dog."],
    ["user", "I think so, too."],
    ["assistant", "Give Biscuit my best."],
    closing("2024/02/11 (Sun) 10:00", "answer_tiny_user_1"),
    ["assistant", "OK"],
    ["user", "[2024/02/20 (Tue) 09:15]\nWhat is 12 + 30?"],
    ["assistant", "42"],
    closing("2024/02/20 (Tue) 09:15", "tiny_user_2"),
    ["assistant", "OK"],
  ]);
});

test("a run that broke off goes on where it was, and asks nothing twice", async () => {
  const out = "resumed.jsonl";
  assert.equal((await run(flags(out, { limit: "2", concurrency: "1" }))).code, 0);
  // Killed while it wrote the line of the second verdict.
  const whole = readFileSync(join(folder, out), "utf8").trimEnd().split("\n");
  assert.deepEqual(
    whole.map((line) => JSON.parse(line).event),
    ["settings", "begun", "ingested", "answered", "judged", "begun", "ingested", "answered", "judged"],
  );
  writeFileSync(join(folder, out), `${whole.slice(0, -1).join("\n")}\n${whole.at(-1).slice(0, 20)}`);
  const asked = [askedOfModels(), judge.requests.length];
  const { code, text } = await run(flags(out, { limit: "2" }));
  assert.equal(code, 0, text);
  assert.deepEqual([askedOfModels() - asked[0], judge.requests.length - asked[1]], [0, 1]);
  const lines = linesOf(out);
  assert.deepEqual(lines.at(-1).event, "judged");
  assert.equal(lines.length, whole.length);
  assert.match(text, /all questions \(micro\) +2\/2/);

  // One that was broken off while its sessions went in begins in a new thread.
  appendFileSync(
    join(folder, out),
    `${JSON.stringify({ event: "begun", id: "tiny_preference", thread: "longmemeval/x/tiny_preference/1" })}\n`,
  );
  assert.equal((await run(flags(out, { only: "tiny_preference" }))).code, 0);
  const again = linesOf(out).find(({ event, id }) => event === "ingested" && id === "tiny_preference");
  assert.match(again.thread, /\/tiny_preference\/2$/);

  const other = await run(flags(out, { model: "openai/gpt-5" }));
  assert.equal(other.code, 1);
  assert.match(other.text, /was begun with model openai\/gpt-5\.4-mini, and this run has openai\/gpt-5\./);
  const report = await run(["--out", join(folder, out), "--report"]);
  assert.equal(report.code, 0, report.text);
  assert.match(report.text, /all questions \(micro\) +3\/3/);
});

test("the whole history, or none, can stand in the memory's place", async () => {
  for (const [history, right] of [
    ["full", "Biscuit"],
    ["none", "I don't know your dog's name."],
  ]) {
    const out = `${history}.jsonl`;
    const { code, text } = await run(flags(out, { history, only: "tiny_user" }));
    assert.equal(code, 0, text);
    const lines = linesOf(out);
    assert.deepEqual(
      lines.map(({ event }) => event),
      ["settings", "answered", "judged"],
    );
    assert.equal(lines[1].response, right);
    assert.equal(lines[1].memoryStatus, null);
  }
});

test("sessions go in by the memory API with their times, and the memory is waited for", async () => {
  let polls = 0;
  const recorder = await startServer(({ method, path }) => {
    if (path.endsWith("/chat/completions")) {
      return { ...completion("Biscuit"), headers: { "x-memory-status": "hit", "x-memory-tokens": "321" } };
    }
    if (method === "POST") return { status: 201, json: {} };
    polls += 1;
    const record = {
      isObserving: polls === 2,
      isReflecting: false,
      pendingMessageTokens: polls === 1 ? 30_000 : 10,
      config: { messageTokens: 30_000 },
    };
    return { json: { record } };
  });
  try {
    const out = "api.jsonl";
    const { code, text } = await run(
      flags(out, { gateway: recorder.url, ingest: "messages", only: "tiny_user", settle: "0.05" }),
    );
    assert.equal(code, 0, text);
    const { thread, rested } = linesOf(out).find(({ event }) => event === "ingested");
    assert.equal(rested, true);
    assert.ok(polls >= 4, `${polls} looks: due, busy, and at rest for a while`);
    const [create, messages, ...others] = recorder.requests;
    const of = ({ method, path, body }) => [method, path, body];
    assert.deepEqual(of(create), ["POST", "/v1/memory/threads", { id: thread, resourceId: thread }]);
    assert.deepEqual(of(messages), [
      "POST",
      `/v1/memory/threads/${encodeURIComponent(thread)}/messages`,
      {
        messages: [
          { role: "user", content: "My dog's name is Biscuit.", createdAt: "2024-02-11T10:00:00.000Z" },
          { role: "assistant", content: "A lovely name for a dog.", createdAt: "2024-02-11T10:00:01.000Z" },
          { role: "user", content: "I think so, too.", createdAt: "2024-02-11T10:00:02.000Z" },
          { role: "assistant", content: "Give Biscuit my best.", createdAt: "2024-02-11T10:00:03.000Z" },
          { role: "user", content: "What is 12 + 30?", createdAt: "2024-02-20T09:15:00.000Z" },
          { role: "assistant", content: "42", createdAt: "2024-02-20T09:15:01.000Z" },
        ],
      },
    ]);
    const question = others.at(-1);
    assert.deepEqual(question.body.messages, [
      { role: "user", content: "It is 2024/03/10 (Sun) 18:00 now.\n\nWhat is my dog's name?" },
    ]);
    assert.deepEqual(
      ["x-thread-id", "x-resource-id", "x-memory-mode"].map((name) => question.headers[name]),
      [thread, thread, "read"],
    );
    assert.match(text, /memory put before the model: 321 tokens a question/);
  } finally {
    await recorder.close();
  }
});

test("what fails for now is tried again, and what fails for good is named and does not stop the others", async () => {
  const flaky = await startServer(({ body }, n) => {
    if (n % 2 === 1)
      return { status: 503, json: { error: { message: "overloaded" } }, headers: { "retry-after": "0" } };
    if (body.messages[0].content.includes("cat")) return completion("Perhaps?");
    return completion("yes");
  });
  try {
    const { code, text } = await run(
      flags("flaky.jsonl", { "judge-url": flaky.url, type: "single-session-user", concurrency: "1" }),
    );
    assert.equal(code, 1);
    assert.match(
      text,
      /1 questions are not done; the same command tries them again:\n  tiny_user_abs: the judge said/,
    );
    assert.match(text, /all questions \(micro\) +1\/1/);
    const judged = linesOf("flaky.jsonl").filter(({ event }) => event === "unjudged");
    assert.deepEqual(
      judged.map(({ id, calls }) => [id, calls.length]),
      [["tiny_user_abs", 3]],
      "what was paid for is counted",
    );
  } finally {
    await flaky.close();
  }
});

test("mistakes of the user are told before anything is paid for", async () => {
  const data = (name, value) => {
    const path = join(folder, name);
    writeFileSync(path, typeof value === "string" ? value : JSON.stringify(value));
    return path;
  };
  const [question] = JSON.parse(readFileSync(TINY, "utf8"));
  const requests = askedOfModels();
  for (const [more, env, expected] of [
    [{ data: null }, {}, /--data is missing/],
    [{ data: join(folder, "nowhere.json") }, {}, /cannot read the data file .*nowhere\.json/],
    [{ data: data("empty.json", []) }, {}, /holds no questions/],
    [{ data: data("torn.json", '[{"question_id": "a"') }, {}, /ends in the middle of a question/],
    [{ data: data("broken.json", '[{"question_id": x}]') }, {}, /question 1 of .* is no JSON/],
    [
      { data: data("type.json", [{ ...question, question_type: "riddle" }]) },
      {},
      /question_type must be one of/,
    ],
    [
      { data: data("dates.json", [{ ...question, haystack_dates: [] }]) },
      {},
      /haystack_dates must be a list of texts/,
    ],
    [
      { data: data("turns.json", [{ ...question, haystack_sessions: [[{ role: "tool" }], []] }]) },
      {},
      /question 1 of .*, session 1, turn 1: a role/,
    ],
    [{ history: "some" }, {}, /--history some: one of memory, full, none/],
    [{ concurrency: "0" }, {}, /--concurrency 0: a whole number from 1/],
    [{ price: "cheap" }, {}, /--price cheap: MODEL=INPUT/],
    [{ only: "nobody" }, {}, /no question of the data file/],
    [{ out: "mistake.jsonl" }, { GATEWAY_KEY: "" }, /GATEWAY_KEY is not set/],
  ]) {
    const { code, text } = await run(flags("mistake.jsonl", more), env);
    assert.equal(code, 1, text);
    assert.match(text, expected);
    assert.doesNotMatch(text, /\n {4}at /, "no stack");
  }
  assert.equal(askedOfModels(), requests);
  assert.ok(!existsSync(join(folder, "mistake.jsonl")));
  const wrong = await run(flags("wrong-key.jsonl"), { GATEWAY_KEY: "msk_wrong_key_of_nobody" });
  assert.equal(wrong.code, 1);
  assert.match(wrong.text, /401/);
  assert.doesNotMatch(wrong.text, /msk_wrong_key_of_nobody/);
});

test("each type of question is judged by its own criteria", () => {
  const asked = (fields) => judgement({ question: "Q?", answer: "A.", ...fields }, "R.");
  const [user, temporal, update, preference, abstention] = [
    asked({ type: "single-session-user", abstention: false }),
    asked({ type: "temporal-reasoning", abstention: false }),
    asked({ type: "knowledge-update", abstention: false }),
    asked({ type: "single-session-preference", abstention: false }),
    asked({ type: "knowledge-update", abstention: true }),
  ];
  assert.match(user, /Correct answer:\nA\.\n\nResponse:\nR\./);
  assert.doesNotMatch(user, /off by one/);
  assert.match(temporal, /off by one/);
  assert.match(update, /updated answer/);
  assert.match(preference, /Description of the wanted response:\nA\./);
  assert.match(abstention, /Why it cannot be answered:\nA\./);
  assert.deepEqual(
    ["yes", "Yes.", "**no**", "No, it does not.", "maybe yes", "", "yesterday"].map(verdictOf),
    [true, true, false, false, null, null, null],
  );
});

test("figures are right at their edges", () => {
  const rounded = (interval) => interval.map((share) => Number(share.toFixed(4)));
  assert.deepEqual(rounded(wilson(0, 0)), [0, 1]);
  assert.deepEqual(rounded(wilson(0, 10)), [0, 0.2775]);
  assert.deepEqual(rounded(wilson(10, 10)), [0.7225, 1]);
  assert.deepEqual(rounded(wilson(50, 100)), [0.4038, 0.5962]);
  const none = scores([]);
  assert.deepEqual([none.micro.share, none.macro, none.abstention.all], [null, null, 0]);
  assert.equal(
    cost({ prompt: 1e6, completion: 0, cached: 5e5 }, { input: 2, output: 8, cachedInput: 0.5 }),
    1.25,
  );
  assert.equal(cost({ prompt: 1e6, completion: 1e6, cached: 5e5 }, { input: 2, output: 8 }), 10);
  assert.equal(cost({ prompt: 1, completion: 1, cached: 0 }, undefined), null);
});
