// Owns: what a thread remembers, whatever kind of client sends to it: new messages alone, windows, whole histories,
// retries, tools' results, in chat and in responses.
// Invariant: each test has threads of its own; the sandbox computes answers from the prompt, so they prove what was in it.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  assistant,
  chat,
  echo,
  lastPrompt,
  memoryHeaders,
  MODEL,
  newThread,
  openai,
  post,
  stored,
  system,
  until,
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

/** The messages of `texts.length` turns, each answered by the sandbox. */
const turns = (...texts) => texts.flatMap((text) => [user(text), echo(text)]);

/** A thread that holds these turns, sent one by one. */
async function threadOf(...texts) {
  const thread = newThread();
  for (const text of texts) await chat(gateway, thread, text);
  return thread;
}

// ——— Kinds of clients

test("a client that sends only what is new is shown the whole thread", async () => {
  const thread = await threadOf("one", "two");
  await chat(gateway, thread, "three");
  assert.deepEqual(lastPrompt(sandbox), [...turns("one", "two"), user("three")]);
  assert.deepEqual(await stored(gateway, thread), turns("one", "two", "three"));
});

test("a client that sends the whole history is shown nothing twice", async () => {
  const thread = newThread();
  const history = [];
  for (const text of ["one", "two", "three", "four"]) {
    history.push(user(text));
    const { message } = await chat(gateway, thread, [system("Be brief."), ...history]);
    assert.deepEqual(lastPrompt(sandbox), [system("Be brief."), ...history]);
    history.push(assistant(message.content));
  }
  assert.deepEqual(await stored(gateway, thread), history);
});

for (const [copy, change] of [
  ["exact", (text) => text],
  ["truncated", (text) => `${text.slice(0, 8)}…`],
  ["reformatted", (text) => `  ${text.replaceAll(" ", "\n\n")} \n`],
]) {
  test(`five single turns, then their replay with ${copy} answers, are twelve messages`, async () => {
    const texts = ["one", "two", "three", "four", "five"];
    const thread = await threadOf(...texts);
    const replay = turns(...texts).map((message) =>
      message.role === "user" ? message : assistant(change(message.content)),
    );
    assert.equal((await chat(gateway, thread, [...replay, user("six")])).text, "You said: six");
    assert.deepEqual(lastPrompt(sandbox), [...turns(...texts), user("six")]);
    assert.deepEqual(await stored(gateway, thread), turns(...texts, "six"));
  });
}

for (const size of [3, 4]) {
  test(`a client that sends a window of the last ${size} messages is shown the whole thread`, async () => {
    const texts = ["one", "two", "three", "four", "five"];
    const thread = await threadOf(...texts);
    await chat(gateway, thread, [system("Be brief."), ...turns(...texts).slice(-size), user("six")]);
    assert.deepEqual(lastPrompt(sandbox), [system("Be brief."), ...turns(...texts), user("six")]);
    assert.deepEqual(await stored(gateway, thread), turns(...texts, "six"));
  });
}

test("a window that slides along the thread stores nothing twice", async () => {
  const thread = newThread();
  const history = [];
  const texts = ["one", "two", "one", "two", "one", "three"];
  for (const text of texts) {
    history.push(user(text));
    await chat(gateway, thread, history.slice(-4));
    assert.deepEqual(lastPrompt(sandbox), history);
    history.push(echo(text));
  }
  assert.deepEqual(await stored(gateway, thread), history);
});

test("an edited earlier message makes a branch: what followed is neither shown nor listed", async () => {
  const thread = await threadOf("one", "two", "three");
  await chat(gateway, thread, [...turns("one"), user("two, edited")]);
  assert.deepEqual(lastPrompt(sandbox), [...turns("one"), user("two, edited")]);
  assert.deepEqual(await stored(gateway, thread), turns("one", "two, edited"));
  await chat(gateway, thread, "four");
  assert.deepEqual(lastPrompt(sandbox), [...turns("one", "two, edited"), user("four")]);
});

test("going back to the branch that was left continues from there", async () => {
  const thread = await threadOf("one", "two", "three");
  await chat(gateway, thread, [...turns("one"), user("other two")]);
  await chat(gateway, thread, [...turns("one", "two", "three"), user("four")]);
  assert.deepEqual(lastPrompt(sandbox), [...turns("one", "two", "three"), user("four")]);
  const told = await stored(gateway, thread);
  assert.deepEqual(told, turns("one", "two", "three", "four"));
});

