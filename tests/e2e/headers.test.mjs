// Owns: which headers and keys cross the gateway, in either direction, and which never do.
// Invariant: all that the provider or the client got is compared, so that a header that nobody thought of is found.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { memoryHeaders, MODEL, newThread, post, user } from "./conversation.mjs";
import { startGateway, startSandbox, sandboxVars } from "./gateway.mjs";
import { startUpstream, whole } from "./wire.mjs";

const SECRETS = { OPENAI_API_KEY: "sk-planted-openai-secret", RAW_KEY: "sk-planted-raw-secret" };

let sandbox, gateway, upstream;
before(async () => {
  [sandbox, upstream] = await Promise.all([startSandbox(), startUpstream()]);
  const PROVIDERS = JSON.stringify({
    raw: { base_url: `${upstream.url}/v1`, dialects: ["chat", "responses"], api_key_secret: "RAW_KEY" },
  });
  gateway = await startGateway({
    vars: { ...sandboxVars(sandbox), ...SECRETS, PROVIDERS, CORS_ORIGINS: "https://app.test" },
  });
});
after(async () => {
  await gateway?.stop();
  await sandbox?.close();
  await upstream?.close();
});

const chatBody = (model = MODEL, more = {}) => ({ model, messages: [user("one")], ...more });
const CHAT = "/chat/completions";

test("every answer has a request id, and a sane one of the client's is echoed", async () => {
  const ask = async (id, path = "/health") => {
    const response = await fetch(gateway.url + path, {
      headers: id === undefined ? {} : { "x-request-id": id },
    });
    await response.text();
    return response.headers.get("x-request-id");
  };
  assert.match(await ask(), /^req_[0-9a-f]{24}$/);
  assert.notEqual(await ask(), await ask());
  for (const id of ["my-id_1.2:3/4", "x".repeat(128)]) {
    assert.equal(await ask(id), id);
    assert.equal(await ask(id, "/v1/nothing"), id);
  }
  for (const id of ["has space", "<script>", "x".repeat(129), "é", "a;b", '"'])
    assert.match(await ask(id), /^req_[0-9a-f]{24}$/, id);
});

