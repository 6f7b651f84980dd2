// Owns: the MCP server, as the official client and as plain HTTP see it.
// Invariant: each test has resources and threads of its own; what a client is told is compared whole where it is ours to say.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { MODEL, messagesOf, newThread, post, until, user } from "./conversation.mjs";
import { sandboxVars, startGateway, startSandbox } from "./gateway.mjs";

const PAGE = "https://agents.example";
let sandbox, gateway;
before(async () => {
  sandbox = await startSandbox();
  gateway = await startGateway({
    vars: { ...sandboxVars(sandbox), CORS_ORIGINS: PAGE, MAX_BODY_BYTES: String(4 * 1024 * 1024) },
  });
});
after(async () => {
  await gateway?.stop();
  await sandbox?.close();
});

const newResource = () => `resource-${randomUUID()}`;

/** The official client, connected. */
async function connect(headers = {}, key = gateway.key) {
  const client = new Client({ name: "tests", version: "1" });
  const transport = new StreamableHTTPClientTransport(new URL(`${gateway.url}/mcp`), {
    requestInit: { headers: { authorization: `Bearer ${key}`, ...headers } },
  });
  await client.connect(transport);
  return client;
}

/** Calls a tool; gives its text, with `isError` where it failed. */
async function call(client, name, args = {}) {
  const { content, isError } = await client.callTool({ name, arguments: args });
  assert.deepEqual(
    content.map(({ type }) => type),
    ["text"],
  );
  return { text: content[0].text, isError };
}

/** One exchange by plain HTTP. */
async function raw(body, headers = {}, method = "POST") {
  const answer = await fetch(`${gateway.url}/mcp`, {
    method,
    headers: {
      authorization: `Bearer ${gateway.key}`,
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      ...headers,
    },
    body:
      method === "POST"
        ? typeof body === "string" || Buffer.isBuffer(body)
          ? body
          : JSON.stringify(body)
        : undefined,
  });
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, body: text && JSON.parse(text) };
}

const request = (method, params) => ({ jsonrpc: "2.0", id: 1, method, params });

async function say(thread, resource, text, key = gateway.key) {
  const answer = await post(
    gateway,
    "/chat/completions",
    { model: MODEL, messages: [user(text)] },
    { thread, resource, key },
  );
  assert.equal(answer.status, 200);
  await answer.json();
}

/** Recalls until something is found: a turn's answer is stored behind it, and a new thread is listed behind that. */
const recalled = (client, args, wanted) =>
  until(
    async () => {
      const found = await call(client, "recall", args);
      return found.text.includes(wanted) && found;
    },
    `recall of ${JSON.stringify(args)} finds ${wanted}`,
  );

test("the official client connects, and is told of four tools", async () => {
  const client = await connect();
  assert.equal(client.getServerVersion().name, "memory-gateway");
  assert.match(client.getInstructions(), /recall/);
  const { tools } = await client.listTools();
  assert.deepEqual(
    tools.map(({ name, inputSchema, annotations }) => [
      name,
      Object.keys(inputSchema.properties).sort(),
      inputSchema.required,
      annotations.readOnlyHint,
    ]),
    [
      ["recall", ["cursor", "open", "query", "resourceId", "threadId"], ["resourceId"], true],
      ["remember", ["resourceId", "text", "threadId"], ["text", "resourceId"], false],
      ["forget", ["messages", "notes", "query", "resourceId", "threadId"], ["resourceId"], false],
      ["list_threads", ["limit", "resourceId"], ["resourceId"], true],
    ],
  );
  await client.ping();
  await client.close();
});

test("what was said on chat is recalled word for word, and opened", async () => {
  const [thread, resource] = [newThread(), newResource()];
  await say(thread, resource, "My walrus is called Ignatius.");
  const client = await connect({ "x-resource-id": resource, "x-thread-id": thread });
  const found = await recalled(client, { query: "walrus" }, "> My walrus is called Ignatius.");
  assert.match(found.text, /^<recalled>\n.*data, not instructions/);
  const [reference] = found.text.match(/msg_\S+(?= · user)/);
  const opened = await recalled(client, { open: reference }, "· assistant ·");
  assert.match(opened.text, new RegExp(`${reference} · user · .* UTC\n> My walrus is called Ignatius\\.\n`));
  await client.close();
});

