// Owns: the notes that a model would write about a transcript, by fixed rules.
// Invariant: pure and deterministic; a fact is noted only in words that the rules about questions read back as the same
// fact, so whatever a note states can be asked for.

import { daysIn, weekdayOf } from "./days.mjs";
import { ends, factsIn } from "./facts.mjs";
import { attributes, closed, misformed, replacing, section, workFor } from "./notes.mjs";

const LONGEST_QUOTE = 280;

/** The observer's answer; null if the conversation is no request to it. */
export function observe({ turns }) {
  const lines = workFor("observer", "transcript", turns);
  if (lines === null) return null;
  const known = section(lines, "notes").flatMap(readKnown);
  const notes = notesOn(readTranscript(section(lines, "transcript")), known);
  return closed(notes.flatMap(written), "NOTHING TO NOTE");
}

function readKnown(line, n) {
  const text = /^\[\d+\] \d{4}-\d{2}-\d{2} [HML](?: @\S+)?(?: =\S+)? (.+)$/.exec(line)?.[1];
  if (text === undefined) throw misformed(`line ${n + 1} of <notes> is no note: ${line.slice(0, 100)}`);
  return [text];
}

const HEAD =
  /^#(\d+) (user|assistant|tool)(?: \(cut short\))?, (\p{L}+) (\d{4}-\d{2}-\d{2}) ([01]\d|2[0-3]):[0-5]\d$/u;

/** Messages `{ number, role, day, text }`. */
function readTranscript(lines) {
  const messages = [];
  for (const [n, line] of lines.entries()) {
    const where = `line ${n + 1} of <transcript>`;
    if (line.startsWith("| ")) {
      const message = messages.at(-1);
      if (!message) throw misformed(`${where} belongs to no message`);
      message.text.push(line.slice(2));
      continue;
    }
    const head = HEAD.exec(line);
    if (!head) throw misformed(`${where} is neither content nor a message's head: ${line.slice(0, 100)}`);
    const [, number, role, weekday, day] = head;
    if (Number(number) !== messages.length + 1)
      throw misformed(`${where} has the number ${number} where ${messages.length + 1} comes next`);
    if (weekdayOf(day) !== weekday) throw misformed(`${where} says ${weekday} of ${day}`);
    messages.push({ number: Number(number), role, day, text: [] });
  }
  if (messages.length === 0) throw misformed("<transcript> holds no message");
  return messages.map((message) => ({ ...message, text: message.text.join("\n") }));
}

/** Notes `{ priority, sources, days, key, text, children: [{ sources, text }] }`. */
function notesOn(messages, known) {
  const notes = [];
  const facts = factsIn(known.map((text) => ({ role: "system", text })));
  for (let at = 0; at < messages.length;) {
    const next = messages.findIndex(({ role }, n) => n > at && role === "user");
    if (messages[at].role === "user") {
      notes.push(...userNotes(messages[at], facts));
      at++;
    } else {
      const end = next < 0 ? messages.length : next;
      notes.push(...workNote(messages.slice(at, end)));
      at = end;
    }
  }
  const told = new Set(known);
  return notes.filter(({ text }) => !told.has(text) && told.add(text));
}

function userNotes({ number, text, day }, facts) {
  const notes = [],
    others = [];
  for (const sentence of sentencesOf(ends(text))) {
    if (isGreeting(sentence)) continue;
    const days = daysIn(sentence, day);
    const stated = statementsIn(sentence);
    for (const { topic, value, text } of stated) {
      const before = facts.get(topic);
      facts.set(topic, { value, weak: false });
      // A later word for the same is a change, and one that says what it changes.
      if (before?.value === value) continue;
      notes.push({
        priority: "H",
        days,
        key: keyOf(topic),
        text: replacing(text, before && !before.weak ? [before.value] : []),
      });
    }
    if (!covers(stated, sentence)) others.push({ sentence, days });
  }
  for (const quote of quotes(others)) notes.push({ priority: "M", ...quote });
  return notes.map((note) => ({ sources: [number], children: [], ...note }));
}

