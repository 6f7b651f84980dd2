// Owns turning the crate into a Worker: `node scripts/build.mjs [--profile release|dev] [--features a,b]
// [--out dir]`.
// Invariant: build/<out>/.stamp names exactly the sources and tools its files were made from, or is absent.
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
  ensureTools,
  ensureWasmTarget,
  wasmBindgenVersion,
  WORKER_BUILD,
} from "./setup.mjs";

const SOURCES = ["src", "Cargo.toml", "Cargo.lock", ".cargo/config.toml", "rust-toolchain.toml", "build.rs"];

/** Builds if anything changed; gives `{ fresh, raw, gzip }`, the sizes of the wasm in bytes. */
export async function build({ profile = "release", features = [], out = `build/${profile}` } = {}) {
  if (!["release", "dev"].includes(profile))
    throw new Stop(`--profile must be release or dev, not ${profile}`);
  const wanted = () => digest(SOURCES, profile, features, WORKER_BUILD, wasmBindgenVersion());
  const done = current(out, wanted());
  if (done) return { ...done, fresh: false };
  await ensureNodeModules();
  await ensureWasmTarget();
  const tools = await ensureTools();
  // One build at a time in this checkout: variants share cargo's target folder and would only wait there.
  return withLock(join(root, "build", ".lock"), async () => {
    const stamp = wanted(); // Taken before compiling: a file saved meanwhile makes the next build run.
    const made = current(out, stamp);
    if (made) return { ...made, fresh: false };
    rmSync(join(root, out, ".stamp"), { force: true });
    await compile({ profile, features, out, tools });
    const wasm = readFileSync(join(root, out, "index_bg.wasm"));
    const sizes = { raw: wasm.length, gzip: gzipSync(wasm, { level: 9 }).length };
    writeFileSync(join(root, out, ".stamp"), JSON.stringify({ stamp, ...sizes }));
    return { ...sizes, fresh: true };
  });
}

function current(out, stamp) {
  const files = [".stamp", "index.js", "index_bg.wasm"].map((name) => join(root, out, name));
  if (!files.every(existsSync)) return undefined;
  const { stamp: found, raw, gzip } = JSON.parse(readFileSync(files[0], "utf8"));
  return found === stamp ? { raw, gzip } : undefined;
}

function compile({ profile, features, out, tools }) {
  const npmBinary = (name) => join(root, "node_modules", ".bin", name);
  const cargoArgs = ["--locked", ...(features.length > 0 ? ["--features", features.join(",")] : [])];
  return run(join(tools, "bin", "worker-build"), [`--${profile}`, "--out-dir", out, ".", ...cargoArgs], {
    // worker-build downloads each tool from GitHub unless told where it is; PATH is never consulted.
    env: {
      WASM_BINDGEN_BIN: join(tools, "bin", "wasm-bindgen"),
      WASM_OPT_BIN: npmBinary("wasm-opt"),
      ESBUILD_BIN: npmBinary("esbuild"),
    },
    hint: "The Worker did not build; the compiler's messages are above.",
  });
}

const kB = (bytes) => `${(bytes / 1000).toFixed(0)} kB`;
export const describeSize = ({ raw, gzip }) => `wasm ${kB(raw)}, gzip ${kB(gzip)}`;

async function cli() {
  const since = performance.now();
  const { values } = parseArgs({
    options: {
      profile: { type: "string", default: "release" },
      features: { type: "string", default: "" },
      out: { type: "string" },
    },
  });
  const features = values.features.split(",").filter(Boolean);
  const result = await build({ profile: values.profile, features, ...(values.out && { out: values.out }) });
  console.log(`${result.fresh ? "built in" : "up to date,"} ${seconds(since)}: ${describeSize(result)}`);
}

if (isMain(import.meta.url)) await main(cli);
