// Owns what is measured: the requests, how many at once, and what memory does in each.
// Invariant: the targets of a part get byte-identical requests, with the headers that the official OpenAI client
// sends.

const HEADERS = {
  accept: "application/json",
  "content-type": "application/json",
  "user-agent": "OpenAI/JS 7.57.0",
  "x-stainless-arch": "x64",
  "x-stainless-lang": "js",
  "x-stainless-os": "Linux",
  "x-stainless-package-version": "7.57.0",
  "x-stainless-retry-count": "0",
  "x-stainless-runtime": "node",
  "x-stainless-runtime-version": "v26.10.0",
  "x-stainless-timeout": "600",
};

const PARAGRAPH =
  "We have talked about the garden, the roof, and a journey to the sea; now the question is a plain one. ";

/** A conversation of about `bytes` bytes of JSON, asked of the upstream's model `model`. */
function body(model, bytes, stream, asksForUsage = true) {
  const shape = (messages) =>
    JSON.stringify({
      model: `openai/bench-${model}`,
      messages,
      temperature: 0.7,
      ...(stream && { stream: true, ...(asksForUsage && { stream_options: { include_usage: true } }) }),
    });
  const messages = [{ role: "system", content: "You are a helpful assistant. Answer briefly." }];
  const room = bytes - shape(messages).length;
  const size = Math.min(room, 4_000);
  for (let left = room; left > 60; left -= size) {
    const length = Math.min(left, size) - 35;
    const content = PARAGRAPH.repeat(Math.ceil(length / 100)).slice(0, length);
    messages.push({ role: "user", content });
  }
  return shape(messages);
}

const whole = (bytes, concurrency, limit = 100_000) => ({
  name: `${bytes / 1000} KB, ${concurrency} at a time`,
  body: body("json", bytes, false),
  concurrency,
  limit,
});
const flat = (events, limit = 100_000, asksForUsage = true) => ({
  name: `${events} events, 4 at a time`,
  body: body(`flat-${events}`, 1_000, true, asksForUsage),
  concurrency: 4,
  events,
  limit,
});
const paced = () => ({
  name: "100 events/s, 20 at a time",
  body: body("paced-200", 1_000, true),
  concurrency: 20,
  events: 200,
  limit: 20,
  seconds: 20, // Each client makes one stream of two seconds.
  timesEvents: true,
});
const named = (prefix, scenario) => ({ ...scenario, name: `${prefix}, ${scenario.name}` });
// A new thread is a new database file: a bound, so that no disk fills up.
const fresh = (scenario) => ({ ...named("new thread", scenario), memory: "empty", freshThread: true });
const warm = (scenario) => ({
  ...named("20 messages", scenario),
  memory: "hit",
  thread: "warm",
  mode: "read",
});

/**
 * The parts of the benchmark; `baseline` is a target of targets.mjs or, where the part `isRival`, one of rivals.mjs; it is
 * compared with the target `gateway`.
 */
export const PARTS = [
  {
    title: "Memory off, against a bare pass-through Worker",
    baseline: "baseline",
    aims: { whole: 1.1 },
    scenarios: [
      whole(1_000, 1),
      whole(1_000, 8),
      whole(1_000, 64),
      whole(100_000, 1),
      whole(100_000, 8),
      whole(2_000_000, 1),
      flat(100),
      flat(1_000),
      paced(),
    ],
  },
  {
    title: "Streams, against a Worker whose own code hands each chunk on",
    baseline: "no-op JS pump",
    aims: { events: 0.75 },
    scenarios: [
      named("usage asked for", flat(1_000)),
      named("usage hidden", { ...flat(1_000, 100_000, false), isFiltered: true }),
      paced(),
    ],
  },
  {
    title: "Memory on, against the pass-through with two bare calls of a Durable Object",
    baseline: "baseline + object",
    aims: { whole: 1.25 },
    scenarios: [
      fresh(whole(1_000, 1, 1_000)),
      fresh(whole(1_000, 8, 1_000)),
      warm(whole(1_000, 1)),
      warm(whole(1_000, 8)),
      fresh(flat(100, 500)),
      fresh(flat(1_000, 500)),
      fresh(paced()),
    ],
  },
  ...["portkey (Node)", "litellm (Python)"].map((baseline) => ({
    title: `Memory off, against ${baseline}`,
    baseline,
    isRival: true,
    scenarios: [
      whole(1_000, 1),
      whole(1_000, 8),
      whole(1_000, 64),
      whole(100_000, 8),
      whole(2_000_000, 1),
      flat(100),
      paced(),
    ],
  })),
];

/** The turns that fill the warm thread: 20 messages. */
export const FILLING = {
  body: body("json", 500, false),
  concurrency: 1,
  limit: 10,
  seconds: 60,
  thread: "warm",
};

export function requestHeaders({ thread, freshThread, mode }, key) {
  return {
    ...HEADERS,
    authorization: `Bearer ${key}`,
    ...((thread || freshThread) && { "x-resource-id": "bench" }),
    ...(thread && { "x-thread-id": thread }),
    ...(mode && { "x-memory-mode": mode }),
  };
}
