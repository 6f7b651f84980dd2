// Owns: whose credential reaches Anthropic, and in which header.
// Invariant: what says who asks is compared whole, and no request that leaves the gateway holds one of its keys.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  anthropic,
  asked,
  CLAUDE,
  gateway,
  NAME,
  newest,
  PATHS,
  poor,
  router,
  SDK_VERSION,
  seen,
  send,
  startGateways,
  STORED_KEY,
  textOf,
  told,
  turn,
  VERSION,
  withMemory,
} from "./anthropic.mjs";
import { newThread, stored } from "./conversation.mjs";

startGateways("router", "poor");

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
      const answer = await send(asked("Say: hi"), { headers, thread });
      assert.equal(answer.status, 200, answer.text);
      assert.deepEqual(seen(), { "x-api-key": STORED_KEY, ...VERSION });
      assert.equal(newest("Say: hi").path, "/v1/messages");
    }
  });

  test(`memory ${memory}: the client's own version and betas go on to the provider`, async () => {
    const answer = await send(asked("Say: hi"), {
      thread,
      headers: { "anthropic-version": "2023-01-01", "anthropic-beta": "a-1,b-2" },
    });
    assert.equal(answer.status, 200, answer.text);
    assert.deepEqual(seen(), {
      "x-api-key": STORED_KEY,
      "anthropic-version": "2023-01-01",
      "anthropic-beta": "a-1,b-2",
    });
    const { content } = await anthropic().beta.messages.create(
      asked("Say: hi", { betas: ["c-3"] }),
      withMemory(thread),
    );
    assert.equal(content[0].text, "hi");
    assert.deepEqual(seen(), { "x-api-key": STORED_KEY, ...SDK_VERSION, "anthropic-beta": "c-3" });
  });

  test(`memory ${memory}: the caller's own key is used as the SDK sends it`, async () => {
    const defaultHeaders = { "X-Memory-Gateway-Authorization": `Bearer ${gateway.key}` };
    const own = anthropic(gateway, { apiKey: "sk-ant-api03-own", defaultHeaders });
    for (const model of [CLAUDE, NAME]) {
      assert.equal(textOf(await own.messages.create(asked("Say: hi", { model }), withMemory(thread))), "hi");
      assert.deepEqual(
        [seen(), newest("Say: hi").body.model],
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
      const answer = await send(asked("Say: hi"), { headers: beside, thread });
      assert.equal(answer.status, 200, answer.text);
      assert.deepEqual(seen(), { "x-api-key": key, ...VERSION });
    }
  });

  test(`memory ${memory}: the caller's own OAuth token stays a bearer token, with Anthropic's placeholder and without`, async () => {
    for (const [token, placeholder] of [
      ["sk-ant-oat01-own", {}],
      ["sk-ant-oat01-own", { "x-api-key": "oauth-gateway-placeholder" }],
      ["some.other-token", { "x-api-key": "oauth-gateway-placeholder" }],
    ]) {
      const client = anthropic(gateway, {
        apiKey: null,
        authToken: token,
        defaultHeaders: {
          "X-Memory-Gateway-Authorization": `Bearer ${gateway.key}`,
          "anthropic-beta": "oauth-2025-04-20",
          ...placeholder,
        },
      });
      assert.equal(textOf(await client.messages.create(asked("Say: hi"), withMemory(thread))), "hi");
      assert.deepEqual(seen(), {
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
  assert.equal((await send(asked("Say: hi"), { headers })).status, 200);
  assert.deepEqual(seen(), { "x-api-key": "sk-ant-api03-own", ...VERSION });
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
      assert.equal(textOf(await turn(thread, text, { at: router, model, stream })), answer);
      const { path, body } = newest(text);
      assert.deepEqual([path, body.model], ["/api/v1/messages", model]);
      assert.deepEqual(seen(text), { authorization: "Bearer sk-or-stored", ...SDK_VERSION });
    }
    assert.equal((await stored(router, thread)).length, 4);
  });
}
