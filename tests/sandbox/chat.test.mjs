import assert from "node:assert/strict";
import { test } from "node:test";
import { assistant, events, helloWorld, system, user, useSandbox } from "./provider.mjs";

const at = useSandbox();
const GREET = "Use the helloWorld tool to greet Alice.";
const call = (id) => ({
  role: "assistant",
  content: null,
  tool_calls: [{ id, type: "function", function: { name: "helloWorld", arguments: '{"name":"Alice"}' } }],
});
const result = (id, content = '{"greeting":"Hello, Alice!"}') => ({
  role: "tool",
  tool_call_id: id,
  content,
});

test("the documented conversations give the documented answers", async () => {
  assert.equal(await at.say("What is 2+2? Reply with just the number."), "4");
  assert.equal(
    await at.say(system("You are a calculator. Only respond with numbers, no words."), "What is 10 * 5?"),
    "50",
  );
  assert.equal(
    await at.say(
      "Remember this word: banana",
      assistant("Got it, I will remember it."),
      "What word did I ask you to remember? Reply with just the word.",
    ),
    "banana",
  );
  assert.equal(
    await at.say("My name is Alex and I prefer concise answers.", assistant("Got it."), "What is my name?"),
    "Alex",
  );
});

test("a whole answer has every field of the real one", async () => {
  const response = await at.chat({ model: "gpt-x", messages: [user("Say hi")] });
  assert.match(response.headers.get("x-request-id"), /^req_/);
  assert.equal(response.headers.get("x-sandbox"), "true");
  assert.equal(response.headers.get("server"), "sandbox");
  assert.match(response.headers.get("set-cookie"), /^sandbox=1/);
  const { id, created, ...reply } = await response.json();
  assert.match(id, /^chatcmpl-/);
  assert.ok(Math.abs(created - Date.now() / 1000) < 5);
  assert.deepEqual(reply, {
    object: "chat.completion",
    model: "gpt-x",
    choices: [
      {
        index: 0,
        message: { role: "assistant", content: "hi", refusal: null, annotations: [] },
        logprobs: null,
        finish_reason: "stop",
      },
    ],
    usage: {
      prompt_tokens: 2,
      completion_tokens: 1,
      total_tokens: 3,
      prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
      completion_tokens_details: {
        reasoning_tokens: 0,
        audio_tokens: 0,
        accepted_prediction_tokens: 0,
        rejected_prediction_tokens: 0,
      },
    },
    service_tier: "default",
    system_fingerprint: "sandbox",
  });
});

test("a stream is role, words, finish and [DONE], with usage only when asked for", async () => {
  const messages = [user("Count from 1 to 5, separated by commas.")];
  const response = await at.chat({ messages, stream: true });
  assert.equal(response.headers.get("content-type"), "text/event-stream; charset=utf-8");
  const chunks = events(await response.text());
  assert.equal(chunks.pop(), "[DONE]");
  assert.deepEqual(chunks[0].choices[0].delta, { role: "assistant", content: "", refusal: null });
  assert.equal(chunks.map((chunk) => chunk.choices[0].delta.content ?? "").join(""), "1, 2, 3, 4, 5");
  assert.deepEqual(chunks.at(-1).choices[0], { index: 0, delta: {}, logprobs: null, finish_reason: "stop" });
  assert.equal(new Set(chunks.map(({ id }) => id)).size, 1);
  assert.ok(
    chunks.every(
      (chunk) =>
        !("usage" in chunk) &&
        chunk.object === "chat.completion.chunk" &&
        chunk.system_fingerprint === "sandbox",
    ),
  );

  const counted = events(
    await (await at.chat({ messages, stream: true, stream_options: { include_usage: true } })).text(),
  );
  assert.deepEqual(counted.at(-2).choices, []);
  assert.equal(counted.at(-2).usage.completion_tokens, 4);
  assert.equal(counted[0].usage, null);
});

test("a forced tool is called and its result spoken", async () => {
  const asked = {
    tools: [helloWorld],
    tool_choice: { type: "function", function: { name: "helloWorld" } },
    max_tokens: 200,
  };
  const first = (await (await at.chat({ messages: [user(GREET)], ...asked })).json()).choices[0];
  assert.equal(first.finish_reason, "tool_calls");
  assert.equal(first.message.content, null);
  const [made] = first.message.tool_calls;
  assert.deepEqual(JSON.parse(made.function.arguments), { name: "Alice" });
  const second = await at.chat({
    messages: [user(GREET), first.message, result(made.id)],
    tools: [helloWorld],
    max_tokens: 200,
  });
  assert.equal((await second.json()).choices[0].message.content, "Hello, Alice!");
});

test("tool calls are streamed as a head and pieces of arguments", async () => {
  const chunks = events(
    await (
      await at.chat({
        messages: [user("Use the helloWorld tool to greet Bob and Eve.")],
        tools: [helloWorld],
        stream: true,
      })
    ).text(),
  );
  const deltas = chunks.slice(0, -1).flatMap(({ choices }) => choices[0].delta.tool_calls ?? []);
  const heads = deltas.filter(({ id }) => id);
  assert.deepEqual(
    heads.map(({ index, type, function: { name, arguments: json } }) => [index, type, name, json]),
    [
      [0, "function", "helloWorld", ""],
      [1, "function", "helloWorld", ""],
    ],
  );
  const text = (wanted) =>
    deltas
      .filter(({ index }) => index === wanted)
      .map((delta) => delta.function.arguments)
      .join("");
  assert.deepEqual([text(0), text(1)].map(JSON.parse), [{ name: "Bob" }, { name: "Eve" }]);
  assert.equal(chunks.at(-2).choices[0].finish_reason, "tool_calls");
});

