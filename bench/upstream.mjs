// Owns the other end of every measurement, in a process of its own: a provider that answers at once, and a D1
// that knows every key. Started by run.mjs; says its port in its first message.
// Invariant: what a request gets depends only on the model it names, and one model's answers are all equally
// long.
import { createServer } from "node:http";
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";

/** Between the events of a paced stream: 100 a second; of a slow one, two. */
const PACE_MS = { paced: 10, slow: 500 };

const completion = Buffer.from(
  JSON.stringify({
    id: "chatcmpl-bench0000000000000000000000",
    object: "chat.completion",
    created: 1_790_000_000,
    model: "bench-json",
    choices: [
      {
        index: 0,
        message: {
          role: "assistant",
          content: "A short answer. ".repeat(20),
          refusal: null,
          annotations: [],
        },
        logprobs: null,
        finish_reason: "stop",
      },
    ],
    usage: { prompt_tokens: 200, completion_tokens: 80, total_tokens: 280 },
  }),
);

const event = (fields) =>
  `data: ${JSON.stringify({
    id: "chatcmpl-bench0000000000000000000000",
    object: "chat.completion.chunk",
    created: 1_790_000_000,
    model: "bench-stream",
    service_tier: "default",
    system_fingerprint: "fp_bench",
    ...fields,
  })}\n\n`;
const delta = (content) => ({
  choices: [{ index: 0, delta: { content }, logprobs: null, finish_reason: null }],
});
const word = Buffer.from(event(delta(" word")));
const ending = Buffer.from(
  event({ choices: [{ index: 0, delta: {}, logprobs: null, finish_reason: "stop" }] }) +
    event({ choices: [], usage: { prompt_tokens: 200, completion_tokens: 80, total_tokens: 280 } }) +
    "data: [DONE]\n\n",
);
/** Tells the load generator when it left; the clock is the machine's, the same in every process. */
const stamped = () =>
  event({ sent_us: String(process.hrtime.bigint() / 1000n).padStart(16, "0"), ...delta(" word") });

/** What the gateway asks of a key (src/key_lookup.rs), in its order. */
const KEY = {
  id: "key_bench",
  project_id: "bench",
  label: "bench",
  prefix: "msk_bench",
  disabled: 0,
  expires_at: null,
  models: null,
  endpoints: null,
  limits: "{}",
  budget: null,
  settings: "{}",
  project_budget: null,
  bindings: "[]",
};

/** In the form of D1's answers; a batch of two reads both, a single query the first. */
function answerWith(rows) {
  const meta = {
    duration: 0,
    changes: 1,
    last_row_id: 0,
    changed_db: true,
    size_after: 0,
    rows_read: 1,
    rows_written: 1,
  };
  const one = { success: true, results: { columns: Object.keys(KEY), rows }, meta };
  return Buffer.from(JSON.stringify([one, one]));
}
const keyAnswer = answerWith([Object.values(KEY)]);
const noAnswer = answerWith([]);

// A request that its sender gave up is nobody's failure here.
const server = createServer(
  (request, response) => void answer(request, response).catch(() => response.destroy()),
);

async function answer(request, response) {
  let stream;
  let asksForKey = false;
  let isFirst = true;
  for await (const chunk of request) {
    // What tells requests apart stands at the head of each body; the rest is only taken in.
    if (isFirst) {
      const head = chunk.toString("latin1", 0, 4_000);
      stream = /bench-(flat|paced|slow)-(\d+)/.exec(head.slice(0, 200));
      asksForKey = head.includes("FROM api_keys");
    }
    isFirst = false;
  }
  if (request.url.startsWith("/query")) return sendJson(response, asksForKey ? keyAnswer : noAnswer);
  if (!stream) return sendJson(response, completion);
  response.writeHead(200, {
    "content-type": "text/event-stream; charset=utf-8",
    "x-request-id": "req_bench",
  });
  const [, kind, count] = stream;
  await (kind === "flat" ? flatOut(response, Number(count)) : paced(response, Number(count), PACE_MS[kind]));
  response.end(ending);
}

function sendJson(response, body) {
  response.writeHead(200, { "content-type": "application/json", "content-length": body.length });
  response.end(body);
}

/** As fast as they are taken, but each event in a write of its own, as a provider sends them. */
async function flatOut(response, count) {
  for (let sent = 0; sent < count && !response.destroyed; sent++) {
    if (response.write(word)) await turn();
    else await new Promise((resolve) => response.once("drain", resolve).once("close", resolve));
  }
}

async function paced(response, count, pace) {
  const since = performance.now();
  for (let sent = 0; sent < count && !response.destroyed; sent++) {
    response.write(stamped());
    await sleep(Math.max(0, since + (sent + 1) * pace - performance.now()));
  }
}

server.keepAliveTimeout = 600_000; // A connection closed while it is being used again would be an error.
server.listen(0, "127.0.0.1", () => process.send({ port: server.address().port }));
process.on("disconnect", () => process.exit()); // Its parent is gone.
process.on("SIGINT", () => {}); // Ctrl-C is the parent's to handle.
