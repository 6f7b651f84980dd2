// Owns: whether what the gateway sends to a provider is what the provider's own published specification allows.
// Invariant: every request of every test is checked, the first turns' too; without the documents or steady nothing runs,
// and that is said.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { memoryHeaders, newThread, user } from "./conversation.mjs";
import { sandboxVars, startGateway, startSandbox } from "./gateway.mjs";
import { BEGINNINGS, PNG } from "./histories.mjs";
import { startCheckedUpstream, whyUnchecked } from "./specification.mjs";

const MODELS = {
  openai: "openai/gpt-5.4-mini",
  anthropic: "anthropic/claude-sonnet-4-5",
  google: "google/gemini-2.5-flash",
};

const SCHEMA = {
  type: "object",
  properties: { name: { type: "string" } },
  required: ["name"],
  additionalProperties: false,
};
const GREET = "Use the helloWorld tool to greet Alice, Bob and Carol.";
const SEE = "What is in this image?";
const said = (name) => JSON.stringify({ greeting: `Hello, ${name}!` });

/** The same requests in each dialect; `results` answers the calls of an answer in the dialect's whole form. */
const DIALECTS = {
  chat: {
    path: "/chat/completions",
    ask: (content, more) => ({ messages: [user(content)], ...more }),
    image: [
      { type: "text", text: SEE },
      { type: "image_url", image_url: { url: `data:image/png;base64,${PNG}`, detail: "low" } },
    ],
    system: (text) => ({ messages: [{ role: "system", content: text }, user("hi")], max_tokens: 50 }),
    settings: { temperature: 0.5, top_p: 0.9, stop: ["never"], max_completion_tokens: 100, user: "u" },
    tools: { tools: [{ type: "function", function: { name: "helloWorld", parameters: SCHEMA } }] },
    forced: { tool_choice: "required", parallel_tool_calls: true },
    schema: {
      response_format: { type: "json_schema", json_schema: { name: "person", schema: SCHEMA, strict: true } },
    },
    thinking: { reasoning_effort: "low" },
    said: ({ choices: [{ message }] }) => [message],
    results: ({ choices: [{ message }] }) =>
      message.tool_calls.map((call) => ({
        role: "tool",
        tool_call_id: call.id,
        content: said(JSON.parse(call.function.arguments).name),
      })),
    several: (messages) => ({ messages }),
  },
  responses: {
    path: "/responses",
    ask: (content, more) => ({ input: typeof content === "string" ? content : [user(content)], ...more }),
    image: [
      { type: "input_text", text: SEE },
      { type: "input_image", image_url: `data:image/png;base64,${PNG}`, detail: "low" },
    ],
    system: (text) => ({
      instructions: text,
      input: [{ role: "developer", content: "Be brief." }, user("hi")],
    }),
    settings: { temperature: 0.5, top_p: 0.9, max_output_tokens: 100, metadata: { a: "b" } },
    tools: { tools: [{ type: "function", name: "helloWorld", parameters: SCHEMA, strict: true }] },
    forced: { tool_choice: "required", parallel_tool_calls: true },
    schema: { text: { format: { type: "json_schema", name: "person", schema: SCHEMA, strict: true } } },
    thinking: { reasoning: { effort: "low", summary: "auto" } },
    said: ({ output }) => output,
    results: ({ output }) =>
      output
        .filter(({ type }) => type === "function_call")
        .map((call) => ({
          type: "function_call_output",
          call_id: call.call_id,
          output: said(JSON.parse(call.arguments).name),
        })),
    several: (input) => ({ input }),
  },
  messages: {
    path: "/messages",
    ask: (content, more) => ({ max_tokens: 2_000, messages: [user(content)], ...more }),
    image: [
      { type: "text", text: SEE },
      { type: "image", source: { type: "base64", media_type: "image/png", data: PNG } },
    ],
    system: (text) => ({ system: [{ type: "text", text }], max_tokens: 50, messages: [user("hi")] }),
    settings: { temperature: 0.5, stop_sequences: ["never"], metadata: { user_id: "u" } },
    tools: { tools: [{ name: "helloWorld", description: "Greets.", input_schema: SCHEMA }] },
    forced: { tool_choice: { type: "any" } },
    schema: { output_config: { format: { type: "json_schema", schema: SCHEMA } } },
    thinking: { thinking: { type: "enabled", budget_tokens: 1_024 } },
    said: ({ content }) => [{ role: "assistant", content }],
    results: ({ content }) => [
      user(
        content
          .filter(({ type }) => type === "tool_use")
          .map(({ id, input }) => ({ type: "tool_result", tool_use_id: id, content: said(input.name) })),
      ),
    ],
    several: (messages) => ({ max_tokens: 2_000, messages }),
  },
};

