// Owns installing what a fresh checkout lacks: npm packages, the wasm32 target, the pinned build tools.
// Invariant: what is already right costs no network and almost no time; what cannot be installed is said in
// full.
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { digest } from "./digest.mjs";
import { withLock } from "./lock.mjs";
import { cache, isMain, local, root } from "./paths.mjs";
import { capture, probe, run } from "./run.mjs";
import { main, step, Stop } from "./say.mjs";

/** The oldest compiler that the `worker` crate and our edition accept. */
const OLDEST_RUST = [1, 93];
/** Together with the wasm-bindgen of Cargo.lock this decides the JavaScript around the wasm: keep in step. */
export const WORKER_BUILD = "0.8.7";
const TARGET = "wasm32-unknown-unknown";

export async function ensureAll() {
  await ensureNodeModules();
  await ensureWasmTarget();
  await ensureTools();
}

/** `npm ci`, unless what is installed was installed from this very package-lock.json. */
export async function ensureNodeModules() {
  const stamp = join(root, "node_modules", ".memory-gateway-lock");
  const wanted = digest(["package-lock.json"]);
  const isCurrent = () => existsSync(stamp) && readFileSync(stamp, "utf8") === wanted;
  if (isCurrent()) return;
  if (!existsSync(stamp) && isInstalledByHand()) return writeFileSync(stamp, wanted);
  await withLock(join(local, "setup.lock"), async () => {
    if (isCurrent()) return;
    await step("install npm packages", () =>
      run("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], {
        hint: "They bundle and run the Worker. Check the network and run `npm ci` by hand.",
      }),
    );
    writeFileSync(stamp, wanted);
  });
}

function isInstalledByHand() {
  const installed = statSync(join(root, "node_modules", ".package-lock.json"), { throwIfNoEntry: false });
  return installed !== undefined && installed.mtimeMs >= statSync(join(root, "package-lock.json")).mtimeMs;
}

/** The standard library for wasm32: with RUSTUP_AUTO_INSTALL=0 no toolchain file would bring it by itself. */
export async function ensureWasmTarget() {
  ensureRust();
  if (hasTarget()) return;
  if (!probe("rustup", ["--version"])) {
    throw new Stop(
      `The Rust target ${TARGET} is missing, and without rustup it cannot be added here.\n` +
        "The Worker is WebAssembly, compiled for that target. Install Rust with rustup\n" +
        `(https://rustup.rs) or your system's package of the target, then run this again.\n` +
        `By hand: rustup target add ${TARGET}`,
    );
  }
  await step(`add the Rust target ${TARGET}`, () =>
    run("rustup", ["target", "add", TARGET], {
      hint: `Check the network and run: rustup target add ${TARGET}`,
    }),
  );
}

function hasTarget() {
  const libraries = probe("rustc", ["--print", "target-libdir", "--target", TARGET]);
  return libraries !== "" && existsSync(libraries);
}

/** The source of the standard library that belongs to the compiler in use, or "" where it is not there. */
export function rustSource() {
  const source = join(probe("rustc", ["--print", "sysroot"]), "lib", "rustlib", "src", "rust", "library");
  return existsSync(join(source, "Cargo.lock")) ? source : "";
}

/**
 * The source of the standard library and the crates that it needs, from which the one that unwinds is compiled; false, and a
 * line that says so, where they cannot be had.
 */
export async function ensureRustSource() {
  const command = "rustup component add rust-src";
  try {
    if (!rustSource()) {
      await step("add the source of Rust's standard library", () =>
        capture("rustup", command.split(" ").slice(1)),
      );
    }
    // With the compiler's own lock file; where all is there already, no network is asked.
    const manifest = join(rustSource(), "Cargo.toml");
    await capture("cargo", ["fetch", "--locked", "--quiet", "--manifest-path", manifest], {
      env: { RUSTC_BOOTSTRAP: "1" },
    });
    return true;
  } catch (error) {
    console.log(
      "  ! This build's panics cost all requests of their isolate, not one: the source of Rust's standard library cannot be " +
        `had (${error.message.trim().split("\n").at(-1)}). By hand: ${command}`,
    );
    return false;
  }
}

