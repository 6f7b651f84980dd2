import assert from "node:assert/strict";
import { test } from "node:test";
import { events, helloWorld, user, useSandbox } from "./provider.mjs";

const at = useSandbox();
const tool = { type: "function", ...helloWorld.function };
const call = { type: "function_call", call_id: "c1", name: "helloWorld", arguments: '{"name":"Alice"}' };
const output = { type: "function_call_output", call_id: "c1", output: '{"greeting":"Hello, Alice!"}' };
const textOf = ({ output: items }) => items[0].content[0].text;
const answer = async (body) => (await at.respond(body)).json();

test("the documented example gives the documented answer", async () => {
  const response = await answer({ input: "What is 3+3? Reply with just the number.", max_output_tokens: 10 });
  assert.equal(response.object, "response");
  assert.equal(response.status, "completed");
  assert.equal(response.output[0].type, "message");
  assert.equal(textOf(response), "6");
  assert.deepEqual(Object.keys(response.usage), [
    "input_tokens",
    "input_tokens_details",
    "output_tokens",
    "output_tokens_details",
    "total_tokens",
  ]);
});

test("a stream has every event in order, with rising numbers and matching event lines", async () => {
  const text = await (
    await at.respond({ input: "Count from 1 to 3, separated by commas.", stream: true })
  ).text();
  const all = events(text);
  assert.deepEqual(
    all.map(({ type }) => type.replace("response.", "")),
    [
      "created",
      "in_progress",
      "output_item.added",
      "content_part.added",
      "output_text.delta",
      "output_text.delta",
      "output_text.delta",
      "output_text.done",
      "content_part.done",
      "output_item.done",
      "completed",
    ],
  );
  assert.deepEqual(
    all.map(({ sequence_number }) => sequence_number),
    all.map((_, n) => n),
  );
  assert.deepEqual(
    [...text.matchAll(/^event: (.*)$/gm)].map(([, type]) => type),
    all.map(({ type }) => type),
  );
  assert.equal(
    all
      .filter(({ type }) => type.endsWith("text.delta"))
      .map(({ delta }) => delta)
      .join(""),
    "1, 2, 3",
  );
  assert.equal(textOf(all.at(-1).response), "1, 2, 3");
  assert.ok(all.at(-1).response.usage.total_tokens > 0);
  assert.ok(!text.includes("[DONE]"));
});

test("function calls are streamed and their outputs answered", async () => {
  const body = { input: "Use the helloWorld tool to greet Alice.", tools: [tool] };
  const all = events(await (await at.respond({ ...body, stream: true })).text());
  const [made] = all.at(-1).response.output;
  assert.deepEqual(
    [made.type, made.name, JSON.parse(made.arguments)],
    ["function_call", "helloWorld", { name: "Alice" }],
  );
  assert.equal(
    all
      .filter(({ type }) => type === "response.function_call_arguments.delta")
      .map(({ delta }) => delta)
      .join(""),
    made.arguments,
  );
  assert.equal(
    all.find(({ type }) => type === "response.function_call_arguments.done").arguments,
    made.arguments,
  );
  assert.equal(textOf(await answer({ ...body, input: [user(body.input), call, output] })), "Hello, Alice!");
  const next = {
    previous_response_id: all.at(-1).response.id,
    tools: [tool],
    input: [{ ...output, call_id: made.call_id }],
  };
  assert.equal(textOf(await answer(next)), "Hello, Alice!");
});

test("earlier responses are part of the context, unless not stored", async () => {
  const first = await answer({ input: "My name is Alex." });
  const second = await answer({ input: "I live in Oslo.", previous_response_id: first.id });
  const third = await answer({ input: "What is my name? Where do I live?", previous_response_id: second.id });
  assert.equal(textOf(third), "Alex, Oslo");
  const { id } = await answer({ input: "My name is Alex.", store: false });
  const refused = await at.respond({ input: "x", previous_response_id: id });
  assert.deepEqual([refused.status, (await refused.json()).error.param], [400, "previous_response_id"]);
});

test("a stored response can be fetched and deleted", async () => {
  const { id } = await answer({ input: "x" });
  const fetched = (method) =>
    fetch(`${at.sandbox.url}/v1/responses/${id}`, { method, headers: { authorization: "Bearer k" } });
  assert.equal((await (await fetched("GET")).json()).id, id);
  assert.equal((await (await fetched("DELETE")).json()).deleted, true);
  assert.equal((await fetched("GET")).status, 404);
});

test("instructions are seen but not carried to the next response", async () => {
  const first = await answer({ instructions: "Be kind.", input: "What are your instructions?" });
  assert.equal(textOf(first), "Be kind.");
  assert.equal(
    textOf(await answer({ input: "What are your instructions?", previous_response_id: first.id })),
    "I have no instructions.",
  );
});

test("the token limit leaves an incomplete response", async () => {
  const body = { input: "Write 9 words", max_output_tokens: 2 };
  const response = await answer(body);
  assert.deepEqual(
    [response.status, response.incomplete_details, textOf(response)],
    ["incomplete", { reason: "max_output_tokens" }, "word1 word2"],
  );
  const all = events(await (await at.respond({ ...body, stream: true })).text());
  assert.equal(all.at(-1).type, "response.incomplete");
});

test("requests the real endpoint refuses are refused, naming the parameter", async () => {
  const refused = [
    ["input", {}],
    ["input", { input: [] }],
    ["input", { input: [user("x"), output] }],
    ["input", { input: [call, user("x")] }],
    ["input[0].role", { input: [{ role: "bot", content: "x" }] }],
    ["input[0].content[0].type", { input: [user([{ type: "text", text: "x" }])] }],
    ["previous_response_id", { input: "x", previous_response_id: "resp_none" }],
    ["model", { input: "x", model: undefined }],
    ["tool_choice", { input: "x", tools: [tool], tool_choice: { type: "function", name: "other" } }],
  ];
  for (const [param, body] of refused) {
    const response = await at.respond(body);
    assert.equal(response.status, 400, JSON.stringify(body));
    assert.equal((await response.json()).error.param, param, JSON.stringify(body));
  }
});

test("OpenRouter sends data lines only and keeps no responses", async () => {
  const path = "/api/v1/responses";
  const text = await (await at.respond({ input: "Say hi", stream: true }, path)).text();
  assert.ok(!text.includes("event: "));
  assert.equal(events(text).at(-1), "[DONE]");
  const { id, store } = await (await at.respond({ input: "Say hi" }, path)).json();
  assert.equal(store, false);
  assert.equal((await at.respond({ input: "x", previous_response_id: id }, path)).status, 400);
});