test("asking again for the last answer replaces it", async () => {
  const thread = await threadOf("one", "two");
  const request = [...turns("one"), user("two")];
  const { text } = await chat(gateway, thread, request, { max_tokens: 1 });
  assert.equal(text, "You");
  assert.deepEqual(lastPrompt(sandbox), request);
  assert.deepEqual(await stored(gateway, thread), [...turns("one"), user("two"), assistant("You")]);
});

test("a history that the gateway never saw is taken over", async () => {
  const thread = newThread();
  await chat(gateway, thread, [...turns("one", "two"), user("three")]);
  assert.deepEqual(await stored(gateway, thread), turns("one", "two", "three"));
  await chat(gateway, thread, "four");
  assert.deepEqual(lastPrompt(sandbox), [...turns("one", "two", "three"), user("four")]);
});

// ——— Failures and retries

test("a retry that the SDK marks as such does not double the turn", async () => {
  const thread = await threadOf("one");
  // The answer to "two" was lost on its way; the SDK sends the same request again.
  await chat(gateway, thread, "two");
  await chat(gateway, thread, "two", { headers: { "x-stainless-retry-count": "1" } });
  assert.deepEqual(lastPrompt(sandbox), [...turns("one"), user("two")]);
  assert.deepEqual(await stored(gateway, thread), turns("one", "two"));
});

test("the SDK's own retries of a failing request keep the message once", async () => {
  const thread = await threadOf("one");
  const before = sandbox.requests.length;
  await assert.rejects(
    chat(gateway, thread, "two", { model: `${MODEL};status=503`, retries: 2 }),
    (error) => error.status === 503,
  );
  // Each of the client's three is tried twice.
  const tried = sandbox.requests
    .slice(before)
    .filter(({ body }) => body?.messages?.at(-1)?.content === "two");
  assert.equal(tried.length, 6);
  assert.deepEqual(lastPrompt(sandbox), [...turns("one"), user("two")]);
  await until(async () => {
    assert.deepEqual(await stored(gateway, thread), [...turns("one"), user("two")]);
    return true;
  }, "the message is stored once");
});

test("a failed answer keeps the message, and the same text sent again is not a second one", async () => {
  const thread = await threadOf("one");
  await assert.rejects(
    chat(gateway, thread, "two", { model: `${MODEL};status=500` }),
    (error) => error.status === 500,
  );
  assert.deepEqual(await stored(gateway, thread), [...turns("one"), user("two")]);
  await chat(gateway, thread, "two");
  assert.deepEqual(lastPrompt(sandbox), [...turns("one"), user("two")]);
  assert.deepEqual(await stored(gateway, thread), turns("one", "two"));
});

test("after a failed answer another text is a second message", async () => {
  const thread = await threadOf("one");
  await assert.rejects(chat(gateway, thread, "two", { model: `${MODEL};status=500` }));
  await chat(gateway, thread, "three");
  assert.deepEqual(lastPrompt(sandbox), [...turns("one"), user("two"), user("three")]);
  assert.deepEqual(await stored(gateway, thread), [...turns("one"), user("two"), ...turns("three")]);
});

test("a refused request of a full-history client leaves no trace that doubles the next one", async () => {
  const thread = await threadOf("one");
  const request = [...turns("one"), user("two")];
  await assert.rejects(chat(gateway, thread, request, { model: `${MODEL};status=429` }));
  await chat(gateway, thread, request);
  assert.deepEqual(lastPrompt(sandbox), request);
  assert.deepEqual(await stored(gateway, thread), turns("one", "two"));
});

test("nonsense where an answer was due is passed on and not remembered", async () => {
  const thread = newThread();
  const response = await post(
    gateway,
    "/chat/completions",
    { model: `${MODEL};garbage`, messages: [user("one")] },
    { thread },
  );
  assert.match(await response.text(), /<<sandbox garbage>>$/);
  assert.deepEqual(await stored(gateway, thread), [user("one")]);
});

// ——— Dialects

