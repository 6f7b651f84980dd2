// Owns: a thread that is told of in Messages, alone and together with other dialects.
// Invariant: what the provider was shown is compared whole, and the sandbox is as strict as the real host.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ALICE,
  anthropic,
  asked,
  callOf,
  CHAT_TOOL,
  FORCED,
  gateway,
  greeting,
  newest,
  result,
  roles,
  sandbox,
  startGateways,
  storedCall,
  storedResult,
  textOf,
  THINKING,
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
  stored,
  user,
} from "./conversation.mjs";

startGateways();

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
  assert.deepEqual(newest("I live in Oslo.").body.input, told.slice(0, 3));

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
