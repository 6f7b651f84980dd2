// Owns: that nothing crosses from one project to another, nor from one resource to another: key × project × thread ×
// resource × endpoint × dialect, whole or as a stream.
// Invariant: cells are made from lists, none by hand. Every text that is stored names where it belongs, and every request
// says on whose behalf it is, so that whatever a provider or a client is shown can be checked against who asked.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { echo, messagesOf, post, user } from "./conversation.mjs";
import { sandboxVars, startGateway, startSandbox } from "./gateway.mjs";

/** Two that do the same under the same names, and one that has nothing. */
const PROJECTS = ["blue", "blue-2"];
const EMPTY = "empty";
const RESOURCES = ["ann", "2:ann"];
/** Each resource's thread; the names would be mixed up by whoever joins names with a separator. */
const THREADS = { ann: "2:ann/t", "2:ann": "ann/t" };
const STREAMS = [false, true];

const text = (kind, project, resource) => `${kind}<${project}|${resource}>`;
const TEXTS = /(?:planted|asking|written)<([^|>]*)\|([^>]*)>/g;

/** How each dialect asks, and what its answer says. */
const DIALECTS = {
  chat: {
    path: "/chat/completions",
    body: (said) => ({ model: "openai/gpt-5.4-mini", messages: [user(said)] }),
  },
  responses: {
    path: "/responses",
    body: (said) => ({ model: "openai/gpt-5.4-mini", input: said, store: false }),
  },
  messages: {
    path: "/messages",
    body: (said) => ({ model: "anthropic/claude-haiku-4-5", messages: [user(said)], max_tokens: 99 }),
  },
};

let sandbox, gateway;
const keys = []; // {project, key}

before(async () => {
  sandbox = await startSandbox();
  gateway = await startGateway({ vars: sandboxVars(sandbox) });
  for (const project of [...PROJECTS, EMPTY]) {
    await gateway.manage("POST", "/projects", { id: project });
    for (const label of ["one", "two"]) {
      const made = await gateway.manage("POST", `/projects/${project}/keys`, { label });
      keys.push({ project, key: made.secret });
    }
  }
  for (const project of PROJECTS) {
    for (const resource of RESOURCES) {
      const { key } = keyOf(project);
      await say(key, "chat", resource, text("planted", project, resource), THREADS[resource]);
    }
  }
});
after(async () => {
  await gateway?.stop();
  await sandbox?.close();
});

const keyOf = (project) => keys.find((each) => each.project === project);
const foreign = (project) => keys.filter((each) => each.project !== project);

/** Sends a turn; gives `{status, text, prompt}`: the answer's text and what the provider was shown, both as they are. */
async function say(key, dialect, resource, said, thread, { stream = false, mode = "on", ...more } = {}) {
  const { path, body } = DIALECTS[dialect];
  const before = sandbox.requests.length;
  const answer = await post(
    gateway,
    path,
    { ...body(said), stream, ...more },
    {
      key,
      thread: encodeURIComponent(thread),
      resource: encodeURIComponent(resource),
      headers: { "x-memory-mode": mode },
    },
  );
  const answered = await answer.text();
  const asked = sandbox.requests.slice(before);
  assert.ok(asked.length <= 1);
  return { status: answer.status, text: answered, prompt: asked[0] && JSON.stringify(asked[0].body) };
}

/** Whose texts are in a text, each as `project|resource`. */
const seen = (text) => [
  ...new Set([...text.matchAll(TEXTS)].map(([, project, resource]) => `${project}|${resource}`)),
];

/** An error without what differs from request to request. */
const plain = (text) => text.replace(/"request_id":"[^"]*"/, "").replace(/x-[0-9a-f-]{36}/g, "ID");

