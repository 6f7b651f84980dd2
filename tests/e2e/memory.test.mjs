// Owns: what a thread keeps and for whom: storing, isolation, modes and headers, the list, and the body's own bytes.
// Invariant: each test has threads of its own; the sandbox computes answers from the prompt, so they prove what was in it.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  assistant,
  chat,
  echo,
  lastPrompt,
  memoryHeaders,
  messagesOf,
  MODEL,
  newThread,
  post,
  refused,
  stored,
  streamed,
  system,
  until,
  user,
} from "./conversation.mjs";
import { startGateway, startSandbox, sandboxVars } from "./gateway.mjs";
import { startUpstream, whole } from "./wire.mjs";

let sandbox, gateway, upstream;
// The last two projects have names that a careless join of project and thread would confuse.
const KEYS = ["default", "other", "a", "a-b"].map((project, n) => ({ key: `msk_memory_${n}`, project }));
before(async () => {
  [sandbox, upstream] = await Promise.all([startSandbox(), startUpstream()]);
  const PROVIDERS = JSON.stringify({
    raw: { base_url: `${upstream.url}/v1`, dialects: ["chat", "responses"] },
  });
  gateway = await startGateway({ vars: { ...sandboxVars(sandbox), PROVIDERS }, keys: KEYS });
});
after(async () => {
  await gateway?.stop();
  await sandbox?.close();
  await upstream?.close();
});

/** The messages of `texts.length` turns, each answered by the sandbox. */
const turns = (...texts) => texts.flatMap((text) => [user(text), echo(text)]);

/** A thread that holds these turns, sent one by one. */
async function threadOf(...texts) {
  const thread = newThread();
  for (const text of texts) await chat(gateway, thread, text);
  return thread;
}

// ——— Storing

test("a thread is remembered across a sudden end of workerd", async () => {
  const thread = newThread();
  await chat(gateway, thread, "My name is Alex.");
  await gateway.restart();
  assert.equal((await chat(gateway, thread, "What is my name?")).text, "Alex");
  assert.deepEqual(await stored(gateway, thread), [
    user("My name is Alex."),
    assistant("Got it."),
    user("What is my name?"),
    assistant("Alex"),
  ]);
});

for (const [what, textOf] of [
  ["different", (n) => `message ${n}`],
  ["equal", () => "the same message"],
]) {
  test(`of 20 parallel requests with ${what} texts on a new thread none is lost and none doubled`, async () => {
    const thread = newThread();
    const texts = Array.from({ length: 20 }, (_, n) => textOf(n));
    const answers = await Promise.all(texts.map((text) => chat(gateway, thread, text)));
    assert.deepEqual(
      answers.map(({ message }) => message.content),
      texts.map((text) => echo(text).content),
    );
    const { messages, total } = await messagesOf(gateway, thread);
    assert.equal(total, 40);
    assert.equal(new Set(messages.map(({ id }) => id)).size, 40);
    const told = await stored(gateway, thread);
    const sorted = (list) => list.map(JSON.stringify).sort();
    assert.deepEqual(sorted(told), sorted(turns(...texts)));
    // Each answer stands right behind its question, whatever order the answers came in.
    for (let n = 0; n < 40; n += 2) assert.deepEqual(told[n + 1], echo(told[n].content));
  });
}

test("parallel streamed requests on a new thread are all kept", async () => {
  const thread = newThread();
  const texts = Array.from({ length: 10 }, (_, n) => `streamed ${n}`);
  const answers = await Promise.all(
    texts.map((text, n) => streamed(gateway, thread, text, { model: `${MODEL};delay=${1 + (n % 3) * 10}` })),
  );
  assert.deepEqual(
    answers,
    texts.map((text) => echo(text).content),
  );
  const told = await stored(gateway, thread);
  assert.deepEqual(
    told.map(JSON.stringify).sort(),
    turns(...texts)
      .map(JSON.stringify)
      .sort(),
  );
});

test("two equal messages in a row are two messages", async () => {
  const thread = await threadOf("twin", "twin", "twin");
  assert.deepEqual(await stored(gateway, thread), turns("twin", "twin", "twin"));
  await chat(gateway, thread, [user("pair"), user("pair")]);
  assert.deepEqual((await stored(gateway, thread)).slice(6), [user("pair"), user("pair"), echo("pair")]);
});

