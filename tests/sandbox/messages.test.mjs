import assert from "node:assert/strict";
import { test } from "node:test";
import {
  assembled,
  assistant,
  events,
  helloWorld,
  sameButIds,
  system,
  user,
  useSandbox,
} from "./provider.mjs";

const at = useSandbox();
const GREET = "Use the helloWorld tool to greet Alice.";
const tool = { name: "helloWorld", description: "Greets.", input_schema: helloWorld.function.parameters };
const ping = { name: "ping_it", input_schema: { type: "object" } };
const use = (id) => ({ type: "tool_use", id, name: "helloWorld", input: { name: "Alice" } });
const result = (id, content = '{"greeting":"Hello, Alice!"}') => ({
  type: "tool_result",
  tool_use_id: id,
  content,
});
const enabled = { type: "enabled", budget_tokens: 1024 };

const answer = async (body, more) => (await at.message(body, more)).json();
const say = async (...messages) => (await answer({ messages })).content[0].text;
const stream = async (body, more) => (await at.message({ stream: true, ...body }, more)).text();
const refused = (...asked) => at.refuses(...asked);

test("the documented conversations give the documented answers", async () => {
  assert.equal(await say(user("What is 2+2? Reply with just the number.")), "4");
  assert.equal(
    await say(
      user("My name is Alex."),
      assistant("Got it."),
      user([{ type: "text", text: "What is my name?" }]),
    ),
    "Alex",
  );
  assert.equal(
    (await answer({ system: "Be kind.", messages: [user("What are your instructions?")] })).content[0].text,
    "Be kind.",
  );
  const blocks = [
    { type: "text", text: "Be kind." },
    { type: "text", text: "Be short." },
  ];
  assert.equal(
    (await answer({ system: blocks, messages: [user("What are your instructions?")] })).content[0].text,
    "Be kind.\nBe short.",
  );
});

test("a whole answer has every field of the real one", async () => {
  const response = await at.message({ messages: [user("Say hi")] });
  assert.match(response.headers.get("request-id"), /^req_01/);
  for (const of of ["requests", "tokens", "input-tokens", "output-tokens"]) {
    assert.ok(
      Number(response.headers.get(`anthropic-ratelimit-${of}-remaining`)) <
        Number(response.headers.get(`anthropic-ratelimit-${of}-limit`)),
    );
    assert.match(
      response.headers.get(`anthropic-ratelimit-${of}-reset`),
      /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/,
    );
  }
  const { id, ...reply } = await response.json();
  assert.match(id, /^msg_01/);
  assert.deepEqual(reply, {
    type: "message",
    role: "assistant",
    model: "claude-sonnet-4-5",
    content: [{ type: "text", text: "hi" }],
    stop_reason: "end_turn",
    stop_sequence: null,
    stop_details: null,
    usage: {
      input_tokens: 2,
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: 0,
      cache_creation: { ephemeral_5m_input_tokens: 0, ephemeral_1h_input_tokens: 0 },
      output_tokens: 1,
      service_tier: "standard",
      inference_geo: "global",
    },
  });
});

test("a stream has every event in order, matching event lines, and usage in two halves", async () => {
  const text = await stream({ messages: [user("Count from 1 to 3, separated by commas.")] });
  const all = events(text);
  assert.deepEqual(
    all.map(({ type }) => type),
    [
      "message_start",
      "content_block_start",
      "ping",
      "content_block_delta",
      "content_block_delta",
      "content_block_delta",
      "content_block_stop",
      "message_delta",
      "message_stop",
    ],
  );
  assert.deepEqual(
    [...text.matchAll(/^event: (.*)$/gm)].map(([, type]) => type),
    all.map(({ type }) => type),
  );
  assert.deepEqual(
    [all[0].message.content, all[0].message.stop_reason, all[0].message.usage.output_tokens],
    [[], null, 1],
  );
  assert.deepEqual(all.at(-2), {
    type: "message_delta",
    delta: { stop_reason: "end_turn", stop_sequence: null, stop_details: null },
    usage: {
      input_tokens: all[0].message.usage.input_tokens,
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: 0,
      output_tokens: 2,
    },
  });
});

test("what is streamed adds up to what is sent whole", async () => {
  const bodies = [
    { messages: [user("Say one two")] },
    { messages: [user("Say one two")], thinking: enabled },
    { messages: [user("Use helloWorld to greet Bob and Eve.")], tools: [tool] },
    { messages: [user(GREET)], tools: [tool], thinking: { type: "adaptive" } },
    { messages: [user("Use ping_it")], tools: [ping] },
    { messages: [user("Write 9 words")], max_tokens: 3 },
    { messages: [user("Say x")], max_tokens: 0 },
  ];
  for (const body of bodies)
    assert.deepEqual(
      sameButIds(assembled(events(await stream(body)))),
      sameButIds(await answer(body)),
      JSON.stringify(body),
    );
});