/** The compiler in use, as it calls itself; "" where there is none. */
export const rustVersion = () => probe("rustc", ["--version"]);

function ensureRust() {
  const version = rustVersion();
  const why = "The gateway is written in Rust and compiled on this machine.";
  if (!version || !probe("cargo", ["--version"])) {
    throw new Stop(`Rust is missing (no rustc or cargo on PATH). ${why}\nInstall it: https://rustup.rs`);
  }
  const [major, minor] = (/(\d+)\.(\d+)/.exec(version) ?? []).slice(1).map(Number);
  if (major < OLDEST_RUST[0] || (major === OLDEST_RUST[0] && minor < OLDEST_RUST[1])) {
    throw new Stop(
      `${version} is too old: ${OLDEST_RUST.join(".")} or newer is needed. ${why}\nRun: rustup update stable`,
    );
  }
}

/** rustfmt and clippy, which minimal toolchains lack; only `npm test` needs them. */
export async function ensureLinters() {
  const missing = [
    ["rustfmt", "fmt"],
    ["clippy", "clippy"],
  ].filter(([, command]) => !probe("cargo", [command, "--version"]));
  if (missing.length === 0) return;
  const names = missing.map(([component]) => component);
  const command = `rustup component add ${names.join(" ")}`;
  if (!probe("rustup", ["--version"]))
    throw new Stop(`${names.join(" and ")} missing, needed to check the code. Run: ${command}`);
  await step(`add ${names.join(" and ")}`, () =>
    run("rustup", ["component", "add", ...names], { hint: `By hand: ${command}` }),
  );
}

/** The wasm-bindgen of Cargo.lock: its command line tool must be of the very same version. */
export function wasmBindgenVersion() {
  const lock = join(root, "Cargo.lock");
  const found =
    existsSync(lock) && /name = "wasm-bindgen"\nversion = "([^"]+)"/.exec(readFileSync(lock, "utf8"));
  if (!found)
    throw new Stop(
      "Cargo.lock is missing or has no wasm-bindgen. Restore it from git, or run: cargo generate-lockfile",
    );
  return found[1];
}

/** Where the two cargo-installed tools live; MEMORY_GATEWAY_TOOLS overrides the whole folder. */
export function toolsFolder() {
  return (
    process.env.MEMORY_GATEWAY_TOOLS || join(cache, `tools-wb${WORKER_BUILD}-wbg${wasmBindgenVersion()}`)
  );
}

/** worker-build and wasm-bindgen, compiled from crates.io once per machine and version. */
export async function ensureTools() {
  const folder = toolsFolder();
  // No release build of the tools: it takes ten minutes instead of two and saves less than a second per use.
  const wanted = [
    ["wasm-bindgen", "wasm-bindgen-cli", wasmBindgenVersion(), ["--no-default-features"]],
    ["worker-build", "worker-build", WORKER_BUILD, []],
  ];
  const isThere = ([binary, , version]) =>
    probe(join(folder, "bin", binary), ["--version"])
      .split(/\s+/)
      .includes(version);
  if (wanted.every(isThere)) return folder;
  await withLock(`${folder}.lock`, async () => {
    const target = join(folder, "target");
    for (const tool of wanted.filter((each) => !isThere(each))) {
      const [binary, crate, version, flags] = tool;
      const args = [
        "install",
        `${crate}@${version}`,
        "--locked",
        "--debug",
        "--bin",
        binary,
        "--root",
        folder,
        "--target-dir",
        target,
        "--force",
        ...flags,
      ];
      await step(`install ${crate} ${version} (once per machine, a minute or two)`, () =>
        run("cargo", [...args, "--quiet"], {
          env: { CARGO_PROFILE_DEV_DEBUG: "0" },
          hint: `It makes the compiled code a Worker. Check the network and run:\n  cargo ${args.join(" ")}`,
        }),
      );
    }
    rmSync(target, { recursive: true, force: true }); // Nearly a gigabyte, of no use afterwards.
  });
  return folder;
}

if (isMain(import.meta.url)) await main(() => ensureAll().then(ensureRustSource));
