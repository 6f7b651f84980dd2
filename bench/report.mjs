// Owns what is made of the measurements: medians, ratios, the printed tables.
// Invariant: a ratio is the median of the ratios of the rounds, each taken from two measurements side by side, so
// that a machine that changes its speed meanwhile does not change it.
import { bold, dim } from "../scripts/say.mjs";

/** [key, heading, digits, the one kind of table that has it] */
const COLUMNS = [
  ["perSecond", "req/s", 0],
  ["first50", "first byte ms", 2],
  ["whole50", "p50 ms", 2, "whole"],
  ["whole90", "p90 ms", 2, "whole"],
  ["whole99", "p99 ms", 1, "whole"],
  ["delay50", "delay p50 ms", 2, "events"],
  ["delay90", "delay p90 ms", 2, "events"],
  ["cpu", "CPU µs/req", 0],
  ["cpuPerEvent", "CPU µs/event", 1, "events"],
];

export function median(values) {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  if (sorted.length === 0) return undefined;
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * `rounds`: for each round `{ [target]: figures }`. Gives each target's medians, and the ratios of the gateway to
 * the other.
 */
export function summary(rounds, baseline) {
  const keys = COLUMNS.map(([key]) => key);
  const of = (pick) =>
    Object.fromEntries(keys.map((key) => [key, median(rounds.map((round) => pick(round, key)))]));
  return {
    [baseline]: of((round, key) => round[baseline][key]),
    gateway: of((round, key) => round.gateway[key]),
    ratio: of((round, key) => round.gateway[key] / round[baseline][key]),
    // What each adds to asking the provider directly, where that was measured.
    ...(rounds[0].direct && {
      added: of(
        (round, key) => (round.gateway[key] - round.direct[key]) / (round[baseline][key] - round.direct[key]),
      ),
    }),
  };
}

/** The tables of one part: answers as a whole, then streams; below each what is aimed at, where the part says so. */
export function partText({ title, baseline, results, aims = {} }) {
  const tables = ["whole", "events"].map((kind) => {
    const wanted = results.filter(({ events }) => Boolean(events) === (kind === "events"));
    if (wanted.length === 0) return "";
    const verdict = aims[kind] ? `\n  ${bold(aimText(wanted, kind, aims[kind]))}\n` : "";
    return `\n${table(wanted, baseline, kind)}${verdict}`;
  });
  return `\n${bold(title)}\n${tables.join("\n")}`;
}

const MEASURED = { whole: "CPU of a request that is not streamed", events: "CPU of an event" };

function aimText(results, kind, aim) {
  const ratios = results.map(({ medians }) => medians.ratio.cpu);
  const [least, most] = [Math.min(...ratios), Math.max(...ratios)].map((ratio) => ratio.toFixed(2));
  return `${MEASURED[kind]}: ${least} to ${most} times the baseline's; the aim is at most ${aim.toFixed(2)}.`;
}

const RATIOS = { ratio: "gateway / baseline", added: "added, gateway / baseline" };
const headingOf = (wanted) => COLUMNS.find(([key]) => key === wanted)[1];

function table(results, baseline, kind) {
  const columns = COLUMNS.filter(([, , , only]) => !only || only === kind);
  const rows = [["", "", ...columns.map(([, heading]) => heading)]];
  for (const { name, medians } of results) {
    for (const target of [baseline, "gateway", "ratio", ...(medians.added ? ["added"] : [])]) {
      const figures = columns.map(([key, , digits]) => {
        const value = medians[target][key];
        if (value === undefined || (target === "added" && !/ ms$/.test(headingOf(key)))) return "–";
        return target in RATIOS ? `${value.toFixed(2)}×` : value.toFixed(digits);
      });
      rows.push([target === baseline ? name : "", RATIOS[target] ?? target, ...figures]);
    }
  }
  const widths = rows[0].map((_, at) => Math.max(...rows.map((row) => row[at].length)));
  const line = (row) =>
    row.map((cell, at) => (at < 2 ? cell.padEnd(widths[at]) : cell.padStart(widths[at]))).join("  ");
  return rows
    .map((row) => `  ${row[1] === "" || row[1] === RATIOS.ratio ? bold(line(row)) : line(row)}`)
    .join("\n");
}

export function headerText(environment) {
  const { date, cpu, cores, os, node, workerd, wasm, load, rounds } = environment;
  return [
    bold("memory-gateway benchmark"),
    `  ${date}`,
    `  ${cpu}, ${cores} cores, ${os}`,
    `  node ${node}, workerd ${workerd}, ${wasm}`,
    `  ${rounds} round${rounds > 1 ? "s" : ""}, load average at the start ${load.toFixed(2)}` +
      (load > cores / 4 ? ": others are busy here, so trust the ratios more than the figures" : ""),
  ].join("\n");
}

/** What one has to know to read the tables. */
export const NOTES = dim(
  [
    "All on one machine, over loopback, on bare `workerd serve`: load generator, Workers and provider share the cores,",
    "so req/s is the whole chain's; CPU is that of the Worker's process alone, work after the answer included.",
    "Figures are medians of the rounds; ratios are medians of each round's ratio, so they are steadier than the",
    "figures, and not exactly their quotient. p99 is mostly the machine's; read p50, p90 and CPU.",
    "CPU µs/event is CPU µs/req divided by the events of a stream. `delay` is from the provider's write of an event",
    "to its arrival. Streams of a fixed number of events come as fast as they are taken.",
    "A new thread is a new database file, so its times are mostly the disk's; its CPU is not.",
    "The gateway's key lookup is a stand-in: workerd's own D1 client, but behind it a server that knows every key.",
    "The gateway asks it once in 30 s and remembers the answer, and tells it of each new thread.",
  ]
    .map((line) => `  ${line}`)
    .join("\n"),
);
