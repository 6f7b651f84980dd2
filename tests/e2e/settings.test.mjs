// Owns: what `npm start` passes on to the Worker.
// Invariant: every variable that the configuration reads can be set in the environment; a new one that is forgotten here
// fails.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { root } from "../../scripts/paths.mjs";
import { readSettings } from "../../scripts/settings.mjs";

/** The names that the configuration asks for: in capitals, quoted, as an argument. */
function namesRead() {
  const files = ["src/config.rs", "src/config/memory.rs", "src/config/tools.rs"];
  const code = files
    .map((file) => readFileSync(join(root, file), "utf8").split("#[cfg(test)]")[0])
    .join("\n");
  const found = code.matchAll(/\(\s*"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|LIMITS|PRICES|LEDGER)"/g);
  // What the compiler sets is nobody's to pass on.
  return new Set([...found].map(([, name]) => name).filter((name) => !name.startsWith("CARGO_")));
}

test("every variable that the Worker reads can be set in the environment of npm start", () => {
  const names = namesRead();
  assert.ok(
    names.has("MEMORY_OBSERVE_TOKENS") && names.has("CORS_ORIGINS") && names.size > 25,
    [...names].join(),
  );
  const environment = Object.fromEntries([...names].map((name) => [name, `value of ${name}`]));
  const { vars } = readSettings(environment, {});
  const missing = [...names].filter((name) => vars[name] !== environment[name]);
  assert.deepEqual(missing, []);
});
