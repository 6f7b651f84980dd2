// Owns: whose key a request to Anthropic Messages goes with, refusals in Anthropic's form, and token counts.
// Invariant: a key reaches only the provider that it is for, and none is ever repeated.
import Anthropic from "@anthropic-ai/sdk";
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { anthropic, asked, CLAUDE, direct, NAME, textOf, TOOL, turn, withMemory } from "./anthropic.mjs";
import { memoryHeaders, MODEL, newThread, refused, requestWith, stored, user } from "./conversation.mjs";
import { startGateway, startSandbox, sandboxVars } from "./gateway.mjs";
import { whole } from "./wire.mjs";

const STORED_KEY = "sk-ant-api03-stored";
const LIMIT = 300_000;

let sandbox, gateway, router, poor;
before(async () => {
  sandbox = await startSandbox();
  [gateway, router, poor] = await Promise.all([
    startGateway({
      vars: { ...sandboxVars(sandbox), ANTHROPIC_API_KEY: STORED_KEY, MAX_BODY_BYTES: String(LIMIT) },
    }),
    startGateway({
      vars: { OPENROUTER_API_KEY: "sk-or-stored", OPENROUTER_BASE_URL: `${sandbox.url}/api/v1` },
    }),
    // A key for OpenAI, a wrong one for Anthropic, none for OpenRouter.
    startGateway({
      vars: {
        OPENAI_API_KEY: "sk-stored",
        OPENAI_BASE_URL: `${sandbox.url}/v1`,
        ANTHROPIC_API_KEY: "invalid-key",
        ANTHROPIC_BASE_URL: sandbox.url,
      },
    }),
  ]);
});
after(async () => {
  await Promise.all([gateway, router, poor].map((started) => started?.stop()));
  await sandbox?.close();
});

// ——— Errors of the gateway

/** Checks the form of one of the gateway's own errors; gives it without its ids. */
function own(answer) {
  const { type, error, request_id: id, ...nothing } = JSON.parse(answer.text);
  assert.deepEqual(
    [type, nothing, answer.headers["content-type"]],
    ["error", {}, "application/json"],
    answer.text,
  );
  assert.match(id, /^req_[0-9a-f]{24}$/);
  assert.equal(id, answer.headers["x-request-id"]);
  const { message, ...rest } = error;
  assert.ok(message.length > 20, message);
  return { status: answer.status, message, ...rest };
}

/** Sends to the Messages API on the bare wire. */
const send = (body, { path = "/messages", headers, thread, method, at = gateway } = {}) =>
  whole(at.baseURL + path, {
    method,
    headers: {
      "x-api-key": at.key,
      "content-type": "application/json",
      ...(thread && memoryHeaders(thread)),
      ...headers,
    },
    ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });

/** One of the gateway's own errors, and what its message says. */
async function told(answer, ...says) {
  const { message, ...rest } = own(await answer);
  for (const part of says) assert.ok(message.includes(part), message);
  return rest;
}

const INVALID = { status: 400, type: "invalid_request_error" };
const PATHS = ["/messages", "/messages/count_tokens"];

for (const path of PATHS) {
  test(`${path}: a request without a good gateway key is a 401 in Anthropic's form that repeats no key`, async () => {
    const before = sandbox.requests.length;
    for (const headers of [
      { "x-api-key": "" },
      { "x-api-key": "oauth-gateway-placeholder" },
      { "x-api-key": "sk-ant-api03-planted" },
      { "x-api-key": "msk_planted_unknown" },
      { "x-api-key": "", authorization: "Bearer sk-ant-oat01-planted" },
      { "x-api-key": "sk-ant-api03-planted", "x-memory-gateway-authorization": "Bearer msk_planted_unknown" },
    ]) {
      const answer = await send(asked("one"), { path, headers });
      assert.deepEqual(await told(answer), { status: 401, type: "authentication_error" });
      assert.doesNotMatch(answer.text + JSON.stringify(answer.headers), /planted/);
    }
    assert.equal(sandbox.requests.length, before);
  });

  test(`${path}: a request that cannot be read is refused with the place or the field, in Anthropic's form`, async () => {
    for (const thread of path === "/messages" ? [undefined, newThread()] : [undefined]) {
      const before = sandbox.requests.length;
      const refuse = (body, says) =>
        told(send(body, { path, thread }), says).then((rest) => assert.deepEqual(rest, INVALID));
      await refuse('{"model":"a/b",\n oops}', "line 2 column 2");
      await refuse("", "line 1 column 0");
      await refuse("[1]", "JSON object");
      await refuse({ max_tokens: 9, messages: [user("one")] }, "`model`");
      await refuse(asked("one", { model: "anthropic/" }), "provider/model");
      await refuse({ model: CLAUDE, max_tokens: 9 }, "`messages`");
      await refuse(asked([]), "`messages`");
      await refuse(asked("one", { stream: "yes" }), "`stream`");
      assert.equal(sandbox.requests.length, before);
    }
  });

  test(`${path}: a wrong method, a body too large and one that is not JSON are refused in Anthropic's form`, async () => {
    const got = await send(undefined, { path, method: "GET" });
    const { allow, ...rest } = await told(got, "POST");
    assert.deepEqual([rest, got.headers.allow], [{ status: 405, type: "invalid_request_error" }, "POST"]);
    assert.deepEqual(await told(send(asked("x".repeat(LIMIT)), { path }), String(LIMIT)), {
      status: 413,
      type: "invalid_request_error",
    });
    assert.deepEqual(
      await told(send(asked("one"), { path, headers: { "content-type": "text/plain" } }), "application/json"),
      {
        status: 415,
        type: "invalid_request_error",
      },
    );
  });
}

