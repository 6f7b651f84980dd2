// Owns the way to a gateway past wrangler dev's front: that is a second workerd, which does not tell the Worker's own
// when a silent client has left. Cloudflare's network, and a workerd that is asked directly, do.
// Invariant: the port found belongs to the given gateway: it is known by a thread that no other gateway has.
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { chat, newThread } from "./conversation.mjs";

/** The base URL (with /v1) of the Worker behind `gateway`, as of now: wrangler moves it when it reloads. */
export async function directBaseURL(gateway) {
  const thread = newThread();
  await chat(gateway, thread, "Hello.");
  const ports = (await listening()).filter((port) => String(port) !== new URL(gateway.url).port);
  const port = await Promise.any(ports.map((port) => answersAs(gateway, thread, port)));
  return `http://127.0.0.1:${port}/v1`;
}

/** The port, if the thread is known there; fails for another program's. */
async function answersAs(gateway, thread, port) {
  const response = await fetch(`http://127.0.0.1:${port}/v1/memory/threads/${thread}/messages`, {
    headers: { authorization: `Bearer ${gateway.key}` },
    signal: AbortSignal.timeout(5_000),
  });
  const { messages } = await response.json();
  if (messages[0].threadId !== thread) throw new Error(`not at port ${port}`);
  return port;
}

/** The ports of this machine's loopback address that somebody listens on. */
async function listening() {
  if (process.platform === "linux") {
    const lines = (await readFile("/proc/net/tcp", "utf8")).split("\n");
    return lines.flatMap((line) => {
      const [, port] = /^\s*\d+: 0100007F:([0-9A-F]{4}) \S+ 0A /.exec(line) ?? [];
      return port ? [Number.parseInt(port, 16)] : [];
    });
  }
  const { stdout } = await promisify(execFile)("netstat", ["-an", "-p", "tcp"]);
  return [...stdout.matchAll(/127\.0\.0\.1[.:](\d+)\s.*LISTEN/g)].map(([, port]) => Number(port));
}
