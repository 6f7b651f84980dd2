// Owns: what a thread takes and gives in each dialect: turns, calls and results of tools, and the bytes of a body.
// Invariant: each test has threads of its own; what must not change is compared byte by byte.
import assert from "node:assert/strict";
import { test } from "node:test";
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
  user,
} from "./conversation.mjs";
import { gateway, sandbox, startGatewayWithThreads, turns, upstream } from "./threads.mjs";

startGatewayWithThreads();

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

// ——— The body on its way to the provider

const ODD =
  '{ "zeta":1e400,\n\t"model" : "raw/some/model" , "big":12345678901234567890, "x":{"b":1.0,"a":[-0, 1E5]},\r\n' +
  ' "messages":[ {"zz":1e5,"role":"user" , "content":"caf\\u00e9 \\/ \\ud83d\\ude00","seed":12345678901234567890} ] , "a":null ,"": {}}\n';

const answerWith = (text) => (res) =>
  res
    .writeHead(200, { "content-type": "application/json" })
    .end(JSON.stringify({ choices: [{ index: 0, message: assistant(text), finish_reason: "stop" }] }));

test("without memory every byte of the body but the model's name reaches the provider", async () => {
  upstream.answer = answerWith("fine");
  const response = await post(gateway, "/chat/completions", ODD);
  assert.equal(response.status, 200, await response.text());
  assert.equal(upstream.requests.at(-1).raw, ODD.replace("raw/some/model", "some/model"));
});

test("with memory too, but for what is injected", async () => {
  upstream.answer = answerWith("fine");
  const thread = newThread();
  const expected = ODD.replace("raw/some/model", "some/model");
  let response = await post(gateway, "/chat/completions", ODD, { thread });
  assert.equal(response.status, 200, await response.text());
  assert.equal(upstream.requests.at(-1).raw, expected);

  const next = ODD.replace("caf", "more caf");
  response = await post(gateway, "/chat/completions", next, { thread });
  assert.equal(response.status, 200, await response.text());
  const { raw } = upstream.requests.at(-1);
  const [head, tail] = next.replace("raw/some/model", "some/model").split(/\[ \{"zz".*?\} \]/s);
  assert.ok(raw.startsWith(head), raw);
  assert.ok(raw.endsWith(tail), raw);
  // The new message keeps its bytes inside the list.
  assert.ok(raw.includes(/\{"zz".*?\}/s.exec(next)[0]), raw);
  assert.deepEqual(
    JSON.parse(raw).messages.map(({ content }) => content),
    ["café / 😀", "fine", "more café / 😀"],
  );
});

for (const number of [
  "12345678901234567890",
  "123456789012345678901234567890",
  "0.1000000000000000055511151231257827",
  "1e400",
]) {
  test(`a number like ${number} in an unknown field of a message is neither refused nor damaged by memory`, async () => {
    upstream.answer = answerWith("fine");
    const thread = newThread();
    const first = `{"model":"raw/m","messages":[{"role":"user","content":"one","odd":${number}}]}`;
    const response = await post(gateway, "/chat/completions", first, { thread });
    assert.equal(response.status, 200, await response.text());
    assert.equal(upstream.requests.at(-1).raw, first.replace("raw/m", "m"));
    const next = '{"model":"raw/m","messages":[{"role":"user","content":"two"}]}';
    await (await post(gateway, "/chat/completions", next, { thread })).text();
    const [, shown] = /"odd":([^,}]*)/.exec(upstream.requests.at(-1).raw);
    assert.equal(shown.replace("e+", "e"), number);
  });
}

test("a field that occurs twice is refused and not read by one and sent by the other", async () => {
  const before = upstream.requests.length;
  const twice = '{"model":"raw/m","messages":[{"role":"user","content":"a"}],"model":"raw/n"}';
  const { status, param } = await refused(await post(gateway, "/chat/completions", twice));
  assert.deepEqual({ status, param }, { status: 400, param: "model" });
  assert.equal(upstream.requests.length, before);
});
