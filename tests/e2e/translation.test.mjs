// Owns: what the gateway adds to a translation: one thread over all dialects and providers, the state of Responses at any
// provider, seals that clients drop, errors and broken streams in the client's own form, fields that cannot be said.
// Invariant: the sandbox is as strict as the providers are, so that an answer means the request was legal.
import Anthropic from "@anthropic-ai/sdk";
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { memoryHeaders, newThread, openai, post, refused, stored, user } from "./conversation.mjs";
import { sandboxVars, startGateway, startSandbox } from "./gateway.mjs";

const MODELS = {
  openai: "openai/gpt-5.4-mini",
  anthropic: "anthropic/claude-sonnet-4-5",
  google: "google/gemini-2.5-flash",
  thinking: "google/gemini-3-flash",
  extra: "extra/some-model",
};
const FOREIGN = Object.values(MODELS).filter((model) => model !== MODELS.openai);

let sandbox, gateway;
before(async () => {
  sandbox = await startSandbox();
  const { OPENROUTER_API_KEY, ...vars } = sandboxVars(sandbox);
  const PROVIDERS = JSON.stringify({
    extra: { base_url: `${sandbox.url}/v1`, api_key_secret: "EXTRA_API_KEY" },
  });
  gateway = await startGateway({
    // Refusals are looked at one by one here: none is to be asked for twice, and none to be spared.
    vars: {
      ...vars,
      ...{ PROVIDERS, EXTRA_API_KEY: OPENROUTER_API_KEY },
      ...{ UPSTREAM_ATTEMPTS: "1", CIRCUIT_FAILURES: "1000" },
    },
  });
});
after(async () => {
  await gateway?.stop();
  await sandbox?.close();
});

const anthropic = () => new Anthropic({ apiKey: gateway.key, baseURL: gateway.url, maxRetries: 0 });
const lastBody = () => sandbox.requests.at(-1).body;

const parameters = { type: "object", properties: { name: { type: "string" } }, required: ["name"] };
const functions = [{ type: "function", function: { name: "helloWorld", parameters } }];
const flat = [{ type: "function", name: "helloWorld", parameters, strict: false }];
const blocks = [{ name: "helloWorld", input_schema: parameters }];

// ——— One thread

for (const order of [
  ["chat:anthropic", "responses:google", "messages:openai"],
  ["messages:google", "chat:openai", "responses:anthropic"],
  ["responses:extra", "messages:thinking", "chat:anthropic"],
]) {
  test(`one thread goes on from ${order.join(" to ")}, calls and results with it`, async () => {
    const thread = newThread();
    const names = ["Ann", "Ben", "Cid"];
    for (const [at, step] of order.entries()) {
      const [dialect, provider] = step.split(":");
      const text = await TOOL_TURN[dialect](MODELS[provider], thread, names[at]);
      assert.equal(text, `Hello, ${names[at]}!`, step);
    }
    const kept = await stored(gateway, thread);
    assert.deepEqual(
      kept.map(({ role }) => role),
      order.flatMap(() => ["user", "assistant", "tool", "assistant"]),
    );
    const count = await post(
      gateway,
      "/chat/completions",
      {
        model: MODELS.google,
        messages: [user("How many messages do you see?")],
      },
      { thread },
    );
    assert.equal((await count.json()).choices[0].message.content, "13");
  });
}

const greeting = (name) => JSON.stringify({ greeting: `Hello, ${name}!` });
const asked = (name) => `Use the helloWorld tool to greet ${name}.`;

