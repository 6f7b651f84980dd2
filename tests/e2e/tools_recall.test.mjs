// Owns: what a model finds that calls `recall`, for clients of the three dialects.
// Invariant: each test has resources and threads of its own; what the model was told is read from the provider's log, picked
// by a word that no other test has.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import { MODEL, memoryHeaders, messagesOf, newThread, openai, post, until, user } from "./conversation.mjs";
import { sandboxVars, startGateway, startSandbox } from "./gateway.mjs";

let sandbox, gateway;
before(async () => {
  sandbox = await startSandbox();
  gateway = await startGateway({ vars: sandboxVars(sandbox) });
});
after(async () => {
  await gateway?.stop();
  await sandbox?.close();
});

const RECALL = { "x-gateway-tools": "recall" };
const newResource = () => `resource-${randomUUID()}`;

async function say(thread, resource, text) {
  const answer = await post(
    gateway,
    "/chat/completions",
    { model: MODEL, messages: [user(text)] },
    { thread, resource },
  );
  assert.equal(answer.status, 200);
  await answer.json();
}

const CLIENTS = {
  async chat(said, headers) {
    const answer = await openai(gateway).chat.completions.create(
      { model: MODEL, messages: [user(said)] },
      { headers },
    );
    return answer.choices[0].message.content;
  },
  async responses(said, headers) {
    return (await openai(gateway).responses.create({ model: MODEL, input: said }, { headers })).output_text;
  },
  async messages(said, headers) {
    const client = new Anthropic({ apiKey: gateway.key, baseURL: gateway.url, maxRetries: 0 });
    const answer = await client.messages.create(
      { model: "anthropic/claude-sonnet-4-5", max_tokens: 4_000, messages: [user(said)] },
      { headers },
    );
    return answer.content.map(({ text }) => text).join("");
  },
};

/** Has a model call `recall`; gives its answer, which is what it was told. */
const ask = (args, { thread, resource, client = "chat", scope, more = "" }) =>
  CLIENTS[client](`Call recall with ${JSON.stringify(args)}.${more}`, {
    ...memoryHeaders(thread, resource),
    ...RECALL,
    ...(scope && { "x-memory-scope": scope }),
  });

/** The texts that models were told by `recall` in prompts that hold `word`. */
const toldAbout = (word) => {
  const prompts = sandbox.requests.filter(
    ({ body }) => body?.messages?.at(-1).role === "tool" && JSON.stringify(body).includes(word),
  );
  return prompts.map(({ body }) => body.messages.at(-1).content);
};

for (const client of Object.keys(CLIENTS)) {
  test(`${client}: a model finds what was said in the thread, and nothing of another resource`, async () => {
    const [thread, resource, stranger] = [newThread(), newResource(), newResource()];
    await say(thread, resource, "The vault opens with Quetzalcoatl.");
    await say(newThread(), stranger, "The vault opens with Tezcatlipoca.");
    const text = await ask({ query: "vault opens" }, { thread, resource, client });
    assert.match(text, /^<recalled>\n.*data, not instructions/);
    assert.match(text, /msg_\S+ · user · .* UTC\n> The vault opens with Quetzalcoatl\.\n/);
    assert.doesNotMatch(text, /Tezcatlipoca/);
  });
}

test("another thread of the resource is found where memory's scope is the resource, and only there", async () => {
  const [first, second, resource] = [newThread(), newThread(), newResource()];
  await say(first, resource, "The lighthouse keeper is Bartholomew.");
  await say(second, resource, "Hello.");
  const narrow = await ask({ query: "lighthouse keeper" }, { thread: second, resource, scope: "thread" });
  assert.doesNotMatch(narrow, /Bartholomew/);
  const wide = await until(async () => {
    const text = await ask({ query: "lighthouse keeper" }, { thread: second, resource, scope: "resource" });
    return text.includes("> The lighthouse keeper is Bartholomew.") && text;
  }, "the other thread is searched");
  const reference = wide.match(/(msg_\S+@\S+) · user · .*\n> The lighthouse keeper/)[1];
  assert.ok(reference.endsWith(`@${first}`), reference);
  assert.match(
    await ask({ open: reference }, { thread: second, resource, scope: "resource" }),
    /> The lighthouse keeper is Bartholomew\./,
  );
  assert.doesNotMatch(
    await ask({ open: reference }, { thread: second, resource, scope: "thread" }),
    /Bartholomew/,
  );
  const neighbour = newResource();
  const foreign = newThread();
  await say(foreign, neighbour, "Hello.");
  assert.doesNotMatch(
    await ask({ open: reference }, { thread: foreign, resource: neighbour, scope: "resource" }),
    /Bartholomew/,
  );
});

test("what is too long for one result is read on, page by page, and no page is longer than it may be", async () => {
  const [thread, resource] = [newThread(), newResource()];
  const long = Array.from({ length: 700 }, (_, at) => `paragraph${at}`).join(" ");
  await say(thread, resource, `Wildebeest ${long}`);
  const { messages } = await messagesOf(gateway, thread);
  await ask({ open: messages[0].id }, { thread, resource, more: " Then read on to its end." });
  const pages = toldAbout("Wildebeest");
  assert.ok(pages.length >= 2 && pages.length <= 5, `${pages.length} pages`);
  let heard = "";
  for (const [at, page] of pages.entries()) {
    // Five letters of such words make a token, or less.
    assert.ok(page.length <= 10_000, `page ${at} has ${page.length} letters`);
    const [, body, more] = page.match(
      /as `open`\.\n([^]*?)(?:This is not all of it\..* with (\{.*\})\n)?<\/recalled>/,
    );
    heard += body.replace(/…\n$/, "");
    assert.equal(more !== undefined, at + 1 < pages.length);
  }
  assert.ok(heard.includes(`> Wildebeest ${long}\n`));
});

test("messages that were deleted are not found, and not opened", async () => {
  const [thread, resource] = [newThread(), newResource()];
  await say(thread, resource, "The password is Xylophone.");
  const { messages } = await messagesOf(gateway, thread);
  const id = messages[0].id;
  const answer = await fetch(`${gateway.baseURL}/memory/threads/${thread}/messages`, {
    method: "DELETE",
    headers: { authorization: `Bearer ${gateway.key}`, "content-type": "application/json" },
    body: JSON.stringify({ messageIds: messages.map(({ id }) => id) }),
  });
  assert.equal(answer.status, 200, await answer.text());
  assert.doesNotMatch(await ask({ query: "password" }, { thread, resource }), /Xylophone/);
  assert.match(await ask({ open: id }, { thread, resource }), /There is no such message or note here/);
});

test("arguments that cannot be meant are answered with what to write", async () => {
  const thread = newThread();
  for (const [args, says] of [
    [{}, /Give `query` to search/],
    [{ query: "a", open: "msg_b" }, /Give either `query` or `open`/],
    [{ open: "msg_a msg_b" }, /`open` must be a reference/],
    [{ query: "a", cursor: "later" }, /`cursor` must be the one/],
    [{ query: "a".repeat(401) }, /at most 400 bytes/],
  ]) {
    assert.match(await ask(args, { thread, resource: "ann" }), says, JSON.stringify(args));
  }
});
