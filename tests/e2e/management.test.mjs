// Owns: the management API on real workerd, what its rules do to requests, and whose credential a provider sees.
// Invariant: the provider is scripted, so that what it was sent is known whole; no test depends on another's projects.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { post, refused, until, user } from "./conversation.mjs";
import { ADMIN_TOKEN, startGateway } from "./gateway.mjs";
import { startUpstream } from "./wire.mjs";

let upstream, gateway;
before(async () => {
  upstream = await startUpstream();
  upstream.answer = (res) =>
    res.writeHead(200, { "content-type": "application/json" }).end(
      JSON.stringify({
        id: "1",
        object: "chat.completion",
        model: "m",
        choices: [{ index: 0, message: { role: "assistant", content: "Hi." }, finish_reason: "stop" }],
        usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
      }),
    );
  gateway = await startGateway({
    vars: {
      OPENAI_BASE_URL: `${upstream.url}/openai`,
      OPENAI_API_KEY: "of-the-deployment",
      GROQ_BASE_URL: `${upstream.url}/groq`,
      MISTRAL_BASE_URL: `${upstream.url}/mistral`,
      OPENROUTER_BASE_URL: `${upstream.url}/openrouter`,
      OPENROUTER_API_KEY: "of-openrouter",
    },
  });
});
after(async () => {
  await gateway?.stop();
  await upstream?.close();
});

/** A new project with a key: `{project, id, key}`. */
async function newKey(rules = {}) {
  const project = `p-${randomUUID()}`;
  assert.equal((await gateway.manage("POST", "/projects", { id: project })).status, 201);
  return { project, ...(await anotherKey(project, rules)) };
}

async function anotherKey(project, rules = {}) {
  const made = await gateway.manage("POST", `/projects/${project}/keys`, rules);
  assert.equal(made.status, 201, JSON.stringify(made));
  return { id: made.key.id, key: made.secret, path: `/projects/${project}/keys/${made.key.id}` };
}

const say = (key, model = "openai/m", options = {}) =>
  post(gateway, "/chat/completions", { model, messages: [user("Hello.")] }, { key, ...options });

/** `path credential` of what the provider was asked for a request. */
async function asked(key, model, options) {
  const before = upstream.requests.length;
  const answer = await say(key, model, options);
  const text = await answer.text();
  assert.equal(answer.status, 200, text);
  assert.equal(upstream.requests.length, before + 1);
  const { path, headers } = upstream.requests.at(-1);
  return `${path.split("/")[1]} ${headers.authorization}`;
}

test("only the administrator's token opens the management API", async () => {
  for (const [token, status, code] of [
    ["", 401, "missing_admin_token"],
    [`${ADMIN_TOKEN}x`, 401, "invalid_admin_token"],
    [gateway.key, 401, "invalid_admin_token"],
  ]) {
    const before = await gateway.d1("SELECT count(*) AS count FROM projects");
    const { error, ...answer } = await gateway.manage("POST", "/projects", { id: "intruder" }, token);
    assert.deepEqual([answer.status, error.type, error.code], [status, "authentication_error", code]);
    assert.deepEqual(await gateway.d1("SELECT count(*) AS count FROM projects"), before);
  }
  const off = await startGateway({ vars: { ADMIN_TOKEN: "" } });
  try {
    const { status, error } = await off.manage("GET", "/projects", undefined, ADMIN_TOKEN);
    assert.deepEqual([status, error.type, error.code], [403, "permission_error", "management_off"]);
    assert.match(error.message, /ADMIN_TOKEN/);
  } finally {
    await off.stop();
  }
});

test("a project and its keys are managed over HTTP, and a wrong field is named", async () => {
  const { project, path, id } = await newKey({ label: "laptop", models: ["openai/*"] });
  const list = await gateway.manage("GET", `/projects/${project}/keys`);
  assert.deepEqual([list.status, list.total, list.keys.map((key) => key.id)], [200, 1, [id]]);
  const changed = await gateway.manage("PATCH", path, { label: "desktop", models: null });
  assert.deepEqual([changed.status, changed.key.label, changed.key.models], [200, "desktop", null]);
  const settings = { memory: { keep_tokens: 9_000, scope: "resource" } };
  const set = await gateway.manage("PATCH", `/projects/${project}`, { settings });
  assert.deepEqual([set.status, set.project.settings], [200, settings]);
  const wrong = await gateway.manage("PATCH", `/projects/${project}`, { settings: { memory: { keep: 1 } } });
  assert.deepEqual([wrong.status, wrong.error.param], [400, "settings.memory.keep"]);
  assert.equal((await gateway.manage("PUT", `/projects/${project}`, {})).status, 405);
  assert.equal((await gateway.manage("GET", "/nothing")).status, 404);
  const usage = await gateway.manage("GET", `/projects/${project}/usage/activity`);
  assert.deepEqual([usage.status, usage.activity], [200, []]);
  assert.equal((await gateway.manage("GET", `/projects/nobody/usage/logs`)).status, 404);
});

