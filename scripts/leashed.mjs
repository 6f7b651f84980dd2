// Owns starting a long-running child on a leash (leash.mjs).
// Invariant: after `stop()` or `kill()` resolves, the child and all its descendants are gone; they also go
// when this process dies without calling either.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { root } from "./paths.mjs";

/** Starts `command`; `onText` gets everything it writes, in order. */
export function startLeashed(command, args, { env = {}, onText = () => {} } = {}) {
  const leash = spawn(process.execPath, [join(root, "scripts", "leash.mjs"), command, ...args], {
    cwd: root,
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, ...env },
    detached: true, // Ctrl-C reaches the parent alone, which then lets go in the right order.
  });
  leash.stdin.on("error", () => {}); // The child ended by itself just now.
  leash.stdout.setEncoding("utf8").on("data", onText);
  leash.stderr.setEncoding("utf8").on("data", onText);
  const exited = new Promise((resolve) => leash.on("close", (code) => resolve(code ?? 1)));
  return {
    /** Resolves with the exit code when everything is gone. */
    exited,
    stop() {
      leash.stdin.end();
      return exited;
    },
    /** As a power cut would: no process of the group gets to tidy up. */
    kill() {
      leash.stdin.end("kill\n");
      return exited;
    },
  };
}
