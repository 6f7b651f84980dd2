// Owns: Mastra's agents against the gateway, as their users point them at it: two variables of the environment, and
// models whose name begins with `mastra/`.
// Invariant: what is asserted of memory is what the gateway keeps, read over its API. Without npm's registry nothing
// fails, and what was left out is said.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { z } from "zod";
import { withLock } from "../../scripts/lock.mjs";
import { cache } from "../../scripts/paths.mjs";
import { capture } from "../../scripts/run.mjs";
import { newThread, stored } from "./conversation.mjs";
import { sandboxVars, startGateway, startSandbox } from "./gateway.mjs";

// Not among the project's npm packages: with what it brings it has 130 MB, and only this file runs it.
const PACKAGES = ["@mastra/core@1.71.0", "zod@4.6.7"];
const HOME = join(cache, PACKAGES[0].replaceAll("/", "-"));
const library = (path) => pathToFileURL(join(HOME, "node_modules", "@mastra", "core", "dist", path)).href;

const missing = await whyMissing();
if (missing) console.log(`Mastra is left out: ${missing}`);

let sandbox, gateway, Agent, createTool, ModelRouterEmbeddingModel;
before(async () => {
  if (missing) return;
  sandbox = await startSandbox();
  const { OPENROUTER_API_KEY, ...vars } = sandboxVars(sandbox);
  gateway = await startGateway({ vars });
  Object.assign(process.env, {
    MASTRA_GATEWAY_URL: gateway.url,
    MASTRA_GATEWAY_API_KEY: gateway.key,
    MASTRA_TELEMETRY_DISABLED: "1",
  });
  ({ Agent } = await import(library("agent/index.js")));
  ({ createTool } = await import(library("tools/index.js")));
  ({ ModelRouterEmbeddingModel } = await import(library("llm/index.js")));
});
after(async () => {
  await gateway?.stop();
  await sandbox?.close();
});

async function whyMissing() {
  const program = join(HOME, "node_modules", "@mastra", "core", "package.json");
  const install = ["install", "--prefix", HOME, "--no-audit", "--no-fund", "--ignore-scripts"];
  return withLock(`${HOME}.lock`, async () => {
    if (existsSync(program)) return undefined;
    return capture("npm", [...install, "--loglevel=error", ...PACKAGES]).then(
      () => undefined,
      (error) => `cannot install ${PACKAGES.join(", ")}: ${error.message}`,
    );
  });
}

const agent = (more) =>
  new Agent({ id: "a", name: "a", instructions: "Be terse.", model: "mastra/openai/gpt-5.4-mini", ...more });

/** How an agent is asked; both give the text. */
const ASK = {
  whole: async (agent, said, options) => (await agent.generate(said, options)).text,
  streamed: async (agent, said, options) => {
    const { textStream } = await agent.stream(said, options);
    let text = "";
    for await (const piece of textStream) text += piece;
    return text;
  },
};

const skip = missing ?? false;
for (const [how, ask] of Object.entries(ASK)) {
  for (const model of ["openai/gpt-5.4-mini", "anthropic/claude-sonnet-4-5", "google/gemini-2.5-flash"]) {
    test(`${how}, ${model}: an agent's second turn knows what its first one was told`, { skip }, async () => {
      const memory = { thread: newThread(), resource: "ann" };
      // An agent that was made anew has nothing in it: what it knows is the gateway's.
      const turn = (said) => ask(agent({ model: `mastra/${model}` }), said, { memory });
      assert.equal(await turn("My name is Alex."), "Got it.");
      assert.equal(await turn("What is my name?"), "Alex");
      assert.deepEqual(
        (await stored(gateway, memory.thread)).map(({ role, content }) => [role, content]),
        [
          ["user", "My name is Alex."],
          ["assistant", "Got it."],
          ["user", "What is my name?"],
          ["assistant", "Alex"],
        ],
      );
    });
  }

  test(`${how}: a tool that the agent runs is stored with its result`, { skip }, async () => {
    const memory = { thread: newThread(), resource: "ann" };
    const helloWorld = createTool({
      id: "helloWorld",
      description: "Greets.",
      inputSchema: z.object({ name: z.string() }),
      outputSchema: z.object({ greeting: z.string() }),
      execute: async (input) => ({ greeting: `Hello, ${(input.context ?? input).name}!` }),
    });
    const said = "Use the helloWorld tool to greet Alice.";
    assert.equal(await ask(agent({ tools: { helloWorld } }), said, { memory }), "Hello, Alice!");
    const messages = await stored(gateway, memory.thread);
    assert.deepEqual(
      messages.map(({ role }) => role),
      ["user", "assistant", "tool", "assistant"],
    );
    assert.deepEqual([messages[1].content[0].toolName, messages[3].content], ["helloWorld", "Hello, Alice!"]);
  });
}

