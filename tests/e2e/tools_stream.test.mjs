// Owns: streamed answers of several rounds, in which the model calls the gateway's tools, as official clients read them.
// Invariant: what a test waits for is said by the one that it waits for, never by a clock; each test has a provider's script
// of its own, found by what its prompt is about.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import { directBaseURL } from "./direct.mjs";
import { memoryHeaders, messagesOf, newThread, openai, post, until, user } from "./conversation.mjs";
import { sandboxVars, startGateway, startSandbox } from "./gateway.mjs";
import { send, startUpstream } from "./wire.mjs";

let sandbox, provider, engine, gateway;
/** What the provider does, round by round, by what the prompt is about. */
const scripts = new Map();
/** Searches that wait to be answered, by their query. */
const searches = new Map();

before(async () => {
  [sandbox, provider] = await Promise.all([startSandbox(), startUpstream()]);
  provider.answer = async (res, entry) => {
    const [, rounds] = [...scripts].find(([about]) => entry.raw.includes(about)) ?? [];
    const round = rounds?.shift();
    // The script is over, or this is somebody who looks for another server.
    if (!round) return res.writeHead(404).end();
    entry.body = JSON.parse(entry.raw);
    await round(res, entry);
  };
  engine = createServer((request, response) => {
    const query = new URL(request.url, "http://engine").searchParams.get("q") ?? "";
    const answer = () => {
      const results = [{ title: "Tides", url: "https://tides.example/high", content: `About ${query}.` }];
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ results }));
    };
    const search = { answer, gone: false };
    response.on("close", () => (search.gone = !response.writableFinished));
    searches.set(query, search);
    if (!query.startsWith("held")) answer();
  }).listen(0, "127.0.0.1");
  await once(engine, "listening");
  gateway = await startGateway({
    vars: {
      ...sandboxVars(sandbox),
      PROVIDERS: JSON.stringify({ scripted: { base_url: `${provider.url}/v1` } }),
      WEB_SEARCH: "searxng",
      SEARXNG_BASE_URL: `http://127.0.0.1:${engine.address().port}`,
      CIRCUIT_FAILURES: "1000",
    },
  });
});
after(async () => {
  await gateway?.stop();
  await Promise.all([sandbox?.close(), provider?.close()]);
  engine?.closeAllConnections();
  engine?.close();
});

const MODEL = "scripted/model";
const SEARCH = { "x-gateway-tools": "web_search" };
/** A prompt about something that no other test speaks of, and what the provider does with it. */
function scripted(...rounds) {
  const about = `tides-${randomUUID()}`;
  scripts.set(about, rounds);
  return about;
}
const promptsAbout = (about) => provider.requests.filter(({ raw }) => raw.includes(about));

const chunk = (res, choice, more = {}) =>
  res.write(
    `data: ${JSON.stringify({
      ...{ id: "x", object: "chat.completion.chunk", created: 1, model: "model" },
      ...{ choices: choice ? [{ index: 0, finish_reason: null, ...choice }] : [] },
      ...more,
    })}\n\n`,
  );
const begin = (res) => res.writeHead(200, { "content-type": "text/event-stream" });
const say = (res, content) => chunk(res, { delta: { content } });
function call(res, name, args, index = 0) {
  const id = `call_${name}_${index}`;
  chunk(res, { delta: { tool_calls: [{ index, id, type: "function", function: { name, arguments: "" } }] } });
  for (const piece of JSON.stringify(args).match(/.{1,7}/g))
    chunk(res, { delta: { tool_calls: [{ index, function: { arguments: piece } }] } });
}
function finish(res, finish_reason) {
  chunk(res, { delta: {}, finish_reason });
  const usage = { prompt_tokens: 100, completion_tokens: 10, total_tokens: 110 };
  chunk(res, null, { usage });
  res.end("data: [DONE]\n\n");
}
/** A round that says something and looks it up. */
const looks =
  (query, words = "I look.") =>
  (res) => {
    begin(res);
    if (words) say(res, words);
    call(res, "web_search", { query });
    finish(res, "tool_calls");
  };
