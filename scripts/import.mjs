// Owns `npm run import`: moves what another gateway, a ChatGPT export or files of messages hold into a gateway.
// Invariant: nothing is lost in silence: what could not be moved is in the report, each with its reason. Running it again
// goes on where it stopped and brings nothing twice.
import { existsSync, statSync } from "node:fs";
import { parseArgs } from "node:util";
import { readFiles } from "./import-files.mjs";
import { readGateway } from "./import-gateway.mjs";
import { Progress } from "./import-progress.mjs";
import { Target } from "./import-target.mjs";
import { isMain } from "./paths.mjs";
import { main, Stop } from "./say.mjs";

const HELP = `Usage: npm run import -- --from SOURCE [--key KEY] --to URL --key KEY [OPTIONS]

  --from URL             a hosted gateway, or another memory-gateway; its key is the first --key, or FROM_KEY
  --from FILE            conversations.json of a ChatGPT export
  --from FOLDER          .json files of OpenAI-format messages (a thread each), .jsonl files (a thread each line)
  --to URL               the gateway to move into; its key is the last --key, or TO_KEY

  --resource ID          who owns the threads: needed for files; of a gateway it moves this resource only
  --state FILE           where progress is kept (import-state.json)
  --json                 print the report as JSON`;

const text = { type: "string" };
const flag = { type: "boolean" };
const OPTIONS = {
  from: text,
  to: text,
  key: { ...text, multiple: true },
  resource: text,
  state: text,
  json: flag,
  help: flag,
};

/** The options as given, checked: `{from, to, fromKey, toKey, resource, state, isGateway}`. */
export function readOptions(args, environment = process.env) {
  let values;
  try {
    ({ values } = parseArgs({ args, options: OPTIONS }));
  } catch (error) {
    throw new Stop(`${error.message}\n\n${HELP}`);
  }
  if (values.help) return { help: HELP };
  const { from, to, key: keys = [], resource, state = "import-state.json", json = false } = values;
  if (!from || !to) throw new Stop(`say --from and --to\n\n${HELP}`);
  const isGateway = /^https?:\/\//.test(from);
  if (!/^https?:\/\//.test(to))
    throw new Stop("--to must be the address of a gateway, with http:// or https://");
  if (!isGateway && !existsSync(from)) throw new Stop(`there is no ${from}`);
  if (!isGateway && !resource) throw new Stop("say in --resource who owns the threads of the files");
  const toKey = keys.length > (isGateway ? 1 : 0) ? keys.at(-1) : environment.TO_KEY;
  const fromKey = isGateway ? (keys[0] ?? environment.FROM_KEY) : undefined;
  if (!toKey) throw new Stop(`no key for ${to}: give a second --key, or set TO_KEY`);
  if (isGateway && !fromKey) throw new Stop(`no key for ${from}: give --key, or set FROM_KEY`);
  return { from, to, fromKey, toKey, resource, state, json, isGateway };
}

/** Moves everything; gives the report. `say` hears of progress. */
export async function move(options, say = () => {}) {
  const progress = new Progress(options.state, { from: options.from, to: options.to });
  const target = new Target(options.to, options.toKey, say);
  const source = options.isGateway
    ? readGateway({ url: options.from, key: options.fromKey, resource: options.resource, say })
    : readFiles({
        path: options.from,
        isFolder: statSync(options.from).isDirectory(),
        resource: options.resource,
      });
  for await (const item of source) {
    if (item.problem) {
      progress.cannot(item);
      continue;
    }
    if (progress.isDone(item)) continue;
    try {
      const outcome = item.export ? await target.pass(item) : await target.bring(await item.read());
      progress.done(item, outcome);
      say(`${item.name}: ${outcome.messages} messages${outcome.observations ? ", with observations" : ""}`);
    } catch (error) {
      if (error instanceof Stop && error.isFatal) throw error;
      progress.cannot({ name: item.name, problem: error.message, isFailure: true });
      say(`${item.name}: not moved: ${error.message}`);
    }
  }
  return progress.report();
}

function print(report) {
  console.log(
    `\nMoved ${report.threads} threads with ${report.messages} messages, ${report.observations} of them with observations; ` +
      `${report.skipped} had been moved before.`,
  );
  if (report.problems.length > 0) console.log(`Not moved (${report.problems.length}):`);
  for (const { name, problem } of report.problems) console.log(`  ${name}: ${problem}`);
}

if (isMain(import.meta.url))
  await main(async () => {
    const options = readOptions(process.argv.slice(2));
    if (options.help) return console.log(options.help);
    const report = await move(options, options.json ? () => {} : (line) => console.log(`  ${line}`));
    if (options.json) console.log(JSON.stringify(report, null, 2));
    else print(report);
    if (report.failed > 0)
      throw new Stop(`${report.failed} threads were not moved; run the same command again`);
  });
