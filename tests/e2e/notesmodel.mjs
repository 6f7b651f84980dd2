// Owns the models that take notes, as a test wants them: a front before the sandbox that spoils and holds back what is
// asked about a text with a given mark, and keeps what was asked.
// Invariant: what is asked about no mark reaches the sandbox at once and unchanged, and every answer is the sandbox's.
import { createServer } from "node:http";

/**
 * Plays Google at `url`, in front of a sandbox. `asked` holds `{ text, answered, left }` for each request: the user's text,
 * whether it was answered, and whether the client left before.
 */
export async function startNotesModel(sandbox) {
  const asked = [],
    knobs = new Map(),
    held = new Map();
  const server = createServer(async (req, res) => {
    // Whoever looks for a server of their own may knock at any port.
    if (req.method !== "POST") return void res.writeHead(404).end();
    const raw = await wholeOf(req);
    const text = textOf(raw);
    const entry = { text, answered: false, left: false };
    asked.push(entry);
    const gone = new AbortController();
    res.on("close", () => {
      entry.answered = res.writableFinished;
      entry.left = !res.writableFinished;
      gone.abort();
    });
    await of(held, text)?.opened;
    if (gone.signal.aborted) return;
    const spoiled = spoils(of(knobs, text), text);
    const asking = spoiled ? withKnobs(req.url, raw, spoiled) : { path: req.url, body: raw };
    const { host: _, connection: __, "content-length": ___, ...headers } = req.headers;
    const options = { method: "POST", headers, signal: gone.signal, body: asking.body };
    try {
      const answer = await fetch(sandbox.url + asking.path, options);
      const bytes = Buffer.from(await answer.arrayBuffer());
      res.writeHead(answer.status, { "content-type": answer.headers.get("content-type") ?? "" }).end(bytes);
    } catch (error) {
      if (!gone.signal.aborted) throw error;
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    asked,
    /** What was asked about a text with this mark. */
    about: (mark) => asked.filter(({ text }) => text.includes(mark)),
    /**
     * From now on what is asked about the mark is answered with these knobs of the sandbox; "" for none. With `tries`, only
     * so many questions about the same messages are.
     */
    spoil: (mark, knob, tries = Infinity) => void knobs.set(mark, { knob, tries, seen: new Map() }),
    /** Holds back the answers about the mark until the function that is given back is called. */
    hold(mark) {
      const { promise, resolve } = Promise.withResolvers();
      held.set(mark, { opened: promise });
      return () => {
        held.delete(mark);
        resolve();
      };
    },
    close: () =>
      new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      }),
  };
}

/** The knobs that a question is to be answered with. What else it shows beside the messages makes it no other question. */
function spoils(spoiling, text) {
  if (!spoiling) return "";
  const about = text.slice(Math.max(text.indexOf("<transcript>"), 0));
  const times = (spoiling.seen.get(about) ?? 0) + 1;
  spoiling.seen.set(about, times);
  return times > spoiling.tries ? "" : spoiling.knob;
}

const of = (marks, text) => [...marks].find(([mark]) => text.includes(mark))?.[1];

async function wholeOf(req) {
  const parts = [];
  for await (const part of req) parts.push(part);
  return Buffer.concat(parts).toString("utf8");
}

// Google names the model in the path, or in the body as OpenAI does.

const withKnobs = (path, raw, knobs) => {
  const body = JSON.parse(raw);
  return body.model === undefined
    ? { path: path.replace(/(\/models\/[^/:?]+)/, `$1;${knobs}`), body: raw }
    : { path, body: JSON.stringify({ ...body, model: `${body.model};${knobs}` }) };
};

/** The user's text. */
function textOf(raw) {
  const { contents, messages } = JSON.parse(raw);
  if (contents) return contents.flatMap(({ parts }) => parts.map(({ text }) => text)).join("\n");
  return messages.find(({ role }) => role === "user").content;
}
