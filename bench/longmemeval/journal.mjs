// Owns the file of results: one JSON line for each thing that happened to a question.
// Invariant: a line is written when its work is done and paid for; a run that is broken off at any point goes on from
// there, with the same settings only.
import { randomBytes } from "node:crypto";
import { appendFileSync, existsSync, readFileSync, truncateSync } from "node:fs";
import { Stop } from "../../scripts/say.mjs";

/**
 * Opens a journal. `settings`: what the figures depend on; without them a journal is only read. Its threads are told from
 * those of other journals by `run`.
 */
export function openJournal(path, settings) {
  const lines = existsSync(path) ? linesOf(path) : [];
  let head = lines.shift();
  if (head !== undefined && head.event !== "settings")
    throw new Stop(`${path} is no file of results: name another with --out`);
  if (head !== undefined && settings !== undefined) checkSettings(path, head, settings);
  const run = head?.run ?? randomBytes(6).toString("hex");
  const write = (line) => appendFileSync(path, `${JSON.stringify(line)}\n`);
  const known = new Map();
  const entryOf = (id) => known.get(id) ?? { attempts: 0, calls: [] };
  const take = ({ event, id, ...fields }) => {
    const entry = entryOf(id);
    known.set(id, entry);
    if (event === "begun") entry.attempts += 1;
    else entry[event] = fields;
    entry.calls.push(...(fields.calls ?? []));
  };
  lines.forEach(take);
  const all = (event) => [...known.values()].flatMap((entry) => entry[event] ?? []);
  return {
    run,
    settings: head ?? settings,
    /** What is known of a question: its `attempts`, and its `ingested`, `answered` and `judged` as far as it came. */
    of: entryOf,
    add(event, id, fields) {
      if (head === undefined) write((head = { event: "settings", run, ...settings }));
      const line = { event, id, at: new Date().toISOString(), ...fields };
      write(line);
      take(line);
    },
    /** Everything of one kind, of all questions. */
    all,
    /** All calls that were paid for, those of broken-off attempts included. */
    calls: () => [...known.values()].flatMap(({ calls }) => calls),
  };
}

function linesOf(path) {
  const text = readFileSync(path, "utf8");
  // A run that was killed may have left half a line, which the next one must not be glued to.
  const whole = text.lastIndexOf("\n") + 1;
  if (whole < text.length) truncateSync(path, Buffer.byteLength(text.slice(0, whole)));
  return text
    .slice(0, whole)
    .split("\n")
    .filter((line) => line !== "")
    .map((line, at) => {
      try {
        return JSON.parse(line);
      } catch {
        throw new Stop(`line ${at + 1} of ${path} is no JSON. Is it a file of results?`);
      }
    });
}

function checkSettings(path, head, settings) {
  for (const [name, value] of Object.entries(settings)) {
    if (head[name] === value) continue;
    throw new Stop(
      `${path} was begun with ${name} ${head[name]}, and this run has ${value}. ` +
        "Results of both together would mean nothing: name another file with --out",
    );
  }
}
