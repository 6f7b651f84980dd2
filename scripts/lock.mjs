// Owns "only one at a time" between processes of one machine: a directory that its maker keeps fresh.
// Invariant: a lock whose owner is gone is taken over; a lock whose owner lives never is.
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { dim } from "./say.mjs";

const HEARTBEAT_MS = 2_000;
/** Ten missed heartbeats: a process id may have been given to somebody else since, a fresh time cannot. */
const STALE_MS = 20_000;

export async function withLock(directory, work) {
  await acquire(directory);
  const beat = setInterval(() => touch(directory), HEARTBEAT_MS);
  try {
    return await work();
  } finally {
    clearInterval(beat);
    if (owner(directory) === process.pid) rmSync(directory, { recursive: true, force: true });
  }
}

async function acquire(directory) {
  mkdirSync(dirname(directory), { recursive: true });
  for (let told = false; ; await sleep(100)) {
    try {
      mkdirSync(directory);
      writeFileSync(join(directory, "pid"), String(process.pid));
      return;
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
    }
    const holder = owner(directory);
    if (isStale(directory, holder)) {
      takeAway(directory, holder);
    } else if (!told && holder) {
      told = true;
      console.log(dim(`  … waiting for process ${holder}, which is doing the same`));
    }
  }
}

function owner(directory) {
  try {
    return Number(readFileSync(join(directory, "pid"), "utf8"));
  } catch {
    return 0;
  }
}

function isStale(directory, holder) {
  const info = statSync(directory, { throwIfNoEntry: false });
  if (!info) return false;
  if (Date.now() - info.mtimeMs > STALE_MS) return true;
  return holder !== 0 && !isAlive(holder);
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

function takeAway(directory, seen) {
  // By a rename, and looked at again: between our look and now another waiter may have taken it over.
  const aside = `${directory}.${process.pid}`;
  try {
    renameSync(directory, aside);
    if (owner(aside) !== seen) return renameSync(aside, directory);
    rmSync(aside, { recursive: true, force: true });
  } catch {
    // Somebody else was quicker: the next round sees what is there now.
  }
}

function touch(directory) {
  try {
    const now = new Date();
    utimesSync(directory, now, now);
  } catch {
    // Taken over while this process was stopped; release checks the owner.
  }
}