for (const [dialect, stream] of Object.keys(DIALECTS).flatMap((name) =>
  STREAMS.map((stream) => [name, stream]),
)) {
  test(`a prompt has the asking project's and resource's own texts and no other: ${dialect}, ${stream ? "streamed" : "whole"}`, async () => {
    for (const { project, key } of keys) {
      for (const resource of RESOURCES) {
        for (const owner of RESOURCES) {
          const asking = text("asking", project, resource);
          const {
            status,
            text: answer,
            prompt,
          } = await say(key, dialect, resource, asking, THREADS[owner], {
            stream,
            mode: "read",
          });
          const cell = `${project}, thread of ${owner}, asked as ${resource}`;
          const exists = project !== EMPTY;
          if (exists && owner !== resource) {
            assert.equal(status, 404, cell);
            assert.equal(prompt, undefined, cell);
          } else {
            assert.equal(status, 200, `${cell}: ${answer}`);
            assert.deepEqual(seen(prompt + answer), [`${project}|${resource}`], cell);
            assert.equal(prompt.includes("planted<"), exists, cell);
          }
        }
      }
    }
  });
}

test("the messages of a thread are listed and counted for its own project alone", async () => {
  for (const { project, key } of keys) {
    for (const [resource, thread] of Object.entries(THREADS)) {
      if (project === EMPTY) continue;
      const { messages, total } = await messagesOf(gateway, thread, { key });
      const planted = text("planted", project, resource);
      assert.deepEqual(
        [total, messages.map(({ content }) => content[0].text)],
        [2, [planted, echo(planted).content]],
        `${project} ${thread}`,
      );
    }
  }
});

test("what is another's cannot be told from what does not exist", async () => {
  const list = async (key, thread) => {
    const url = `${gateway.baseURL}/memory/threads/${encodeURIComponent(thread)}/messages`;
    const answer = await fetch(url, { headers: { authorization: `Bearer ${key}` } });
    const headers = [...answer.headers.keys()].filter((name) => name !== "date").sort();
    return { status: answer.status, text: plain(await answer.text()), headers };
  };
  const { key } = keyOf(EMPTY);
  for (const thread of Object.values(THREADS)) {
    const theirs = await list(key, thread);
    assert.deepEqual(theirs, await list(key, `x-${randomUUID()}`));
    assert.equal(theirs.status, 404);
  }
  // Likewise for one's own project's thread and a wrong resource, which is told apart from nothing else than a new thread.
  const { key: own } = keyOf(PROJECTS[0]);
  for (const dialect of Object.keys(DIALECTS)) {
    const wrong = await say(own, dialect, "mallory", "asking", THREADS.ann);
    assert.deepEqual([wrong.status, wrong.prompt], [404, undefined], dialect);
    assert.doesNotMatch(wrong.text, /ann|planted/, dialect);
  }
});

test("writing into a thread of the same name changes nobody else's", async () => {
  for (const dialect of Object.keys(DIALECTS)) {
    for (const { project, key } of keys) {
      const thread = `written in ${dialect}`;
      const written = text("written", project, "ann");
      const { status, prompt } = await say(key, dialect, "ann", written, thread);
      assert.deepEqual([status, seen(prompt)], [200, [`${project}|ann`]]);
      const { messages, total } = await messagesOf(gateway, thread, { key });
      const turns =
        keys.filter((each) => each.project === project).indexOf(keys.find((each) => each.key === key)) + 1;
      assert.equal(total, 2 * turns, `${project} ${dialect}`);
      assert.deepEqual(seen(JSON.stringify(messages)), [`${project}|ann`]);
    }
  }
});

