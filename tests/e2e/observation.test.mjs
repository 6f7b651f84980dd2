// Owns: observation end to end: messages become notes by a model that is asked in the background, and leave the prompt.
// Invariant: each test has a thread of its own and a mark in its texts, by which its requests to the observer are known;
// the observer is the sandbox's, asked as Google's, so what is noted follows from the messages alone.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import {
  chat,
  echo,
  memoryHeaders,
  messagesOf,
  newThread,
  post,
  stored,
  until,
  user,
} from "./conversation.mjs";
import { sandboxVars, startGateway, startSandbox } from "./gateway.mjs";
import { startNotesModel } from "./notesmodel.mjs";

// Notes are taken every other turn with a filler and its answer, and used from the fourth or fifth on.
const OBSERVE_TOKENS = 400;
const LEAST_TURN_TOKENS = 80;
const MOST_TURNS = 14;
// Work that was under way when workerd died is taken up again half a minute after its deadline.
const DEADLINE_MS = 10_000;
const TAKEN_UP_AGAIN_MS = DEADLINE_MS + 60_000;

let sandbox, model, gateway;
before(async () => {
  sandbox = await startSandbox();
  model = await startNotesModel(sandbox);
  gateway = await startGateway({
    vars: {
      ...sandboxVars(sandbox),
      GOOGLE_BASE_URL: model.url,
      MEMORY_OBSERVE_TOKENS: String(OBSERVE_TOKENS),
      OBSERVER_DEADLINE_MS: String(DEADLINE_MS),
    },
  });
});
after(async () => {
  await gateway?.stop();
  await model?.close();
  await sandbox?.close();
});

/** A mark that no other test's texts have. */
const newMark = () => `mark-${randomUUID().slice(0, 8)}`;

const WORDS =
  "north east south west stone river cloud field harbour meadow lantern copper window garden".split(" ");
/** A text that is worth a note, and no other text of its thread. */
const filler = (mark, n) =>
  `The ${WORDS[n % WORDS.length]} road number ${n} of ${mark} leads along the ${WORDS[(n * 5 + 3) % WORDS.length]} ` +
  `side of the valley, over ${n + 2} bridges and past the old mill, and nobody has ever counted the ${WORDS[(n * 3 + 1) % WORDS.length]} trees there.`;

// ——— The clients' dialects

const DIALECTS = {
  chat: {
    path: "/chat/completions",
    model: "openai/gpt-5.4-mini",
    body: (text) => ({ messages: [user(text)] }),
    whole: ({ choices }) => choices[0].message.content,
    piece: ({ choices }) => choices?.[0]?.delta?.content,
  },
  responses: {
    path: "/responses",
    model: "openai/gpt-5.4-mini",
    body: (text) => ({ input: text }),
    whole: ({ output }) => output[0].content[0].text,
    piece: ({ type, delta }) => (type === "response.output_text.delta" ? delta : ""),
  },
  messages: {
    path: "/messages",
    model: "anthropic/claude-sonnet-4-5",
    body: (text) => ({ messages: [user(text)], max_tokens: 2_000 }),
    whole: ({ content }) => content[0].text,
    piece: ({ delta }) => delta?.text,
  },
};

/** One turn on the wire; gives what was answered, and the headers. */
async function turn(
  thread,
  text,
  { dialect = "chat", stream = false, headers, resource, at = gateway } = {},
) {
  const { path, model, body, whole, piece } = DIALECTS[dialect];
  const response = await post(
    at,
    path,
    { model, ...body(text), ...(stream && { stream }) },
    { thread, resource, headers },
  );
  const told = await response.text();
  assert.equal(response.status, 200, told);
  if (!stream) return { text: whole(JSON.parse(told)), headers: response.headers };
  const events = [...told.matchAll(/^data: (\{.*\})$/gm)].map(([, data]) => JSON.parse(data));
  return { text: events.map((event) => piece(event) ?? "").join(""), headers: response.headers };
}