/**
 * Each is a list of turns: a body in the given dialect, or a function of the answer before. `sent` is how many messages or
 * items the provider must see in the last one, so that history that was not put in does not pass for correct.
 */
const REQUESTS = {
  "a plain question": { turns: (d) => [d.ask("hi")] },
  "instructions and settings": { turns: (d) => [d.system("Be kind."), d.ask("hi", d.settings)] },
  "an image": { turns: (d) => [d.ask(d.image)] },
  "a schema for the answer": { turns: (d) => [d.ask("Say: Alex", d.schema)] },
  thinking: { turns: (d) => [d.ask("hi", d.thinking)] },
  "tools, their calls and results, all sent by the client": {
    turns: (d) => [
      d.ask(GREET, { ...d.tools, ...d.forced }),
      (answer) => ({ ...d.several([user(GREET), ...d.said(answer), ...d.results(answer)]), ...d.tools }),
    ],
  },
  "a remembered turn": {
    memory: true,
    turns: (d) => [d.ask("My name is Alex."), d.ask("What is my name?")],
    sent: { chat: 3, responses: 3, messages: 3 },
  },
  "a remembered image": {
    memory: true,
    turns: (d) => [d.ask(d.image), d.ask("hi")],
    sent: { chat: 3, responses: 3, messages: 3 },
  },
  "remembered calls, whose results alone are sent": {
    memory: true,
    turns: (d) => [
      d.ask(GREET, d.tools),
      (answer) => ({ ...d.several(d.results(answer)), ...d.tools }),
      d.ask("hi", d.tools),
    ],
    sent: { chat: 7, responses: 9, messages: 5 },
  },
  "remembered calls without results": {
    memory: true,
    turns: (d) => [d.ask(GREET, d.tools), d.ask("hi", d.tools)],
    sent: { chat: 6, responses: 8, messages: 4 },
  },
  "remembered thinking": {
    memory: true,
    turns: (d) => [
      d.ask(GREET, { ...d.tools, ...d.thinking }),
      (answer) => ({ ...d.several(d.results(answer)), ...d.tools, ...d.thinking }),
      d.ask("hi", { ...d.tools, ...d.thinking }),
    ],
    sent: { chat: 7, responses: 9, messages: 5 },
  },
};

const missing = await whyUnchecked();
if (missing) console.log(`Requests are not checked against the specifications: ${missing}`);

let sandbox, upstream, gateway;
before(async () => {
  if (missing) return;
  sandbox = await startSandbox();
  upstream = await startCheckedUpstream(sandbox);
  const { OPENROUTER_API_KEY, ...vars } = sandboxVars(upstream);
  gateway = await startGateway({ vars });
});
after(async () => {
  await gateway?.stop();
  await upstream?.close();
  await sandbox?.close();
});

