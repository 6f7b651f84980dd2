// Owns the other gateways that this one is measured beside: how they are installed, started and asked.
// Invariant: each comes from its registry in one pinned version, into a folder of its own outside the project's
// dependencies, and does the least it can: one provider, no log.
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../scripts/paths.mjs";
import { freePort } from "../scripts/ports.mjs";
import { run } from "../scripts/run.mjs";
import { startLeashed } from "../scripts/leashed.mjs";
import { Stop } from "../scripts/say.mjs";
import { answersWithin } from "./answers.mjs";

const HOME = join(root, ".local", "bench-rivals");
const PORTKEY = "@portkey-ai/gateway@1.9.8";
const LITELLM = "litellm[proxy]==1.108.7";
const PROVIDER_KEY = "bench-provider-key";

/** `url` answers once it is up; `headers` are sent beside those of every target. */
export const RIVALS = {
  "portkey (Node)": {
    install() {
      if (existsSync(portkeyServer)) return;
      mkdirSync(HOME, { recursive: true });
      return run("npm", [
        "install",
        "--prefix",
        HOME,
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        PORTKEY,
      ]);
    },
    command: ({ port }) => [process.execPath, portkeyServer, `--port=${port}`, "--headless"],
    headers: ({ upstream }) => ({
      authorization: `Bearer ${PROVIDER_KEY}`,
      "x-portkey-provider": "openai",
      "x-portkey-custom-host": `${upstream}/v1`,
    }),
  },
  "litellm (Python)": {
    async install() {
      if (existsSync(litellm)) return;
      await run("python3", ["-m", "venv", join(HOME, "venv")]);
      await run(join(HOME, "venv", "bin", "pip"), ["install", "--quiet", LITELLM]);
    },
    command({ port, upstream, folder }) {
      const config = join(folder, "litellm.yaml");
      const params = { model: "openai/*", api_base: `${upstream}/v1`, api_key: PROVIDER_KEY };
      // YAML reads JSON.
      writeFileSync(
        config,
        JSON.stringify({ model_list: [{ model_name: "openai/*", litellm_params: params }] }),
      );
      return [
        litellm,
        "--config",
        config,
        "--port",
        String(port),
        "--host",
        "127.0.0.1",
        "--telemetry",
        "False",
      ];
    },
    // It does not start without a key of its own.
    env: { LITELLM_LOG: "ERROR", LITELLM_MASTER_KEY: "sk-bench-0123456789abcdef0123456789abcdef" },
    headers: () => ({ authorization: "Bearer sk-bench-0123456789abcdef0123456789abcdef" }),
  },
};

const portkeyServer = join(HOME, "node_modules", "@portkey-ai", "gateway", "build", "start-server.js");
const litellm = join(HOME, "venv", "bin", "litellm");

/** Installs it if need be, starts it and waits until it answers; gives `{ name, url, pid, headers, output, stop }`. */
export async function startRival(name, { folder, upstream }) {
  const { install, command, env, headers } = RIVALS[name];
  await install();
  const port = await freePort();
  let output = "";
  // The shell says its process id and becomes the gateway, whose processor time is then read by that id.
  const child = startLeashed(
    "sh",
    ["-c", 'echo "pid $$"; exec "$@"', "sh", ...command({ port, upstream, folder })],
    { env, onText: (text) => (output = (output + text).slice(-5_000)) },
  );
  const url = `http://127.0.0.1:${port}`;
  let pid;
  const up = await answersWithin(60_000, url, child, () => (pid ??= /^pid (\d+)$/m.exec(output)?.[1]));
  if (up && pid) {
    return {
      name,
      url: `${url}/v1/chat/completions`,
      pid: Number(pid),
      headers: headers({ upstream }),
      output: () => output,
      stop: child.stop,
    };
  }
  await child.stop();
  throw new Stop(`${name} did not start. What it wrote:\n${output}`);
}
