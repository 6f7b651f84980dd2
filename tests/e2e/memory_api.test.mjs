// Owns: the memory API over HTTP on the real runtime: threads, their messages, copies; whole bodies and every status.
// Invariant: each test has threads and resources of its own; what chat stores is compared with what the API gives out.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { chat, echo, messagesOf, newThread, stored, until, user, assistant } from "./conversation.mjs";
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

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const newResource = () => `resource-${randomUUID()}`;
const at = (thread, rest = "") => `/threads/${encodeURIComponent(thread)}${rest}`;

/** Asks the memory API; gives `{status, ...body}`. */
async function ask(method, path, body, { key = gateway.key, type = "application/json" } = {}) {
  const answer = await fetch(`${gateway.baseURL}/memory${path}`, {
    method,
    headers: { authorization: `Bearer ${key}`, ...(body !== undefined && { "content-type": type }) },
    body: body === undefined || typeof body === "string" ? body : JSON.stringify(body),
  });
  const text = await answer.text();
  return { status: answer.status, ...(text && JSON.parse(text)) };
}

/** The refusal of a request, as `[status, type, param]`. */
async function refusal(...request) {
  const { status, error } = await ask(...request);
  assert.deepEqual(Object.keys(error).slice(0, 4), ["message", "type", "param", "code"]);
  return [status, error.type, error.param];
}

/** A thread that was just made. */
async function made(fields = {}) {
  const { status, thread } = await ask("POST", "/threads", { resourceId: newResource(), ...fields });
  assert.equal(status, 201);
  return thread;
}

const ODD = [
  "a/b:c d",
  "ünïcode 👋 日本",
  "100% & more?#=+",
  "messages",
  "observations/record",
  "a%2Fb",
  "x".repeat(512),
  "\"quoted\" 'ids'; --",
];

// ——— Threads

test("a thread is made, read, found in the list, named anew and deleted", async () => {
  const id = newThread();
  const resourceId = newResource();
  const fields = { id, resourceId, title: "Plans", metadata: { b: [1, { c: null }], a: "ü" } };
  const created = await ask("POST", "/threads", fields);
  const { createdAt, updatedAt } = created.thread;
  assert.match(createdAt, TIME);
  const thread = { ...fields, projectId: "default", createdAt, updatedAt };
  assert.deepEqual(created, { status: 201, thread });
  assert.equal(createdAt, updatedAt);
  assert.deepEqual(await ask("POST", "/threads", { ...fields, title: "Other" }), { status: 200, thread });
  assert.deepEqual(await refusal("POST", "/threads", { ...fields, resourceId: "another" }), [
    409,
    "conflict",
    "id",
  ]);
  assert.deepEqual(await ask("GET", at(id)), { status: 200, thread });
  const listed = `/threads?resourceId=${resourceId}`;
  assert.deepEqual(await ask("GET", listed), { status: 200, threads: [thread], total: 1 });
  const renamed = await ask("PATCH", at(id), { title: "Trips" });
  assert.ok(renamed.thread.updatedAt > updatedAt);
  const after = { ...thread, title: "Trips", updatedAt: renamed.thread.updatedAt };
  assert.deepEqual(renamed, { status: 200, thread: after });
  assert.deepEqual(await ask("GET", listed), { status: 200, threads: [after], total: 1 });
  const bare = await ask("PATCH", at(id), { title: null, metadata: { replaced: true } });
  assert.deepEqual([bare.thread.title, bare.thread.metadata], [null, { replaced: true }]);
  assert.deepEqual(await ask("GET", at(id)), bare);
  const deleted = await ask("DELETE", at(id));
  assert.deepEqual([deleted.status, deleted.ok, deleted.receipt.id], [200, true, id]);
  assert.deepEqual(await refusal("GET", at(id)), [404, "not_found", "x-thread-id"]);
  assert.deepEqual(await refusal("PATCH", at(id), { title: "x" }), [404, "not_found", "x-thread-id"]);
  assert.deepEqual(await ask("GET", listed), { status: 200, threads: [], total: 0 });
  // It may come again, as somebody else's.
  const again = await ask("POST", "/threads", { id, resourceId: "another" });
  assert.deepEqual([again.status, again.thread.title, again.thread.metadata], [201, null, null]);
});