test("a key that is switched off, expired, rotated or deleted is refused at once and says why", async () => {
  const { key, path } = await newKey();
  const code = async (key) => {
    const answer = await say(key);
    if (answer.status === 200) return 200;
    const error = await refused(answer);
    assert.equal(error.type, "authentication_error");
    return `${error.status} ${error.code}`;
  };
  assert.equal(await code(key), 200);
  await gateway.manage("PATCH", path, { disabled: true });
  assert.equal(await code(key), "401 key_disabled");
  await gateway.manage("PATCH", path, { disabled: false, expires_at: "2020-01-01T00:00:00Z" });
  assert.equal(await code(key), "401 key_expired");
  await gateway.manage("PATCH", path, { expires_at: "2120-01-01T00:00:00Z" });
  assert.equal(await code(key), 200);
  const { secret } = await gateway.manage("POST", `${path}/rotate`);
  assert.deepEqual([await code(key), await code(secret)], ["401 invalid_api_key", 200]);
  await gateway.manage("DELETE", path);
  assert.equal(await code(secret), "401 invalid_api_key");
});

test("a key may ask only the models and use only the endpoints that it is allowed, in every dialect", async () => {
  const { key } = await newKey({
    models: ["openai/*", "groq/llama*"],
    endpoints: ["chat", "messages", "models"],
  });
  assert.equal((await say(key, "openai/m")).status, 200);
  const body = (model) => ({ model, messages: [user("Hello.")], max_tokens: 9 });
  const before = upstream.requests.length;
  for (const model of ["mistral/m", "openrouter/openai/m", "meta/llama", "groq/other"]) {
    const error = await refused(await post(gateway, "/chat/completions", body(model), { key }));
    assert.deepEqual(
      [error.status, error.type, error.code],
      [403, "permission_error", "model_not_allowed"],
      model,
    );
    const anthropic = await post(gateway, "/messages", body(model), { key });
    const { error: told } = await anthropic.json();
    assert.deepEqual([anthropic.status, told.type], [403, "permission_error"], model);
  }
  const fallback = { ...body("openai/m"), models: ["mistral/m"] };
  assert.equal((await post(gateway, "/chat/completions", fallback, { key })).status, 403);
  const remembered = await post(gateway, "/chat/completions", body("mistral/m"), { key, thread: "t" });
  assert.equal(remembered.status, 403);
  for (const [method, path] of [
    ["POST", "/responses"],
    ["POST", "/embeddings"],
    ["GET", "/responses/resp_1"],
    ["GET", "/memory/threads/t/messages"],
  ]) {
    const error = await refused(
      await fetch(gateway.baseURL + path, {
        method,
        headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
        ...(method === "POST" && { body: "{}" }),
      }),
    );
    assert.deepEqual([error.status, error.code], [403, "endpoint_not_allowed"], path);
  }
  assert.equal(upstream.requests.length, before, "nothing of it reached a provider");
});

test("the credential is the caller's, else the key's, else the project's, else the deployment's, else OpenRouter's", async () => {
  const { project, key, path } = await newKey();
  const sibling = (await anotherKey(project)).key;
  const bind = (at, credential) => gateway.manage("PUT", `${at}/bindings/openai`, { credential });
  const unbind = (at) => gateway.manage("DELETE", `${at}/bindings/openai`);
  const own = {
    headers: { authorization: "Bearer of-the-caller", "x-memory-gateway-authorization": `Bearer ${key}` },
  };

  assert.equal(await asked(key), "openai Bearer of-the-deployment");
  assert.equal((await bind(`/projects/${project}`, "sk-of-the-project-1234")).binding.credential, "…1234");
  assert.equal(await asked(key), "openai Bearer sk-of-the-project-1234");
  await bind(path, "sk-of-the-key-5678");
  assert.equal(await asked(key), "openai Bearer sk-of-the-key-5678");
  assert.equal(await asked(sibling), "openai Bearer sk-of-the-project-1234");
  assert.equal(await asked(gateway.key), "openai Bearer of-the-deployment", "another project");
  assert.equal(await asked(key, "openai/m", own), "openai Bearer of-the-caller");
  // The next provider has no credential but OpenRouter's, until one is bound.
  assert.equal(await asked(key, "groq/m"), "openrouter Bearer of-openrouter");
  await gateway.manage("PUT", `/projects/${project}/bindings/groq`, { credential: "gsk-of-the-project" });
  assert.equal(await asked(key, "groq/m"), "groq Bearer gsk-of-the-project");
  await unbind(path);
  assert.equal(await asked(key), "openai Bearer sk-of-the-project-1234");
  await unbind(`/projects/${project}`);
  assert.equal(await asked(key), "openai Bearer of-the-deployment");

  const files = JSON.stringify(await gateway.d1("SELECT * FROM bindings"));
  assert.doesNotMatch(files + gateway.logs(), /of-the-key-5678|of-the-project/);
});

