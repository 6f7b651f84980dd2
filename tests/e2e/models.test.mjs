// Owns: the list of models, as both official clients and the bare wire see it, and what a provider that fails does to it.
// Invariant: lists are compared whole; a gateway keeps its list, so what must be asked anew has a gateway of its own.
import Anthropic from "@anthropic-ai/sdk";
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import OpenAI from "openai";
import { listed } from "../../sandbox/models.mjs";
import { chat, openai, refused, until } from "./conversation.mjs";
import { directBaseURL } from "./direct.mjs";
import { startGateway, startSandbox, sandboxVars } from "./gateway.mjs";
import { begin, startUpstream, whole } from "./wire.mjs";

const CREATED = 1_750_000_000; // Of all models of the sandbox.

let sandbox, gateway, upstream;
const gateways = [];
/** A gateway that ends with the tests. */
async function start(vars) {
  const started = await startGateway({ vars });
  gateways.push(started);
  return started;
}

before(async () => {
  [sandbox, upstream] = await Promise.all([startSandbox(), startUpstream()]);
  gateway = await start(sandboxVars(sandbox));
});
after(async () => {
  await Promise.all(gateways.map((started) => started.stop()));
  await sandbox?.close();
  await upstream?.close();
});

const byId = (one, other) => (one.id < other.id ? -1 : 1);

const anthropic = (at = gateway, options = {}) =>
  new Anthropic({ apiKey: at.key, baseURL: at.url, maxRetries: 0, ...options });

/** All models by the OpenAI SDK. */
async function listOf(at) {
  const page = await openai(at).models.list();
  assert.equal(page.object, "list");
  return page.data;
}

const own = (provider) => listed(provider).map((id) => `${provider}/${id.replace("models/", "")}`);
const model = (id, owned_by = "sandbox") => ({ id, object: "model", created: CREATED, owned_by });

/** What the providers that are reached without OpenRouter have together. */
const DIRECT = ["openai", "google", "anthropic"];
const ALL = DIRECT.flatMap(own).sort();
/** And what only OpenRouter has, in its own words: Anthropic itself knows no such name. */
const ROUTED = "anthropic/claude-sonnet-4.5";
const isRouted = (id) => id.endsWith(ROUTED);

const ask = (path, { at = gateway, headers, method = "GET" } = {}) =>
  whole(at.baseURL + path, { method, headers: { authorization: `Bearer ${at.key}`, ...headers } });

// The first test: it sees how the providers are asked.
test("each provider is asked once, in its own way and with the deployment's own key", async () => {
  await listOf(gateway);
  await listOf(gateway);
  await anthropic().models.list();
  const asked = sandbox.requests.map(({ method, path, headers }) => ({
    method,
    path,
    ...Object.fromEntries(
      ["authorization", "x-api-key", "anthropic-version"].flatMap((name) =>
        name in headers ? [[name, headers[name]]] : [],
      ),
    ),
  }));
  const authorization = "Bearer sandbox-key";
  assert.deepEqual(
    asked.sort((one, other) => (one.path < other.path ? -1 : 1)),
    [
      { method: "GET", path: "/api/v1/models", authorization },
      { method: "GET", path: "/v1/models", authorization },
      {
        method: "GET",
        path: "/v1/models?limit=1000",
        "x-api-key": "sandbox-key",
        "anthropic-version": "2023-06-01",
      },
      { method: "GET", path: "/v1beta/openai/models", authorization },
    ],
  );
});

test("the OpenAI SDK lists the models of all providers, each once, sorted, under the ids that requests name", async () => {
  const models = await listOf(gateway);
  const ids = models.map(({ id }) => id);
  assert.deepEqual(ids, ids.toSorted());
  assert.deepEqual(
    ids.filter((id) => !isRouted(id)),
    ALL,
  );
  assert.equal(ids.filter(isRouted).length, 1);
  const others = models.filter(({ id }) => !own("anthropic").includes(id) && !isRouted(id));
  assert.deepEqual(others, [...own("openai"), ...own("google")].map((id) => model(id)).sort(byId));
});

test("a provider's models keep the date at which they came out, in whichever form the provider gives it", async () => {
  const models = await listOf(gateway);
  const claude = models.filter(({ id }) => own("anthropic").includes(id));
  assert.deepEqual(
    claude,
    own("anthropic")
      .map((id) => model(id, "anthropic"))
      .sort(byId),
  );
  const { created_at } = await anthropic().models.retrieve("anthropic/claude-opus-4-8");
  assert.equal(Date.parse(created_at), CREATED * 1_000);
});

test("every model that is listed is asked of a provider that listed it, by the name it has there", async () => {
  for (const { id } of await listOf(gateway)) {
    const { text, headers } = await chat(gateway, undefined, "Say: hi", { model: id });
    assert.equal(text, "hi");
    const [provider, name] = ["x-gateway-provider", "x-gateway-model"].map((header) => headers.get(header));
    const names = listed(provider).map((theirs) => theirs.replace("models/", ""));
    assert.ok(names.includes(name), `${id} is listed, but ${provider} has no ${name}`);
  }
});

