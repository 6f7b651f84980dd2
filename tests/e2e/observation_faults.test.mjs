// Owns: observers that fail, are slow or die with workerd, and what the record, the log and the ledger tell of their work.
// Invariant: no fault of an observer costs the user an answer or a message its place, and no note comes twice.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { echo, newThread, until } from "./conversation.mjs";
import { sandboxVars, startGateway } from "./gateway.mjs";
import {
  askedTwice,
  DEADLINE_MS,
  filler,
  gateway,
  goOn,
  goOnUntilNoted,
  isWorking,
  lastPrompt,
  model,
  newMark,
  observations,
  OBSERVE_TOKENS,
  record,
  rest,
  sandbox,
  startObservation,
  stopObservation,
  TAKEN_UP_AGAIN_MS,
  times,
  turn,
} from "./observed.mjs";

before(startObservation);
after(stopObservation);

// ——— The observer's ways to fail

for (const [what, knobs] of Object.entries({
  fails: "status=500",
  "is overloaded": "status=529",
  "refuses the request": "status=400",
  "says nothing": "empty",
  "is cut short": "truncated",
  "does not come to its end": "unfinished",
  "is stopped by a filter": "filtered",
  "writes prose": "malformed=50",
  "runs in circles": "degenerate",
  "sends nonsense": "garbage",
  "sends a page": "html",
})) {
  test(`an observer that ${what} costs the user nothing and no message its place`, async () => {
    const thread = newThread(),
      mark = newMark();
    model.spoil(mark, knobs);
    const first = `My name is Alex. I keep ${mark}.`;
    await turn(thread, first);
    await goOn(thread, mark, 5);
    await until(() => model.about(mark).length > 0, "the observer is asked");
    await goOn(thread, mark, 3, {}, 6);
    const { text } = await turn(thread, "What is my name?");
    assert.equal(text, "Alex");
    const { said, told } = lastPrompt();
    assert.deepEqual(told, []);
    assert.deepEqual(said, [
      first,
      "Got it.",
      ...Array.from({ length: 8 }, (_, n) => filler(mark, n + 1)).flatMap((one) => [one, echo(one).content]),
      "What is my name?",
    ]);
    assert.equal(await observations(thread), null);
  });
}

test("an observer that failed is asked again, and then notes come once", async () => {
  const thread = newThread(),
    mark = newMark();
  model.spoil(mark, "truncated", 1);
  const first = `My name is Alex. I keep ${mark}.`;
  await turn(thread, first);
  await goOn(thread, mark, 4);
  await askedTwice(first);
  // The notes of later messages may be ready before, and do not leave the prompt before these.
  await rest(thread);
  await goOnUntilNoted(thread, mark, first, {}, 5);
  const [one, two] = model.about(first).map(({ text }) => text.slice(text.indexOf("<transcript>")));
  assert.equal(one, two);
  assert.equal(model.about(first).length, 2);
  assert.equal(times(await observations(thread), "The user's name is Alex."), 1);
});

test("while an observer takes its time, turns are answered and messages stay", async () => {
  const thread = newThread(),
    mark = newMark();
  const release = model.hold(mark);
  const first = `My name is Alex. I keep ${mark}.`;
  await turn(thread, first);
  await goOn(thread, mark, 8);
  await until(() => model.about(mark).length > 0, "the observer is asked");
  assert.ok((await record(thread)).isObserving);
  assert.equal((await turn(thread, "What is my name?")).text, "Alex");
  assert.ok(lastPrompt().said.includes(first));
  assert.equal(model.about(mark).length, 1);
  // It is not waited for without end.
  await until(() => model.about(mark)[0].left, "the observer is given up", 2 * DEADLINE_MS);
  assert.equal((await record(thread))?.bufferedNotes ?? 0, 0);
  release();
  // Notes come into use in the order of the conversation, and what timed out is asked again after a moment.
  await until(
    () => model.about(mark).some((asked) => asked.answered && asked.text.includes(first)),
    "it is asked again",
  );
  await goOnUntilNoted(thread, mark, first, {}, 9);
});

test("a sudden end of workerd before the model's answer, or with it on its way, leaves each note once", async () => {
  const marks = [newMark(), newMark()];
  const threads = marks.map(newThread);
  const first = (mark) => `My name is Alex. I keep ${mark}.`;
  const release = marks.map((mark) => model.hold(mark));
  for (const [n, thread] of threads.entries()) {
    await turn(thread, first(marks[n]));
    await goOn(thread, marks[n], 4);
    await until(() => model.about(marks[n]).length > 0, "the observer is asked");
  }
  release[0]();
  await gateway.restart();
  release[1]();
  for (const [n, thread] of threads.entries()) {
    const mark = marks[n];
    await until(async () => (await record(thread)).bufferedNotes > 0, "notes are ready", TAKEN_UP_AGAIN_MS);
    await goOn(thread, mark, 4, {}, 5);
    await until(async () => {
      await turn(thread, filler(mark, 9));
      return !lastPrompt().said.includes(first(mark));
    }, "notes are in use");
    const notes = await observations(thread);
    assert.equal(times(notes, "The user's name is Alex."), 1, notes);
    for (const text of [1, 2].map((turn) => filler(mark, turn)))
      assert.equal(times(notes, `The user said: ${text}`), 1, notes);
  }
});

// ——— What is told of its work

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
