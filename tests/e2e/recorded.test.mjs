// Owns: whether what real providers answered reaches the official clients of the other dialects unchanged.
// Invariant: the truth is what the provider's own client reads from the recording itself; what differs is a failure or a
// line with its reason, and a line without a failure is one too.
//
// The recordings are large and not part of this repository. `MEMORY_GATEWAY_FIXTURES` names their folder; without them
// the test says so and passes. `RECORDED_ALL=1` takes every one, otherwise a few of each kind.
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { test } from "node:test";
import { root } from "../../scripts/paths.mjs";
import { startGateway } from "./gateway.mjs";

const FILE = join(
  process.env.MEMORY_GATEWAY_FIXTURES ?? join(root, "../shared/fixtures"),
  "exchanges.jsonl.xz",
);
/** How many of each provider, endpoint, form and features are read unless all are. */
const OF_EACH = process.env.RECORDED_ALL ? Infinity : 2;
const AT_ONCE = 16;

const DIALECT_OF = {
  chat_completions: "chat",
  responses: "responses",
  messages: "messages",
  generate_content: "google",
};

/** What differs, and why: `[ids or a predicate of the failure, reason]`. */
const EXCEPTIONS = [];

// ——— What a client reads, in a form in which equal answers are equal

const sum = (...numbers) => numbers.reduce((total, number) => total + (number ?? 0), 0);
const parsed = (text) => {
  try {
    return JSON.parse(text || "{}");
  } catch {
    return text;
  }
};
const stopOf = (words, word, calls) => (calls.length > 0 ? "tools" : (words[word] ?? `${word}`));

const READ = {
  chat(answer) {
    const [{ message, finish_reason }] = answer.choices;
    const { usage } = answer;
    const calls = (message.tool_calls ?? []).map((call) =>
      call.type === "custom"
        ? [call.custom.name, call.custom.input]
        : [call.function.name, parsed(call.function.arguments)],
    );
    const words = { stop: "end", length: "length", tool_calls: "tools", content_filter: "filter" };
    return {
      text: (message.content ?? "") + (message.refusal ?? ""),
      calls,
      stop: message.refusal ? "filter" : stopOf(words, finish_reason, calls),
      usage: usage && {
        input: usage.prompt_tokens,
        output: usage.completion_tokens,
        cached: usage.prompt_tokens_details?.cached_tokens,
        reasoning: usage.completion_tokens_details?.reasoning_tokens,
      },
    };
  },
  responses({ output, status, incomplete_details, usage }) {
    const calls = output.flatMap((item) => {
      if (item.type === "function_call") return [[item.name, parsed(item.arguments)]];
      return item.type === "custom_tool_call" ? [[item.name, item.input]] : [];
    });
    const parts = output.flatMap((item) => (item.type === "message" ? item.content : []));
    const words = {
      completed: "end",
      max_output_tokens: "length",
      content_filter: "filter",
    };
    return {
      text: parts.map((part) => part.text ?? part.refusal ?? "").join(""),
      calls,
      stop: parts.some((part) => part.type === "refusal")
        ? "filter"
        : stopOf(words, incomplete_details?.reason ?? status, calls),
      usage: usage && {
        input: usage.input_tokens,
        output: usage.output_tokens,
        cached: usage.input_tokens_details?.cached_tokens,
        reasoning: usage.output_tokens_details?.reasoning_tokens,
      },
    };
  },
  messages({ content, stop_reason, usage }) {
    const calls = content.filter(({ type }) => type === "tool_use").map(({ name, input }) => [name, input]);
    const words = {
      end_turn: "end",
      stop_sequence: "end",
      pause_turn: "end",
      max_tokens: "length",
      model_context_window_exceeded: "length",
      tool_use: "tools",
      refusal: "filter",
    };
    return {
      text: content.map((block) => (block.type === "text" ? block.text : "")).join(""),
      calls,
      stop: stopOf(words, stop_reason, calls),
      usage: usage && {
        input: sum(usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens),
        output: usage.output_tokens,
        cached: usage.cache_read_input_tokens,
        reasoning: usage.output_tokens_details?.thinking_tokens,
      },
    };
  },
  /** `chunks`: whole answers of generateContent, one or a stream of them. */
  google(chunks) {
    const parts = chunks.flatMap(({ candidates }) => candidates?.[0]?.content?.parts ?? []);
    const calls = parts.flatMap(({ functionCall: call }) => (call ? [[call.name, call.args ?? {}]] : []));
    const blocked = chunks.some(({ promptFeedback }) => promptFeedback?.blockReason);
    const word = chunks.map(({ candidates }) => candidates?.[0]?.finishReason).findLast(Boolean);
    const usage = chunks.map(({ usageMetadata }) => usageMetadata).findLast(Boolean);
    const filters = ["SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY"];
    const words = { STOP: "end", MAX_TOKENS: "length" };
    for (const filter of filters) words[filter] = "filter";
    if (!blocked && !word) throw new Error("it does not end");
    return {
      text: parts.map(({ text, thought }) => (thought ? "" : (text ?? ""))).join(""),
      calls,
      stop: blocked ? "filter" : stopOf(words, word, calls),
      usage: usage && {
        input: sum(usage.promptTokenCount, usage.toolUsePromptTokenCount),
        output: sum(usage.candidatesTokenCount, usage.thoughtsTokenCount),
        cached: usage.cachedContentTokenCount,
        reasoning: usage.thoughtsTokenCount,
      },
    };
  },
};

