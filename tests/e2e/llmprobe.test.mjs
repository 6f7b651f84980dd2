// Owns: llmprobe, a conformance suite that is not ours, run against the gateway with the sandbox behind it.
// Invariant: every check passes that is not listed here with its reason, and none stays listed that passes.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { root } from "../../scripts/paths.mjs";
import { sandboxVars, startGateway, startSandbox } from "./gateway.mjs";

const OPENAI = "openai/gpt-5.4-mini";
const ANTHROPIC = "anthropic/claude-sonnet-4-5";
const GOOGLE = "google/gemini-2.5-flash";
const MODELS = [OPENAI, ANTHROPIC, GOOGLE];
const SURFACES = ["models", "chat", "responses", "messages", "count-tokens", "embeddings"];

const NO_CACHE = "the sandbox counts tokens as cached only where the request marks them";
const NOT_COOL = "the probe sends a temperature of 0 with thinking, which Anthropic refuses";
const NO_THOUGHTS = "the sandbox thinks in Messages only";
const BY_RULES = "the sandbox answers by rules, and this question fits none";
const NOT_OURS = "no endpoint of the gateway's";
const UNPROBED = "llmprobe itself has no way to check it";

const NO_SMALL_LIMIT = "OpenAI's Responses takes no limit below 16 tokens";
const BY_WORDS = "Anthropic is told in words to write JSON, and the sandbox does not heed words";
const THINKS_FIRST = "Gemini thinks out of the same limit";

/** What does not pass, and why. `at`: the models it is true of, else all; `may`: it passes at some. */
const KNOWN = [
  { id: "chat-logprobs", why: "the sandbox gives no logprobs" },
  { id: "chat-reasoning", at: [GOOGLE], why: "Google's usage has no reasoning tokens" },
  { id: "chat-reasoning-cap", why: NO_THOUGHTS },
  { id: "chat-prompt-caching", why: NO_CACHE },
  { id: "chat-prompt-cache-prefix", why: NO_CACHE },
  { id: "chat-assistant-prefill", why: BY_RULES },
  {
    id: "responses-streaming",
    why: "OpenAI's own stream of Responses ends without [DONE], and so does ours",
  },
  { id: "responses-reasoning-cap", at: [OPENAI, ANTHROPIC], why: NO_THOUGHTS },
  { id: "responses-reasoning-roundtrip", why: UNPROBED },
  { id: "responses-prompt-caching", why: NO_CACHE },
  { id: "responses-prompt-cache-prefix", why: NO_CACHE },
  { id: "responses-background", why: "the sandbox answers at once whatever it is asked" },
  { id: "responses-mcp-tools", why: UNPROBED },
  { id: "messages-reasoning", at: [OPENAI, ANTHROPIC], why: NOT_COOL },
  { id: "messages-reasoning-cap", at: [OPENAI, ANTHROPIC], why: NOT_COOL },
  { id: "messages-prompt-caching", why: NO_CACHE },
  { id: "messages-prompt-cache-prefix", why: NO_CACHE },
  { id: "messages-assistant-prefill", why: BY_RULES },
  { id: "messages-system-blocks", why: BY_RULES },
  { id: "chat-rate-limit-headers", may: true, why: "only some providers send them" },
  { id: "responses-rate-limit-headers", may: true, why: "only some providers send them" },
  { id: "messages-rate-limit-headers", may: true, why: "only some providers send them" },
  { id: "messages-finish-length", at: [OPENAI], why: NO_SMALL_LIMIT },
  { id: "messages-limits-max-tokens", at: [OPENAI], why: NO_SMALL_LIMIT },
  {
    id: "messages-stop-sequence-echo",
    at: [OPENAI, GOOGLE],
    why: "the provider does not say which text stopped it",
  },
  { id: "messages-thinking-budget", at: [OPENAI], why: "the sandbox's model of OpenAI shows no thoughts" },
  { id: "messages-top-k", at: [OPENAI], why: "OpenAI has no top_k: a 400 that says so" },
  { id: "chat-json-mode", at: [ANTHROPIC], why: BY_WORDS },
  { id: "responses-json-mode", at: [ANTHROPIC], why: BY_WORDS },
  { id: "chat-seed", at: [ANTHROPIC], why: "Anthropic has no seed: a 400 that says so" },
  { id: "chat-n-choices", at: [ANTHROPIC], why: "Anthropic gives one answer: a 400 that says so" },
  { id: "responses-basic", at: [GOOGLE], why: THINKS_FIRST },
  { id: "messages-basic", at: [GOOGLE], why: THINKS_FIRST },
  { id: "responses-previous-response-id", at: [GOOGLE], why: THINKS_FIRST },
  { id: "responses-limits-max-tokens", at: [GOOGLE], why: THINKS_FIRST },
  { id: "messages-limits-max-tokens", at: [GOOGLE], why: THINKS_FIRST },
  {
    id: "responses-parallel-tools-off",
    at: [GOOGLE],
    why: "Gemini has no such switch; the answer says that it is ignored",
  },
  {
    id: "messages-parallel-tools-off",
    at: [GOOGLE],
    why: "Gemini has no such switch; the answer says that it is ignored",
  },
  { id: "completions-basic", why: NOT_OURS },
  { id: "images-generate", why: NOT_OURS },
  { id: "images-edit", why: NOT_OURS },
  { id: "audio-speech", why: NOT_OURS },
];

let sandbox, gateway;
before(async () => {
  sandbox = await startSandbox();
  gateway = await startGateway({ vars: sandboxVars(sandbox) });
});
after(async () => {
  await gateway?.stop();
  await sandbox?.close();
});

/** The whole report; llmprobe's exit code only says that something did not pass. */
function probe(model) {
  const program = join(root, "node_modules", "llmprobe", "bin", "dist", "llmprobe.mjs");
  const options = ["--model", model, "--full", "--no-bench", "--no-save", "--json", "--reasoning", "default"];
  const args = [program, gateway.baseURL, "--api-key", gateway.key, ...options];
  return new Promise((resolve, reject) =>
    execFile(process.execPath, args, { maxBuffer: 2 ** 26, timeout: 120_000 }, (error, stdout, stderr) => {
      try {
        resolve(JSON.parse(stdout));
      } catch {
        reject(new Error(`llmprobe gave no report: ${error?.message}\n${stderr}`));
      }
    }),
  );
}

for (const model of MODELS) {
  test(`${model}: all six surfaces are there, and what does not pass is known`, async () => {
    const { bySurface, results } = (await probe(model)).conformance;
    assert.deepEqual(
      bySurface.filter(({ passed }) => passed > 0).map(({ surface }) => surface),
      SURFACES,
    );
    const failed = results.filter(({ outcome }) => outcome !== "pass");
    const known = KNOWN.filter(({ at = MODELS }) => at.includes(model));
    const told = failed.filter(({ id }) => !known.some((one) => one.id === id));
    assert.deepEqual(told, [], "these should pass");
    const stale = known.filter(({ id, may }) => !may && !failed.some((one) => one.id === id));
    assert.deepEqual(stale, [], "these pass: take them off the list");
  });
}
