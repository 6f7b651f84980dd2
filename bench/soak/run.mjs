// Owns `npm run soak`: many slow streams at once through one bare workerd, of all dialects, with and without memory, some
// of them left in the middle; then a count of what the threads kept.
//   --streams N   how many at once (1000)
//   --seconds N   for how long new ones begin (60)
//   --plain N     one in so many has no memory (4); with 1 none has: what the threads' objects weigh is the difference
//   --build DIR   the build to run; without it the release build, made new if need be
// Invariant: everything stays on this machine, and whatever ends this process ends what it started. What is reported as lost
// is a turn that its client saw whole and its thread does not have.
import { fork } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { build } from "../../scripts/build.mjs";
import { newKey } from "../../scripts/keys.mjs";
import { root } from "../../scripts/paths.mjs";
import { main, step, Stop } from "../../scripts/say.mjs";
import { startTarget } from "../targets.mjs";

const EVENTS = 12; // At two a second a stream takes six seconds.
const LEAVERS = 5; // One in so many leaves in the middle.
const MODEL = `slow/bench-slow-${EVENTS}`; // Its provider speaks Chat Completions alone; the others are translated.

const DIALECTS = [
  {
    path: "/v1/chat/completions",
    body: (text) => ({ model: MODEL, stream: true, messages: [{ role: "user", content: text }] }),
    end: "data: [DONE]",
  },
  {
    path: "/v1/responses",
    body: (text) => ({ model: MODEL, stream: true, store: false, input: text }),
    end: "event: response.completed",
  },
  {
    path: "/v1/messages",
    body: (text) => ({
      ...{ model: MODEL, stream: true, max_tokens: 1_000 },
      messages: [{ role: "user", content: text }],
    }),
    end: "event: message_stop",
  },
];

