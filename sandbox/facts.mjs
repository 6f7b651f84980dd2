// Owns: what the conversation states about the user, and the questions about it.
// Invariant: a fact is only ever taken from the text of a user or system turn, and not from notes on what others said; of
// two statements the later wins. When something was said is known from notes alone.

import { notesIn, withoutOthers } from "./notes.mjs";

// Every repetition below is bounded, so a pattern costs at most a constant for each place it could start at.
const NAME = String.raw`(\p{Lu}[\p{L}\p{M}'’-]{0,40}(?: \p{Lu}[\p{L}\p{M}'’-]{1,40}){0,3})`;
const TOPIC = String.raw`([\p{L}\p{N}'’-]{1,40}(?: [\p{L}\p{N}'’-]{1,40}){0,4}?)`;
// Looked at without being consumed: the next statement may stand in the same line.
const VALUE = String.raw`(?=([^\n!?;]{1,200}))`;
const OWNER = String.raw`(?:[Mm]y|(?:[Tt]he )?[Uu]ser['’]s|[Tt]heir|[Hh]is|[Hh]er)`;
const SUBJECT = String.raw`(?:\bI(?: also| now| really| always| currently)?|\b[Uu]ser(?: also| now)?|\b[Tt]hey|\b[Hh]e|\b[Ss]he)`;