test("a tool is called and its result spoken", async () => {
  const first = await answer({
    messages: [user(GREET)],
    tools: [tool],
    tool_choice: { type: "tool", name: "helloWorld" },
  });
  assert.equal(first.stop_reason, "tool_use");
  const [{ id, ...call }] = first.content;
  assert.match(id, /^toolu_01/);
  assert.deepEqual(call, {
    type: "tool_use",
    name: "helloWorld",
    input: { name: "Alice" },
    caller: { type: "direct" },
  });
  const turns = [user(GREET), assistant(first.content), user([result(id)])];
  assert.equal((await answer({ messages: turns, tools: [tool] })).content[0].text, "Hello, Alice!");
  const inBlocks = [
    user(GREET),
    assistant(first.content),
    user([result(id, [{ type: "text", text: "noon" }])]),
  ];
  assert.equal((await answer({ messages: inBlocks, tools: [tool] })).content[0].text, "noon");
});

test("tool input is streamed in pieces, the first one empty, and nothing follows it where there is none", async () => {
  const pieces = async (text) =>
    events(await stream({ messages: [user(text)], tools: [tool, ping] }))
      .filter(({ delta }) => delta?.type === "input_json_delta")
      .map(({ delta }) => delta.partial_json);
  const some = await pieces(GREET);
  assert.equal(some[0], "");
  assert.ok(some.length > 2);
  assert.deepEqual(JSON.parse(some.join("")), { name: "Alice" });
  assert.deepEqual(await pieces("Use ping_it"), [""]);
});

test("several tools are called at once, unless parallel use is disabled", async () => {
  const body = { messages: [user("Use helloWorld to greet Bob and Eve.")], tools: [tool] };
  assert.deepEqual(
    (await answer(body)).content.map(({ input }) => input.name),
    ["Bob", "Eve"],
  );
  assert.equal(
    (await answer({ ...body, tool_choice: { type: "auto", disable_parallel_tool_use: true } })).content
      .length,
    1,
  );
  assert.equal((await answer({ ...body, tool_choice: { type: "none" } })).stop_reason, "end_turn");
  const both = [
    user(GREET),
    assistant([use("a"), use("b")]),
    user([result("b", "second"), result("a", "first")]),
  ];
  assert.equal((await answer({ messages: both, tools: [tool] })).content[0].text, "second\nfirst");
});

test("limits and stop sequences end the answer and say so", async () => {
  const ended = async (body) => {
    const { content, stop_reason: reason, stop_sequence: sequence } = await answer(body);
    return [content.map(({ text }) => text).join(), reason, sequence];
  };
  assert.deepEqual(await ended({ messages: [user("Write 9 words")], max_tokens: 2 }), [
    "word1 word2",
    "max_tokens",
    null,
  ]);
  assert.deepEqual(await ended({ messages: [user("Say one, two; three")], stop_sequences: [";", ","] }), [
    "one",
    "stop_sequence",
    ",",
  ]);
  assert.deepEqual(await ended({ messages: [user("Say one, two")], stop_sequences: ["one"] }), [
    "",
    "stop_sequence",
    "one",
  ]);
  assert.deepEqual(
    await ended({ messages: [user("Say one two three;")], stop_sequences: [";"], max_tokens: 2 }),
    ["one two", "max_tokens", null],
  );
  assert.deepEqual(await ended({ messages: [user("Say one")], max_tokens: 0 }), ["", "max_tokens", null]);
});

test("an answer can be begun by its last message, on the models that still allow it", async () => {
  assert.equal(await say(user("Say one two"), assistant("one")), " two");
  await refused(
    { model: "claude-opus-4-6", messages: [user("Say one two"), assistant("one")] },
    /must end with a user message/,
  );
});

