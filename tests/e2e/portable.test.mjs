// Owns: search over a resource, export and import, on the real runtime: over HTTP, from one project into another.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { chat, messagesOf, newThread, refused, until } from "./conversation.mjs";
import { sandboxVars, startGateway, startSandbox } from "./gateway.mjs";

let sandbox, gateway;
before(async () => {
  sandbox = await startSandbox();
  gateway = await startGateway({ vars: sandboxVars(sandbox) });
});
after(async () => {
  await gateway?.stop();
  await sandbox?.close();
});

const memory = (path, { key = gateway.key, ...options } = {}) =>
  fetch(`${gateway.baseURL}/memory${path}`, { ...options, headers: { authorization: `Bearer ${key}` } });

async function read(path, options) {
  const answer = await memory(path, options);
  const body = await answer.text();
  assert.equal(answer.status, 200, body);
  return JSON.parse(body);
}

async function exported(path, options) {
  const answer = await memory(path, options);
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get("content-type"), "application/x-ndjson");
  return (await answer.text()).trimEnd().split("\n");
}

const imported = (lines, key = gateway.otherKey) =>
  read("/import", { method: "POST", body: lines.join("\n") + "\n", key });

/** Threads with these first messages, as the index across threads knows them. */
async function threads(resource, ...said) {
  const ids = [];
  for (const text of said) {
    const thread = newThread();
    await chat(gateway, thread, text, { resource });
    ids.push(thread);
  }
  await until(
    async () => {
      const rows = await gateway.d1(`SELECT count(*) AS n FROM threads WHERE resource_id = '${resource}'`);
      return rows[0].n === said.length;
    },
    "the threads are in the index",
    60_000,
  );
  return ids;
}

