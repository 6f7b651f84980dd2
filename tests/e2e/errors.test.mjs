// Owns: what a client is told when something is wrong, whoever's fault it is.
// Invariant: status, type, param and code are compared whole; an error from a provider is compared byte by byte.
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { startGatewayProcess } from "../../scripts/gateway-process.mjs";
import { freePort } from "../../scripts/ports.mjs";
import { configVariant } from "../../scripts/wrangler.mjs";
import {
  memoryHeaders,
  messagesOf,
  MODEL,
  newThread,
  openai,
  post,
  refused,
  until,
  user,
} from "./conversation.mjs";
import { startGateway, startSandbox, sandboxVars } from "./gateway.mjs";
import { send, startUpstream, whole } from "./wire.mjs";

const SECRETS = { OPENAI_API_KEY: "sk-planted-openai-secret", RAW_KEY: "sk-planted-raw-secret" };
const LIMIT = 200_000;

let sandbox, gateway, upstream, poor;
const gateways = [];
/** A gateway that ends with the tests. */
async function start(vars) {
  const started = await startGateway({ vars });
  gateways.push(started);
  return started;
}

before(async () => {
  [sandbox, upstream] = await Promise.all([startSandbox(), startUpstream()]);
  const closed = await closedPort();
  const PROVIDERS = JSON.stringify({
    raw: { base_url: `${upstream.url}/v1`, dialects: ["chat", "responses"], api_key_secret: "RAW_KEY" },
    closed: { base_url: `http://127.0.0.1:${closed}/v1` },
  });
  [gateway, poor] = await Promise.all([
    start({
      ...sandboxVars(sandbox),
      ...SECRETS,
      PROVIDERS,
      MAX_BODY_BYTES: String(LIMIT),
      UPSTREAM_TIMEOUT_MS: "1500",
    }),
    // No key but a wrong one for OpenAI.
    start({ OPENAI_API_KEY: "invalid-key", OPENAI_BASE_URL: `${sandbox.url}/v1` }),
  ]);
});
after(async () => {
  await Promise.all(gateways.map((started) => started.stop()));
  await sandbox?.close();
  await upstream?.close();
});

/** A port that nobody listens on, nor can: it is the near end of a connection for as long as the tests run. */
async function closedPort() {
  const server = createServer((socket) => socket.unref());
  await once(server.listen(0, "127.0.0.1"), "listening");
  const socket = connect(server.address().port, "127.0.0.1");
  await once(socket, "connect");
  socket.unref();
  server.unref();
  return socket.localPort;
}

const chatBody = (model = MODEL, more = {}) => ({ model, messages: [user("one")], ...more });
const CHAT = "/chat/completions";

/** The refusal without its message, which must say something. */
async function told(response) {
  const { message, ...rest } = await refused(await response);
  assert.ok(message.length > 20, message);
  return rest;
}

const invalid = (param, code = null) => ({ status: 400, type: "invalid_request_error", param, code });

// ——— 400

for (const [what, body, position] of [
  ["cut off", '{"model":"a/b","messages":[', "line 1 column 27"],
  ["on its second line", '{"model":"a/b",\n oops}', "line 2 column 2"],
  ["empty", "", "line 1 column 0"],
  ["no object", "[1]", "line 1 column 0"],
  ["followed by more", "{} {}", "line 1 column 4"],
]) {
  test(`JSON that is ${what} is refused with the place of the fault`, async () => {
    for (const path of [CHAT, "/responses"]) {
      for (const thread of [undefined, newThread()]) {
        const error = await refused(await post(gateway, path, body, { thread }));
        assert.ok(error.message.includes(position), error.message);
        const { message, ...rest } = error;
        assert.deepEqual(rest, invalid(null, "invalid_json"));
      }
    }
  });
}

