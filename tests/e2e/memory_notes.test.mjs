// Owns: notes over HTTP on the real runtime: seen one by one, put right, forgotten, copied; and the dry run of a prompt.
// Invariant: each test has a thread of its own with notes in use, made by the sandbox's observer from posted messages.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { chat, messagesOf, until, user, assistant } from "./conversation.mjs";
import { sandboxVars, startGateway, startSandbox } from "./gateway.mjs";

let sandbox, gateway;
before(async () => {
  sandbox = await startSandbox();
  gateway = await startGateway({ vars: { ...sandboxVars(sandbox), MEMORY_OBSERVE_TOKENS: "400" } });
});
after(async () => {
  await gateway?.stop();
  await sandbox?.close();
});

const at = (thread, rest = "") => `/threads/${encodeURIComponent(thread)}${rest}`;

/** Asks the memory API; gives `{status, ...body}`. */
async function ask(method, path, body, { key = gateway.key, headers } = {}) {
  const answer = await fetch(`${gateway.baseURL}/memory${path}`, {
    method,
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json", ...headers },
    body: body && JSON.stringify(body),
  });
  return { status: answer.status, ...(await answer.json()) };
}

const WORDS = "north east south west stone river cloud field harbour meadow lantern copper".split(" ");

/** A thread with notes in use; gives `{thread, resource, mark, notes}`. Nothing is under way in it. */
async function withNotes(scope) {
  const mark = `mark-${randomUUID().slice(0, 8)}`;
  const [thread, resource] = [`thread/${randomUUID()} ü`, `resource-${randomUUID()}`];
  await ask("POST", "/threads", { id: thread, resourceId: resource });
  const said = WORDS.flatMap((word, n) => [
    user(
      `The ${word} road number ${n} of ${mark} leads along the ${WORDS[(n * 5 + 3) % WORDS.length]} side of the valley, ` +
        `over ${n + 2} bridges and past the old mill, and nobody has ever counted the trees there.`,
    ),
    assistant(`I will keep the ${word} road in mind.`),
  ]);
  await ask("POST", at(thread, "/messages"), { messages: said });
  const headers = scope && { "x-memory-scope": scope };
  const notes = await until(async () => {
    await chat(gateway, encodeURIComponent(thread), "Go on.", { resource, headers });
    const { notes } = await ask("GET", at(thread, "/notes?status=active"));
    const { record } = await ask("GET", at(thread, "/observations/record"));
    return notes.length > 2 && !record.isObserving && !record.isBufferingObservation && notes;
  }, "notes come into use");
  return { thread, resource, mark, notes };
}

/** What the next request would show a model. */
const prompted = async (thread) => {
  const body = { model: "openai/gpt-5.4-mini", messages: [user("What do you know?")] };
  const { status, ...context } = await ask("POST", at(thread, "/context"), body);
  assert.equal(status, 200, JSON.stringify(context));
  return context;
};

test("notes are listed with the messages that they rest on", async () => {
  const { thread, notes } = await withNotes();
  const [note] = notes;
  assert.deepEqual(Object.keys(note), [
    ...["id", "threadId", "text", "priority", "speaker", "saidAt", "refersTo", "key", "status", "parentId"],
    ...["supersededBy", "messageIds", "tokens", "createdAt", "correctedAt"],
  ]);
  assert.match(note.id, /^note_\d+_[\w-]+$/);
  assert.deepEqual(
    [note.threadId, note.status, note.parentId, note.supersededBy, note.correctedAt],
    [thread, "active", null, null, null],
  );
  const sources = await ask("GET", `/notes/${note.id}/sources`);
  assert.deepEqual(
    sources.messages.map(({ id }) => id),
    note.messageIds,
  );
  const { messages } = await messagesOf(gateway, thread);
  assert.deepEqual(
    sources.messages,
    messages.filter(({ id }) => note.messageIds.includes(id)),
  );
  const page = await ask("GET", at(thread, "/notes?status=active&limit=1&offset=1&order=desc"));
  assert.equal(page.notes.length, 1);
  assert.ok(page.total >= notes.length);
  for (const [query, param] of [
    ["status=lost", "status"],
    ["limit=x", "limit"],
    ["order=up", "order"],
  ]) {
    const { status, error } = await ask("GET", at(thread, `/notes?${query}`));
    assert.deepEqual([status, error.param], [400, param]);
  }
  const history = await ask("GET", at(thread, "/observations/history?limit=1000"));
  const { record } = await ask("GET", at(thread, "/observations/record"));
  assert.deepEqual(history.records.at(0).activeObservations, record.activeObservations);
  const past = await ask("GET", at(thread, "/observations/history?to=2000-01-01T00:00:00Z"));
  assert.deepEqual(past, { status: 200, records: [] });
  const wrong = await ask("GET", at(thread, "/observations/history?from=yesterday"));
  assert.deepEqual([wrong.status, wrong.error.param], [400, "from"]);
});

