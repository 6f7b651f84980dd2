// Owns: Anthropic Messages, token counts and embeddings, as the official clients and the bare wire see them.
// Invariant: what the provider was shown is compared whole, and the sandbox is as strict as the real host; bytes are
// compared with a provider that is scripted here.
import Anthropic from "@anthropic-ai/sdk";
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import OpenAI from "openai";
import {
  assistant,
  chat,
  lastPrompt,
  memoryHeaders,
  MODEL,
  newThread,
  openai,
  post,
  refused,
  stored,
  until,
  user,
} from "./conversation.mjs";
import { startGateway, startSandbox, sandboxVars } from "./gateway.mjs";
import { begin, startUpstream, whole } from "./wire.mjs";

const CLAUDE = "anthropic/claude-sonnet-4-5";
const NAME = "claude-sonnet-4-5";
const STORED_KEY = "sk-ant-api03-stored";
const LIMIT = 300_000;

let sandbox, gateway, upstream, router, poor;
before(async () => {
  [sandbox, upstream] = await Promise.all([startSandbox(), startUpstream()]);
  const PROVIDERS = JSON.stringify({ raw: { base_url: `${upstream.url}/v1`, dialects: ["messages"] } });
  [gateway, router, poor] = await Promise.all([
    startGateway({
      vars: {
        ...sandboxVars(sandbox),
        ANTHROPIC_API_KEY: STORED_KEY,
        PROVIDERS,
        MAX_BODY_BYTES: String(LIMIT),
      },
    }),
    startGateway({
      vars: { OPENROUTER_API_KEY: "sk-or-stored", OPENROUTER_BASE_URL: `${sandbox.url}/api/v1` },
    }),
    // A key for OpenAI, a wrong one for Anthropic, none for OpenRouter.
    startGateway({
      vars: {
        OPENAI_API_KEY: "sk-stored",
        OPENAI_BASE_URL: `${sandbox.url}/v1`,
        ANTHROPIC_API_KEY: "invalid-key",
        ANTHROPIC_BASE_URL: sandbox.url,
      },
    }),
  ]);
});
after(async () => {
  await Promise.all([gateway, router, poor].map((started) => started?.stop()));
  await sandbox?.close();
  await upstream?.close();
});

/** The official client, without its own retries. */
const anthropic = (at = gateway, options = {}) =>
  new Anthropic({ apiKey: at.key, baseURL: at.url, maxRetries: 0, ...options });

/** The same client, straight to the provider. */
const direct = () => new Anthropic({ apiKey: "sk-direct", baseURL: sandbox.url, maxRetries: 0 });

const asked = (said, more) => ({
  model: CLAUDE,
  max_tokens: 2_000,
  messages: typeof said === "string" ? [user(said)] : said,
  ...more,
});

const withMemory = (thread, resource) => ({ ...(thread && { headers: memoryHeaders(thread, resource) }) });

/** One turn by the official client, streamed or not. */
function turn(thread, said, { stream = false, at = gateway, ...more } = {}) {
  const { messages } = anthropic(at);
  const body = asked(said, more);
  return stream
    ? messages.stream(body, withMemory(thread)).finalMessage()
    : messages.create(body, withMemory(thread));
}

const textOf = ({ content }) => content.map(({ text }) => text ?? "").join("");

/** A message without what no two answers share. */
const sameButIds = (message) =>
  JSON.parse(
    JSON.stringify({
      ...message,
      id: "",
      content: message.content.map((block) => ({ ...block, ...(block.id && { id: "" }) })),
    }),
  );

const roles = (messages) => messages.map(({ role }) => role);

const newest = () => sandbox.requests.at(-1);

const TOOL = {
  name: "helloWorld",
  description: "Greets.",
  input_schema: { type: "object", properties: { name: { type: "string" } }, required: ["name"] },
};
const CHAT_TOOL = { type: "function", function: { name: TOOL.name, parameters: TOOL.input_schema } };
const FORCED = { type: "tool", name: TOOL.name };
const ALICE = "Use the helloWorld tool to greet Alice.";
const greeting = (name) => JSON.stringify({ greeting: `Hello, ${name}!` });
const result = (id, name = "Alice") => ({ type: "tool_result", tool_use_id: id, content: greeting(name) });
const callOf = ({ content }) => content.find(({ type }) => type === "tool_use");

