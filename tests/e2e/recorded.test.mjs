// Owns: whether what real providers answered reaches the official clients of the other dialects unchanged.
// Invariant: the truth is what the provider's own client reads from the recording itself; what differs is a failure or a
// line with its reason, and a line without a failure is one too.
//
// The recordings are large and not part of this repository. `MEMORY_GATEWAY_FIXTURES` names their folder; without them
// the test says so and passes. `RECORDED_ALL=1` takes every one, otherwise a few of each kind.
import Anthropic from "@anthropic-ai/sdk";
import { GoogleGenAI } from "@google/genai";
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

/** Recordings that differ, in which lines, and why. */
const EXCEPTIONS = [
  {
    ids: `08e9e4a0463c 10999f8211b1 1b020a526527 686f01c98d9b 734b0648d221 8713c56102f7 933934eaddfd ce02ffe6e500
      e5a6a6b9da11 e64b9d6eb2fa f40669a2dc5a f658444f3e0e`,
    what: ["calls", "stop"],
    why: "the predecessor of tool calls answers `functions` only, which other dialects cannot send",
  },
  {
    ids: "14707f2a98f1 293a48bbb81c 56ec01cd6c7b 8dc7ef1e59ea",
    what: ["text"],
    why: "Messages cannot answer with an image, and a text says so",
  },
  { ids: "1335e1e2c5be 994f965c9bfb", what: ["stop"], why: "a made-up reason counts as the end" },
  { ids: "5c9fbe5a83f3 f2f54a4579bc", what: ["text"], why: "by hand: the deltas say less than the whole" },
  { ids: "d0a5686169d7", what: ["calls"], why: "two calls of one index, which OpenAI's client makes one" },
];

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

/** Mistral's content may be a list, thinking in it, which OpenAI's client does not know in a stream. */
function textOf(content) {
  if (Array.isArray(content)) return content.map(({ text }) => text ?? "").join("");
  if (content?.startsWith("[object Object]")) throw new Error("the client cannot read it");
  return content ?? "";
}

/** xAI counts reasoning beside the output, not in it; its total tells. */
function outputOf({ prompt_tokens, completion_tokens, total_tokens, completion_tokens_details: details }) {
  const reasoning = details?.reasoning_tokens ?? 0;
  const beside = reasoning > 0 && prompt_tokens + completion_tokens + reasoning === total_tokens;
  return beside ? total_tokens - prompt_tokens : completion_tokens;
}

/** Google's client gives arguments in the pieces in which they come (`partialArgs`), and leaves it to us to put them together. */
function callsOf(parts) {
  const calls = [];
  let open;
  for (const { functionCall: call } of parts) {
    if (!call) continue;
    if (call.name) calls.push((open = [call.name, call.args ?? {}]));
    for (const { jsonPath, ...piece } of call.partialArgs ?? []) {
      const names = jsonPath.match(/[^$.[\]]+/g);
      const last = names.pop();
      let place = open[1];
      for (const [at, name] of names.entries())
        place = place[name] ??= /^\d+$/.test(names[at + 1] ?? last) ? [] : {};
      const value = piece.stringValue ?? piece.numberValue ?? piece.boolValue ?? null;
      place[last] = typeof place[last] === "string" ? place[last] + value : value;
    }
  }
  return calls;
}