test("system and developer messages lead the prompt and are not stored", async () => {
  const thread = await threadOf("one");
  await chat(gateway, thread, [system("Be brief."), { role: "developer", content: "Be kind." }, user("two")]);
  assert.deepEqual(lastPrompt(sandbox), [
    system("Be brief."),
    { role: "developer", content: "Be kind." },
    ...turns("one"),
    user("two"),
  ]);
  assert.deepEqual(await stored(gateway, thread), turns("one", "two"));
});

test("a request of system messages alone is passed on", async () => {
  const thread = await threadOf("one");
  const { text } = await chat(gateway, thread, [system("Always answer with: aye")]);
  assert.equal(text, "aye");
  assert.deepEqual(lastPrompt(sandbox), [system("Always answer with: aye"), ...turns("one")]);
});

test("pictures are kept and shown again with all that the client said of them", async () => {
  const thread = newThread();
  const data = "data:image/png;base64,iVBORw0KGgo=";
  const picture = user([
    { type: "text", text: "Look at this picture." },
    { type: "image_url", image_url: { url: data, detail: "high" } },
    { type: "image_url", image_url: { url: "https://images.test/a.png" } },
  ]);
  await chat(gateway, thread, [picture]);
  const { messages } = await messagesOf(gateway, thread);
  assert.deepEqual(messages[0].content, [
    { type: "text", text: "Look at this picture." },
    { type: "image", mediaType: "image/png", name: null, data: "iVBORw0KGgo=" },
    { type: "image", mediaType: null, name: null, url: "https://images.test/a.png" },
  ]);
  const { text } = await chat(gateway, thread, "What was in the image?");
  assert.deepEqual(lastPrompt(sandbox)[0], picture);
  assert.match(text, /8 bytes of image\/png/);
});

test("a message of three megabytes comes back whole", async () => {
  const thread = newThread();
  const long = "héllo wörld ✓ ".repeat(180_000);
  await chat(gateway, thread, [user(long)], { max_tokens: 5 });
  await chat(gateway, thread, "again");
  // So long a message may have notes in front of it by now; as the user's last one it stays whatever is noted.
  const { content } = lastPrompt(sandbox).find(({ role }) => role === "user");
  assert.equal(content, long);
  assert.equal((await stored(gateway, thread))[0].content, long);
});

test("text of any kind is stored as it is", async () => {
  const thread = newThread();
  const odd = 'nul \u0000, quote ", back\\slash, \u2028, 👩‍👩‍👧, \uffff, \r\n\t, </system>, {{x}}, items[0]';
  await chat(gateway, thread, [user(odd)]);
  await chat(gateway, thread, "next");
  assert.deepEqual(lastPrompt(sandbox), [user(odd), echo(odd), user("next")]);
  assert.deepEqual(await stored(gateway, thread), turns(odd, "next"));
});

test("half a surrogate pair, as a careless client cuts it, neither breaks nor stops a turn", async () => {
  const thread = newThread();
  const body = `{"model":"${MODEL}","messages":[{"role":"user","content":"cut \\ud83d here"}]}`;
  const response = await post(gateway, "/chat/completions", body, { thread });
  assert.ok([200, 400].includes(response.status), `${response.status} ${await response.clone().text()}`);
  assert.ok((await response.json())[response.status === 200 ? "choices" : "error"]);
  assert.equal((await chat(gateway, thread, "next")).text, "You said: next");
});

// ——— Isolation

test("another project with the same ids sees nothing", async () => {
  const thread = newThread();
  await chat(gateway, thread, "My name is Alex.");
  const listing = await fetch(`${gateway.baseURL}/memory/threads/${thread}/messages`, {
    headers: { authorization: `Bearer ${gateway.otherKey}` },
  });
  assert.equal((await refused(listing)).status, 404);
  const { headers } = await chat(gateway, thread, "What is my name?", { key: gateway.otherKey });
  assert.equal(headers.get("x-memory-status"), "empty");
  assert.deepEqual(lastPrompt(sandbox), [user("What is my name?")]);
  assert.equal((await stored(gateway, thread)).length, 2);
});

