// Owns one running local gateway: wrangler dev on a port, with a state folder of its own.
// Invariant: secrets reach it by a private file, never by a command line, and `stop()` leaves nothing
// running.
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { writeEnvFile } from "./dev-vars.mjs";
import { startLeashed } from "./leashed.mjs";
import { storageOf } from "./local-database.mjs";
import { privateFolder, wranglerCommand, wranglerEnv } from "./wrangler.mjs";

/** Starts wrangler dev; `config` is another configuration file than wrangler.toml. */
export function startGatewayProcess({ port, state, vars, config, onText }) {
  privateFolder(state);
  const envFile = join(state, "vars.env");
  writeEnvFile(envFile, vars);
  const [command, args] = wranglerCommand([
    "dev",
    "--ip",
    "127.0.0.1",
    "--port",
    String(port),
    "--inspector-port",
    "0", // Any free one: the default is the same for every instance.
    "--persist-to",
    storageOf(state),
    "--env-file",
    envFile, // Takes the place of .dev.vars.
    "--show-interactive-dev-session=false",
    ...(config ? ["--config", config] : []),
  ]);
  const child = startLeashed(command, args, { env: wranglerEnv(state), onText });
  let running = true;
  void child.exited.then(() => (running = false));
  const url = `http://127.0.0.1:${port}`;
  return {
    ...child,
    url,
    /** True as soon as /health answers; false when it ended or did not answer in time. */
    async ready(within = 60_000) {
      for (const until = Date.now() + within; running && Date.now() < until; await sleep(50)) {
        if (await answers(`${url}/health`)) return true;
      }
      return false;
    },
  };
}

export async function answers(address) {
  try {
    const response = await fetch(address, { signal: AbortSignal.timeout(5_000) });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false;
  }
}
