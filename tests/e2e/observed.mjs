// Owns conversations that are observed: the gateway and models that they need, turns in every dialect, waiting for notes.
// Invariant: the observer is the sandbox's, asked as Google's, so what is noted follows from the messages alone; a mark in
// a conversation's texts tells its requests to the observer from all others.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { echo, post, until, user } from "./conversation.mjs";
import { sandboxVars, startGateway, startSandbox } from "./gateway.mjs";
import { startNotesModel } from "./notesmodel.mjs";

// Notes are taken every other turn with a filler and its answer, and used from the fourth or fifth on.
export const OBSERVE_TOKENS = 400;
const LEAST_TURN_TOKENS = 80;
export const MOST_TURNS = 14;
// Work that was under way when workerd died is taken up again half a minute after its deadline.
export const DEADLINE_MS = 10_000;
export const TAKEN_UP_AGAIN_MS = DEADLINE_MS + 60_000;

/** What a test file talks to, once it has started. */
export let sandbox, model, gateway;

/** Starts the sandbox, the notes' model before it, and a gateway that observes early: for `before`. */
export async function startObservation() {
  sandbox = await startSandbox();
  model = await startNotesModel(sandbox);
  gateway = await startGateway({
    vars: {
      ...sandboxVars(sandbox),
      GOOGLE_BASE_URL: model.url,
      MEMORY_OBSERVE_TOKENS: String(OBSERVE_TOKENS),
      OBSERVER_DEADLINE_MS: String(DEADLINE_MS),
    },
  });
}

/** Ends what was started: for `after`. */
export async function stopObservation() {
  await gateway?.stop();
  await model?.close();
  await sandbox?.close();
}

/** A mark that no other test's texts have. */
export const newMark = () => `mark-${randomUUID().slice(0, 8)}`;

const WORDS =
  "north east south west stone river cloud field harbour meadow lantern copper window garden".split(" ");
/** A text that is worth a note, and no other text of its thread. */
export const filler = (mark, n) =>
  `The ${WORDS[n % WORDS.length]} road number ${n} of ${mark} leads along the ${WORDS[(n * 5 + 3) % WORDS.length]} ` +
  `side of the valley, over ${n + 2} bridges and past the old mill, and nobody has ever counted the ${WORDS[(n * 3 + 1) % WORDS.length]} trees there.`;

// ——— The clients' dialects

export const DIALECTS = {
  chat: {
    path: "/chat/completions",
    model: "openai/gpt-5.4-mini",
    body: (text) => ({ messages: [user(text)] }),
    whole: ({ choices }) => choices[0].message.content,
    piece: ({ choices }) => choices?.[0]?.delta?.content,
  },
  responses: {
    path: "/responses",
    model: "openai/gpt-5.4-mini",
    body: (text) => ({ input: text }),
    whole: ({ output }) => output[0].content[0].text,
    piece: ({ type, delta }) => (type === "response.output_text.delta" ? delta : ""),
  },
  messages: {
    path: "/messages",
    model: "anthropic/claude-sonnet-4-5",
    body: (text) => ({ messages: [user(text)], max_tokens: 2_000 }),
    whole: ({ content }) => content[0].text,
    piece: ({ delta }) => delta?.text,
  },
};

/** One turn on the wire; gives what was answered, and the headers. */
export async function turn(
  thread,
  text,
  { dialect = "chat", stream = false, headers, resource, at = gateway } = {},
) {
  const { path, model, body, whole, piece } = DIALECTS[dialect];
  const response = await post(
    at,
    path,
    { model, ...body(text), ...(stream && { stream }) },
    { thread, resource, headers },
  );
  const told = await response.text();
  assert.equal(response.status, 200, told);
  if (!stream) return { text: whole(JSON.parse(told)), headers: response.headers };
  const events = [...told.matchAll(/^data: (\{.*\})$/gm)].map(([, data]) => JSON.parse(data));
  return { text: events.map((event) => piece(event) ?? "").join(""), headers: response.headers };
}