test("no choice of thread id leads into another project", async () => {
  const [, , a, ab] = KEYS;
  await chat(gateway, "b-thread", "My name is Alex.", { key: a.key });
  for (const thread of ["thread", "-thread", "b-thread", "../a/b-thread"]) {
    const { headers } = await chat(gateway, thread, "What is my name?", { key: ab.key });
    assert.equal(headers.get("x-memory-status"), "empty", thread);
    assert.deepEqual(lastPrompt(sandbox), [user("What is my name?")]);
  }
});

test("another resource gets a 404 that reveals nothing, and the provider is not asked", async () => {
  const thread = newThread();
  await chat(gateway, thread, "My name is Alex.", { resource: "ann-secret" });
  const before = sandbox.requests.length;
  for (const stream of [false, true]) {
    const response = await post(
      gateway,
      "/chat/completions",
      { model: MODEL, stream, messages: [user("What is my name?")] },
      { thread, resource: "bob" },
    );
    assert.deepEqual(await refused(response), {
      status: 404,
      message:
        "No such thread for this resource. Check x-thread-id and x-resource-id: a thread belongs to the resource " +
        "that it was first used with.",
      type: "not_found",
      param: "x-thread-id",
      code: null,
    });
    for (const [name, value] of response.headers) assert.doesNotMatch(value, /secret|alex/i, name);
  }
  assert.equal(sandbox.requests.length, before);
  assert.equal((await stored(gateway, thread)).length, 2);
});

test("the same resource's threads are apart", async () => {
  await threadOf("My name is Alex.");
  const { headers } = await chat(gateway, newThread(), "What is my name?");
  assert.equal(headers.get("x-memory-status"), "empty");
  assert.deepEqual(lastPrompt(sandbox), [user("What is my name?")]);
});

// ——— Modes and headers

test("x-memory-mode decides what is shown and what is stored", async () => {
  const thread = await threadOf("one");
  const ask = (mode, text) =>
    chat(gateway, thread, text, { headers: mode && { "x-memory-mode": mode } }).then(({ headers }) =>
      headers.get("x-memory-status"),
    );
  assert.equal(await ask("read", "two"), "hit");
  assert.deepEqual(lastPrompt(sandbox), [...turns("one"), user("two")]);
  assert.deepEqual(await stored(gateway, thread), turns("one"));

  assert.equal(await ask("write", "three"), "off");
  assert.deepEqual(lastPrompt(sandbox), [user("three")]);
  assert.deepEqual(await stored(gateway, thread), turns("one", "three"));

  await ask("off", "four");
  assert.deepEqual(lastPrompt(sandbox), [user("four")]);
  assert.deepEqual(await stored(gateway, thread), turns("one", "three"));

  assert.equal(await ask("on", "five"), "hit");
  assert.deepEqual(lastPrompt(sandbox), [...turns("one", "three"), user("five")]);
  assert.deepEqual(await stored(gateway, thread), turns("one", "three", "five"));
});

test("reading mode makes no thread", async () => {
  const thread = newThread();
  await chat(gateway, thread, "one", { headers: { "x-memory-mode": "read" } });
  const listing = await fetch(`${gateway.baseURL}/memory/threads/${thread}/messages`, {
    headers: { authorization: `Bearer ${gateway.key}` },
  });
  assert.equal(listing.status, 404);
});

test("x-memory-status and x-memory-tokens tell what was put before the model", async () => {
  const thread = newThread();
  const told = ({ headers }) => [headers.get("x-memory-status"), headers.get("x-memory-tokens")];
  assert.deepEqual(told(await chat(gateway, thread, "one")), ["empty", "0"]);
  const [status, tokens] = told(await chat(gateway, thread, "two"));
  assert.equal(status, "hit");
  assert.match(tokens, /^\d+$/);
  const [, more] = told(await chat(gateway, thread, "three"));
  assert.ok(Number(tokens) > 0 && Number(more) > Number(tokens), `${tokens}, then ${more}`);
  assert.deepEqual(told(await chat(gateway, undefined, "one")), [null, null]);
});