for (const [what, path, body, param] of [
  ["no model", CHAT, { messages: [user("a")] }, "model"],
  ["a model that is null", CHAT, chatBody(null), "model"],
  ["a model that is no string", CHAT, chatBody(7), "model"],
  ["an empty model", CHAT, chatBody(""), "model"],
  ["a model without a name", CHAT, chatBody("openai/"), "model"],
  ["a model without a provider", CHAT, chatBody("/gpt"), "model"],
  ["no messages", CHAT, { model: MODEL }, "messages"],
  ["messages that are null", CHAT, { model: MODEL, messages: null }, "messages"],
  ["messages that are no list", CHAT, { model: MODEL, messages: "hi" }, "messages"],
  ["no message in messages", CHAT, { model: MODEL, messages: [] }, "messages"],
  ["a stream that is no flag", CHAT, chatBody(MODEL, { stream: "yes" }), "stream"],
  ["no input", "/responses", { model: MODEL }, "input"],
  ["an input that is a number", "/responses", { model: MODEL, input: 7 }, "input"],
]) {
  for (const thread of [undefined, newThread()]) {
    test(`a request with ${what} is refused by name, memory ${thread ? "on" : "off"}`, async () => {
      const before = sandbox.requests.length;
      assert.deepEqual(await told(post(gateway, path, body, { thread })), invalid(param));
      assert.equal(sandbox.requests.length, before);
    });
  }
}

for (const [what, messages, param] of [
  ["that is no object", ["hi"], "messages[0]"],
  ["without a role", [user("a"), { content: "b" }], "messages[1].role"],
  ["of an unknown role", [{ role: "robot", content: "b" }], "messages[0].role"],
]) {
  test(`a message ${what} is refused by name when it would have to be stored`, async () => {
    const thread = newThread();
    assert.deepEqual(await told(post(gateway, CHAT, { model: MODEL, messages }, { thread })), invalid(param));
  });
}

test("a thread without a resource and an unknown memory mode are refused by the header's name", async () => {
  const send = (headers) => told(post(gateway, CHAT, chatBody(), { headers }));
  assert.deepEqual(await send({ "x-thread-id": "t" }), invalid("x-resource-id"));
  assert.deepEqual(
    await send({ ...memoryHeaders("t"), "x-memory-mode": "sometimes" }),
    invalid("x-memory-mode"),
  );
});

test("a body that is not UTF-8 is refused", async () => {
  const body = Buffer.concat([
    Buffer.from('{"model":"a/b","messages":[{"role":"user","content":"'),
    Buffer.from([0xff]),
    Buffer.from('"}]}'),
  ]);
  const answer = await whole(gateway.baseURL + CHAT, {
    headers: { authorization: `Bearer ${gateway.key}`, "content-type": "application/json" },
    body,
  });
  const { message, ...rest } = JSON.parse(answer.text).error;
  assert.deepEqual(
    [answer.status, rest],
    [400, { type: "invalid_request_error", param: null, code: "invalid_json" }],
  );
});

test("a body nested a hundred thousand deep is answered, and the gateway lives on", async () => {
  for (const thread of [undefined, newThread()]) {
    const deep = `{"model":"${MODEL}","messages":[{"role":"user","content":"a","x":${"[".repeat(90_000)}1${"]".repeat(90_000)}}]}`;
    const response = await post(gateway, CHAT, deep, { thread });
    await response.text();
    assert.ok(response.status < 500, `${response.status}`);
    assert.equal((await fetch(`${gateway.url}/health`)).status, 200);
  }
});

// ——— 401

const unauthenticated = (code) => ({ status: 401, type: "authentication_error", param: null, code });

