// Owns the steps of one question: ingest, wait, ask, judge.
// Invariant: a step that the journal knows is not taken again; one that was broken off begins in a new thread.
import { judgement, verdictOf } from "./judge.mjs";
import { atRest, HISTORY, INGEST } from "./thread.mjs";

/** How often a judge is asked that says neither yes nor no. */
const JUDGE_ATTEMPTS = 3;

export async function answerAndJudge(question, { journal, gateway, judge, options }) {
  const { id, type, abstention } = question;
  const about = { type, abstention };
  if (journal.of(id).judged) return;
  if (!journal.of(id).answered) {
    const thread =
      options.history === "memory" ? await ingested(question, { journal, gateway, options }) : null;
    const since = performance.now();
    const { messages, headers } = HISTORY[options.history](question, thread);
    const answer = await gateway.chat("answer", { model: options.model, messages, headers });
    journal.add("answered", id, {
      ...about,
      question: question.question,
      expected: question.answer,
      response: answer.text,
      memoryTokens: answer.memoryTokens,
      memoryStatus: answer.memoryStatus,
      tookMs: Math.round(performance.now() - since),
      calls: [answer.usage],
    });
  }
  const calls = [];
  for (let attempt = 1; ; attempt += 1) {
    const said = await judge.chat("judge", {
      model: options.judge,
      messages: [{ role: "user", content: judgement(question, journal.of(id).answered.response) }],
    });
    calls.push(said.usage);
    const correct = verdictOf(said.text);
    if (correct !== null) {
      journal.add("judged", id, { ...about, correct, calls });
      return;
    }
    if (attempt < JUDGE_ATTEMPTS) continue;
    journal.add("unjudged", id, { calls });
    throw new Error(`the judge said neither yes nor no: ${JSON.stringify(said.text.slice(0, 100))}`);
  }
}

/** The thread that holds the question's sessions. */
async function ingested({ id, sessions }, { journal, gateway, options }) {
  const done = journal.of(id).ingested;
  if (done) return done.thread;
  const thread = `longmemeval/${journal.run}/${id}/${journal.of(id).attempts + 1}`;
  journal.add("begun", id, { thread });
  const since = performance.now();
  const calls = [];
  try {
    await INGEST[options.ingest](gateway, thread, sessions, options.ingestModel, (call) => calls.push(call));
    const rested = await atRest(gateway, thread, options.rest);
    journal.add("ingested", id, { thread, rested, tookMs: Math.round(performance.now() - since), calls });
    return thread;
  } catch (error) {
    journal.add("brokenOff", id, { thread, calls });
    throw error;
  }
}
