// Owns: Anthropic Messages and its token counts, as the official client sees them: answers, thinking, cache hints.
// Invariant: what the provider was shown is compared whole, and the sandbox is as strict as the real host.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ALICE,
  anthropic,
  asked,
  callOf,
  CLAUDE,
  direct,
  FORCED,
  gateway,
  NAME,
  newest,
  poor,
  result,
  router,
  sameButIds,
  sandbox,
  SDK_VERSION,
  seen,
  startGateways,
  STORED_KEY,
  storedCall,
  storedResult,
  textOf,
  THINKING,
  TOOL,
  turn,
} from "./anthropic.mjs";
import {
  assistant,
  chat,
  lastPrompt,
  memoryHeaders,
  MODEL,
  newThread,
  refused,
  stored,
  user,
} from "./conversation.mjs";

startGateways("router", "poor");

// ——— The official client, without memory

for (const stream of [false, true]) {
  const how = stream ? "streamed" : "whole";

  test(`a ${how} answer is the provider's own`, async () => {
    const request = asked("Say: hello there", { system: "Be kind.", metadata: { user_id: "u" } });
    const answer = await turn(undefined, "Say: hello there", { ...request, stream });
    assert.deepEqual(newest("Say: hello there").body, { ...request, model: NAME, ...(stream && { stream }) });
    const { messages } = direct();
    const theirs = { ...request, model: NAME };
    const own = await (stream ? messages.stream(theirs).finalMessage() : messages.create(theirs));
    assert.deepEqual(sameButIds(answer), sameButIds(own));
    assert.equal(textOf(answer), "hello there");
  });

  test(`a system text reaches the model of a ${how} answer, as a text and as blocks`, async () => {
    assert.equal(
      textOf(await turn(undefined, "What are your instructions?", { stream, system: "Be kind." })),
      "Be kind.",
    );
    const system = ["Be kind.", "Be short."].map((text) => ({ type: "text", text }));
    assert.equal(
      textOf(await turn(undefined, "What are your instructions?", { stream, system })),
      "Be kind.\nBe short.",
    );
    assert.deepEqual(newest("Be short.").body.system, system);
  });

  for (const memory of [false, true]) {
    test(`a tool is used in two steps of ${how} answers, memory ${memory ? "on" : "off"}`, async () => {
      const thread = memory ? newThread() : undefined;
      const first = await turn(thread, ALICE, { stream, tools: [TOOL], tool_choice: FORCED });
      const call = callOf(first);
      assert.deepEqual(
        [first.stop_reason, call.name, call.input],
        ["tool_use", "helloWorld", { name: "Alice" }],
      );
      // A client without memory sends the history, one with it the result alone.
      const history = memory ? [] : [user(ALICE), { role: "assistant", content: first.content }];
      const second = await turn(thread, [...history, user([result(call.id)])], { stream, tools: [TOOL] });
      assert.deepEqual([second.stop_reason, textOf(second)], ["end_turn", "Hello, Alice!"]);
      assert.deepEqual(lastPrompt(sandbox), [user(ALICE), assistant([call]), user([result(call.id)])]);
      if (!memory) return;
      assert.deepEqual(await stored(gateway, thread), [
        user(ALICE),
        assistant([storedCall(call.id)]),
        storedResult(call.id),
        assistant("Hello, Alice!"),
      ]);
    });
  }
}

test("the SDK sees every event of a stream, in the provider's order", async () => {
  const kinds = async (client, model) => {
    const seen = [];
    for await (const { type } of client.messages.stream(asked("Say: one two", { model }))) seen.push(type);
    return seen;
  };
  const seen = await kinds(anthropic(), CLAUDE);
  assert.deepEqual(seen, await kinds(direct(), NAME));
  assert.deepEqual(seen, [
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
  ]);
});