/** A question, the call of a tool, its result alone, the answer: as a client that keeps nothing sends them. */
const TOOL_TURN = {
  chat: async (model, thread, name) => {
    const ask = (messages) =>
      openai(gateway).chat.completions.create(
        { model, messages, tools: functions },
        { headers: memoryHeaders(thread) },
      );
    const first = await ask([user(asked(name))]);
    const { message, finish_reason } = first.choices[0];
    assert.equal(finish_reason, "tool_calls");
    const [{ id }] = message.tool_calls;
    const second = await ask([{ role: "tool", tool_call_id: id, content: greeting(name) }]);
    assert.ok(second.usage.prompt_tokens > 0 && second.usage.completion_tokens > 0);
    return second.choices[0].message.content;
  },
  responses: async (model, thread, name) => {
    const ask = (input) =>
      openai(gateway).responses.create(
        { model, input, tools: flat, store: false },
        { headers: memoryHeaders(thread) },
      );
    const first = await ask(asked(name));
    const { call_id } = first.output.find(({ type }) => type === "function_call");
    const second = await ask([{ type: "function_call_output", call_id, output: greeting(name) }]);
    assert.ok(second.usage.input_tokens > 0 && second.usage.output_tokens > 0);
    return second.output_text;
  },
  messages: async (model, thread, name) => {
    const ask = (content) =>
      anthropic()
        .messages.stream(
          { model, max_tokens: 4_000, messages: [user(content)], tools: blocks },
          { headers: memoryHeaders(thread) },
        )
        .finalMessage();
    const first = await ask(asked(name));
    assert.equal(first.stop_reason, "tool_use");
    const { id } = first.content.find(({ type }) => type === "tool_use");
    const second = await ask([{ type: "tool_result", tool_use_id: id, content: greeting(name) }]);
    assert.ok(second.usage.input_tokens > 0 && second.usage.output_tokens > 0);
    return second.content.find(({ type }) => type === "text").text;
  },
};

// ——— Seals

test("a thread brings back the thought signature of a call that the client replays without it", async () => {
  const thread = newThread();
  const ask = (messages) =>
    anthropic().messages.create(
      { model: MODELS.thinking, max_tokens: 4_000, messages, tools: blocks },
      { headers: memoryHeaders(thread) },
    );
  const first = await ask([user(asked("Ann"))]);
  const call = first.content.find(({ type }) => type === "tool_use");
  await ask([
    user(asked("Ann")),
    { role: "assistant", content: [call] },
    user([{ type: "tool_result", tool_use_id: call.id, content: greeting("Ann") }]),
  ]);
  const sent = lastBody()
    .contents.flatMap(({ parts }) => parts)
    .find(({ functionCall }) => functionCall);
  assert.ok(sent.thoughtSignature && sent.thoughtSignature !== "skip_thought_signature_validator");
});

test("without a thread a client that keeps every block brings the signature back itself", async () => {
  const ask = (messages) =>
    anthropic().messages.create({ model: MODELS.thinking, max_tokens: 4_000, messages, tools: blocks });
  const first = await ask([user(asked("Ann"))]);
  const call = first.content.find(({ type }) => type === "tool_use");
  for (const [content, genuine] of [
    [first.content, true],
    [[call], false],
  ]) {
    await ask([
      user(asked("Ann")),
      { role: "assistant", content },
      user([{ type: "tool_result", tool_use_id: call.id, content: greeting("Ann") }]),
    ]);
    const sent = lastBody()
      .contents.flatMap(({ parts }) => parts)
      .find(({ functionCall }) => functionCall);
    assert.equal(sent.thoughtSignature !== "skip_thought_signature_validator", genuine);
  }
});

test("thoughts that one provider sealed are not shown to another", async () => {
  const first = await openai(gateway).responses.create({
    model: MODELS.anthropic,
    input: asked("Ann"),
    tools: flat,
    reasoning: { effort: "medium" },
    store: false,
  });
  const { call_id } = first.output.find(({ type }) => type === "function_call");
  assert.ok(first.output.some(({ type, encrypted_content }) => type === "reasoning" && encrypted_content));
  const input = [
    user(asked("Ann")),
    ...first.output,
    { type: "function_call_output", call_id, output: greeting("Ann") },
  ];
  for (const model of [MODELS.anthropic, MODELS.openai, MODELS.google]) {
    const { output_text } = await openai(gateway).responses.create({
      model,
      input,
      tools: flat,
      store: false,
    });
    assert.equal(output_text, "Hello, Ann!", model);
    assert.doesNotMatch(JSON.stringify(lastBody()), /mgw1:/);
  }
});

// ——— State

