import assert from "node:assert/strict";
import { test } from "node:test";
import { listed } from "../../sandbox/models.mjs";
import { useSandbox } from "./provider.mjs";

const at = useSandbox();
const get = async (path, headers) => {
  const response = await fetch(at.sandbox.url + path, { headers });
  return { status: response.status, body: await response.json() };
};
const bearer = { authorization: "Bearer k" };

test("each OpenAI-shaped host lists its own models", async () => {
  for (const [path, flavour] of [
    ["/v1/models", "openai"],
    ["/v1beta/openai/models", "google"],
    ["/api/v1/models", "openrouter"],
  ]) {
    const { status, body } = await get(path, bearer);
    assert.equal(status, 200);
    assert.deepEqual(body, {
      object: "list",
      data: listed(flavour).map((id) => ({
        id,
        object: "model",
        created: 1_750_000_000,
        owned_by: "sandbox",
      })),
    });
  }
});

test("Anthropic's list comes to its own headers, in its own shape, page by page", async () => {
  const ids = listed("anthropic");
  const list = async (query) => (await get(`/v1/models${query}`, at.anthropic)).body;
  const first = await list("");
  assert.deepEqual(first.data[0], {
    type: "model",
    id: "claude-opus-4-8",
    display_name: "Claude Opus 4.8",
    created_at: "2025-06-15T15:06:40Z",
  });
  assert.deepEqual(
    [first.data.map(({ id }) => id), first.has_more, first.first_id, first.last_id],
    [ids.slice(0, 20), true, ids[0], ids[19]],
  );
  const rest = await list(`?after_id=${first.last_id}`);
  assert.deepEqual(
    [rest.data.map(({ id }) => id), rest.has_more, rest.first_id, rest.last_id],
    [ids.slice(20), false, ids[20], ids.at(-1)],
  );
  const whole = await list("?limit=1000");
  assert.deepEqual([whole.data, whole.has_more], [[...first.data, ...rest.data], false]);
});

test("Anthropic's list wants key and version, and a limit that it knows", async () => {
  const version = { "anthropic-version": "2023-06-01" };
  for (const [path, headers, status, type] of [
    ["/v1/models", version, 401, "authentication_error"],
    ["/v1/models", { ...version, "x-api-key": "invalid-key" }, 401, "authentication_error"],
    ["/v1/models", { ...version, "x-api-key": "msk_leaked" }, 401, "authentication_error"],
    ["/v1/models", { "x-api-key": "k" }, 400, "invalid_request_error"],
    ["/v1/models?limit=1001", at.anthropic, 400, "invalid_request_error"],
    ["/v1/models?limit=x", at.anthropic, 400, "invalid_request_error"],
  ]) {
    const { status: given, body } = await get(path, headers);
    assert.deepEqual([given, body.type, body.error.type], [status, "error", type], path);
  }
});
