// Owns: the edits by which a model would condense notes, by fixed rules.
// Invariant: pure and deterministic; no note is named by two edits, and nothing is lost but what another note says, too.

import { factsIn } from "./facts.mjs";
import { attributes, closed, misformed, replacedIn, replacing, section, workFor } from "./notes.mjs";

/** The reflector's answer; null if the conversation is no request to it. */
export function reflect({ turns }) {
  const lines = workFor("reflector", "notes", turns);
  if (lines === null) return null;
  const notes = readNotes(section(lines, "notes"));
  const keyed = notes.filter(({ key }) => key),
    others = notes.filter(({ key }) => !key);
  const edits = [...alike(keyed, ({ key }) => key).flatMap(condense), ...alike(others, told).flatMap(drop)];
  return closed(edits, "NOTHING TO CHANGE");
}

const NOTE =
  /^\[(\d+)\] ([HML]) (user|assistant|tool) (\d{4}-\d{2}-\d{2} \d{2}:\d{2})((?: [@=]\S+)*) \| (.+)$/;
const CHILD = /^ \[(\d+)\] child of (\d+) \| (.+)$/;

/** Notes `{ id, priority, at, days, key, text, children: [text] }`. */
function readNotes(lines) {
  const notes = [],
    ids = new Set();
  for (const [n, line] of lines.entries()) {
    const where = `line ${n + 1} of <notes>`;
    const note = NOTE.exec(line),
      child = CHILD.exec(line);
    if (!note && !child) throw misformed(`${where} is no note: ${line.slice(0, 100)}`);
    const id = Number((note ?? child)[1]);
    if (ids.has(id)) throw misformed(`${where} has the id ${id} a second time`);
    ids.add(id);
    if (child) {
      const parent = notes.at(-1);
      if (parent?.id !== Number(child[2])) throw misformed(`${where} does not stand under note ${child[2]}`);
      parent.children.push(child[3]);
      continue;
    }
    const [, , priority, speaker, at, marks, text] = note;
    const mark = (sign) => new RegExp(` ${sign}(\\S+)`).exec(marks)?.[1];
    const [from, to = from] = mark("@")?.split("..") ?? [];
    notes.push({
      id,
      priority,
      at,
      days: from && { from, to },
      // A fact of the user's has its topic for a key, whether or not it is told with one.
      key: mark("=") ?? (priority === "H" && speaker === "user" ? topicOf(text) : undefined),
      text,
      children: [],
    });
  }
  return notes;
}

const topicOf = (text) =>
  factsIn([{ role: "system", text }])
    .keys()
    .next().value;
const told = ({ text, children }) => [text, ...children].join("\n");

/** The groups of two and more notes that are alike in `by`, oldest note first. */
function alike(notes, by) {
  const groups = new Map();
  for (const note of notes) groups.set(by(note), [...(groups.get(by(note)) ?? []), note]);
  return [...groups.values()]
    .filter((group) => group.length > 1)
    .map((group) => group.sort((a, b) => a.at.localeCompare(b.at) || a.id - b.id));
}

const drop = (same) => same.slice(0, -1).map(({ id }) => `DROP ${id} BY ${same.at(-1).id}`);

/** Of notes about one thing the newest is true; what it replaces stays named. */
function condense(notes) {
  if (alike(notes, told).some((same) => same.length === notes.length)) return drop(notes);
  // Children would go with a note that is merged away.
  const merged = notes.filter(({ children }) => children.length === 0);
  if (merged.length < 2) return [];
  const newest = merged.at(-1);
  const priority = ["H", "M", "L"].find((letter) => merged.some((note) => note.priority === letter));
  const key = newest.key.includes(".") ? newest.key : undefined;
  const ids = merged.map(({ id }) => id).sort((a, b) => a - b);
  return [
    `MERGE ${ids.join(",")} ${priority}${attributes({ days: spanned(merged), key })} | ${latest(merged)}`,
  ];
}

/** From the first to the last day that any of the notes refers to. */
function spanned(notes) {
  const days = notes.flatMap(({ days }) => days ?? []);
  if (days.length === 0) return undefined;
  return {
    from: days.map(({ from }) => from).sort()[0],
    to: days
      .map(({ to }) => to)
      .sort()
      .at(-1),
  };
}

function latest(notes) {
  const { text } = replacedIn(notes.at(-1).text);
  const value = (of) =>
    factsIn([{ role: "system", text: of }])
      .values()
      .next().value?.value;
  const before = notes
    .toReversed()
    .flatMap((note) => [value(replacedIn(note.text).text), ...replacedIn(note.text).before])
    .filter((one) => one !== undefined && one !== value(text));
  return replacing(text, [...new Set(before)]);
}
