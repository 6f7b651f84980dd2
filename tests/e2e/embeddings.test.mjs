// Owns: embeddings, as the official client and the bare wire see them.
// Invariant: an answer is compared with what the provider says when it is asked without the gateway.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { gateway, newest, router, sandbox, startGateways } from "./anthropic.mjs";
import { newThread, openai, post, refused } from "./conversation.mjs";

startGateways("router");

// ——— Embeddings

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
      const { body, path, headers } = newest(TEXTS[0]);
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
  const text = "what OpenRouter embeds";
  const { data } = await openai(router).embeddings.create({ model: `openai/${EMBEDDING}`, input: text });
  assert.deepEqual(
    [newest(text).path, newest(text).body.model, data.length],
    ["/api/v1/embeddings", `openai/${EMBEDDING}`, 1],
  );
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