/** A response, streamed or not. One id goes through all of a stream. */
async function responded(client, body, streamed) {
  if (!streamed) return client.responses.create(body);
  const seen = new Set();
  let response;
  for await (const event of await client.responses.create({ ...body, stream: true })) {
    if (event.response) seen.add(event.response.id);
    if (event.type === "response.completed") ({ response } = event);
  }
  assert.deepEqual([...seen], [response.id]);
  return response;
}

for (const model of Object.values(MODELS)) {
  test(`${model}: a hundred responses go on from each other with no wait, streamed and not, tool outputs included`, async () => {
    const client = openai(gateway);
    let previous, call;
    const said = ({ output }) => output.flatMap(({ content }) => content ?? []).map(({ text }) => text ?? "");
    for (let turn = 0; turn < 100; turn++) {
      // Each kind of turn comes both ways: three kinds, and two of each four turns are streamed.
      const kind = turn === 0 ? "introduce" : ["recall", "call", "result"][turn % 3];
      const input = {
        introduce: "My name is Alex.",
        recall: "What is my name?",
        call: asked(`Ann${turn}`),
        result: [
          { type: "function_call_output", call_id: call?.call_id, output: greeting(`Ann${turn - 1}`) },
        ],
      }[kind];
      const tools = kind === "call" || kind === "result" ? flat : undefined;
      const body = { model, input, tools, previous_response_id: previous };
      const response = await responded(client, body, turn % 4 >= 2);
      call = response.output.find(({ type }) => type === "function_call");
      const where = `turn ${turn}, ${kind}`;
      if (kind === "call") assert.deepEqual(JSON.parse(call.arguments), { name: `Ann${turn}` }, where);
      else {
        const answers = { introduce: "Got it.", recall: "Alex", result: `Hello, Ann${turn - 1}!` };
        assert.equal(said(response).join(""), answers[kind], where);
      }
      previous = response.id;
    }
    const kept = await client.responses.retrieve(previous);
    assert.equal(kept.id, previous);
    const items = [];
    for await (const item of client.responses.inputItems.list(previous, { limit: 100, order: "asc" })) {
      items.push(item);
    }
    assert.equal(items[0].content[0].text, "My name is Alex.");
    // Thinking comes between them; what was asked, called and given is all there.
    const count = (kind) => items.filter(({ type }) => type === kind).length;
    assert.deepEqual([count("function_call"), count("function_call_output")], [33, 33]);
    const asks = items.filter(({ role }) => role === "user");
    assert.equal(asks.length, 67);
  });
}

test("a response goes on at another provider, tool outputs included, and back", async () => {
  const client = openai(gateway);
  const models = [MODELS.openai, MODELS.anthropic, MODELS.google, MODELS.openai, MODELS.extra];
  let previous_response_id;
  for (const model of models) {
    const first = await client.responses.create({
      model,
      input: asked("Ann"),
      tools: flat,
      previous_response_id,
    });
    const { call_id } = first.output.find(({ type }) => type === "function_call");
    const output = [{ type: "function_call_output", call_id, output: greeting("Ann") }];
    const second = await client.responses.create({
      model,
      input: output,
      tools: flat,
      previous_response_id: first.id,
    });
    assert.equal(second.output_text, "Hello, Ann!", model);
    previous_response_id = second.id;
  }
  const { output_text } = await client.responses.create({
    model: MODELS.google,
    input: "How many messages do you see?",
    previous_response_id,
  });
  assert.equal(output_text, String(4 * models.length + 1));
});

test("what is deleted, another project's, or was not to be stored, cannot be gone on from", async () => {
  const client = openai(gateway);
  for (const model of [MODELS.openai, MODELS.anthropic]) {
    const gone = await client.responses.create({ model, input: "one" });
    await client.responses.delete(gone.id);
    const unstored = await client.responses.create({ model, input: "one", store: false });
    const mine = await client.responses.create({ model, input: "one" });
    const stranger = openai(gateway, { apiKey: gateway.otherKey });
    for (const [asker, { id }] of [
      [client, gone],
      [client, unstored],
      [stranger, mine],
    ]) {
      const on = asker.responses.create({ model, input: "two", previous_response_id: id });
      await assert.rejects(on, { status: 404, param: "previous_response_id" });
      await assert.rejects(asker.responses.retrieve(id), { status: 404 });
    }
    assert.equal((await client.responses.retrieve(mine.id)).id, mine.id);
  }
});