test("a thread without an id gets one, and odd ids are kept as they are", async () => {
  const one = await made();
  assert.match(one.id, /^thread_[0-9a-f]+$/);
  for (const odd of ODD) {
    const id = odd.length < 512 ? `${odd}${randomUUID()}` : odd;
    const resourceId = odd.length < 512 ? `r ${odd}${randomUUID()}` : odd;
    const thread = await made({ id, resourceId });
    assert.deepEqual([thread.id, thread.resourceId], [id, resourceId]);
    assert.deepEqual(await ask("GET", at(id)), { status: 200, thread });
    const listed = await ask("GET", `/threads?resourceId=${encodeURIComponent(resourceId)}`);
    assert.deepEqual(listed, { status: 200, threads: [thread], total: 1 });
    const posted = await ask("POST", at(id, "/messages"), { messages: [user("Hello")] });
    assert.deepEqual([posted.status, posted.messages[0].threadId], [201, id]);
    const { text } = await chat(gateway, encodeURIComponent(id), "And?", {
      headers: { "x-resource-id": encodeURIComponent(resourceId) },
    });
    assert.equal(text, echo("And?").content);
    assert.equal((await ask("GET", at(id, "/messages"))).total, 3);
  }
});

test("threads are listed in pages, the one used last first, with limits clamped", async () => {
  const resourceId = newResource();
  const ids = [];
  for (let n = 0; n < 5; n++) ids.unshift((await made({ resourceId, title: `${n}` })).id);
  const list = async (query) => {
    const { threads, total } = await ask("GET", `/threads?resourceId=${resourceId}${query}`);
    assert.equal(total, 5);
    return threads.map(({ id }) => id);
  };
  assert.deepEqual(await list(""), ids);
  assert.deepEqual(await list("&limit=2"), ids.slice(0, 2));
  assert.deepEqual(await list("&limit=2&offset=4"), ids.slice(4));
  assert.deepEqual(await list("&limit=100000"), ids);
  assert.deepEqual(await list("&limit=2&offset=9"), []);
  await ask("PATCH", at(ids[3]), { title: "newest" });
  assert.deepEqual(await list("&limit=1"), [ids[3]]);
  for (const [query, param] of [
    ["?limit=x", "limit"],
    ["?offset=-1", "offset"],
    [`?resourceId=${"x".repeat(513)}`, "resourceId"],
  ]) {
    assert.deepEqual(await refusal("GET", `/threads${query}`), [400, "invalid_request_error", param]);
  }
});

test("a thread that chat made is in the list a moment later", async () => {
  const thread = newThread();
  const resourceId = newResource();
  await chat(gateway, thread, "Hello", { resource: resourceId });
  const answered = performance.now();
  const listed = await until(async () => {
    const { threads } = await ask("GET", `/threads?resourceId=${resourceId}`);
    return threads[0];
  }, "the thread is listed");
  console.log(`listed ${Math.round(performance.now() - answered)} ms after the answer`);
  assert.deepEqual(
    { ...listed, createdAt: "", updatedAt: "" },
    {
      id: thread,
      projectId: "default",
      resourceId,
      title: null,
      metadata: null,
      createdAt: "",
      updatedAt: "",
    },
  );
});

