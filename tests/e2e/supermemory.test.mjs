// Owns: clients that were made for supermemory's router, which name a conversation and its user by headers of their own.
// Invariant: both names lead to one thread.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { memoryHeaders, MODEL, newThread, openai, refused, stored, user } from "./conversation.mjs";
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

const supermemory = (headers) => openai(gateway, { defaultHeaders: headers });
const ask = async (client, content, headers) => {
  const asked = { model: MODEL, messages: [user(content)] };
  return (await client.chat.completions.create(asked, { headers })).choices[0].message.content;
};

test("a conversation under supermemory's names goes on under the gateway's own", async () => {
  const thread = newThread();
  const client = supermemory({ "x-sm-conversation-id": thread, "x-sm-user-id": "ann" });
  assert.equal(await ask(client, "My name is Alex."), "Got it.");
  assert.equal(await ask(client, "What is my name?"), "Alex");
  assert.equal(await ask(openai(gateway), "What is my name?", memoryHeaders(thread, "ann")), "Alex");
  assert.equal((await stored(gateway, thread)).length, 6);
});

test("a user without a conversation is answered without memory", async () => {
  const from = sandbox.requests.length;
  const client = supermemory({ "x-sm-user-id": "ann" });
  assert.equal(await ask(client, "My name is Alex."), "Got it.");
  assert.equal(sandbox.requests.length, from + 1);
});

test("a conversation without its user is refused, and neither header goes to the provider", async () => {
  const body = { model: MODEL, messages: [user("one")] };
  const send = (headers) =>
    fetch(`${gateway.baseURL}/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${gateway.key}`, "content-type": "application/json", ...headers },
      body: JSON.stringify(body),
    });
  const { status, message } = await refused(await send({ "x-sm-conversation-id": newThread() }));
  assert.equal(status, 400);
  assert.match(message, /x-resource-id/);
  const from = sandbox.requests.length;
  await ask(supermemory({ "x-sm-conversation-id": newThread(), "x-sm-user-id": "ann" }), "one");
  const names = sandbox.requests.slice(from).flatMap(({ headers }) => Object.keys(headers ?? {}));
  assert.deepEqual(
    names.filter((name) => name.startsWith("x-sm-")),
    [],
  );
});
