// Owns: the official Python clients against the gateway, in an environment of their own.
// Invariant: without Python or its packages nothing fails, and what was left out is said; the scenarios are in python/.
import assert from "node:assert/strict";
import { existsSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { digest } from "../../scripts/digest.mjs";
import { withLock } from "../../scripts/lock.mjs";
import { cache, root } from "../../scripts/paths.mjs";
import { capture, probe } from "../../scripts/run.mjs";
import { sandboxVars, startGateway, startSandbox } from "./gateway.mjs";

/** The oldest Python that the pinned clients accept. */
const OLDEST = [3, 10];
const FOLDER = "tests/e2e/python";
const FILES = ["openai_client", "anthropic_client"];

const { python, missing } = await environment();
if (missing) console.log(`The Python clients are left out: ${missing}`);

let sandbox, gateway;
before(async () => {
  if (missing) return;
  sandbox = await startSandbox();
  const { OPENROUTER_API_KEY, ...vars } = sandboxVars(sandbox);
  gateway = await startGateway({ vars });
});
after(async () => {
  await gateway?.stop();
  await sandbox?.close();
});

for (const file of FILES) {
  test(file, { skip: missing ?? false }, async (t) => {
    const env = { GATEWAY_URL: gateway.url, GATEWAY_KEY: gateway.key, PYTHONDONTWRITEBYTECODE: "1" };
    const lines = (await capture(python, [join(root, FOLDER, `${file}.py`)], { env })).trim().split("\n");
    assert.ok(lines.length > 5, `${lines.length} scenarios`);
    for (const { name, skip, error } of lines.map((line) => JSON.parse(line)))
      await t.test(name, { skip }, () => assert.ok(error === undefined, error));
  });
}

/** `{python}`, with the pinned packages beside it, or `{missing}` with the reason why there is none. */
async function environment() {
  const system = ["python3", "python"].find(isNewEnough);
  if (!system) return { missing: `no Python of at least ${OLDEST.join(".")}` };
  const requirements = join(FOLDER, "requirements.txt");
  const version = probe(system, ["--version"]);
  const folder = join(cache, `python-${digest([requirements], version).slice(0, 16)}`);
  const ready = join(folder, "bin", "python");
  if (existsSync(ready)) return { python: ready };
  const failed = await withLock(`${folder}.lock`, async () => {
    if (existsSync(ready)) return undefined;
    // Made elsewhere and renamed: what is there is complete. Nothing that is run from it looks at its own path.
    const made = `${folder}.new`;
    rmSync(made, { recursive: true, force: true });
    const install = [
      "--quiet",
      "--disable-pip-version-check",
      "--retries",
      "1",
      "-r",
      join(root, requirements),
    ];
    try {
      await capture(system, ["-m", "venv", made]);
      await capture(join(made, "bin", "python"), ["-m", "pip", "install", ...install]);
    } catch (error) {
      return error.message.split("\n").at(-1);
    }
    renameSync(made, folder);
    return undefined;
  });
  const names = readFileSync(join(root, requirements), "utf8").trim().split("\n").join(", ");
  return failed ? { missing: `cannot install ${names} (${failed})` } : { python: ready };
}

function isNewEnough(command) {
  const [major, minor] = (/^Python (\d+)\.(\d+)/.exec(probe(command, ["--version"])) ?? [])
    .slice(1)
    .map(Number);
  return major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1]);
}
