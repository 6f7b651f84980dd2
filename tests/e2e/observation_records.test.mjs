// Owns: what is kept and told of observation: deletion, reflection, the record, the log, the ledger and the search.
// Invariant: what is noted is known by a mark that no other test's texts have.
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { chat, messagesOf, newThread, until } from "./conversation.mjs";
import { sandboxVars, startGateway } from "./gateway.mjs";
import {
  askedTwice,
  filler,
  gateway,
  goOn,
  goOnUntilNoted,
  isWorking,
  lastPrompt,
  memory,
  model,
  newMark,
  observations,
  OBSERVE_TOKENS,
  record,
  rest,
  sandbox,
  startObservedGateway,
  times,
  turn,
} from "./observation.mjs";

startObservedGateway();

// ——— Deletion

test("a thread that is deleted while an observer is at work stays deleted", async () => {
  const thread = newThread(),
    mark = newMark();
  const release = model.hold(mark);
  await turn(thread, `My name is Alex. I keep ${mark}.`);
  await goOn(thread, mark, 5);
  await until(() => model.about(mark).length > 0, "the observer is asked");
  const deleted = await memory(thread, "", { method: "DELETE" });
  const { id, scope, counts } = deleted.receipt;
  assert.deepEqual([deleted.status, deleted.ok, id, scope], [200, true, thread, "thread"]);
  assert.equal(counts.messages, 12);
  release();
  await until(
    () => model.about(mark).every(({ answered, left }) => answered || left),
    "the observer is done",
  );
  for (const rest of ["/messages", "/observations", "/observations/record"])
    assert.equal((await memory(thread, rest)).status, 404, rest);
  assert.equal((await turn(thread, "What is my name?")).text, "I don't know your name.");
  assert.deepEqual(lastPrompt(), { told: [], said: ["What is my name?"] });
  assert.equal(await observations(thread), null);
  assert.equal((await messagesOf(gateway, thread)).total, 2);
});

test("of a deleted thread nothing is left in storage, its notes included", async () => {
  const thread = newThread(),
    mark = newMark();
  const first = `My name is Alex. I keep ${mark}.`;
  await turn(thread, first);
  await goOnUntilNoted(thread, mark, first);
  await until(async () => (await filesWith(mark)).length > 0, "the thread is in storage");
  assert.equal((await memory(thread, "", { method: "DELETE" })).status, 200);
  await gateway.restart();
  assert.equal((await memory(thread, "/messages")).status, 404);
  assert.deepEqual(await filesWith(mark), []);
});

