// Owns what an attacker tries on the wire: redirects, headers that come twice or hold line ends, keys that are guessed.
// Invariant: nothing that was not asked for reaches a provider, and no answer tells one failed guess from another.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import { directBaseURL } from "./direct.mjs";
import { messagesOf, newThread, post, stored, user } from "./conversation.mjs";
import { sandboxVars, startGateway, startSandbox } from "./gateway.mjs";
import { startUpstream, whole } from "./wire.mjs";

const SECRET = "sk-stored-secret-of-raw";
const CHAT = "/chat/completions";

let sandbox, upstream, elsewhere, gateway, direct;
before(async () => {
  [sandbox, upstream, elsewhere] = await Promise.all([startSandbox(), startUpstream(), startTrap()]);
  gateway = await startGateway({
    vars: {
      ...sandboxVars(sandbox),
      PROVIDERS: JSON.stringify({ raw: { base_url: `${upstream.url}/v1`, api_key_secret: "RAW_API_KEY" } }),
      RAW_API_KEY: SECRET,
      // Its failures are the test's own.
      CIRCUIT_FAILURES: "1000",
    },
  });
  // What stands in front of it in wrangler dev reads headers in its own way.
  direct = new URL(await directBaseURL(gateway));
});
after(async () => {
  await gateway?.stop();
  await sandbox?.close();
  await upstream?.close();
  await elsewhere?.close();
});

/** A host that nobody has configured: it counts who comes. */
async function startTrap() {
  const trap = { visits: [] };
  const server = createServer((req, res) => {
    // That is `directBaseURL`, of this test or another, in search of its gateway.
    if (!req.url.startsWith("/v1/memory/threads/")) trap.visits.push([req.url, req.headers.authorization]);
    res.writeHead(200, { "content-type": "application/json" }).end('{"choices":[],"data":[]}');
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  trap.url = `http://127.0.0.1:${server.address().port}`;
  trap.close = () => new Promise((resolve) => server.close(resolve));
  return trap;
}

const chatBody = (more) => ({ model: "raw/m", messages: [user("hello")], ...more });
const json = (value) => (res) =>
  res.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));
const ANSWER = {
  id: "c",
  object: "chat.completion",
  choices: [{ index: 0, message: { role: "assistant", content: "hi" }, finish_reason: "stop" }],
};

test("no redirect is followed, whatever its status and whatever was asked", async () => {
  for (const status of [301, 302, 303, 307, 308]) {
    upstream.answer = (res) => res.writeHead(status, { location: `${elsewhere.url}/v1/stolen` }).end();
    for (const [path, body, options] of [
      [CHAT, chatBody()],
      [CHAT, chatBody({ stream: true })],
      [CHAT, chatBody(), { thread: newThread() }],
      ["/messages", chatBody({ max_tokens: 9 })],
      ["/embeddings", { model: "raw/m", input: "hello" }],
    ]) {
      const answer = await post(gateway, path, body, options);
      const text = await answer.text();
      assert.equal(answer.status, 502, `${status} ${path} ${text}`);
      assert.equal(answer.headers.get("location"), null);
      assert.ok(!text.includes(elsewhere.url) && !text.includes(SECRET), text);
    }
    const models = await fetch(`${gateway.baseURL}/models`, {
      headers: { authorization: `Bearer ${gateway.key}` },
    });
    await models.text();
  }
  assert.ok(upstream.requests.some(({ headers }) => headers.authorization === `Bearer ${SECRET}`));
  assert.deepEqual(elsewhere.visits, []);
});

test("line ends and NUL in ids are a part of the id and of no header", async () => {
  upstream.answer = json(ANSWER);
  const ids = ["t%0d%0ax-evil:%201", "t%0ax-evil:%201", "t%00", "t"].map(
    (id) => `${encodeURIComponent(newThread())}${id}`,
  );
  for (const [at, id] of ids.entries()) {
    const text = `text number ${at}`;
    const answer = await post(gateway, CHAT, chatBody({ messages: [user(text)] }), {
      thread: id,
      resource: "r%0d%0ax-evil:%201",
    });
    assert.equal(answer.status, 200, await answer.text());
    assert.equal(answer.headers.get("x-evil"), null);
    const sent = upstream.requests.findLast(({ raw }) => raw.includes(text));
    assert.equal(sent.headers["x-evil"], undefined);
    assert.deepEqual(
      (await stored(gateway, decodeURIComponent(id))).map(({ content }) => content),
      [text, "hi"],
    );
  }
  // The id behind the NUL is not cut off: another id is another thread.
  const [withNul] = ids.filter((id) => id.endsWith("%00"));
  await assert.rejects(messagesOf(gateway, decodeURIComponent(withNul).slice(0, -1)), /not_found/);
});