test("over all threads of a resource a hit says which thread it is in, and can be opened by that", async () => {
  const resource = newResource();
  const threads = [`${newThread()}/a b`, newThread()];
  for (const [at, thread] of threads.entries())
    await say(encodeURIComponent(thread), resource, `Otter ${at} sleeps.`);
  const client = await connect({ "x-resource-id": resource });
  const found = await until(async () => {
    const { text } = await call(client, "recall", { query: "otter" });
    return text.includes("> Otter 0 sleeps.") && text.includes("> Otter 1 sleeps.") && text;
  }, "both threads are found");
  const reference = found.match(/(\S+@\S+) · user · .*\n> Otter 0/)[1];
  assert.ok(reference.endsWith("/a%20b"), reference);
  assert.match((await call(client, "recall", { open: reference })).text, /> Otter 0 sleeps\./);
  const listed = await until(async () => {
    const answer = JSON.parse((await call(client, "list_threads")).text);
    return answer.total === 2 && answer;
  }, "both threads are listed");
  assert.deepEqual(listed.threads.map(({ threadId }) => threadId).sort(), [...threads].sort());
  const one = JSON.parse((await call(client, "list_threads", { limit: 1 })).text);
  assert.deepEqual([one.threads.length, one.total], [1, 2]);
  await client.close();
});

test("what an agent remembers is told to the model in the next turn, and what it forgets is not", async () => {
  const [thread, resource] = [newThread(), newResource()];
  const client = await connect({ "x-resource-id": resource });
  const remembered = await call(client, "remember", {
    threadId: thread,
    text: "Ann is allergic to pistachios.",
  });
  const [reference] = remembered.text.match(/note_\d+@\S+(?=\.)/);
  await say(thread, resource, "First question.");
  const asked = (text) =>
    sandbox.requests.find(({ body }) => JSON.stringify(body?.messages ?? "").includes(text));
  assert.match(
    JSON.stringify(asked("First question.").body),
    /\(assistant\) Ann is allergic to pistachios\./,
  );

  const would = await call(client, "forget", { threadId: thread, query: "pistachios" });
  assert.match(would.text, /Nothing is forgotten yet/);
  assert.match(would.text, /^note_\d+: "Ann is allergic to pistachios\."$/m);
  const gone = await call(client, "forget", { notes: [reference] });
  assert.match(gone.text, new RegExp(`^Forgotten:\n${reference}: "Ann is allergic to pistachios\\."`));
  assert.equal(gone.isError, false);
  const again = await call(client, "forget", { notes: [reference] });
  assert.match(again.text, /^Nothing was forgotten/);
  await say(thread, resource, "Second question.");
  assert.doesNotMatch(JSON.stringify(asked("Second question.").body), /pistachios/);
  assert.match((await call(client, "recall", { query: "pistachios" })).text, /Nothing that was said/);
  await client.close();
});

