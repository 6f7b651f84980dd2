// Owns: the official Python clients against the gateway, in an environment of their own.
// Invariant: without Python or its packages nothing fails, and what was left out is said; the scenarios are in python/.
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { root } from "../../scripts/paths.mjs";
import { capture } from "../../scripts/run.mjs";
import { sandboxVars, startGateway, startSandbox } from "./gateway.mjs";
import { environment } from "./virtualenv.mjs";

const FOLDER = "tests/e2e/python";
const FILES = ["openai_client", "anthropic_client"];

const { python, missing } = await environment(join(FOLDER, "requirements.txt"));
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
