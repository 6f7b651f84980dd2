// Owns: that what was deleted is nowhere any more: messages, threads, resources, projects, and what was made of them.
// Invariant: each test plants words that no other test has, and looks at storage itself, not only at what the API says.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { chat, messagesOf, newThread, post, until } from "./conversation.mjs";
import { sandboxVars, startGateway, startSandbox } from "./gateway.mjs";
import { startNotesModel } from "./notesmodel.mjs";
import { alter, bytesWith, rowsOf, rowsWith } from "./storage.mjs";

const DAY_MS = 24 * 60 * 60 * 1000;
const SHARED = { "x-memory-scope": "resource" };

let sandbox, model, gateway;
before(async () => {
  sandbox = await startSandbox();
  model = await startNotesModel(sandbox);
  gateway = await startGateway({
    vars: { ...sandboxVars(sandbox), GOOGLE_BASE_URL: model.url, MEMORY_OBSERVE_TOKENS: "400" },
  });
});
after(async () => {
  await gateway?.stop();
  await model?.close();
  await sandbox?.close();
});

/** A word that nothing else has, of letters alone, so that the index of words keeps it whole. */
const newWord = () => `Zq${randomUUID().replace(/[^a-f]/g, "")}${randomUUID().replace(/[^a-f]/g, "")}`;

async function memory(path, { method = "GET", key = gateway.key, body } = {}) {
  const response = await fetch(`${gateway.baseURL}/memory${path}`, {
    method,
    headers: { authorization: `Bearer ${key}`, ...(body && { "content-type": "application/json" }) },
    body: body && JSON.stringify(body),
  });
  return { status: response.status, ...(await response.json()) };
}
const at = (thread) => `/threads/${encodeURIComponent(thread)}`;
const forget = (path, body) => memory(path, { method: "DELETE", body });
const observations = async (thread) => (await memory(`${at(thread)}/observations`)).observations ?? "";

const WORDS =
  "north east south west stone river cloud field harbour meadow lantern copper window garden".split(" ");
/** A text that is worth a note; `mark` tells the threads' requests to the observer apart. */
const filler = (mark, n) =>
  `The ${WORDS[n % WORDS.length]} road number ${n} of ${mark} leads along the ${WORDS[(n * 5 + 3) % WORDS.length]} ` +
  `side of the valley, over ${n + 2} bridges and past the old mill, and nobody has ever counted the ` +
  `${WORDS[(n * 3 + 1) % WORDS.length]} trees there.`;

/** Says something, and goes on until notes of it have come into the log. */
async function noted(thread, first, mark, options) {
  await chat(gateway, thread, first, options);
  let n = 0;
  await until(
    async () => {
      if (n < 14) await chat(gateway, thread, filler(mark, ++n), options);
      return (await observations(thread)).includes(mark);
    },
    "notes are in the log",
    60_000,
  );
}

const profileOf = async (resource) => (await memory(`/resources/${resource}/profile`)).profile ?? "";

/** The ids of the messages that hold a text. */
const idsWith = async (thread, text) =>
  (await messagesOf(gateway, thread)).messages
    .filter(({ content }) => JSON.stringify(content).includes(text))
    .map(({ id }) => id);

/** The prompt of the request to the thread's own model that holds a text. */
const promptWith = (text) =>
  JSON.stringify(
    sandbox.requests.findLast(
      ({ path, body }) => path.includes("/chat/completions") && JSON.stringify(body).includes(text),
    ).body,
  );