test("a note that was put right is in the next prompt, under its own id", async () => {
  const { thread, resource, notes } = await withNotes();
  const [note] = notes;
  const text = `The right words ${randomUUID()}`;
  const corrected = await ask("PATCH", `/notes/${note.id}`, { text, priority: "low" });
  const { tokens, correctedAt } = corrected.note;
  const expected = { ...note, text, priority: "low", speaker: "user", tokens, correctedAt };
  assert.deepEqual(corrected, { status: 200, note: expected });
  const marked = `And ${randomUUID()}?`;
  await chat(gateway, encodeURIComponent(thread), marked, { resource });
  const { body } = sandbox.requests.find(({ body }) => JSON.stringify(body ?? "").includes(marked));
  const prompt = JSON.stringify(body);
  assert.ok(prompt.includes(text));
  assert.ok(!prompt.includes(note.text));
  const { results } = await ask("GET", `/search?threadId=${encodeURIComponent(thread)}&q=right+words`);
  assert.ok(results.some(({ type, snippet }) => type === "note" && snippet === text));
  for (const [body, param] of [
    [{}, "text"],
    [{ text: "" }, "text"],
    [{ priority: "urgent" }, "priority"],
  ]) {
    const { status, error } = await ask("PATCH", `/notes/${note.id}`, body);
    assert.deepEqual([status, error.param], [400, param]);
  }
});

test("a forgotten note is in no prompt, no list and no search; others stay", async () => {
  const { thread, notes } = await withNotes("resource");
  const [note, other] = notes;
  assert.ok((await prompted(thread)).injected.notes.includes(note.text));
  const forgotten = await ask("DELETE", `/notes/${note.id}`);
  const { deletedAt, counts } = forgotten.receipt;
  assert.ok(counts.notes >= 1);
  assert.deepEqual(forgotten, {
    status: 200,
    ok: true,
    receipt: { id: note.id, scope: "note", counts: { notes: counts.notes, restored: 0 }, deletedAt },
  });
  const { injected } = await prompted(thread);
  assert.ok(!injected.notes.includes(note.text));
  assert.ok(injected.notes.includes(other.text));
  const all = await ask("GET", at(thread, "/notes?status=all&limit=200"));
  assert.ok(!JSON.stringify(all).includes(note.text));
  for (const [method, path, body] of [
    ["DELETE", `/notes/${note.id}`],
    ["PATCH", `/notes/${note.id}`, { text: "x" }],
    ["GET", `/notes/${note.id}/sources`],
    ["DELETE", "/notes/nonsense"],
    ["DELETE", `/notes/${other.id}?resourceId=another`],
    ["DELETE", `/notes/${other.id}?threadId=another`],
  ]) {
    const { status, error } = await ask(method, path, body);
    assert.deepEqual([status, error.type], [404, "not_found"], `${method} ${path}`);
  }
  const foreign = await ask("DELETE", `/notes/${other.id}`, undefined, { key: gateway.otherKey });
  assert.equal(foreign.status, 404);
});

test("a copy knows what the original knows", async () => {
  const { thread } = await withNotes();
  const copy = await ask("POST", at(thread, "/clone"), {});
  assert.equal(copy.status, 201);
  assert.deepEqual((await prompted(copy.thread.id)).injected.notes, (await prompted(thread)).injected.notes);
  const limited = await ask("POST", at(thread, "/clone"), { options: { messageLimit: 1 } });
  assert.equal(limited.clonedMessages.length, 1);
  assert.equal((await prompted(limited.thread.id)).injected.notes, (await prompted(thread)).injected.notes);
});

test("the dry run shows what a request would send, stores nothing, and the request then sends it", async () => {
  const { thread, resource } = await withNotes();
  const before = await messagesOf(gateway, thread);
  const said = `What of ${randomUUID()}?`;
  const bodies = {
    chat: { model: "openai/gpt-5.4-mini", messages: [{ role: "system", content: "Short." }, user(said)] },
    responses: { model: "openai/gpt-5.4-mini", input: said, instructions: "Short." },
    messages: {
      model: "anthropic/claude-haiku-4-5",
      system: "Short.",
      messages: [user(said)],
      max_tokens: 9,
    },
  };
  const asked = sandbox.requests.length;
  for (const [dialect, body] of Object.entries(bodies)) {
    const context = await ask("POST", at(thread, `/context?dialect=${dialect}`), body);
    assert.equal(context.status, 200, JSON.stringify(context));
    const written = JSON.stringify(context.request);
    assert.ok(written.includes("<conversation_notes>") && written.includes(said), dialect);
    const { tokens } = context;
    assert.equal(tokens.added, tokens.profile + tokens.notes + tokens.now + tokens.thread, dialect);
    assert.deepEqual(context.messages.at(-1).source, "request", dialect);
  }
  assert.equal(
    sandbox.requests.slice(asked).filter(({ body }) => JSON.stringify(body ?? "").includes(said)).length,
    0,
  );
  assert.deepEqual(await messagesOf(gateway, thread), before);
  const { request } = await ask("POST", at(thread, "/context"), bodies.chat);
  await chat(gateway, encodeURIComponent(thread), bodies.chat.messages, { resource });
  const { body } = sandbox.requests.find(({ body }) => JSON.stringify(body?.messages ?? "").includes(said));
  assert.deepEqual(body.messages, request.messages);
  for (const [path, body, expected] of [
    [at(thread, "/context?dialect=latin"), bodies.chat, [400, "dialect"]],
    [at(thread, "/context"), { model: "m" }, [400, "messages"]],
    [at(randomUUID(), "/context"), bodies.chat, [404, "x-thread-id"]],
    [at(thread, "/context?resourceId=another"), bodies.chat, [404, "x-thread-id"]],
  ]) {
    const { status, error } = await ask("POST", path, body);
    assert.deepEqual([status, error.param], expected, path);
  }
});