/** A round that answers. */
const answers = (words) => (res) => {
  begin(res);
  for (const piece of words.match(/.{1,5}/gs)) say(res, piece);
  finish(res, "stop");
};

/** What was said of an answer that broke off is kept in its thread, as texts and kinds of parts. */
async function assertKept(thread, parts) {
  const [, kept] = await until(async () => {
    const { messages } = await messagesOf(gateway, thread);
    return messages.length === 2 && messages;
  }, "the turn");
  assert.equal(kept.status, "incomplete");
  assert.deepEqual(
    kept.content.map(({ type, text }) => text ?? type),
    parts,
  );
}

/** One streamed question in each dialect: `ask` gives the words one by one and in the end what is known of the answer. */
const CLIENTS = {
  chat: async function* (about, headers) {
    const body = {
      ...{ model: MODEL, stream: true, stream_options: { include_usage: true } },
      messages: [user(about)],
    };
    const ids = new Set();
    let stop, usage;
    for await (const event of await openai(gateway).chat.completions.create(body, { headers })) {
      ids.add(event.id);
      const [choice] = event.choices;
      assert.equal(choice?.delta.tool_calls, undefined);
      if (choice?.delta.content) yield choice.delta.content;
      stop ??= choice?.finish_reason;
      usage = event.usage ?? usage;
    }
    assert.equal(ids.size, 1);
    return { stop, input: usage.prompt_tokens, output: usage.completion_tokens };
  },
  responses: async function* (about, headers) {
    const stream = openai(gateway).responses.stream({ model: MODEL, input: about }, { headers });
    let sequence = 0;
    for await (const event of stream) {
      assert.equal(event.sequence_number, sequence++);
      if (event.type === "response.output_text.delta") yield event.delta;
    }
    const { status, output, usage } = await stream.finalResponse();
    assert.deepEqual([...new Set(output.map(({ type }) => type))], ["message"]);
    return { stop: status, input: usage.input_tokens, output: usage.output_tokens };
  },
  messages: async function* (about, headers) {
    const client = new Anthropic({ apiKey: gateway.key, baseURL: gateway.url, maxRetries: 0 });
    const stream = client.messages.stream(
      { model: MODEL, max_tokens: 500, messages: [user(about)] },
      { headers },
    );
    for await (const event of stream) if (event.delta?.type === "text_delta") yield event.delta.text;
    const { stop_reason, usage, content } = await stream.finalMessage();
    assert.deepEqual([...new Set(content.map(({ type }) => type))], ["text"]);
    return { stop: stop_reason, input: usage.input_tokens, output: usage.output_tokens };
  },
};
const STOPS = { chat: "stop", responses: "completed", messages: "end_turn" };

for (const [dialect, ask] of Object.entries(CLIENTS))
  test(`${dialect}: words come while the tools are still at work, as one answer with the tokens of all rounds`, async () => {
    const query = `held ${randomUUID()}`;
    const about = scripted(looks(query), answers("So it is, at noon."));
    const answer = ask(about, SEARCH);
    let text = (await answer.next()).value;
    assert.equal(text, "I look.");
    // The search has not been answered when the first words are here.
    await until(() => searches.has(query), "the search");
    searches.get(query).answer();
    let step;
    while (!(step = await answer.next()).done) text += step.value;
    assert.equal(text, "I look.\n\nSo it is, at noon.");
    assert.deepEqual(step.value, { stop: STOPS[dialect], input: 200, output: 20 });
    const [first, second] = promptsAbout(about).map(({ body }) => body);
    assert.deepEqual([first.stream, second.stream], [true, true]);
    assert.deepEqual(
      second.messages.map(({ role }) => role),
      ["user", "assistant", "tool"],
    );
  });