test("a thread begun with chat goes on with responses, streamed and not, and comes back", async () => {
  const thread = newThread();
  const client = openai(gateway, { defaultHeaders: memoryHeaders(thread) });
  await chat(gateway, thread, "My name is Alex.");

  const { output_text } = await client.responses.create({
    model: MODEL,
    instructions: "Be brief.",
    input: "What is my name?",
  });
  assert.equal(output_text, "Alex");
  const { instructions, input } = sandbox.requests.at(-1).body;
  assert.equal(instructions, "Be brief.");
  assert.deepEqual(input, [user("My name is Alex."), assistant("Got it."), user("What is my name?")]);

  const stream = await client.responses.create({
    model: MODEL,
    input: [{ role: "user", content: [{ type: "input_text", text: "I live in Oslo." }] }],
    stream: true,
  });
  let text = "";
  for await (const event of stream) if (event.type === "response.output_text.delta") text += event.delta;
  assert.equal(text, "Got it.");

  assert.equal((await chat(gateway, thread, "Where do I live?")).text, "Oslo");
  const conversation = [
    user("My name is Alex."),
    assistant("Got it."),
    user("What is my name?"),
    assistant("Alex"),
    user("I live in Oslo."),
    assistant("Got it."),
    user("Where do I live?"),
  ];
  assert.deepEqual(lastPrompt(sandbox), conversation);
  assert.deepEqual(await stored(gateway, thread), [...conversation, assistant("Oslo")]);
});

test("a client of responses that sends the whole history is shown nothing twice", async () => {
  const thread = newThread();
  const client = openai(gateway, { defaultHeaders: memoryHeaders(thread) });
  const history = [];
  for (const text of ["one", "two", "three"]) {
    history.push(user(text));
    const response = await client.responses.create({ model: MODEL, input: history });
    assert.equal(sandbox.requests.at(-1).body.input.length, history.length);
    history.push(...response.output); // As OpenAI's guide does it.
  }
  assert.deepEqual(await stored(gateway, thread), turns("one", "two", "three"));
});

test("previous_response_id is left to the provider, and the turn is kept", async () => {
  const thread = newThread();
  const client = openai(gateway, { defaultHeaders: memoryHeaders(thread) });
  const first = await client.responses.create({ model: MODEL, input: "My name is Alex." });
  const second = await client.responses.create({
    model: MODEL,
    previous_response_id: first.id,
    input: "What is my name?",
  });
  assert.equal(second.output_text, "Alex");
  assert.equal(sandbox.requests.at(-1).body.input, "What is my name?");
  assert.deepEqual(await stored(gateway, thread), [
    user("My name is Alex."),
    assistant("Got it."),
    user("What is my name?"),
    assistant("Alex"),
  ]);
});

// ——— Tools

const TOOL = {
  type: "function",
  function: {
    name: "helloWorld",
    parameters: { type: "object", properties: { name: { type: "string" } }, required: ["name"] },
  },
};
const FORCED = { type: "function", function: { name: "helloWorld" } };
const greeting = (call) =>
  JSON.stringify({ greeting: `Hello, ${JSON.parse(call.function.arguments).name}!` });
const toolResult = (call) => ({ role: "tool", tool_call_id: call.id, content: greeting(call) });

for (const model of ["openai/gpt-5.4-mini", "google/gemini-2.5-flash", "google/gemini-3-pro"]) {
  for (const stream of [false, true]) {
    test(`a delta client of ${model} answers a ${stream ? "streamed " : ""}tool call with the result alone`, async () => {
      const thread = newThread();
      const question = user("Use the helloWorld tool to greet Alice.");
      const request = { model, tools: [TOOL], tool_choice: FORCED };
      let call;
      if (stream) {
        const chunks = await openai(gateway).chat.completions.create(
          { ...request, messages: [question], stream: true },
          { headers: memoryHeaders(thread) },
        );
        for await (const chunk of chunks) {
          for (const { id, function: piece } of chunk.choices[0]?.delta?.tool_calls ?? []) {
            call ??= { id, function: { name: piece.name, arguments: "" } };
            call.function.arguments += piece.arguments ?? "";
          }
        }
      } else {
        call = (await chat(gateway, thread, [question], request)).message.tool_calls[0];
      }
      const { text } = await chat(gateway, thread, [toolResult(call)], { model, tools: [TOOL] });
      assert.equal(text, "Hello, Alice!");
      const prompt = lastPrompt(sandbox);
      assert.deepEqual(
        prompt.map(({ role }) => role),
        ["user", "assistant", "tool"],
      );
      assert.equal(prompt[1].tool_calls[0].id, call.id);
      assert.deepEqual(prompt[2], toolResult(call));
      assert.deepEqual(await stored(gateway, thread), [
        question,
        assistant([
          { type: "tool_call", toolCallId: call.id, toolName: "helloWorld", arguments: '{"name":"Alice"}' },
        ]),
        {
          role: "tool",
          content: [
            { type: "tool_result", toolCallId: call.id, content: [{ type: "text", text: greeting(call) }] },
          ],
        },
        assistant("Hello, Alice!"),
      ]);
    });
  }
}

