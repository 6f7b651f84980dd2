// Owns `npm run bench:longmemeval`: how well a gateway's memory answers the questions of LongMemEval, and at what cost.
// Invariant: what was paid for is kept, whatever ends the run; the same command goes on where it stopped.
import { existsSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { parseArgs } from "node:util";
import { dim, green, main, red, Stop } from "../../scripts/say.mjs";
import { clientOf } from "./client.mjs";
import { questionsIn, TYPES } from "./dataset.mjs";
import { openJournal } from "./journal.mjs";
import { answerAndJudge } from "./question.mjs";
import { summaryOf, textOf } from "./report.mjs";
import { pricesFrom } from "./score.mjs";
import { HISTORY, INGEST } from "./thread.mjs";

const USAGE = `npm run bench:longmemeval -- --data FILE --model MODEL [options]

  --data FILE            a file of LongMemEval (longmemeval_s.json, _m or _oracle), unpacked
  --model MODEL          the model that answers, as the gateway names it
  --judge MODEL          the model that judges (openai/gpt-4o-2024-08-06, as the benchmark's own)
  --gateway URL          the gateway (http://127.0.0.1:8787); its key is taken from GATEWAY_KEY
  --judge-url URL        where the judge is, if not behind the gateway; its key is taken from JUDGE_KEY
  --history memory|full|none
                         what the model gets beside the question: what the gateway remembers, all sessions in the
                         prompt, or nothing (memory)
  --ingest turns|messages
                         sessions go in as conversations, each answered with a word by a model, or by the memory API,
                         with their dates and without any model (turns)
  --ingest-model MODEL   the model for \`turns\` (the one that answers; a cheap one does as well)
  --out FILE             the results; a file that is there is gone on with (longmemeval-results.jsonl)
  --json FILE            writes the summary as JSON
  --report               only says what the results are so far; asks nobody
  --limit N, --type TYPE, --only ID
                         fewer questions: the first N, of these types, these; the last two may be repeated
  --concurrency N        questions at a time (4)
  --retries N            repetitions of a call that failed for now (5)
  --timeout SECONDS      the longest wait for one answer (300)
  --rest SECONDS         the longest wait for the memory to come to rest (900)
  --settle SECONDS       how long it must have rested (3)
  --price MODEL=INPUT/OUTPUT[/CACHED]
                         US dollars a million tokens, once for each model
`;

const OPTIONS = {
  data: { type: "string" },
  model: { type: "string" },
  judge: { type: "string", default: "openai/gpt-4o-2024-08-06" },
  gateway: { type: "string", default: "http://127.0.0.1:8787" },
  "judge-url": { type: "string" },
  history: { type: "string", default: "memory" },
  ingest: { type: "string", default: "turns" },
  "ingest-model": { type: "string" },
  out: { type: "string", default: "longmemeval-results.jsonl" },
  json: { type: "string" },
  report: { type: "boolean", default: false },
  limit: { type: "string" },
  type: { type: "string", multiple: true, default: [] },
  only: { type: "string", multiple: true, default: [] },
  concurrency: { type: "string", default: "4" },
  retries: { type: "string", default: "5" },
  timeout: { type: "string", default: "300" },
  rest: { type: "string", default: "900" },
  settle: { type: "string", default: "3" },
  price: { type: "string", multiple: true, default: [] },
  help: { type: "boolean", short: "h", default: false },
};

/** So many failures before the first success are no accident. */
const HOPELESS = 5;

async function bench() {
  const values = optionsOf(process.argv.slice(2));
  if (values.help) return void console.log(USAGE);
  const { prices, wrong } = pricesFrom(values.price);
  if (wrong !== undefined)
    throw new Stop(`--price ${wrong}: MODEL=INPUT/OUTPUT[/CACHED] is expected, in dollars`);
  const settings = values.report
    ? undefined
    : {
        data: basename(values.data),
        model: values.model,
        judge: values.judge,
        history: values.history,
        ingest: values.history === "memory" ? values.ingest : null,
      };
  if (values.report && !existsSync(values.out)) throw new Stop(`there are no results in ${values.out} yet`);
  const journal = openJournal(values.out, settings);
  const failures = values.report ? [] : await ask(values, journal);
  const summary = summaryOf(journal, prices);
  console.log(`\n${textOf(summary)}`);
  if (values.json) writeFileSync(values.json, `${JSON.stringify(summary, null, 2)}\n`);
  if (failures.length === 0) return;
  throw new Stop(
    `${failures.length} questions are not done; the same command tries them again:\n` +
      failures.map(({ id, why }) => `  ${id}: ${why}`).join("\n"),
  );
}

/** Takes all wanted questions through their steps, some at a time; gives those that failed. */
async function ask(values, journal) {
  const limits = { retries: values.retries, timeoutMs: values.timeout * 1000 };
  const key = process.env.GATEWAY_KEY;
  if (!key) throw new Stop("GATEWAY_KEY is not set: it holds the gateway's key (msk_…)");
  const gateway = clientOf(values.gateway, key, limits);
  const judgeKey = values["judge-url"] ? process.env.JUDGE_KEY : key;
  if (!judgeKey) throw new Stop("JUDGE_KEY is not set: it holds the key for --judge-url");
  const context = {
    journal,
    gateway,
    judge: clientOf(values["judge-url"] ?? values.gateway, judgeKey, limits),
    options: {
      ...values,
      ingestModel: values["ingest-model"] ?? values.model,
      rest: { withinMs: values.rest * 1000, settleMs: values.settle * 1000 },
    },
  };
  const questions = wanted(values);
  const failures = [];
  let done = 0;
  const worker = async () => {
    for (;;) {
      const { value: question, done: over } = await questions.next();
      if (over) return;
      const known = journal.of(question.id).judged !== undefined;
      try {
        await answerAndJudge(question, context);
      } catch (error) {
        if (error instanceof Stop) throw error;
        if ([401, 403].includes(error.status)) throw new Stop(error.message);
        failures.push({ id: question.id, why: error.message });
        console.log(`  ${red("✗")} ${question.id} ${error.message}`);
        if (failures.length >= HOPELESS && done === 0)
          throw new Stop(
            `the first ${HOPELESS} questions failed, so the others were not tried: ${error.message}`,
          );
        continue;
      }
      done += 1;
      const mark = journal.of(question.id).judged.correct ? green("right") : red("wrong");
      if (!known) console.log(`  ${String(done).padStart(4)} ${question.id} ${question.type} ${mark}`);
    }
  };
  await Promise.all(Array.from({ length: values.concurrency }, worker));
  if (done + failures.length === 0)
    throw new Stop("no question of the data file is of that type or has that id");
  console.log(dim(`  ${done} done, ${failures.length} failed`));
  return failures;
}

async function* wanted({ data, limit, type, only }) {
  let given = 0;
  for await (const question of questionsIn(data)) {
    if (type.length && !type.includes(question.type)) continue;
    if (only.length && !only.includes(question.id)) continue;
    if (given === limit) return;
    given += 1;
    yield question;
  }
}

function optionsOf(args) {
  let values;
  try {
    ({ values } = parseArgs({ args, options: OPTIONS }));
  } catch (error) {
    throw new Stop(`${error.message}\n\n${USAGE}`);
  }
  if (values.help) return values;
  const required = values.report ? [] : ["data", "model"];
  for (const name of required) if (!values[name]) throw new Stop(`--${name} is missing\n\n${USAGE}`);
  const among = (name, allowed) => {
    for (const value of [values[name]].flat())
      if (!allowed.includes(value))
        throw new Stop(`--${name} ${value}: one of ${allowed.join(", ")} is expected`);
  };
  among("history", Object.keys(HISTORY));
  among("ingest", Object.keys(INGEST));
  among("type", TYPES);
  for (const [name, least] of [
    ["limit", 1],
    ["concurrency", 1],
    ["retries", 0],
    ["timeout", 1],
    ["rest", 0],
    ["settle", 0],
  ]) {
    if (values[name] === undefined) continue;
    const number = Number(values[name]);
    const whole = ["limit", "concurrency", "retries"].includes(name);
    if (!(number >= least) || (whole && !Number.isInteger(number)))
      throw new Stop(
        `--${name} ${values[name]}: a ${whole ? "whole number" : "number"} from ${least} is expected`,
      );
    values[name] = number;
  }
  return values;
}

await main(bench);
