// Owns the folders everything else is found from.
// Invariant: nothing here depends on the current directory.
import { realpathSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Local state (databases, keys, logs, locks): git-ignored, safe to delete whole. */
export const local = join(root, ".local");

/**
 * State of the gateway that `npm start` runs on `port`: one folder a port, so instances never share storage.
 */
export const stateOf = (port) => join(local, String(port));

/** The user's cache: outside the checkout, so that a second clone finds the build tools already there. */
export const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "memory-gateway");

/** Whether the module is the program that was started, not one that another imports. */
export const isMain = (moduleUrl) =>
  process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(moduleUrl);
