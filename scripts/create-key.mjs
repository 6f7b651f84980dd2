// Owns making a key for a user: `node scripts/create-key.mjs --remote|--local [--port 8787] [--project
// default] [--label …]`.
// Invariant: the key is printed once, here; afterwards only its hash exists.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { checkKey, insertKeySql, newKey } from "./keys.mjs";
import { executeLocal } from "./local-database.mjs";
import { isMain, root, stateOf } from "./paths.mjs";
import { bold, main, Stop } from "./say.mjs";
import { ensureNodeModules } from "./setup.mjs";
import { wrangler } from "./wrangler.mjs";

async function createKey() {
  const { values } = parseArgs({
    options: {
      local: { type: "boolean" },
      remote: { type: "boolean" },
      port: { type: "string", default: process.env.PORT || "8787" },
      project: { type: "string", default: "default" },
      label: { type: "string", default: "" },
    },
  });
  if (Boolean(values.local) === Boolean(values.remote)) {
    throw new Stop("say where: --local (the gateway of `npm start`) or --remote (the deployed one)");
  }
  await ensureNodeModules();
  const key = checkKey(newKey(), "the key");
  const sql = insertKeySql({ key, project: values.project, label: values.label });
  if (values.local) await addLocally(values.port, sql);
  else await addRemotely(sql);
  console.log(`A key for project ${values.project}, shown only now:\n\n  ${bold(key)}\n`);
}

async function addLocally(port, sql) {
  const state = stateOf(port);
  if (!existsSync(join(state, "seeded.json")))
    throw new Stop(`there is no local gateway for port ${port} yet: run npm start`);
  await executeLocal(state, sql);
}

async function addRemotely(sql) {
  const config = join(root, "wrangler.deploy.toml");
  if (!existsSync(config)) throw new Stop("this checkout has not deployed yet: run npm run deploy");
  await wrangler(["d1", "execute", "DB", "--remote", "--config", config, "--yes", "--command", sql]);
}

if (isMain(import.meta.url)) await main(createKey);
