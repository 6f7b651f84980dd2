// Owns: the examples of the page that this project was created from, run as they stand there.
// Invariant: the code inside an example is the page's; only base URL and key differ.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import OpenAI from "openai";
import { startGateway, startSandbox, sandboxVars } from "./gateway.mjs";

let sandbox, gateway, client;
before(async () => {
  sandbox = await startSandbox();
  gateway = await startGateway({ vars: sandboxVars(sandbox) });
  client = new OpenAI({ apiKey: gateway.key, baseURL: gateway.baseURL });
});
after(async () => {
  await gateway?.stop();
  await sandbox?.close();
});

const helloWorldTool = {
  type: "function",
  function: {
    name: "helloWorld",
    description: "Returns a greeting for the given name",
    parameters: {
      type: "object",
      properties: {
        name: { type: "string", description: "The name to greet" },
      },
      required: ["name"],
    },
  },
};

test("Chat completions: a question is answered", async () => {
  const completion = await client.chat.completions.create({
    model: "google/gemini-2.5-flash",
    messages: [{ role: "user", content: "What is 2+2? Reply with just the number." }],
    max_tokens: 20,
  });
  assert.equal(completion.choices[0].message.content, "4");
});

test("System messages: the model follows them", async () => {
  const completion = await client.chat.completions.create({
    model: "google/gemini-2.5-flash",
    messages: [
      { role: "system", content: "You are a calculator. Only respond with numbers, no words." },
      { role: "user", content: "What is 10 * 5?" },
    ],
    max_tokens: 100,
  });
  assert.equal(completion.choices[0].message.content, "50");
});

test("Multi-turn conversations: the model sees what the client sent along", async () => {
  const completion = await client.chat.completions.create({
    model: "google/gemini-2.5-flash",
    messages: [
      { role: "user", content: "Remember this word: banana" },
      { role: "assistant", content: "Got it, I will remember it." },
      { role: "user", content: "What word did I ask you to remember? Reply with just the word." },
    ],
    max_tokens: 100,
  });
  assert.equal(completion.choices[0].message.content, "banana");
});

test("Streaming: the deltas make up the answer", async () => {
  const stream = await client.chat.completions.create({
    model: "google/gemini-2.5-flash",
    messages: [{ role: "user", content: "Count from 1 to 5, separated by commas." }],
    max_tokens: 50,
    stream: true,
  });
  const written = [];
  for await (const chunk of stream) {
    const delta = chunk.choices[0]?.delta?.content;
    if (delta) {
      written.push(delta);
    }
  }
  assert.equal(written.join(""), "1, 2, 3, 4, 5");
  assert.ok(written.length > 1, "the answer came in one piece");
});

test("Memory with thread and resource IDs: the second request knows what the first one said", async () => {
  await client.chat.completions.create(
    {
      model: "google/gemini-2.5-flash",
      messages: [{ role: "user", content: "My name is Alex and I prefer concise answers." }],
    },
    {
      headers: {
        "x-thread-id": "my-thread-1",
        "x-resource-id": "user-42",
      },
    },
  );
  const response = await client.chat.completions.create(
    {
      model: "google/gemini-2.5-flash",
      messages: [{ role: "user", content: "What is my name?" }],
    },
    {
      headers: {
        "x-thread-id": "my-thread-1",
        "x-resource-id": "user-42",
      },
    },
  );
  assert.equal(response.choices[0].message.content, "Alex");
});

test("Without the two headers the same question gets no such answer", async () => {
  const response = await client.chat.completions.create({
    model: "google/gemini-2.5-flash",
    messages: [{ role: "user", content: "What is my name?" }],
  });
  assert.doesNotMatch(response.choices[0].message.content, /Alex/);
});