/** Sends a body; gives the answer's JSON, or its text where it is a stream. */
async function send(path, body, headers) {
  const response = await fetch(gateway.baseURL + path, {
    method: "POST",
    headers: {
      authorization: `Bearer ${gateway.key}`,
      "content-type": "application/json",
      ...(path.startsWith("/messages") && { "anthropic-version": "2023-06-01" }),
      ...headers,
    },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  assert.equal(response.status, 200, `${path}: ${text}`);
  return body.stream ? text : JSON.parse(text);
}

/** Runs `work` and gives what the provider was sent meanwhile: `[{path, body, wrong}]`. */
async function seen(work) {
  const from = upstream.requests.length;
  await work();
  return upstream.requests
    .slice(from)
    .map(({ path, raw, wrong }) => ({ path, body: JSON.parse(raw), wrong }));
}

/** The messages or items of a request, whatever its dialect. */
const conversationOf = ({ messages, input }) =>
  (messages ?? [input].flat()).filter(({ role }) => role !== "system");

for (const [dialect, forms] of Object.entries(DIALECTS)) {
  for (const [provider, model] of Object.entries(MODELS)) {
    // Of Google's own API there is no document; its chat is held to OpenAI's.
    if (provider === "google" && dialect !== "chat") continue;
    const skip = missing ?? false;
    for (const [what, { turns, memory, sent }] of Object.entries(REQUESTS)) {
      test(`${dialect} to ${provider}: ${what}, within the specification`, { skip }, async () => {
        const headers = memory ? memoryHeaders(newThread()) : {};
        const all = turns(forms);
        const requests = await seen(async () => {
          let answer;
          for (const turn of all) {
            const body = typeof turn === "function" ? turn(answer) : turn;
            answer = await send(forms.path, { model, ...body }, headers);
          }
        });
        assert.deepEqual(
          requests.flatMap(({ path, wrong }) => wrong.map((one) => `${path}: ${one}`)),
          [],
        );
        assert.equal(requests.length, all.length);
        const last = requests.at(-1);
        const wireDialect = Object.keys(DIALECTS).find((one) => last.path.endsWith(DIALECTS[one].path));
        // Translated, results and what is said beside them may share an element.
        if (sent && wireDialect === dialect)
          assert.equal(conversationOf(last.body).length, sent[wireDialect], JSON.stringify(last.body));
      });
    }

    test(`${dialect} to ${provider}: streams, within the specification`, { skip }, async () => {
      const headers = memoryHeaders(newThread());
      const requests = await seen(async () => {
        for (const text of [GREET, "hi"])
          await send(forms.path, { model, ...forms.ask(text, forms.tools), stream: true }, headers);
      });
      assert.deepEqual(
        requests.map(({ wrong, body }) => [wrong, body.stream]),
        [1, 2].map(() => [[], true]),
      );
    });
  }
}

/** Which dialect begins a thread and which goes on with it; the first two turns hold a call with its results. */
for (const [first, then] of [
  ["chat", "responses"],
  ["chat", "messages"],
  ["responses", "chat"],
  ["responses", "messages"],
  ["messages", "chat"],
  ["messages", "responses"],
]) {
  const at = (dialect) => (dialect === "messages" ? MODELS.anthropic : MODELS.openai);
  test(
    `a thread begun in ${first} goes on in ${then} within the specification`,
    { skip: missing ?? false },
    async () => {
      const headers = memoryHeaders(newThread());
      const [begun, next] = [DIALECTS[first], DIALECTS[then]];
      const requests = await seen(async () => {
        const more = { ...begun.tools, ...(first === "messages" && begun.thinking) };
        const model = at(first);
        const answer = await send(begun.path, { model, ...begun.ask(GREET, more) }, headers);
        await send(begun.path, { model, ...begun.several(begun.results(answer)), ...more }, headers);
        await send(begun.path, { model, ...begun.ask(begun.image, more) }, headers);
        await send(next.path, { model: at(then), ...next.ask("hi", next.tools) }, headers);
      });
      assert.deepEqual(
        requests.flatMap(({ wrong }) => wrong),
        [],
      );
      const { body } = requests.at(-1);
      assert.equal(
        conversationOf(body).length,
        { chat: 9, responses: 11, messages: 7 }[then],
        JSON.stringify(body),
      );
      assert.ok(JSON.stringify(body).includes(PNG), "the image is gone");
    },
  );
}

for (const [what, { dialect, body, knobs = "" }] of Object.entries(BEGINNINGS)) {
  for (const [then, next] of Object.entries(DIALECTS)) {
    const skip = missing ?? false;
    test(`${what}: remembered, it goes on in ${then} within the specification`, { skip }, async () => {
      const headers = memoryHeaders(newThread());
      const at = (one) => (one === "messages" ? MODELS.anthropic : MODELS.openai);
      const requests = await seen(async () => {
        await send(DIALECTS[dialect].path, { model: at(dialect) + knobs, ...body }, headers);
        await send(next.path, { model: at(then), ...next.ask("hi", next.tools) }, headers);
      });
      assert.deepEqual(
        requests.flatMap(({ wrong }) => wrong),
        [],
        JSON.stringify(requests.at(-1).body),
      );
    });
  }
}

const NEAR = { type: "approximate", country: "DE", city: "Bonn" };
const GRAMMAR = { syntax: "lark", definition: "start: /.+/" };

for (const [what, path, provider, body] of [
  [
    "a search of the web, from Chat,",
    "/chat/completions",
    "anthropic",
    {
      messages: [user("hi")],
      web_search_options: { user_location: { type: "approximate", approximate: { city: "Bonn" } } },
    },
  ],
  [
    "a search of the web, from Responses,",
    "/responses",
    "anthropic",
    {
      input: "hi",
      max_tool_calls: 2,
      tools: [{ type: "web_search", filters: { allowed_domains: ["a.test"] }, user_location: NEAR }],
    },
  ],
  [
    "a search of the web, from Messages,",
    "/messages",
    "openai",
    {
      max_tokens: 100,
      messages: [user("hi")],
      tools: [
        {
          type: "web_search_20250305",
          name: "web_search",
          max_uses: 2,
          allowed_domains: ["a.test"],
          user_location: NEAR,
        },
      ],
    },
  ],
  [
    "a custom tool, from Chat,",
    "/chat/completions",
    "anthropic",
    {
      messages: [user("Use the patch tool.")],
      tools: [{ type: "custom", custom: { name: "patch", format: { type: "grammar", grammar: GRAMMAR } } }],
    },
  ],
  [
    "a custom tool, from Responses,",
    "/responses",
    "anthropic",
    {
      input: "Use the patch tool.",
      tools: [{ type: "custom", name: "patch", format: { type: "grammar", ...GRAMMAR } }],
      tool_choice: { type: "custom", name: "patch" },
    },
  ],
]) {
  test(`${what} reaches ${provider} within the specification`, { skip: missing ?? false }, async () => {
    const requests = await seen(() => send(path, { model: MODELS[provider], ...body }));
    assert.deepEqual(
      requests.map(({ wrong }) => wrong),
      [[]],
    );
    assert.equal(requests[0].body.tools.length, 1);
  });
}

for (const [what, body] of [
  ["one text", { input: "a" }],
  ["two texts as floats", { input: ["a", "b"], encoding_format: "float" }],
  ["tokens of 8 dimensions", { input: [1, 2], dimensions: 8 }],
]) {
  test(`embeddings of ${what}, within the specification`, { skip: missing ?? false }, async () => {
    const requests = await seen(() =>
      send("/embeddings", { model: "openai/text-embedding-3-small", ...body }),
    );
    assert.deepEqual(
      requests.map(({ wrong }) => wrong),
      [[]],
    );
  });
}

test("tokens are counted within the specification", { skip: missing ?? false }, async () => {
  const { ask, tools } = DIALECTS.messages;
  const { max_tokens, ...body } = ask("hi", tools);
  const requests = await seen(() => send("/messages/count_tokens", { model: MODELS.anthropic, ...body }));
  assert.deepEqual(
    requests.map(({ wrong }) => wrong),
    [[]],
  );
});

for (const [what, path, model, body] of [
  ["a number for content", "/chat/completions", "openai", { messages: [user(7)] }],
  [
    "a tool's message without an id",
    "/chat/completions",
    "openai",
    { messages: [{ role: "tool", content: "a" }] },
  ],
  ["Chat's parts in Responses", "/responses", "openai", { input: [user([{ type: "text", text: "hi" }])] }],
  [
    "Chat's parts in Messages",
    "/messages",
    "anthropic",
    { max_tokens: 1, messages: [user([{ type: "image_url" }])] },
  ],
  ["a missing max_tokens", "/messages", "anthropic", { messages: [user("hi")] }],
]) {
  test(`the check finds ${what}`, { skip: missing ?? false }, async () => {
    const requests = await seen(() => send(path, { model: MODELS[model], ...body }).catch(() => {}));
    assert.deepEqual(
      requests.map(({ wrong }) => wrong.length > 0),
      [true],
    );
  });
}