test("a deleted message is in no row, no note, no profile and no prompt, and what else was said is noted anew", async () => {
  const [thread, planted, mark, resource] = [newThread(), newWord(), newWord(), `ann-${newWord()}`];
  const options = { resource, headers: SHARED };
  await noted(thread, `My name is ${planted}. I keep bees. ${mark}`, mark, options);
  await until(async () => (await profileOf(resource)).includes(planted), "the profile knows it");
  const found = await memory(`/search?threadId=${encodeURIComponent(thread)}&q=${planted}`);
  assert.ok(found.results.length > 0);
  assert.ok(rowsWith(gateway, planted).length > 3);

  const ids = await idsWith(thread, planted);
  const deleted = await forget(`${at(thread)}/messages`, { messageIds: [...ids, "msg_of_nobody"] });
  assert.equal(deleted.status, 200);
  assert.equal(deleted.ok, true);
  assert.equal(deleted.deleted, ids.length);
  const { id, scope, counts } = deleted.receipt;
  assert.deepEqual([id, scope, counts.messages], [thread, "messages", ids.length]);
  assert.ok(counts.notes > 0);

  assert.deepEqual(await idsWith(thread, planted), []);
  assert.ok(!(await observations(thread)).includes(planted));
  assert.deepEqual((await memory(`/search?threadId=${encodeURIComponent(thread)}&q=${planted}`)).results, []);
  assert.ok(!(await profileOf(resource)).includes(planted));
  assert.deepEqual(rowsWith(gateway, planted), []);
  assert.deepEqual(bytesWith(gateway, planted), []);
  const asking = `What do I keep? ${newWord()}`;
  await chat(gateway, thread, asking, options);
  assert.ok(!promptWith(asking).includes(planted));
  assert.ok(promptWith(asking).includes(mark), "what else was said is still there");
  await until(
    async () =>
      (await observations(thread)).includes(mark) ||
      ((await chat(gateway, thread, filler(mark, 20), options)) && false),
    "the rest is noted anew",
    30_000,
  );
  assert.deepEqual(rowsWith(gateway, planted), []);
});

test("an observer that answers after its message was deleted writes nothing of it", async () => {
  const [thread, planted, mark] = [newThread(), newWord(), newWord()];
  const release = model.hold(planted);
  await chat(gateway, thread, `I keep ${planted} in the shed. ${mark}`);
  for (let n = 1; n <= 4; n++) await chat(gateway, thread, filler(mark, n));
  await until(() => model.about(planted).length > 0, "the observer is asked");
  const ids = await idsWith(thread, planted);
  const { receipt } = await forget(`${at(thread)}/messages`, { messageIds: ids });
  assert.ok(receipt.counts.jobs > 0);
  release();
  await until(() => model.about(planted).every(({ answered, left }) => answered || left), "it has answered");
  // The next one is asked about what is left, and what it says is there.
  await until(
    async () => {
      await chat(gateway, thread, filler(mark, 5));
      return (await observations(thread)).includes(mark);
    },
    "the rest is noted",
    30_000,
  );
  assert.ok(!(await observations(thread)).includes(planted));
  assert.deepEqual(rowsWith(gateway, planted), []);
});

test("of a note that was forgotten or put right no byte is left, while its message stays", async () => {
  const [thread, mark] = [newThread(), newWord()];
  await noted(thread, `The gate opens with ${mark}.`, mark);
  const { notes } = await memory(`${at(thread)}/notes?limit=200`);
  const [first, second] = notes.filter(({ text }) => text.includes(mark) && text.includes("road"));
  const planted = newWord();
  const path = (note) => `/notes/${encodeURIComponent(note.id)}`;
  const put = (note, text) => memory(path(note), { method: "PATCH", body: { text } });
  assert.equal((await put(first, `It says ${planted}.`)).status, 200);
  assert.ok(rowsWith(gateway, planted).length > 0);
  assert.equal((await forget(path(first))).status, 200);
  assert.deepEqual(bytesWith(gateway, planted), []);
  assert.equal((await put(second, `It says ${planted}.`)).status, 200);
  assert.equal((await put(second, "It says nothing.")).status, 200);
  assert.deepEqual(bytesWith(gateway, planted), []);
  assert.ok((await idsWith(thread, mark)).length > 0);
});

