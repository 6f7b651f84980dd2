// Owns `npm run bench`: measures this gateway and the least that could stand in its place, in turns, in one run.
//   --quick       one short round: about half a minute instead of three and a half
//   --json FILE   writes every figure of every round
//   --only TEXT   only scenarios with TEXT in their name or their part's title
//   --rivals      other gateways, too; installs them the first time
//   --plots DIR   writes a picture of each part
//   --build DIR   the build to measure; without it the release build, made new if need be
// Invariant: whatever ends this process, every process that it started ends, and its storage goes.
import { fork } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release, tmpdir, type } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { build, describeSize } from "../scripts/build.mjs";
import { newKey } from "../scripts/keys.mjs";
import { root } from "../scripts/paths.mjs";
import { dim, main, step, Stop } from "../scripts/say.mjs";
import { ensureNodeModules } from "../scripts/setup.mjs";
import { atRest, cpuMicroseconds } from "./cpu.mjs";
import { headerText, NOTES, partText, summary } from "./report.mjs";
import { writePlots } from "./plots.mjs";
import { startRival } from "./rivals.mjs";
import { FILLING, PARTS, requestHeaders } from "./scenarios.mjs";

const FULL = { rounds: 5, seconds: 1, warmUpSeconds: 0.5 };
const QUICK = { rounds: 1, seconds: 0.3, warmUpSeconds: 0.15 };