// ——— The clients

/** Asks for `model` as the official client of the dialect does. */
const ASK = {
  async chat({ baseURL, apiKey }, model, streamed) {
    const { completions } = new OpenAI({ apiKey, baseURL: `${baseURL}/v1`, maxRetries: 0 }).chat;
    const body = { model, messages: [{ role: "user", content: "hi" }] };
    return streamed
      ? completions.stream({ ...body, stream_options: { include_usage: true } }).finalChatCompletion()
      : completions.create(body);
  },
  async responses({ baseURL, apiKey }, model, streamed) {
    const { responses } = new OpenAI({ apiKey, baseURL: `${baseURL}/v1`, maxRetries: 0 });
    const body = { model, input: "hi", store: false };
    return streamed ? responses.stream(body).finalResponse() : responses.create(body);
  },
  async messages({ baseURL, apiKey }, model, streamed) {
    const { messages } = new Anthropic({ apiKey, baseURL, maxRetries: 0 });
    const body = { model, max_tokens: 1024, messages: [{ role: "user", content: "hi" }] };
    return streamed ? messages.stream(body).finalMessage() : messages.create(body);
  },
  /** No client of Google's is installed: its answers are read as they lie. */
  async google({ baseURL }, model, streamed) {
    const response = await fetch(`${baseURL}/v1beta/models/${model}:generateContent`, { method: "POST" });
    const text = await response.text();
    if (!streamed) return [JSON.parse(text)];
    return [...text.matchAll(/^data: ?(.+)$/gm)].map(([, data]) => JSON.parse(data));
  },
};

/** The truth and what is left of it, as lines of what differs. */
function differences(truth, got) {
  const both = (name) => Number.isInteger(truth.usage?.[name]) && Number.isInteger(got.usage?.[name]);
  const lines = [];
  const compare = (what, expected, actual) => {
    try {
      assert.deepEqual(actual, expected);
    } catch {
      lines.push(`${what}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`);
    }
  };
  for (const what of ["text", "calls", "stop"]) compare(what, truth[what], got[what]);
  if (truth.usage) {
    for (const name of ["input", "output"]) {
      if (truth.usage[name] !== undefined) compare(`usage.${name}`, truth.usage[name], got.usage?.[name]);
    }
    for (const name of ["cached", "reasoning"]) {
      if (both(name)) compare(`usage.${name}`, truth.usage[name], got.usage[name]);
    }
  }
  return lines;
}

// ——— The recordings

/** The lines of the packed file, or why there are none. */
function unpack() {
  if (!existsSync(FILE)) return { missing: `No recordings in ${FILE}: nothing compared.` };
  const python = "import lzma,shutil,sys; shutil.copyfileobj(lzma.open(sys.argv[1]), sys.stdout.buffer)";
  for (const [command, args] of [
    ["xz", ["-dc", FILE]],
    ["python3", ["-c", python, FILE]],
  ]) {
    const { status, stdout } = spawnSync(command, args, { maxBuffer: 2 ** 30 });
    if (status === 0) return { text: stdout.toString() };
  }
  return { missing: "Neither xz nor python3 is there to unpack the recordings: nothing compared." };
}

function sample(text) {
  const seen = new Map();
  return text
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line))
    .filter(({ provider, endpoint, kind, status, features }) => {
      if (status !== 200 || !DIALECT_OF[endpoint] || !["json", "sse"].includes(kind)) return false;
      const group = JSON.stringify([provider, endpoint, kind, features]);
      seen.set(group, (seen.get(group) ?? 0) + 1);
      return seen.get(group) <= OF_EACH;
    });
}