test("a conversation is gone on with by its id alone", async () => {
  const client = openai(gateway);
  const conversation = `conv_${newThread()}`;
  const ask = (model, input) => client.responses.create({ model, input, conversation });
  await ask(MODELS.anthropic, "My name is Alex.");
  assert.equal((await ask(MODELS.google, "What is my name?")).output_text, "Alex");
  assert.equal((await ask(MODELS.extra, "How many messages do you see?")).output_text, "5");
});

// ——— Errors

const WAYS = [
  ["/chat/completions", (model, more) => ({ model, messages: [user("Say: one two three four")], ...more })],
  ["/responses", (model, more) => ({ model, input: "Say: one two three four", ...more })],
  [
    "/messages",
    (model, more) => ({ model, max_tokens: 2_000, messages: [user("Say: one two three four")], ...more }),
  ],
];
const NATIVE = {
  "/chat/completions": ["openai", "google", "extra"],
  "/responses": ["openai"],
  "/messages": ["anthropic"],
};

for (const [path, body] of WAYS) {
  for (const provider of ["openai", "anthropic", "google", "extra"].filter(
    (name) => !NATIVE[path].includes(name),
  )) {
    const model = MODELS[provider];
    for (const thread of [undefined, newThread()]) {
      const where = `${path} at ${provider}${thread ? ", with memory" : ""}`;

      test(`${where}: a provider's refusal keeps its status and words, in the client's form`, async () => {
        for (const [status, type] of [
          [400, "invalid_request_error"],
          [429, "rate_limit_error"],
          [503, "overloaded"],
        ]) {
          for (const stream of [false, true]) {
            const answer = await post(gateway, path, body(`${model};status=${status}`, { stream }), {
              thread,
            });
            const told = await answer.json();
            assert.deepEqual([answer.status, told.error.type], [status, type]);
            assert.deepEqual([told.error.provider, told.error.upstream_status], [provider, status]);
            assert.match(told.error.message, /./);
            assert.equal(told.type, path === "/messages" ? "error" : undefined);
          }
        }
      });

      test(`${where}: a failure in the middle of a stream is told in the client's form, and is no end`, async () => {
        const answer = await post(gateway, path, body(`${model};error`, { stream: true }), { thread });
        const text = await answer.text();
        assert.match(text, /told to fail in the middle/);
        assert.doesNotMatch(text, /\[DONE\]|message_stop|response\.completed/);
      });

      test(`${where}: a stream that breaks off is no end, whole or not`, async () => {
        for (const fault of ["eof=300", "cut=300"]) {
          const streamed = await post(gateway, path, body(`${model};${fault}`, { stream: true }), { thread });
          const text = await streamed.text().catch((error) => `broken ${error}`);
          assert.doesNotMatch(text, /\[DONE\]|message_stop|response\.completed/, fault);
        }
      });
    }
  }
}

// ——— What a provider has in another form

const patch = { type: "custom", name: "patch", description: "Edits files." };