test("thread and resource ids may hold any text, percent-encoded or not", async () => {
  const tail = newThread();
  for (const id of [`a/b:c d ${tail}`, `ünï ✓ ${tail}`, `100% ${tail}`, `../${tail}`, `?x=1#y&${tail}`]) {
    await chat(gateway, encodeURIComponent(id), "My name is Alex.", { resource: encodeURIComponent(id) });
    assert.deepEqual(await stored(gateway, id), [user("My name is Alex."), assistant("Got it.")], id);
    const { messages } = await messagesOf(gateway, id);
    assert.equal(messages[0].threadId, id);
    // The bytes of UTF-8 as they are, which `fetch` would refuse to send.
    const raw = Buffer.from(id).toString("latin1");
    const answer = await whole(`${gateway.baseURL}/chat/completions`, {
      headers: {
        authorization: `Bearer ${gateway.key}`,
        "content-type": "application/json",
        ...memoryHeaders(raw, raw),
      },
      body: JSON.stringify({ model: MODEL, messages: [user("What is my name?")] }),
    });
    assert.equal(answer.status, 200, `${id}: ${answer.text}`);
    assert.equal(JSON.parse(answer.text).choices[0].message.content, "Alex", id);
  }
});

test("an id of 512 bytes is taken and a longer one refused", async () => {
  const thread = newThread().padEnd(512, "x");
  assert.equal((await chat(gateway, thread, "one")).headers.get("x-memory-status"), "empty");
  const response = await post(
    gateway,
    "/chat/completions",
    { model: MODEL, messages: [user("one")] },
    {
      thread: `${thread}y`,
    },
  );
  const { status, type, param } = await refused(response);
  assert.deepEqual(
    { status, type, param },
    { status: 400, type: "invalid_request_error", param: "x-thread-id" },
  );
});

test("a thread without a resource is a 400, a resource without a thread a plain request", async () => {
  const body = { model: MODEL, messages: [user("one")] };
  const response = await post(gateway, "/chat/completions", body, {
    headers: { "x-thread-id": newThread() },
  });
  assert.deepEqual(await refused(response), {
    status: 400,
    message: "x-thread-id needs x-resource-id beside it: the id of the user or entity that owns the thread.",
    type: "invalid_request_error",
    param: "x-resource-id",
    code: null,
  });
  const plain = await post(gateway, "/chat/completions", body, { headers: { "x-resource-id": "ann" } });
  assert.equal(plain.status, 200);
  assert.equal(plain.headers.get("x-memory-status"), null);
});

test("supermemory's header names work too", async () => {
  const thread = newThread();
  await chat(gateway, undefined, "My name is Alex.", {
    headers: { "x-sm-conversation-id": thread, "x-sm-user-id": "ann" },
  });
  assert.equal((await chat(gateway, thread, "What is my name?")).text, "Alex");
});

// ——— The index and the list

test("the index in D1 gets to know thread and resource", async () => {
  const thread = newThread();
  await chat(gateway, thread, "one", { resource: "o'brien" });
  const rows = await until(async () => {
    const found = await gateway.d1(`SELECT * FROM threads WHERE id = '${thread}'`);
    return found.length > 0 && found;
  }, "the thread is in the index");
  const [first] = (await messagesOf(gateway, thread)).messages;
  assert.deepEqual(rows, [
    {
      project_id: "default",
      id: thread,
      resource_id: "o'brien",
      created_at: Date.parse(first.createdAt),
      updated_at: rows[0].updated_at,
      title: null,
      metadata: null,
    },
  ]);
  assert.ok(rows[0].updated_at >= rows[0].created_at);
  const resources = await gateway.d1("SELECT project_id, id FROM resources WHERE id = 'o''brien'");
  assert.deepEqual(resources, [{ project_id: "default", id: "o'brien" }]);
});

