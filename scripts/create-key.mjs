// Owns making a key for a user: `node scripts/create-key.mjs [--url URL] | --remote | --local [--port 8787]`, with
// `[--project default] [--label …]`.
// Invariant: the key is printed once, here; afterwards only its hash exists. What is printed works: a project that was
// deleted gets none.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ask, readTarget } from "./admin-client.mjs";
import { addKeysSql, checkKey, deletedProject, newKey, refuseDeleted } from "./keys.mjs";
import { executeLocal } from "./local-database.mjs";
import { isMain, root, stateOf } from "./paths.mjs";
import { bold, main, Stop } from "./say.mjs";
import { ensureNodeModules } from "./setup.mjs";
import { wrangler } from "./wrangler.mjs";

async function createKey() {
  const { values } = parseArgs({
    options: {
      url: { type: "string", default: process.env.GATEWAY_URL },
      local: { type: "boolean", default: false },
      remote: { type: "boolean", default: false },
      port: { type: "string", default: process.env.PORT || "8787" },
      project: { type: "string", default: "default" },
      label: { type: "string", default: "" },
    },
  });
  const { url, local, remote, project } = values;
  if (local && remote) throw new Stop("--local and --remote are two places: choose one");
  const key = await (local || remote ? byDatabase(values) : byGateway(url, values));
  console.log(`A key for project ${project}, shown only now:\n\n  ${bold(key)}\n`);
}

/** Over the management API, which knows all rules: where a gateway with an administrator's token is told. */
async function byGateway(url, { project, label }) {
  if (!url) {
    throw new Stop(
      "say where: --url (or GATEWAY_URL) with ADMIN_TOKEN in the environment, --local (the gateway of `npm start`), " +
        "or --remote (the database of the deployed one)",
    );
  }
  const target = readTarget({ url });
  const id = encodeURIComponent(project);
  const create = async () => (await ask(target, "POST", `/projects/${id}/keys`, { label })).secret;
  try {
    return await create();
  } catch (error) {
    if (error.status !== 404) throw error;
  }
  try {
    await ask(target, "POST", "/projects", { id: project });
  } catch (error) {
    throw error.status === 409 ? new Stop(deletedProject(project)) : error;
  }
  return create();
}

/** Past the gateway: its first key is made before anybody has an administrator's token. */
async function byDatabase({ local, port, project, label }) {
  await ensureNodeModules();
  const key = checkKey(newKey(), "the key");
  const sql = addKeysSql([{ key, project, label }]);
  refuseDeleted(local ? await addLocally(port, sql) : await addRemotely(sql));
  return key;
}

async function addLocally(port, sql) {
  const state = stateOf(port);
  if (!existsSync(join(state, "seeded.json")))
    throw new Stop(`there is no local gateway for port ${port} yet: run npm start`);
  return executeLocal(state, sql);
}

async function addRemotely(sql) {
  const config = join(root, "wrangler.deploy.toml");
  if (!existsSync(config)) throw new Stop("this checkout has not deployed yet: run npm run deploy");
  const where = ["--remote", "--config", config, "--yes", "--json"];
  return JSON.parse(await wrangler(["d1", "execute", "DB", ...where, "--command", sql]));
}

if (isMain(import.meta.url)) await main(createKey);