test("thinking is signed, and must come back as it was", async () => {
  const ask = { messages: [user(GREET)], tools: [tool], thinking: enabled };
  const first = await answer(ask),
    [thought, call] = first.content;
  assert.deepEqual(
    first.content.map(({ type }) => type),
    ["thinking", "tool_use"],
  );
  assert.equal((await answer(ask)).content[0].signature, thought.signature);
  const back = (...content) => ({
    ...ask,
    messages: [user(GREET), assistant(content), user([result(call.id)])],
  });
  assert.equal((await answer(back(thought, call))).content[1].text, "Hello, Alice!");
  await refused(
    back({ ...thought, thinking: `${thought.thinking} ` }, call),
    /messages\.1\.content\.0: Invalid `signature` in `thinking` block/,
  );
  await refused(back({ ...thought, signature: "x" }, call), /Invalid `signature`/);
  await refused(back({ type: "thinking", thinking: thought.thinking }, call), /signature/);
  await refused(back(call), /Expected `thinking` or `redacted_thinking`, but found `tool_use`/);
  await refused(back(call, thought), /final block/);
  await refused(back({ type: "text", text: "x" }, thought, call), /must begin with one/);
  await refused({ ...ask, messages: [user(GREET), assistant([thought]), user("x")] }, /final block/);
  assert.equal((await at.message({ ...back(call), thinking: { type: "adaptive" } })).status, 200);
  assert.equal((await at.message({ ...ask, messages: [user("x"), assistant("y"), user("z")] })).status, 200);
});

test("only the beginning of a turn with several calls has to think", async () => {
  const {
    content: [thought],
  } = await answer({ messages: [user(GREET)], thinking: enabled });
  const turns = (...first) => [
    user(GREET),
    assistant([...first, use("a")]),
    user([result("a")]),
    assistant([use("b")]),
    user([result("b")]),
  ];
  assert.equal(
    (await at.message({ messages: turns(thought), tools: [tool], thinking: enabled })).status,
    200,
  );
  await refused({ messages: turns(), tools: [tool], thinking: enabled }, /messages\.1\.content\.0\.type/);
});

test("thinking can be omitted or redacted, and comes back all the same", async () => {
  const back = async (question, thinking) => {
    const { content } = await answer({ messages: [user(question)], tools: [tool], thinking });
    const messages = [user(question), assistant(content), user([result(content[1].id)])];
    assert.equal((await at.message({ messages, tools: [tool], thinking })).status, 200);
    const all = events(await stream({ messages: [user(question)], thinking }));
    return [
      content[0],
      assembled(all).content[0],
      all
        .filter(({ index, type }) => index === 0 && type === "content_block_delta")
        .map(({ delta }) => delta.type),
    ];
  };
  const [omitted, streamed, deltas] = await back(GREET, { type: "adaptive", display: "omitted" });
  assert.deepEqual([omitted.thinking, streamed, deltas], ["", omitted, ["signature_delta"]]);
  const [redacted, alike, none] = await back(
    `${GREET} ANTHROPIC_MAGIC_STRING_TRIGGER_REDACTED_THINKING_1`,
    enabled,
  );
  assert.deepEqual([redacted.type, alike, none], ["redacted_thinking", redacted, []]);
});

test("images and documents are read from a URL and from data", async () => {
  const ask = (block) => say(user([{ type: "text", text: `What is in the ${block.type}?` }, block]));
  assert.match(
    await ask({ type: "image", source: { type: "url", url: "https://x.test/cat.png" } }),
    /by reference: https:\/\/x\.test\/cat\.png/,
  );
  assert.match(
    await ask({ type: "image", source: { type: "base64", media_type: "image/png", data: "AAAA" } }),
    /3 bytes of image\/png/,
  );
  assert.match(
    await ask({ type: "document", source: { type: "base64", media_type: "application/pdf", data: "AAAA" } }),
    /3 bytes of application\/pdf/,
  );
  await refused(
    {
      messages: [
        user([
          {
            type: "image",
            source: { type: "base64", media_type: "image/png", data: "data:image/png;base64,AAAA" },
          },
        ]),
      ],
    },
    /not base64/,
  );
});