test("the Anthropic SDK lists the same models in Anthropic's shape, in one page", async () => {
  const page = await anthropic().models.list();
  const all = (await listOf(gateway)).map(({ id }) => id);
  assert.deepEqual(
    page.data.map(({ id }) => id),
    all,
  );
  assert.deepEqual(
    [page.has_more, page.first_id, page.last_id, page.hasNextPage()],
    [false, all[0], all.at(-1), false],
  );
  const found = (id) => page.data.find((one) => one.id === id);
  const created_at = "2025-06-15T15:06:40.000Z";
  assert.deepEqual(found("openai/gpt-4o"), {
    type: "model",
    id: "openai/gpt-4o",
    display_name: "gpt-4o",
    created_at,
  });
  const { created_at: _, ...opus } = found("anthropic/claude-opus-4-8");
  assert.deepEqual(opus, { type: "model", id: "anthropic/claude-opus-4-8", display_name: "Claude Opus 4.8" });
  const ids = [];
  for await (const { id } of anthropic().models.list({ limit: 1_000 })) ids.push(id);
  assert.deepEqual(ids, all);
});

test("one model is told by its id, with its slash as it is or encoded, in either shape", async () => {
  const id = "openai/gpt-5.4-mini";
  assert.deepEqual({ ...(await openai(gateway).models.retrieve(id)) }, model(id));
  for (const path of [`/models/${id}`, `/models/${encodeURIComponent(id)}`, `//models/${id}/`]) {
    const answer = await ask(path);
    assert.deepEqual([answer.status, JSON.parse(answer.text)], [200, model(id)], path);
  }
  assert.equal((await openai(gateway).models.retrieve("google/gemini-2.5-pro")).id, "google/gemini-2.5-pro");
  assert.deepEqual(
    { ...(await anthropic().models.retrieve(id)) },
    { type: "model", id, display_name: "gpt-5.4-mini", created_at: "2025-06-15T15:06:40.000Z" },
  );
});

test("a model that is not there is a 404", async () => {
  for (const id of ["openai/gpt-1", "gpt-5.4-mini", "openai", "OPENAI/gpt-4o", "models/gemini-2.5-pro"]) {
    const { message, ...rest } = await refused(
      await fetch(`${gateway.baseURL}/models/${id}`, { headers: { authorization: `Bearer ${gateway.key}` } }),
    );
    assert.match(message, /\/v1\/models/);
    assert.deepEqual(rest, { status: 404, type: "not_found", param: null, code: null }, id);
  }
  await assert.rejects(openai(gateway).models.retrieve("openai/gpt-1"), OpenAI.NotFoundError);
  await assert.rejects(anthropic().models.retrieve("openai/gpt-1"), Anthropic.NotFoundError);
});

test("the list is for holders of a key, whichever header carries it", async () => {
  const before = sandbox.requests.length;
  for (const path of ["/models", "/models/openai/gpt-4o"]) {
    for (const [headers, code] of [
      [{}, "missing_api_key"],
      [{ authorization: "Bearer msk_planted_unknown" }, "invalid_api_key"],
      [{ "x-api-key": "sk-ant-api03-planted", "anthropic-version": "2026-10-21" }, "invalid_api_key"],
    ]) {
      const answer = await whole(gateway.baseURL + path, { method: "GET", headers });
      const { message, ...rest } = JSON.parse(answer.text).error;
      assert.deepEqual([answer.status, rest], [401, { type: "authentication_error", param: null, code }]);
      assert.doesNotMatch(answer.text, /planted/);
    }
    for (const headers of [
      { "x-api-key": gateway.key },
      { "x-memory-gateway-authorization": `Bearer ${gateway.key}` },
    ]) {
      assert.equal((await whole(gateway.baseURL + path, { method: "GET", headers })).status, 200);
    }
  }
  await assert.rejects(openai(gateway, { apiKey: "msk_nobody" }).models.list(), OpenAI.AuthenticationError);
  await assert.rejects(
    anthropic(gateway, { apiKey: "msk_nobody" }).models.list(),
    Anthropic.AuthenticationError,
  );
  assert.equal(sandbox.requests.length, before);
});

test("a HEAD request works where GET does, and no other method", async () => {
  for (const [path, status] of [
    ["/models", 200],
    ["/models/openai/gpt-4o", 200],
    ["/models/openai/gpt-1", 404],
  ]) {
    const answer = await ask(path, { method: "HEAD" });
    assert.deepEqual([answer.status, answer.text], [status, ""], path);
  }
  const answer = await ask("/models", { method: "POST" });
  assert.deepEqual([answer.status, answer.headers.allow], [405, "GET, HEAD"]);
});

// ——— Providers that fail

