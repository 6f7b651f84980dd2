// Owns: moving in: `npm run import` from a stub with the hosted service's shapes and faults, from another instance, and from
// files, into a gateway on the real runtime.
// Invariant: the stub answers each request by its path and by how often it was asked before, so no test depends on time.
import assert from "node:assert/strict";
import { mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { move, readOptions } from "../../scripts/import.mjs";
import { chat, messagesOf, newThread, stored, until } from "./conversation.mjs";
import { sandboxVars, startGateway, startSandbox } from "./gateway.mjs";

let sandbox, gateway, folder;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), "memory-import-"));
  sandbox = await startSandbox();
  gateway = await startGateway({ vars: sandboxVars(sandbox) });
});
after(async () => {
  await gateway?.stop();
  await sandbox?.close();
  rmSync(folder, { recursive: true, force: true });
});

let states = 0;
const options = (more) => ({
  to: gateway.baseURL,
  toKey: gateway.key,
  state: join(folder, `state-${(states += 1)}.json`),
  isGateway: true,
  ...more,
});

const memory = async (path) => {
  const answer = await fetch(`${gateway.baseURL}/memory${path}`, {
    headers: { authorization: `Bearer ${gateway.key}` },
  });
  return answer.json();
};

const KEY = "msk_hosted";
const text = (value) => [{ type: "text", text: value }];