test("a message of a role that there is not is refused by name when it would have to be stored", async () => {
  const answer = send(asked([{ role: "tool", content: "x" }]), { thread: newThread() });
  assert.deepEqual(await told(answer, "messages[0].role"), INVALID);
});

test("a thread of another resource is a 404, one without a resource a 400, both in Anthropic's form", async () => {
  const thread = newThread();
  await turn(gateway, thread, "My name is Alex.");
  const before = sandbox.requests.length;
  for (const stream of [false, true]) {
    const answer = send(asked("What is my name?", { stream }), { headers: memoryHeaders(thread, "bob") });
    assert.deepEqual(await told(answer, "x-resource-id"), { status: 404, type: "not_found" });
  }
  assert.deepEqual(
    await told(send(asked("one"), { headers: { "x-thread-id": thread } }), "x-resource-id"),
    INVALID,
  );
  assert.equal(sandbox.requests.length, before);
  assert.equal((await stored(gateway, thread)).length, 2);
});

test("a sane request id of the client's is the id of the error", async () => {
  const answer = await send("{", { headers: { "x-request-id": "mine-1" } });
  assert.deepEqual(
    [JSON.parse(answer.text).request_id, answer.headers["x-request-id"]],
    ["mine-1", "mine-1"],
  );
});

test("the SDK raises the error that belongs to the gateway's status", async () => {
  const thread = newThread();
  await turn(gateway, thread, "one");
  const raises = (promise, kind, status, type) =>
    assert.rejects(promise, (error) => {
      assert.deepEqual([error instanceof kind, error.status, error.type], [true, status, type]);
      return true;
    });
  const { AuthenticationError, BadRequestError, NotFoundError } = Anthropic;
  for (const stream of [false, true]) {
    const unknown = anthropic(gateway, { apiKey: "msk_nobody_knows_this" });
    await raises(
      unknown.messages.create(asked("one", { stream })),
      AuthenticationError,
      401,
      "authentication_error",
    );
    const { messages } = anthropic(gateway);
    await raises(messages.create(asked([], { stream })), BadRequestError, 400, "invalid_request_error");
    const others = { headers: memoryHeaders(thread, "bob") };
    await raises(messages.create(asked("one", { stream }), others), NotFoundError, 404, "not_found");
  }
});

// ——— Credentials

/** A question that no other request holds. */
const newQuestion = () => `Say: ${randomUUID()}`;

/** What the provider saw of the request that holds a text: what says who asks and how. */
function seen(text) {
  const entry = requestWith(sandbox, text);
  for (const [name, value] of Object.entries(entry.headers)) assert.doesNotMatch(String(value), /msk_/, name);
  const names = ["x-api-key", "authorization", "anthropic-version", "anthropic-beta"];
  return Object.fromEntries(
    names.flatMap((name) => (name in entry.headers ? [[name, entry.headers[name]]] : [])),
  );
}

/** What a request without a version means, and what the SDK's requests mean. */
const VERSION = { "anthropic-version": "2023-06-01" };
const SDK_VERSION = { "anthropic-version": "2026-10-21" };