/** A provider that answers any request for the model `case-ID`, in the body or the path, with that recording. */
async function startRecorded(recordings) {
  const byId = new Map(recordings.map((recording) => [recording.id, recording]));
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    const [, id] = /case-([0-9a-f]+)/.exec(request.url) ?? /"case-([0-9a-f]+)"/.exec(body) ?? [];
    const recording = byId.get(id);
    if (!recording) return response.writeHead(404).end();
    const type = recording.kind === "sse" ? "text/event-stream" : "application/json";
    response.writeHead(200, { "content-type": type }).end(recording.response_text);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}

/** The prefix of a recording's model: one declared provider for each provider and dialect, Google's and Anthropic's own. */
function prefixOf({ provider, endpoint }) {
  const dialect = DIALECT_OF[endpoint];
  return { messages: "anthropic", google: "google" }[dialect] ?? `${provider}-${dialect}`;
}

function varsFor(recordings, url) {
  const declared = recordings
    .filter(({ endpoint }) => ["chat", "responses"].includes(DIALECT_OF[endpoint]))
    .map((recording) => [
      prefixOf(recording),
      { base_url: `${url}/v1`, dialects: [DIALECT_OF[recording.endpoint]] },
    ]);
  return {
    ANTHROPIC_BASE_URL: url,
    ANTHROPIC_API_KEY: "recorded",
    GOOGLE_BASE_URL: url,
    GOOGLE_API_KEY: "recorded",
    PROVIDERS: JSON.stringify(Object.fromEntries(declared)),
  };
}

async function inParallel(items, work) {
  const queue = items.values();
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (const item of queue) await work(item);
    }),
  );
}

test("what a provider answered reaches the clients of the other dialects unchanged", async (t) => {
  const { text, missing } = unpack();
  if (missing) return console.log(missing);
  const recordings = sample(text);
  const upstream = await startRecorded(recordings);
  t.after(() => upstream.close());
  const gateway = await startGateway({ vars: varsFor(recordings, upstream.url) });
  t.after(() => gateway.stop());
  const scores = new Map();
  const failures = [];
  await inParallel(recordings, async (recording) => {
    const { id, provider, endpoint, kind } = recording;
    const own = DIALECT_OF[endpoint];
    const streamed = kind === "sse";
    const row = [endpoint.padEnd(18), provider.padEnd(12)].join(" ");
    if (!scores.has(row)) scores.set(row, { unread: 0 });
    const score = scores.get(row);
    let truth;
    try {
      const direct = { baseURL: upstream.url, apiKey: "recorded" };
      truth = READ[own](await ASK[own](direct, `case-${id}`, streamed));
    } catch (error) {
      score.unread += 1;
      if (process.env.RECORDED_DEBUG) console.log("unread", id, row, error.message);
      return;
    }
    for (const client of ["chat", "responses", "messages"].filter((dialect) => dialect !== own)) {
      let lines;
      try {
        const through = { baseURL: gateway.url, apiKey: gateway.key };
        const model = `${prefixOf(recording)}/case-${id}`;
        lines = differences(truth, READ[client](await ASK[client](through, model, streamed)));
      } catch (error) {
        lines = [`error: ${error.message}`];
      }
      const count = (score[client] ??= { good: 0, all: 0 });
      count.all += 1;
      if (lines.length === 0) count.good += 1;
      else failures.push({ id, provider, endpoint, client, kind, recording, lines });
    }
  });
  console.log(
    `${"endpoint".padEnd(18)} ${"provider".padEnd(12)}${["chat", "responses", "messages", "unread"].map((head) => head.padStart(12)).join("")}`,
  );
  for (const [row, score] of [...scores].sort()) {
    const cells = ["chat", "responses", "messages"].map((client) =>
      score[client] ? `${score[client].good}/${score[client].all}` : "-",
    );
    console.log(row + [...cells, score.unread].map((cell) => String(cell).padStart(12)).join(""));
  }
  const known = ([which], failure) =>
    typeof which === "function" ? which(failure) : which.split(" ").includes(failure.id);
  const unknown = failures.filter((failure) => !EXCEPTIONS.some((exception) => known(exception, failure)));
  for (const { id, provider, endpoint, client, kind, lines } of unknown) {
    const short = lines.map((line) => (line.length > 600 ? `${line.slice(0, 600)}…` : line));
    console.log(`${id} ${provider} ${endpoint} ${kind} to ${client}: ${short.join("; ")}`);
  }
  const stale = EXCEPTIONS.filter((exception) => !failures.some((failure) => known(exception, failure)));
  assert.deepEqual(
    stale.map(([, reason]) => reason),
    [],
    "an exception that none is",
  );
  assert.equal(unknown.length, 0, `${unknown.length} answers do not reach a client as they were given`);
});
