// Owns running a command to its end.
// Invariant: a failed command always throws, with its output when it was captured.
import { spawn, spawnSync } from "node:child_process";
import { root } from "./paths.mjs";
import { Stop } from "./say.mjs";

const running = new Set();
// Ended by a signal in the middle of a build: the compiler must not go on by itself.
process.on("exit", () => running.forEach((child) => child.kill()));

function start(command, args, options) {
  const child = spawn(command, args, options);
  running.add(child);
  child.on("close", () => running.delete(child));
  return child;
}

/** Runs with the terminal's own output. */
export function run(command, args, { env = {}, hint = "", cwd = root } = {}) {
  return new Promise((resolve, reject) => {
    const child = start(command, args, {
      cwd,
      stdio: ["ignore", "inherit", "inherit"],
      env: { ...process.env, ...env },
    });
    child.on("error", (error) =>
      reject(new Stop(`cannot run ${command}: ${error.message}${hint && `\n${hint}`}`)),
    );
    child.on("close", (code, signal) => {
      if (code === 0) return resolve();
      const end = signal ? `was ended by ${signal}` : `failed with exit code ${code}`;
      reject(new Stop(`\`${short(command, args)}\` ${end}${hint && `\n${hint}`}`));
    });
  });
}

/** Runs silently and gives what was written to stdout. */
export function capture(command, args, { env = {}, cwd = root } = {}) {
  return new Promise((resolve, reject) => {
    const child = start(command, args, {
      cwd,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...env },
    });
    let stdout = "";
    let all = "";
    child.stdout.setEncoding("utf8").on("data", (text) => ((stdout += text), (all += text)));
    child.stderr.setEncoding("utf8").on("data", (text) => (all += text));
    child.on("error", (error) => reject(new Stop(`cannot run ${command}: ${error.message}`)));
    child.on("close", (code) => {
      if (code === 0) return resolve(stdout);
      reject(new Stop(`\`${short(command, args)}\` failed with exit code ${code}:\n${all.trim()}`));
    });
  });
}

/** The trimmed stdout, or "" when the command is missing or fails: for asking "is it there?". */
export function probe(command, args) {
  const done = spawnSync(command, args, { encoding: "utf8", cwd: root, stdio: ["ignore", "pipe", "ignore"] });
  return done.status === 0 ? done.stdout.trim() : "";
}

const short = (command, args) => [command.split("/").pop(), ...args].join(" ").slice(0, 160);