for (const thread of [undefined, newThread()]) {
  const memory = thread ? "on" : "off";

  test(`memory ${memory}: the stored key reaches Anthropic as x-api-key, the version beside it, and nothing of the gateway's`, async () => {
    const key = gateway.key;
    for (const headers of [
      { "x-api-key": key },
      { "x-api-key": "", authorization: `Bearer ${key}` },
      { "x-api-key": key, authorization: `Bearer ${key}` },
      { "x-api-key": key, "x-memory-gateway-authorization": `Bearer ${key}` },
      { "x-api-key": "oauth-gateway-placeholder", authorization: `Bearer ${key}` },
      { "x-api-key": "oauth-gateway-placeholder", "x-memory-gateway-authorization": `Bearer ${key}` },
    ]) {
      const question = newQuestion();
      const answer = await send(asked(question), { headers, thread });
      assert.equal(answer.status, 200, answer.text);
      assert.deepEqual(seen(question), { "x-api-key": STORED_KEY, ...VERSION });
      assert.equal(requestWith(sandbox, question).path, "/v1/messages");
    }
  });

  test(`memory ${memory}: the client's own version and betas go on to the provider`, async () => {
    let question = newQuestion();
    const answer = await send(asked(question), {
      thread,
      headers: { "anthropic-version": "2023-01-01", "anthropic-beta": "a-1,b-2" },
    });
    assert.equal(answer.status, 200, answer.text);
    assert.deepEqual(seen(question), {
      "x-api-key": STORED_KEY,
      "anthropic-version": "2023-01-01",
      "anthropic-beta": "a-1,b-2",
    });
    question = newQuestion();
    const { content } = await anthropic(gateway).beta.messages.create(
      asked(question, { betas: ["c-3"] }),
      withMemory(thread),
    );
    assert.equal(`Say: ${content[0].text}`, question);
    assert.deepEqual(seen(question), { "x-api-key": STORED_KEY, ...SDK_VERSION, "anthropic-beta": "c-3" });
  });

  test(`memory ${memory}: the caller's own key is used as the SDK sends it`, async () => {
    const defaultHeaders = { "X-Memory-Gateway-Authorization": `Bearer ${gateway.key}` };
    const own = anthropic(gateway, { apiKey: "sk-ant-api03-own", defaultHeaders });
    for (const model of [CLAUDE, NAME]) {
      const question = newQuestion();
      const answer = await own.messages.create(asked(question, { model }), withMemory(thread));
      assert.equal(`Say: ${textOf(answer)}`, question);
      assert.deepEqual(
        [seen(question), requestWith(sandbox, question).body.model],
        [{ "x-api-key": "sk-ant-api03-own", ...SDK_VERSION }, NAME],
      );
    }
  });

  test(`memory ${memory}: the caller's own key in x-api-key is used, and what is no key beside it is not`, async () => {
    for (const [headers, key] of [
      [{ "x-api-key": "sk-ant-api03-own" }, "sk-ant-api03-own"],
      [{ "x-api-key": "a-key-of-another-form" }, "a-key-of-another-form"],
      [{ "x-api-key": "sk-ant-api03-own", authorization: "Bearer " }, "sk-ant-api03-own"],
      [{ "x-api-key": "sk-ant-api03-own", authorization: `Bearer ${gateway.otherKey}` }, "sk-ant-api03-own"],
    ]) {
      const beside = { ...headers, "x-memory-gateway-authorization": `Bearer ${gateway.key}` };
      const question = newQuestion();
      const answer = await send(asked(question), { headers: beside, thread });
      assert.equal(answer.status, 200, answer.text);
      assert.deepEqual(seen(question), { "x-api-key": key, ...VERSION });
    }
  });

  test(`memory ${memory}: the caller's own OAuth token stays a bearer token, with Anthropic's placeholder and without`, async () => {
    for (const [token, placeholder] of [
      ["sk-ant-oat01-own", {}],
      ["sk-ant-oat01-own", { "x-api-key": "oauth-gateway-placeholder" }],
      ["some.other-token", { "x-api-key": "oauth-gateway-placeholder" }],
    ]) {
      const question = newQuestion();
      const client = anthropic(gateway, {
        apiKey: null,
        authToken: token,
        defaultHeaders: {
          "X-Memory-Gateway-Authorization": `Bearer ${gateway.key}`,
          "anthropic-beta": "oauth-2025-04-20",
          ...placeholder,
        },
      });
      const answer = await client.messages.create(asked(question), withMemory(thread));
      assert.equal(`Say: ${textOf(answer)}`, question);
      assert.deepEqual(seen(question), {
        authorization: `Bearer ${token}`,
        ...SDK_VERSION,
        "anthropic-beta": "oauth-2025-04-20",
      });
    }
  });
}

