// Owns the gateway of the tests of what threads remember, and the threads they begin with.
// Invariant: the sandbox computes answers from the prompt, so they prove what was in it.
import { after, before } from "node:test";
import { chat, echo, newThread, user } from "./conversation.mjs";
import { sandboxVars, startGateway, startSandbox } from "./gateway.mjs";
import { startUpstream } from "./wire.mjs";

/** What `startGatewayWithThreads` started. */
export let sandbox, gateway, upstream;
// The last two projects have names that a careless join of project and thread would confuse.
export const KEYS = ["default", "other", "a", "a-b"].map((project, n) => ({
  key: `msk_memory_${n}`,
  project,
}));

/** Has a file's tests run with a gateway, the sandbox behind it, and `raw/`, a provider that a test scripts itself. */
export function startGatewayWithThreads() {
  before(async () => {
    [sandbox, upstream] = await Promise.all([startSandbox(), startUpstream()]);
    const PROVIDERS = JSON.stringify({
      raw: { base_url: `${upstream.url}/v1`, dialects: ["chat", "responses"] },
    });
    gateway = await startGateway({ vars: { ...sandboxVars(sandbox), PROVIDERS }, keys: KEYS });
  });
  after(async () => {
    await gateway?.stop();
    await sandbox?.close();
    await upstream?.close();
  });
}

/** The messages of `texts.length` turns, each answered by the sandbox. */
export const turns = (...texts) => texts.flatMap((text) => [user(text), echo(text)]);

/** A thread that holds these turns, sent one by one. */
export async function threadOf(...texts) {
  const thread = newThread();
  for (const text of texts) await chat(gateway, thread, text);
  return thread;
}
