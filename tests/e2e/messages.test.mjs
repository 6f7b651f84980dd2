// Owns: conversations in Anthropic Messages, as the official client has them, by themselves and beside the other dialects.
// Invariant: what the provider was shown is compared whole, and the sandbox is as strict as the real host.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  ALICE,
  anthropic,
  asked,
  callOf,
  CHAT_TOOL,
  CLAUDE,
  direct,
  FORCED,
  greeting,
  NAME,
  result,
  storedCall,
  storedResult,
  textOf,
  TOOL,
  turn,
  withMemory,
} from "./anthropic.mjs";
import {
  assistant,
  chat,
  lastPrompt,
  memoryHeaders,
  MODEL,
  newThread,
  openai,
  requestWith,
  stored,
  user,
} from "./conversation.mjs";
import { startGateway, startSandbox, sandboxVars } from "./gateway.mjs";

let sandbox, gateway;
before(async () => {
  sandbox = await startSandbox();
  gateway = await startGateway({ vars: sandboxVars(sandbox) });
});
after(async () => {
  await gateway?.stop();
  await sandbox?.close();
});

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

// ——— The official client, without memory

for (const stream of [false, true]) {
  const how = stream ? "streamed" : "whole";

  test(`a ${how} answer is the provider's own`, async () => {
    const request = asked("Say: hello there", { system: "Be kind.", metadata: { user_id: "u" } });
    const answer = await turn(gateway, undefined, "Say: hello there", { ...request, stream });
    assert.deepEqual(requestWith(sandbox, "hello there").body, {
      ...request,
      model: NAME,
      ...(stream && { stream }),
    });
    const { messages } = direct(sandbox);
    const theirs = { ...request, model: NAME };
    const own = await (stream ? messages.stream(theirs).finalMessage() : messages.create(theirs));
    assert.deepEqual(sameButIds(answer), sameButIds(own));
    assert.equal(textOf(answer), "hello there");
  });

  test(`a system text reaches the model of a ${how} answer, as a text and as blocks`, async () => {
    assert.equal(
      textOf(await turn(gateway, undefined, "What are your instructions?", { stream, system: "Be kind." })),
      "Be kind.",
    );
    const system = ["Be kind.", "Be short."].map((text) => ({ type: "text", text }));
    assert.equal(
      textOf(await turn(gateway, undefined, "What are your instructions?", { stream, system })),
      "Be kind.\nBe short.",
    );
    assert.deepEqual(requestWith(sandbox, "Be short.").body.system, system);
  });

  for (const memory of [false, true]) {
    test(`a tool is used in two steps of ${how} answers, memory ${memory ? "on" : "off"}`, async () => {
      const thread = memory ? newThread() : undefined;
      const first = await turn(gateway, thread, ALICE, { stream, tools: [TOOL], tool_choice: FORCED });
      const call = callOf(first);
      assert.deepEqual(
        [first.stop_reason, call.name, call.input],
        ["tool_use", "helloWorld", { name: "Alice" }],
      );
      // A client without memory sends the history, one with it the result alone.
      const history = memory ? [] : [user(ALICE), { role: "assistant", content: first.content }];
      const second = await turn(gateway, thread, [...history, user([result(call.id)])], {
        stream,
        tools: [TOOL],
      });
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
  const seen = await kinds(anthropic(gateway), CLAUDE);
  assert.deepEqual(seen, await kinds(direct(sandbox), NAME));
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
  const seen = await pieces(anthropic(gateway), CLAUDE);
  assert.ok(seen.length > 1);
  assert.deepEqual(seen, await pieces(direct(sandbox), NAME));
});

test("an answer tells the client what the gateway did, and what the provider said of its limits", async () => {
  const { data, response } = await anthropic(gateway).messages.create(asked("Say: hi")).withResponse();
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
      const first = await turn(gateway, thread, question, more);
      assert.deepEqual(
        first.content.map(({ type }) => type),
        [kind, "text"],
      );
      const second = await turn(gateway, thread, "What is my name?", more);
      assert.equal(textOf(second), "Alex");
      assert.deepEqual(lastPrompt(sandbox), [
        user(question),
        { role: "assistant", content: first.content },
        user("What is my name?"),
      ]);
      await turn(gateway, thread, "Thanks.", more);
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
    const first = await turn(gateway, thread, ALICE, more);
    assert.deepEqual(
      first.content.map(({ type }) => type),
      ["thinking", "tool_use"],
    );
    const second = await turn(gateway, thread, [user([result(callOf(first).id)])], more);
    assert.equal(textOf(second), "Hello, Alice!");
    assert.deepEqual(lastPrompt(sandbox)[1], { role: "assistant", content: first.content });
    const [{ text }] = (await stored(gateway, thread))[1].content;
    assert.equal(text, first.content[0].thinking);
  });
}

test("an answer of nothing but thinking does not spoil the thread", async () => {
  for (const stream of [false, true]) {
    const thread = newThread();
    const first = await turn(gateway, thread, "My name is Alex.", {
      stream,
      thinking: THINKING,
      stop_sequences: ["Got"],
    });
    assert.deepEqual(
      first.content.map(({ type }) => type),
      ["thinking"],
    );
    assert.equal(
      textOf(await turn(gateway, thread, "What is my name?", { stream, thinking: THINKING })),
      "Alex",
    );
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
      turn(gateway, thread, "My name is Alex.", {
        stream: true,
        thinking: THINKING,
        model: `${CLAUDE};cut=${cut}`,
      }),
    );
    assert.equal(textOf(await turn(gateway, thread, "What is my name?", { thinking: THINKING })), "Alex");
  });
}