test("an API key that came as a bearer, as OpenAI's SDKs send it, is a key for Anthropic", async () => {
  const headers = {
    "x-api-key": "",
    "x-memory-gateway-authorization": `Bearer ${gateway.key}`,
    authorization: "Bearer sk-ant-api03-own",
  };
  const question = newQuestion();
  assert.equal((await send(asked(question), { headers })).status, 200);
  assert.deepEqual(seen(question), { "x-api-key": "sk-ant-api03-own", ...VERSION });
});

test("the caller's own key that the provider refuses is the caller's 401, in the provider's words", async () => {
  const headers = { "x-memory-gateway-authorization": `Bearer ${gateway.key}`, "x-api-key": "invalid-key" };
  const answer = await send(asked("one"), { headers });
  assert.deepEqual(
    [answer.status, JSON.parse(answer.text)],
    [
      401,
      {
        type: "error",
        error: { type: "authentication_error", message: "The API key is not valid." },
        request_id: answer.headers["x-upstream-request-id"],
      },
    ],
  );
});

for (const path of PATHS) {
  test(`${path}: a stored key that the provider refuses is a 502 and not the client's own 401`, async () => {
    const answer = told(send(asked("one"), { path, at: poor }), "ANTHROPIC_API_KEY");
    assert.deepEqual(await answer, {
      status: 502,
      type: "upstream_error",
      provider: "anthropic",
      upstream_status: 401,
    });
  });
}

for (const stream of [false, true]) {
  test(`through OpenRouter alone the model's id stays whole and its key is a bearer${stream ? ", streamed" : ""}`, async () => {
    const thread = newThread();
    const model = "anthropic/claude-sonnet-4.5";
    for (const [text, answer] of [
      ["My name is Alex.", "Got it."],
      ["What is my name?", "Alex"],
    ]) {
      assert.equal(textOf(await turn(router, thread, text, { model, stream })), answer);
      const { path, body } = requestWith(sandbox, text);
      assert.deepEqual([path, body.model], ["/api/v1/messages", model]);
      assert.deepEqual(seen(text), { authorization: "Bearer sk-or-stored", ...SDK_VERSION });
    }
    assert.equal((await stored(router, thread)).length, 4);
  });
}

// ——— Counting tokens

const COUNTED = { system: "Be kind.", messages: [user("Say hi to everybody")], tools: [TOOL] };

test("the tokens of an Anthropic model are counted by Anthropic", async () => {
  const { data, response } = await anthropic(gateway)
    .messages.countTokens({ model: CLAUDE, ...COUNTED })
    .withResponse();
  const question = COUNTED.messages[0].content;
  const { path, body } = requestWith(sandbox, question);
  assert.deepEqual(
    [path, body, seen(question)],
    ["/v1/messages/count_tokens", { model: NAME, ...COUNTED }, { "x-api-key": STORED_KEY, ...SDK_VERSION }],
  );
  assert.deepEqual(
    { ...data },
    { ...(await direct(sandbox).messages.countTokens({ model: NAME, ...COUNTED })) },
  );
  assert.deepEqual(
    ["x-gateway-provider", "x-gateway-estimated"].map((name) => response.headers.get(name)),
    ["anthropic", null],
  );
});

test("the tokens of other models are estimated, and the answer says so", async () => {
  const before = sandbox.requests.length;
  const count = async (at, model, body) => {
    const { data, response } = await anthropic(at)
      .messages.countTokens({ model, ...body })
      .withResponse();
    return [{ ...data }, response.headers.get("x-gateway-estimated")];
  };
  // A message of one token, in the frame that the model's maker puts around it.
  for (const [at, model, tokens] of [
    [gateway, MODEL, 7],
    [gateway, "google/gemini-2.5-flash", 1],
    [router, "anthropic/claude-sonnet-4.5", 8],
    [poor, MODEL, 7],
    [poor, "unknown/model", 8],
  ]) {
    assert.deepEqual(await count(at, model, { messages: [user("hi")] }), [
      { input_tokens: tokens },
      "input_tokens",
    ]);
    const [{ input_tokens: more }] = await count(at, model, COUNTED);
    assert.ok(more > tokens, `${more}`);
  }
  assert.equal(sandbox.requests.length, before);
});

test("counting with memory headers counts and stores nothing", async () => {
  const thread = newThread();
  const count = (headers) =>
    anthropic(gateway).messages.countTokens({ model: CLAUDE, ...COUNTED }, { headers });
  assert.deepEqual({ ...(await count(memoryHeaders(thread))) }, { ...(await count()) });
  const listing = await fetch(`${gateway.baseURL}/memory/threads/${thread}/messages`, {
    headers: { "x-api-key": gateway.key },
  });
  assert.equal((await refused(listing)).status, 404);
});
