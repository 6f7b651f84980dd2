// Owns the D1 database of a local state folder: its schema, its first projects and keys.
// Invariant: seeded.json beside the database lists what is in it, so that a second start does nothing.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { digest } from "./digest.mjs";
import { addKeysSql, keyHash, refuseDeleted } from "./keys.mjs";
import { privateFolder, wrangler } from "./wrangler.mjs";

/** The folder wrangler is told to keep Durable Objects and D1 in. */
export const storageOf = (state) => join(state, "storage");

export const migrationsDigest = () => digest(["migrations"]);

/** Applies missing migrations and adds missing keys, `[{ key, project, label }]`; says what it did. */
export async function prepareDatabase(state, keys) {
  privateFolder(state);
  const path = join(state, "seeded.json");
  const seeded = existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : { migrations: "", keys: [] };
  const missing = keys.filter(({ key }) => !seeded.keys.includes(keyHash(key)));
  const migrations = migrationsDigest();
  if (seeded.migrations === migrations && missing.length === 0) return "nothing to do";
  if (seeded.migrations !== migrations) await migrate(state);
  if (missing.length > 0) refuseDeleted(await executeLocal(state, addKeysSql(missing)));
  const hashes = [...seeded.keys, ...missing.map(({ key }) => keyHash(key))];
  writeFileSync(path, JSON.stringify({ migrations, keys: hashes }, null, 2));
  return missing.length > 0 ? `${missing.length} key(s) added` : "migrated";
}

const where = (state) => ["--local", "--persist-to", storageOf(state)];

export const migrate = (state) =>
  wrangler(["d1", "migrations", "apply", "DB", ...where(state)], { folder: state });

/** Runs SQL, also while a gateway is running on the same state. */
export async function executeLocal(state, sql) {
  return JSON.parse(
    await wrangler(["d1", "execute", "DB", ...where(state), "--json", "--command", sql], { folder: state }),
  );
}
