// Owns: the answer to a neutral conversation, by fixed rules tried in order.
// Invariant: pure and deterministic; an answer that needs context is given only if the conversation holds that context.

import { workOut } from "./arithmetic.mjs";
import { ends, factsIn, recollect } from "./facts.mjs";
import { withoutNotes } from "./notes.mjs";
import { observe } from "./observer.mjs";
import { reflect } from "./reflector.mjs";
import { callsFor, fillFrom } from "./toolcalls.mjs";

const QUESTION_ENDS = 2_000;
const MOST_WORDS = 1_000_000;

export function answerTo(conversation) {
  const notes = observe(conversation) ?? reflect(conversation);
  if (notes !== null) return { text: notes };

  const { turns, schema } = conversation;
  const last = turns.findLast(({ role }) => role === "user") ?? { text: "", media: [] };
  // Rules read the ends of a long text: what is asked stands at its beginning or its end.
  const question = ends(last.text, QUESTION_ENDS);
  const results = turns.slice(turns.findLastIndex(({ role }) => role !== "tool") + 1);

  const toolCalls = callsFor(
    conversation,
    question,
    results.map(({ text }) => text),
  );
  if (toolCalls) return { toolCalls };

  const system = turns.filter(({ role, text }) => role === "system" && text).map(({ text }) => text);
  const about = aboutConversation(question, turns, system);
  if (about !== null) return { text: about };

  const seen = { question, last, turns, results };
  let text = null;
  for (const rule of RULES) {
    text = rule(seen);
    if (text !== null) break;
  }
  text = obey(system.map(withoutNotes), text ?? `You said: ${last.text}`);
  if (schema === null) return { text };
  return {
    text: JSON.stringify(schema.properties || schema.$ref ? fillFrom(schema, text) : { answer: text }),
  };
}

// These show what reached the model, so no other instruction may change them.
function aboutConversation(question, turns, system) {
  if (
    /\bwhat (?:are your instructions|does (?:the|your) system prompt say|is your system prompt)\b/i.test(
      question,
    )
  ) {
    return system.join("\n\n") || "I have no instructions.";
  }
  if (/\bhow many messages (?:do|can) you see\b/i.test(question))
    return String(turns.filter(({ role }) => role !== "system").length);
  if (/\blist the user messages\b/i.test(question))
    return JSON.stringify(turns.filter(({ role }) => role === "user").map(({ text }) => text));
  return null;
}

const RULES = [
  function toolResults({ results }) {
    return results.length ? results.map(({ text }) => resultText(text)).join("\n") : null;
  },

  function repeat({ last, question }) {
    const said =
      /^\s{0,10}(?:please )?(?:repeat(?: after me)?|say|echo)(?: exactly| this)?(?::\s{0,5}|\s{1,5})(?!what |my |the word |it$)/i.exec(
        question,
      ) ?? /\b(?:reply|answer|respond) (?:with|only) exactly(?: this)?:?\s{1,5}/i.exec(question);
    if (!said || WORDS.test(question)) return null;
    // Cut from the whole text and not from its ends, so that long texts come back complete.
    const at = last.text.indexOf(said[0]);
    return unquoted(last.text.slice(at + said[0].length).trim()) || null;
  },

  function wordsOnDemand({ question }) {
    const count = WORDS.exec(question)?.[1];
    return count === undefined ? null : manyWords(Number(count));
  },

  function counting({ question }) {
    const range =
      /\bcount (?:up |down )?(?:from (-?\d{1,7}) )?(?:to|through|until|down to) (-?\d{1,7})/i.exec(question);
    if (!range) return null;
    const from = Number(range[1] ?? 1),
      to = Number(range[2]),
      step = from <= to ? 1 : -1;
    const length = Math.min(100_000, Math.abs(to - from) + 1);
    return Array.from({ length }, (_, n) => from + n * step).join(", ");
  },

  function memory({ question, turns }) {
    return recollect(question, turns);
  },

  function sum({ question }) {
    return workOut(question);
  },

  function pictures({ question, turns }) {
    if (!/\b(?:image|picture|photo|file|document|audio|recording)s?\b/i.test(question)) return null;
    const media = turns.findLast((turn) => turn.role === "user" && turn.media.length)?.media;
    if (media) return media.map(describe).join("\n");
    return /\bwhat\b/i.test(question) && question.includes("?") ? "I see no such thing." : null;
  },

  function acknowledgement({ question, last }) {
    if (question.includes("?")) return null;
    if (/\bremember (?:this|the|that|my|:)/i.test(question)) return "Got it, I will remember it.";
    const tells =
      /^\s{0,10}(?:I|My|I['’]m|We|Our)\b/.test(question) ||
      factsIn([{ role: "user", text: ends(last.text, QUESTION_ENDS) }]).size > 0;
    return tells ? "Got it." : null;
  },
];

const WORDS =
  /\b(?:reply|answer|respond|write|say|give me)(?: with| me| in)?(?: exactly)? (\d{1,7}) words?\b/i;

/** "word1 word2 …", for streams of a wanted length. */
export const manyWords = (count) =>
  Array.from({ length: Math.min(count, MOST_WORDS) }, (_, n) => `word${n + 1}`).join(" ");

function resultText(text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    return text;
  }
  if (typeof value === "string") return value;
  const fields =
    value !== null && typeof value === "object" && !Array.isArray(value) ? Object.values(value) : [];
  return fields.length === 1 && typeof fields[0] !== "object" ? String(fields[0]) : JSON.stringify(value);
}

const unquoted = (text) => /^(["'“])([\s\S]*)["'”][.!]?$/.exec(text)?.[2] ?? text;

function describe({ kind, url, bytes, type }) {
  if (bytes === undefined)
    return `I see an ${kind} by reference: ${url.slice(0, 500)}`.replace("an file", "a file");
  return `I see an ${kind} of ${bytes} bytes of ${type} data.`.replace("an file", "a file");
}

// "Always answer with a joke" asks for a kind of answer, which rules cannot give; it is left alone.
function obey(system, text) {
  for (const instruction of system) {
    const whole = /\b[Aa]lways (?:answer|reply|respond) with:? {0,3}([^\n]{1,200})/.exec(
      ends(instruction),
    )?.[1];
    if (whole && !/^(?:an?|the|just|only|concise|short|brief|numbers?|your|in)\b/i.test(whole))
      text = phrase(whole);
    const ending =
      /\b[Aa]lways end (?:(?:your|every|each|all) (?:answers?|repl(?:y|ies)|responses?|messages?) )?with:? {0,3}([^\n]{1,200})/.exec(
        ends(instruction),
      )?.[1];
    if (ending && !/^(?:an?|the)\b/i.test(ending)) text = `${text} ${phrase(ending)}`;
  }
  return text;
}

const phrase = (text) => /^["'“]([^"'”]{1,200})/.exec(text)?.[1] ?? text.split(/[.](?:\s|$)/)[0].trim();
