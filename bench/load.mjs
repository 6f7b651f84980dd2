// Owns sending requests and timing their answers, in a process of its own: one job a message, one result back.
// Invariant: an answer that is not whole, or not what was asked for, ends the job with an error; it is never
// counted.
import { Agent, request } from "node:http";

const TIMEOUT_MS = 20_000;
let threads = 0;

/**
 * `job`: { url, headers, body, concurrency, seconds, limit } and what the answers must be: { bytes, memory }.
 * Stops at `seconds` or after `limit` requests; `freshThread` gives each request a thread of its own.
 */
async function run(job) {
  const agent = new Agent({ keepAlive: true, maxSockets: job.concurrency });
  const samples = { first: [], whole: [], delay: [] };
  let left = job.limit;
  let bytes;
  const since = performance.now();
  const until = since + job.seconds * 1000;
  const client = async () => {
    while (left > 0 && performance.now() < until) {
      left--;
      bytes = await one(job, agent, samples);
    }
  };
  try {
    await Promise.all(Array.from({ length: job.concurrency }, client));
  } finally {
    agent.destroy();
  }
  const elapsed = (performance.now() - since) / 1000;
  const { first, whole, delay } = samples;
  return {
    requests: whole.length,
    perSecond: whole.length / elapsed,
    bytes,
    ...percentiles("first", first),
    ...percentiles("whole", whole),
    ...(delay.length > 0 && percentiles("delay", delay)),
  };
}

function one(job, agent, samples) {
  return new Promise((resolve, reject) => {
    const headers = { ...job.headers, "content-length": Buffer.byteLength(job.body) };
    if (job.freshThread) headers["x-thread-id"] = `bench-${process.pid}-${threads++}`;
    const since = performance.now();
    let first;
    let bytes = 0;
    const sent = request(job.url, { method: "POST", agent, headers, timeout: TIMEOUT_MS }, (answer) => {
      const wrong = complaint(job, answer);
      if (wrong)
        return answer.toArray().then((all) => reject(new Error(`${wrong}: ${Buffer.concat(all)}`)), reject);
      answer.on("data", (chunk) => {
        first ??= performance.now() - since;
        bytes += chunk.length;
        if (job.timesEvents) pushDelays(chunk, samples.delay);
      });
      answer.on("end", () => {
        if (job.bytes !== undefined && bytes !== job.bytes)
          return reject(new Error(`an answer of ${bytes} bytes, not ${job.bytes}`));
        samples.first.push(first);
        samples.whole.push(performance.now() - since);
        resolve(bytes);
      });
      answer.on("error", reject);
    });
    sent.on("timeout", () => sent.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`)));
    sent.on("error", reject);
    sent.end(job.body);
  });
}

function complaint(job, answer) {
  if (answer.statusCode !== 200) return `status ${answer.statusCode}`;
  const memory = answer.headers["x-memory-status"];
  if (job.memory && memory !== job.memory) return `x-memory-status ${memory}, not ${job.memory}`;
}

/** From the provider's write to here, for every stamped event that begins and ends in this chunk. */
function pushDelays(chunk, delays) {
  const now = Number(process.hrtime.bigint() / 1000n);
  for (const [, sent] of chunk.toString("latin1").matchAll(/"sent_us":"(\d{16})"/g)) {
    delays.push((now - Number(sent)) / 1000);
  }
}

/** In milliseconds. */
function percentiles(name, values) {
  values.sort((a, b) => a - b);
  const at = (share) => values[Math.min(values.length - 1, Math.floor(values.length * share))];
  return { [`${name}50`]: at(0.5), [`${name}90`]: at(0.9), [`${name}99`]: at(0.99) };
}

process.on("message", (job) =>
  run(job).then(
    (result) => process.send({ result }),
    (error) => process.send({ error: error.message }),
  ),
);
process.on("disconnect", () => process.exit()); // Its parent is gone.
process.on("SIGINT", () => {}); // Ctrl-C is the parent's to handle.