test("a provider that speaks the client's own dialect is asked round by round, too, and its thoughts come back to it", async () => {
  const thread = newThread();
  const headers = { ...memoryHeaders(thread), "x-gateway-tools": "recall" };
  const client = new Anthropic({ apiKey: gateway.key, baseURL: gateway.url, maxRetries: 0 });
  const said = [];
  for (const text of ['Use the recall tool for "tides".', "And now?"]) {
    said.push(user(text));
    const body = {
      ...{ model: "anthropic/claude-sonnet-4-5", max_tokens: 4000, messages: said },
      thinking: { type: "enabled", budget_tokens: 1024 },
    };
    const message = await client.messages.stream(body, { headers }).finalMessage();
    assert.ok(message.content.every(({ type }) => type !== "tool_use"));
    assert.equal(message.stop_reason, "end_turn");
    said.push({ role: "assistant", content: message.content });
  }
  const asked = sandbox.requests
    .filter(({ body }) => body?.model === "claude-sonnet-4-5")
    .map(({ body }) => body);
  assert.deepEqual(
    asked.map(({ stream, messages }) => [stream, messages.length]),
    [
      [true, 1],
      [true, 3],
      [true, 5],
    ],
  );
  // The thoughts that led to the call are there again, sealed by their maker, as are the call and what it gave.
  const [, { content }] = asked.at(-1).messages;
  assert.deepEqual(
    content.map(({ type }) => type),
    ["thinking", "tool_use"],
  );
  assert.doesNotMatch(JSON.stringify(asked), /mgw1/);
  const stream = openai(gateway).responses.stream(
    { model: "openai/gpt-5.4-mini", input: 'Use the recall tool for "tides".' },
    { headers: { ...memoryHeaders(newThread()), "x-gateway-tools": "recall" } },
  );
  const { status, output } = await stream.finalResponse();
  assert.equal(status, "completed");
  assert.ok(output.every(({ type }) => type !== "function_call"));
});

/** A streamed question as bytes. */
const asBytes = (path, body, headers, base = gateway.baseURL) =>
  send(`${base}${path}`, {
    headers: {
      authorization: `Bearer ${gateway.key}`,
      "content-type": "application/json",
      ...headers,
    },
    body: JSON.stringify(body),
  });

for (const [path, body, alive] of [
  ["/chat/completions", (about) => ({ messages: [user(about)] }), ": the gateway's tools are at work"],
  ["/responses", (about) => ({ input: about }), ": the gateway's tools are at work"],
  ["/messages", (about) => ({ messages: [user(about)], max_tokens: 9 }), 'data: {"type":"ping"}'],
])
  test(`${path}: while the tools are at work the connection is kept alive`, async () => {
    const query = `held ${randomUUID()}`;
    const about = scripted(looks(query, ""), answers("Done."));
    const answer = await asBytes(path, { model: MODEL, stream: true, ...body(about) }, SEARCH);
    await answer.seen(alive);
    await until(() => searches.has(query), "the search");
    searches.get(query).answer();
    const { clean, bytes } = await answer.ended;
    assert.ok(clean);
    assert.ok(bytes.toString().includes("Done."));
  });

test("a round that breaks off ends the stream as broken, and what was said is kept as incomplete", async () => {
  for (const [path, body, failed] of [
    ["/chat/completions", (about) => ({ messages: [user(about)] }), '"error":{'],
    ["/responses", (about) => ({ input: about }), "event: response.failed"],
    ["/messages", (about) => ({ messages: [user(about)], max_tokens: 9 }), "event: error"],
  ]) {
    let last;
    const about = scripted(looks(`short ${randomUUID()}`), (res) => {
      last = res;
      begin(res);
      say(res, "So it");
    });
    const thread = newThread();
    const headers = { ...SEARCH, ...memoryHeaders(thread) };
    const answer = await asBytes(path, { model: MODEL, stream: true, ...body(about) }, headers);
    await answer.seen("So it");
    last.destroy();
    const { bytes, clean } = await answer.ended;
    const text = bytes.toString();
    assert.deepEqual([answer.status, clean], [200, false], text);
    assert.ok(text.includes(failed), text);
    assert.ok(!text.includes("[DONE]") && !text.includes("message_stop"), text);
    await assertKept(thread, ["I look.", "tool_call", "tool_result", "\n\nSo it"]);
  }
});