test("of a deleted thread no byte is left, stored responses included, and its requests lose their names", async () => {
  const [thread, planted, mark] = [newThread(), newWord(), newWord()];
  await noted(thread, `I keep ${planted} in the shed. ${mark}`, mark);
  const body = { model: "openai/gpt-5.4-mini", input: `Where is ${planted}?` };
  const calls = [
    { id: "call_1", type: "function", function: { name: "look", arguments: `{"at":"${planted}"}` } },
  ];
  const messages = [
    { role: "user", content: "Look around." },
    { role: "assistant", content: null, tool_calls: calls },
    { role: "tool", tool_call_id: "call_1", content: `There is ${planted}.` },
  ];
  await chat(gateway, thread, messages);
  // These are in the list of threads in D1, too, which is not written anew.
  const titled = newWord();
  const details = { title: `About ${titled}`, metadata: { about: titled } };
  assert.equal((await memory(at(thread), { method: "PATCH", body: details })).status, 200);
  const answered = await post(gateway, "/responses", body, { thread });
  const { id } = await answered.json();
  const kept = () =>
    fetch(`${gateway.baseURL}/responses/${id}`, { headers: { authorization: `Bearer ${gateway.key}` } });
  await until(async () => (await kept()).status === 200, "the response is kept");
  const named = () => gateway.d1(`SELECT count(*) AS n FROM ledger WHERE thread_id = '${thread}'`);
  // Rows are written in the order in which requests end.
  const last = answered.headers.get("x-request-id");
  const settled = () =>
    gateway.d1(`SELECT 1 FROM ledger WHERE request_id = '${last}' AND outcome <> 'pending'`);
  await until(async () => (await settled()).length === 1, "the ledger has the requests");
  assert.ok((await named())[0].n > 0);

  const deleted = await forget(at(thread));
  assert.equal(deleted.status, 200);
  assert.equal(deleted.receipt.counts.responses, 1);
  assert.equal((await kept()).status, 404);
  assert.equal((await forget(at(thread))).status, 404);
  assert.deepEqual(await named(), [{ n: 0 }]);
  assert.deepEqual(rowsWith(gateway, planted, titled, thread), []);
  await gateway.restart();
  assert.deepEqual(bytesWith(gateway, planted, mark), []);
  assert.deepEqual(
    bytesWith(gateway, titled).filter((found) => !found.includes("D1DatabaseObject")),
    [],
  );
});

test("forgetting a person takes all of their threads and the profile, and leaves everybody else's rows as they are", async () => {
  const [ann, bob] = [`ann-${newWord()}`, `bob-${newWord()}`];
  const [planted, other, mark] = [newWord(), newWord(), newWord()];
  const threads = [newThread(), newThread()];
  const bobs = newThread();
  await noted(threads[0], `My name is ${planted}. ${mark}`, mark, { resource: ann, headers: SHARED });
  await chat(gateway, threads[1], `I keep ${planted}.`, { resource: ann });
  await chat(gateway, bobs, `I keep ${other}.`, { resource: bob });
  await until(async () => (await profileOf(ann)).includes(planted), "the profile knows it");
  const listed = await until(async () => {
    const { resources } = await memory("/resources?limit=200");
    const one = resources.find(({ id }) => id === ann);
    return one?.threads === 2 && resources.some(({ id }) => id === bob) && one;
  }, "both are listed");
  assert.deepEqual(Object.keys(listed), ["id", "createdAt", "updatedAt", "threads"]);
  const one = await memory(`/resources/${ann}`);
  assert.deepEqual(
    [one.status, one.total, one.threads.map(({ id }) => id).sort()],
    [200, 2, [...threads].sort()],
  );
  assert.equal((await memory(`/resources/${ann}`, { key: gateway.otherKey })).status, 404);

  // What bob's thread holds, once it is at rest.
  const ofBob = () => {
    const rows = rowsOf(gateway, "ThreadObject");
    const { file } = rows.find(({ row }) => row.includes(other));
    return rows.filter((one) => one.file === file);
  };
  const indexed = () =>
    ofBob().some(({ table, row }) => table === "thread" && !row.includes('"indexed_at":null'));
  await until(indexed, "bob's thread is at rest");
  const before = ofBob();
  const deleted = await until(async () => {
    const answer = await forget(`/resources/${ann}`);
    return answer.receipt?.complete && answer;
  }, "ann is forgotten");
  assert.deepEqual([deleted.status, deleted.receipt.id, deleted.receipt.scope], [200, ann, "resource"]);
  assert.equal(deleted.receipt.counts.threads, 2);

  for (const thread of threads) assert.equal((await memory(`${at(thread)}/messages`)).status, 404);
  assert.equal(await profileOf(ann), "");
  assert.equal((await memory(`/resources/${ann}`)).status, 404);
  assert.deepEqual(rowsWith(gateway, planted, ann, ...threads), []);
  assert.deepEqual(ofBob(), before);
  // Who comes back begins with nothing.
  const { headers } = await chat(gateway, threads[0], "Hello again.", { resource: ann, headers: SHARED });
  assert.equal(headers.get("x-memory-status"), "empty");
  assert.equal((await messagesOf(gateway, threads[0])).total, 2);
  await gateway.restart();
  assert.deepEqual(bytesWith(gateway, planted, mark), []);
  assert.ok(bytesWith(gateway, other).length > 0);
});

