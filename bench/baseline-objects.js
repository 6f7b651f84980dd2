// The Worker to compare with, memory on: the pass-through with one bare call to the thread's object before the
// provider is asked, and one after it has answered.
// Invariant: a call is one statement in SQLite and nothing else; no body is parsed, no answer observed.
import { DurableObject } from "cloudflare:workers";

export class ThreadRows extends DurableObject {
  constructor(context, env) {
    super(context, env);
    this.sql = context.storage.sql;
    this.sql.exec("CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY, text TEXT NOT NULL)");
  }

  async fetch(request) {
    if (request.method === "GET") {
      const rows = this.sql.exec("SELECT text FROM messages ORDER BY id DESC LIMIT 20").toArray();
      return Response.json(rows);
    }
    this.sql.exec("INSERT INTO messages (text) VALUES (?)", await request.text());
    return new Response("stored");
  }
}

const TEXT = "one message of a conversation, as long as such a message usually is ".repeat(3);

export default {
  async fetch(request, env, context) {
    const object = env.THREAD.getByName(request.headers.get("x-thread-id") ?? "none");
    const reads = request.headers.get("x-memory-mode") === "read";
    const call = () =>
      object.fetch("https://thread/", reads ? { method: "GET" } : { method: "PUT", body: TEXT });
    await (await call()).text();
    const answer = await fetch(`${env.UPSTREAM}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${env.PROVIDER_KEY}`, "content-type": "application/json" },
      body: request.body,
    });
    context.waitUntil(call().then((stored) => stored.text()));
    return answer;
  },
};
