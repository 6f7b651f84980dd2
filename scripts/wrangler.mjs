// Owns how wrangler is run: with a Node that is new enough, quiet, and without asking the internet anything.
// Invariant: no wrangler started here shares logs or its registry of running Workers with another one.
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { local, root } from "./paths.mjs";
import { capture, probe, run } from "./run.mjs";
import { Stop } from "./say.mjs";

/** What wrangler.toml holds in place of a real database id; local databases are named after it. */
const NO_DATABASE_ID = "00000000-0000-0000-0000-000000000000";

let found;
/** A Node that wrangler accepts (>= 22): the one npm installed here, or else the one running this. */
export function nodeBinary() {
  const installed = join(root, "node_modules", ".bin", "node");
  const works = (path) => Number(/^v(\d+)/.exec(probe(path, ["--version"]))?.[1] ?? 0) >= 22;
  found ??= [existsSync(installed) ? installed : "", process.execPath].find((path) => path && works(path));
  if (found) return found;
  throw new Stop(
    `wrangler needs Node 22 or newer; this is ${process.version}, and our npm packages bring ` +
      `no newer one for ${process.platform}-${process.arch}.\n` +
      "Install Node 22 or newer (https://nodejs.org), then run this again.",
  );
}

/**
 * The command line of wrangler. Not node_modules/.bin/wrangler: its first line would pick the system's Node.
 */
export const wranglerCommand = (args) => [
  nodeBinary(),
  [join(root, "node_modules", "wrangler", "bin", "wrangler.js"), ...args],
];

/** The environment of a wrangler that keeps its own files in `folder`. */
export function wranglerEnv(folder) {
  return {
    WRANGLER_SEND_METRICS: "false",
    WRANGLER_SEND_ERROR_REPORTS: "false",
    WRANGLER_HIDE_BANNER: "true", // The banner looks for a newer version on the network.
    WRANGLER_WRITE_LOGS: "false",
    WRANGLER_LOG_PATH: join(folder, "wrangler-logs"),
    WRANGLER_REGISTRY_PATH: join(folder, "registry"), // Two gateways have the same Worker name.
    CLOUDFLARE_CF_FETCH_ENABLED: "false", // Else each start asks for a sample `request.cf`.
    CLOUDFLARE_LOAD_DEV_VARS_FROM_DOT_ENV: "true", // --env-file depends on it.
    CLOUDFLARE_INCLUDE_PROCESS_ENV: "false",
    NO_COLOR: "1",
    // Never a question on a terminal: these scripts decide.
    CI: "1",
  };
}

/** Runs wrangler to its end and gives its stdout; throws with everything it wrote. */
export function wrangler(args, { folder = local, cwd } = {}) {
  const [command, all] = wranglerCommand(args);
  return capture(command, all, { env: wranglerEnv(folder), ...(cwd && { cwd }) });
}

/** Runs wrangler with its output shown. */
export function wranglerShown(args, { folder = local } = {}) {
  const [command, all] = wranglerCommand(args);
  return run(command, all, { env: wranglerEnv(folder) });
}

/**
 * Writes wrangler.<name>.toml, git-ignored: wrangler.toml with some texts replaced. It must lie beside the
 * original, because wrangler resolves every path in it from there.
 */
export function configVariant(name, replacements) {
  let text = readFileSync(join(root, "wrangler.toml"), "utf8");
  for (const [from, to] of replacements) {
    if (!text.includes(from))
      throw new Stop(`wrangler.toml no longer holds ${JSON.stringify(from)}, which ${name} replaces`);
    text = text.replaceAll(from, to);
  }
  const path = join(root, `wrangler.${name}.toml`);
  // Only when it differs: a running wrangler dev watches its file and would start anew.
  if (existsSync(path) && readFileSync(path, "utf8") === text) return path;
  const aside = `${path}.${process.pid}`;
  writeFileSync(aside, text);
  renameSync(aside, path);
  return path;
}

/** The configuration of a deployment: the repository's, with this account's database. */
export const deployConfig = (databaseId) => configVariant("deploy", [[NO_DATABASE_ID, databaseId]]);

/** Makes the folder of a gateway's state, readable only by the user: it holds provider keys. */
export function privateFolder(folder) {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return folder;
}
