// Owns turning the crate into a Worker: `node scripts/build.mjs [--profile release|dev] [--features a,b]
// [--panic unwind|abort] [--names] [--out dir]`.
// Invariant: build/<out>/.stamp names exactly the sources and tools its files were made from, or is absent; and what a panic
// does in them: it unwinds and costs one request, or it ends the wasm instance, and with it what else is under way there.
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { digest } from "./digest.mjs";
import { withLock } from "./lock.mjs";
import { isMain, root } from "./paths.mjs";
import { run } from "./run.mjs";
import { main, seconds, Stop } from "./say.mjs";
import {
  ensureNodeModules,
  ensureRustSource,
  ensureTools,
  ensureWasmTarget,
  rustSource,
  rustVersion,
  wasmBindgenVersion,
  WORKER_BUILD,
} from "./setup.mjs";
import { withoutSections } from "./wasm-sections.mjs";

const SOURCES = ["src", "Cargo.toml", "Cargo.lock", ".cargo/config.toml", "rust-toolchain.toml", "build.rs"];

/**
 * The standard library that rustup has for wasm aborts; one that unwinds is compiled here, from its source. Cargo and rustc
 * have that as an unstable option, for which the stable ones have to be asked like this: the alternative is a nightly, of
 * which nothing else is needed. Exceptions as the wasm standard has them cost a call into JavaScript nothing; those that LLVM
 * would take by itself have each wrapped in a function. Names are mangled as without all this: the other way they are long.
 */
const UNWIND = {
  // wasm-opt takes longer than the compiler over code that can unwind: its passes look again and again at what a block that
  // catches holds, and such blocks are nested deeply.
  workerBuild: ["--no-opt"],
  cargo: ["-Zbuild-std=std,panic_unwind"],
  rustc: [
    "-Cpanic=unwind",
    "-Cllvm-args=-wasm-use-legacy-eh=false",
    // A third of what the compiler would inline, each place with a block that catches: the module is a twelfth smaller by it and
    // nothing slower. With 30 it begins to be.
    "-Cllvm-args=-inline-threshold=80",
    "-Zunstable-options",
    "-Csymbol-mangling-version=legacy",
  ],
};

/**
 * Builds if anything changed; gives `{ fresh, panic, raw, gzip }`: what a panic does, and the sizes of the wasm in bytes.
 * Where `panic` is to be "unwind" and cannot, it is "abort". `names` keeps what functions are called, for profiles and stacks:
 * a fourteenth of what is uploaded (gzip). What a panic says of itself, file and line, needs none of it.
 */
export async function build({
  profile = "release",
  features = [],
  panic: asked = "unwind",
  names = profile !== "release",
  out = `build/${profile}`,
} = {}) {
  if (!["release", "dev"].includes(profile))
    throw new Stop(`--profile must be release or dev, not ${profile}`);
  if (!["unwind", "abort"].includes(asked)) throw new Stop(`--panic must be unwind or abort, not ${asked}`);
  // What was built without the source stays good without it, and asks no network for it.
  let panic = rustSource() ? asked : "abort";
  const wanted = () =>
    digest(
      SOURCES,
      profile,
      features,
      panic,
      names,
      UNWIND,
      WORKER_BUILD,
      wasmBindgenVersion(),
      rustVersion(),
    );
  const done = current(out, wanted());
  if (done) return { ...done, fresh: false };
  await ensureNodeModules();
  await ensureWasmTarget();
  if (asked === "unwind") panic = (await ensureRustSource()) ? "unwind" : "abort";
  const tools = await ensureTools();
  // One build at a time in this checkout: variants share cargo's target folder and would only wait there.
  return withLock(join(root, "build", ".lock"), async () => {
    const stamp = wanted(); // Taken before compiling: a file saved meanwhile makes the next build run.
    const made = current(out, stamp);
    if (made) return { ...made, fresh: false };
    rmSync(join(root, out, ".stamp"), { force: true });
    await compile({ profile, features, panic, out, tools });
    const file = join(root, out, "index_bg.wasm");
    // Only here: wasm-bindgen and wasm-opt read other such sections, and rustc can leave out only all of them.
    if (!names) writeFileSync(file, withoutSections(readFileSync(file), ["name"]));
    const wasm = readFileSync(file);
    const sizes = { raw: wasm.length, gzip: gzipSync(wasm, { level: 9 }).length };
    writeFileSync(join(root, out, ".stamp"), JSON.stringify({ stamp, panic, ...sizes }));
    return { panic, ...sizes, fresh: true };
  });
}

function current(out, stamp) {
  const files = [".stamp", "index.js", "index_bg.wasm"].map((name) => join(root, out, name));
  if (!files.every(existsSync)) return undefined;
  const { stamp: found, ...made } = JSON.parse(readFileSync(files[0], "utf8"));
  return found === stamp ? made : undefined;
}

function compile({ profile, features, panic, out, tools }) {
  const npmBinary = (name) => join(root, "node_modules", ".bin", name);
  const unwinds = panic === "unwind";
  const cargoArgs = [
    "--locked",
    ...(features.length > 0 ? ["--features", features.join(",")] : []),
    ...(unwinds ? UNWIND.cargo : []),
  ];
  const flags = [`--${profile}`, ...(unwinds ? UNWIND.workerBuild : []), "--out-dir", out];
  return run(join(tools, "bin", "worker-build"), [...flags, ".", ...cargoArgs], {
    // worker-build downloads each tool from GitHub unless told where it is; PATH is never consulted.
    env: {
      WASM_BINDGEN_BIN: join(tools, "bin", "wasm-bindgen"),
      WASM_OPT_BIN: npmBinary("wasm-opt"),
      ESBUILD_BIN: npmBinary("esbuild"),
      ...(unwinds && {
        RUSTC_BOOTSTRAP: "1",
        RUSTFLAGS: [process.env.RUSTFLAGS, ...UNWIND.rustc].filter(Boolean).join(" "),
        // Apart from what tests and checks compile: with unstable options all of it would be compiled anew each time.
        CARGO_TARGET_DIR: join(process.env.CARGO_TARGET_DIR || join(root, "target"), "unwind"),
      }),
    },
    hint: "The Worker did not build; the compiler's messages are above.",
  });
}

const kB = (bytes) => `${(bytes / 1000).toFixed(0)} kB`;
const COST = { unwind: "a panic costs one request", abort: "a panic costs all requests of its isolate" };
export const describeSize = ({ panic, raw, gzip }) => `wasm ${kB(raw)}, gzip ${kB(gzip)}; ${COST[panic]}`;

/** What a panic does in what was built into a folder: "unwind" or "abort". */
export const panicOf = (out) => JSON.parse(readFileSync(join(root, out, ".stamp"), "utf8")).panic;

async function cli() {
  const since = performance.now();
  const { values } = parseArgs({
    options: {
      profile: { type: "string", default: "release" },
      features: { type: "string", default: "" },
      panic: { type: "string", default: "unwind" },
      names: { type: "boolean" },
      out: { type: "string" },
    },
  });
  const features = values.features.split(",").filter(Boolean);
  const { profile, panic, names, out } = values;
  const result = await build({ profile, features, panic, ...(names && { names }), ...(out && { out }) });
  console.log(`${result.fresh ? "built in" : "up to date,"} ${seconds(since)}: ${describeSize(result)}`);
}

if (isMain(import.meta.url)) await main(cli);
