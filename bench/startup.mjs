// Owns `npm run bench:startup`: what it takes to come up. In this process: how long the module takes to be compiled (which
// Cloudflare does when it is deployed) and to be instantiated (which each new isolate does). In workerd: the processor time
// until the first request is answered, beside that of a Worker that only passes on.
//   --rounds N    how often (9)
//   --build DIR   the build to measure; without it the release build, made new if need be
// Invariant: each start is a process of its own with storage of its own; what is printed is the median.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { build, describeSize } from "../scripts/build.mjs";
import { root } from "../scripts/paths.mjs";
import { main, step } from "../scripts/say.mjs";
import { ensureNodeModules } from "../scripts/setup.mjs";
import { atRest } from "./cpu.mjs";

const median = (values) => values.toSorted((one, other) => one - other)[values.length >> 1];
const ms = (value) => `${value.toFixed(1)} ms`;

async function startup() {
  const { values } = parseArgs({
    options: { rounds: { type: "string", default: "9" }, build: { type: "string" } },
  });
  const rounds = Number(values.rounds);
  await ensureNodeModules();
  if (!values.build) await step("build the Worker", async () => describeSize(await build()));
  const folder = values.build ?? "build/release";

  console.log(`\nthe module: ${ofModule(readFileSync(join(root, folder, "index_bg.wasm")), rounds)}`);

  const { startTarget } = await import("./targets.mjs"); // Needs what was just installed.
  const upstream = createServer((request, response) => request.resume().on("end", () => response.end("{}")));
  await new Promise((resolve) => upstream.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${upstream.address().port}`;
  const used = { baseline: [], gateway: [] };
  for (let round = 0; round < rounds; round++)
    for (const name of round % 2 ? ["gateway", "baseline"] : ["baseline", "gateway"])
      used[name].push(await startOnce(startTarget, name, { upstream: url, build: folder }));
  upstream.close();
  const [bare, ours] = [median(used.baseline), median(used.gateway)];
  console.log(
    `workerd until its first answer, processor time: bare Worker ${ms(bare)}, gateway ${ms(ours)}, which is ${ms(ours - bare)} more`,
  );
}

/** How long it takes to be compiled and instantiated, in words. */
function ofModule(bytes, rounds) {
  // It unwinds by exceptions as the standard has them, and only a Node that knows their type compiles them.
  if (!WebAssembly.JSTag) return `passed over, because Node ${process.version} cannot compile it; 24 can`;
  const [compiling, instantiating] = [[], []];
  for (let round = 0; round < rounds; round++) {
    const before = performance.now();
    const module = new WebAssembly.Module(bytes);
    const compiled = performance.now();
    new WebAssembly.Instance(module, standIns(module));
    compiling.push(compiled - before);
    instantiating.push(performance.now() - compiled);
  }
  return `compiled in ${ms(median(compiling))}, its functions when they are first called; instantiated in ${ms(median(instantiating))}`;
}

/** Something of its kind for each import: what only starts calls none of them. */
function standIns(module) {
  const made = {
    function: () => () => {},
    tag: () => new WebAssembly.Tag({ parameters: ["externref"] }),
  };
  const imports = {};
  for (const { module: from, name, kind } of WebAssembly.Module.imports(module))
    (imports[from] ??= {})[name] = name === "__wbindgen_jstag" ? WebAssembly.JSTag : made[kind]();
  return imports;
}

/** The processor time of one start, in milliseconds. */
async function startOnce(startTarget, name, options) {
  const folder = mkdtempSync(join(tmpdir(), "memory-gateway-startup-"));
  try {
    const target = await startTarget(name, { folder, ...options });
    try {
      return (await atRest(target.pid)) / 1_000;
    } finally {
      await target.stop();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

await main(startup);
