// Owns `npm run soak`: many slow streams at once through one bare workerd, of all dialects, with and without memory, some
// of them left in the middle; then a count of what the threads kept, and of what workerd keeps in memory.
//   --streams N   how many at once (1000)
//   --seconds N   for how long new ones begin (60)
//   --plain N     one in so many has no memory (4); with 1 none has: what the threads' objects weigh is the difference
//   --rounds N    the same so many times (1), each with threads of its own and some thousand short requests, and after each what
//                 is left in memory when all has come to rest: what goes on growing from one to the next is a leak
//   --build DIR   the build to run; without it the release build, made new if need be
// Invariant: everything stays on this machine, and whatever ends this process ends what it started. What is reported as lost
// is a turn that its client saw whole and its thread does not have.
import { fork } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { build } from "../../scripts/build.mjs";
import { newKey } from "../../scripts/keys.mjs";
import { root } from "../../scripts/paths.mjs";
import { dim, main, step, Stop } from "../../scripts/say.mjs";
import { startTarget } from "../targets.mjs";
import { inspectorOf, resident } from "./memory.mjs";
import { askForShort, EVENTS, keepAsking, newThread } from "./streams.mjs";
import { lostTurns } from "./threads.mjs";

/** How many short requests follow on the streams of a round. */
const SHORT = 2_000;

const megabytes = (bytes) => Math.round(bytes / 1024 ** 2);
const kilobytes = (bytes) => Math.round(bytes / 1024);

const folder = mkdtempSync(join(tmpdir(), "memory-gateway-soak-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
/** The provider's process ends with the channel to it; workerd is let go before its storage. */
let gateway;
for (const [signal, code] of Object.entries({ SIGINT: 130, SIGTERM: 143, SIGHUP: 129 })) {
  process.on(signal, () => {
    console.log(dim("\nstopping …"));
    void Promise.resolve(gateway?.stop()).then(() => process.exit(code));
  });
}

async function soak() {
  const { values } = parseArgs({
    options: {
      streams: { type: "string", default: "1000" },
      seconds: { type: "string", default: "60" },
      plain: { type: "string", default: "4" },
      rounds: { type: "string", default: "1" },
      build: { type: "string" },
    },
  });
  const [streams, seconds, plain, rounds] = [values.streams, values.seconds, values.plain, values.rounds].map(
    Number,
  );
  if (!values.build) await step("build the Worker", () => build());
  const upstream = fork(join(root, "bench", "upstream.mjs"));
  const { port } = await new Promise((resolve) => upstream.once("message", resolve));
  const provider = `http://127.0.0.1:${port}`;
  const inspector = rounds > 1 ? await inspectorOf() : undefined;
  gateway = await startTarget("gateway", {
    folder,
    upstream: provider,
    vars: { PROVIDERS: JSON.stringify({ slow: { base_url: `${provider}/v1` } }) },
    ...(inspector && { flags: inspector.flags }),
    ...(values.build && { build: values.build }),
  });
  const base = new URL(gateway.url).origin;
  const key = newKey();

  const memory = [];
  const sample = () => memory.push(megabytes(resident(gateway.pid)));
  sample();
  const sampling = setInterval(sample, 1_000);
  const seen = { whole: 0, left: 0, short: 0, errors: new Map() };
  const kept = { lost: 0, doubled: 0, unread: 0 };
  let held = 0;
  let remembering = 0;
  for (let round = 1; round <= rounds; round++) {
    const threads = Array.from({ length: streams }, newThread);
    const until = Date.now() + seconds * 1_000;
    await Promise.all(
      threads.map((thread, slot) =>
        keepAsking({
          ...{ slot, until, base, key, seen, thread },
          remembers: slot % plain !== 0,
          spread: Math.min(5_000, seconds * 200),
        }),
      ),
    );
    if (inspector) await askForShort(SHORT, { base, key, seen });
    const memories = threads.filter((_, slot) => slot % plain !== 0);
    remembering += memories.length;
    const counted = await lostTurns(base, key, memories).catch((error) => {
      throw new Stop(
        `the gateway is gone (${error.cause ?? error}). Its memory, MB: ${memory.join(" ")}. What it wrote:\n${gateway.output()}`,
      );
    });
    for (const what of Object.keys(kept)) kept[what] += counted[what];
    if (!inspector) continue;
    const rest = await inspector.atRest(gateway);
    held = rest.requests - 1; // One is its own.
    console.log(
      `  round ${round}, ${seen.whole + seen.left} streams and ${seen.short} short requests so far; at rest: ${megabytes(rest.resident)} MB, ` +
        `JavaScript's heap ${kilobytes(rest.heap)} kB, Rust's ${kilobytes(rest.wasm)} kB, ` +
        `requests still held ${held}, objects still there ${rest.databases}`,
    );
  }
  await sleep(2_000);
  sample();
  clearInterval(sampling);
  if (seen.errors.size > 0) console.log(gateway.output());
  await gateway.stop();
  upstream.kill();

  const errors = [...seen.errors].map(([what, times]) => `${times} × ${what}`);
  console.log(
    `${streams} streams at once, new ones for ${seconds} s, ${EVENTS} events of half a second each`,
  );
  console.log(`  whole ${seen.whole}, left by their clients ${seen.left}, errors ${errors.join("; ") || 0}`);
  console.log(
    `  threads ${remembering}: turns lost ${kept.lost}, doubled ${kept.doubled}, not readable ${kept.unread}`,
  );
  const tenth = Math.max(1, Math.floor(memory.length / 10));
  console.log(
    `  workerd's memory in MB, ten points of the run: ${memory.filter((_, at) => at % tenth === 0).join(" ")}`,
  );
  const most = Math.max(...memory);
  const each = (((most - memory[0]) * 1024) / streams).toFixed(0);
  console.log(`  most ${most}, ${each} KB a stream above the start; at the end ${memory.at(-1)}`);
  if (errors.length > 0 || kept.lost > 0 || kept.doubled > 0 || kept.unread > 0 || held > 0)
    process.exitCode = 1;
}

await main(soak);
