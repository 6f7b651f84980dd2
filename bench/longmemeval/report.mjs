// Owns what the benchmark says in the end, as text and as JSON.
// Invariant: pure; a figure that is not known is said to be unknown, never shown as nought.
import { cost, scores, tokens } from "./score.mjs";

/** Everything that a run found out, as plain data. `prices`: by model. */
export function summaryOf(journal, prices) {
  const answers = journal.all("answered");
  const spent = tokens(journal.calls()).map((sum) => ({ ...sum, usd: cost(sum, prices[sum.model]) }));
  const waits = journal.all("ingested");
  const known = spent.every(({ usd }) => usd !== null);
  return {
    settings: settingsOf(journal.settings),
    ...scores(journal.all("judged")),
    memory: {
      tokensPerQuestion: answers.length ? mean(answers.map(({ memoryTokens }) => memoryTokens)) : null,
      degraded: answers.filter(({ memoryStatus }) => memoryStatus === "degraded").length,
      notAtRest: waits.filter(({ rested }) => rested === false).length,
      restUnknown: waits.filter(({ rested }) => rested === null).length,
    },
    spent,
    usd: known ? spent.reduce((sum, { usd }) => sum + usd, 0) : null,
  };
}

const settingsOf = ({ data, model, judge, history, ingest }) => ({ data, model, judge, history, ingest });

const mean = (numbers) => numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
const percent = (share) => (share === null ? "–" : `${(share * 100).toFixed(1)} %`);
const dollars = (usd) => (usd === null ? "unknown" : `$${usd.toFixed(4)}`);

/** The summary as a table in plain text. */
export function textOf(summary) {
  const { settings, micro, macro, byType, abstention, memory, spent, usd } = summary;
  const row = (name, { right, all, share, interval: [low, high] }) => [
    name,
    `${right}/${all}`,
    percent(share),
    all === 0 ? "" : `${percent(low)} to ${percent(high)}`,
  ];
  const lines = [
    `LongMemEval (${settings.data}): ${settings.model}, history ${settings.history}, judged by ${settings.judge}`,
    "",
    ...table(
      ["", "right", "accuracy", "95 % interval (Wilson)"],
      [
        ...Object.entries(byType).map(([type, figures]) => row(type, figures)),
        row("all questions (micro)", micro),
        ["mean of types (macro)", "", percent(macro), ""],
        row("abstention (part of the above)", abstention),
      ],
    ),
    "",
    ...table(
      ["tokens", "model", "calls", "prompt", "cached", "completion", "cost"],
      spent.map((sum) => [
        sum.purpose,
        sum.model,
        ...[sum.calls, sum.prompt, sum.cached, sum.completion].map(String),
        dollars(sum.usd),
      ]),
    ),
    "",
    `cost together: ${usd === null ? "unknown (give each model's price with --price MODEL=INPUT/OUTPUT)" : dollars(usd)}`,
  ];
  if (settings.history === "memory") {
    const tokens = memory.tokensPerQuestion;
    lines.push(
      `memory put before the model: ${tokens === null ? "–" : Math.round(tokens)} tokens a question, estimated`,
    );
    lines.push("(what the gateway's own memory models cost is in its ledger, not in this table)");
    if (memory.degraded)
      lines.push(`${memory.degraded} answers were given without memory: it was not there in time`);
    if (memory.notAtRest)
      lines.push(`${memory.notAtRest} questions were asked before the memory came to rest`);
    if (memory.restUnknown)
      lines.push(
        `of ${memory.restUnknown} threads the gateway kept no record of notes, so nothing was waited for`,
      );
  }
  return lines.join("\n");
}

/** Columns side by side, the first two to the left and all others to the right. */
function table(head, rows) {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column].length)));
  const left = head[1] === "model" ? 2 : 1;
  return all.map((row) =>
    row
      .map((cell, column) => (column < left ? cell.padEnd(widths[column]) : cell.padStart(widths[column])))
      .join("  ")
      .trimEnd(),
  );
}
