// Owns a question's way through the gateway's memory: its sessions go in, the memory comes to rest, the question is asked.
// Invariant: each question has a thread and a resource of its own, and so does each attempt, so that nothing of one is
// remembered in another; the question itself is stored nowhere.
import { setTimeout as sleep } from "node:timers/promises";
import { Stop } from "../../scripts/say.mjs";
import { CallError } from "./client.mjs";
import { timeOf } from "./dataset.mjs";

/** A session's last words, told from those of others: a message that was seen before would be taken for a repetition. */
const closing = ({ date, id }) => `[${date}] Session ${id} ends here. Reply with exactly: OK`;
/** How many messages a call of the memory API gets. */
const BATCH = 100;
const POLL_MS = 500;
const BUSY = ["isObserving", "isReflecting", "isBufferingObservation", "isBufferingReflection"];

export const headersOf = (thread, mode) => ({
  "x-thread-id": thread,
  "x-resource-id": thread,
  "x-memory-mode": mode,
});

/** The ways in which a question's sessions reach the memory. `onCall` is told each call of a model that it took. */
export const INGEST = {
  /**
   * As conversations: a request for each session with all its turns, which a model answers with a word. Works with every
   * gateway, and costs what reading the sessions once costs.
   */
  async turns(client, thread, sessions, model, onCall) {
    for (const session of sessions) {
      const messages = dated(session);
      if (messages.length === 0) continue;
      const { usage, memoryStatus } = await client.chat("ingest", {
        model,
        messages: [...messages, { role: "user", content: closing(session) }],
        headers: headersOf(thread, "write"),
      });
      onCall(usage);
      if (memoryStatus === null)
        throw new Stop(
          "the gateway did not answer with x-memory-status: is it this gateway, and this address?",
        );
      if (memoryStatus === "degraded")
        throw new CallError("the gateway could not reach the thread in time (x-memory-status: degraded)", 0);
    }
  },

  /** By the memory API: stored as they are, with their times, and no model is asked. */
  async messages(client, thread, sessions) {
    const path = `/v1/memory/threads/${encodeURIComponent(thread)}/messages`;
    await client.call("POST", "/v1/memory/threads", { body: { id: thread, resourceId: thread } });
    const messages = sessions.flatMap(({ date, turns }) => {
      const start = timeOf(date);
      return turns.map(({ role, content }, at) => ({
        role,
        content,
        // Turns of a session have no times of their own; a second apart keeps them in order.
        ...(start !== null && { createdAt: new Date(start + at * 1000).toISOString() }),
      }));
    });
    for (let at = 0; at < messages.length; at += BATCH)
      await client.call("POST", path, { body: { messages: messages.slice(at, at + BATCH) } });
  },
};

/** A session's turns; the first one of the user says when it was. */
function dated({ date, turns }) {
  const first = turns.findIndex(({ role }) => role === "user");
  return turns.map(({ role, content }, at) =>
    at === first ? { role, content: `[${date}]\n${content}` } : { role, content },
  );
}

/**
 * Waits until the gateway has nothing more to note about a thread. Gives true when it is so, null when the gateway has
 * no such record, and false when `withinMs` have passed.
 */
export async function atRest(client, thread, { withinMs, settleMs }) {
  const path = `/v1/memory/threads/${encodeURIComponent(thread)}/observations/record?resourceId=${encodeURIComponent(thread)}`;
  const until = performance.now() + withinMs;
  let restingSince = null;
  for (;;) {
    let record;
    try {
      ({ record } = (await client.call("GET", path)).json);
    } catch (error) {
      if (error.status === 404 || error.status === 405) return null;
      throw error;
    }
    const busy = record && (BUSY.some((flag) => record[flag]) || isDue(record));
    // Work is planned a moment after the last turn is stored, so one look is not enough.
    if (busy) restingSince = null;
    else restingSince ??= performance.now();
    if (restingSince !== null && performance.now() - restingSince >= settleMs) return record ? true : null;
    if (performance.now() > until) return false;
    await sleep(Math.min(POLL_MS, settleMs || POLL_MS));
  }
}

/** More unnoted messages than the thread's own limit: they will be noted, though nothing runs at this instant. */
function isDue({ pendingMessageTokens, config }) {
  const limit = config?.messageTokens ?? config?.observation?.messageTokens;
  return typeof limit === "number" && pendingMessageTokens >= limit;
}

/** The ways in which a question is asked: what the model gets beside it. */
export const HISTORY = {
  /** What the gateway remembers. */
  memory: ({ date, question }, thread) => ({
    messages: [{ role: "user", content: asked(date, question) }],
    headers: headersOf(thread, "read"),
  }),

  /** All sessions, in the prompt itself: what memory is to be compared with. */
  full: ({ date, question, sessions }) => {
    const history = sessions.map(({ date, turns }) =>
      [`Session of ${date}`, ...turns.map(({ role, content }) => `${role}: ${content}`)].join("\n"),
    );
    return {
      messages: [
        { role: "system", content: `Earlier conversations with this user:\n\n${history.join("\n\n")}` },
        { role: "user", content: asked(date, question) },
      ],
    };
  },

  /** Nothing: what the model guesses. */
  none: ({ date, question }) => ({ messages: [{ role: "user", content: asked(date, question) }] }),
};

const asked = (date, question) => `It is ${date} now.\n\n${question}`;
