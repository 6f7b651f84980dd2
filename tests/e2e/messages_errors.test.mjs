// Owns: errors in the form of Messages, the provider's and the gateway's own.
// Invariant: status, type and the rest of an error are compared whole, and no message repeats a key.
import Anthropic from "@anthropic-ai/sdk";
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  anthropic,
  asked,
  CLAUDE,
  gateway,
  INVALID,
  LIMIT,
  MEMORY,
  PATHS,
  readAll,
  sandbox,
  send,
  startGateways,
  told,
  turn,
  upstream,
} from "./anthropic.mjs";
import { memoryHeaders, newThread, post, stored, user } from "./conversation.mjs";

startGateways();

// ——— Errors of the provider

for (const [status, type, name] of [
  [400, "invalid_request_error", "BadRequestError"],
  [429, "rate_limit_error", "RateLimitError"],
  [529, "overloaded_error", "OverloadedError"],
]) {
  for (const [memory, newId] of MEMORY) {
    test(`memory ${memory}: a ${status} of the provider passes byte for byte`, async () => {
      const body = `{ "type":"error", "error":{"type":"${type}","message":"N\\u006f."},"request_id":"req_theirs" }\n`;
      upstream.answer = (res) =>
        res
          .writeHead(status, {
            "content-type": "application/json",
            "request-id": "req_theirs",
            "retry-after": "7",
            "x-should-retry": "false",
          })
          .end(body);
      for (const stream of [false, true]) {
        const thread = newId();
        const answer = await readAll("one", { thread, stream });
        assert.deepEqual([answer.status, answer.text, answer.clean], [status, body, true]);
        assert.deepEqual(
          ["content-type", "retry-after", "x-should-retry", "x-upstream-request-id"].map(
            (header) => answer.headers[header],
          ),
          ["application/json", "7", "false", "req_theirs"],
        );
        if (thread) assert.deepEqual(await stored(gateway, thread), [user("one")]);
      }
    });

    test(`memory ${memory}: the SDK throws its ${name} for a ${status} of the provider`, async () => {
      for (const stream of [false, true]) {
        await assert.rejects(
          turn(newId(), "one", { model: `${CLAUDE};status=${status}`, stream }),
          (error) => {
            assert.deepEqual(
              [error.constructor === Anthropic[name] || error.name, error.status, error.type],
              [true, status, type],
            );
            return true;
          },
        );
      }
    });
  }
}

test("what is wrong with a request is left to the provider to say, in its own words", async () => {
  for (const thread of [undefined, newThread()]) {
    const response = await post(gateway, "/messages", { model: CLAUDE, messages: [user("one")] }, { thread });
    const body = await response.json();
    assert.deepEqual(
      [response.status, body],
      [
        400,
        {
          type: "error",
          error: { type: "invalid_request_error", message: "max_tokens: this field is required." },
          request_id: response.headers.get("x-upstream-request-id"),
        },
      ],
    );
  }
});

// ——— Errors of the gateway

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
  await turn(thread, "My name is Alex.");
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
  await turn(thread, "one");
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
    const { messages } = anthropic();
    await raises(messages.create(asked([], { stream })), BadRequestError, 400, "invalid_request_error");
    const others = { headers: memoryHeaders(thread, "bob") };
    await raises(messages.create(asked("one", { stream }), others), NotFoundError, 404, "not_found");
  }
});
