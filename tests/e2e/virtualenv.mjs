// Owns the Python environments of the end-to-end tests: one for each file of requirements, kept between runs.
// Invariant: an environment that is there is complete; where none can be had, the reason is given instead of an error.
import { existsSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { digest } from "../../scripts/digest.mjs";
import { withLock } from "../../scripts/lock.mjs";
import { cache, root } from "../../scripts/paths.mjs";
import { capture, probe } from "../../scripts/run.mjs";

/** The oldest Python that the pinned packages accept. */
const OLDEST = [3, 10];

/**
 * `{python}`, with the packages of a file of requirements beside it, or `{missing}` with the reason why there is none.
 * `requirements` is a path in the repository.
 */
export async function environment(requirements) {
  const system = ["python3", "python"].find(isNewEnough);
  if (!system) return { missing: `no Python of at least ${OLDEST.join(".")}` };
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
