// Owns: what the requests for notes (observer) and for edits of notes (reflector) share, and the notes' block in prompts.
// Invariant: a request that breaks the form is refused with the line that breaks it, so that a gateway which writes it
// wrongly is found out and not helped along.

import { invalid } from "./conversation.mjs";

const SECTIONS = ["notes", "transcript"];

/**
 * The lines of the user's text, if these turns are a request for the work of `worker`: one system text that speaks of it
 * (or of notes) in its first line, and one text of the user that begins with a section and ends with the section `last`.
 * Otherwise null.
 */
export function workFor(worker, last, turns) {
  const system = turns.filter(({ role }) => role === "system"),
    asked = turns.filter(({ role }) => role !== "system");
  if (system.length !== 1 || asked.length !== 1 || asked[0].role !== "user") return null;
  const [title] = system[0].text.split("\n", 1);
  if (!new RegExp(String.raw`\b(?:${worker}|notes)\b`, "i").test(title)) return null;
  const lines = asked[0].text.trimEnd().split("\n");
  return SECTIONS.includes(/^<(.*)>$/.exec(lines[0])?.[1]) && lines.at(-1) === `</${last}>` ? lines : null;
}

/** The lines between `<tag>` and `</tag>`, which stand in lines of their own; none where there is no such section. */
export function section(lines, tag) {
  const from = lines.indexOf(`<${tag}>`),
    to = lines.indexOf(`</${tag}>`);
  if (from < 0 && to < 0) return [];
  if (from < 0 || to < from) throw misformed(`<${tag}> is not closed behind its beginning`);
  for (const mark of [`<${tag}>`, `</${tag}>`])
    if (lines.indexOf(mark) !== lines.lastIndexOf(mark)) throw misformed(`${mark} stands there twice`);
  return lines.slice(from + 1, to);
}

export const misformed = (what) => invalid(`The request for notes is misformed: ${what}.`, "messages");

/** An answer of these lines, or of `nothing` where there are none, with the line that shows that it is whole. */
export const closed = (lines, nothing) => [...(lines.length ? lines : [nothing]), "END"].join("\n");

/** " @2026-12-03..2026-12-10 =user.name", each only where it is known. */
export const attributes = ({ days, key }) =>
  (days ? ` @${days.from}${days.to === days.from ? "" : `..${days.to}`}` : "") + (key ? ` =${key}` : "");

const REPLACED = " Before, it was ";

/** A statement that says what it replaces. The statement comes first, so that who looks for the fact finds the new one. */
export const replacing = (text, values) => (values.length ? `${text}${REPLACED}${values.join("; ")}.` : text);

/** The two halves of such a text: `{ text, before: [value] }`. */
export function replacedIn(whole) {
  const at = whole.indexOf(REPLACED);
  if (at < 0) return { text: whole, before: [] };
  const before = whole.slice(at + REPLACED.length).replace(/\.$/, "");
  return { text: whole.slice(0, at), before: before.split("; ") };
}

/** A system text without the notes in it, which are data. */
export const withoutNotes = (text) =>
  text.replace(/<(conversation_(?:profile|notes|now))>[\s\S]*?<\/\1>/g, "");

/** A system text without what its notes say that others than the user said, details included. */
export const withoutOthers = (text) =>
  text.replace(/^- \d{2}:\d{2} \((?:assistant|from a tool)\) .*(?:\n  - .*)*/gm, "");

/** What the user said by the notes in system texts, `{ day, time, text }`: lines "- 14:03 …" below one that names a day. */
export function* notesIn(turns) {
  for (const { role, text } of turns) {
    if (role !== "system") continue;
    let day = null;
    for (const line of withoutOthers(text).split("\n")) {
      const note = /^ *- (\d{2}:\d{2}) (.+)$/.exec(line);
      if (note && day) yield { day, time: note[1], text: note[2] };
      else if (!note) day = /\b\d{4}-\d{2}-\d{2}\b/.exec(line)?.[0] ?? day;
    }
  }
}
