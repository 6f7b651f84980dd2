// Owns how scripts talk: one line when a step ends, with its time, and one clear message when something is
// wrong.
// Invariant: a Stop is the user's to fix and is shown without a stack; every other error keeps its stack.

const colour = process.stdout.isTTY && !process.env.NO_COLOR;
const paint = (code) => (text) => (colour ? `\x1b[${code}m${text}\x1b[0m` : text);
export const bold = paint("1");
export const dim = paint("2");
export const green = paint("32");
export const red = paint("31");

/** An end that the user can do something about: what, why, and the command to run. */
export class Stop extends Error {}

export const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(1)} s`;

/** Runs `work` and prints its name and time; `work` may return a note to add to the line. */
export async function step(name, work) {
  const since = performance.now();
  // A step that is quick prints one line, a long one says early that it is under way.
  const slow = setTimeout(() => console.log(dim(`  … ${name}`)), 1000);
  try {
    const note = await work();
    console.log(`  ${green("✓")} ${name}${note ? `: ${note}` : ""} ${dim(seconds(since))}`);
  } catch (error) {
    console.log(`  ${red("✗")} ${name} ${dim(seconds(since))}`);
    throw error;
  } finally {
    clearTimeout(slow);
  }
}

/** Runs a script's main function and turns its failure into an exit code. */
export async function main(run) {
  try {
    await run();
  } catch (error) {
    console.error(`\n${red("error:")} ${error instanceof Stop ? error.message : error.stack}`);
    process.exit(1);
  }
}