/** The newest request to the thread's own model. */
export const newestRequest = () =>
  sandbox.requests.findLast(({ method, path }) => method === "POST" && !path.startsWith("/v1beta/"));

/** What it told beside messages, and the messages' texts. */
export function lastPrompt() {
  const { body } = newestRequest();
  const plain = (content) =>
    typeof content === "string" ? content : (content ?? []).map(({ text }) => text ?? "").join("\n");
  const items = body.messages ?? (typeof body.input === "string" ? [user(body.input)] : body.input);
  const isSystem = ({ role }) => role === "system" || role === "developer";
  const told = [body.system, body.instructions, ...items.filter(isSystem).map(({ content }) => content)];
  return {
    told: told.map(plain).filter(Boolean),
    said: items.filter((item) => !isSystem(item)).map(({ content }) => plain(content)),
  };
}

/** What stands in a block of memory's in the newest prompt; undefined where there is none. */
export const block = (tag) =>
  lastPrompt().told.join("\n").split(`<conversation_${tag}>\n`)[1]?.split(`</conversation_${tag}>`)[0];

// ——— What the memory API says

export async function memory(
  thread,
  rest,
  { key = gateway.key, method = "GET", body: sent, at = gateway } = {},
) {
  const response = await fetch(`${at.baseURL}/memory/threads/${encodeURIComponent(thread)}${rest}`, {
    method,
    headers: { authorization: `Bearer ${key}`, ...(sent && { "content-type": "application/json" }) },
    body: sent && JSON.stringify(sent),
  });
  const body = await response.json();
  return { status: response.status, ...body };
}

export const observations = async (thread, options) =>
  (await memory(thread, "/observations", options)).observations;
export const record = async (thread) => (await memory(thread, "/observations/record")).record;

/** Gives the thread thresholds of its own; gives back that of its messages. */
export const configure = async (thread, body) =>
  (await memory(thread, "/observations/config", { method: "PATCH", body })).config.observation.messageTokens;

export const isWorking = (found) =>
  found !== null &&
  (found.isObserving || found.isReflecting || found.isBufferingObservation || found.isBufferingReflection);

/** Waits until no observer or reflector is at work for the thread. */
export const rest = (thread) => until(async () => !isWorking(await record(thread)), "the thread is at rest");

/** Waits until notes are ready, where a thread has had so many turns with a filler that they have to come. */
export async function ready(thread, turns) {
  if (turns * LEAST_TURN_TOKENS < OBSERVE_TOKENS) return;
  await until(async () => {
    const found = await record(thread);
    return found?.bufferedNotes > 0 || found?.pendingMessageTokens < OBSERVE_TOKENS;
  }, "notes are ready");
}

/** Goes on with a conversation until notes have taken the place of its first message; gives the number of turns. */
export async function goOnUntilNoted(thread, mark, first, options, from = 1) {
  for (let n = from; n < from + MOST_TURNS; n++) {
    const text = filler(mark, n);
    assert.equal((await turn(thread, text, options)).text, echo(text).content);
    if (!lastPrompt().said.includes(first)) return n;
    await ready(thread, n);
  }
  return assert.fail(`${first} is still in the prompt after ${MOST_TURNS} turns`);
}

/** Goes on for a number of turns, whatever becomes of the messages. */
export async function goOn(thread, mark, turns, options, from = 1) {
  for (let n = from; n < from + turns; n++) {
    const text = filler(mark, n);
    assert.equal((await turn(thread, text, options)).text, echo(text).content);
  }
}

/** Waits until an observer was shown a text a second time, and has answered. */
export const askedTwice = (text) =>
  until(
    () => model.about(text).filter(({ answered }) => answered).length >= 2,
    "the observer is asked again",
  );

/** How often each line of content was shown to the observer. */
export const timesShown = (mark, line) =>
  model
    .about(mark)
    .reduce((sum, { text }) => sum + text.split("\n").filter((one) => one === `| ${line}`).length, 0);

/** How often a text stands in another. */
export const times = (text, part) => text.split(part).length - 1;