test("that a tool failed is told again in later turns", async () => {
  const thread = newThread();
  const { id } = callOf(await turn(gateway, thread, ALICE, { tools: [TOOL], tool_choice: FORCED }));
  const failed = user([{ type: "tool_result", tool_use_id: id, content: "No such name.", is_error: true }]);
  await turn(gateway, thread, [failed], { tools: [TOOL] });
  await turn(gateway, thread, "Thanks.", { tools: [TOOL] });
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
    const first = await turn(gateway, thread, request.messages, more);
    assert.deepEqual(requestWith(sandbox, JSON.stringify(marked("My name is Alex."))).body, {
      ...request,
      model: NAME,
    });
    assert.ok(first.usage.cache_creation_input_tokens + first.usage.cache_read_input_tokens > 0);
    const history = [
      ...request.messages,
      { role: "assistant", content: first.content },
      user(marked("What is my name?")),
    ];
    const second = await turn(gateway, thread, history, more);
    assert.deepEqual(requestWith(sandbox, JSON.stringify(marked("What is my name?"))).body, {
      ...request,
      model: NAME,
      messages: history,
    });
    assert.ok(second.usage.cache_read_input_tokens > 0);
    assert.equal(textOf(second), "Alex");
  });
}

test("a client that marks each new message never makes the provider see more than four cache hints", async () => {
  const thread = newThread();
  for (const word of ["one", "two", "three", "four", "five", "six"]) {
    const answer = await turn(gateway, thread, [user(marked(`Say: ${word}`))]);
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
      const { data, response } = await anthropic(gateway)
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
  await turn(gateway, thread, "one", { system: "Always end with: over." });
  assert.equal(textOf(await turn(gateway, thread, "What are your instructions?")), "I have no instructions.");
  assert.deepEqual(roles(await stored(gateway, thread)), ["user", "assistant", "user", "assistant"]);
});

test("instructions between the messages stay where the client put them, and are not stored", async () => {
  const thread = newThread();
  const model = "anthropic/claude-opus-4-8"; // The first that takes them.
  await turn(gateway, thread, "My name is Alex.", { model });
  const said = [user("What is my name?"), { role: "system", content: "Always end with: over" }];
  assert.equal(textOf(await turn(gateway, thread, said, { model })), "Alex over");
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
    const { content } = await turn(gateway, thread, history, more);
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
    const { content } = await turn(gateway, thread, history, { thinking: THINKING });
    history.push(assistant(textOf({ content })));
    assert.deepEqual(roles(lastPrompt(sandbox)), roles(history).slice(0, -1));
  }
  assert.deepEqual(roles(await stored(gateway, thread)), roles(history));
});

test("a message with a tool's result and a text beside it is kept as both", async () => {
  const thread = newThread();
  const { id } = callOf(await turn(gateway, thread, ALICE, { tools: [TOOL], tool_choice: FORCED }));
  const both = user([result(id), { type: "text", text: "My name is Alex." }]);
  await turn(gateway, thread, [both], { tools: [TOOL] });
  assert.deepEqual(lastPrompt(sandbox).at(-1), both);
  const answer = await turn(gateway, thread, "What is my name?");
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
  assert.deepEqual(requestWith(sandbox, "I live in Oslo.").body.input, told.slice(0, 3));

  const message = await turn(gateway, thread, "My favourite colour is teal. Where do I live?", {
    stream: true,
  });
  told.push(user("My favourite colour is teal. Where do I live?"), assistant(textOf(message)));
  assert.equal(textOf(message), "Oslo");
  assert.deepEqual(lastPrompt(sandbox), told.slice(0, 5));

  const { text } = await chat(gateway, thread, "What is my favourite colour?");
  told.push(user("What is my favourite colour?"), assistant("teal"));
  assert.equal(text, "teal");
  assert.deepEqual(lastPrompt(sandbox), told.slice(0, 7));

  const last = await turn(gateway, thread, "What is my name?");
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
  assert.equal(textOf(await turn(gateway, thread, history)), "Alex");
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
  const answer = await turn(gateway, thread, "Thanks.", { tools: [TOOL] });
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
    const answer = await turn(gateway, thread, [results], { stream, tools: [TOOL] });
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
      const { id } = callOf(
        await turn(gateway, thread, ALICE, { stream, tools: [TOOL], tool_choice: FORCED }),
      );
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
      assert.equal(textOf(await turn(gateway, thread, "Thanks.")), "You said: Thanks.");
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
  await turn(gateway, thread, [user([result(bob, "Bob"), { type: "text", text: "And thanks." }])], {
    tools: [TOOL],
  });
  const [, , results] = lastPrompt(sandbox);
  assert.deepEqual(results.content.map(({ tool_use_id: id }) => id).sort(), [alice, bob].sort());
  assert.equal(textOf(await turn(gateway, thread, "Say: done", { tools: [TOOL] })), "done");
  assert.deepEqual(lastPrompt(sandbox)[2].content, [result(alice), result(bob, "Bob")]);
});

test("a call that the client never answers does not spoil the thread for Messages", async () => {
  const thread = newThread();
  const { id } = callOf(await turn(gateway, thread, ALICE, { tools: [TOOL], tool_choice: FORCED }));
  assert.equal(textOf(await turn(gateway, thread, "Never mind.")), "You said: Never mind.");
  const prompt = lastPrompt(sandbox);
  assert.deepEqual(
    [roles(prompt), prompt[2].content[0].tool_use_id],
    [["user", "assistant", "user", "user"], id],
  );
  assert.deepEqual(roles(await stored(gateway, thread)), ["user", "assistant", "user", "assistant"]);
});