test("what is wrong with a thread is said by its field, and malformed JSON by its place", async () => {
  const invalid = (param) => [400, "invalid_request_error", param];
  for (const [body, param] of [
    [{}, "resourceId"],
    [{ resourceId: 7 }, "resourceId"],
    [{ resourceId: "r", id: "x".repeat(513) }, "id"],
    [{ resourceId: "r", title: "x".repeat(513) }, "title"],
    [{ resourceId: "r", metadata: "x" }, "metadata"],
    [{ resourceId: "r", metadata: { x: "x".repeat(16_384) } }, "metadata"],
    ["[]", null],
  ]) {
    assert.deepEqual(await refusal("POST", "/threads", body), invalid(param));
  }
  const { id } = await made();
  assert.deepEqual(await refusal("PATCH", at(id), {}), invalid("title"));
  assert.deepEqual(await refusal("PATCH", at("x".repeat(513)), { title: "x" }), invalid("threadId"));
  const malformed = await ask("POST", "/threads", '{"resourceId":\n oops}');
  assert.match(malformed.error.message, /not valid JSON: .* at line 2 column 2/);
  const plain = await refusal("POST", "/threads", "{}", { type: "text/plain" });
  assert.deepEqual(plain, [415, "invalid_request_error", null]);
  for (const [method, path, allow] of [
    ["PUT", "/threads", "GET, HEAD, POST"],
    ["POST", at(id), "GET, HEAD, PATCH, DELETE"],
    ["GET", at(id, "/clone"), "POST"],
    ["POST", at(id, "/notes"), "GET, HEAD"],
    ["GET", "/notes/note_1_dA", "PATCH, DELETE"],
  ]) {
    const answer = await fetch(`${gateway.baseURL}/memory${path}`, {
      method,
      headers: { authorization: `Bearer ${gateway.key}` },
    });
    assert.deepEqual([answer.status, answer.headers.get("allow")], [405, allow], `${method} ${path}`);
    await answer.body?.cancel();
  }
});

test("HEAD answers where GET does, without a body", async () => {
  const { id, resourceId } = await made();
  for (const [path, status] of [
    ["/threads", 200],
    [at(id), 200],
    [at(id, "/messages"), 200],
    [at(id, "/observations"), 200],
    [at(id, "/observations/record"), 200],
    [at(id, "/observations/history"), 200],
    [at(id, "/notes"), 200],
    [`${at(id)}?resourceId=${resourceId}`, 200],
    [`${at(id)}?resourceId=another`, 404],
    [at(newThread()), 404],
  ]) {
    const url = `${gateway.baseURL}/memory${path}`;
    const headers = { authorization: `Bearer ${gateway.key}` };
    const head = await fetch(url, { method: "HEAD", headers });
    assert.deepEqual([head.status, await head.text()], [status, ""], path);
    const get = await fetch(url, { headers });
    assert.equal(get.status, status, path);
    assert.notEqual(await get.text(), "");
  }
});

// ——— Messages

test("posted messages are stored in order, given back whole, and shown to the next model", async () => {
  const { id, resourceId } = await made();
  const messages = [
    { role: "user", content: "Add 2 and 3", id: "m1", createdAt: "2026-01-02T03:04:05.678Z" },
    {
      role: "assistant",
      id: "m2",
      content: null,
      tool_calls: [{ id: "c1", type: "function", function: { name: "add", arguments: '{"a":2,"b":3}' } }],
    },
    { role: "tool", id: "m3", tool_call_id: "c1", content: "5" },
    { role: "assistant", type: "text", content: [{ type: "text", text: "It is 5." }] },
  ];
  const posted = await ask("POST", at(id, "/messages"), { messages });
  const [, second, third, fourth] = posted.messages;
  const message = (fields) => ({ threadId: id, type: "text", status: "complete", ...fields });
  const text = (words) => [{ type: "text", text: words }];
  assert.deepEqual(posted, {
    status: 201,
    messages: [
      message({
        id: "m1",
        role: "user",
        content: text("Add 2 and 3"),
        createdAt: "2026-01-02T03:04:05.678Z",
      }),
      message({
        id: "m2",
        role: "assistant",
        content: [{ type: "tool_call", toolCallId: "c1", toolName: "add", arguments: '{"a":2,"b":3}' }],
        createdAt: second.createdAt,
      }),
      message({
        id: "m3",
        role: "tool",
        content: [{ type: "tool_result", toolCallId: "c1", content: text("5") }],
        createdAt: third.createdAt,
      }),
      message({ id: fourth.id, role: "assistant", content: text("It is 5."), createdAt: fourth.createdAt }),
    ],
  });
  assert.match(fourth.id, /^msg_[0-9a-f]+_3$/);
  assert.match(fourth.createdAt, TIME);
  const { messages: kept, total } = await messagesOf(gateway, id);
  assert.deepEqual([kept, total], [posted.messages, 4]);
  const newest = await ask("GET", at(id, "/messages?order=desc&limit=1&offset=1"));
  assert.deepEqual(newest, { status: 200, messages: [third], total: 4 });
  const marked = `And ${randomUUID()}?`;
  await chat(gateway, id, marked, { resource: resourceId });
  const { body } = sandbox.requests.find(({ body }) => JSON.stringify(body ?? "").includes(marked));
  assert.deepEqual(
    body.messages.map(({ role }) => role),
    ["user", "assistant", "tool", "assistant", "user"],
  );
});