test("the log says whose credential a request went with, and has what was refused, for its own project alone", async () => {
  const { project, id, key } = await newKey({ label: "app", models: ["openai/*", "groq/*"] });
  await say(key);
  await gateway.manage("PUT", `/projects/${project}/bindings/openai`, { credential: "sk-of-the-project" });
  await say(key);
  await say(key, "mistral/m");
  await say(key, "openai/m", { headers: { "x-memory-mode": "sometimes" } });
  await gateway.manage("PATCH", `/projects/${project}/keys/${id}`, { limits: { global: 1 } });
  await say(key);
  const logs = await until(async () => {
    const { logs, total } = await gateway.manage("GET", `/projects/${project}/usage/logs`);
    return total === 5 && logs.every(({ status_code }) => status_code) && logs;
  }, "five rows");
  const short = ({ status_code, source, api_key_id, api_key_label }) =>
    `${status_code} ${source} ${api_key_id === id} ${api_key_label}`;
  assert.deepEqual(logs.map(short).sort(), [
    "200 deployment true app",
    "200 project true app",
    "400  true app",
    "403  true app",
    "429  true app",
  ]);
  const { request_id } = logs[0];
  const one = await gateway.manage("GET", `/projects/${project}/usage/logs/${request_id}`);
  assert.deepEqual([one.status, one.log], [200, logs[0]]);
  const { project: other } = await newKey();
  assert.equal((await gateway.manage("GET", `/projects/${other}/usage/logs/${request_id}`)).status, 404);
  assert.equal((await gateway.manage("GET", `/projects/${other}/usage/logs`)).total, 0);
  const { activity } = await gateway.manage("GET", `/projects/${project}/usage/activity?group_by=key`);
  assert.deepEqual(
    activity.map(({ api_key_id, requests }) => [api_key_id, requests]),
    [[id, 5]],
  );
});

test("a key's and a project's own budgets hold, and the error says whose is spent", async () => {
  const budget = { period: "day", tokens: 1 };
  const { project, key, path } = await newKey({ budget });
  const message = async () => {
    const error = await refused(await say(key));
    assert.deepEqual([error.status, error.type], [402, "budget_exceeded"]);
    return error.message;
  };
  assert.match(await message(), /key/);
  await gateway.manage("PATCH", path, { budget: null });
  assert.equal((await say(key)).status, 200);
  await gateway.manage("PATCH", `/projects/${project}`, { budget });
  assert.match(await message(), /project/);
});

test("a provider that refuses a bound credential refuses nobody's own, and the answer says what to mend", async () => {
  const { project, key } = await newKey();
  await gateway.manage("PUT", `/projects/${project}/bindings/openai`, { credential: "sk-revoked-elsewhere" });
  const answer = upstream.answer;
  upstream.answer = (res) =>
    res
      .writeHead(401, { "content-type": "application/json" })
      .end('{"error":{"message":"Bad key sk-revoked-elsewhere"}}');
  try {
    const error = await refused(await say(key));
    assert.deepEqual([error.status, error.code], [502, "upstream_credentials"]);
    assert.match(error.message, /bound to the project/);
    assert.doesNotMatch(error.message, /sk-revoked/);
  } finally {
    upstream.answer = answer;
  }
});

test("the list of models has those of bound providers, for the keys that may ask them", async () => {
  const { project, key } = await newKey();
  const narrow = (await anotherKey(project, { models: ["mistral/small"] })).key;
  const answer = upstream.answer;
  upstream.answer = (res, { path, headers }) => {
    const bound = path === "/mistral/models" && headers.authorization === "Bearer of-the-project-alone";
    const data = bound ? [{ id: "small" }, { id: "large" }] : [];
    res.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ data }));
  };
  try {
    const list = async (key) => {
      const answer = await fetch(`${gateway.baseURL}/models`, {
        headers: { authorization: `Bearer ${key}` },
      });
      return (await answer.json()).data.map(({ id }) => id);
    };
    assert.deepEqual(await list(key), []);
    await gateway.manage("PUT", `/projects/${project}/bindings/mistral`, {
      credential: "of-the-project-alone",
    });
    assert.deepEqual(await list(key), ["mistral/large", "mistral/small"]);
    assert.deepEqual(await list(narrow), ["mistral/small"]);
    assert.deepEqual(await list(gateway.key), []);
  } finally {
    upstream.answer = answer;
  }
});

test("while the database does not answer, a known key goes on and an unknown one is not called unknown", async () => {
  const { key } = await newKey();
  const { key: unseen } = await newKey();
  assert.equal((await say(key)).status, 200);
  await gateway.d1("ALTER TABLE api_keys RENAME TO api_keys_away");
  try {
    assert.equal((await say(key)).status, 200);
    const error = await refused(await say(unseen));
    assert.deepEqual([error.status, error.type], [503, "overloaded"]);
  } finally {
    await gateway.d1("ALTER TABLE api_keys_away RENAME TO api_keys");
  }
  assert.equal((await say(unseen)).status, 200);
});