test("several choices are numbered, whole and streamed", async () => {
  const body = { n: 3, messages: [user("Say one two")] };
  assert.deepEqual(
    (await (await at.chat(body)).json()).choices.map(({ index }) => index),
    [0, 1, 2],
  );
  const texts = ["", "", ""];
  for (const chunk of events(await (await at.chat({ ...body, stream: true })).text())) {
    for (const { index, delta } of chunk.choices ?? []) texts[index] += delta.content ?? "";
  }
  assert.deepEqual(texts, ["one two", "one two", "one two"]);
});

test("limits and stop sequences cut the answer", async () => {
  for (const limit of ["max_tokens", "max_completion_tokens"]) {
    const [choice] = (await (await at.chat({ messages: [user("Write 9 words")], [limit]: 2 })).json())
      .choices;
    assert.deepEqual([choice.message.content, choice.finish_reason], ["word1 word2", "length"]);
  }
  const [choice] = (await (await at.chat({ messages: [user("Say one, two")], stop: "," })).json()).choices;
  assert.deepEqual([choice.message.content, choice.finish_reason], ["one", "stop"]);
});

test("requests the real endpoint refuses are refused, naming the parameter", async () => {
  const refused = {
    messages: { messages: undefined },
    "messages ": { messages: [] },
    "messages[0].role": { messages: [{ role: "bot", content: "x" }] },
    "messages[0].content": { messages: [{ role: "user", content: null }] },
    "messages[0].content[0].type": { messages: [user([{ text: "x" }])] },
    "messages.[1].role": { messages: [user("x"), result("a")] },
    "messages.[1].tool_calls": { messages: [user("x"), call("a"), user("y")] },
    "messages.[1].tool_calls ": { messages: [user("x"), call("a")] },
    "messages.[2].tool_call_id": { messages: [user("x"), call("a"), result("b")] },
    tool_choice: { messages: [user("x")], tool_choice: "required" },
    max_tokens: { messages: [user("x")], max_tokens: 0 },
    model: { model: undefined, messages: [user("x")] },
  };
  for (const [param, body] of Object.entries(refused)) {
    const response = await at.chat(body);
    assert.equal(response.status, 400, param);
    const { error } = await response.json();
    assert.deepEqual([error.param, error.type], [param.trim(), "invalid_request_error"], error.message);
  }
  const malformed = await at.post("/v1/chat/completions", "{");
  assert.deepEqual([malformed.status, (await malformed.json()).error.param], [400, null]);
});

test("answered tool calls are accepted in any order", async () => {
  const both = { ...call("a"), tool_calls: [...call("a").tool_calls, ...call("b").tool_calls] };
  assert.equal(await at.say(user(GREET), both, result("b", "second"), result("a", "first")), "second\nfirst");
});

test("images are read from a URL and from data", async () => {
  const ask = (url) =>
    at.say(
      user([
        { type: "text", text: "What is in the image?" },
        { type: "image_url", image_url: { url } },
      ]),
    );
  assert.match(await ask("https://x.test/cat.png"), /by reference: https:\/\/x\.test\/cat\.png/);
  assert.match(await ask("data:image/png;base64,AAAA"), /3 bytes of image\/png/);
});

test("OpenRouter sends its own fields, comments, and usage unasked", async () => {
  const path = "/api/v1/chat/completions",
    messages = [user("Say hi")];
  const reply = await (await at.chat({ messages }, path)).json();
  assert.match(reply.id, /^gen-/);
  assert.equal(reply.choices[0].native_finish_reason, "stop");
  assert.ok(reply.usage.cost > 0);
  const text = await (await at.chat({ messages, stream: true }, path)).text();
  assert.ok(text.startsWith(": OPENROUTER PROCESSING\n\n"));
  const chunks = events(text);
  assert.equal(chunks.at(-2).usage.total_tokens, 3);
  const refused = await at.chat({ messages: [] }, path);
  assert.deepEqual([refused.status, (await refused.json()).error.code], [400, 400]);
});

test("Google's compatible endpoint sends usage with every chunk, calls whole, and errors as a list", async () => {
  const path = "/v1beta/openai/chat/completions";
  const chunks = events(
    await (await at.chat({ messages: [user(GREET)], tools: [helloWorld], stream: true }, path)).text(),
  );
  assert.ok(chunks.slice(0, -1).every(({ usage }) => usage.total_tokens > 0));
  const [made] = chunks[0].choices[0].delta.tool_calls;
  assert.deepEqual(JSON.parse(made.function.arguments), { name: "Alice" });
  assert.ok(made.extra_content.google.thought_signature);
  const turns = (toolCall) => [user(GREET), { role: "assistant", tool_calls: [toolCall] }, result(made.id)];
  assert.equal((await at.chat({ model: "gemini-3-pro", messages: turns(made) }, path)).status, 200);
  const { extra_content: dropped, ...bare } = made;
  const refused = await at.chat({ model: "gemini-3-pro", messages: turns(bare) }, path);
  assert.deepEqual([refused.status, (await refused.json())[0].error.status], [400, "INVALID_ARGUMENT"]);
  assert.equal((await at.chat({ model: "gemini-2.5-flash", messages: turns(bare) }, path)).status, 200);
});