test("another resource does not see the thread, and its agent is told why", { skip }, async () => {
  const thread = newThread();
  await ASK.whole(agent(), "My name is Alex.", { memory: { thread, resource: "ann" } });
  const memory = { thread, resource: "bob" };
  await assert.rejects(
    ASK.whole(agent({ maxRetries: 0 }), "What is my name?", { memory }),
    /No such thread for this resource/,
  );
});

test("an agent without a thread is answered without memory", { skip }, async () => {
  assert.equal(await ASK.whole(agent(), "What is 3+3?"), "6");
});

test("its router embeds through the gateway", { skip }, async () => {
  const { embeddings } = await new ModelRouterEmbeddingModel("mastra/openai/text-embedding-3-small").doEmbed({
    values: ["the cat sat", "income tax form"],
  });
  assert.deepEqual(
    embeddings.map(({ length }) => length),
    [64, 64],
  );
});

/** Asks the memory API as first-party clients do: a body is parsed whatever the status. */
async function memory(method, path, body) {
  const answer = await fetch(`${gateway.url}/v1/memory${path}`, {
    method,
    headers: { authorization: `Bearer ${gateway.key}`, "content-type": "application/json" },
    body: body && JSON.stringify(body),
  });
  return { status: answer.status, ...(await answer.json()) };
}

test(
  "an agent's thread is listed, renamed, copied, read and deleted over the memory API",
  { skip },
  async () => {
    const [id, resource] = [`of/an agent: ${newThread()}`, newThread()];
    const path = `/threads/${encodeURIComponent(id)}`;
    const made = await memory("POST", "/threads", { id, resourceId: resource, title: "First" });
    assert.equal(made.status, 201);
    const fields = {
      id,
      projectId: "default",
      resourceId: resource,
      title: "First",
      metadata: null,
      createdAt: made.thread.createdAt,
      updatedAt: made.thread.createdAt,
    };
    assert.deepEqual(made.thread, fields);
    assert.equal((await memory("POST", "/threads", { id, resourceId: "another" })).status, 409);

    // A header holds no text of every kind: an agent's ids are encoded where they need it.
    const ids = { thread: encodeURIComponent(id), resource };
    assert.equal(await ASK.whole(agent(), "My name is Alex.", { memory: ids }), "Got it.");

    const { threads, total } = await memory("GET", `/threads?resourceId=${resource}`);
    assert.deepEqual([total, threads.map((thread) => thread.id)], [1, [id]]);
    const renamed = await memory("PATCH", path, { title: "Second", metadata: { pinned: true } });
    assert.deepEqual([renamed.thread.title, renamed.thread.metadata], ["Second", { pinned: true }]);

    const read = await memory("GET", `${path}/messages?limit=500&order=asc`);
    assert.deepEqual(
      read.messages.map(({ role, content, type, threadId }) => [role, content, type, threadId]),
      [
        ["user", [{ type: "text", text: "My name is Alex." }], "text", id],
        ["assistant", [{ type: "text", text: "Got it." }], "text", id],
      ],
    );
    assert.equal(read.total, 2);

    const { status, thread: copy, clonedMessages } = await memory("POST", `${path}/clone`, { title: "Copy" });
    assert.deepEqual(
      [status, copy.title, copy.resourceId, clonedMessages.length],
      [201, "Copy", resource, 2],
    );
    const copied = { thread: copy.id, resource };
    assert.equal(await ASK.whole(agent(), "What is my name?", { memory: copied }), "Alex");
    assert.equal((await memory("GET", `${path}/messages`)).total, 2);

    assert.deepEqual(await memory("GET", `${path}/observations`), { status: 200, observations: null });
    assert.deepEqual(await memory("GET", `${path}/observations/record`), { status: 200, record: null });
    assert.deepEqual((await memory("GET", `${path}/observations/history`)).status, 200);
    const { config } = await memory("PATCH", `${path}/observations/config`, { messageTokens: 500 });
    assert.equal(config.observation.messageTokens, 500);

    const gone = await memory("DELETE", path);
    assert.deepEqual([gone.status, gone.ok, gone.receipt.id, gone.receipt.scope], [200, true, id, "thread"]);
    assert.equal((await memory("GET", path)).status, 404);
    assert.equal((await memory("GET", `/threads?resourceId=${resource}`)).total, 1);
  },
);
