// Owns reading how much processor time a process has used.
// Invariant: user and system time of all its threads, in microseconds, as the operating system counts it.
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { probe } from "../scripts/run.mjs";

const LINUX = process.platform === "linux";
const TICK_US = LINUX ? 1e6 / Number(probe("getconf", ["CLK_TCK"]) || 100) : 1e4;

export function cpuMicroseconds(pid) {
  if (LINUX) {
    // The second field is the program's name and may hold anything; user and system time are fields 14 and 15.
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) * TICK_US;
  }
  // [days-][hours:]minutes:seconds
  const [clock, days = "0"] = probe("ps", ["-o", "time=", "-p", String(pid)])
    .split("-")
    .reverse();
  const seconds = clock.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
  return (Number(days) * 86_400 + seconds) * 1e6;
}

/** Waits until the process rests, so that work left over from its answers is counted too, and to nobody else. */
export async function atRest(pid, within = 3_000) {
  let before = cpuMicroseconds(pid);
  for (const until = Date.now() + within; Date.now() < until;) {
    await sleep(60);
    const now = cpuMicroseconds(pid);
    if (now - before < TICK_US) return now;
    before = now;
  }
  return before;
}