test("a deleted project is erased, and the answer says when that is done", async () => {
  const [project, planted, mark] = [`shop-${newWord()}`, newWord(), newWord()];
  assert.equal((await gateway.manage("POST", "/projects", { id: project })).status, 201);
  const { secret, key } = await gateway.manage("POST", `/projects/${project}/keys`, { label: "one" });
  const own = secret;
  const threads = [newThread(), newThread(), newThread()];
  for (const thread of threads) await chat(gateway, thread, `I keep ${planted}. ${mark}`, { key: own });
  const indexed = () => gateway.d1(`SELECT count(*) AS n FROM threads WHERE project_id = '${project}'`);
  await until(async () => (await indexed())[0].n === 3, "the index has the threads");
  const settled = () =>
    gateway.d1(`SELECT 1 FROM ledger WHERE project_id = '${project}' AND outcome <> 'pending'`);
  await until(async () => (await settled()).length === 3, "the ledger has the requests");
  const path = `/projects/${project}`;
  const done = await until(async () => {
    const answer = await gateway.manage("DELETE", path);
    assert.equal(answer.status, 200);
    return answer.erasure.state === "done" && answer;
  }, "the project is erased");
  assert.equal(done.erasure.counts.threads, 3);
  assert.equal((await gateway.manage("GET", path)).status, 404);
  assert.deepEqual(rowsWith(gateway, planted, ...threads), []);
  await gateway.restart();
  assert.deepEqual(bytesWith(gateway, planted, mark), []);
});

test("a thread that nobody used for as long as its project keeps threads is erased, and one that was used is not", async () => {
  const [project, idle, used] = [`kept-${newWord()}`, newWord(), newWord()];
  const settings = { retention: { threads_days: 2 } };
  assert.equal((await gateway.manage("POST", "/projects", { id: project, settings })).status, 201);
  const { secret, key } = await gateway.manage("POST", `/projects/${project}/keys`, { label: "one" });
  const own = secret;
  const threads = [newThread(), newThread()];
  await chat(gateway, threads[0], `I keep ${idle}.`, { key: own });
  await chat(gateway, threads[1], `I keep ${used}.`, { key: own });
  const indexed = () => gateway.d1(`SELECT count(*) AS n FROM threads WHERE project_id = '${project}'`);
  await until(async () => (await indexed())[0].n === 2, "the index has the threads");
  // Both are old for the index, and one really is.
  await gateway.restart();
  const old = Date.now() - 3 * DAY_MS;
  alter(gateway, "D1", "threads", `UPDATE threads SET updated_at = ${old} WHERE project_id = '${project}'`);
  alter(
    gateway,
    "ThreadObject",
    "thread",
    `UPDATE thread SET updated_at = ${old}, indexed_at = ${old} WHERE id = '${threads[0]}'`,
  );
  const tick = () => fetch(`${gateway.url}/cdn-cgi/handler/scheduled`);
  assert.equal((await tick()).status, 200);
  const status = async (thread) => (await memory(`${at(thread)}/messages`, { key: own })).status;
  await until(async () => (await status(threads[0])) === 404, "the idle thread is erased");
  assert.equal(await status(threads[1]), 200);
  assert.deepEqual(rowsWith(gateway, idle), []);
  assert.ok(rowsWith(gateway, used).length > 0);
});

test("what cannot be deleted is refused with what to send", async () => {
  const thread = newThread();
  await chat(gateway, thread, "Hello.");
  for (const body of [{}, { messageIds: [] }, { messageIds: "one" }, { messageIds: [1] }]) {
    const { status, error } = await forget(`${at(thread)}/messages`, body);
    assert.deepEqual([status, error.param], [400, "messageIds"]);
  }
  const other = { method: "DELETE", key: gateway.otherKey, body: { messageIds: ["a"] } };
  assert.equal((await memory(`${at(thread)}/messages`, other)).status, 404);
  assert.equal((await memory(`${at(thread)}`, { method: "DELETE", key: gateway.otherKey })).status, 404);
  assert.equal((await messagesOf(gateway, thread)).total, 2);
});