test("Tool calling: the tool is called, and its result answered", async () => {
  const first = await client.chat.completions.create({
    model: "google/gemini-2.5-flash",
    messages: [{ role: "user", content: "Use the helloWorld tool to greet Alice." }],
    tools: [helloWorldTool],
    tool_choice: { type: "function", function: { name: "helloWorld" } },
    max_tokens: 200,
  });
  const toolCall = first.choices[0].message.tool_calls[0];
  const args = JSON.parse(toolCall.function.arguments);
  assert.equal(args.name, "Alice");
  const result = { greeting: `Hello, ${args.name}!` };
  const second = await client.chat.completions.create({
    model: "google/gemini-2.5-flash",
    messages: [
      { role: "user", content: "Use the helloWorld tool to greet Alice." },
      first.choices[0].message,
      {
        role: "tool",
        tool_call_id: toolCall.id,
        content: JSON.stringify(result),
      },
    ],
    tools: [helloWorldTool],
    max_tokens: 200,
  });
  assert.equal(second.choices[0].message.content, "Hello, Alice!");
});

test("Streaming tool calls: the argument deltas make up the call", async () => {
  const stream = await client.chat.completions.create({
    model: "google/gemini-2.5-flash",
    messages: [{ role: "user", content: "Use the helloWorld tool to greet Bob." }],
    tools: [helloWorldTool],
    tool_choice: { type: "function", function: { name: "helloWorld" } },
    max_tokens: 200,
    stream: true,
  });
  const toolCalls = {};
  for await (const chunk of stream) {
    const delta = chunk.choices[0]?.delta;
    for (const tc of delta?.tool_calls ?? []) {
      const idx = tc.index ?? 0;
      const entry = toolCalls[idx] ?? (toolCalls[idx] = { args: "" });
      if (tc.id) entry.id = tc.id;
      if (tc.function?.name && !entry.name) entry.name = tc.function.name;
      if (tc.function?.arguments) entry.args += tc.function.arguments;
    }
  }
  const firstCall = toolCalls[0];
  assert.equal(firstCall.name, "helloWorld");
  assert.deepEqual(JSON.parse(firstCall.args), { name: "Bob" });
});

test("Responses API: the output holds the answer", async () => {
  const response = await client.responses.create({
    model: "openai/gpt-5.4-mini",
    input: "What is 3+3? Reply with just the number.",
    max_output_tokens: 10,
  });
  const message = response.output[0];
  assert.equal(message.type, "message");
  const text = message.content[0];
  assert.equal(text.type, "output_text");
  assert.equal(text.text, "6");
});

test("Streaming responses: the deltas make up the answer", async () => {
  const stream = await client.responses.create({
    model: "openai/gpt-5.4-mini",
    input: "Count from 1 to 5, separated by commas.",
    max_output_tokens: 50,
    stream: true,
  });
  const written = [];
  for await (const event of stream) {
    if (event.type === "response.output_text.delta") {
      written.push(event.delta);
    }
  }
  assert.equal(written.join(""), "1, 2, 3, 4, 5");
  assert.ok(written.length > 1, "the answer came in one piece");
});

for (const memory of [false, true]) {
  test(`BYOK pass-through, memory ${memory ? "on" : "off"}: the provider sees the caller's key`, async () => {
    const own = new OpenAI({
      apiKey: "sk-your-openai-key", // Your provider key
      baseURL: gateway.baseURL,
      defaultHeaders: {
        "X-Memory-Gateway-Authorization": `Bearer ${gateway.key}`, // msk_ key
      },
    });
    const completion = await own.chat.completions.create(
      {
        model: "openai/gpt-5.4-mini",
        messages: [{ role: "user", content: "Hello!" }],
      },
      memory ? { headers: { "x-thread-id": "byok", "x-resource-id": "user-42" } } : {},
    );
    assert.equal(completion.choices[0].message.content, "You said: Hello!");
    assert.equal(sandbox.requests.at(-1).headers.authorization, "Bearer sk-your-openai-key");
  });
}

test("after all examples, no request that a provider got holds a gateway key", () => {
  assert.ok(sandbox.requests.length >= 14, `${sandbox.requests.length} requests`);
  assert.doesNotMatch(JSON.stringify(sandbox.requests), /msk_/);
});