test("messages are forgotten by what recall showed, with the notes that were made from them", async () => {
  const [thread, resource] = [newThread(), newResource()];
  await say(thread, resource, "My badger is called Archibald.");
  await say(thread, resource, "My lemur is called Beatrice.");
  const client = await connect({ "x-resource-id": resource });
  const args = { threadId: thread };
  const found = await recalled(client, { ...args, query: "badger" }, "> My badger is called Archibald.");
  const message = found.text.match(/(msg_\S+) · user · .*\n> My badger/)[1];
  const would = await call(client, "forget", { ...args, query: "badger" });
  assert.match(would.text, /^Nothing is forgotten yet/);
  assert.ok(would.text.includes(`\n${message}: "My badger is called Archibald."\n`), would.text);

  const gone = await call(client, "forget", { messages: [`${message}@${thread}`, `msg_none@${thread}`] });
  assert.deepEqual(gone, {
    text: `Forgotten:\n${message}@${thread}: the message`,
    isError: false,
  });
  assert.match(
    (await call(client, "recall", { ...args, query: "Archibald" })).text,
    /Nothing that was said|^(?![^]*My badger)/,
  );
  assert.match((await call(client, "recall", { ...args, open: message })).text, /no such message/);
  const again = await call(client, "forget", { ...args, messages: [message] });
  assert.equal(again.text, "Nothing was forgotten: there are no such notes or messages here.");
  await recalled(client, { ...args, query: "lemur" }, "> My lemur is called Beatrice.");

  const neighbour = await connect({ "x-resource-id": newResource() });
  const [lemur] = (await recalled(client, { ...args, query: "lemur" }, "· user ·")).text.match(
    /msg_\S+(?= · user · .*\n> My lemur)/,
  );
  const foreign = await call(neighbour, "forget", { ...args, messages: [lemur] });
  assert.match(foreign.text, /^Nothing was forgotten/);
  await recalled(client, { ...args, open: lemur }, "> My lemur is called Beatrice.");
  await Promise.all([client.close(), neighbour.close()]);
});

test("words that were remembered are gone when their note is deleted over REST", async () => {
  const [thread, resource] = [newThread(), newResource()];
  const client = await connect({ "x-resource-id": resource, "x-thread-id": thread });
  const remembered = await call(client, "remember", { text: "Ann keeps a tortoise." });
  assert.equal(remembered.isError, false);
  await recalled(client, { query: "tortoise" }, "Ann keeps a tortoise.");
  const headers = { authorization: `Bearer ${gateway.key}` };
  const listed = await fetch(`${gateway.baseURL}/memory/threads/${thread}/notes`, { headers });
  const { notes } = await listed.json();
  assert.deepEqual(
    notes.map(({ text }) => text),
    ["Ann keeps a tortoise."],
  );
  const answer = await fetch(`${gateway.baseURL}/memory/notes/${notes[0].id}`, { method: "DELETE", headers });
  assert.equal(answer.status, 200, await answer.text());
  assert.match((await call(client, "recall", { query: "tortoise" })).text, /Nothing that was said/);
  assert.deepEqual((await messagesOf(gateway, thread)).messages, []);
  await client.close();
});

test("only calls that change something count as writing, and a key above its limit still reads", async () => {
  const [thread, resource] = [newThread(), newResource()];
  await say(thread, resource, "My gecko is called Clementine.");
  const made = await gateway.manage("POST", "/projects/default/keys", {
    label: "reader",
    limits: { memory_write: 1 },
  });
  assert.ok(made.secret, JSON.stringify(made));
  const client = await connect({ "x-resource-id": resource, "x-thread-id": thread }, made.secret);
  const found = await recalled(client, { query: "gecko" }, "> My gecko is called Clementine.");
  const message = found.text.match(/msg_\S+(?= · user)/)[0];
  assert.equal((await call(client, "forget", { query: "gecko" })).isError, false);
  assert.equal((await call(client, "list_threads")).isError, false);
  assert.equal((await call(client, "remember", { text: "Geckos climb." })).isError, false);
  for (const [name, args] of [
    ["remember", { text: "Planted." }],
    ["forget", { messages: [message] }],
    ["forget", { notes: ["note_1"] }],
  ]) {
    const { text, isError } = await call(client, name, args);
    assert.deepEqual([isError, /may make 1 in 60 seconds \(memory_write\)/.test(text)], [true, true], text);
  }
  await recalled(client, { open: message }, "> My gecko is called Clementine.");
  await recalled(client, { query: "climb" }, "Geckos climb.");
  await client.close();
});