test("the input of a streamed tool call arrives in the provider's pieces", async () => {
  const pieces = async (client, model) => {
    const seen = [];
    const stream = client.messages.stream(asked(ALICE, { model, tools: [TOOL], tool_choice: FORCED }));
    stream.on("inputJson", (piece, snapshot) => seen.push([piece, snapshot]));
    await stream.finalMessage();
    return seen;
  };
  const seen = await pieces(anthropic(), CLAUDE);
  assert.ok(seen.length > 1);
  assert.deepEqual(seen, await pieces(direct(), NAME));
});

test("an answer tells the client what the gateway did, and what the provider said of its limits", async () => {
  const { data, response } = await anthropic().messages.create(asked("Say: hi")).withResponse();
  const header = (name) => response.headers.get(name);
  assert.deepEqual(
    [
      "x-gateway-provider",
      "x-gateway-model",
      "x-gateway-attempts",
      "anthropic-ratelimit-requests-limit",
      "set-cookie",
    ].map(header),
    ["anthropic", NAME, "1", "4000", null],
  );
  assert.match(header("x-request-id"), /^req_[0-9a-f]{24}$/);
  assert.match(header("x-upstream-request-id"), /^req_01/);
  assert.equal(data.type, "message");
});

// ——— Thinking

const REDACT = "ANTHROPIC_MAGIC_STRING_TRIGGER_REDACTED_THINKING";

for (const stream of [false, true]) {
  const how = stream ? "streamed" : "whole";
  for (const [kind, question] of [
    ["thinking", "My name is Alex."],
    ["redacted_thinking", `My name is Alex. ${REDACT}`],
  ]) {
    test(`${kind} of a ${how} answer goes back with its seal in later turns, and to no other dialect`, async () => {
      const thread = newThread();
      const more = { stream, thinking: THINKING };
      const first = await turn(thread, question, more);
      assert.deepEqual(
        first.content.map(({ type }) => type),
        [kind, "text"],
      );
      const second = await turn(thread, "What is my name?", more);
      assert.equal(textOf(second), "Alex");
      assert.deepEqual(lastPrompt(sandbox), [
        user(question),
        { role: "assistant", content: first.content },
        user("What is my name?"),
      ]);
      await turn(thread, "Thanks.", more);
      assert.deepEqual(lastPrompt(sandbox).slice(2), [
        user("What is my name?"),
        { role: "assistant", content: second.content },
        user("Thanks."),
      ]);
      await chat(gateway, thread, "And now?");
      assert.deepEqual(lastPrompt(sandbox).slice(0, 4), [
        user(question),
        assistant("Got it."),
        user("What is my name?"),
        assistant("Alex"),
      ]);
    });
  }

  test(`thinking before a ${how} tool call stands before it again when the result comes alone`, async () => {
    const thread = newThread();
    const more = { stream, thinking: THINKING, tools: [TOOL] };
    const first = await turn(thread, ALICE, more);
    assert.deepEqual(
      first.content.map(({ type }) => type),
      ["thinking", "tool_use"],
    );
    const second = await turn(thread, [user([result(callOf(first).id)])], more);
    assert.equal(textOf(second), "Hello, Alice!");
    assert.deepEqual(lastPrompt(sandbox)[1], { role: "assistant", content: first.content });
    const [{ text }] = (await stored(gateway, thread))[1].content;
    assert.equal(text, first.content[0].thinking);
  });
}

test("an answer of nothing but thinking does not spoil the thread", async () => {
  for (const stream of [false, true]) {
    const thread = newThread();
    const first = await turn(thread, "My name is Alex.", {
      stream,
      thinking: THINKING,
      stop_sequences: ["Got"],
    });
    assert.deepEqual(
      first.content.map(({ type }) => type),
      ["thinking"],
    );
    assert.equal(textOf(await turn(thread, "What is my name?", { stream, thinking: THINKING })), "Alex");
  }
});