/** Lines without what differs between projects by right, and without those that differ with time. */
const same = (lines) => lines.map((line) => line.replace(/"projectId":"[^"]*"/, ""));

test("a search goes through the threads of a resource and no other's, the best hit of all first", async () => {
  const resource = "searcher/1";
  const [tea, walk] = await threads(resource, "I drink green tea in Kyoto", "The walrus walks at noon");
  await threads("somebody-else", "A walrus in the green tea of Kyoto");
  const query = (q, more) => read(`/search?${new URLSearchParams({ q, resourceId: resource, ...more })}`);
  const found = await query("walrus");
  assert.deepEqual(
    [found.results[0].threadId, found.complete, found.threads],
    [walk, true, { searched: 2, total: 2 }],
  );
  assert.ok(found.results.every(({ threadId }) => threadId !== tea));
  assert.equal((await query("Kyoto tea")).results[0].threadId, tea);
  assert.equal((await query("walrus", { threadId: walk })).results[0].threadId, walk);
  const stranger = new URLSearchParams({ q: "walrus", resourceId: "somebody-else", threadId: walk });
  assert.equal((await refused(await memory(`/search?${stranger}`))).status, 404);
  const other = new URLSearchParams({ q: "walrus", resourceId: resource });
  assert.deepEqual((await read(`/search?${other}`, { key: gateway.otherKey })).results, []);
  assert.equal((await refused(await memory("/search?q=walrus"))).param, "threadId");
});

test("a resource that was exported, imported and exported again is the same, byte for byte", async () => {
  const resource = "mover";
  const ids = await threads(resource, "My name is Alex.", "A second thread: 東京 🐙");
  await chat(gateway, ids[0], "What is my name?", { resource });
  // What the threads do by themselves is over when their rows stand still.
  const lines = await until(
    async () => {
      const first = await exported(`/resources/${resource}/export`);
      const second = await exported(`/resources/${resource}/export`);
      return first.join() === second.join() && first;
    },
    "the threads rest",
    60_000,
  );
  const types = lines.map((line) => JSON.parse(line).type);
  assert.deepEqual([types[0], types.at(-1)], ["export", "end"]);
  assert.deepEqual(JSON.parse(lines.at(-1)), { type: "end", lines: lines.length - 1, threads: 2 });
  const report = await imported(lines);
  assert.deepEqual(
    [report.ok, report.complete, report.lines, report.added, report.unchanged],
    [true, true, lines.length, lines.length - 2, 0],
  );
  const again = await imported(lines);
  assert.deepEqual([again.ok, again.added, again.unchanged], [true, 0, lines.length - 2]);
  const copy = await until(
    async () => {
      const found = await exported(`/resources/${resource}/export`, { key: gateway.otherKey });
      return found.length === lines.length && found;
    },
    "the imported threads are in the index",
    60_000,
  );
  assert.deepEqual(same(copy), same(lines));
  const [own, theirs] = [
    await messagesOf(gateway, ids[0]),
    await messagesOf(gateway, ids[0], { key: gateway.otherKey }),
  ];
  assert.deepEqual(theirs, own);
  const answer = await chat(gateway, ids[0], "What is my name?", { resource, key: gateway.otherKey });
  assert.equal(answer.text, "Alex");
});

test("a file that was cut is taken as far as it goes and said to be cut; the rest comes later", async () => {
  const resource = "cutter";
  const [id] = await threads(resource, "Cut me in the middle.");
  const lines = await exported(`/threads/${id}/export`);
  const half = await imported(lines.slice(0, lines.length - 2));
  assert.deepEqual([half.ok, half.complete], [true, false]);
  const whole = await imported(lines);
  assert.deepEqual([whole.ok, whole.complete, whole.added], [true, true, 1]);
});

test("what stands against what is there is named and nothing of it is taken", async () => {
  const id = newThread();
  await chat(gateway, id, "Mine.", { resource: "ann" });
  await chat(gateway, id, "Another's.", { resource: "ann", key: gateway.otherKey });
  const lines = await exported(`/threads/${id}/export`);
  const before = await messagesOf(gateway, id, { key: gateway.otherKey });
  const report = await imported(lines);
  assert.deepEqual(
    [report.ok, report.added, report.refusedTotal, report.refused[0].line, report.refused[0].threadId],
    [false, 0, 1, 3, id],
  );
  assert.match(report.refused[0].reason, /another turn with the number 1/);
  assert.deepEqual(await messagesOf(gateway, id, { key: gateway.otherKey }), before);
});

test("an export goes on behind a cursor, and a large thread comes in pages", async () => {
  const id = newThread();
  const begin = { type: "thread", thread: id, resourceId: "large", createdAt: 1_000, updatedAt: 2_000 };
  const said = Array.from({ length: 3_000 }, (_, at) => ({
    ...{ type: "said", thread: id, id: `m${at}`, role: at % 2 ? "assistant" : "user" },
    ...{ createdAt: 1_000 + at, content: `${at} ${"word ".repeat(60)}` },
  }));
  const lines = [{ type: "export", format: 1 }, begin, ...said].map((line) => JSON.stringify(line));
  const report = await imported(lines, gateway.key);
  assert.deepEqual([report.ok, report.added], [true, 3_001]);
  const all = await exported(`/threads/${id}/export`);
  const at = all.findIndex((line) => line.startsWith('{"type":"cursor"'));
  assert.ok(at > 0);
  const { after } = JSON.parse(all[at]);
  const rest = await exported(`/threads/${id}/export?after=${encodeURIComponent(after)}`);
  assert.deepEqual(rest.slice(1, -1), all.slice(at + 1, -1));
  assert.equal((await refused(await memory(`/threads/${id}/export?after=nonsense`))).param, "after");
  assert.equal((await messagesOf(gateway, id)).total, 3_000);
});

test("what cannot be an import is refused with its line", async () => {
  for (const [body, words] of [
    ["", "no line"],
    ["{}\n", "Line 1"],
    ['{"type":"export","format":1}\n{"type":"turn"', "Line 2"],
  ]) {
    const error = await refused(await memory("/import", { method: "POST", body }));
    assert.equal(error.status, 400);
    assert.ok(error.message.includes(words), error.message);
  }
  assert.equal((await memory(`/threads/${newThread()}/export`)).status, 404);
});
