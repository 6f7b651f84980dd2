// Owns what a gateway key is outside the Worker: its form, its hash, the row that makes it valid.
// Invariant: a plain key is never written to a database, only its SHA-256.
import { createHash, randomBytes, randomInt } from "node:crypto";
import { Stop } from "./say.mjs";

const PREFIX = "msk_";
const BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/** 32 characters of 62 are 190 bits: nothing to guess, so a plain SHA-256 of it is enough. */
export const newKey = () =>
  PREFIX + Array.from({ length: 32 }, () => BASE62[randomInt(BASE62.length)]).join("");

export function checkKey(key, name) {
  if (/^msk_[A-Za-z0-9_-]{4,200}$/.test(key)) return key;
  throw new Stop(`${name} must be ${PREFIX} followed by 4 to 200 letters, digits, "_" or "-"`);
}

export const keyHash = (key) => createHash("sha256").update(key).digest("hex");

/**
 * The statements that add keys, `[{ key, project, label }]`, and their projects where they are new; the last one names
 * the projects that were deleted. Those get none: who has a key of a deleted project is nobody.
 */
export function addKeysSql(keys) {
  const projects = [...new Set(keys.map(({ project = "default" }) => project))];
  const named = projects.map(text).join(", ");
  return [
    ...keys.map(insertKeySql),
    `SELECT id FROM projects WHERE deleted_at IS NOT NULL AND id IN (${named});`,
  ].join(" ");
}

/** Checks what the statements of `addKeysSql` answered: `[{ results }]`. */
export function refuseDeleted(answers) {
  const deleted = answers.at(-1)?.results?.[0]?.id;
  if (deleted) throw new Stop(deletedProject(deleted));
}

export const deletedProject = (project) =>
  `project ${project} was deleted, and a project's name is never used twice: choose another with --project`;

function insertKeySql({ key, project = "default", label = "" }) {
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(project))
    throw new Stop(`a project's name is 1 to 64 letters, digits, "_" or "-", not ${project}`);
  const now = Date.now();
  const row = [keyHash(key), `key_${randomBytes(8).toString("hex")}`, project, label, key.slice(0, 8)].map(
    text,
  );
  return (
    "INSERT INTO projects (id, name, created_at) " +
    `VALUES (${text(project)}, ${text(project)}, ${now}) ON CONFLICT DO NOTHING; ` +
    "INSERT INTO api_keys (hash, id, project_id, label, prefix, created_at) " +
    `SELECT ${row.join(", ")}, ${now} FROM projects WHERE id = ${text(project)} AND deleted_at IS NULL ` +
    "ON CONFLICT (hash) DO NOTHING;"
  );
}

const text = (value) => `'${value.replaceAll("'", "''")}'`;