test("a client that leaves in a round has the provider let go, and what was said is kept", async () => {
  let entry;
  const about = scripted(looks(`short ${randomUUID()}`), (res, round) => {
    entry = round;
    begin(res);
    say(res, "So it is");
  });
  const thread = newThread();
  const body = { model: MODEL, stream: true, messages: [user(about)] };
  const headers = { ...SEARCH, ...memoryHeaders(thread) };
  const answer = await asBytes("/chat/completions", body, headers, await directBaseURL(gateway));
  await answer.seen("So it is");
  answer.leave();
  await until(() => entry.closed, "the provider is let go");
  await assertKept(thread, ["I look.", "tool_call", "tool_result", "\n\nSo it is"]);
});

test("a client that leaves while a tool is at work has the tool let go, and what was said is kept", async () => {
  const query = `held ${randomUUID()}`;
  const about = scripted(looks(query));
  const thread = newThread();
  const body = { model: MODEL, stream: true, messages: [user(about)] };
  const headers = { ...SEARCH, ...memoryHeaders(thread) };
  const answer = await asBytes("/chat/completions", body, headers, await directBaseURL(gateway));
  await answer.seen("at work");
  await until(() => searches.has(query), "the search");
  answer.leave();
  await until(() => searches.get(query).gone, "the search is let go");
  await assertKept(thread, ["I look."]);
  assert.equal(promptsAbout(about).length, 1);
});

test("the deadline of the whole request ends a later round that says no more", async () => {
  for (const [path, kind] of [
    ["/chat/completions", "upstream_error"],
    ["/messages", "api_error"],
  ]) {
    const about = scripted(looks(`short ${randomUUID()}`), (res) => {
      begin(res);
      say(res, "So it");
    });
    const body = { model: MODEL, stream: true, max_tokens: 99, messages: [user(about)] };
    const answer = await asBytes(path, body, { ...SEARCH, "x-gateway-timeout-ms": "4000" });
    const { bytes, clean } = await answer.ended;
    const events = [...bytes.toString().matchAll(/^data: (.*)$/gm)].map(([, event]) => event);
    const { message, type } = JSON.parse(events.at(-1)).error;
    assert.deepEqual([answer.status, clean, type], [200, false, kind], message);
    assert.match(message, /`scripted` broke off/);
    assert.match(events.at(-2), /So it/);
  }
});

test("a later round that fails before its first word is asked again, and the attempts are counted", async () => {
  const fails = (res) => res.writeHead(503).end("{}");
  const whole = (choice) => (res) =>
    res
      .writeHead(200, { "content-type": "application/json" })
      .end(JSON.stringify({ id: "x", object: "chat.completion", choices: [{ index: 0, ...choice }] }));
  const tool_calls = [
    { id: "c", type: "function", function: { name: "web_search", arguments: '{"query":"short"}' } },
  ];
  const about = scripted(
    whole({ message: { role: "assistant", content: null, tool_calls }, finish_reason: "tool_calls" }),
    fails,
    whole({ message: { role: "assistant", content: "At noon." }, finish_reason: "stop" }),
  );
  const answer = await post(
    gateway,
    "/chat/completions",
    { model: MODEL, messages: [user(about)] },
    { headers: SEARCH },
  );
  const { choices } = await answer.json();
  assert.equal(choices[0].message.content, "At noon.");
  assert.equal(answer.headers.get("x-gateway-attempts"), "3");

  const streamed = scripted(looks("short"), fails, answers("At noon."));
  let text = "";
  for await (const words of CLIENTS.chat(streamed, SEARCH)) text += words;
  assert.equal(text, "I look.\n\nAt noon.");
});

const WEATHER = {
  type: "function",
  function: { name: "get_weather", parameters: { type: "object", properties: { city: { type: "string" } } } },
};
/** A round that calls a tool of the gateway's and one of the client's. */
const looksAndAsks = (query) => (res) => {
  begin(res);
  say(res, "Both.");
  call(res, "web_search", { query }, 0);
  call(res, "get_weather", { city: "Brest" }, 1);
  finish(res, "tool_calls");
};

