// Owns: Vercel's AI SDK against every provider of the gateway, each of its clients with each kind of call.
// Invariant: one row is one client, one column one provider, and every cell runs every scenario. OpenRouter has no key
// here, so nothing is answered by a provider that the model's name does not say.
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, embedMany, generateText, isStepCount, Output, streamText, tool } from "ai";
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { z } from "zod";
import { memoryHeaders, newThread, stored } from "./conversation.mjs";
import { sandboxVars, startGateway, startSandbox } from "./gateway.mjs";
import { PNG } from "./histories.mjs";

const MODELS = {
  openai: "openai/gpt-5.4-mini",
  anthropic: "anthropic/claude-sonnet-4-5",
  google: "google/gemini-2.5-flash",
  extra: "extra/some-model",
};

const settings = (more) => ({ apiKey: gateway.key, baseURL: gateway.baseURL, ...more });
const compatible = (more) =>
  createOpenAICompatible(
    settings({ name: "gateway", includeUsage: true, supportsStructuredOutputs: true, ...more }),
  );

/** How each client names a model, and how it is told to think. */
const CLIENTS = {
  "openai chat": {
    model: (id, more) => createOpenAI(settings(more)).chat(id),
    thinking: { openai: { reasoningEffort: "low" } },
  },
  "openai responses": {
    model: (id, more) => createOpenAI(settings(more)).responses(id),
    thinking: { openai: { reasoningEffort: "low", forceReasoning: true } },
  },
  anthropic: {
    model: (id, more) => createAnthropic(settings(more))(id),
    thinking: { anthropic: { thinking: { type: "enabled", budgetTokens: 1024 } } },
  },
  "openai-compatible": {
    model: (id, more) => compatible(more)(id),
    thinking: { gateway: { reasoningEffort: "low" } },
  },
};

let sandbox, gateway;
before(async () => {
  sandbox = await startSandbox();
  const { OPENROUTER_API_KEY, ...vars } = sandboxVars(sandbox);
  const PROVIDERS = JSON.stringify({
    extra: { base_url: `${sandbox.url}/v1`, api_key_secret: "EXTRA_API_KEY" },
  });
  gateway = await startGateway({ vars: { ...vars, PROVIDERS, EXTRA_API_KEY: OPENROUTER_API_KEY } });
});
after(async () => {
  await gateway?.stop();
  await sandbox?.close();
});

/** The two ways to ask; both give the last step's text, its finish reason, its usage and all steps. */
const ASK = {
  whole: async (options) => {
    const { text, finishReason, usage, steps, output } = await generateText({ maxRetries: 0, ...options });
    return { text, finishReason, usage, steps, ...(options.output && { output }) };
  },
  streamed: async (options) => {
    let failure;
    const result = streamText({ maxRetries: 0, onError: ({ error }) => (failure = error), ...options });
    let written = "";
    for await (const part of result.textStream) written += part;
    if (failure) throw failure;
    const steps = await result.steps;
    assert.equal(written, steps.map(({ text }) => text).join(""));
    return {
      text: await result.text,
      finishReason: await result.finishReason,
      usage: await result.usage,
      steps,
      ...(options.output && { output: await result.output }),
    };
  },
};

const named = (description, answer) =>
  tool({
    description,
    inputSchema: z.object({ name: z.string() }),
    execute: async ({ name }) => answer(name),
  });
const tools = {
  helloWorld: named("Greets.", (name) => ({ greeting: `Hello, ${name}!` })),
  lookUpAge: named("Tells an age.", (name) => `${name} is 42.`),
};