for (const [what, headers, code] of [
  ["no key", {}, "missing_api_key"],
  ["an empty key", { authorization: "Bearer " }, "missing_api_key"],
  ["only Anthropic's placeholder", { "x-api-key": "oauth-gateway-placeholder" }, "missing_api_key"],
  ["a provider's key", { authorization: "Bearer sk-planted-by-client" }, "invalid_api_key"],
  ["a key with odd characters", { authorization: "Bearer msk_planted;drop" }, "invalid_api_key"],
  ["an unknown key", { authorization: "Bearer msk_planted_unknown" }, "invalid_api_key"],
  ["an unknown key in x-api-key", { "x-api-key": "msk_planted_unknown" }, "invalid_api_key"],
  ["another scheme", { authorization: "Basic bXNrX3Rlc3Q6cGxhbnRlZA==" }, "invalid_api_key"],
  [
    "a provider's key where the gateway's belongs",
    { "x-memory-gateway-authorization": "Bearer sk-planted", authorization: "Bearer msk_test_default" },
    "invalid_api_key",
  ],
]) {
  test(`a request with ${what} is a 401 that repeats no key`, async () => {
    const before = sandbox.requests.length;
    for (const path of [CHAT, "/responses", "/memory/threads/t/messages"]) {
      const answer = await whole(gateway.baseURL + path, {
        method: path.endsWith("messages") ? "GET" : "POST",
        headers: { "content-type": "application/json", ...headers },
        ...(!path.endsWith("messages") && { body: JSON.stringify(chatBody()) }),
      });
      const { error, ...nothing } = JSON.parse(answer.text);
      const { message, ...rest } = error;
      assert.deepEqual([{ status: answer.status, ...rest }, nothing], [unauthenticated(code), {}]);
      assert.doesNotMatch(answer.text + JSON.stringify(answer.headers), /planted/);
    }
    assert.equal(sandbox.requests.length, before);
  });
}

test("the official SDK throws its AuthenticationError", async () => {
  const client = openai(gateway, { apiKey: "msk_nobody_knows_this" });
  await assert.rejects(client.chat.completions.create(chatBody()), (error) => {
    assert.equal(error.constructor.name, "AuthenticationError");
    assert.deepEqual(
      [error.status, error.code, error.type],
      [401, "invalid_api_key", "authentication_error"],
    );
    return true;
  });
});

test("a key is taken from x-api-key, and in any case of the scheme", async () => {
  for (const headers of [
    { "x-api-key": gateway.key },
    { authorization: `bEARER ${gateway.key}` },
    { authorization: gateway.key },
    { "x-memory-gateway-authorization": `Bearer ${gateway.key}` },
    { authorization: `Bearer ${gateway.key}`, "x-api-key": "msk_unknown_too" },
  ]) {
    const answer = await whole(gateway.baseURL + CHAT, {
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify(chatBody("openrouter/x")),
    });
    assert.equal(answer.status, 200, answer.text);
    assert.doesNotMatch(JSON.stringify(sandbox.requests.at(-1).headers), /msk_/);
  }
});

test("a gateway key sent as provider key beside another is not sent on", async () => {
  const response = await post(gateway, CHAT, chatBody(), {
    headers: { "x-memory-gateway-authorization": `Bearer ${gateway.key}` },
    key: gateway.otherKey,
  });
  assert.equal(response.status, 200, await response.text());
  assert.equal(sandbox.requests.at(-1).headers.authorization, `Bearer ${SECRETS.OPENAI_API_KEY}`);
});

// ——— 404, 405, 413, 415

test("an unknown path is a 404", async () => {
  for (const path of ["/", "/v1", "/v1/nothing", "/v2/chat/completions", "/v1/chat", "/health/x"]) {
    const response = await fetch(gateway.url + path, {
      headers: { authorization: `Bearer ${gateway.key}` },
    });
    assert.deepEqual(await told(response), { status: 404, type: "not_found", param: null, code: null }, path);
    assert.match(response.headers.get("x-request-id"), /^req_[0-9a-f]{24}$/);
  }
});

test("messages of a thread that does not exist are a 404", async () => {
  await assert.rejects(messagesOf(gateway, newThread()), /not_found/);
});