for (const model of FOREIGN) {
  for (const streamed of [false, true]) {
    test(`${model}: a custom tool is called with free text and answered${streamed ? ", streamed" : ""}`, async () => {
      const client = openai(gateway);
      const asks = { model, input: "Use the patch tool.", tools: [patch] };
      const first = await responded(
        client,
        { ...asks, tool_choice: { type: "custom", name: "patch" } },
        streamed,
      );
      const call = first.output.find(({ type }) => type === "custom_tool_call");
      assert.equal(call?.name, "patch", JSON.stringify(first.output));
      assert.equal(typeof call.input, "string");
      assert.doesNotMatch(call.input, /^\{/);
      const input = [
        { type: "custom_tool_call_output", call_id: call.call_id, output: greeting("patched file") },
      ];
      const body = { ...asks, input, previous_response_id: first.id };
      const second = await responded(client, body, streamed);
      assert.equal(
        second.output.find(({ type }) => type === "custom_tool_call"),
        undefined,
      );
      const said = second.output.flatMap(({ content }) => content ?? []).map(({ text }) => text ?? "");
      assert.match(said.join(""), /patched file/);
    });
  }
}

test("a custom tool of Chat Completions is called at Anthropic, whole and streamed", async () => {
  const { completions } = openai(gateway).chat;
  const body = {
    model: MODELS.anthropic,
    messages: [user("Use the patch tool.")],
    tools: [{ type: "custom", custom: { name: "patch", description: "Edits files." } }],
    tool_choice: { type: "custom", custom: { name: "patch" } },
  };
  const [whole] = (await completions.create(body)).choices[0].message.tool_calls;
  let name,
    input = "";
  for await (const { choices } of await completions.create({ ...body, stream: true })) {
    for (const call of choices[0]?.delta.tool_calls ?? []) {
      name ??= call.custom.name;
      input += call.custom.input;
    }
  }
  assert.deepEqual([whole.type, whole.custom], ["custom", { name, input }]);
});

for (const streamed of [false, true]) {
  test(`log probabilities of Gemini reach a client of Responses${streamed ? ", streamed" : ""}`, async () => {
    const response = await responded(
      openai(gateway),
      {
        model: MODELS.google,
        input: "What is 3+3?",
        include: ["message.output_text.logprobs"],
        top_logprobs: 2,
      },
      streamed,
    );
    const [{ text, logprobs }] = response.output.find(({ type }) => type === "message").content;
    assert.equal(logprobs.map(({ token }) => token).join(""), text);
    assert.ok(logprobs.every(({ top_logprobs }) => top_logprobs.length <= 2));
  });
}

test("a search of the web is asked for in the provider's own form", async () => {
  const answer = await post(gateway, "/chat/completions", {
    model: MODELS.anthropic,
    web_search_options: { search_context_size: "low" },
    messages: [user("What is 3+3?")],
  });
  const ignored = answer.headers.get("x-gateway-ignored");
  assert.deepEqual([answer.status, ignored], [200, "web_search_options.search_context_size"]);
  assert.deepEqual(lastBody().tools, [{ type: "web_search_20250305", name: "web_search" }]);
  const input = { model: MODELS.google, input: "What is 3+3?", tools: [{ type: "web_search" }] };
  assert.equal((await post(gateway, "/responses", input)).status, 200);
  assert.deepEqual(lastBody().tools, [{ googleSearch: {} }]);
});

// ——— What cannot be said

test("a field that the provider's format lacks is a 400 by its name, and one that changes nothing is told of", async () => {
  for (const [path, body, param] of [
    ["/chat/completions", { seed: 7, messages: [user("a")], model: MODELS.anthropic }, "seed"],
    [
      "/chat/completions",
      { web_search_options: { unheard_of: 1 }, messages: [user("a")], model: MODELS.anthropic },
      "web_search_options",
    ],
    ["/responses", { input: "a", background: true, model: MODELS.google }, "background"],
    [
      "/responses",
      { input: "a", tools: [{ type: "file_search", vector_store_ids: [] }], model: MODELS.google },
      "tools[0]",
    ],
  ]) {
    for (const thread of [undefined, newThread()]) {
      const {
        status,
        type,
        param: named,
        message,
      } = await refused(await post(gateway, path, body, { thread }));
      assert.deepEqual([status, type, named], [400, "invalid_request_error", param], message);
    }
  }
  const answer = await post(gateway, "/chat/completions", {
    model: MODELS.anthropic,
    messages: [user("a")],
    prompt_cache_key: "k",
  });
  assert.deepEqual([answer.status, answer.headers.get("x-gateway-ignored")], [200, "prompt_cache_key"]);
});

for (const model of FOREIGN) {
  test(`${model}: a stream of Messages begins with the prompt's tokens, and its token counts are complete`, async () => {
    if (model === MODELS.anthropic) return;
    const events = [];
    const stream = anthropic().messages.stream({ model, max_tokens: 2_000, messages: [user("one")] });
    for await (const event of stream) events.push(event);
    assert.equal(events[0].type, "message_start");
    assert.equal(events.filter(({ type }) => type === "message_start").length, 1);
    assert.ok(events[0].message.usage.input_tokens > 0);
    const { usage } = await stream.finalMessage();
    assert.ok(usage.input_tokens > 0 && usage.output_tokens > 0);
  });
}