test("a header that comes twice is never read as one of the two", async () => {
  upstream.answer = json(ANSWER);
  const key = `Bearer ${gateway.key}`;
  const body = JSON.stringify(chatBody());
  const own = { "content-type": "application/json", authorization: key };
  const [one, other] = [newThread(), newThread()];
  for (const [headers, status] of [
    [{ ...own, authorization: [key, `Bearer ${gateway.otherKey}`] }, 401],
    [{ ...own, "x-memory-gateway-authorization": [key, `Bearer ${gateway.otherKey}`] }, 401],
    [{ ...own, "content-type": ["application/json", "text/plain"] }, 415],
    [{ ...own, "x-thread-id": one, "x-resource-id": "r", "x-memory-mode": ["on", "off"] }, 400],
    [{ ...own, "x-thread-id": [one, other], "x-resource-id": "r" }, 200],
  ]) {
    // Node joins or drops what it knows to be single; as a flat list they go out as they are.
    const lines = Object.entries(headers).flatMap(([name, values]) =>
      [values].flat().map((value) => [name, value]),
    );
    const answer = await twice(lines, body);
    assert.equal(answer, status, JSON.stringify(headers));
  }
  for (const thread of [one, other]) await assert.rejects(messagesOf(gateway, thread), /not_found/);
});

/** Sends header lines just so; gives the answer's status. */
function twice(lines, body) {
  return raw([
    "POST /v1/chat/completions HTTP/1.1",
    `host: ${direct.host}`,
    ...lines.map(([name, value]) => `${name}: ${value}`),
    `content-length: ${Buffer.byteLength(body)}`,
    "connection: close",
    "",
    body,
  ]);
}

/** Writes a request as it is; gives the status of the first answer, 0 where the connection was closed without one. */
function raw(lines) {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(direct.port), "127.0.0.1", () => socket.write(lines.join("\r\n")));
    let text = "";
    socket.setEncoding("utf8").on("data", (more) => {
      text += more;
      const [, status] = /^HTTP\/1\.1 (\d{3})/.exec(text) ?? [];
      if (status) {
        resolve(Number(status));
        socket.destroy();
      }
    });
    socket.on("error", reject);
    socket.on("close", () => resolve(0));
  });
}

test("a request whose length is said twice is not read", async () => {
  upstream.answer = json(ANSWER);
  const before = upstream.requests.length;
  const body = JSON.stringify(chatBody({ messages: [user("SMUGGLED")] }));
  const length = Buffer.byteLength(body);
  const status = await raw([
    "POST /v1/chat/completions HTTP/1.1",
    `host: ${direct.host}`,
    `authorization: Bearer ${gateway.key}`,
    "content-type: application/json",
    `content-length: ${length}`,
    "content-length: 5",
    "",
    body,
  ]);
  assert.ok(status === 400 || status === 0, String(status));
  assert.ok(!upstream.requests.slice(before).some(({ raw: sent }) => sent.includes("SMUGGLED")));
});