test("a wrong method is a 405 that names the right ones, also in Allow", async () => {
  for (const [method, path, allow] of [
    ["GET", "/v1/chat/completions", "POST"],
    ["DELETE", "/v1/responses", "POST"],
    ["PUT", "/v1/chat/completions", "POST"],
    ["POST", "/health", "GET, HEAD"],
    ["PATCH", "/v1/memory/threads/t/messages", "GET, HEAD, POST, DELETE"],
  ]) {
    const response = await fetch(gateway.url + path, {
      method,
      headers: { authorization: `Bearer ${gateway.key}` },
    });
    assert.equal(response.headers.get("allow"), allow);
    const { status, type, message } = await refused(response);
    assert.deepEqual([status, type], [405, "invalid_request_error"]);
    assert.ok(message.includes(allow), message);
  }
});

test("doubled and trailing slashes make no difference", async () => {
  for (const path of [
    "//v1/chat/completions",
    "/v1//chat/completions",
    "/v1/chat/completions/",
    "///v1/chat/completions//",
  ]) {
    const answer = await whole(gateway.url, {
      path,
      headers: { authorization: `Bearer ${gateway.key}`, "content-type": "application/json" },
      body: JSON.stringify(chatBody()),
    });
    assert.equal(answer.status, 200, `${path}: ${answer.text}`);
  }
  const client = openai(gateway, { baseURL: `${gateway.baseURL}/` });
  assert.equal((await client.chat.completions.create(chatBody())).choices.length, 1);
});

test("a body over the limit is a 413, with and without a declared length, and one at the limit passes", async () => {
  const sized = (size) => {
    const body = JSON.stringify(chatBody());
    return body + " ".repeat(size - body.length);
  };
  const large = { status: 413, type: "invalid_request_error", param: null, code: null };
  for (const thread of [undefined, newThread()]) {
    assert.deepEqual(await told(post(gateway, CHAT, sized(LIMIT + 1), { thread })), large);
    const chunked = fetch(gateway.baseURL + CHAT, {
      method: "POST",
      duplex: "half",
      headers: {
        authorization: `Bearer ${gateway.key}`,
        "content-type": "application/json",
        ...(thread && memoryHeaders(thread)),
      },
      body: new Blob([sized(LIMIT * 10)]).stream(),
    });
    assert.deepEqual(await told(chunked), large);
    const answer = await post(gateway, CHAT, sized(LIMIT), { thread });
    assert.equal(answer.status, 200, await answer.text());
  }
});

test("a body that never arrives whole blocks nobody else", async () => {
  const half = send(gateway.baseURL + CHAT, {
    headers: {
      authorization: `Bearer ${gateway.key}`,
      "content-type": "application/json",
      "content-length": "1000",
    },
    body: '{"model":',
  });
  half.catch(() => {}); // Never answered: it ends with the gateway.
  assert.equal((await post(gateway, CHAT, chatBody())).status, 200);
});

test("a body that is not declared as JSON is a 415, one that is not declared at all is read", async () => {
  for (const type of ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"]) {
    assert.deepEqual(await told(post(gateway, CHAT, chatBody(), { headers: { "content-type": type } })), {
      status: 415,
      type: "invalid_request_error",
      param: null,
      code: null,
    });
  }
  for (const headers of [
    {},
    { "content-type": "application/json; charset=utf-8" },
    { "content-type": "Application/JSON" },
  ]) {
    const answer = await whole(gateway.baseURL + CHAT, {
      headers: { authorization: `Bearer ${gateway.key}`, ...headers },
      body: JSON.stringify(chatBody()),
    });
    assert.equal(answer.status, 200, answer.text);
  }
});

// ——— Routes

