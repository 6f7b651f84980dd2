// Owns: embeddings, as the official client and the bare wire see them.
// Invariant: vectors are compared with those that the provider gives to the same client; nothing is kept of them.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import OpenAI from "openai";
import { newThread, openai, post, refused, requestWith } from "./conversation.mjs";
import { startGateway, startSandbox, sandboxVars } from "./gateway.mjs";

let sandbox, gateway, router;
before(async () => {
  sandbox = await startSandbox();
  [gateway, router] = await Promise.all([
    startGateway({ vars: sandboxVars(sandbox) }),
    startGateway({
      vars: { OPENROUTER_API_KEY: "sk-or-stored", OPENROUTER_BASE_URL: `${sandbox.url}/api/v1` },
    }),
  ]);
});
after(async () => {
  await Promise.all([gateway, router].map((started) => started?.stop()));
  await sandbox?.close();
});

const EMBEDDING = "text-embedding-3-small";
const TEXTS = ["the cat sat", "grüße 👩‍👩‍👧", "income tax form"];

for (const [what, more] of [
  ["as base64, which the SDK asks for by itself", {}],
  ["as floats", { encoding_format: "float" }],
  ["as base64 text", { encoding_format: "base64" }],
  ["of 8 dimensions", { encoding_format: "float", dimensions: 8 }],
]) {
  test(`embeddings ${what} are the provider's own`, async () => {
    const plain = new OpenAI({ apiKey: "sk-direct", baseURL: `${sandbox.url}/v1`, maxRetries: 0 });
    for (const input of [TEXTS, TEXTS[0]]) {
      const { data, response } = await openai(gateway)
        .embeddings.create({ model: `openai/${EMBEDDING}`, input, ...more })
        .withResponse();
      const { body, path, headers } = requestWith(sandbox, `"input":${JSON.stringify(input)}`);
      assert.deepEqual(
        [path, headers.authorization, body.model, body.input],
        ["/v1/embeddings", "Bearer sandbox-key", EMBEDDING, input],
      );
      assert.equal(response.headers.get("x-gateway-provider"), "openai");
      assert.deepEqual(data, await plain.embeddings.create({ model: EMBEDDING, input, ...more }));
    }
  });
}

test("embeddings of a model without a provider of its own come through OpenRouter", async () => {
  const { data } = await openai(router).embeddings.create({ model: `openai/${EMBEDDING}`, input: "a" });
  const { path, body } = requestWith(sandbox, `"input":"a"`);
  assert.deepEqual([path, body.model, data.length], ["/api/v1/embeddings", `openai/${EMBEDDING}`, 1]);
});

test("embeddings with memory headers store nothing", async () => {
  const thread = newThread();
  const response = await post(
    gateway,
    "/embeddings",
    { model: `openai/${EMBEDDING}`, input: "a" },
    { thread },
  );
  assert.equal(response.status, 200, await response.text());
  assert.equal(response.headers.get("x-memory-status"), null);
  const listing = await fetch(`${gateway.baseURL}/memory/threads/${thread}/messages`, {
    headers: { "x-api-key": gateway.key },
  });
  assert.equal((await refused(listing)).status, 404);
});

test("embeddings without what to embed are refused by name, in OpenAI's form", async () => {
  const before = sandbox.requests.length;
  for (const [body, param] of [
    [{ model: `openai/${EMBEDDING}` }, "input"],
    [{ model: `openai/${EMBEDDING}`, input: null }, "input"],
    [{ input: "a" }, "model"],
  ]) {
    const { message, ...rest } = await refused(await post(gateway, "/embeddings", body));
    assert.ok(message.includes(`\`${param}\``), message);
    assert.deepEqual(rest, { status: 400, type: "invalid_request_error", param, code: null });
  }
  assert.equal(sandbox.requests.length, before);
});

test("an error of the provider's embeddings passes unchanged", async () => {
  const response = await post(gateway, "/embeddings", { model: `openai/${EMBEDDING}`, input: [] });
  assert.deepEqual(
    [response.status, await response.json()],
    [
      400,
      {
        error: {
          message: "'input' is empty.",
          type: "invalid_request_error",
          param: "input",
          code: "invalid_value",
        },
      },
    ],
  );
});
