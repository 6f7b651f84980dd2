// Owns: observation end to end: messages become notes by a model that is asked in the background, and leave the prompt.
// Invariant: what is noted is known by a mark that no other test's texts have.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { chat, echo, messagesOf, newThread, stored, until, user } from "./conversation.mjs";
import {
  askedTwice,
  block,
  configure,
  DEADLINE_MS,
  DIALECTS,
  filler,
  gateway,
  goOn,
  goOnUntilNoted,
  isWorking,
  lastPrompt,
  model,
  MOST_TURNS,
  newestRequest,
  newMark,
  observations,
  ready,
  record,
  rest,
  startObservedGateway,
  TAKEN_UP_AGAIN_MS,
  times,
  timesShown,
  turn,
} from "./observation.mjs";

startObservedGateway();

// ——— From a message to a note, and back into an answer

for (const dialect of Object.keys(DIALECTS)) {
  for (const stream of [false, true]) {
    test(`${dialect}, ${stream ? "streamed" : "whole"}: notes take the place of messages, and the fact is still known`, async () => {
      const thread = newThread(),
        mark = newMark(),
        options = { dialect, stream };
      const first = `My name is Alex. I keep ${mark}.`;
      const begun = await turn(thread, first, options);
      assert.equal(begun.headers.get("x-memory-status"), "empty");
      const turns = await goOnUntilNoted(thread, mark, first, options);

      const { text, headers } = await turn(thread, "What is my name?", options);
      assert.equal(text, "Alex");
      assert.equal(headers.get("x-memory-status"), "hit");
      const { said } = lastPrompt();
      assert.ok(!said.includes(first));
      assert.equal(said.at(-1), "What is my name?");
      const notes = block("notes");
      assert.equal(times(notes, "The user's name is Alex."), 1, notes);
      assert.equal(times(notes, `The user said: I keep ${mark}.`), 1, notes);
      assert.match(notes, /^- \d{2}:\d{2} The user's name is Alex\.$/m);
      assert.match(block("now"), /\d{4}-\d{2}-\d{2}/);
      assert.ok(Number(headers.get("x-memory-tokens")) > 0);

      // Each message was shown once, and all of them are still stored.
      assert.equal(timesShown(mark, first), 1);
      const { total, messages } = await messagesOf(gateway, thread);
      assert.equal(total, 2 * (turns + 2));
      assert.equal(messages[0].content[0].text, first);
      assert.match(await observations(thread), /The user's name is Alex\./);
    });
  }
}

test("a small thread is never shown to an observer", async () => {
  const thread = newThread(),
    mark = newMark();
  await turn(thread, `My name is Alex. I keep ${mark}.`);
  await turn(thread, "Thanks!");
  assert.equal(await observations(thread), null);
  assert.ok(!isWorking(await record(thread)));
  assert.deepEqual(model.about(mark), []);
});

test("a client that sends its whole history is shown notes in place of what they cover, and nothing twice", async () => {
  const thread = newThread(),
    mark = newMark();
  const first = `My name is Alex. I keep ${mark}.`;
  const history = [];
  const say = async (text) => {
    history.push(user(text));
    const { message } = await chat(gateway, thread, history);
    history.push({ role: "assistant", content: message.content });
    return message.content;
  };
  await say(first);
  let turns = 0;
  do {
    assert.ok(++turns <= MOST_TURNS, "the first message is still in the prompt");
    await say(filler(mark, turns));
    await ready(thread, turns);
  } while (lastPrompt().said.includes(first));
  assert.equal(await say("What is my name?"), "Alex");
  const { said } = lastPrompt();
  assert.equal(new Set(said).size, said.length);
  assert.equal(timesShown(mark, first), 1);
  assert.deepEqual(await stored(gateway, thread), history);
});

test("when a fact was told, and the day that another is about, are answered from the dates of notes", async () => {
  const thread = newThread(),
    mark = newMark();
  const day = (plus) => new Date(Date.now() + plus * 86_400_000).toISOString().slice(0, 10);
  const first = `My name is Alex. I fly to Lisbon tomorrow with ${mark}.`;
  // A test that runs over midnight may see either day.
  const said = [day(0)];
  await turn(thread, first);
  said.push(day(0));
  await goOnUntilNoted(thread, mark, first);
  const told = await turn(thread, "When did I tell you my name?");
  assert.match(told.text, /^\d{4}-\d{2}-\d{2} \d{2}:\d{2}$/);
  assert.ok(said.includes(told.text.slice(0, 10)), told.text);
  const flies = await turn(thread, `When do I fly to Lisbon with ${mark}?`);
  const tomorrow = said.map((one) => new Date(Date.parse(one) + 86_400_000).toISOString().slice(0, 10));
  assert.ok(tomorrow.includes(flies.text), flies.text);
});

test("work with tools is noted in groups, and no call is shown without its result", async () => {
  const thread = newThread(),
    mark = newMark();
  const tool = {
    type: "function",
    function: {
      name: "helloWorld",
      description: "Greets.",
      parameters: { type: "object", properties: { name: { type: "string" } }, required: ["name"] },
    },
  };
  // The sandbox refuses a prompt in which a call and its result do not stand together.
  const greet = async (n) => {
    const request = user(`Use the helloWorld tool to greet Alice. This is ${mark} number ${n}.`);
    const asked = await chat(gateway, thread, [request], { tools: [tool] });
    const [call] = asked.message.tool_calls;
    const result = { role: "tool", tool_call_id: call.id, content: `Greeting ${n} of ${mark} was sent.` };
    const { text } = await chat(gateway, thread, [result], { tools: [tool] });
    assert.equal(text, result.content);
  };
  const noted = () => block("notes") ?? "";
  let n = 0;
  await until(async () => {
    await greet(++n);
    return /helloWorld gave/.test(noted());
  }, "a greeting is noted");
  assert.match(
    noted(),
    new RegExp(`^- \\d{2}:\\d{2} \\(from a tool\\) helloWorld gave: Greeting 1 of ${mark} was sent\\.$`, "m"),
  );
  const shown = newestRequest().body.messages;
  assert.ok(!JSON.stringify(shown.filter(({ role }) => role !== "system")).includes(`Greeting 1 of`));
});

test("secrets reach neither the observer nor the notes", async () => {
  const thread = newThread(),
    mark = newMark();
  const secret = `sk-proj-${randomUUID().replaceAll("-", "")}${randomUUID().replaceAll("-", "")}`;
  const first = `My name is Alex. Use ${secret} for ${mark}.`;
  await turn(thread, first);
  await goOnUntilNoted(thread, mark, first);
  assert.ok(model.about(mark).length > 0);
  for (const { text } of model.about(mark)) assert.ok(!text.includes(secret));
  const notes = await observations(thread);
  assert.match(notes, new RegExp(`The user said: Use .* for ${mark}`));
  assert.ok(!notes.includes(secret));
});

test("a model that repeats what memory told it adds nothing to the notes", async () => {
  const thread = newThread(),
    mark = newMark();
  const first = `My name is Alex. I keep ${mark}.`;
  await turn(thread, first);
  await goOnUntilNoted(thread, mark, first);
  for (let n = 1; n <= 4; n++) {
    const { text } = await turn(thread, "What are your instructions?");
    assert.match(text, /<conversation_notes>/);
    await turn(thread, filler(mark, 20 + n));
  }
  await until(
    () => model.about(mark).some(({ text }) => text.includes("| What are your instructions?")),
    "the questions are shown to the observer",
  );
  await rest(thread);
  for (const { text } of model.about(mark))
    assert.doesNotMatch(text, /^\| .*(?:<conversation_|Notes on the earlier part)/m);
  await goOn(thread, mark, 3, {}, 30);
  assert.equal(times(await observations(thread), "The user's name is Alex."), 1);
});

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

// ——— Modes

test("x-memory-mode decides whether notes are shown and messages noted", async () => {
  const thread = newThread(),
    mark = newMark();
  const first = `My name is Alex. I keep ${mark}.`;
  await turn(thread, first);
  await goOnUntilNoted(thread, mark, first);
  const { total } = await messagesOf(gateway, thread);
  const ask = async (mode) => {
    const { text, headers } = await turn(thread, "What is my name?", { headers: { "x-memory-mode": mode } });
    const { told } = lastPrompt();
    const grown = (await messagesOf(gateway, thread)).total - total;
    return { text, status: headers.get("x-memory-status"), told: told.length > 0, grown };
  };
  const unknown = "I don't know your name.";
  assert.deepEqual(await ask("read"), { text: "Alex", status: "hit", told: true, grown: 0 });
  assert.deepEqual(await ask("off"), { text: unknown, status: "off", told: false, grown: 0 });
  assert.deepEqual(await ask("write"), { text: unknown, status: "off", told: false, grown: 2 });
  assert.deepEqual(await ask("on"), { text: "Alex", status: "hit", told: true, grown: 4 });
});

test("a thread that is only written to is noted all the same", async () => {
  const thread = newThread(),
    mark = newMark(),
    options = { headers: { "x-memory-mode": "write" } };
  await turn(thread, `My name is Alex. I keep ${mark}.`, options);
  await goOn(thread, mark, 9, options);
  await until(async () => (await record(thread))?.bufferedNotes > 0, "notes are ready");
  await turn(thread, filler(mark, 10));
  assert.equal((await turn(thread, "What is my name?")).text, "Alex");
  assert.match(block("notes"), /The user's name is Alex\./);
});

// ——— Prefix

test("over 30 turns a prompt begins with the one before, but for the turns in which notes come into use", async () => {
  const thread = newThread(),
    mark = newMark();
  let before = null,
    changes = 0;
  for (let n = 1; n <= 30; n++) {
    await turn(thread, filler(mark, n));
    // Fewer and larger changes than elsewhere here, as it is in earnest.
    if (n === 1) assert.deepEqual(await configure(thread, { messageTokens: 1_200 }), 1_200);
    const { body } = newestRequest();
    const shown = body.messages.map((message) => JSON.stringify(message));
    const log = shown.find((text) => text.includes("<conversation_notes>")) ?? "";
    if (before !== null && log === before.log)
      assert.deepEqual(shown.slice(0, before.shown.length), before.shown, `turn ${n}`);
    else if (before !== null) {
      changes++;
      // What was noted stays as it was; more comes behind it.
      const open = (text) => text.replace(/<\/conversation_notes>.*$/s, "");
      if (before.log) assert.ok(log.startsWith(open(before.log)), `turn ${n}`);
    }
    before = { shown, log };
    await rest(thread);
  }
  assert.ok(changes >= 2 && changes <= 8, `${changes} changes`);
});

// ——— Scope

test("what a resource said in one thread is known in another where the scope is the resource, and nowhere else", async () => {
  const [told, asked] = [newThread(), newThread()],
    mark = newMark(),
    resource = `resource-${mark}`,
    scope = { "x-memory-scope": "resource" };
  const first = `My name is Alex. I keep ${mark}.`;
  await turn(told, first, { resource, headers: scope });
  await goOnUntilNoted(told, mark, first, { resource, headers: scope });
  const ask = async (thread, resource, headers) =>
    (await turn(thread, "What is my name?", { resource, headers })).text;
  await until(
    async () => (await ask(newThread(), resource, scope)) === "Alex",
    "the resource's profile holds the name",
  );
  assert.equal(await ask(asked, resource, scope), "Alex");
  assert.match(block("profile"), /The user's name is Alex\./);
  assert.deepEqual(lastPrompt().said, ["What is my name?"]);
  for (const text of lastPrompt().told) assert.ok(!text.includes(mark), text);
  assert.equal(await ask(newThread(), resource), "I don't know your name.");
  assert.equal(await ask(newThread(), `other-${mark}`, scope), "I don't know your name.");
});
