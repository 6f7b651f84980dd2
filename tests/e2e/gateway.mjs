// Owns the gateways of the end-to-end tests: the real Worker under wrangler dev, on a free port and storage
// of its own.
// Invariant: `stop()` leaves neither a process nor a file; a test that dies leaves no process either.
import { cpSync, existsSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { digest } from "../../scripts/digest.mjs";
import { startGatewayProcess } from "../../scripts/gateway-process.mjs";
import { prepareDatabase, storageOf } from "../../scripts/local-database.mjs";
import { withLock } from "../../scripts/lock.mjs";
import { local } from "../../scripts/paths.mjs";
import { freePort } from "../../scripts/ports.mjs";
import { sandboxVars as varsFor } from "../../scripts/settings.mjs";
import { configVariant } from "../../scripts/wrangler.mjs";

export { startSandbox } from "../../sandbox/server.mjs";

/** The variables that point every provider at a sandbox. */
export const sandboxVars = (sandbox) => varsFor(sandbox.url.replace(/\/$/, ""));

const KEYS = [
  { key: "msk_test_default", project: "default" },
  { key: "msk_test_other", project: "other" },
];

/** Opens the management API of the tests' gateways. */
export const ADMIN_TOKEN = "admin-token-of-the-tests";

/** What every gateway of the tests has, unless a test says otherwise. */
const VARS = {
  // Generous: a test machine with every core busy must not look like a thread store that is down.
  MEMORY_DEADLINE_MS: "5000",
  ADMIN_TOKEN,
  MASTER_KEYS: `tests:${Buffer.alloc(32, 7).toString("base64")}`,
  // One key for a whole file of tests: no user is that quick.
  LIMITS: JSON.stringify({
    ...{ global: 1_000_000, llm_proxy: 1_000_000, llm_proxy_burst: 1_000_000 },
    ...{ memory_read: 1_000_000, memory_write: 1_000_000 },
  }),
};

/**
 * Starts a gateway. `build`: "release", or "faults" with fault injection, which is built much faster: while working,
 * TEST_BUILD=faults has every test use it. `state`: a folder to keep and to
 * use again; without it the storage is temporary. `keys`: the first two are given back as `key` and
 * `otherKey`. `main`: a module to run in the place of the Worker's own.
 */
export async function startGateway({
  vars = {},
  build = process.env.TEST_BUILD ?? "release",
  state,
  keys = KEYS,
  main,
} = {}) {
  const folder = state ?? mkdtempSync(join(tmpdir(), "memory-gateway-"));
  if (!existsSync(storageOf(folder))) cpSync(await template(keys), folder, { recursive: true });
  const port = await freePort();
  const config = testConfig(build, main);
  const allVars = { ...VARS, ...vars };
  let text = "";
  let gateway;
  const start = async () => {
    gateway = startGatewayProcess({
      port,
      state: folder,
      vars: allVars,
      config,
      onText: (more) => (text += more),
    });
    if (await gateway.ready()) return;
    await gateway.kill();
    throw new Error(`the gateway did not answer /health. What it wrote:\n${text}`);
  };
  await start();
  return {
    url: gateway.url,
    baseURL: `${gateway.url}/v1`,
    key: keys[0].key,
    otherKey: keys[1]?.key,
    state: folder,
    /** Everything wrangler and the Worker wrote so far. */
    logs: () => text,
    /** A power cut and a new start: same storage, same port. */
    async restart() {
      await gateway.kill();
      await start();
    },
    async stop() {
      if (state) return gateway.stop();
      await gateway.kill(); // Two seconds quicker, and there is nothing to close in good order.
      rmSync(folder, { recursive: true, force: true });
    },
    /** Asks the management API; gives `{status, ...body}`. */
    async manage(method, path, body, token = allVars.ADMIN_TOKEN) {
      const answer = await fetch(`${gateway.url}/v1/gateway${path}`, {
        method,
        headers: { ...(token && { authorization: `Bearer ${token}` }), "content-type": "application/json" },
        body: body && JSON.stringify(body),
      });
      return { status: answer.status, ...(await answer.json()) };
    },
    /** Runs SQL on the gateway's D1 database, also while it runs; gives the rows. */
    d1: async (sql) => query(folder, sql),
  };
}

/**
 * A state folder with the schema and the keys in it, made once and copied for every gateway: wrangler takes
 * four seconds to make one.
 */
async function template(keys) {
  const folder = join(local, "templates", digest(["migrations"], keys).slice(0, 16));
  await withLock(`${folder}.lock`, async () => {
    if (existsSync(folder)) return;
    rmSync(`${folder}.new`, { recursive: true, force: true });
    await prepareDatabase(`${folder}.new`, keys);
    renameSync(`${folder}.new`, folder); // Complete or not there at all.
  });
  return folder;
}

/**
 * wrangler.toml without its build command, so that a test runs what was built, whatever is saved meanwhile;
 * and with the wanted build, because wrangler dev takes `--alias` without a word and ignores it.
 */
function testConfig(build, main) {
  const name = main ? `test-${build}-${basename(main, ".js")}` : `test-${build}`;
  return configVariant(name, [
    ...(main ? [['main = "src/platform/entry.js"', `main = "${main}"`]] : []),
    ["./build/release/index.js", `./build/${build}/index.js`],
    ['command = "node scripts/build.mjs"', 'command = ""'],
    ['watch_dir = ["src", "Cargo.toml", "Cargo.lock"]', "watch_dir = []"],
  ]);
}

/** Not by wrangler: it takes two seconds a query. SQLite's own locks keep the two processes apart. */
function query(state, sql) {
  const folder = join(storageOf(state), "v3", "d1", "miniflare-D1DatabaseObject");
  const files = readdirSync(folder).filter((name) => /^[0-9a-f]+\.sqlite$/.test(name));
  if (files.length !== 1) throw new Error(`expected one D1 database in ${folder}, found ${files.length}`);
  const database = new DatabaseSync(join(folder, files[0]), { timeout: 5_000 });
  try {
    return database
      .prepare(sql)
      .all()
      .map((row) => ({ ...row }));
  } finally {
    database.close();
  }
}