test("what stands behind a request whose end is said in an odd way is no part of it, and needs a key of its own", async () => {
  upstream.answer = json(ANSWER);
  const before = upstream.requests.length;
  const body = JSON.stringify(chatBody());
  const chunks = `${Buffer.byteLength(body).toString(16)}\r\n${body}\r\n0\r\n\r\n`;
  const line = "POST /v1/chat/completions HTTP/1.1";
  const own = [`host: ${direct.host}`, "content-type: application/json"];
  const hidden = JSON.stringify(chatBody({ messages: [user("SMUGGLED")] }));
  const behind = [line, ...own, `content-length: ${Buffer.byteLength(hidden)}`, "", hidden].join("\r\n");
  const statuses = [];
  for (const [lengths, sent] of [
    // Who goes by the length and who goes by the chunks see two different ends.
    [["content-length: 5", "transfer-encoding: chunked"], chunks],
    [["transfer-encoding: chunked", `content-length: ${chunks.length + behind.length}`], chunks],
    [["transfer-encoding: chunked", "transfer-encoding: identity"], chunks],
    [["transfer-encoding: xchunked"], chunks],
    [["transfer-encoding : chunked"], chunks],
    [["transfer-encoding:\u000bchunked"], chunks],
    [[`content-length: +${Buffer.byteLength(body)}`], body],
    [[`content-length: ${Buffer.byteLength(body)}, 5`], body],
  ])
    statuses.push(
      await raw([line, ...own, `authorization: Bearer ${gateway.key}`, ...lengths, "", sent + behind]),
    );
  assert.ok(
    statuses.every((status) => status < 500 || status === 501),
    String(statuses),
  );
  const answer = await post(gateway, CHAT, chatBody({ messages: [user("LAST")] }));
  assert.equal(answer.status, 200);
  const asked = upstream.requests.slice(before).map(({ raw: sent }) => JSON.parse(sent).messages);
  assert.deepEqual(asked.at(-1), [user("LAST")]);
  for (const messages of asked.slice(0, -1)) assert.deepEqual(messages, [user("hello")]);
});

test("a guess that is nearly right is refused in the same words as any other", async () => {
  const made = async (project) => {
    await gateway.manage("POST", "/projects", { id: project });
    return gateway.manage("POST", `/projects/${project}/keys`, {});
  };
  const real = (await made("guessed")).secret;
  const deleted = await made("guessed-too");
  await gateway.manage("DELETE", `/projects/guessed-too/keys/${deleted.key.id}`);
  const gone = (await made("gone")).secret;
  await gateway.manage("DELETE", "/projects/gone");
  const swapped = (text, at) => text.slice(0, at) + (text[at] === "a" ? "b" : "a") + text.slice(at + 1);
  const guesses = [
    swapped(real, real.length - 1),
    swapped(real, 4),
    real.slice(0, -1),
    `${real}a`,
    "msk_x",
    deleted.secret,
    gone,
  ];
  const answers = [];
  for (const path of [CHAT, "/memory/threads/t/messages", "/models"]) {
    for (const key of guesses) {
      const options = { headers: { authorization: `Bearer ${key}`, "content-type": "application/json" } };
      const answer = await whole(gateway.baseURL + path, {
        ...options,
        ...(path === CHAT ? { body: JSON.stringify(chatBody()) } : { method: "GET" }),
      });
      const names = Object.keys(answer.headers).filter((name) => name !== "date");
      answers.push(JSON.stringify([answer.status, answer.text, names.sort()]));
    }
  }
  assert.equal(new Set(answers).size, 1, answers.join("\n"));
  assert.equal(JSON.parse(answers[0])[0], 401);
  assert.ok(!answers[0].includes("guessed"));
});

test("the administrator's token is refused in the same words however near a guess is", async () => {
  const said = new Set();
  for (const token of [
    "x",
    "admin-token-of-the-testx",
    "admin-token-of-the-tests1",
    "xdmin-token-of-the-tests",
  ]) {
    const { status, error } = await gateway.manage("GET", "/projects", undefined, token);
    said.add(JSON.stringify([status, error]));
  }
  assert.deepEqual(
    [...said].map((text) => JSON.parse(text)[0]),
    [401],
  );
});

test("what a request says of hosts is a part of its body and nothing more", async () => {
  upstream.answer = json(ANSWER);
  for (const model of [`${elsewhere.url}/m`, `raw/${elsewhere.url}`, "raw/../../stolen", "raw/@evil.test"]) {
    const answer = await post(gateway, CHAT, chatBody({ model }));
    await answer.text();
  }
  const binding = await gateway.manage("PUT", "/projects/default/bindings/raw", {
    credential: "sk-x",
    base_url: elsewhere.url,
  });
  assert.deepEqual([binding.status, binding.error.param], [400, "base_url"]);
  assert.deepEqual(elsewhere.visits, []);
  const asked = upstream.requests.filter(({ headers }) => headers.authorization === `Bearer ${SECRET}`);
  const allowed = ["/v1/chat/completions", "/v1/embeddings", "/v1/messages", "/v1/models"];
  assert.deepEqual(
    asked.map(({ path }) => path.split("?")[0]).filter((path) => !allowed.includes(path)),
    [],
  );
  assert.ok(asked.length > 0);
});