/** A hosted gateway: threads as `{thread, messages, observations?, record?}`; `fault(path, times)` may answer in its place. */
async function startHosted(context, threads, fault = () => undefined) {
  const asked = new Map();
  const server = createServer((request, response) => {
    const url = new URL(request.url, "http://stub");
    const times = (asked.get(request.url) ?? 0) + 1;
    asked.set(request.url, times);
    const send = (status, body, headers = {}) =>
      response
        .writeHead(status, { "content-type": "application/json", ...headers })
        .end(typeof body === "string" ? body : JSON.stringify(body));
    if (request.headers.authorization !== `Bearer ${KEY}` || request.method !== "GET")
      return send(401, { error: { message: "no" } });
    const answer = fault(url.pathname, times);
    if (answer === "hang up") return request.socket.destroy();
    if (answer) return send(...answer);
    const [limit, offset] = ["limit", "offset"].map((name) => Number(url.searchParams.get(name)));
    if (url.pathname === "/v1/memory/threads")
      return send(200, {
        threads: threads.map(({ thread }) => thread).slice(offset, offset + limit),
        total: threads.length,
      });
    const [, id, rest] = url.pathname.match(/^\/v1\/memory\/threads\/([^/]+)\/(.+)$/) ?? [];
    const found = threads.find(({ thread }) => thread.id === decodeURIComponent(id ?? ""));
    if (!found) return send(404, { error: { message: "not found" } });
    if (rest === "messages")
      return send(200, {
        messages: found.messages.slice(offset, offset + limit),
        total: found.messages.length,
      });
    if (rest === "observations") return send(200, { observations: found.observations ?? null });
    if (rest === "observations/record") return send(200, { record: found.record ?? null });
    return send(404, { error: { message: "not found" } });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    url: `http://127.0.0.1:${server.address().port}/v1/`,
  };
}

const thread = (id, resourceId = "ann", more) => ({
  ...{ id, resourceId, title: "Dogs", metadata: { plan: "pro" } },
  ...{ createdAt: "2026-11-01T10:00:00.000Z", updatedAt: "2026-11-02T10:00:00.000Z", ...more },
});
const message = (id, role, content, createdAt = "2026-11-01T10:00:00.000Z") => ({
  ...{ id, threadId: "t", role, content, type: "text", createdAt },
});

test("a hosted gateway's threads come over with odd content and through faults, and again changes nothing", async (context) => {
  const id = `hosted/1 é ${newThread()}`;
  const many = newThread();
  const odd = [
    message("m1", "user", text("My dog is called Rex")),
    message("m2", "assistant", [
      { type: "step-start" },
      {
        type: "tool-invocation",
        toolInvocation: {
          state: "result",
          toolCallId: "c1",
          toolName: "look",
          args: { at: "dog" },
          result: { ok: 1 },
        },
      },
      { type: "text", text: "A fine dog." },
      { type: "hologram", of: "dog" },
    ]),
    message("m3", "system", text("Be brief.")),
    message("m4", "user", null),
    message("m5", "user", { format: 2, parts: text("Thank you") }, "2026-11-01T11:00:00.000Z"),
    message("m6", "assistant", "Welcome.", "2026-11-01T11:00:01.000Z"),
  ];
  const hosted = await startHosted(
    context,
    [
      {
        thread: thread(id),
        messages: odd,
        observations: "Date: Nov 1, 2026\n* 🔴 (10:00) User's dog is called Rex\n  * -> a fine one",
        record: { lastObservedAt: "2026-11-01T10:00:00.000Z" },
      },
      {
        thread: thread(many, "bob", { title: null, metadata: null }),
        messages: Array.from({ length: 450 }, (_, at) =>
          message(`n${at}`, at % 2 ? "assistant" : "user", text(`number ${at}`)),
        ),
      },
    ],
    (path, times) => {
      if (path.endsWith("/messages") && times === 1) return [429, "slow down", { "retry-after": "0" }];
      if (path.endsWith("/messages") && times === 2) return "hang up";
      if (path.endsWith("/observations") && times === 1) return [200, "{ not json"];
      if (path.endsWith("/record") && times === 1) return [503, "down"];
      return undefined;
    },
  );
  const way = options({ from: hosted.url, fromKey: KEY });
  const report = await move(way);
  assert.deepEqual(
    [report.threads, report.messages, report.observations, report.failed],
    [2, 456, 1, 0],
    JSON.stringify(report),
  );
  assert.deepEqual(
    report.problems.map(({ problem }) => problem),
    [
      "message m2: a part of the type hologram was left out",
      "message m3: messages of the role system are not stored",
      "message m4: its content is null",
    ],
  );
  assert.deepEqual(await stored(gateway, id), [
    { role: "user", content: "My dog is called Rex" },
    {
      role: "assistant",
      content: [{ type: "tool_call", toolCallId: "c1", toolName: "look", arguments: '{"at":"dog"}' }],
    },
    { role: "tool", content: [{ type: "tool_result", toolCallId: "c1", content: text('{"ok":1}') }] },
    { role: "assistant", content: "A fine dog." },
    { role: "user", content: "Thank you" },
    { role: "assistant", content: "Welcome." },
  ]);
  const { messages } = await messagesOf(gateway, id);
  assert.deepEqual(messages.map(({ id: own, createdAt }) => [own, createdAt.slice(11, 16)]).slice(0, 5), [
    ["m1", "10:00"],
    ["m2", "10:00"],
    ["m2:2", "10:00"],
    ["m2:3", "10:00"],
    ["m5", "11:00"],
  ]);
  const path = `/threads/${encodeURIComponent(id)}`;
  const { observations } = await memory(`${path}/observations`);
  assert.equal(observations, "## Sunday 2026-11-01\n- 10:00 User's dog is called Rex\n  - a fine one");
  const { thread: made } = await memory(path);
  assert.deepEqual(
    [made.title, made.metadata, made.createdAt],
    ["Dogs", { plan: "pro" }, "2026-11-01T10:00:00.000Z"],
  );
  assert.equal((await messagesOf(gateway, many, { query: "?limit=1" })).total, 450);
  // The state file has it all; without it the gateway has.
  const [again, anew] = [await move(way), await move(options({ from: hosted.url, fromKey: KEY }))];
  assert.deepEqual([again.threads, again.skipped], [0, 2]);
  assert.deepEqual([anew.threads, anew.messages], [2, 456]);
  assert.equal((await messagesOf(gateway, id)).total, 6);
  assert.equal((await memory(`${path}/observations`)).observations, observations);
  assert.ok(
    !readFileSync(way.state, "utf8").includes("Rex") && !readFileSync(way.state, "utf8").includes("msk_"),
  );
  // What was imported goes on.
  const answer = await chat(gateway, encodeURIComponent(id), "And?", { resource: "ann" });
  assert.equal(answer.headers.get("x-memory-status"), "hit");
});

test("a thread that stands in the way is reported and the others are moved", async (context) => {
  const [taken, free] = [newThread(), newThread()];
  await chat(gateway, taken, "Mine.", { resource: "somebody" });
  const hosted = await startHosted(
    context,
    [taken, free].map((id) => ({ thread: thread(id), messages: [message(`${id}-1`, "user", text("Hi"))] })),
  );
  const report = await move(options({ from: hosted.url, fromKey: KEY }));
  assert.deepEqual([report.threads, report.failed], [1, 1]);
  assert.match(report.problems[0].problem, /belongs to another resource/);
  assert.equal((await messagesOf(gateway, free)).total, 1);
  await assert.rejects(move(options({ from: hosted.url, fromKey: "msk_wrong" })), /refuses the key \(401\)/);
});

test("another memory-gateway is moved lossless, notes and all", async () => {
  const id = newThread();
  await chat(gateway, id, "I live in Oslo.", { resource: "mover" });
  await until(
    async () => {
      const { threads } = await memory("/threads?resourceId=mover");
      return threads.length === 1;
    },
    "the thread is listed",
    60_000,
  );
  const way = { from: gateway.url, fromKey: gateway.key, toKey: gateway.otherKey, resource: "mover" };
  const report = await move(options(way));
  assert.deepEqual([report.threads, report.messages, report.failed], [1, 2, 0], JSON.stringify(report));
  assert.deepEqual(await messagesOf(gateway, id, { key: gateway.otherKey }), await messagesOf(gateway, id));
});

test("a ChatGPT export comes over by its current branch, and the others are told", async () => {
  const id = newThread();
  const node = (name, parent, children, role, parts, create_time = 1_760_000_000) => ({
    [name]: {
      ...{ id: name, parent, children },
      message: role && {
        id: `${id}-${name}`,
        author: { role },
        create_time,
        content: { content_type: "text", parts },
      },
    },
  });
  const mapping = {
    ...node("root", null, ["a"]),
    ...node("a", "root", ["b", "c"], "user", ["What is a walrus?"]),
    ...node("b", "a", [], "assistant", ["A bird."]),
    ...node("c", "a", ["d"], "assistant", ["A mammal."], 1_760_000_100.5),
    ...node("d", "c", [], "user", [
      { content_type: "image_asset_pointer", asset_pointer: "x" },
      "Like this?",
    ]),
  };
  const file = join(folder, "conversations.json");
  const conversation = {
    title: "Walrus",
    conversation_id: id,
    create_time: 1_760_000_000,
    update_time: 1_760_000_200,
  };
  writeFileSync(file, JSON.stringify([{ ...conversation, mapping, current_node: "d" }, { title: "Broken" }]));
  const report = await move(options({ from: file, resource: "ann", isGateway: false }));
  assert.deepEqual([report.threads, report.messages, report.failed], [1, 3, 0]);
  assert.deepEqual(
    report.problems.map(({ problem }) => problem),
    [
      `message ${id}-d: a part of the type image_asset_pointer was left out`,
      "1 other branches were left out",
      "it has no messages or no id",
    ],
  );
  assert.deepEqual(
    (await stored(gateway, id)).map(({ content }) => content),
    ["What is a walrus?", "A mammal.", "Like this?"],
  );
  assert.equal((await messagesOf(gateway, id)).messages[1].createdAt, "2025-10-09T08:55:00.500Z");
});

test("files of messages come over, a thread each, with calls and their results", async () => {
  const messages = join(folder, "messages");
  mkdirSync(messages);
  const id = newThread();
  const turns = [
    { role: "developer", content: "Be brief." },
    {
      role: "user",
      content: [
        { type: "text", text: "Weather?" },
        { type: "image_url", image_url: { url: "https://example.com/a.png" } },
      ],
    },
    {
      role: "assistant",
      content: null,
      tool_calls: [{ id: "c", type: "function", function: { name: "weather", arguments: "{}" } }],
    },
    { role: "tool", tool_call_id: "c", content: "12 °C" },
  ];
  writeFileSync(join(messages, `${id}.json`), JSON.stringify(turns));
  writeFileSync(
    join(messages, `${id}-more.jsonl`),
    `${JSON.stringify({ messages: turns.slice(1, 2) })}\n{"no":1}\n`,
  );
  writeFileSync(join(messages, "broken.json"), "{");
  writeFileSync(join(messages, "notes.txt"), "not for an import");
  const report = await move(options({ from: messages, resource: "ann", isGateway: false }));
  assert.deepEqual([report.threads, report.messages, report.problems.length], [2, 4, 3]);
  const [asked, called, told] = await stored(gateway, id);
  assert.deepEqual(
    asked.content.map(({ type }) => type),
    ["text", "image"],
  );
  assert.deepEqual([called.content[0].toolName, told.content[0].content], ["weather", text("12 °C")]);
  assert.equal((await messagesOf(gateway, `${id}-more-1`)).total, 1);
});

test("the command line says what is missing", () => {
  const read = (...args) => readOptions(args, {});
  assert.throws(() => read("--from", "http://a"), /--from and --to/);
  assert.throws(() => read("--from", "http://a", "--to", "http://b", "--key", "k"), /no key for http:\/\/b/);
  assert.throws(() => read("--from", "/nothing/here", "--to", "http://b", "--key", "k"), /there is no/);
  assert.throws(() => read("--from", folder, "--to", "http://b", "--key", "k"), /--resource/);
  const both = read("--from", "http://a", "--key", "1", "--to", "http://b", "--key", "2");
  assert.deepEqual([both.fromKey, both.toKey, both.isGateway], ["1", "2", true]);
});
