// Owns the reading of LongMemEval's files: a JSON array of questions, each with the sessions that hold its answer among
// many that do not. https://github.com/xiaowu0162/LongMemEval
// Invariant: one question is in memory at a time, because the larger files do not fit; a question that is given out is
// complete, and one that is not ends the run with its number and field.
import { createReadStream } from "node:fs";
import { Stop } from "../../scripts/say.mjs";

export const TYPES = [
  "single-session-user",
  "single-session-assistant",
  "single-session-preference",
  "temporal-reasoning",
  "knowledge-update",
  "multi-session",
];

/**
 * The questions of a file, in order: `{ id, type, abstention, question, answer, date, sessions: [{ id, date, turns:
 * [{ role, content }] }] }`.
 */
export async function* questionsIn(path) {
  const seen = new Set();
  let number = 0;
  for await (const text of objectsIn(path)) {
    number += 1;
    const question = checked(parsed(text, number, path), `question ${number} of ${path}`);
    if (seen.has(question.id))
      throw new Stop(`question ${number} of ${path}: the id ${question.id} occurs twice`);
    seen.add(question.id);
    yield question;
  }
  if (number === 0) throw new Stop(`${path} holds no questions: a JSON array of objects is expected`);
}

/** The texts of the outermost objects of a JSON file, one after the other. */
async function* objectsIn(path) {
  let depth = 0;
  let inString = false;
  let escaped = false;
  let held = "";
  try {
    for await (const chunk of createReadStream(path, { encoding: "utf8" })) {
      let from = 0;
      for (let at = 0; at < chunk.length; at += 1) {
        const char = chunk[at];
        if (inString) {
          if (escaped) escaped = false;
          else if (char === "\\") escaped = true;
          else if (char === '"') inString = false;
        } else if (char === '"') inString = true;
        else if (char === "{") {
          if (depth === 0) from = at;
          depth += 1;
        } else if (char === "}" && depth > 0) {
          depth -= 1;
          if (depth > 0) continue;
          yield held + chunk.slice(from, at + 1);
          held = "";
        }
      }
      if (depth > 0) held += chunk.slice(from);
    }
  } catch (error) {
    if (error.code === undefined) throw error;
    throw new Stop(`cannot read the data file ${path}: ${error.message}`);
  }
  if (depth > 0) throw new Stop(`${path} ends in the middle of a question. Was it downloaded whole?`);
}

function parsed(text, number, path) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Stop(`question ${number} of ${path} is no JSON: ${error.message}`);
  }
}

function checked(entry, where) {
  const field = (name, fits, expected) => {
    if (!fits(entry[name])) throw new Stop(`${where}: the field ${name} must be ${expected}`);
    return entry[name];
  };
  const isText = (value) => typeof value === "string" && value !== "";
  const isList = (value) => Array.isArray(value);
  const id = field("question_id", isText, "a text");
  const type = field("question_type", (value) => TYPES.includes(value), `one of ${TYPES.join(", ")}`);
  const sessions = field("haystack_sessions", isList, "a list of sessions");
  const ofSessions = (value) => isList(value) && value.length === sessions.length && value.every(isText);
  const dates = field("haystack_dates", ofSessions, "a list of texts, one a session");
  const ids = field("haystack_session_ids", ofSessions, "a list of texts, one a session");
  const answer = field("answer", (value) => isText(value) || typeof value === "number", "a text or a number");
  return {
    id,
    type,
    abstention: id.endsWith("_abs"),
    question: field("question", isText, "a text"),
    answer: String(answer),
    date: field("question_date", isText, "a text"),
    sessions: sessions
      .map((turns, at) => ({
        id: ids[at],
        date: dates[at],
        turns: turnsOf(turns, `${where}, session ${at + 1}`),
      }))
      // The published files are in order of time only in part.
      .sort((one, next) => (timeOf(one.date) ?? 0) - (timeOf(next.date) ?? 0)),
  };
}

function turnsOf(turns, where) {
  if (!Array.isArray(turns)) throw new Stop(`${where}: a list of turns is expected`);
  return turns
    .map(({ role, content } = {}, at) => {
      if (!["user", "assistant"].includes(role) || typeof content !== "string")
        throw new Stop(
          `${where}, turn ${at + 1}: a role (user or assistant) and a text as content are expected`,
        );
      return { role, content };
    })
    .filter(({ content }) => content.trim() !== "");
}

/** Unix milliseconds of a date as the files write it (`2023/05/20 (Sat) 02:21`), read as UTC; null for another form. */
export function timeOf(date) {
  const parts = /^(\d{4})\/(\d{2})\/(\d{2}) \(\w{3}\) (\d{2}):(\d{2})$/.exec(date);
  return parts && Date.UTC(parts[1], parts[2] - 1, parts[3], parts[4], parts[5]);
}