test("requests the real endpoint refuses are refused, naming the path", async () => {
  const x = [user("x")],
    custom = (more) => ({ messages: x, tools: [{ ...tool, ...more }] });
  const cases = [
    [{ messages: undefined }, /^messages: /],
    [{ messages: [] }, /^messages: /],
    [{ messages: x, max_tokens: undefined }, /^max_tokens: /],
    [{ messages: x, max_tokens: 1.5 }, /^max_tokens: /],
    [{ messages: x, model: undefined }, /model/],
    [{ messages: [{ role: "bot", content: "x" }] }, /^messages\.0\.role: /],
    [{ messages: [assistant("x"), user("y")] }, /^messages\.0\.role: /],
    [{ messages: [user("")] }, /^messages\.0: .*non-empty/],
    [{ messages: [user([])] }, /non-empty/],
    [{ messages: [user([{ type: "text", text: "" }])] }, /^messages\.0\.content\.0: .*non-empty/],
    [{ messages: [user(" \n")] }, /whitespace/],
    [{ messages: [user("x"), assistant(""), user("y")] }, /^messages\.1: .*non-empty/],
    [{ messages: x, system: [{ type: "text", text: "" }] }, /^system\.0: /],
    [{ messages: [user("x"), assistant("y ")] }, /trailing whitespace/],
    [{ messages: [user([{ type: "input_text", text: "x" }])] }, /input_text/],
    [{ messages: [{ ...user("x"), name: "Al" }] }, /^messages\.0\.name: Extra/],
    [{ messages: x, stream_options: {} }, /^stream_options: Extra/],
    [{ messages: x, temperature: 1.5 }, /^temperature: /],
    [{ messages: [user([use("a")])] }, /tool_use/],
    [
      { messages: [user("x"), assistant([{ ...use("a"), input: "{}" }]), user([result("a")])] },
      /not JSON text/,
    ],
    [custom({ input_schema: { type: "string" } }), /input_schema\.type/],
    [custom({ input_schema: undefined }), /input_schema/],
    [custom({ name: "a.b" }), /name/],
    [{ messages: x, tools: [tool, tool] }, /unique/],
    [{ messages: x, tools: [helloWorld] }, /function/],
    [custom({ parameters: {} }), /parameters: Extra/],
    [{ messages: x, tool_choice: { type: "any" } }, /^tool_choice: /],
    [{ ...custom(), tool_choice: "auto" }, /^tool_choice: /],
    [{ ...custom(), tool_choice: { type: "tool", name: "other" } }, /other/],
    [{ messages: x, stop_sequences: [" "] }, /^stop_sequences\.0: /],
    [{ messages: x, thinking: { type: "enabled", budget_tokens: 100 } }, /budget_tokens/],
    [{ messages: x, thinking: { ...enabled, budget_tokens: 2000 } }, /^max_tokens: /],
    [{ messages: x, thinking: enabled, temperature: 0 }, /^temperature: /],
    [{ ...custom(), thinking: enabled, tool_choice: { type: "any" } }, /^tool_choice: /],
  ];
  for (const [body, told] of cases) await refused(body, told);
  assert.equal((await at.post("/v1/messages", "{", { key: null, headers: at.anthropic })).status, 400);
});

test("every tool use is answered at the start of the very next message, and nothing else is", async () => {
  const after = (...next) => ({
    tools: [tool],
    messages: [user(GREET), assistant([use("a"), use("b")]), ...next],
  });
  await refused(after(), /^messages\.1: .*`tool_use` ids without.*: a, b\./);
  await refused(after(user("x")), /: a, b\./);
  await refused(after(user([result("a")])), /: b\./);
  await refused(after(user([result("a")]), user([result("b")])), /b/);
  await refused(after(user([{ type: "text", text: "x" }, result("a"), result("b")])), /: a, b\./);
  await refused(
    after(user([result("a"), result("b"), result("c")])),
    /^messages\.2\.content\.2: unexpected `tool_use_id`/,
  );
  await refused(after(user([result("a"), result("a"), result("b")])), /more than one/);
  await refused({ messages: [user([result("a")])] }, /^messages\.0\.content\.0: unexpected/);
  await refused({ messages: [user(GREET), assistant([use("a"), use("a")]), user([result("a")])] }, /unique/);
  const again = [assistant([use("a")]), assistant([use("c")]), user([result("c"), result("a")])];
  assert.equal((await at.message(after(user([result("a"), result("b")]), ...again))).status, 200);
  assert.equal(
    (await at.message(after(user([result("a"), result("b"), { type: "text", text: "And now?" }])))).status,
    200,
  );
});

test("system messages inside a conversation are for the models that have them", async () => {
  const messages = [user("What are your instructions?"), system("Be kind.")];
  for (const model of [
    "claude-sonnet-4-5",
    "claude-opus-4-7",
    "claude-3-5-haiku-latest",
    "claude-sonnet-4-20250514",
    "m",
  ])
    await refused({ model, messages }, /role 'system' is not supported/);
  for (const model of ["claude-opus-4-8", "claude-opus-4-8-20260528", "claude-fable-5"])
    assert.equal((await answer({ model, messages })).content[0].text, "Be kind.", model);
  await refused(
    { model: "claude-opus-4-8", messages: [user("x"), assistant("y"), system("z")] },
    /must follow a user message/,
  );
});
