// Owns: what of `npm run deploy` can be tried without a Cloudflare account.
// Invariant: no test here needs a network.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { root } from "../../scripts/paths.mjs";

const deploy = (...args) =>
  promisify(execFile)(process.execPath, [join(root, "scripts", "deploy.mjs"), ...args], { cwd: root });

test("a dry run builds, checks the migrations, bundles, and prints the size", async () => {
  const configBefore = readFileSync(join(root, "wrangler.toml"), "utf8");
  const { stdout } = await deploy("--dry-run");
  const size = /bundle: ([\d.]+) KiB \/ gzip: ([\d.]+) KiB/.exec(stdout);
  assert.ok(size, stdout);
  assert.ok(Number(size[2]) < 3 * 1024, `over the 3 MiB that a free account may upload: ${size[0]}`);
  assert.match(stdout, /Dry run passed/);
  assert.equal(readFileSync(join(root, "wrangler.toml"), "utf8"), configBefore);
  console.log(size[0]);
});