const json = (body) => (res) =>
  res.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body));
const list = (...ids) =>
  json({
    object: "list",
    data: ids.map((id) => ({ id, object: "model", created: CREATED, owned_by: "them" })),
  });

/** Providers under one scripted upstream, by name; `answers` holds what each does, by name. */
function providers(...names) {
  const answers = {};
  // Others ask, too: direct.mjs looks for the gateway at every port.
  upstream.answer = (res, { path }) =>
    (answers[path.split("/")[1]] ?? ((other) => other.writeHead(404).end()))(res);
  const declared = names.map((name) => [name, { base_url: `${upstream.url}/${name}/v1` }]);
  return { answers, vars: { PROVIDERS: JSON.stringify(Object.fromEntries(declared)) } };
}

const idsOf = async (at) => (await listOf(at)).map(({ id }) => id);

test("a provider that is down, fails, refuses or gives nonsense hides only its own models", async () => {
  const { answers, vars } = providers("good", "failing", "elsewhere", "nonsense", "other", "cut");
  Object.assign(answers, {
    good: list("m", "a/b"),
    failing: (res) =>
      res.writeHead(500, { "content-type": "application/json" }).end('{"data":[{"id":"planted"}]}'),
    elsewhere: (res) => res.writeHead(307, { location: `${upstream.url}/good/v1/models` }).end(),
    nonsense: (res) => res.writeHead(200, { "content-type": "text/html" }).end("<h1>no list</h1>"),
    other: json({ data: [null, 7, { id: 7 }, { name: "no id" }, { id: "only-this" }] }),
    cut: (res) => {
      res.writeHead(200, { "content-type": "application/json", "content-length": "1000" });
      res.write('{"data":[{"id":"planted"}', () => res.destroy());
    },
  });
  const at = await start({
    ...vars,
    OPENAI_API_KEY: "invalid-key",
    OPENAI_BASE_URL: `${sandbox.url}/v1`,
    GOOGLE_API_KEY: "sandbox-key",
    GOOGLE_BASE_URL: "http://127.0.0.1:9", // Nobody is there.
    ANTHROPIC_API_KEY: "sandbox-key",
    ANTHROPIC_BASE_URL: sandbox.url,
  });
  assert.deepEqual(await idsOf(at), [...own("anthropic").sort(), "good/a/b", "good/m", "other/only-this"]);
  assert.deepEqual((await listOf(at)).at(-1), {
    id: "other/only-this",
    object: "model",
    created: 0,
    owned_by: "other",
  });
  assert.doesNotMatch(at.logs(), /invalid-key|sandbox-key/);
});

test("without any list there is a 502, and the next request asks again", async () => {
  const { answers, vars } = providers("one", "two");
  answers.one = answers.two = (res) => res.writeHead(503).end();
  const at = await start(vars);
  const failed = await refused(
    await fetch(`${at.baseURL}/models`, { headers: { authorization: `Bearer ${at.key}` } }),
  );
  const { message, ...rest } = failed;
  assert.match(message, /Try again/);
  assert.deepEqual(rest, { status: 502, type: "upstream_error", param: null, code: null });

  answers.one = list("m");
  answers.two = list("m");
  assert.deepEqual(await idsOf(at), ["one/m", "two/m"]);
});

test("a client that leaves while a provider still thinks does not decide what the next one sees", async () => {
  const { answers, vars } = providers("one", "two");
  let thinking = 0;
  answers.one = list("m");
  answers.two = (res) => {
    thinking += 1;
    setTimeout(() => list("m")(res), 1_000);
  };
  const at = await start({ ...vars, OPENAI_API_KEY: "sandbox-key", OPENAI_BASE_URL: `${sandbox.url}/v1` });
  const headers = { authorization: `Bearer ${at.key}` };
  const leaving = begin(`${await directBaseURL(at)}/models`, { method: "GET", headers });
  leaving.head.catch(() => {});
  await until(() => thinking === 1, "the slow provider was asked");
  leaving.leave();
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.deepEqual(await idsOf(at), ["one/m", ...own("openai").sort(), "two/m"]);
});

for (const [what, stall] of [
  ["never begins", () => {}],
  [
    "begins and never ends",
    (res) => res.writeHead(200, { "content-type": "application/json" }).write('{"data":['),
  ],
]) {
  test(`a provider whose list ${what} holds the others' up for some seconds at most`, async () => {
    const { answers, vars } = providers("good", "stalling");
    Object.assign(answers, { good: list("m"), stalling: stall });
    const at = await start(vars);
    const since = performance.now();
    const response = await fetch(`${at.baseURL}/models`, {
      headers: { authorization: `Bearer ${at.key}` },
      signal: AbortSignal.timeout(12_000),
    });
    assert.deepEqual(
      (await response.json()).data.map(({ id }) => id),
      ["good/m"],
    );
    assert.ok(performance.now() - since < 8_000, `${performance.now() - since} ms`);
  });
}