async function soak() {
  const { values } = parseArgs({
    options: {
      streams: { type: "string", default: "1000" },
      seconds: { type: "string", default: "60" },
      plain: { type: "string", default: "4" },
      build: { type: "string" },
    },
  });
  const [streams, seconds, plain] = [values.streams, values.seconds, values.plain].map(Number);
  if (!values.build) await step("build the Worker", () => build());
  const folder = mkdtempSync(join(tmpdir(), "memory-gateway-soak-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  const upstream = fork(join(root, "bench", "upstream.mjs"));
  process.on("exit", () => upstream.kill());
  const { port } = await new Promise((resolve) => upstream.once("message", resolve));
  const provider = `http://127.0.0.1:${port}`;
  const gateway = await startTarget("gateway", {
    folder,
    upstream: provider,
    vars: { PROVIDERS: JSON.stringify({ slow: { base_url: `${provider}/v1` } }) },
    ...(values.build && { build: values.build }),
  });
  const base = new URL(gateway.url).origin;
  const key = newKey();

  const memory = [];
  const sample = () => memory.push(residentMegabytes(gateway.pid));
  sample();
  const sampling = setInterval(sample, 1_000);
  const seen = { whole: 0, left: 0, errors: new Map() };
  const threads = [];
  const until = Date.now() + seconds * 1_000;
  const slots = Array.from({ length: streams }, (_, slot) =>
    keepAsking({
      ...{ slot, until, base, key, seen, threads },
      remembers: slot % plain !== 0,
      spread: Math.min(5_000, seconds * 200),
    }),
  );
  await Promise.all(slots);
  const rested = await lostTurns(base, key, threads).catch((error) => {
    throw new Stop(
      `the gateway is gone (${error.cause ?? error}). Its memory, MB: ${memory.join(" ")}. What it wrote:\n${gateway.output()}`,
    );
  });
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
    `  threads ${threads.length}: turns lost ${rested.lost}, doubled ${rested.doubled}, not readable ${rested.unread}`,
  );
  const tenth = Math.max(1, Math.floor(memory.length / 10));
  console.log(
    `  workerd's memory in MB, ten points of the run: ${memory.filter((_, at) => at % tenth === 0).join(" ")}`,
  );
  const most = Math.max(...memory);
  const each = (((most - memory[0]) * 1024) / streams).toFixed(0);
  console.log(`  most ${most}, ${each} KB a stream above the start; at the end ${memory.at(-1)}`);
  if (errors.length > 0 || rested.lost > 0 || rested.doubled > 0 || rested.unread > 0) process.exitCode = 1;
}

/** Asks one stream after the other until the time is up; each slot is a thread of its own. */
async function keepAsking({ slot, until, base, key, seen, threads, remembers, spread }) {
  const thread = { id: `soak-${randomUUID()}`, asked: 0, whole: 0 };
  if (remembers) threads.push(thread);
  // Not all in one moment: that would be a measurement of the machine's queue for new connections.
  await sleep(Math.random() * spread);
  for (let turn = 0; Date.now() < until; turn++) {
    const { path, body, end } = DIALECTS[(slot + turn) % DIALECTS.length];
    const leaves = (slot + turn) % LEAVERS === 0;
    thread.asked++;
    const outcome = await stream(base + path, {
      headers: {
        authorization: `Bearer ${key}`,
        "content-type": "application/json",
        ...(remembers && { "x-thread-id": thread.id, "x-resource-id": `person-${slot}` }),
      },
      body: JSON.stringify(body(`turn ${turn} of ${slot}`)),
      leaveAfter: leaves ? 1_000 + Math.random() * 3_000 : undefined,
      end,
    });
    if (outcome === "whole") thread.whole++;
    if (outcome === "whole" || outcome === "left") seen[outcome]++;
    else seen.errors.set(outcome, (seen.errors.get(outcome) ?? 0) + 1);
  }
}

/** One stream: "whole", "left", or what went wrong. */
function stream(url, { headers, body, leaveAfter, end }) {
  return new Promise((resolve) => {
    const asked = request(url, { method: "POST", headers, agent: false });
    let text = "";
    let left = false;
    const timer =
      leaveAfter &&
      setTimeout(() => {
        left = true;
        asked.destroy();
        resolve("left");
      }, leaveAfter);
    const done = (outcome) => {
      clearTimeout(timer);
      if (!left) resolve(outcome);
    };
    asked.on("error", (error) => done(error.code ?? error.message));
    asked.on("response", (answer) => {
      answer.setEncoding("utf8");
      answer.on("data", (more) => (text += more));
      answer.on("error", (error) => done(error.code ?? error.message));
      answer.on("close", () => {
        if (answer.statusCode !== 200) return done(`status ${answer.statusCode}`);
        done(answer.complete && text.includes(end) ? "whole" : "a stream that broke off");
      });
    });
    asked.end(body);
  });
}

/** What the threads kept, against what their clients saw. */
async function lostTurns(base, key, threads) {
  const counted = { lost: 0, doubled: 0, unread: 0 };
  for (const thread of threads.filter(({ asked }) => asked > 0)) {
    const answer = await fetch(`${base}/v1/memory/threads/${thread.id}/messages?limit=200`, {
      headers: { authorization: `Bearer ${key}` },
    });
    if (!answer.ok) {
      counted.unread++;
      continue;
    }
    const { messages } = await answer.json();
    const answers = messages.filter(
      ({ role, status }) => role === "assistant" && status !== "incomplete",
    ).length;
    const questions = new Set();
    for (const { role, content } of messages) {
      if (role !== "user") continue;
      const said = JSON.stringify(content);
      if (questions.has(said)) counted.doubled++;
      questions.add(said);
    }
    counted.lost += Math.max(0, thread.whole - answers) + Math.max(0, thread.whole - questions.size);
  }
  return counted;
}

function residentMegabytes(pid) {
  let status = "";
  try {
    status = readFileSync(`/proc/${pid}/status`, "latin1");
  } catch {
    // It has ended.
  }
  return Math.round(Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0) / 1024);
}

await main(soak);
