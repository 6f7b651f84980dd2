// Owns the load of a soak: slow streams of all dialects, one after the other in each of many slots, some of them left in the middle.
// Invariant: a stream counts as whole only where its client has seen the end that its dialect has.
import { randomUUID } from "node:crypto";
import { request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { newKey } from "../../scripts/keys.mjs";

export const EVENTS = 12; // At two a second a stream takes six seconds.
const LEAVERS = 5; // One in so many leaves in the middle.
const HASTY = 7; // One in so many has a key that must be looked up, and leaves before or soon after it is.
const HASTY_MS = 30;
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

/** A thread that nothing was said in. */
export const newThread = () => ({ id: `soak-${randomUUID()}`, asked: 0, whole: 0 });

/** Asks one stream after the other until the time is up; each slot has a thread of its own. */
export async function keepAsking({ slot, until, base, key, seen, thread, remembers, spread }) {
  // Not all in one moment: that would be a measurement of the machine's queue for new connections.
  await sleep(Math.random() * spread);
  while (Date.now() < until) {
    const turn = thread.asked++;
    const { path, body, end } = DIALECTS[(slot + turn) % DIALECTS.length];
    const isHasty = (slot + turn) % HASTY === 0;
    const leaves = (slot + turn) % LEAVERS === 0;
    const leaveAfter = isHasty
      ? Math.random() * HASTY_MS
      : leaves
        ? 1_000 + Math.random() * 3_000
        : undefined;
    const outcome = await stream(base + path, {
      headers: {
        authorization: `Bearer ${isHasty ? newKey() : key}`,
        "content-type": "application/json",
        ...(remembers && { "x-thread-id": thread.id, "x-resource-id": `person-${slot}` }),
      },
      body: JSON.stringify(body(`turn ${turn} of ${slot}`)),
      leaveAfter,
      end,
    });
    if (outcome === "whole") thread.whole++;
    if (outcome === "whole" || outcome === "left") seen[outcome]++;
    else count(seen.errors, outcome);
  }
}

const count = (errors, what) => errors.set(what, (errors.get(what) ?? 0) + 1);

/** Asks for so many whole answers, without memory, a few at a time: each is over in a few milliseconds. */
export async function askForShort(times, { base, key, seen }) {
  const left = Array.from({ length: times }).values();
  const askOn = async () => {
    for (const _ of left) {
      const answer = await fetch(`${base}/v1/chat/completions`, {
        method: "POST",
        headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
        body: JSON.stringify({ model: "slow/bench-json", messages: [{ role: "user", content: "hello" }] }),
      });
      await answer.text();
      if (answer.ok) seen.short++;
      else count(seen.errors, `status ${answer.status}`);
    }
  };
  await Promise.all(Array.from({ length: 8 }, askOn));
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
        // A plain close workerd on one machine only notices at its next write; the platform's network tells at once.
        asked.socket?.resetAndDestroy();
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
