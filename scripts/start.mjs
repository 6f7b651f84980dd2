// Owns `npm start`: from a fresh checkout to a gateway that answers, with storage that stays.
// Invariant: whatever ends this process also ends every process it started.
import { randomBytes } from "node:crypto";
import { createWriteStream, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { TOKEN_FILE } from "./admin-client.mjs";
import { build, describeSize } from "./build.mjs";
import { answers, startGatewayProcess } from "./gateway-process.mjs";
import { newKey } from "./keys.mjs";
import { startLeashed } from "./leashed.mjs";
import { prepareDatabase } from "./local-database.mjs";
import { root, stateOf } from "./paths.mjs";
import { isFree } from "./ports.mjs";
import { bold, dim, main, step, Stop } from "./say.mjs";
import { readSettings, sandboxVars } from "./settings.mjs";
import { ensureAll } from "./setup.mjs";
import { WranglerOutput } from "./wrangler-output.mjs";
import { nodeBinary, privateFolder } from "./wrangler.mjs";

const children = [];
let stopping = false;

async function start() {
  const settings = readSettings();
  const state = privateFolder(stateOf(settings.port));
  const withSandbox = settings.live.length === 0;
  const key = settings.key ?? kept(state, "key", newKey);
  await ensurePortFree("PORT", settings.port);
  if (withSandbox) await ensurePortFree("SANDBOX_PORT", settings.sandboxPort);
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, stopAll);

  await ensureAll();
  await step("build the Worker", async () => describeSize(await build()));
  await step("prepare the local database", () =>
    prepareDatabase(state, [{ key, project: "default", label: "npm start" }]),
  );
  let vars = {
    ADMIN_TOKEN: kept(state, TOKEN_FILE, () => randomBytes(24).toString("base64url")),
    MASTER_KEYS: kept(state, "master-keys", () => `local:${randomBytes(32).toString("base64")}`),
    ...settings.vars,
  };
  if (withSandbox) {
    const url = `http://127.0.0.1:${settings.sandboxPort}`;
    vars = { ...sandboxVars(url), ...vars };
    await step("start the sandbox provider", () => startSandbox(state, settings.sandboxPort, url));
  }
  if (stopping) return;
  const output = new WranglerOutput();
  let gateway;
  await step("start the gateway", async () => {
    gateway = startGatewayProcess({ port: settings.port, state, vars, onText: (text) => output.write(text) });
    children.push(gateway);
    if (await gateway.ready()) return;
    if (!stopping) throw new Stop(`the gateway did not start. What wrangler wrote:\n\n${output.held}`);
  }).catch(async (error) => {
    await letGo();
    throw error;
  });
  if (stopping) return;
  console.log(
    welcome({ url: gateway.url, key, live: settings.live, sandboxPort: settings.sandboxPort, state }),
  );
  output.show();
  const code = await gateway.exited;
  if (stopping) return;
  await letGo();
  throw new Stop(`wrangler ended by itself, with exit code ${code}. The last it wrote:\n\n${output.held}`);
}

/** A secret made on the first start of this port. */
function kept(state, name, make) {
  const path = join(state, name);
  if (!existsSync(path)) writeFileSync(path, `${make()}\n`, { mode: 0o600 });
  return readFileSync(path, "utf8").trim();
}

async function ensurePortFree(name, port) {
  if (await isFree(port)) return;
  throw new Stop(
    `port ${port} is in use. Is a gateway running already?\n` +
      `Stop it, or choose another: ${name}=${port + 10} npm start`,
  );
}

async function startSandbox(state, port, url) {
  const log = createWriteStream(join(state, "sandbox.log"));
  let last = "";
  const sandbox = startLeashed(nodeBinary(), [join(root, "sandbox", "server.mjs"), "--port", String(port)], {
    onText: (text) => (log.write(text), (last = (last + text).slice(-4_000))),
  });
  children.push(sandbox);
  let running = true;
  void sandbox.exited.then(() => {
    running = false;
    if (!stopping) console.log(`the sandbox provider ended; the last it wrote:\n${last}`);
  });
  for (const until = Date.now() + 10_000; Date.now() < until && running; await sleep(50)) {
    if (await answers(`${url}/health`)) return;
  }
  if (stopping) return;
  throw new Stop(`the sandbox provider did not start: ${state}/sandbox.log tells more`);
}

async function stopAll() {
  if (stopping) return;
  stopping = true;
  console.log(dim("\nstopping …"));
  await letGo();
  process.exit(0);
}

const letGo = () => Promise.all(children.map((child) => child.stop()));

const MODELS = {
  openai: "openai/gpt-5-mini",
  anthropic: "anthropic/claude-haiku-4-5",
  google: "google/gemini-2.5-flash",
  openrouter: "openai/gpt-5-mini",
};

function welcome({ url, key, live, sandboxPort, state }) {
  const isSandbox = live.length === 0;
  const model = isSandbox ? MODELS.google : (MODELS[live[0]] ?? `${live[0]}/<model>`);
  const body = JSON.stringify({
    model,
    messages: [{ role: "user", content: "What is 2+2? Reply with just the number." }],
  });
  const curl =
    `curl -sS ${url}/v1/chat/completions -H "authorization: Bearer ${key}" ` +
    `-H "content-type: application/json" -H "x-thread-id: hello" -H "x-resource-id: me" -d '${body}'`;
  const rows = [
    ["Base URL", bold(`${url}/v1`)],
    ["API key", bold(key)],
    [
      "Provider",
      isSandbox
        ? `the SANDBOX on port ${sandboxPort}: it answers by simple rules, no model is asked`
        : live.join(", "),
    ],
    ...(isSandbox ? [["", "For real models put OPENAI_API_KEY=… into .dev.vars and start again."]] : []),
    ["Manage", "npm run admin -- --help (projects, keys, usage)"],
    ["Storage", `${state.replace(`${root}/`, "")} (delete it to forget everything)`],
  ].map(([name, value]) => `  ${name.padEnd(10)}${value}`);
  return [
    "",
    `  ${bold("memory-gateway is ready")}`,
    "",
    ...rows,
    "",
    "  Try it:",
    "",
    `  ${curl}`,
    "",
    dim("  Ctrl-C stops it."),
    "",
  ].join("\n");
}

await main(start);