for (const memory of [false, true]) {
  test(`memory ${memory ? "on" : "off"}: of the client's headers only those on the list reach the provider`, async () => {
    upstream.answer = (res) =>
      res.writeHead(200, { "content-type": "application/json" }).end('{"choices":[]}');
    const answer = await whole(gateway.baseURL + CHAT, {
      headers: {
        authorization: `Bearer ${gateway.key}`,
        "content-type": "application/json",
        ...(memory && memoryHeaders(newThread())),
        cookie: "session=planted",
        "x-api-key": "planted",
        "proxy-authorization": "planted",
        "x-forwarded-for": "10.1.2.3",
        "x-forwarded-host": "planted",
        "x-real-ip": "10.1.2.3",
        forwarded: "for=10.1.2.3",
        "cf-connecting-ip": "10.1.2.3",
        "cf-ipcountry": "NO",
        "true-client-ip": "10.1.2.3",
        "x-stainless-lang": "js",
        "x-stainless-retry-count": "0",
        "x-request-id": "chosen-by-the-client",
        "x-custom": "planted",
        "x-memory-mode": "on",
        referer: "https://planted.test",
        origin: "https://planted.test",
        "accept-language": "no",
        "openai-organization": "org-1",
        "openai-project": "proj-1",
        "openai-beta": "assistants=v2",
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        tracestate: "a=b",
      },
      body: JSON.stringify(chatBody("raw/m")),
    });
    assert.equal(answer.status, 200, answer.text);
    const {
      // What an HTTP client itself needs to say.
      host,
      "content-length": length,
      connection,
      accept,
      "accept-encoding": encoding,
      "cf-worker": worker, // Added by the runtime behind the gateway's back.
      ...headers
    } = upstream.requests.at(-1).headers;
    assert.deepEqual(headers, {
      authorization: `Bearer ${SECRETS.RAW_KEY}`,
      "content-type": "application/json",
      "user-agent": headers["user-agent"],
      "openai-organization": "org-1",
      "openai-project": "proj-1",
      "openai-beta": "assistants=v2",
      traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
      tracestate: "a=b",
    });
    assert.match(headers["user-agent"], /^memory-gateway\//);
  });

  test(`memory ${memory ? "on" : "off"}: of the provider's headers only those on the list reach the client`, async () => {
    upstream.answer = (res) =>
      res
        .writeHead(200, {
          "content-type": "application/json",
          "set-cookie": ["a=planted", "b=planted"],
          server: "planted",
          via: "planted",
          "cf-ray": "planted",
          "openai-organization": "planted",
          "access-control-allow-origin": "*",
          "strict-transport-security": "planted",
          "alt-svc": "planted",
          "x-powered-by": "planted",
          "x-gateway-provider": "planted",
          "x-memory-status": "planted",
          "x-request-id": "req_of_the_provider",
          "openai-processing-ms": "7",
          "x-ratelimit-remaining-tokens": "5",
          // Of these names the gateway has its own.
          ...{ "x-ratelimit-limit": "planted", "x-ratelimit-remaining": "planted" },
          ...{ "x-ratelimit-reset": "planted", "x-ratelimit-scope": "planted" },
        })
        .end('{"choices":[]}');
    const answer = await whole(gateway.baseURL + CHAT, {
      headers: {
        authorization: `Bearer ${gateway.key}`,
        "content-type": "application/json",
        ...(memory && memoryHeaders(newThread())),
      },
      body: JSON.stringify(chatBody("raw/m")),
    });
    const {
      date,
      connection,
      "keep-alive": alive,
      "transfer-encoding": transfer,
      "content-length": length,
      "x-ratelimit-remaining": remaining,
      "x-ratelimit-reset": reset,
      ...headers
    } = answer.headers;
    assert.match(`${remaining} ${reset}`, /^\d+ \d+$/);
    assert.match(headers["x-request-id"], /^req_[0-9a-f]{24}$/);
    assert.match(headers["server-timing"], /^auth;dur=\d+, memory;dur=\d+, upstream-first-byte;dur=\d+$/);
    assert.deepEqual(headers, {
      "content-type": "application/json",
      "openai-processing-ms": "7",
      "server-timing": headers["server-timing"],
      "x-ratelimit-limit": "1000000",
      "x-ratelimit-scope": "llm_proxy",
      "x-gateway-attempts": "1",
      "x-gateway-model": "m",
      "x-gateway-provider": "raw",
      ...(memory && { "x-memory-status": "empty", "x-memory-tokens": "0" }),
      "x-ratelimit-remaining-tokens": "5",
      "x-request-id": headers["x-request-id"],
      "x-upstream-request-id": "req_of_the_provider",
    });
  });
}

test("a model's name cannot end a header line, neither towards the client nor the provider", async () => {
  upstream.answer = (res) => res.writeHead(200, { "content-type": "application/json" }).end('{"choices":[]}');
  const model = "m\r\nset-cookie: planted=1\r\n\r\n<html>ü\u0000";
  for (const thread of [undefined, newThread()]) {
    const response = await post(gateway, CHAT, chatBody(`raw/${model}`), { thread });
    assert.equal(response.status, 200, await response.text());
    assert.equal(response.headers.get("set-cookie"), null);
    assert.equal(JSON.parse(upstream.requests.at(-1).raw).model, model);
    assert.equal(upstream.requests.at(-1).headers["set-cookie"], undefined);
  }
});

test("browsers are let in from configured origins only", async () => {
  const preflight = (origin) =>
    fetch(gateway.baseURL + CHAT, {
      method: "OPTIONS",
      headers: {
        origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
      },
    });
  const allowed = await preflight("https://app.test");
  assert.equal(allowed.status, 204);
  assert.equal(allowed.headers.get("access-control-allow-origin"), "https://app.test");
  assert.equal(allowed.headers.get("access-control-allow-headers"), "authorization");
  const other = await preflight("https://evil.test");
  assert.equal(other.status, 405);
  assert.equal(other.headers.get("access-control-allow-origin"), null);
  const answer = await post(gateway, CHAT, chatBody(), { headers: { origin: "https://app.test" } });
  assert.equal(answer.headers.get("access-control-allow-origin"), "https://app.test");
});

test("a stored key goes to the configured host only, whatever the request says", async () => {
  upstream.answer = (res) => res.writeHead(200, { "content-type": "application/json" }).end('{"choices":[]}');
  const before = upstream.requests.length;
  const body = chatBody(MODEL, { base_url: upstream.url, api_base: upstream.url, url: upstream.url });
  const response = await post(gateway, CHAT, body, {
    headers: { host: "raw.test", "x-base-url": upstream.url },
  });
  assert.equal(response.status, 200, await response.text());
  assert.equal(upstream.requests.length, before);
});

test("an empty provider key beside the gateway's is no key: the stored one is used", async () => {
  for (const authorization of ["", "Bearer", "Bearer "]) {
    const answer = await whole(gateway.baseURL + CHAT, {
      headers: {
        "x-memory-gateway-authorization": `Bearer ${gateway.key}`,
        authorization,
        "content-type": "application/json",
      },
      body: JSON.stringify(chatBody()),
    });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(sandbox.requests.at(-1).headers.authorization, `Bearer ${SECRETS.OPENAI_API_KEY}`);
  }
});

test("the caller's own key goes to the provider that the model names, and no stored key with it", async () => {
  upstream.answer = (res) => res.writeHead(200, { "content-type": "application/json" }).end('{"choices":[]}');
  const own = { key: "sk-own", headers: { "x-memory-gateway-authorization": `Bearer ${gateway.key}` } };
  await (await post(gateway, CHAT, chatBody("raw/m"), own)).text();
  assert.equal(upstream.requests.at(-1).headers.authorization, "Bearer sk-own");
  await (await post(gateway, CHAT, chatBody("gpt-5.4-mini"), own)).text();
  assert.equal(sandbox.requests.at(-1).headers.authorization, "Bearer sk-own");
  assert.equal(sandbox.requests.at(-1).path, "/v1/chat/completions");
});

test("/health needs no key and says the version", async () => {
  const response = await fetch(`${gateway.url}/health`);
  const body = await response.json();
  assert.deepEqual(body, { status: "ok", version: body.version });
  assert.match(body.version, /^\d+\.\d+\.\d+$/);
  const head = await whole(`${gateway.url}/health`, { method: "HEAD" });
  assert.deepEqual([head.status, head.text], [200, ""]);
});

// The last test: it looks at all that the others made the gateway write.
test("no log line holds a key", async () => {
  const text = gateway.logs();
  assert.match(text, /POST \/v1\/chat\/completions/);
  assert.doesNotMatch(text, /planted|msk_test|invalid-key|sandbox-key|sk-own/);
});