test("without a key for a provider the answer names the secret to set", async () => {
  for (const [model, secret] of [
    ["google/gemini-2.5-flash", "GOOGLE_API_KEY"],
    ["anthropic/claude", "ANTHROPIC_API_KEY"],
    ["mistralai/mistral", "OPENROUTER_API_KEY"],
    ["openrouter/auto", "OPENROUTER_API_KEY"],
    ["gpt-5", "OPENROUTER_API_KEY"],
  ]) {
    for (const thread of [undefined, newThread()]) {
      const { message, ...rest } = await refused(await post(poor, CHAT, chatBody(model), { thread }));
      assert.deepEqual(rest, invalid("model", "no_route"), model);
      assert.ok(message.includes(secret), message);
    }
  }
});

test("a misconfigured deployment says on every path which variable is wrong", async () => {
  // Not by `startGateway`, which waits for a healthy one.
  const state = mkdtempSync(join(tmpdir(), "memory-gateway-"));
  const config = configVariant("test-release", [
    ["./build/release/index.js", "./build/release/index.js"],
    ['command = "node scripts/build.mjs"', 'command = ""'],
  ]);
  const vars = {
    ...sandboxVars(sandbox),
    OPENAI_API_KEY: "sk-planted",
    PROVIDERS: '{"groq":{"key":"sk-planted"}}',
  };
  const broken = startGatewayProcess({ port: await freePort(), state, vars, config });
  try {
    await until(() => fetch(`${broken.url}/health`), "the gateway answers", 30_000);
    for (const path of ["/health", "/v1/chat/completions", "/v1/nothing"]) {
      const response = await fetch(broken.url + path);
      assert.match(response.headers.get("x-request-id"), /^req_/);
      const { message, ...rest } = await refused(response);
      assert.deepEqual(rest, {
        status: 500,
        type: "server_error",
        param: "PROVIDERS",
        code: "misconfigured",
      });
      assert.match(message, /PROVIDERS/);
      assert.doesNotMatch(message, /planted/);
    }
  } finally {
    await broken.kill();
    rmSync(state, { recursive: true, force: true });
  }
});

// ——— The provider's fault

const upstreamError = (code, provider, upstream_status) => ({
  status: 502,
  type: "upstream_error",
  param: null,
  code,
  provider,
  ...(upstream_status && { upstream_status }),
});