test("a message is stored once under its id; another one there refuses the whole posting", async () => {
  const { id } = await made();
  const messages = [
    { ...user("One"), id: "1" },
    { ...assistant("Two"), id: "2" },
  ];
  const first = await ask("POST", at(id, "/messages"), { messages });
  assert.deepEqual(await ask("POST", at(id, "/messages"), { messages }), first);
  const other = { messages: [user("New"), { ...user("Other"), id: "2" }] };
  assert.deepEqual(await refusal("POST", at(id, "/messages"), other), [409, "conflict", "messages"]);
  assert.deepEqual(await stored(gateway, id), [user("One"), assistant("Two")]);
  assert.deepEqual(await refusal("POST", at(newThread(), "/messages"), { messages }), [
    404,
    "not_found",
    null,
  ]);
  const foreign = at(id, "/messages?resourceId=another");
  assert.deepEqual(await refusal("POST", foreign, { messages }), [404, "not_found", "x-thread-id"]);
  for (const [body, param] of [
    [{}, "messages"],
    [{ messages: [] }, "messages"],
    [{ messages: [{ role: "system", content: "x" }] }, "messages[0].role"],
    [{ messages: [user("x"), user([{ type: "hologram" }])] }, "messages[1].content[0].type"],
    [{ messages: [{ ...user("x"), createdAt: "yesterday" }] }, "messages[0].createdAt"],
  ]) {
    const refused = await refusal("POST", at(id, "/messages"), body);
    assert.deepEqual(refused, [400, "invalid_request_error", param]);
  }
});

test("postings beside running turns are neither lost nor doubled", async () => {
  const { id, resourceId } = await made();
  const asked = Array.from({ length: 6 }, (_, n) => `asked ${n}`);
  const posted = Array.from({ length: 12 }, (_, n) => `posted ${n}`);
  await Promise.all([
    ...asked.map((text) => chat(gateway, id, text, { resource: resourceId })),
    ...posted.map(async (text) => {
      const answer = await ask("POST", at(id, "/messages"), {
        messages: [user(text), assistant(`${text}!`)],
      });
      assert.equal(answer.status, 201);
    }),
  ]);
  const expected = [
    ...asked.flatMap((text) => [`user ${text}`, `assistant ${echo(text).content}`]),
    ...posted.flatMap((text) => [`user ${text}`, `assistant ${text}!`]),
  ].sort();
  const kept = await until(async () => {
    const all = await stored(gateway, id);
    return all.length >= expected.length && all;
  }, "all is stored");
  assert.deepEqual(kept.map(({ role, content }) => `${role} ${content}`).sort(), expected);
  for (const text of posted) {
    const place = kept.findIndex(({ content }) => content === text);
    assert.deepEqual(kept[place + 1], assistant(`${text}!`), "a posting stays together");
  }
});

// ——— Copies