const key = newKey();
const targets = {};
const folder = mkdtempSync(join(tmpdir(), "memory-gateway-bench-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

async function bench() {
  const { values } = parseArgs({
    options: {
      quick: { type: "boolean", default: false },
      json: { type: "string" },
      only: { type: "string", default: "" },
      build: { type: "string" },
      rivals: { type: "boolean", default: false },
      plots: { type: "string" },
    },
  });
  const pace = values.quick ? QUICK : FULL;
  const parts = chosen(values.only, values.rivals);
  const load = loadavg()[0];
  await ensureNodeModules();
  const { startTarget, workerdVersion } = await import("./targets.mjs"); // Needs what was just installed.
  let wasm = values.build ?? "";
  if (!values.build) await step("build the Worker", async () => (wasm = describeSize(await build())));
  const environment = {
    date: new Date().toISOString(),
    cpu: cpus()[0]?.model.trim() ?? "unknown CPU",
    cores: cpus().length,
    os: `${type()} ${release()}`,
    node: process.version,
    workerd: workerdVersion,
    wasm,
    load,
    rounds: pace.rounds,
  };

  const upstream = startChild("upstream.mjs");
  const { port } = await upstream.said();
  const generator = startChild("load.mjs");
  const upstreamUrl = `http://127.0.0.1:${port}`;
  await step("start the Workers", async () => {
    for (const { baseline, isRival } of [...parts, { baseline: "gateway" }]) {
      const start = isRival ? startRival : startTarget;
      targets[baseline] ??= await start(baseline, { folder, upstream: upstreamUrl, build: values.build });
    }
  });

  console.log(`\n${headerText(environment)}`);
  const results = [];
  for (const part of parts) {
    const measured = await measurePart(part, { generator, upstreamUrl, pace });
    console.log(partText(measured));
    results.push(measured);
  }
  console.log(`\n${NOTES}`);
  if (values.plots) writePlots(values.plots, environment, results);
  if (values.json)
    writeFileSync(values.json, `${JSON.stringify({ environment, parts: results }, null, 2)}\n`);
}

function chosen(only, rivals) {
  const parts = PARTS.filter(({ isRival }) => rivals || !isRival)
    .map((part) => ({
      ...part,
      scenarios: part.scenarios.filter(({ name }) => `${part.title} ${name}`.includes(only)),
    }))
    .filter(({ scenarios }) => scenarios.length > 0);
  if (parts.length === 0) throw new Stop(`no scenario has "${only}" in its name`);
  return parts;
}

async function measurePart({ title, baseline, aims, isRival, scenarios }, { generator, upstreamUrl, pace }) {
  const both = [targets[baseline], targets.gateway];
  const whole = new Map();
  for (const scenario of scenarios) {
    // The length of the provider's own answer: what each target has to hand on, byte for byte.
    const direct = await generator.ask(job(scenario, { url: upstreamUrl }, { limit: 1 }));
    // Other gateways write answers anew, and counts that nobody asked for are taken out.
    whole.set(scenario, { bytes: isRival || scenario.isFiltered ? undefined : direct.bytes });
  }
  if (scenarios.some(({ thread }) => thread)) {
    for (const target of both) await generator.ask(job(FILLING, target, {}));
  }
  // The paced streams take the way that the others have warmed up.
  for (const scenario of scenarios.filter(({ timesEvents }) => isRival || !timesEvents)) {
    for (const target of both) {
      try {
        await measure(generator, scenario, target, whole.get(scenario), pace.warmUpSeconds);
      } catch (error) {
        if (!isRival || target.name === "gateway") throw error;
        console.log(dim(`  ${target.name} failed at "${scenario.name}": ${error.message.split("\n")[0]}`));
        scenarios = scenarios.filter((other) => other !== scenario);
      }
    }
  }
  const rounds = scenarios.map(() => []);
  for (let round = 0; round < pace.rounds; round++) {
    for (const [at, scenario] of scenarios.entries()) {
      const figures = {};
      // Who comes first changes each round: the second finds the machine warmer.
      for (const target of round % 2 ? both.toReversed() : both) {
        figures[target.name] = await measure(generator, scenario, target, whole.get(scenario), pace.seconds);
      }
      if (isRival) {
        const provider = { url: upstreamUrl };
        figures.direct = await generator.ask(job(scenario, provider, { seconds: pace.seconds }));
      }
      rounds[at].push(figures);
    }
  }
  const results = scenarios.map(({ name, events }, at) => ({
    name,
    events,
    medians: summary(rounds[at], baseline),
    rounds: rounds[at],
  }));
  return { title, baseline, aims, results };
}

/** One measurement, processor time included. */
async function measure(generator, scenario, target, wanted, seconds) {
  const before = await atRest(target.pid);
  const memory = target.name === "gateway" ? scenario.memory : undefined;
  const figures = await generator.ask(job(scenario, target, { ...wanted, memory, seconds }), target);
  const used = (await atRest(target.pid)) - before;
  const cpu = used / figures.requests;
  return { ...figures, cpu, ...(scenario.events && { cpuPerEvent: cpu / scenario.events }) };
}

function job(scenario, { url, headers: own }, { bytes, memory, seconds = 60, limit = scenario.limit }) {
  const { body, concurrency, freshThread, timesEvents } = scenario;
  const headers = { ...requestHeaders(scenario, key), ...own };
  const time = scenario.seconds ?? seconds;
  return { url, headers, body, concurrency, limit, seconds: time, bytes, memory, freshThread, timesEvents };
}

/** A child of ours that is told what to do by messages, and ends when this process does. */
function startChild(file) {
  const child = fork(join(root, "bench", file));
  const said = () =>
    new Promise((resolve, reject) => {
      const gone = () => reject(new Error(`${file} ended`));
      child.once("exit", gone);
      child.once("message", (message) => (child.off("exit", gone), resolve(message)));
    });
  return {
    said,
    async ask(message, target) {
      child.send(message);
      const { result, error } = await said();
      if (result) return result;
      throw new Stop(
        `a measurement failed: ${error}\n${target ? `${target.name} wrote:\n${target.output()}` : ""}`,
      );
    },
  };
}

let interrupted = false;
let stopping;
/** The children started by `fork` end with the channel to them; the Workers are let go here. */
const letGo = () => (stopping ??= Promise.all(Object.values(targets).map((target) => target.stop())));

for (const [signal, code] of Object.entries({ SIGINT: 130, SIGTERM: 143, SIGHUP: 129 })) {
  process.on(signal, () => {
    interrupted = true;
    console.log(dim("\nstopping …"));
    void letGo().then(() => process.exit(code));
  });
}

await main(async () => {
  try {
    await bench();
  } catch (error) {
    // A measurement without its Worker fails; the handler of the signal is about to end this process.
    if (interrupted) await new Promise(() => {});
    throw error;
  } finally {
    await letGo();
  }
  process.exit();
});