/**
 * The two turns of a round that calls both, in each dialect: `ask` gives the call that the client sees and what it sends
 * back with the result; the answer to that is a text.
 */
const MIXED = {
  chat: async (messages, { stream, headers }) => {
    const body = { model: MODEL, messages, tools: [WEATHER] };
    const { completions } = openai(gateway).chat;
    const answer = stream
      ? await completions.stream(body, { headers }).finalChatCompletion()
      : await completions.create(body, { headers });
    const [{ message }] = answer.choices;
    const calls = (message.tool_calls ?? []).map(({ id, function: { name } }) => ({ id, name }));
    const result = ({ id }) => ({ role: "tool", tool_call_id: id, content: "Rain." });
    return { calls, text: message.content, next: [...messages, message, ...calls.map(result)] };
  },
  responses: async (input, { stream, headers }) => {
    const tools = [{ type: "function", ...WEATHER.function, strict: false }];
    const { responses } = openai(gateway);
    const body = { model: MODEL, input, tools };
    const answer = stream
      ? await responses.stream(body, { headers }).finalResponse()
      : await responses.create(body, { headers });
    const called = answer.output.filter(({ type }) => type === "function_call");
    const result = ({ call_id }) => ({ type: "function_call_output", call_id, output: "Rain." });
    return {
      calls: called.map(({ call_id, name }) => ({ id: call_id, name })),
      text: answer.output_text,
      next: [...input, ...answer.output, ...called.map(result)],
    };
  },
  messages: async (messages, { stream, headers }) => {
    const client = new Anthropic({ apiKey: gateway.key, baseURL: gateway.url, maxRetries: 0 });
    const tools = [{ name: "get_weather", input_schema: WEATHER.function.parameters }];
    const body = { model: MODEL, max_tokens: 500, messages, tools };
    const answer = stream
      ? await client.messages.stream(body, { headers }).finalMessage()
      : await client.messages.create(body, { headers });
    const called = answer.content.filter(({ type }) => type === "tool_use");
    const result = ({ id }) => ({ type: "tool_result", tool_use_id: id, content: "Rain." });
    const results = called.length > 0 ? [{ role: "user", content: called.map(result) }] : [];
    return {
      calls: called.map(({ id, name }) => ({ id, name })),
      text: answer.content.map(({ text }) => text ?? "").join(""),
      next: [...messages, { role: "assistant", content: answer.content }, ...results],
    };
  },
};

const asWhole = (round) => async (res, entry) => {
  if (entry.body.stream) return round(res, entry);
  // The same round, put together.
  const message = { role: "assistant", content: "", tool_calls: [] };
  let stop;
  const collect = {
    writeHead: () => {},
    write: (event) => {
      const [choice] = JSON.parse(event.slice("data: ".length)).choices;
      message.content += choice?.delta?.content ?? "";
      for (const { index, ...call } of choice?.delta?.tool_calls ?? []) {
        if (message.tool_calls[index])
          message.tool_calls[index].function.arguments += call.function.arguments;
        else message.tool_calls[index] = call;
      }
      stop = choice?.finish_reason ?? stop;
    },
    end: () => {},
  };
  round(collect, entry);
  if (message.tool_calls.length === 0) delete message.tool_calls;
  const usage = { prompt_tokens: 100, completion_tokens: 10, total_tokens: 110 };
  const choices = [{ index: 0, message, finish_reason: stop }];
  res
    .writeHead(200, { "content-type": "application/json" })
    .end(JSON.stringify({ id: "x", object: "chat.completion", choices, usage }));
};