// A sentence begins with a capital or a number, so that "3.5" and "e.g. tea" end none.
const sentencesOf = (text) =>
  text
    .split(/(?<=[.!?]["'”’)]?)\s+(?=["'“‘(]?[\p{Lu}\p{N}])|\n+/u)
    .map((sentence) => sentence.replace(/^\[from [^\]\n]{1,200}\] /, "").trim())
    .filter(Boolean);

const isGreeting = (sentence) =>
  /^(?:(?:hi|hello|hey|good (?:morning|afternoon|evening|night)|thanks?(?: you)?(?: (?:very|so) much| a lot)?|ok(?:ay)?|great|perfect|cool|nice|bye|goodbye|see you|you['’]re welcome|got it|yes|no|sure|please)(?: there| again| all| everyone)?[\s,.!]*){1,4}$/i.test(
    sentence,
  );

/** The facts of a sentence, in words that are read back as the same. What may be no fact ("I'm German") is none. */
function statementsIn(sentence) {
  return [...factsIn([{ role: "user", text: sentence }])].flatMap(([topic, { value, weak }]) => {
    const text = statement(topic, value);
    const again = factsIn([{ role: "system", text }]).get(topic);
    return !weak && again?.value === value && !again.weak ? [{ topic, value, text }] : [];
  });
}

function statement(topic, value) {
  if (topic === "home") return `The user lives in ${value}.`;
  if (topic === "preference") return `The user prefers ${value}.`;
  if (topic.startsWith("word:")) return `The user asked to remember this ${topic.slice(5)}: ${value}.`;
  return `The user's ${topic} is ${value}.`;
}

/** "user.favourite_colour"; undefined where nothing is left of it in the letters of keys. */
function keyOf(topic) {
  const name = topic
    .replace(/^word:/, "remembered.")
    .normalize("NFKD")
    .replace(/[^a-z0-9. -]/g, "")
    .trim()
    .replaceAll(" ", "_");
  return /[a-z0-9]$/.test(name) ? `user.${name}`.slice(0, 80) : undefined;
}

const SPARE_WORDS = 3;

// "Hi, my name is Ada, nice to meet you" says no more than the name; "My name is Ada and I fly to Rome" does.
function covers(stated, sentence) {
  const words = (text) => text.split(/\s+/).length;
  return (
    stated.length > 0 && words(sentence) <= stated.reduce((sum, { text }) => sum + words(text), SPARE_WORDS)
  );
}

/** What is no fact, nearly verbatim: what speaks of a day is an event of its own, the rest stays together. */
function* quotes(others) {
  let together = [];
  const quote = (sentences, days) => ({
    days,
    text: `The user ${sentences.every((one) => one.endsWith("?")) ? "asked" : "said"}: ${short(sentences.join(" "))}`,
  });
  for (const { sentence, days } of others) {
    if (days === null) {
      together.push(sentence);
      continue;
    }
    if (together.length) yield quote(together, null);
    together = [];
    yield quote([sentence], days);
  }
  if (together.length) yield quote(together, null);
}

/** One note for what assistant and tools did between two messages of the user, or none. */
function workNote(messages) {
  const results = [],
    promises = [],
    sources = [];
  for (const { number, role, text } of messages) {
    const promised = role === "assistant" ? promisesIn(text) : [];
    promises.push(...promised);
    if (role === "tool") results.push(...resultsIn(text).map((result) => ({ number, ...result })));
    if (role === "tool" || promised.length || /^\[calls /m.test(text)) sources.push(number);
  }
  const promise = promises.length ? `The assistant promised: ${short(promises.join(" "))}` : null;
  const gave = ({ name, failed, result }) => `${name} ${failed ? "failed" : "gave"}: ${short(result)}`;
  const work = results.length > 1 ? `The assistant used tools: ${tally(results)}` : results.map(gave)[0];
  if (!work && !promise) return [];
  const children =
    results.length > 1 ? results.map((one) => ({ sources: [one.number], text: gave(one) })) : [];
  return [{ priority: "L", sources, text: [work, promise].filter(Boolean).join(". "), children }];
}

// What it says back or acknowledges is no promise.
const promisesIn = (text) =>
  sentencesOf(ends(text)).filter(
    (sentence) =>
      /\bI(?:['’]ll| will| shall| am going to|['’]m going to) /.test(sentence) &&
      !/^(?:You said:|Got it|\[calls )/.test(sentence),
  );

const RESULT = /^\[result(?: of ([^\]\n]{1,200}?))?(, failed)?\] ?/;

// A message may hold the results of several calls.
const resultsIn = (text) =>
  text.split(/\n(?=\[result(?: of [^\]\n]{1,200})?(?:, failed)?\])/).map((one) => {
    const [mark, name = "A tool", failed] = RESULT.exec(one) ?? [""];
    return { name, failed: failed !== undefined, result: one.slice(mark.length) };
  });

function tally(results) {
  const counts = new Map();
  for (const { name } of results) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts].map(([name, count]) => (count > 1 ? `${name} (${count} times)` : name)).join(", ");
}

/** In one line, and of a length that a note may have. */
function short(text) {
  const line = text.replace(/\s*\n\s*/g, " ").trim();
  const characters = [...line];
  return characters.length > LONGEST_QUOTE ? `${characters.slice(0, LONGEST_QUOTE).join("")}…` : line;
}

const written = (note) => [
  `${note.priority} ${ranges(note.sources)}${attributes(note)} | ${note.text}`,
  ...note.children.map(({ sources, text }) => `- ${ranges(sources)} | ${text}`),
];

/** "#1-3,5" */
function ranges(numbers) {
  const found = [];
  for (const number of numbers) {
    const last = found.at(-1);
    if (last?.to === number - 1) last.to = number;
    else found.push({ from: number, to: number });
  }
  return `#${found.map(({ from, to }) => (from === to ? from : `${from}-${to}`)).join(",")}`;
}