test("messages are listed in pages, in either order, in the documented form", async () => {
  const thread = await threadOf("one", "two");
  const list = (query) => messagesOf(gateway, thread, { query });
  const all = await list("");
  assert.equal(all.total, 4);
  for (const message of all.messages) {
    assert.deepEqual(Object.keys(message).sort(), [
      "content",
      "createdAt",
      "id",
      "role",
      "status",
      "threadId",
      "type",
    ]);
    assert.equal(message.threadId, thread);
    assert.equal(message.type, "text");
    assert.match(message.createdAt, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  }
  assert.deepEqual(await list("?limit=2&offset=1"), { messages: all.messages.slice(1, 3), total: 4 });
  assert.deepEqual(await list("?order=desc&limit=99999"), { messages: all.messages.toReversed(), total: 4 });
  assert.deepEqual(await list("?offset=4"), { messages: [], total: 4 });
  const bad = await fetch(`${gateway.baseURL}/memory/threads/${thread}/messages?limit=x`, {
    headers: { authorization: `Bearer ${gateway.key}` },
  });
  const { status, param } = await refused(bad);
  assert.deepEqual({ status, param }, { status: 400, param: "limit" });
});

test("a HEAD request for messages works where GET does", async () => {
  const thread = await threadOf("one");
  const answer = await whole(`${gateway.baseURL}/memory/threads/${thread}/messages`, {
    method: "HEAD",
    headers: { authorization: `Bearer ${gateway.key}` },
  });
  assert.deepEqual([answer.status, answer.text], [200, ""]);
});

// ——— The body on its way to the provider

const ODD =
  '{ "zeta":1e400,\n\t"model" : "raw/some/model" , "big":12345678901234567890, "x":{"b":1.0,"a":[-0, 1E5]},\r\n' +
  ' "messages":[ {"zz":1e5,"role":"user" , "content":"caf\\u00e9 \\/ \\ud83d\\ude00","seed":12345678901234567890} ] , "a":null ,"": {}}\n';

const answerWith = (text) => (res) =>
  res
    .writeHead(200, { "content-type": "application/json" })
    .end(JSON.stringify({ choices: [{ index: 0, message: assistant(text), finish_reason: "stop" }] }));

test("without memory every byte of the body but the model's name reaches the provider", async () => {
  upstream.answer = answerWith("fine");
  const response = await post(gateway, "/chat/completions", ODD);
  assert.equal(response.status, 200, await response.text());
  assert.equal(upstream.requests.at(-1).raw, ODD.replace("raw/some/model", "some/model"));
});

test("with memory too, but for what is injected", async () => {
  upstream.answer = answerWith("fine");
  const thread = newThread();
  const expected = ODD.replace("raw/some/model", "some/model");
  let response = await post(gateway, "/chat/completions", ODD, { thread });
  assert.equal(response.status, 200, await response.text());
  assert.equal(upstream.requests.at(-1).raw, expected);

  const next = ODD.replace("caf", "more caf");
  response = await post(gateway, "/chat/completions", next, { thread });
  assert.equal(response.status, 200, await response.text());
  const { raw } = upstream.requests.at(-1);
  const [head, tail] = next.replace("raw/some/model", "some/model").split(/\[ \{"zz".*?\} \]/s);
  assert.ok(raw.startsWith(head), raw);
  assert.ok(raw.endsWith(tail), raw);
  // The new message keeps its bytes inside the list.
  assert.ok(raw.includes(/\{"zz".*?\}/s.exec(next)[0]), raw);
  assert.deepEqual(
    JSON.parse(raw).messages.map(({ content }) => content),
    ["café / 😀", "fine", "more café / 😀"],
  );
});

for (const number of [
  "12345678901234567890",
  "123456789012345678901234567890",
  "0.1000000000000000055511151231257827",
  "1e400",
]) {
  test(`a number like ${number} in an unknown field of a message is neither refused nor damaged by memory`, async () => {
    upstream.answer = answerWith("fine");
    const thread = newThread();
    const first = `{"model":"raw/m","messages":[{"role":"user","content":"one","odd":${number}}]}`;
    const response = await post(gateway, "/chat/completions", first, { thread });
    assert.equal(response.status, 200, await response.text());
    assert.equal(upstream.requests.at(-1).raw, first.replace("raw/m", "m"));
    const next = '{"model":"raw/m","messages":[{"role":"user","content":"two"}]}';
    await (await post(gateway, "/chat/completions", next, { thread })).text();
    const [, shown] = /"odd":([^,}]*)/.exec(upstream.requests.at(-1).raw);
    assert.equal(shown.replace("e+", "e"), number);
  });
}

test("a field that occurs twice is refused and not read by one and sent by the other", async () => {
  const before = upstream.requests.length;
  const twice = '{"model":"raw/m","messages":[{"role":"user","content":"a"}],"model":"raw/n"}';
  const { status, param } = await refused(await post(gateway, "/chat/completions", twice));
  assert.deepEqual({ status, param }, { status: 400, param: "model" });
  assert.equal(upstream.requests.length, before);
});
