// Owns fingerprints of file contents, by which steps know that nothing changed.
// Invariant: names and bytes both count.
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import { root } from "./paths.mjs";

/**
 * Hex SHA-256 over the named files and folders (relative to the checkout; missing ones count too) and extra
 * words.
 */
export function digest(paths, ...extra) {
  const hash = createHash("sha256");
  for (const path of paths) {
    for (const file of filesOf(join(root, path))) {
      hash.update(`${relative(root, file)}\0`);
      if (existsSync(file)) hash.update(readFileSync(file));
      hash.update("\0");
    }
  }
  hash.update(JSON.stringify(extra));
  return hash.digest("hex");
}

function filesOf(path) {
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) return [path];
  return readdirSync(path)
    .sort()
    .flatMap((name) => filesOf(join(path, name)));
}
