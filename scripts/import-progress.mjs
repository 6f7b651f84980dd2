// Owns what an import has done so far, in a file, and its report.
// Invariant: a thread is written down as done only after the target has said so; the file holds no key and no text.
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { digest } from "./digest.mjs";
import { Stop } from "./say.mjs";

export class Progress {
  #file;
  #way;
  #done = {};
  #report = { threads: 0, messages: 0, observations: 0, skipped: 0, failed: 0, problems: [] };

  constructor(file, way) {
    this.#file = file;
    this.#way = digest([], way).slice(0, 16);
    if (!existsSync(file)) return;
    let kept;
    try {
      kept = JSON.parse(readFileSync(file, "utf8"));
    } catch {
      throw new Stop(`${file} is not what an import writes; name another file in --state`);
    }
    if (kept.way !== this.#way)
      throw new Stop(`${file} is of another import; delete it, or name another file in --state`);
    this.#done = kept.done ?? {};
  }

  /** True when this version of the thread was moved before. */
  isDone({ name, version }) {
    const isDone = version !== undefined && this.#done[name] === version;
    if (isDone) this.#report.skipped += 1;
    return isDone;
  }

  done({ name, version }, { threads = 1, messages, observations = 0, problems = [] }) {
    this.#report.threads += threads;
    this.#report.messages += messages;
    this.#report.observations += observations;
    problems.forEach((problem) => this.cannot({ name, problem }));
    if (version === undefined) return;
    this.#done[name] = version;
    // Complete or as it was: a machine that goes down in between must not lose the rest.
    writeFileSync(`${this.#file}.new`, JSON.stringify({ way: this.#way, done: this.#done }));
    renameSync(`${this.#file}.new`, this.#file);
  }

  cannot({ name, problem, isFailure = false }) {
    this.#report.problems.push({ name, problem });
    if (isFailure) this.#report.failed += 1;
  }

  report() {
    return this.#report;
  }
}