for (const [dialect, ask] of Object.entries(MIXED))
  for (const stream of [true, false])
    for (const memory of [true, false])
      test(`${dialect}, ${stream ? "streamed" : "whole"}, ${memory ? "with" : "without"} memory: a round that calls both tools is the client's`, async () => {
        const query = `short ${randomUUID()}`;
        const about = scripted(
          ...[looksAndAsks(query), looks(`short ${randomUUID()}`, "One more."), answers("Take a coat.")].map(
            asWhole,
          ),
        );
        const headers = { ...SEARCH, ...(memory && memoryHeaders(newThread())) };
        const first = await ask([user(about)], { stream, headers });
        assert.deepEqual(first.calls, [{ id: "call_get_weather_1", name: "get_weather" }]);
        assert.equal(first.text, "Both.");
        // Without memory nothing could keep what was found.
        assert.equal(searches.has(query), memory);
        const second = await ask(first.next, { stream, headers });
        assert.deepEqual([second.calls, second.text], [[], "One more.\n\nTake a coat."]);
        const [, prompt] = promptsAbout(about).map(({ body }) => body);
        const called = (message) => message.tool_calls?.map(({ function: { name } }) => name);
        assert.deepEqual(
          prompt.messages.map((message) => [message.role, called(message) ?? message.tool_call_id]),
          memory
            ? [
                ["user", undefined],
                ["assistant", ["web_search", "get_weather"]],
                ["tool", "call_web_search_0"],
                ["tool", "call_get_weather_1"],
              ]
            : [
                ["user", undefined],
                ["assistant", ["get_weather"]],
                ["tool", "call_get_weather_1"],
              ],
        );
      });

test("a finished request that comes again gets the same answer without another search", async () => {
  const query = `short ${randomUUID()}`;
  const about = scripted(...[looks(query, ""), answers("At noon.")].map(asWhole));
  const [thread, key] = [newThread(), randomUUID()];
  const ask = () =>
    post(
      gateway,
      "/chat/completions",
      { model: MODEL, messages: [user(about)] },
      { thread, headers: { ...SEARCH, "idempotency-key": key } },
    );
  const first = await ask();
  const said = await first.text();
  assert.match(said, /At noon/);
  searches.delete(query);
  const again = await ask();
  assert.deepEqual([again.status, await again.text()], [200, said]);
  assert.equal(again.headers.get("idempotency-replayed"), "true");
  assert.deepEqual([searches.has(query), promptsAbout(about).length], [false, 2]);
});

test("what was looked up is shown to a client that asks for it, beside what was said, and to no other", async () => {
  const headers = { ...SEARCH, "x-gateway-tools-show": "steps" };
  const chatBody = (about) => ({ messages: [user(about)] });
  const bodies = {
    "/chat/completions": chatBody,
    "/responses": (about) => ({ input: about }),
    "/messages": (about) => ({ ...chatBody(about), max_tokens: 9 }),
  };
  for (const [path, body] of Object.entries(bodies))
    for (const stream of [true, false]) {
      const query = `short ${randomUUID()}`;
      const about = scripted(...[looks(query, ""), answers("At noon.")].map(asWhole));
      const answer = await post(gateway, path, { model: MODEL, stream, ...body(about) }, { headers });
      const text = await answer.text();
      const events = text.split("\n").filter((line) => line.startsWith("data: {"));
      const parts = stream
        ? events.map((line) => JSON.parse(line.slice("data: ".length)))
        : [JSON.parse(text)];
      const told = parts.map((part) => (part.response ?? part).gateway_steps).filter(Boolean);
      assert.equal(told.length, 1, text);
      const [[{ result, ...step }]] = told;
      const sources = [{ title: "Tides", url: "https://tides.example/high", date: null }];
      assert.deepEqual(step, { tool: "web_search", arguments: { query }, is_error: false, sources });
      assert.match(result, /\[1\] Tides/);
    }
  const about = scripted(...[looks("short", ""), answers("At noon.")].map(asWhole));
  const plain = await post(
    gateway,
    "/chat/completions",
    { model: MODEL, ...chatBody(about) },
    { headers: SEARCH },
  );
  assert.doesNotMatch(await plain.text(), /gateway_steps/);
  const refused = await post(
    gateway,
    "/chat/completions",
    { model: MODEL, ...chatBody("x") },
    { headers: { ...headers, "x-gateway-tools-show": "all" } },
  );
  assert.equal((await refused.json()).error.param, "x-gateway-tools-show");
});