test("results of parallel calls, sent in the wrong order or one by one, make a legal conversation", async () => {
  for (const oneByOne of [false, true]) {
    const thread = newThread();
    const { message } = await chat(gateway, thread, "Use the helloWorld tool to greet Alice and Bob.", {
      tools: [TOOL],
      tool_choice: "required",
    });
    const calls = message.tool_calls;
    assert.equal(calls.length, 2);
    const results = calls.map(toolResult).reverse();
    if (oneByOne) await chat(gateway, thread, [results[0]], { tools: [TOOL] });
    await chat(gateway, thread, oneByOne ? [results[1]] : results, { tools: [TOOL] });
    await chat(gateway, thread, "Thanks.");
    const prompt = lastPrompt(sandbox);
    const asked = prompt.findIndex(({ tool_calls }) => tool_calls);
    const answered = prompt.slice(asked + 1, asked + 3).map(({ tool_call_id }) => tool_call_id);
    assert.deepEqual(answered.sort(), calls.map(({ id }) => id).sort());
  }
});

test("a full-history client with tools is shown nothing twice", async () => {
  const thread = newThread();
  const history = [user("Use the helloWorld tool to greet Alice.")];
  const { message } = await chat(gateway, thread, history, { tools: [TOOL], tool_choice: FORCED });
  history.push(message, toolResult(message.tool_calls[0]));
  const { text } = await chat(gateway, thread, history, { tools: [TOOL] });
  assert.equal(text, "Hello, Alice!");
  assert.equal(lastPrompt(sandbox).length, 3);
  history.push(assistant(text), user("Thanks."));
  await chat(gateway, thread, history, { tools: [TOOL] });
  assert.equal(lastPrompt(sandbox).length, 5);
  assert.deepEqual(
    (await stored(gateway, thread)).map(({ role }) => role),
    ["user", "assistant", "tool", "assistant", "user", "assistant"],
  );
});

test("a call that the client never answers does not spoil the thread", async () => {
  const thread = newThread();
  const { message } = await chat(gateway, thread, "Use the helloWorld tool to greet Alice.", {
    tools: [TOOL],
    tool_choice: FORCED,
  });
  const [{ id }] = message.tool_calls;
  assert.equal((await chat(gateway, thread, "Never mind.")).text, "You said: Never mind.");
  const prompt = lastPrompt(sandbox);
  assert.deepEqual(
    prompt.map(({ role }) => role),
    ["user", "assistant", "tool", "user"],
  );
  assert.equal(prompt[2].tool_call_id, id);
  assert.equal((await chat(gateway, thread, "Really.")).text, "You said: Really.");
  // The stand-in for the result is for the provider only.
  assert.deepEqual(
    (await stored(gateway, thread)).map(({ role }) => role),
    ["user", "assistant", "user", "assistant", "user", "assistant"],
  );
});

test("a call made in chat is answered in responses, and the other way round", async () => {
  const thread = newThread();
  const client = openai(gateway, { defaultHeaders: memoryHeaders(thread) });
  const { message } = await chat(gateway, thread, "Use the helloWorld tool to greet Alice.", {
    tools: [TOOL],
    tool_choice: FORCED,
  });
  const [call] = message.tool_calls;
  const tools = [{ type: "function", ...TOOL.function }];
  const answered = await client.responses.create({
    model: MODEL,
    tools,
    input: [{ type: "function_call_output", call_id: call.id, output: greeting(call) }],
  });
  assert.equal(answered.output_text, "Hello, Alice!");

  const asked = await client.responses.create({
    model: MODEL,
    tools,
    tool_choice: { type: "function", name: "helloWorld" },
    input: "Use the helloWorld tool to greet Bob.",
  });
  const [{ call_id, arguments: json }] = asked.output;
  const back = { id: call_id, function: { name: "helloWorld", arguments: json } };
  assert.equal((await chat(gateway, thread, [toolResult(back)], { tools: [TOOL] })).text, "Hello, Bob!");
});
