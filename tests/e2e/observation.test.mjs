// Owns: observation end to end: messages become notes by a model that is asked in the background, and leave the prompt.
// Invariant: each test has a thread of its own and a mark in its texts, by which its requests to the observer are known.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { chat, messagesOf, newThread, stored, until, user } from "./conversation.mjs";
import { sandboxVars, startGateway } from "./gateway.mjs";
import {
  block,
  configure,
  DIALECTS,
  filler,
  gateway,
  goOn,
  goOnUntilNoted,
  isWorking,
  lastPrompt,
  memory,
  model,
  MOST_TURNS,
  newestRequest,
  newMark,
  observations,
  OBSERVE_TOKENS,
  ready,
  record,
  rest,
  sandbox,
  startObservation,
  stopObservation,
  times,
  timesShown,
  turn,
} from "./observed.mjs";

before(startObservation);
after(stopObservation);

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
