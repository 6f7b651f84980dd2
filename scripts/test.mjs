// Owns `npm test`: every check, in the order in which a mistake is found soonest. `npm test -- lint|core|e2e`
// runs a part.
// Invariant: the first failing step ends it with a non-zero exit code and its name.
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { build, describeSize } from "./build.mjs";
import { root } from "./paths.mjs";
import { run } from "./run.mjs";
import { bold, green, main, red, seconds, Stop } from "./say.mjs";
import { ensureAll, ensureLinters } from "./setup.mjs";
import { nodeBinary } from "./wrangler.mjs";

const WASM = ["--target", "wasm32-unknown-unknown"];
const DENY = ["--", "-D", "warnings"];
const cargo = (...args) => run("cargo", args);

const STEPS = [
  ["all", "set-up", () => ensureAll().then(ensureLinters)],
  ["lint", "rustfmt", () => cargo("fmt", "--check")],
  ["lint", "prettier", () => run(join(root, "node_modules/.bin/prettier"), ["--check", "**/*.{js,mjs}"])],
  ["lint", "clippy, native", () => cargo("clippy", "--locked", "--all-targets", ...DENY)],
  ["lint", "clippy, wasm32", () => cargo("clippy", "--locked", ...WASM, ...DENY)],
  [
    "lint",
    "clippy, wasm32 with fault injection",
    () => cargo("clippy", "--locked", ...WASM, "--features", "fault-injection", ...DENY),
  ],
  ["core", "core tests", () => cargo("test", "--locked")],
  ["e2e", "release build", async () => console.log(describeSize(await build()))],
  [
    "e2e",
    "build with fault injection",
    () => build({ profile: "dev", features: ["fault-injection"], out: "build/faults" }),
  ],
  ["e2e", "end-to-end tests", endToEnd],
];

function endToEnd() {
  const files = ["tests/sandbox", "tests/e2e"].flatMap((folder) =>
    existsSync(join(root, folder))
      ? readdirSync(join(root, folder))
          .filter((name) => name.endsWith(".test.mjs"))
          .sort()
          .map((name) => join(folder, name))
      : [],
  );
  if (files.length === 0) throw new Stop("no test files in tests/sandbox and tests/e2e");
  // Each file runs a gateway or two, of three busy processes each: more at once than cores only makes
  // deadlines late.
  return run(nodeBinary(), ["--test", "--test-concurrency=2", ...reportTo(FAILED), ...files]).catch(alone);
}

const FAILED = join(root, "build", "failed-tests.txt");
const reportTo = (file) => [
  "--test-reporter=spec",
  "--test-reporter-destination=stdout",
  "--test-reporter=./scripts/failed-files.mjs",
  `--test-reporter-destination=${file}`,
];

/**
 * Runs the files that failed once more, each alone: a machine that was too busy for a deadline is told apart from a fault,
 * which fails again. What passes only alone is named, for it is a test to mend.
 */
async function alone(error) {
  const failed = existsSync(FAILED)
    ? [...new Set(readFileSync(FAILED, "utf8").split("\n").filter(Boolean))]
    : [];
  if (failed.length === 0 || failed.length > MOST_RERUN) throw error;
  for (const file of failed) {
    console.log(bold(`\n— once more, alone: ${file}`));
    await run(nodeBinary(), ["--test", file]);
  }
  console.log(`${red("!")} passed only when they ran alone: ${failed.join(", ")}`);
}
const MOST_RERUN = 3;

await main(async () => {
  const part = process.argv[2] ?? "all";
  const parts = [...new Set(STEPS.map(([name]) => name))];
  if (!parts.includes(part)) throw new Stop(`there is no part ${part}: ${parts.join(", ")}`);
  const done = [];
  for (const [name, title, work] of STEPS) {
    if (part !== "all" && name !== "all" && name !== part) continue;
    console.log(bold(`\n— ${title}`));
    const since = performance.now();
    try {
      await work();
    } catch (error) {
      console.error(`\n${red("✗")} npm test stopped at: ${bold(title)} (after ${seconds(since)})`);
      throw error;
    }
    done.push(`${title} ${seconds(since)}`);
  }
  console.log(`\n${green("✓")} ${done.join(" · ")}`);
});