/** What each kind of call must come to; `ask` is one of ASK, `cell` the client, the provider and the model. */
const SCENARIOS = {
  "a question is answered, with its usage": async (ask, { model, provider }) => {
    const { text, finishReason, usage, steps } = await ask({
      model,
      instructions: "You are a calculator.",
      prompt: "What is 10 * 5?",
      maxOutputTokens: 2_000,
    });
    assert.deepEqual([text, finishReason], ["50", "stop"]);
    assert.ok(usage.inputTokens > 0 && usage.outputTokens > 0, JSON.stringify(usage));
    assert.equal(steps[0].response.headers["x-gateway-provider"], provider);
  },

  "two tools called at once have their results answered": async (ask, { model }) => {
    const { text, finishReason, steps } = await ask({
      model,
      tools,
      prompt: "Call helloWorld and call lookUpAge for Alice.",
      stopWhen: isStepCount(3),
    });
    assert.deepEqual([text, finishReason], ["Hello, Alice!\nAlice is 42.", "stop"]);
    assert.deepEqual(
      steps.map((step) => [
        step.finishReason,
        step.toolCalls.map(({ toolName, input }) => [toolName, input]),
      ]),
      [
        ["tool-calls", ["helloWorld", "lookUpAge"].map((name) => [name, { name: "Alice" }])],
        ["stop", []],
      ],
    );
  },

  "a structured answer is an object of its schema": async (ask, { model }) => {
    const { output } = await ask({
      model,
      output: Output.object({ schema: z.object({ name: z.string(), age: z.int() }) }),
      prompt: "Say: Alex 42",
    });
    assert.deepEqual(output, { name: "Alex", age: 42 });
  },

  "an image is seen whole": async (ask, { model }) => {
    const content = [
      { type: "text", text: "What is in this image?" },
      { type: "file", data: PNG, mediaType: "image/png" },
    ];
    const { text } = await ask({ model, messages: [{ role: "user", content }] });
    assert.equal(text, `I see an image of ${Buffer.from(PNG, "base64").length} bytes of image/png data.`);
  },

  "thinking is asked for, and goes back with the tools' results": async (ask, cell) => {
    const { model, provider, client } = cell;
    const from = sandbox.requests.length;
    const { text, steps } = await ask({
      model,
      tools,
      providerOptions: CLIENTS[client].thinking,
      prompt: "Use the helloWorld tool to greet Bob.",
      stopWhen: isStepCount(3),
      maxOutputTokens: 4_000,
    });
    assert.equal(text, "Hello, Bob!");
    const requests = sandbox.requests.slice(from);
    assert.equal(requests.length, 2);
    // Anthropic takes no more thinking in a turn whose first thoughts the client has dropped.
    const drops = provider === "anthropic" && !["anthropic", "openai responses"].includes(client);
    for (const { body } of drops ? requests.slice(0, 1) : requests) {
      const said =
        body.thinking ??
        body.output_config ??
        body.reasoning ??
        body.reasoning_effort ??
        body.generationConfig?.thinkingConfig;
      assert.ok(said, `the provider was not told to think: ${JSON.stringify(body)}`);
    }
    if (client === "anthropic" && provider === "anthropic")
      for (const { reasoningText } of steps)
        assert.match(reasoningText, /The question begins "Use the hello/);
  },

  "a thread remembers what was said before": async (ask, { model }) => {
    const thread = newThread();
    const headers = memoryHeaders(thread);
    assert.equal((await ask({ model, headers, prompt: "My name is Alex." })).text, "Got it.");
    const { text } = await ask({ model, headers, prompt: "What is my name?" });
    assert.equal(text, "Alex");
    assert.deepEqual(
      (await stored(gateway, thread)).map(({ role, content }) => [role, content]),
      [
        ["user", "My name is Alex."],
        ["assistant", "Got it."],
        ["user", "What is my name?"],
        ["assistant", "Alex"],
      ],
    );
  },

  "a conversation that the client keeps goes on": async (ask, { model }) => {
    const said = [{ role: "user", content: "Hello." }];
    const { steps } = await ask({ model, messages: said });
    // As the client puts it: an answer's text, or (in Responses) a reference to the item that the provider keeps.
    said.push(...steps.at(-1).response.messages, { role: "user", content: "How many messages do you see?" });
    assert.equal((await ask({ model, messages: said })).text, "3");
  },

  "tool steps that are sent again are stored once": async (ask, { model }) => {
    const thread = newThread();
    const more = { model, tools, stopWhen: isStepCount(3), headers: memoryHeaders(thread) };
    const { text } = await ask({ ...more, prompt: "Call helloWorld and call lookUpAge for Alice." });
    assert.equal(text, "Hello, Alice!\nAlice is 42.");
    assert.equal((await ask({ ...more, prompt: "How many messages do you see?" })).text, "6");
    // The question, both calls, a result each, the answer, and the second turn's two.
    assert.equal((await stored(gateway, thread)).length, 7);
  },

  "a history of texts alone does not take away what tools said": async (ask, { model }) => {
    const said = [{ role: "user", content: "Use the helloWorld tool to greet Alice." }];
    const more = { model, tools, stopWhen: isStepCount(3), headers: memoryHeaders(newThread()) };
    const { text } = await ask({ ...more, messages: said });
    said.push(
      { role: "assistant", content: text },
      { role: "user", content: "How many messages do you see?" },
    );
    // Both questions, the call, its result and the answer.
    assert.equal((await ask({ ...more, messages: said })).text, "5");
  },
};

for (const [client, { model }] of Object.entries(CLIENTS)) {
  for (const [provider, id] of Object.entries(MODELS)) {
    for (const [what, scenario] of Object.entries(SCENARIOS)) {
      for (const [how, ask] of Object.entries(ASK)) {
        const name = `${client} with ${provider}, ${how}: ${what}`;
        test(name, () => scenario(ask, { client, provider, model: model(id) }));
      }
    }
  }

  test(`${client}: a wrong key is an APICallError that says so and is not worth a retry`, async () => {
    const asked = generateText({
      model: model(MODELS.openai, { apiKey: "msk_nobody_knows_this" }),
      prompt: "one",
      maxRetries: 0,
    });
    await assert.rejects(asked, (error) => {
      assert.ok(APICallError.isInstance(error), error.stack);
      assert.deepEqual([error.statusCode, error.isRetryable], [401, false]);
      const { error: told } = JSON.parse(error.responseBody);
      assert.deepEqual([told.type, error.message], ["authentication_error", told.message]);
      return true;
    });
  });

  test(`${client}: memory headers that do not belong together are an APICallError with the header's name`, async () => {
    const asked = generateText({
      model: model(MODELS.anthropic),
      prompt: "one",
      maxRetries: 0,
      headers: { "x-thread-id": newThread() },
    });
    await assert.rejects(asked, (error) => {
      assert.deepEqual([APICallError.isInstance(error), error.statusCode], [true, 400], error.stack);
      assert.match(error.message, /x-resource-id/);
      return true;
    });
  });
}

for (const [client, embedding] of [
  ["openai", (id) => createOpenAI(settings()).embedding(id)],
  ["openai-compatible", (id) => compatible().embeddingModel(id)],
]) {
  test(`${client}: embeddings come back one for each text`, async () => {
    const { embeddings, usage } = await embedMany({
      model: embedding("openai/text-embedding-3-small"),
      values: ["the cat sat", "income tax form"],
      maxRetries: 0,
    });
    assert.deepEqual(
      embeddings.map(({ length }) => length),
      [64, 64],
    );
    assert.ok(usage.tokens > 0);
  });
}