/** A call and its result as the memory API gives them. */
const storedCall = (id, name = "Alice") => ({
  type: "tool_call",
  toolCallId: id,
  toolName: TOOL.name,
  arguments: JSON.stringify({ name }),
});
const storedResult = (id, name = "Alice") => ({
  role: "tool",
  content: [{ type: "tool_result", toolCallId: id, content: [{ type: "text", text: greeting(name) }] }],
});

// ——— The official client, without memory

for (const stream of [false, true]) {
  const how = stream ? "streamed" : "whole";

  test(`a ${how} answer is the provider's own`, async () => {
    const request = asked("Say: hello there", { system: "Be kind.", metadata: { user_id: "u" } });
    const answer = await turn(undefined, "Say: hello there", { ...request, stream });
    assert.deepEqual(newest().body, { ...request, model: NAME, ...(stream && { stream }) });
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
    assert.deepEqual(newest().body.system, system);
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

const THINKING = { type: "enabled", budget_tokens: 1_024 };
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
    assert.deepEqual(newest().body, { ...request, model: NAME });
    assert.ok(first.usage.cache_creation_input_tokens + first.usage.cache_read_input_tokens > 0);
    const history = [
      ...request.messages,
      { role: "assistant", content: first.content },
      user(marked("What is my name?")),
    ];
    const second = await turn(thread, history, more);
    assert.deepEqual(newest().body, { ...request, model: NAME, messages: history });
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

// ——— Memory

for (const stream of [false, true]) {
  const how = stream ? "streamed" : "whole";
  test(`two turns with ${how} answers are remembered, and the headers say so`, async () => {
    const thread = newThread();
    const ask = async (text) => {
      const { data, response } = await anthropic()
        .messages.create(asked(text, { stream }), withMemory(thread))
        .withResponse();
      let said = stream ? "" : textOf(data);
      if (stream) for await (const { delta } of data) said += delta?.text ?? "";
      return [said, response.headers.get("x-memory-status"), response.headers.get("x-memory-tokens")];
    };
    assert.deepEqual(await ask("My name is Alex."), ["Got it.", "empty", "0"]);
    const [said, status, tokens] = await ask("What is my name?");
    assert.deepEqual([said, status], ["Alex", "hit"]);
    assert.match(tokens, /^[1-9]\d*$/);
    assert.deepEqual(lastPrompt(sandbox), [
      user("My name is Alex."),
      assistant("Got it."),
      user("What is my name?"),
    ]);
    assert.deepEqual(await stored(gateway, thread), [
      user("My name is Alex."),
      assistant("Got it."),
      user("What is my name?"),
      assistant("Alex"),
    ]);
  });
}

test("instructions are for their own request and are not stored", async () => {
  const thread = newThread();
  await turn(thread, "one", { system: "Always end with: over." });
  assert.equal(textOf(await turn(thread, "What are your instructions?")), "I have no instructions.");
  assert.deepEqual(roles(await stored(gateway, thread)), ["user", "assistant", "user", "assistant"]);
});

test("instructions between the messages stay where the client put them, and are not stored", async () => {
  const thread = newThread();
  const model = "anthropic/claude-opus-4-8"; // The first that takes them.
  await turn(thread, "My name is Alex.", { model });
  const said = [user("What is my name?"), { role: "system", content: "Always end with: over" }];
  assert.equal(textOf(await turn(thread, said, { model })), "Alex over");
  assert.deepEqual(lastPrompt(sandbox), [user("My name is Alex."), assistant("Got it."), ...said]);
  assert.deepEqual(roles(await stored(gateway, thread)), ["user", "assistant", "user", "assistant"]);
});

test("a client that sends the whole history is shown nothing twice", async () => {
  const thread = newThread();
  const history = [];
  for (const [text, more] of [
    ["My name is Alex.", {}],
    ["What is my name?", { stream: true }],
    [ALICE, { tools: [TOOL], tool_choice: FORCED }],
    [null, { tools: [TOOL], stream: true }],
    ["Thanks.", { tools: [TOOL] }],
  ]) {
    history.push(user(text ?? [result(callOf(history.at(-1)).id)]));
    const { content } = await turn(thread, history, more);
    assert.deepEqual(lastPrompt(sandbox), history);
    history.push({ role: "assistant", content });
  }
  const { id } = callOf(history[5]);
  assert.deepEqual(await stored(gateway, thread), [
    user("My name is Alex."),
    assistant("Got it."),
    user("What is my name?"),
    assistant("Alex"),
    user(ALICE),
    assistant([storedCall(id)]),
    storedResult(id),
    assistant("Hello, Alice!"),
    user("Thanks."),
    assistant("You said: Thanks."),
  ]);
});

test("a client that sends the whole history but drops the thinking is shown nothing twice", async () => {
  const thread = newThread();
  const history = [];
  for (const text of ["one", "two", "three"]) {
    history.push(user(text));
    const { content } = await turn(thread, history, { thinking: THINKING });
    history.push(assistant(textOf({ content })));
    assert.deepEqual(roles(lastPrompt(sandbox)), roles(history).slice(0, -1));
  }
  assert.deepEqual(roles(await stored(gateway, thread)), roles(history));
});

test("a message with a tool's result and a text beside it is kept as both", async () => {
  const thread = newThread();
  const { id } = callOf(await turn(thread, ALICE, { tools: [TOOL], tool_choice: FORCED }));
  const both = user([result(id), { type: "text", text: "My name is Alex." }]);
  await turn(thread, [both], { tools: [TOOL] });
  assert.deepEqual(lastPrompt(sandbox).at(-1), both);
  const answer = await turn(thread, "What is my name?");
  assert.equal(textOf(answer), "Alex");
  assert.deepEqual((await stored(gateway, thread)).slice(1, 4), [
    assistant([storedCall(id)]),
    storedResult(id),
    user("My name is Alex."),
  ]);
});

// ——— One thread, three dialects

test("a thread goes through all three dialects in turn, each provider takes it, and each fact is there once", async () => {
  const thread = newThread();
  const client = openai(gateway, { defaultHeaders: memoryHeaders(thread) });
  await chat(gateway, thread, "My name is Alex.");
  const told = [user("My name is Alex."), assistant("Got it.")];

  const response = await client.responses.create({ model: MODEL, input: "I live in Oslo. What is my name?" });
  told.push(user("I live in Oslo. What is my name?"), assistant(response.output_text));
  assert.equal(response.output_text, "Alex");
  assert.deepEqual(newest().body.input, told.slice(0, 3));

  const message = await turn(thread, "My favourite colour is teal. Where do I live?", { stream: true });
  told.push(user("My favourite colour is teal. Where do I live?"), assistant(textOf(message)));
  assert.equal(textOf(message), "Oslo");
  assert.deepEqual(lastPrompt(sandbox), told.slice(0, 5));

  const { text } = await chat(gateway, thread, "What is my favourite colour?");
  told.push(user("What is my favourite colour?"), assistant("teal"));
  assert.equal(text, "teal");
  assert.deepEqual(lastPrompt(sandbox), told.slice(0, 7));

  const last = await turn(thread, "What is my name?");
  told.push(user("What is my name?"), assistant("Alex"));
  assert.equal(textOf(last), "Alex");
  assert.deepEqual(await stored(gateway, thread), told);
});

test("a whole history in Messages' form repeats what was said in chat without doubling it", async () => {
  const thread = newThread();
  await chat(gateway, thread, "My name is Alex.");
  const history = [
    user([{ type: "text", text: "My name is Alex." }]),
    assistant([{ type: "text", text: "Got it." }]),
    user("What is my name?"),
  ];
  assert.equal(textOf(await turn(thread, history)), "Alex");
  assert.deepEqual(roles(lastPrompt(sandbox)), ["user", "assistant", "user"]);
  assert.deepEqual(await stored(gateway, thread), [
    user("My name is Alex."),
    assistant("Got it."),
    user("What is my name?"),
    assistant("Alex"),
  ]);
});

test("a tool's call and result of chat are Messages' own when the thread goes on there", async () => {
  const thread = newThread();
  const { message } = await chat(gateway, thread, ALICE, {
    tools: [CHAT_TOOL],
    tool_choice: { type: "function", function: { name: TOOL.name } },
  });
  const [{ id }] = message.tool_calls;
  await chat(gateway, thread, [{ role: "tool", tool_call_id: id, content: greeting("Alice") }], {
    tools: [CHAT_TOOL],
  });
  const answer = await turn(thread, "Thanks.", { tools: [TOOL] });
  assert.equal(textOf(answer), "You said: Thanks.");
  assert.deepEqual(lastPrompt(sandbox), [
    user(ALICE),
    assistant([{ type: "tool_use", id, name: TOOL.name, input: { name: "Alice" } }]),
    user([result(id)]),
    assistant("Hello, Alice!"),
    user("Thanks."),
  ]);
});

for (const stream of [false, true]) {
  test(`calls made in chat are answered in Messages by a client that sends the results alone${stream ? ", streamed" : ""}`, async () => {
    const thread = newThread();
    const { message } = await chat(gateway, thread, "Use the helloWorld tool to greet Alice and Bob.", {
      tools: [CHAT_TOOL],
      tool_choice: "required",
    });
    const [alice, bob] = message.tool_calls.map(({ id }) => id);
    const results = user([result(bob, "Bob"), result(alice)]);
    const answer = await turn(thread, [results], { stream, tools: [TOOL] });
    assert.match(textOf(answer), /Hello, Alice!/);
    assert.match(textOf(answer), /Hello, Bob!/);
    assert.deepEqual(roles(lastPrompt(sandbox)), ["user", "assistant", "user"]);
    const back = await chat(gateway, thread, "Thanks.", { tools: [CHAT_TOOL] });
    assert.equal(back.text, "You said: Thanks.");
    assert.deepEqual(roles(lastPrompt(sandbox)), ["user", "assistant", "tool", "tool", "assistant", "user"]);
    assert.deepEqual(roles(await stored(gateway, thread)), [
      "user",
      "assistant",
      "tool",
      "tool",
      "assistant",
      "user",
      "assistant",
    ]);
  });

  test(`a call made in Messages is answered in chat and in responses${stream ? ", streamed" : ""}`, async () => {
    for (const dialect of ["chat", "responses"]) {
      const thread = newThread();
      const { id } = callOf(await turn(thread, ALICE, { stream, tools: [TOOL], tool_choice: FORCED }));
      if (dialect === "chat") {
        const said = [{ role: "tool", tool_call_id: id, content: greeting("Alice") }];
        assert.equal((await chat(gateway, thread, said, { tools: [CHAT_TOOL] })).text, "Hello, Alice!");
      } else {
        const { output_text } = await openai(gateway, {
          defaultHeaders: memoryHeaders(thread),
        }).responses.create({
          model: MODEL,
          tools: [{ type: "function", ...CHAT_TOOL.function }],
          input: [{ type: "function_call_output", call_id: id, output: greeting("Alice") }],
        });
        assert.equal(output_text, "Hello, Alice!");
      }
      assert.equal(textOf(await turn(thread, "Thanks.")), "You said: Thanks.");
      assert.deepEqual(roles(lastPrompt(sandbox)), ["user", "assistant", "user", "assistant", "user"]);
      assert.deepEqual(await stored(gateway, thread), [
        user(ALICE),
        assistant([storedCall(id)]),
        storedResult(id),
        assistant("Hello, Alice!"),
        user("Thanks."),
        assistant("You said: Thanks."),
      ]);
    }
  });
}

test("results of one answer's calls that come through two dialects stand together before Anthropic", async () => {
  const thread = newThread();
  const { message } = await chat(gateway, thread, "Use the helloWorld tool to greet Alice and Bob.", {
    tools: [CHAT_TOOL],
    tool_choice: "required",
  });
  const [alice, bob] = message.tool_calls.map(({ id }) => id);
  await chat(gateway, thread, [{ role: "tool", tool_call_id: alice, content: greeting("Alice") }], {
    tools: [CHAT_TOOL],
  });
  await turn(thread, [user([result(bob, "Bob"), { type: "text", text: "And thanks." }])], { tools: [TOOL] });
  const [, , results] = lastPrompt(sandbox);
  assert.deepEqual(results.content.map(({ tool_use_id: id }) => id).sort(), [alice, bob].sort());
  assert.equal(textOf(await turn(thread, "Say: done", { tools: [TOOL] })), "done");
  assert.deepEqual(lastPrompt(sandbox)[2].content, [result(alice), result(bob, "Bob")]);
});

test("a call that the client never answers does not spoil the thread for Messages", async () => {
  const thread = newThread();
  const { id } = callOf(await turn(thread, ALICE, { tools: [TOOL], tool_choice: FORCED }));
  assert.equal(textOf(await turn(thread, "Never mind.")), "You said: Never mind.");
  const prompt = lastPrompt(sandbox);
  assert.deepEqual(
    [roles(prompt), prompt[2].content[0].tool_use_id],
    [["user", "assistant", "user", "user"], id],
  );
  assert.deepEqual(roles(await stored(gateway, thread)), ["user", "assistant", "user", "assistant"]);
});

// ——— Bytes

const data = (object) => `data: ${JSON.stringify(object)}`;
const START = data({
  type: "message_start",
  message: {
    id: "msg_1",
    type: "message",
    role: "assistant",
    content: [],
    usage: { input_tokens: 3, output_tokens: 1 },
  },
});
const delta = (text) => data({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text } });
const STOP = data({ type: "message_stop" });
const FIRST = [
  `event: message_start\n${START}\n\n`,
  `event: content_block_start\n${data({ type: "content_block_start", index: 0, content_block: { type: "text", text: "" } })}\n\n`,
  `event: content_block_delta\n${delta("half an")}\n\n`,
].join("");

const TRANSCRIPT = Buffer.from(
  [
    ": a comment\n\n",
    `event: message_start\r\n${START}\r\n\r\n`,
    `event: content_block_start\n${data({ type: "content_block_start", index: 0, content_block: { type: "text", text: "" } })}\n\n`,
    'event: ping\ndata: {"type": "ping"}\n\n',
    `event: content_block_delta\nid: 7\nretry: 10\n${delta("Grüße, 👩‍👩‍👧")}\n\n`,
    'event: yet_to_come\ndata:{"type":"yet_to_come","number":1e400}\n\n',
    `event: content_block_delta\r${delta(" und Tschüß")}\r\r`,
    "\uFEFF\n\n\n\n",
    `event: content_block_stop\n${data({ type: "content_block_stop", index: 0 })}\n\n`,
    `event: message_delta\n${data({ type: "message_delta", delta: { stop_reason: "end_turn", stop_sequence: null }, usage: { output_tokens: 5 } })}\n\n`,
    `event: message_stop\n${STOP}\n\n`,
    ": and one more comment after the end\n\n",
  ].join(""),
);

const inPieces = (bytes, size) => async (res) => {
  res.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
  for (let at = 0; at < bytes.length; at += size) {
    res.write(bytes.subarray(at, at + size));
    await new Promise(setImmediate);
  }
  res.end();
};

/** A streamed request on the bare wire. */
const open = (text, { model = "raw/m", thread, stream = true } = {}) =>
  begin(`${gateway.baseURL}/messages`, {
    headers: {
      "x-api-key": gateway.key,
      "content-type": "application/json",
      ...(thread && memoryHeaders(thread)),
    },
    body: JSON.stringify(asked(text, { model, stream })),
  }).head;

async function readAll(text, options) {
  const answer = await open(text, options);
  const { bytes, clean } = await answer.ended;
  return { status: answer.status, headers: answer.headers, text: bytes.toString("utf8"), bytes, clean };
}

const eventsOf = (text) =>
  text.split(/\r?\n\r?\n/).flatMap((event) => {
    const [, json] = /^data: ?(.*)$/m.exec(event) ?? [];
    return json === undefined ? [] : [JSON.parse(json)];
  });

const MEMORY = [
  ["off", () => undefined],
  ["on", newThread],
];

/** What is stored, as soon as there are two messages. */
const twoOf = (thread) =>
  until(async () => {
    const found = await stored(gateway, thread);
    return found.length === 2 && found;
  }, "the answer is stored");

for (const [memory, newId] of MEMORY) {
  for (const size of [1, 7, 64, 1_000_000]) {
    test(`memory ${memory}, pieces of ${size}: the client gets exactly the provider's bytes`, async () => {
      upstream.answer = inPieces(TRANSCRIPT, size);
      const thread = newId();
      const answer = await readAll("one", { thread });
      assert.deepEqual(
        [answer.status, answer.headers["content-type"], answer.clean],
        [200, "text/event-stream; charset=utf-8", true],
      );
      assert.equal(answer.text, TRANSCRIPT.toString());
      assert.ok(answer.bytes.equals(TRANSCRIPT));
      if (thread) assert.deepEqual(await twoOf(thread), [user("one"), assistant("Grüße, 👩‍👩‍👧 und Tschüß")]);
    });
  }

  test(`memory ${memory}: an answer that is not streamed keeps its bytes`, async () => {
    const body =
      '{ "type":"message","role":"assistant","content":[{"type":"text","text":"gr\\u00fc\\u00df" }],"x":1e400}\r\n';
    upstream.answer = (res) => res.writeHead(200, { "content-type": "application/json" }).end(body);
    const thread = newId();
    assert.equal((await readAll("one", { thread, stream: false })).text, body);
    if (thread) assert.deepEqual(await twoOf(thread), [user("one"), assistant("grüß")]);
  });

  test(`memory ${memory}: the body reaches the provider byte for byte but for the model's name`, async () => {
    upstream.answer = (res) =>
      res.writeHead(200, { "content-type": "application/json" }).end('{"type":"message","content":[]}');
    const odd =
      '{ "zeta":1e400,\n\t"model" : "raw/some/model" , "max_tokens":12345678901234567890, "system":[ ],\r\n' +
      ' "messages":[ {"zz":1e5,"role":"user" , "content":[ {"type":"text","text":"caf\\u00e9 \\/","cache_control":{"type":"ephemeral"} } ]} ] ,"": {}}\n';
    const response = await post(gateway, "/messages", odd, { thread: newId() });
    assert.equal(response.status, 200, await response.text());
    assert.equal(upstream.requests.at(-1).raw, odd.replace("raw/some/model", "some/model"));
    assert.equal(upstream.requests.at(-1).path, "/v1/messages");
  });
}

for (const knob of ["chunk=1", "chunk=7", "chunk=0", "crlf", "comments", "gzip"]) {
  test(`an answer cut anew (${knob}) is stored the same`, async () => {
    const thread = newThread();
    const answer = await turn(thread, "Say: grüße 👩‍👩‍👧 to all", { stream: true, model: `${CLAUDE};${knob}` });
    assert.equal(textOf(answer), "grüße 👩‍👩‍👧 to all");
    assert.deepEqual(await stored(gateway, thread), [
      user("Say: grüße 👩‍👩‍👧 to all"),
      assistant("grüße 👩‍👩‍👧 to all"),
    ]);
  });
}

test("the next request, sent the instant message_stop was read, sees the answer, ten times in a row", async () => {
  const thread = newThread();
  const history = [];
  for (let n = 1; n <= 10; n += 1) {
    const answer = await open(`Say: turn ${n}`, { thread, model: CLAUDE });
    await answer.seen("event: message_stop");
    history.push(user(`Say: turn ${n}`));
    assert.deepEqual(lastPrompt(sandbox), history);
    history.push(assistant(`turn ${n}`));
  }
});

// ——— Answers that break off

for (const [how, start] of [
  [
    "the SDK's stream is aborted",
    async (thread) => {
      const stream = anthropic().messages.stream(
        asked("one", { model: `${CLAUDE};words=2000;delay=20` }),
        withMemory(thread),
      );
      stream.done().catch(() => {}); // It ends with the abort.
      await until(
        () => stream.currentMessage && textOf(stream.currentMessage).includes("word3"),
        "three words arrived",
      );
      return () => stream.abort();
    },
  ],
  [
    "the connection is reset",
    async (thread) => {
      const answer = await open("one", { thread, model: `${CLAUDE};words=2000;delay=20` });
      await until(() => answer.received().includes("word3"), "three words arrived");
      return () => answer.leave();
    },
  ],
]) {
  for (const [memory, newId] of MEMORY) {
    test(`memory ${memory}: when ${how}, the provider's work ends and the partial answer is kept`, async () => {
      const thread = newId();
      const leave = await start(thread);
      const entry = newest();
      leave();
      await until(() => entry.aborted, "the provider's connection was closed", 2_000);
      if (!thread) return;
      const [question, answer] = await twoOf(thread);
      assert.deepEqual([question, answer.incomplete], [user("one"), true]);
      assert.match(answer.content, /^word1 word2 word3\b/);
      assert.doesNotMatch(answer.content, /word2000/);
      // It is shown as far as it came, and the thread goes on.
      assert.equal(textOf(await turn(thread, "Say: two")), "two");
      assert.deepEqual(lastPrompt(sandbox), [user("one"), assistant(answer.content), user("Say: two")]);
    });
  }
}

const breaksOff =
  (text, { cleanly }) =>
  async (res) => {
    res.writeHead(200, { "content-type": "text/event-stream" });
    await new Promise((resolve) => res.write(text, resolve));
    if (cleanly) return res.end();
    await new Promise((resolve) => setTimeout(resolve, 50)); // Let the bytes arrive before the reset.
    res.destroy();
  };

for (const cleanly of [false, true]) {
  const how = cleanly ? "ends its stream too early as if all were well" : "drops the connection";
  test(`when the provider ${how} between two events, an error event says so and no message_stop follows`, async () => {
    upstream.answer = breaksOff(FIRST, { cleanly });
    const thread = newThread();
    const { text, clean } = await readAll("one", { thread });
    assert.equal(clean, false);
    assert.ok(text.startsWith(FIRST), text);
    const added = text.slice(FIRST.length);
    assert.match(added, /^event: error\ndata: /);
    assert.deepEqual(eventsOf(added), [
      {
        type: "error",
        error: {
          type: "api_error",
          message:
            "The provider `raw` broke off in the middle of its answer. What came so far is incomplete.",
        },
      },
    ]);
    assert.deepEqual(await twoOf(thread), [user("one"), { ...assistant("half an"), incomplete: true }]);
  });

  test(`when the provider ${how} inside an event, nothing is added to the torn event`, async () => {
    const torn = `${FIRST}event: content_block_delta\n${delta(" event").slice(0, 30)}`;
    upstream.answer = breaksOff(torn, { cleanly });
    const thread = newThread();
    const { text, clean } = await readAll("one", { thread });
    assert.deepEqual([text, clean], [torn, false]);
    assert.deepEqual(await twoOf(thread), [user("one"), { ...assistant("half an"), incomplete: true }]);
  });
}

test("the SDK throws the gateway's error when the provider ends its stream too early", async () => {
  upstream.answer = breaksOff(FIRST, { cleanly: true });
  const stream = anthropic().messages.stream(asked("one", { model: "raw/m" }), withMemory(newThread()));
  await assert.rejects(stream.finalMessage(), (error) => {
    assert.deepEqual([error instanceof Anthropic.APIError, error.type], [true, "api_error"]);
    assert.match(error.message, /broke off in the middle/);
    return true;
  });
});

for (const [memory, newId] of MEMORY) {
  test(`memory ${memory}: a stream that the provider cuts never ends cleanly nor with message_stop`, async () => {
    const thread = newId();
    const { text, clean } = await readAll("one", { model: `${CLAUDE};words=80;cut=4001`, thread });
    assert.ok(text.includes("word3"), text);
    assert.doesNotMatch(text, /message_stop/);
    assert.equal(clean, false);
    if (thread) assert.equal((await twoOf(thread))[1].incomplete, true);
  });
}

test("a failure that the provider reports inside its stream passes as it is, the rest kept as incomplete", async () => {
  const thread = newThread();
  const { text } = await readAll("Say: one two three four", { model: `${CLAUDE};error`, thread });
  const { request_id: id, ...rest } = eventsOf(text).at(-1);
  assert.match(id, /^req_01/);
  assert.deepEqual(rest, {
    type: "error",
    error: { type: "api_error", message: "The sandbox was told to fail in the middle of the answer." },
  });
  assert.deepEqual(await twoOf(thread), [
    user("Say: one two three four"),
    { ...assistant("one two"), incomplete: true },
  ]);
});

test("a stream without message_stop is not taken for a whole answer", async () => {
  const thread = newThread();
  const { text, clean } = await readAll("Say: one two", { model: `${CLAUDE};nodone`, thread });
  assert.equal(clean, false);
  assert.deepEqual(eventsOf(text).at(-1).type, "error");
  assert.deepEqual(await twoOf(thread), [
    user("Say: one two"),
    { ...assistant("one two"), incomplete: true },
  ]);
});

test("a tool call that is cut in its input does not spoil the thread", async () => {
  const thread = newThread();
  const call = { type: "tool_use", id: "toolu_1", name: TOOL.name, input: {} };
  const text = [
    `event: message_start\n${START}\n\n`,
    `event: content_block_start\n${data({ type: "content_block_start", index: 0, content_block: call })}\n\n`,
    `event: content_block_delta\n${data({ type: "content_block_delta", index: 0, delta: { type: "input_json_delta", partial_json: '{"na' } })}\n\n`,
  ].join("");
  upstream.answer = breaksOff(text, { cleanly: false });
  assert.equal((await readAll("one", { thread })).clean, false);
  assert.equal(textOf(await turn(thread, "Say: two")), "two");
  assert.deepEqual(lastPrompt(sandbox), [user("one"), user("Say: two")]);
});

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

/** Checks the form of one of the gateway's own errors; gives it without its ids. */
function own(answer) {
  const { type, error, request_id: id, ...nothing } = JSON.parse(answer.text);
  assert.deepEqual(
    [type, nothing, answer.headers["content-type"]],
    ["error", {}, "application/json"],
    answer.text,
  );
  assert.match(id, /^req_[0-9a-f]{24}$/);
  assert.equal(id, answer.headers["x-request-id"]);
  const { message, ...rest } = error;
  assert.ok(message.length > 20, message);
  return { status: answer.status, message, ...rest };
}

/** Sends to the Messages API on the bare wire. */
const send = (body, { path = "/messages", headers, thread, method, at = gateway } = {}) =>
  whole(at.baseURL + path, {
    method,
    headers: {
      "x-api-key": at.key,
      "content-type": "application/json",
      ...(thread && memoryHeaders(thread)),
      ...headers,
    },
    ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });

/** One of the gateway's own errors, and what its message says. */
async function told(answer, ...says) {
  const { message, ...rest } = own(await answer);
  for (const part of says) assert.ok(message.includes(part), message);
  return rest;
}

const INVALID = { status: 400, type: "invalid_request_error" };
const PATHS = ["/messages", "/messages/count_tokens"];

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

// ——— Credentials

/** What the provider saw of the newest request that says who asks and how. */
function seen(entry = newest()) {
  for (const [name, value] of Object.entries(entry.headers)) assert.doesNotMatch(String(value), /msk_/, name);
  const names = ["x-api-key", "authorization", "anthropic-version", "anthropic-beta"];
  return Object.fromEntries(
    names.flatMap((name) => (name in entry.headers ? [[name, entry.headers[name]]] : [])),
  );
}

/** What a request without a version means, and what the SDK's requests mean. */
const VERSION = { "anthropic-version": "2023-06-01" };
const SDK_VERSION = { "anthropic-version": "2026-10-21" };

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
      assert.equal(newest().path, "/v1/messages");
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
        [seen(), newest().body.model],
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
      const { path, body } = newest();
      assert.deepEqual([path, body.model], ["/api/v1/messages", model]);
      assert.deepEqual(seen(), { authorization: "Bearer sk-or-stored", ...SDK_VERSION });
    }
    assert.equal((await stored(router, thread)).length, 4);
  });
}

// ——— Counting tokens

const COUNTED = { system: "Be kind.", messages: [user("Say hi to everybody")], tools: [TOOL] };

test("the tokens of an Anthropic model are counted by Anthropic", async () => {
  const { data, response } = await anthropic()
    .messages.countTokens({ model: CLAUDE, ...COUNTED })
    .withResponse();
  assert.deepEqual(
    [newest().path, newest().body, seen()],
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
      const { body, path, headers } = newest();
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
  assert.deepEqual(
    [newest().path, newest().body.model, data.length],
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
