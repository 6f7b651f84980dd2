// Owns the Workers under measurement: each alone in a bare `workerd serve`, without wrangler around it.
// Invariant: all have the same compatibility settings, those of wrangler.toml, and reach nothing but this machine.
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { buildSync } from "esbuild";
import { startLeashed } from "../scripts/leashed.mjs";
import { root } from "../scripts/paths.mjs";
import { freePort } from "../scripts/ports.mjs";
import { Stop } from "../scripts/say.mjs";
import { answersWithin } from "./answers.mjs";

// The workerd that wrangler brings.
const ofWrangler = createRequire(createRequire(join(root, "package.json")).resolve("wrangler"));
const workerd = ofWrangler("workerd").default;
export const workerdVersion = ofWrangler("workerd").version;

const PROVIDER_KEY = "bench-provider-key";

/** What each target runs; `upstream` is the address of upstream.mjs. */
const TARGETS = {
  baseline: ({ upstream }) => ({
    source: "bench/baseline.js",
    vars: { UPSTREAM: upstream, PROVIDER_KEY },
  }),
  "baseline + object": ({ upstream }) => ({
    source: "bench/baseline-objects.js",
    vars: { UPSTREAM: upstream, PROVIDER_KEY },
    objects: { THREAD: "ThreadRows" },
  }),
  "no-op JS pump": ({ upstream }) => ({
    source: "bench/baseline-pump.js",
    vars: { UPSTREAM: upstream, PROVIDER_KEY },
  }),
  gateway: ({ upstream, build }) => ({
    source: "src/platform/entry.js",
    wasm: resolve(root, build, "index_bg.wasm"),
    alias: { "memory-gateway-wasm": resolve(root, build, "index.js") },
    vars: {
      OPENAI_BASE_URL: `${upstream}/v1`,
      OPENAI_API_KEY: PROVIDER_KEY,
      // A busy machine must make turns slow here, not leave memory out of them.
      MEMORY_DEADLINE_MS: "20000",
      // What is measured is the way of a request, not its end at a limit.
      LIMITS: JSON.stringify(
        Object.fromEntries(
          ["global", "llm_proxy", "llm_proxy_burst", "memory_read", "memory_write"].map((name) => [
            name,
            100_000_000,
          ]),
        ),
      ),
    },
    objects: {
      THREAD: "ThreadObject",
      KEYS: "KeyObject",
      RESPONSES: "ResponseObject",
      RESOURCE: "ResourceObject",
      BUDGETS: "BudgetObject",
    },
    d1: upstream,
  }),
};

/** Starts a target, with more variables and arguments to workerd if need be, and waits until it answers; gives `{ url, pid, stop }`. */
export async function startTarget(
  name,
  { folder, upstream, build = "build/release", vars = {}, flags = [] },
) {
  const target = TARGETS[name]({ upstream, build });
  target.vars = { ...target.vars, ...vars };
  const home = join(folder, name.replaceAll(/\W+/g, "-"));
  mkdirSync(join(home, "objects"), { recursive: true });
  bundle(target, home);
  const port = await freePort();
  const config = join(home, "config.capnp");
  writeFileSync(config, workerdConfig(target, join(home, "objects"), port));
  let output = "";
  // The shell says its process id and becomes workerd, whose processor time is then read by that id.
  const child = startLeashed(
    "sh",
    ["-c", 'echo "pid $$"; exec "$@"', "sh", workerd, "serve", ...flags, config],
    {
      onText: (text) => (output = (output + text).slice(-5_000)),
    },
  );
  const url = `http://127.0.0.1:${port}`;
  if (await answersWithin(20_000, `${url}/health`, child)) {
    const pid = Number(/^pid (\d+)$/m.exec(output)?.[1]);
    return { name, url: `${url}/v1/chat/completions`, pid, output: () => output, stop: child.stop };
  }
  await child.stop();
  throw new Stop(`the target "${name}" did not start. What it wrote:\n${output}`);
}

function bundle({ source, alias, wasm }, home) {
  buildSync({
    absWorkingDir: root,
    entryPoints: [source],
    outfile: join(home, "worker.js"),
    bundle: true,
    format: "esm",
    target: "esnext",
    external: ["cloudflare:workers", "*.wasm"],
    logLevel: "error",
    ...(alias && { alias }),
  });
  if (wasm) copyFileSync(wasm, join(home, "index_bg.wasm"));
}

function workerdConfig({ wasm, vars, objects, d1 }, storage, port) {
  const modules = [
    '(name = "worker.js", esModule = embed "worker.js")',
    ...(wasm ? ['(name = "index_bg.wasm", wasm = embed "index_bg.wasm")'] : []),
  ];
  const bindings = [
    ...Object.entries(vars).map(([name, value]) => `(name = ${text(name)}, text = ${text(value)})`),
    ...Object.entries(objects ?? {}).map(
      ([name, object]) => `(name = ${text(name)}, durableObjectNamespace = ${text(object)})`,
    ),
    // workerd has D1's client, the same as in production, but no database: the client is pointed at upstream.mjs.
    ...(d1
      ? [
          '(name = "DB", wrapped = (moduleName = "cloudflare-internal:d1-api", ' +
            'innerBindings = [(name = "fetcher", service = "d1")]))',
        ]
      : []),
  ];
  const { date, flags } = compatibility();
  return `using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "main", worker = .worker),
    (name = "internet", network = (allow = ["local"])),
    (name = "storage", disk = (path = ${text(storage)}, writable = true)),
    ${d1 ? `(name = "d1", external = (address = ${text(new URL(d1).host)}, http = ())),` : ""}
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")],
);

const worker :Workerd.Worker = (
  modules = [${modules.join(", ")}],
  compatibilityDate = ${text(date)},
  compatibilityFlags = [${flags.map(text).join(", ")}],
  bindings = [
    ${bindings.join(",\n    ")},
  ],
  ${objects ? objectsConfig(objects) : ""}
);
`;
}

const objectsConfig = (objects) =>
  `durableObjectNamespaces = [
    ${Object.values(objects)
      .map((name) => `(className = ${text(name)}, uniqueKey = ${text(`bench-${name}`)}, enableSql = true)`)
      .join(",\n    ")},
  ],
  durableObjectStorage = (localDisk = "storage"),`;

/** A Cap'n Proto text literal. */
const text = (value) => JSON.stringify(value);

function compatibility() {
  const file = readFileSync(join(root, "wrangler.toml"), "utf8").replaceAll(/^\s*#.*$/gm, "");
  const date = /^compatibility_date\s*=\s*"([^"]+)"/m.exec(file)?.[1];
  const list = /^compatibility_flags\s*=\s*\[([^\]]*)\]/m.exec(file)?.[1];
  if (!date || list === undefined)
    throw new Stop("wrangler.toml: no compatibility_date or compatibility_flags found");
  return { date, flags: [...list.matchAll(/"([^"]+)"/g)].map(([, flag]) => flag) };
}