/** The files of the gateway's objects and databases that hold a text. */
async function filesWith(text) {
  const entries = await readdir(gateway.state, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const found = await Promise.all(files.map(async (file) => (await readFile(file)).includes(text) && file));
  return found.filter(Boolean);
}

// ——— Reflection

test("a long log is written anew with the newest of what changed, and the fact is still known", async () => {
  const reflecting = await startGateway({
    vars: {
      ...sandboxVars(sandbox),
      GOOGLE_BASE_URL: model.url,
      MEMORY_OBSERVE_TOKENS: String(OBSERVE_TOKENS),
      MEMORY_REFLECT_TOKENS: "120",
      MEMORY_SWAP_TOKENS: "160",
    },
  });
  try {
    const thread = newThread(),
      mark = newMark();
    // Long answers that nothing is noted of bring the conversation on; the same request is noted once.
    const say = (n) =>
      chat(reflecting, thread, `My ${mark} budget is ${n} euros. Reply with exactly 100 words.`);
    const log = async () => (await observations(thread, { at: reflecting, key: reflecting.key })) ?? "";
    const merged = /budget is (\d+) euros\. Before, it was (\d+ euros(?:; \d+ euros)+)\./;
    let n = 0;
    await until(
      async () => {
        await say(++n);
        return merged.test(await log());
      },
      "the log is written anew",
      30_000,
    );
    const [, newest, replaced] = merged.exec(await log());
    const expected = Array.from(
      { length: Number(newest) - 1 },
      (_, at) => `${Number(newest) - 1 - at} euros`,
    );
    assert.deepEqual(replaced.split("; "), expected);
    assert.equal(times(await log(), `${mark} budget is 1 euros.`), 0);
    const { text } = await chat(reflecting, thread, `What is my ${mark} budget?`);
    assert.equal(text, `${n} euros`);
  } finally {
    await reflecting.stop();
  }
});

// ——— The memory API

test("the record tells of work only while there is some, and of what was noted", async () => {
  const thread = newThread(),
    mark = newMark();
  const release = model.hold(mark);
  const first = `My name is Alex. I keep ${mark}.`;
  await turn(thread, first);
  assert.ok(!isWorking(await record(thread)));
  await goOn(thread, mark, 4);
  await until(() => model.about(mark).length > 0, "the observer is asked");
  const during = await record(thread);
  assert.notEqual(during.isObserving, during.isBufferingObservation);
  assert.deepEqual([during.isReflecting, during.isBufferingReflection], [false, false]);
  assert.equal(during.activeObservations, null);
  assert.ok(during.pendingMessageTokens > 0);
  release();
  await rest(thread);
  await goOnUntilNoted(thread, mark, first);
  await rest(thread);
  const after = await record(thread);
  assert.equal(after.isBufferingObservation, false);
  assert.deepEqual(
    [after.scope, after.threadId, after.resourceId, after.isObserving, after.isReflecting],
    ["thread", thread, "ann", false, false],
  );
  assert.ok(after.observationTokenCount > 0 && after.totalTokensObserved > 0);
  assert.ok(!Number.isNaN(Date.parse(after.lastObservedAt)));
  assert.equal(after.activeObservations, await observations(thread));
});

test("each cycle is told in the log with its thread, cost and outcome, and without a word of the conversation", async () => {
  const thread = newThread(),
    mark = newMark();
  model.spoil(mark, "status=503", 1);
  const first = `My name is Alex. I keep ${mark}.`;
  await turn(thread, first);
  await goOn(thread, mark, 2);
  await askedTwice(first);
  const cycles = () =>
    [...gateway.logs().matchAll(/\{"event":"memory_cycle".*\}/g)]
      .map(([line]) => JSON.parse(line))
      .filter((event) => event.thread === thread);
  await until(() => cycles().some(({ outcome }) => outcome === "ready"), "the cycle is in the log");
  const [failed, ready] = cycles();
  assert.deepEqual(
    [failed, ready].map(({ operation, project, provider, model, outcome }) => ({
      operation,
      project,
      provider,
      model,
      outcome,
    })),
    ["retry", "ready"].map((outcome) => ({
      operation: "observe",
      project: "default",
      provider: "google",
      model: "gemini-2.5-flash",
      outcome,
    })),
  );
  assert.match(failed.detail, /503/);
  assert.equal(ready.segment, failed.segment);
  assert.notEqual(ready.cycle, failed.cycle);
  assert.ok(ready.tokens_in > 0 && ready.tokens_out > 0 && ready.took_ms >= 0);
  assert.deepEqual([ready.seq_from, ready.seq_to], [failed.seq_from, failed.seq_to]);
  assert.ok(!gateway.logs().includes(mark));
});

test("what memory asks of models is in the ledger, call by call, apart from what users ask", async () => {
  const thread = newThread(),
    mark = newMark();
  model.spoil(mark, "status=503", 1);
  await turn(thread, `My name is Alex. I keep ${mark}.`);
  await goOn(thread, mark, 2);
  const told = () =>
    [...gateway.logs().matchAll(/\{"event":"memory_cycle".*\}/g)]
      .map(([line]) => JSON.parse(line))
      .filter((event) => event.thread === thread);
  await until(() => told().some(({ outcome }) => outcome === "ready"), "notes are ready");
  const rows = () =>
    gateway.d1(
      `SELECT request_id, operation, outcome, provider, model, status_code, prompt_tokens, completion_tokens, key_id
       FROM ledger WHERE kind = 'memory' AND thread_id = '${thread}' ORDER BY started_at`,
    );
  await until(async () => (await rows()).length === told().length, "each call has its row");
  assert.deepEqual(
    await rows(),
    told().map(({ cycle, outcome, tokens_in, tokens_out, status }) => ({
      request_id: cycle,
      operation: "observe",
      outcome: outcome === "ready" ? "complete" : "failed",
      provider: "google",
      model: "gemini-2.5-flash",
      status_code: status,
      prompt_tokens: tokens_in,
      completion_tokens: tokens_out,
      key_id: "",
    })),
  );
});

test("memory that has spent its budget asks nobody, and every turn is answered", async () => {
  const poor = await startGateway({
    vars: {
      ...sandboxVars(sandbox),
      GOOGLE_BASE_URL: model.url,
      MEMORY_OBSERVE_TOKENS: String(OBSERVE_TOKENS),
      MEMORY_BUDGET: '{"tokens":1,"period":"day"}',
    },
  });
  try {
    const thread = newThread(),
      mark = newMark();
    for (const text of [`My name is Alex. I keep ${mark}.`, filler(mark, 1), filler(mark, 2)])
      await turn(thread, text, { at: poor });
    const refused = () => /"event":"memory_cycle".*budget/.test(poor.logs());
    await until(refused, "the log says why nobody was asked");
    assert.equal(model.about(mark).length, 0);
  } finally {
    await poor.stop();
  }
});

test("what was said in a thread is found by its words, in messages and in notes", async () => {
  const thread = newThread();
  const mark = newMark();
  await turn(thread, `My name is Alex. I keep ${mark}.`);
  await goOnUntilNoted(thread, mark, `My name is Alex. I keep ${mark}.`);
  const look = async (query, key = gateway.key) => {
    const url = `${gateway.baseURL}/memory/search?threadId=${encodeURIComponent(thread)}&q=${encodeURIComponent(query)}`;
    const answer = await fetch(url, { headers: { authorization: `Bearer ${key}` } });
    return { status: answer.status, ...(await answer.json()) };
  };
  const found = await look(`who keeps ${mark}?`);
  assert.equal(found.status, 200);
  assert.equal(found.complete, true);
  assert.deepEqual(
    new Set(found.results.filter((hit) => !hit.isBeside).map((hit) => hit.type)),
    new Set(["message", "note"]),
  );
  assert.ok(found.results[0].snippet.includes(mark), JSON.stringify(found.results[0]));
  assert.deepEqual((await look("zeppelin")).results, []);
  assert.equal((await look(mark, gateway.otherKey)).status, 404);
});

test("observations of another project's or an unknown thread are not found", async () => {
  const thread = newThread();
  await turn(thread, "Hello.");
  for (const rest of ["/observations", "/observations/record"]) {
    assert.equal((await memory(thread, rest, { key: gateway.otherKey })).status, 404);
    assert.equal((await memory(newThread(), rest)).status, 404);
  }
});
