// Owns the life of one child and everything it starts: `node leash.mjs <command> [args…]`, with stdin held by
// the parent.
// Invariant: when stdin ends (the parent let go, or died however suddenly), no process of the child's group
// stays.
import { spawn, spawnSync } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";

/** How long the group has to end by itself after SIGTERM. */
const GRACE_MS = 3_000;

const [command, ...args] = process.argv.slice(2);
// Its own group, so that one signal reaches wrangler, both its workerd processes and esbuild.
const child = spawn(command, args, { stdio: ["ignore", "inherit", "inherit"], detached: true });
child.on("error", (error) => {
  console.error(`cannot run ${command}: ${error.message}`);
  process.exit(1);
});
let ended;
child.on("exit", (code, signal) => {
  ended ??= code ?? (signal ? 1 : 0);
  void clear();
});

process.stdin.on("data", (order) => {
  // "kill" is a power cut: for tests of what survives one.
  if (String(order).includes("kill")) signalGroup("SIGKILL");
});
process.stdin.on("end", () => void clear());
process.stdin.on("error", () => void clear());
// Signals meant for the parent's group must not end the leash before its work is done.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => void clear());

let clearing = false;
async function clear() {
  if (clearing) return;
  clearing = true;
  signalGroup("SIGTERM");
  if (!(await emptied(GRACE_MS))) {
    signalGroup("SIGKILL");
    await emptied(GRACE_MS);
  }
  process.exit(ended ?? 0);
}

function signalGroup(signal) {
  try {
    process.kill(-child.pid, signal);
    return true;
  } catch {
    return false; // Nobody left.
  }
}

async function emptied(within) {
  for (const until = Date.now() + within; Date.now() < until; await sleep(40)) {
    if (!signalGroup(0) || !hasLiving()) return true;
  }
  return false;
}

/**
 * In a container, process 1 may take seconds to bury an orphan; until then the dead still count for `kill`.
 */
function hasLiving() {
  const list = spawnSync("ps", ["-A", "-o", "pgid=,stat="], { encoding: "utf8" });
  if (list.status !== 0) return true;
  return list.stdout.split("\n").some((line) => {
    const [group, state] = line.trim().split(/\s+/);
    return Number(group) === child.pid && !state.startsWith("Z");
  });
}