/** A custom tool's input stands in a field of an object where a dialect has no such tools, so here too. */
const READ = {
  chat(answer) {
    const [{ message, finish_reason }] = answer.choices;
    const { usage } = answer;
    // `function_call` is the predecessor of `tool_calls`. Snowflake writes what is not there as empty.
    const former = message.function_call?.name ? [{ function: message.function_call }] : [];
    const calls = (message.tool_calls ?? former).map(({ custom, function: of }) =>
      custom?.name ? [custom.name, { input: custom.input }] : [of.name, parsed(of.arguments)],
    );
    const words = {
      // Snowflake gives no word, Together its own.
      "": "end",
      eos: "end",
      stop: "end",
      length: "length",
      tool_calls: "tools",
      content_filter: "filter",
    };
    if (finish_reason === undefined) throw new Error("it does not end");
    return {
      text: textOf(message.content) + (message.refusal ?? ""),
      calls,
      stop: message.refusal ? "filter" : stopOf(words, finish_reason, calls),
      usage: usage && {
        input: usage.prompt_tokens,
        output: outputOf(usage),
        cached: usage.prompt_tokens_details?.cached_tokens,
        reasoning: usage.completion_tokens_details?.reasoning_tokens,
      },
    };
  },
  responses({ output, status, incomplete_details, usage }) {
    if (["queued", "in_progress"].includes(status)) throw new Error("it does not end");
    const calls = output.flatMap((item) => {
      if (item.type === "function_call") return [[item.name, parsed(item.arguments)]];
      return item.type === "custom_tool_call" ? [[item.name, { input: item.input }]] : [];
    });
    const parts = output.flatMap((item) => (item.type === "message" ? item.content : []));
    const words = {
      completed: "end",
      // As a recording of a lookalike has it.
      complete: "end",
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
  /** `chunks`: answers of generateContent, one whole or a stream of them. */
  google(chunks) {
    const parts = chunks.flatMap(({ candidates }) => candidates?.[0]?.content?.parts ?? []);
    const calls = callsOf(parts);
    const blocked = chunks.some(({ promptFeedback }) => promptFeedback?.blockReason);
    const word = chunks.map(({ candidates }) => candidates?.[0]?.finishReason).findLast(Boolean);
    const usage = chunks.map(({ usageMetadata }) => usageMetadata).findLast(Boolean);
    const filters = [
      "SAFETY",
      "RECITATION",
      "BLOCKLIST",
      "PROHIBITED_CONTENT",
      "SPII",
      "IMAGE_SAFETY",
      "MODEL_ARMOR",
    ];
    // The numbers are those of Vertex' older clients.
    const words = { STOP: "end", MAX_TOKENS: "length", 1: "end", 2: "length", OTHER: "end" };
    for (const filter of filters) words[filter] = "filter";
    if (!blocked && !word) throw new Error("it does not end");
    return {
      text: parts.map(({ text, thought }) => (thought ? "" : (text ?? ""))).join(""),
      calls,
      stop: blocked ? "filter" : stopOf(words, word, calls),
      usage: usage?.promptTokenCount !== undefined && {
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
  async google({ baseURL, apiKey }, model, streamed) {
    const { models } = new GoogleGenAI({ apiKey, httpOptions: { baseUrl: baseURL } });
    const request = { model, contents: "hi" };
    if (!streamed) return [await models.generateContent(request)];
    return Array.fromAsync(await models.generateContentStream(request));
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

/** The prefix of a recording's model: one declared provider for each provider and dialect, so that no other is spoken. */
const prefixOf = ({ provider, endpoint }) => `${provider}-${DIALECT_OF[endpoint]}`;

function varsFor(recordings, url) {
  const declared = recordings.map((recording) => {
    const dialect = DIALECT_OF[recording.endpoint];
    return [
      prefixOf(recording),
      { base_url: `${url}/${dialect === "google" ? "v1beta" : "v1"}`, dialects: [dialect] },
    ];
  });
  return { PROVIDERS: JSON.stringify(Object.fromEntries(declared)) };
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
    } catch {
      score.unread += 1;
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
      else failures.push({ id, provider, endpoint, client, kind, lines });
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
  const covers = ({ ids, what }, { id, lines }) =>
    ids.includes(id) && lines.every((line) => what.some((start) => line.startsWith(start)));
  const unknown = failures.filter((failure) => !EXCEPTIONS.some((exception) => covers(exception, failure)));
  for (const { id, provider, endpoint, client, kind, lines } of unknown) {
    const short = lines.map((line) => (line.length > 600 ? `${line.slice(0, 600)}…` : line));
    console.log(`${id} ${provider} ${endpoint} ${kind} to ${client}: ${short.join("; ")}`);
  }
  const read = new Set(recordings.map(({ id }) => id));
  const failed = new Set(failures.map(({ id }) => id));
  const excepted = EXCEPTIONS.flatMap(({ ids }) => ids.split(/\s+/));
  const stale = excepted.filter((id) => !failed.has(id) && (read.has(id) || OF_EACH === Infinity));
  assert.deepEqual(stale, [], "exceptions that none are");
  const unread = [...scores.values()].reduce((total, score) => total + score.unread, 0);
  assert.ok(unread < recordings.length / 20, `${unread} recordings cannot be read by their own clients`);
  assert.equal(unknown.length, 0, `${unknown.length} answers do not reach a client as they were given`);
});