test("a copy has the messages under ids of its own, and goes its own way", async () => {
  const original = await made({ title: "First", metadata: { a: 1 } });
  await chat(gateway, original.id, "One", { resource: original.resourceId });
  await until(async () => (await messagesOf(gateway, original.id)).total === 2, "the turn is stored");
  await ask("POST", at(original.id, "/messages"), {
    messages: [{ ...user("Two"), createdAt: "2020-01-01T00:00:00.000Z" }, assistant("2")],
  });
  const { messages } = await messagesOf(gateway, original.id);
  const whole = await ask("POST", at(original.id, "/clone"), { newThreadId: `${original.id} copy/1` });
  const { createdAt, updatedAt } = whole.thread;
  assert.deepEqual(whole, {
    status: 201,
    thread: { ...original, id: `${original.id} copy/1`, createdAt, updatedAt },
    clonedMessages: messages.map((message, n) => ({
      ...message,
      id: whole.clonedMessages[n].id,
      threadId: whole.thread.id,
    })),
  });
  const ids = [...messages, ...whole.clonedMessages].map(({ id }) => id);
  assert.equal(new Set(ids).size, 8);
  assert.deepEqual(await ask("GET", at(whole.thread.id)), { status: 200, thread: whole.thread });
  const listed = await ask("GET", `/threads?resourceId=${original.resourceId}`);
  assert.ok(listed.threads.some(({ id }) => id === whole.thread.id));
  await chat(gateway, encodeURIComponent(whole.thread.id), "Three", { resource: original.resourceId });
  await until(async () => (await messagesOf(gateway, whole.thread.id)).total === 6, "the copy goes on");
  assert.equal((await messagesOf(gateway, original.id)).total, 4);

  const part = async (body) => {
    const { status, thread, clonedMessages } = await ask("POST", at(original.id, "/clone"), body);
    assert.equal(status, 201);
    return { thread, texts: clonedMessages.map(({ content }) => content[0].text) };
  };
  assert.deepEqual((await part({ options: { messageLimit: 2 } })).texts, ["Two", "2"]);
  const old = { messageFilter: { endDate: "2021-01-01T00:00:00.000Z" } };
  assert.deepEqual((await part({ options: old })).texts, ["Two"]);
  const named = { messageFilter: { messageIds: [messages[0].id] } };
  const moved = await part({ resourceId: "another", title: null, metadata: { b: 2 }, options: named });
  assert.deepEqual(moved.texts, ["One"]);
  const { thread } = moved;
  assert.deepEqual([thread.resourceId, thread.title, thread.metadata], ["another", null, { b: 2 }]);

  const clone = (...rest) => refusal("POST", ...rest);
  const taken = { newThreadId: original.id };
  assert.deepEqual(await clone(at(original.id, "/clone"), taken), [409, "conflict", "newThreadId"]);
  assert.deepEqual(await clone(at(newThread(), "/clone"), {}), [404, "not_found", "x-thread-id"]);
  const foreign = at(original.id, "/clone?resourceId=another");
  assert.deepEqual(await clone(foreign, {}), [404, "not_found", "x-thread-id"]);
  const wrong = { options: { messageLimit: -1 } };
  const invalid = [400, "invalid_request_error", "options.messageLimit"];
  assert.deepEqual(await clone(at(original.id, "/clone"), wrong), invalid);
});

// ——— Projects

test("another project sees, changes and names nothing of a thread", async () => {
  const { id, resourceId } = await made({ title: "Mine" });
  await ask("POST", at(id, "/messages"), { messages: [user("Mine")] });
  const other = { key: gateway.otherKey };
  for (const [method, path, body] of [
    ["GET", at(id)],
    ["PATCH", at(id), { title: "Theirs" }],
    ["POST", at(id, "/clone"), {}],
    ["GET", at(id, "/messages")],
    ["POST", at(id, "/messages"), { messages: [user("Theirs")] }],
    ["GET", at(id, "/notes")],
    ["GET", at(id, "/observations/history")],
  ]) {
    assert.deepEqual(
      await refusal(method, path, body, other),
      [404, "not_found", "x-thread-id"],
      `${method} ${path}`,
    );
  }
  const theirs = await ask("GET", `/threads?resourceId=${resourceId}`, undefined, other);
  assert.deepEqual(theirs, { status: 200, threads: [], total: 0 });
  const same = await ask("POST", "/threads", { id, resourceId, title: "Theirs" }, other);
  assert.deepEqual([same.status, same.thread.projectId, same.thread.title], [201, "other", "Theirs"]);
  assert.deepEqual((await ask("GET", at(id))).thread.title, "Mine");
  assert.deepEqual(await stored(gateway, id), [user("Mine")]);
});
