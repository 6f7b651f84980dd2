// Owns the way to a gateway past wrangler dev's front: that is a second workerd, which does not tell the Worker's own
// when a silent client has left. Cloudflare's network, and a workerd that is asked directly, do.
// Invariant: the port found belongs to the given gateway: it is known by a thread that no other gateway has. Where the
// system says whose a port is, no other program's is asked.
import { execFile } from "node:child_process";
import { readFile, readdir, readlink } from "node:fs/promises";
import { promisify } from "node:util";
import { chat, newThread } from "./conversation.mjs";

/** The base URL (with /v1) of the Worker behind `gateway`, as of now: wrangler moves it when it reloads. */
export async function directBaseURL(gateway) {
  const thread = newThread();
  await chat(gateway, thread, "Hello.");
  const front = Number(new URL(gateway.url).port);
  const ports = process.platform === "linux" ? await portsBeside(front) : await portsOfAll();
  const others = ports.filter((port) => port !== front);
  const port = await Promise.any(others.map((port) => answersAs(gateway, thread, port)));
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

/**
 * The ports that wrangler and what it started listen on, `front` among them: whoever listens there is a child of wrangler's,
 * and so is the Worker's own workerd.
 */
async function portsBeside(front) {
  const [sockets, processes] = await Promise.all([listening(), running()]);
  const owner = processes.find(({ inodes }) => inodes.some((inode) => sockets.get(inode) === front));
  if (!owner) throw new Error(`no process of this user listens on port ${front}`);
  const family = new Set([owner.parent]);
  // A set gives what is added to it while it is gone through, too.
  for (const id of family) for (const { pid, parent } of processes) if (parent === id) family.add(pid);
  const inodes = processes.filter(({ pid }) => family.has(pid)).flatMap((process) => process.inodes);
  return [...new Set(inodes)].flatMap((inode) => sockets.get(inode) ?? []);
}

/** The ports of the loopback address that somebody listens on, by the inodes of their sockets. */
async function listening() {
  const lines = (await readFile("/proc/net/tcp", "utf8")).split("\n").map((line) => line.trim().split(/\s+/));
  const open = lines.filter(([, address, , state]) => address?.startsWith("0100007F:") && state === "0A");
  return new Map(open.map((line) => [line[9], Number.parseInt(line[1].split(":")[1], 16)]));
}

/** The processes that may be looked into, with their parents and the inodes of their sockets. */
async function running() {
  const ids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  // Others' processes are closed to us, and some end meanwhile.
  return (await Promise.all(ids.map((id) => look(id).catch(() => [])))).flat();
}

async function look(id) {
  const stat = await readFile(`/proc/${id}/stat`, "utf8");
  // The name, in brackets, may hold anything; the state and the parent come after it.
  const [, parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const folder = `/proc/${id}/fd`;
  const links = (await readdir(folder)).map((name) => readlink(`${folder}/${name}`).catch(() => ""));
  const inodes = (await Promise.all(links)).flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []);
  return { pid: Number(id), parent: Number(parent), inodes };
}

/** The ports of the loopback address that somebody listens on, whoever it is. */
async function portsOfAll() {
  const { stdout } = await promisify(execFile)("netstat", ["-an", "-p", "tcp"]);
  return [...stdout.matchAll(/127\.0\.0\.1[.:](\d+)\s.*LISTEN/g)].map(([, port]) => Number(port));
}