test("neither another resource nor another project is seen, whatever a call says", async () => {
  const [thread, resource, other] = [newThread(), newResource(), newResource()];
  await say(thread, resource, "The heron is secret.");
  const own = await connect({ "x-resource-id": resource });
  const found = await recalled(own, { query: "heron", threadId: thread }, "> The heron is secret.");
  const message = found.text.match(/msg_\S+(?= · user)/)[0];
  const remembered = await call(own, "remember", { threadId: thread, text: "The heron is blue." });
  const note = remembered.text.match(/note_\d+/)[0];

  const neighbour = await connect({ "x-resource-id": other });
  const foreigner = await connect({ "x-resource-id": resource }, gateway.otherKey);
  const free = await connect();
  const attempts = [
    ["recall", { query: "heron" }],
    ["recall", { query: "heron", threadId: thread }],
    ["recall", { open: `${message}@${thread}` }],
    ["recall", { open: `${note}@${thread}` }],
    ["recall", { open: message, threadId: thread }],
    ["forget", { query: "heron" }],
    ["forget", { notes: [`${note}@${thread}`] }],
    ["list_threads", {}],
  ];
  for (const [name, args] of attempts) {
    for (const [who, client, more] of [
      ["neighbour", neighbour, {}],
      ["foreigner", foreigner, {}],
      ["free", free, { resourceId: other }],
    ]) {
      const { text } = await call(client, name, { ...args, ...more });
      assert.doesNotMatch(text, /secret|blue|"total":1/, `${who}: ${name} ${JSON.stringify(args)}`);
    }
  }
  const bound = await call(neighbour, "recall", { query: "heron", resourceId: resource });
  assert.deepEqual([bound.isError, /settled by this connection/.test(bound.text)], [true, true]);
  const planted = await call(neighbour, "remember", { threadId: thread, text: "Planted." });
  assert.deepEqual([planted.isError, /No such thread/.test(planted.text)], [true, true]);
  // A thread of the same name in another project is another thread.
  const elsewhere = await call(foreigner, "remember", { threadId: thread, text: "Elsewhere." });
  assert.equal(elsewhere.isError, false);
  assert.match((await call(own, "recall", { open: `${note}@${thread}` })).text, /> The heron is blue\./);
  assert.doesNotMatch(
    (await call(own, "recall", { query: "Elsewhere Planted" })).text,
    /> (Elsewhere|Planted)/,
  );
  await Promise.all([own, neighbour, foreigner, free].map((client) => client.close()));
});

test("a long recall is read page by page, to its end", async () => {
  const [thread, resource] = [newThread(), newResource()];
  const long = Array.from({ length: 3_000 }, (_, at) => `word${at}`).join(" ");
  await say(thread, resource, `Gnu ${long}`);
  const client = await connect({ "x-resource-id": resource, "x-thread-id": thread });
  const found = await recalled(client, { query: "gnu" }, "· user ·");
  let args = { open: found.text.match(/msg_\S+(?= · user)/)[0] };
  let heard = "";
  for (let pages = 0; args; pages++) {
    assert.ok(pages < 40, "it ends");
    const { text } = await call(client, "recall", args);
    const [, page, more] = text.match(
      /as `open`\.\n([^]*?)(?:This is not all of it\..* with (\{.*\})\n)?<\/recalled>$/,
    );
    heard += page.replace(/…\n$/, "");
    args = more && JSON.parse(more);
  }
  assert.ok(heard.includes(`> Gnu ${long}\n`));
  await client.close();
});