for (const memory of [false, true]) {
  const thread = () => (memory ? newThread() : undefined);
  const label = `memory ${memory ? "on" : "off"}`;

  test(`${label}: a provider that refuses the gateway's own key is a 502, not a 401`, async () => {
    const response = await post(poor, CHAT, chatBody(), { thread: thread() });
    const text = await response.clone().text();
    assert.deepEqual(await told(response), upstreamError("upstream_credentials", "openai", 401));
    assert.match(text, /OPENAI_API_KEY/);
    assert.doesNotMatch(text, /invalid-key/);
  });

  test(`${label}: a provider's 401 for the caller's own key passes unchanged`, async () => {
    const response = await post(poor, CHAT, chatBody(), {
      thread: thread(),
      key: "invalid-key",
      headers: { "x-memory-gateway-authorization": `Bearer ${poor.key}` },
    });
    assert.equal(response.status, 401);
    assert.deepEqual(await response.json(), {
      error: {
        message: "The API key is not valid.",
        type: "invalid_request_error",
        param: null,
        code: "invalid_api_key",
      },
    });
  });

  test(`${label}: a provider that cannot be reached is a 502`, async () => {
    const response = post(gateway, CHAT, chatBody("closed/m"), { thread: thread() });
    assert.deepEqual(await told(response), upstreamError("upstream_unreachable", "closed"));
  });

  test(`${label}: a page where JSON belongs is a 502`, async () => {
    const response = await post(gateway, CHAT, chatBody(`${MODEL};html`), { thread: thread() });
    assert.doesNotMatch(await response.clone().text(), /A page where/);
    assert.deepEqual(await told(response), upstreamError("upstream_nonsense", "openai", 200));
  });

  test(`${label}: a redirect is neither followed nor passed on`, async () => {
    const response = await post(gateway, CHAT, chatBody(`${MODEL};redirect`), { thread: thread() });
    assert.equal(response.headers.get("location"), null);
    assert.deepEqual(await told(response), upstreamError(null, "openai", 307));
  });

  test(`${label}: a provider that is silent for too long is a 504, in time`, async () => {
    const since = performance.now();
    const before = sandbox.requests.length;
    const response = post(gateway, CHAT, chatBody(`${MODEL};stall=20000`), { thread: thread() });
    assert.deepEqual(await told(response), {
      status: 504,
      type: "timeout",
      param: null,
      code: "upstream_timeout",
      provider: "openai",
    });
    const took = performance.now() - since;
    assert.ok(took > 1_400 && took < 5_000, `${took} ms`);
    assert.equal(sandbox.requests.length, before + 1);
    assert.equal(sandbox.requests[before].aborted, true);
  });

  for (const status of [400, 404, 408, 413, 429, 500, 503, 529]) {
    test(`${label}: a provider's ${status} passes with its body and retry-after`, async () => {
      const body = `{"error": {"message":"no \\u00e4","type":"x", "code":${status}, "big":1e400}}\n`;
      upstream.answer = (res) =>
        res
          .writeHead(status, {
            "content-type": "application/json",
            "retry-after": "7",
            "x-ratelimit-remaining-requests": "0",
            "x-should-retry": "false",
          })
          .end(body);
      const answer = await whole(gateway.baseURL + CHAT, {
        headers: {
          authorization: `Bearer ${gateway.key}`,
          "content-type": "application/json",
          ...(memory && memoryHeaders(newThread())),
        },
        body: JSON.stringify(chatBody("raw/m", { stream: true })),
      });
      assert.deepEqual(
        [
          answer.status,
          answer.text,
          answer.headers["retry-after"],
          answer.headers["x-ratelimit-remaining-requests"],
        ],
        [status, body, "7", "0"],
      );
      assert.equal(answer.headers["content-type"], "application/json");
      assert.equal(answer.headers["x-should-retry"], "false");
      assert.equal(answer.headers["x-gateway-provider"], "raw");
    });
  }

  test(`${label}: a provider that drops the connection before it answers is a 502`, async () => {
    upstream.answer = (res) => void res.destroy();
    const response = post(gateway, CHAT, chatBody("raw/m"), { thread: thread() });
    assert.deepEqual(await told(response), upstreamError("upstream_unreachable", "raw"));
  });

  test(`${label}: a provider that drops the connection inside a whole answer is never a whole answer`, async () => {
    upstream.answer = async (res) => {
      res.writeHead(200, { "content-type": "application/json", "content-length": "1000" });
      await new Promise((resolve) => res.write('{"choices":[', resolve));
      setTimeout(() => res.destroy(), 50);
    };
    const answer = await whole(gateway.baseURL + CHAT, {
      headers: {
        authorization: `Bearer ${gateway.key}`,
        "content-type": "application/json",
        ...(memory && memoryHeaders(newThread())),
      },
      body: JSON.stringify(chatBody("raw/m")),
    });
    assert.equal(JSON.parse(answer.text).error.code, "upstream_incomplete");
  });

  test(`${label}: an answer of the provider without a body does not hang`, async () => {
    upstream.answer = (res) => res.writeHead(204).end();
    const response = await post(gateway, CHAT, chatBody("raw/m"), { thread: thread() });
    await response.text();
    assert.ok([204, 502].includes(response.status), `${response.status}`);
  });
}

// The last test: it looks at all that the others made the gateways write.
test("no log line holds a key", async () => {
  for (const { logs } of gateways) {
    const text = logs();
    assert.match(text, /POST \/v1\/chat\/completions/);
    assert.doesNotMatch(text, /planted|msk_test|invalid-key|sandbox-key|sk-own/);
  }
});