test("a kept response is read, listed, gone on from and deleted by its own project alone", async () => {
  const ask = async (key, method, path, body) => {
    const answer = await fetch(gateway.baseURL + path, {
      method,
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: body && JSON.stringify(body),
    });
    return { status: answer.status, text: await answer.text() };
  };
  const respond = (key, input, more) =>
    ask(key, "POST", "/responses", { model: "google/gemini-2.5-flash", input, ...more });
  for (const project of PROJECTS) {
    const { key } = keyOf(project);
    const made = await respond(key, text("planted", project, "-"), { store: true });
    const { id } = JSON.parse(made.text);
    const OPERATIONS = {
      read: (key, id) => ask(key, "GET", `/responses/${id}`),
      list: (key, id) => ask(key, "GET", `/responses/${id}/input_items`),
      "go on": (key, id, project) =>
        respond(key, text("asking", project, "-"), { previous_response_id: id, store: false }),
      delete: (key, id) => ask(key, "DELETE", `/responses/${id}`),
    };
    for (const [name, operation] of Object.entries(OPERATIONS)) {
      for (const other of foreign(project)) {
        // What memory asks for earlier turns may come at any time.
        const words = text("asking", other.project, "-");
        const asked = () =>
          sandbox.requests.filter(({ body }) => JSON.stringify(body).includes(words)).length;
        const before = asked();
        const theirs = await operation(other.key, id, other.project);
        const unknown = id.replace(/.{4}$/, (end) => (end === "0000" ? "1111" : "0000"));
        const nobodys = await operation(other.key, unknown, other.project);
        assert.equal(theirs.status, 404, `${name}: ${theirs.text}`);
        assert.deepEqual(
          [theirs.status, plain(theirs.text.replaceAll(id, "ID"))],
          [nobodys.status, plain(nobodys.text.replaceAll(unknown, "ID"))],
          name,
        );
        assert.equal(asked(), before, "nothing of it reached a provider");
      }
    }
    for (const own of keys.filter((each) => each.project === project)) {
      for (const name of ["read", "list", "go on"]) {
        const { status, text } = await OPERATIONS[name](own.key, id, project);
        assert.equal(status, 200, `${name}: ${text}`);
      }
    }
    assert.equal((await OPERATIONS.delete(key, id)).status, 200);
    assert.equal((await OPERATIONS.read(key, id)).status, 404);
  }
});

test("a conversation of the same name is another one in another project", async () => {
  for (const round of [1, 2]) {
    for (const { project, key } of keys) {
      const before = sandbox.requests.length;
      const answer = await post(
        gateway,
        "/responses",
        {
          model: "google/gemini-2.5-flash",
          input: text(round === 1 ? "planted" : "asking", project, "-"),
          conversation: "conv_shared",
        },
        { key },
      );
      assert.equal(answer.status, 200, await answer.text());
      assert.deepEqual(seen(JSON.stringify(sandbox.requests.slice(before))), [`${project}|-`]);
    }
  }
});

test("no gateway key opens anything of the management API, its own project's neither", async () => {
  const { total, keys: list } = await gateway.manage("GET", `/projects/${PROJECTS[0]}/keys`);
  assert.equal(total, 2);
  for (const { key } of keys) {
    for (const project of PROJECTS) {
      for (const [method, path, body] of [
        ["GET", "/projects"],
        ["POST", "/projects", { id: "mine" }],
        ["GET", `/projects/${project}`],
        ["PATCH", `/projects/${project}`, { name: "x" }],
        ["DELETE", `/projects/${project}`],
        ["GET", `/projects/${project}/keys`],
        ["POST", `/projects/${project}/keys`, {}],
        ["PATCH", `/projects/${project}/keys/${list[0].id}`, { disabled: true }],
        ["POST", `/projects/${project}/keys/${list[0].id}/rotate`],
        ["GET", `/projects/${project}/bindings`],
        ["PUT", `/projects/${project}/bindings/openai`, { credential: "sk" }],
        ["GET", `/projects/${project}/usage/activity`],
        ["GET", `/projects/${project}/usage/logs`],
        ["POST", "/bindings/reseal"],
      ]) {
        assert.equal((await gateway.manage(method, path, body, key)).status, 401, `${method} ${path}`);
      }
    }
  }
  assert.equal(
    (await gateway.manage("GET", "/projects?limit=200")).projects.some(({ id }) => id === "mine"),
    false,
  );
});

test("over all that was asked, no provider was shown one project's texts on another's behalf", () => {
  const mixed = sandbox.requests.filter(({ body }) => seen(JSON.stringify(body)).length > 1);
  assert.deepEqual(mixed, []);
  assert.ok(sandbox.requests.length > 100, `${sandbox.requests.length} requests`);
});
