// Owns: answers for which the model calls the gateway's tools, as clients of the three dialects see them.
// Invariant: each test has a thread of its own; prompts are picked from the provider's log by their content.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { once } from "node:events";
import { after, before, test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import { MODEL, memoryHeaders, messagesOf, newThread, openai, post, refused, user } from "./conversation.mjs";
import { sandboxVars, startGateway, startSandbox } from "./gateway.mjs";

let sandbox, engine, gateway;
before(async () => {
  sandbox = await startSandbox();
  engine = createServer((request, response) => {
    const query = new URL(request.url, "http://engine").searchParams.get("q") ?? "";
    if (query.includes("broken")) {
      response.writeHead(500).end();
      return;
    }
    const results = [{ title: "Tides", url: "https://tides.example/high", content: `About ${query}.` }];
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ results }));
  }).listen(0, "127.0.0.1");
  await once(engine, "listening");
  gateway = await startGateway({
    vars: {
      ...sandboxVars(sandbox),
      WEB_SEARCH: "searxng",
      SEARXNG_BASE_URL: `http://127.0.0.1:${engine.address().port}`,
    },
  });
});
after(async () => {
  await gateway?.stop();
  await sandbox?.close();
  engine?.close();
});

const SEARCH = { "x-gateway-tools": "web_search" };
const asking = (about) => `Use the web_search tool for "${about}".`;
const promptsAbout = (about) =>
  sandbox.requests.filter(({ body }) => JSON.stringify(body ?? "").includes(about)).map(({ body }) => body);

test("a chat client that knows of no tools gets one answer from two rounds, with the tokens of both", async () => {
  const about = "spring tides at Brest";
  const answer = await openai(gateway).chat.completions.create(
    { model: MODEL, messages: [user(asking(about))] },
    { headers: SEARCH },
  );
  const [{ message, finish_reason }] = answer.choices;
  assert.match(message.content, /tides\.example/);
  assert.deepEqual([finish_reason, message.tool_calls], ["stop", undefined]);
  const prompts = promptsAbout(about);
  assert.deepEqual(
    prompts.map(({ tools, messages }) => [tools[0].function.name, messages.map(({ role }) => role)]),
    [
      ["web_search", ["user"]],
      ["web_search", ["user", "assistant", "tool"]],
    ],
  );
  assert.ok(answer.usage.prompt_tokens > 100, JSON.stringify(answer.usage));
});

test("streams of chat and Responses say the same in one beginning and one end", async () => {
  const client = openai(gateway);
  const stream = await client.chat.completions.create(
    { model: MODEL, messages: [user(asking("neap tides"))], stream: true },
    { headers: SEARCH },
  );
  let text = "";
  const ids = new Set();
  const ends = [];
  for await (const { id, choices } of stream) {
    ids.add(id);
    text += choices[0]?.delta?.content ?? "";
    assert.equal(choices[0]?.delta?.tool_calls, undefined);
    if (choices[0]?.finish_reason) ends.push(choices[0].finish_reason);
  }
  assert.match(text, /tides\.example/);
  assert.deepEqual([ids.size, ends], [1, ["stop"]]);

  const response = await client.responses.create(
    { model: "mistral/small", input: asking("ebb tides") },
    { headers: SEARCH },
  );
  assert.match(response.output_text, /tides\.example/);
  const next = await client.responses.create(
    { model: "mistral/small", input: "How many messages do you see?", previous_response_id: response.id },
    { headers: { "x-gateway-tools": "none" } },
  );
  assert.equal(next.output_text, "3");
});

test("a client of Messages gets the answer without the calls", async () => {
  const client = new Anthropic({ apiKey: gateway.key, baseURL: gateway.url, maxRetries: 0 });
  const message = await client.messages.create(
    { model: MODEL.replace("openai", "mistral"), max_tokens: 500, messages: [user(asking("tidal bores"))] },
    { headers: SEARCH },
  );
  assert.deepEqual([...new Set(message.content.map(({ type }) => type))], ["text"]);
  assert.match(message.content[0].text, /tides\.example/);
  assert.equal(message.stop_reason, "end_turn");
});

test("a back end that fails is told to the model, and the answer goes on", async () => {
  const answer = await openai(gateway).chat.completions.create(
    { model: MODEL, messages: [user(asking("broken tides"))] },
    { headers: SEARCH },
  );
  assert.ok(answer.choices[0].message.content.length > 0);
  assert.equal(answer.choices[0].finish_reason, "stop");
});

test("what was looked up is kept inside the thread's one answer, and comes back into the next prompt", async () => {
  const thread = newThread();
  const client = openai(gateway);
  const headers = { ...memoryHeaders(thread), ...SEARCH };
  const first = user(asking("storm surges"));
  const { choices } = await client.chat.completions.create({ model: MODEL, messages: [first] }, { headers });
  const { messages } = await messagesOf(gateway, thread);
  assert.deepEqual(
    messages.map(({ role, content }) => [role, content.map(({ type }) => type)]),
    [
      ["user", ["text"]],
      ["assistant", ["tool_call", "tool_result", "text"]],
    ],
  );
  const second = [first, choices[0].message, user("And what of the storm surges of 1953?")];
  await client.chat.completions.create({ model: MODEL, messages: second }, { headers });
  const prompt = promptsAbout("storm surges of 1953").at(-1);
  assert.deepEqual(
    prompt.messages.map(({ role }) => role),
    ["user", "assistant", "tool", "assistant", "user"],
  );
});

test("what does not go with the tools is refused in words", async () => {
  const ask = async (body, tools) =>
    refused(
      await post(
        gateway,
        "/chat/completions",
        { model: MODEL, messages: [user("Hi")], ...body },
        {
          headers: { "x-gateway-tools": tools },
        },
      ),
    );
  const own = { type: "function", function: { name: "web_search", parameters: { type: "object" } } };
  for (const [body, tools, param] of [
    [{}, "shell", "x-gateway-tools"],
    [{}, "recall", "x-gateway-tools"],
    [{ n: 2 }, "web_search", "n"],
    [{ tools: [own] }, "web_search", "tools"],
    [{ tool_choice: { type: "function", function: { name: "web_search" } } }, "web_search", "tool_choice"],
  ]) {
    const error = await ask(body, tools);
    assert.deepEqual([error.status, error.param], [400, param], error.message);
  }
});