const PATTERNS = [
  // A name someone goes by outranks "I'm X": "My name is Ada. I'm German." is about Ada.
  {
    topic: "name",
    find: new RegExp(
      String.raw`(?:${OWNER} (?:full )?name is(?: now)?|\b[Mm]y name['’]s|\bI(?: am|['’]m) called|\b[Cc]all me|\b[Uu]ser is (?:called|named))\s{1,3}["'“*]{0,2}${NAME}`,
      "gu",
    ),
  },
  { topic: "name", find: /\b[Mm]y name is (\p{Ll}[\p{L}'’-]{1,40})(?=[.,!?\n]| and |$)/gu, unless: /^not$/ },
  { topic: "name", weak: true, find: new RegExp(String.raw`\bI(?: am|['’]m) ${NAME}`, "gu") },
  {
    topic: "name",
    weak: true,
    system: true,
    find: new RegExp(String.raw`\b[Nn]ame\*{0,2}:\*{0,2} {0,3}${NAME}`, "gu"),
  },
  {
    topic: "home",
    find: new RegExp(String.raw`${SUBJECT} (?:lives?|moved|have moved|has moved) (?:in|to) ${VALUE}`, "gu"),
  },
  { topic: "preference", find: new RegExp(String.raw`${SUBJECT} prefers? ${VALUE}`, "gu") },
  {
    topic: "word",
    find: new RegExp(String.raw`\b[Rr]emember (?:this|the|that|my) (\p{L}{1,20})(?: is)?:? ${VALUE}`, "gu"),
    unless: /^(?:is|to|for|from|that|of|we|i|you)\b/i,
  },
  { find: new RegExp(String.raw`\b${OWNER} ${TOPIC} (?:is|are|was) (?:now |called |named )?${VALUE}`, "gu") },
];

const NEAR_ENDS = 128 * 1024;

/** The ends of a very long text: rules look there, so that 20 MB cost no more than 256 KB. */
export const ends = (text, near = NEAR_ENDS) =>
  text.length <= 2 * near ? text : `${text.slice(0, near)}\n${text.slice(-near)}`;

/** Map of topic -> { value, kind }, of everything said in these turns, latest last. */
export function factsIn(turns) {
  const facts = new Map();
  for (const { role, text } of turns) {
    if (role !== "user" && role !== "system") continue;
    const said = role === "system" ? withoutOthers(ends(text)) : ends(text);
    const found = PATTERNS.flatMap((pattern) => matchesOf(pattern, said, role)).sort((a, b) => a.at - b.at);
    for (const { topic, value, weak } of found) {
      if (weak && facts.get(topic)?.weak === false) continue;
      facts.set(topic, { value, weak: weak === true });
    }
  }
  return facts;
}

function matchesOf(pattern, text, role) {
  if (pattern.system && role !== "system") return [];
  const found = [];
  for (const match of text.matchAll(pattern.find)) {
    const said = match.at(-1);
    if (pattern.unless?.test(said)) continue;
    // Asking is not telling: "What is my name?" holds no name, "Is my name Alex?" neither.
    if (
      /\b(?:what|where|who|which|if|whether)(?: is| are)? $/i.test(
        text.slice(Math.max(0, match.index - 12), match.index),
      )
    )
      continue;
    const topic =
      pattern.topic === "word" ? `word:${match[1].toLowerCase()}` : (pattern.topic ?? topicOf(match[1]));
    if (topic === "name" && pattern.topic !== "name") continue;
    const value = topic === "name" ? withoutPronoun(said) : clause(said);
    if (value) found.push({ at: match.index, topic, value, weak: pattern.weak });
  }
  return found;
}

const withoutPronoun = (name) => name.replace(/ I(?:['’]\p{Ll}+)?$/u, "");

// A full stop ends a value, the point in "3.5" does not; "and I …" begins the next statement.
const clause = (text) =>
  text
    .split(/[.:](?=\s|["'”*)]*$)|,? (?:and|but) (?:I|my|i|we|he|she|they|the user|prefers?|lives?)\b|, /u)[0]
    .trim()
    .replace(/^["'“*]+|["'”*.]+$/g, "")
    .trim();

const topicOf = (text) =>
  text
    .toLowerCase()
    .replaceAll("’", "'")
    .replace(/\bfavorite\b/g, "favourite")
    .replace(/^(?:own|current|new) /, "")
    .trim();

const QUESTIONS = [
  {
    ask: /\b(?:what(?:['’]s| is| was)|tell me|remember|know|say|repeat) (?:what )?my (?:first |full |own )?name\b|\bwhat my name is\b|\bwho am i\b/gi,
    topic: () => "name",
    unknown: () => "I don't know your name.",
  },
  {
    ask: /\bwhere (?:do|did) i (?:currently |now )?live\b/gi,
    topic: () => "home",
    unknown: () => "I don't know where you live.",
  },
  {
    ask: /\bwhat (?:[\p{L}]{1,20} (?:of [\p{L}]{1,20} )?)?(?:do|did) i (?:say (?:that )?i )?prefer\b/giu,
    topic: () => "preference",
    unknown: () => "I don't know what you prefer.",
  },
  {
    ask: /\b(?:what|which) (\p{L}{1,20}) did i (?:ask|tell) you to remember\b/giu,
    topic: (kind) => `word:${kind.toLowerCase()}`,
    fallback: "word:",
    unknown: (kind) => `You did not ask me to remember a ${kind}.`,
  },
  {
    ask: new RegExp(
      String.raw`\b(?:what|who|which|how old)(?:['’]s| is| are| was) my ${TOPIC}(?=\s{0,3}(?:[?.!,\n]|$| and (?:what|where|who)))`,
      "giu",
    ),
    topic: topicOf,
    unknown: (topic) => `I don't know your ${topic}.`,
  },
];

const SAID = /\bwhen did i (?:tell you|say|mention|ask)(?: you)?(?: that| about| to)?\s([^?\n]{1,200})/giu;
const DUE =
  /\bwhen (?:do|does|will|would|is|are|was|did) (?!i (?:tell you|say|mention|ask)\b)([^?\n]{1,200})\?/giu;
const DAY = /\b\d{4}-\d{2}-\d{2}(?:(?:\.\.| to | – |–)\d{4}-\d{2}-\d{2})?/g;

/** When it was said, or the day that is spoken of, of the newest note that holds every word of weight asked for. */
function* datesAsked(question, turns) {
  for (const [at, about] of places(question, SAID)) {
    const note = noteOn(about, turns, () => true);
    yield { at, text: note ? `${note.day} ${note.time}` : "I don't know when you said that." };
  }
  for (const [at, about] of places(question, DUE)) {
    const note = noteOn(about, turns, ({ text }) => text.search(DAY) >= 0);
    if (note) yield { at, text: note.text.match(DAY).at(-1) };
  }
}

const places = (question, ask) => [...question.matchAll(ask)].map(({ index, 1: about }) => [index, about]);

const LIGHT = /^(?:.{1,2}|the|that|this|you|your|our|will|have|had|was|were|are)$/;
const weighty = (text) =>
  (text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []).filter((word) => !LIGHT.test(word));

function noteOn(about, turns, fits) {
  const asked = weighty(about);
  if (asked.length === 0) return undefined;
  return [...notesIn(turns)].findLast((note) => {
    const words = weighty(note.text);
    return !/^The user asked: /.test(note.text) && asked.every((word) => words.includes(word)) && fits(note);
  });
}

/** The answer to questions about the user in `question`, from what `turns` say; null if it asks none. */
export function recollect(question, turns) {
  const answers = [...datesAsked(question, turns)];
  let facts;
  for (const { ask, topic, unknown, fallback } of QUESTIONS) {
    for (const match of question.matchAll(ask)) {
      const about = topic(match[1] ?? "");
      if (about === "name" && answers.some((answer) => answer.about === "name")) continue;
      facts ??= factsIn(turns);
      const known =
        facts.get(about) ?? (fallback && [...facts].findLast(([key]) => key.startsWith(fallback))?.[1]);
      answers.push({ at: match.index, about, text: known?.value ?? unknown(match[1] ?? "") });
    }
  }
  if (answers.length === 0) return null;
  return answers
    .sort((a, b) => a.at - b.at)
    .map(({ text }) => text)
    .join(", ");
}
