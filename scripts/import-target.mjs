// Owns writing into the gateway that is moved into, by its import.
// Invariant: a thread counts as moved when the gateway has taken every line of it.
import { Readable } from "node:stream";
import { ask, base, json } from "./import-http.mjs";
import { Stop } from "./say.mjs";

/** So many messages are sent at once. */
const MESSAGES = 2_000;

export class Target {
  #url;
  #key;
  #say;

  constructor(url, key, say) {
    this.#url = `${base(url)}/v1/memory/import`;
    this.#key = key;
    this.#say = say;
  }

  /** A thread in parts: `{thread, said, observed?, problems}`. */
  async bring({ thread, said, observed, problems }) {
    for (let at = 0; at === 0 || at < said.length; at += MESSAGES) {
      const some = said.slice(at, at + MESSAGES);
      const isLast = at + MESSAGES >= said.length;
      const lines = [
        { type: "export", format: 1 },
        thread,
        ...some,
        ...(isLast && observed ? [observed] : []),
      ];
      const text = lines.map((line) => `${JSON.stringify(line)}\n`).join("");
      await this.#send(() => text);
    }
    return { messages: said.length, observations: observed ? 1 : 0, problems };
  }

  /** An export of another gateway, as it is. */
  async pass({ export: open, threads }) {
    const counts = { messages: 0, notes: 0 };
    const read = async (answer) => {
      if (!answer.ok) return json(answer);
      counts.messages = counts.notes = 0;
      const report = await this.#once(Readable.from(counted(answer.body, counts)));
      if (!report.complete) throw new Error("the export broke off");
      return report;
    };
    await open(read);
    return { threads, messages: counts.messages, observations: counts.notes > 0 ? 1 : 0 };
  }

  async #send(body) {
    const answer = await ask(this.#url, this.#request({ body, read: json, say: this.#say }));
    return checked(answer);
  }

  /** Sends a stream, which cannot be sent again: whoever opened it opens it anew. */
  async #once(stream) {
    const { key, ...request } = this.#request({});
    const headers = { ...request.headers, authorization: `Bearer ${key}` };
    const answer = await fetch(this.#url, {
      ...request,
      headers,
      body: stream,
      duplex: "half",
      redirect: "manual",
    });
    if (answer.status === 429 || answer.status >= 500)
      throw new Error(`the target answered ${answer.status}`);
    return checked(await json(answer));
  }

  #request(more) {
    return { key: this.#key, method: "POST", headers: { "content-type": "application/x-ndjson" }, ...more };
  }
}

function checked(report) {
  if (report.ok) return report;
  const [first] = report.refused;
  throw new Stop(`line ${first?.line}, thread ${first?.threadId}: ${first?.reason}`);
}

/** The bytes of a stream, its lines counted on the way. */
async function* counted(stream, counts) {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const bytes of stream) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith('{"type":"message"')) counts.messages += 1;
      else if (line.startsWith('{"type":"note"')) counts.notes += 1;
    }
    yield bytes;
  }
}