/** The newest request to the thread's own model. */
const newestRequest = () =>
  sandbox.requests.findLast(({ method, path }) => method === "POST" && !path.startsWith("/v1beta/"));

/** What it told beside messages, and the messages' texts. */
function lastPrompt() {
  const { body } = newestRequest();
  const plain = (content) =>
    typeof content === "string" ? content : (content ?? []).map(({ text }) => text ?? "").join("\n");
  const items = body.messages ?? (typeof body.input === "string" ? [user(body.input)] : body.input);
  const isSystem = ({ role }) => role === "system" || role === "developer";
  const told = [body.system, body.instructions, ...items.filter(isSystem).map(({ content }) => content)];
  return {
    told: told.map(plain).filter(Boolean),
    said: items.filter((item) => !isSystem(item)).map(({ content }) => plain(content)),
  };
}

/** What stands in a block of memory's in the newest prompt; undefined where there is none. */
const block = (tag) =>
  lastPrompt().told.join("\n").split(`<conversation_${tag}>\n`)[1]?.split(`</conversation_${tag}>`)[0];

// ——— What the memory API says

async function memory(thread, rest, { key = gateway.key, method = "GET", body: sent, at = gateway } = {}) {
  const response = await fetch(`${at.baseURL}/memory/threads/${encodeURIComponent(thread)}${rest}`, {
    method,
    headers: { authorization: `Bearer ${key}`, ...(sent && { "content-type": "application/json" }) },
    body: sent && JSON.stringify(sent),
  });
  const body = await response.json();
  return { status: response.status, ...body };
}

const observations = async (thread, options) => (await memory(thread, "/observations", options)).observations;
const record = async (thread) => (await memory(thread, "/observations/record")).record;

/** Gives the thread thresholds of its own; gives back that of its messages. */
const configure = async (thread, body) =>
  (await memory(thread, "/observations/config", { method: "PATCH", body })).config.observation.messageTokens;

const isWorking = (found) =>
  found !== null &&
  (found.isObserving || found.isReflecting || found.isBufferingObservation || found.isBufferingReflection);

/** Waits until no observer or reflector is at work for the thread. */
const rest = (thread) => until(async () => !isWorking(await record(thread)), "the thread is at rest");

/** Waits until notes are ready, where a thread has had so many turns with a filler that they have to come. */
async function ready(thread, turns) {
  if (turns * LEAST_TURN_TOKENS < OBSERVE_TOKENS) return;
  await until(async () => {
    const found = await record(thread);
    return found?.bufferedNotes > 0 || found?.pendingMessageTokens < OBSERVE_TOKENS;
  }, "notes are ready");
}

/** Goes on with a conversation until notes have taken the place of its first message; gives the number of turns. */
async function goOnUntilNoted(thread, mark, first, options, from = 1) {
  for (let n = from; n < from + MOST_TURNS; n++) {
    const text = filler(mark, n);
    assert.equal((await turn(thread, text, options)).text, echo(text).content);
    if (!lastPrompt().said.includes(first)) return n;
    await ready(thread, n);
  }
  return assert.fail(`${first} is still in the prompt after ${MOST_TURNS} turns`);
}

/** Goes on for a number of turns, whatever becomes of the messages. */
async function goOn(thread, mark, turns, options, from = 1) {
  for (let n = from; n < from + turns; n++) {
    const text = filler(mark, n);
    assert.equal((await turn(thread, text, options)).text, echo(text).content);
  }
}

/** Waits until an observer was shown a text a second time, and has answered. */
const askedTwice = (text) =>
  until(
    () => model.about(text).filter(({ answered }) => answered).length >= 2,
    "the observer is asked again",
  );

/** How often each line of content was shown to the observer. */
const timesShown = (mark, line) =>
  model
    .about(mark)
    .reduce((sum, { text }) => sum + text.split("\n").filter((one) => one === `| ${line}`).length, 0);

/** How often a text stands in another. */
const times = (text, part) => text.split(part).length - 1;

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