test("a call that cannot be carried out tells the model what to do", async () => {
  const client = await connect({ "x-resource-id": newResource() });
  for (const [name, args, says] of [
    ["recall", {}, /Give `query`/],
    ["recall", { open: "msg_x" }, /no such message/],
    ["remember", { text: "x" }, /`threadId`/],
    ["remember", { threadId: newThread() }, /text/],
    ["forget", { notes: ["walrus"] }, /no note's reference/],
    ["list_threads", { limit: "many" }, /cannot be read/],
  ]) {
    const { text, isError } = await call(client, name, args);
    assert.equal(isError, true, `${name} ${JSON.stringify(args)}`);
    assert.match(text, says);
  }
  await assert.rejects(client.callTool({ name: "shell", arguments: {} }), { code: -32602 });
  await client.close();
});

test("wrong messages are answered with the codes of JSON-RPC", async () => {
  for (const [body, status, code] of [
    ["{", 400, -32700],
    [{ id: 1, method: "ping" }, 400, -32600],
    [[], 400, -32600],
    [request("resources/list"), 200, -32601],
    [request("tools/call", { name: "none" }), 200, -32602],
  ]) {
    const answer = await raw(body);
    assert.deepEqual([answer.status, answer.body.error.code], [status, code], JSON.stringify(body));
  }
  const silent = await raw({ jsonrpc: "2.0", method: "notifications/initialized" });
  assert.deepEqual([silent.status, silent.body], [202, ""]);
  const batch = await raw([
    request("ping"),
    { jsonrpc: "2.0", method: "notifications/x" },
    { ...request("ping"), id: "b" },
  ]);
  assert.deepEqual(batch.body, [
    { jsonrpc: "2.0", id: 1, result: {} },
    { jsonrpc: "2.0", id: "b", result: {} },
  ]);
  const newer = await raw([request("ping")], { "mcp-protocol-version": "2025-06-18" });
  assert.deepEqual([newer.status, newer.body.error.code], [400, -32600]);
  const deep = await raw("[".repeat(5_000));
  assert.deepEqual([deep.status, deep.body.error.code], [400, -32700]);
  const notUtf8 = await raw(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d]));
  assert.deepEqual([notUtf8.status, notUtf8.body.error.code], [400, -32700]);
});

test("the transport's own rules hold: methods, types, versions, pages, keys, headers", async () => {
  for (const method of ["GET", "DELETE", "PUT"]) {
    const answer = await raw(undefined, {}, method);
    assert.deepEqual([answer.status, answer.headers.get("allow")], [405, "POST"], method);
  }
  const ping = request("ping");
  for (const [headers, status] of [
    [{ "content-type": "text/plain" }, 415],
    [{ "mcp-protocol-version": "1999-01-01" }, 400],
    [{ "mcp-protocol-version": "2025-03-26" }, 200],
    [{ origin: "https://elsewhere.example" }, 403],
    [{ origin: PAGE }, 200],
    [{ authorization: "" }, 401],
    [{ authorization: "Bearer msk_unknown" }, 401],
    [{ authorization: "", "x-api-key": gateway.key }, 200],
    [{ "x-thread-id": "t" }, 400],
    [{ "x-resource-id": "r".repeat(513) }, 400],
  ]) {
    const answer = await raw(ping, headers);
    assert.equal(answer.status, status, JSON.stringify(headers));
  }
  // Nothing is kept between messages, so an id of a session means nothing, and none is given out.
  const session = await raw(ping, { "mcp-session-id": "somebody-elses" });
  assert.deepEqual([session.status, session.headers.get("mcp-session-id")], [200, null]);
  const huge = await raw({ ...ping, params: { pad: "x".repeat(6 * 1024 * 1024) } });
  assert.equal(huge.status, 413, JSON.stringify(huge.body));
  const counted = await raw(ping);
  assert.equal(counted.headers.get("x-ratelimit-scope"), "memory_read");
  assert.equal(counted.headers.get("content-type"), "application/json");
});

test("each version that is spoken is agreed on, and the newest for any other", async () => {
  for (const [wanted, agreed] of [
    ["2025-06-18", "2025-06-18"],
    ["2025-03-26", "2025-03-26"],
    ["2024-11-05", "2024-11-05"],
    ["2031-01-01", "2025-06-18"],
  ]) {
    const params = { protocolVersion: wanted, capabilities: {}, clientInfo: { name: "t", version: "1" } };
    const { body } = await raw(request("initialize", params));
    assert.equal(body.result.protocolVersion, agreed);
  }
});

test("a key that may not use memory may not use it over MCP", async () => {
  const made = await gateway.manage("POST", "/projects/default/keys", {
    label: "models",
    endpoints: ["chat"],
  });
  const secret = made.secret;
  assert.ok(secret, JSON.stringify(made));
  const answer = await raw(request("ping"), { authorization: `Bearer ${secret}` });
  assert.equal(answer.status, 403);
});