for (const [where, mark] of [
  ["in its thinking", "event: content_block_delta"],
  ["before the seal of its thinking", '{"type":"signature_delta"'],
  [
    "between its thinking and its text",
    'event: content_block_start\ndata: {"type":"content_block_start","index":1',
  ],
]) {
  test(`an answer that breaks off ${where} does not spoil the thread`, async () => {
    const thread = newThread();
    const body = asked("My name is Alex.", { thinking: THINKING, stream: true });
    const whole = await fetch(`${sandbox.url}/v1/messages`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        "x-api-key": "sk-direct",
        "anthropic-version": "2026-10-21",
      },
      body: JSON.stringify({ ...body, model: NAME }),
    });
    const text = await whole.text();
    const cut = Buffer.byteLength(text.slice(0, text.indexOf(mark, text.indexOf("thinking_delta"))));
    await assert.rejects(
      turn(thread, "My name is Alex.", { stream: true, thinking: THINKING, model: `${CLAUDE};cut=${cut}` }),
    );
    assert.equal(textOf(await turn(thread, "What is my name?", { thinking: THINKING })), "Alex");
  });
}

test("that a tool failed is told again in later turns", async () => {
  const thread = newThread();
  const { id } = callOf(await turn(thread, ALICE, { tools: [TOOL], tool_choice: FORCED }));
  const failed = user([{ type: "tool_result", tool_use_id: id, content: "No such name.", is_error: true }]);
  await turn(thread, [failed], { tools: [TOOL] });
  await turn(thread, "Thanks.", { tools: [TOOL] });
  assert.deepEqual(lastPrompt(sandbox)[2], failed);
});

// ——— Cache hints

const MARK = { cache_control: { type: "ephemeral" } };
const marked = (text) => [{ type: "text", text, ...MARK }];

for (const memory of [false, true]) {
  test(`cache hints reach the provider where the client put them, memory ${memory ? "on" : "off"}`, async () => {
    const thread = memory ? newThread() : undefined;
    const more = { system: marked("Be kind."), tools: [{ ...TOOL, ...MARK }] };
    const request = asked([user(marked("My name is Alex."))], more);
    const first = await turn(thread, request.messages, more);
    assert.deepEqual(newest("My name is Alex.").body, { ...request, model: NAME });
    assert.ok(first.usage.cache_creation_input_tokens + first.usage.cache_read_input_tokens > 0);
    const history = [
      ...request.messages,
      { role: "assistant", content: first.content },
      user(marked("What is my name?")),
    ];
    const second = await turn(thread, history, more);
    assert.deepEqual(newest("What is my name?").body, { ...request, model: NAME, messages: history });
    assert.ok(second.usage.cache_read_input_tokens > 0);
    assert.equal(textOf(second), "Alex");
  });
}

test("a client that marks each new message never makes the provider see more than four cache hints", async () => {
  const thread = newThread();
  for (const word of ["one", "two", "three", "four", "five", "six"]) {
    const answer = await turn(thread, [user(marked(`Say: ${word}`))]);
    assert.equal(textOf(answer), word);
    assert.deepEqual(lastPrompt(sandbox).at(-1), user(marked(`Say: ${word}`)));
  }
  assert.equal((await stored(gateway, thread)).length, 12);
});

// ——— Counting tokens

const everybody = "Say hi to everybody";
const COUNTED = { system: "Be kind.", messages: [user(everybody)], tools: [TOOL] };

test("the tokens of an Anthropic model are counted by Anthropic", async () => {
  const { data, response } = await anthropic()
    .messages.countTokens({ model: CLAUDE, ...COUNTED })
    .withResponse();
  assert.deepEqual(
    [newest(everybody).path, newest(everybody).body, seen(everybody)],
    ["/v1/messages/count_tokens", { model: NAME, ...COUNTED }, { "x-api-key": STORED_KEY, ...SDK_VERSION }],
  );
  assert.deepEqual({ ...data }, { ...(await direct().messages.countTokens({ model: NAME, ...COUNTED })) });
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
  const count = (headers) => anthropic().messages.countTokens({ model: CLAUDE, ...COUNTED }, { headers });
  assert.deepEqual({ ...(await count(memoryHeaders(thread))) }, { ...(await count()) });
  const listing = await fetch(`${gateway.baseURL}/memory/threads/${thread}/messages`, {
    headers: { "x-api-key": gateway.key },
  });
  assert.equal((await refused(listing)).status, 404);
});
