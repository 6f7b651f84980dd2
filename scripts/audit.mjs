// Owns `npm run audit`: known weaknesses of what is built in and of what builds it, their licences and sources.
// Invariant: a weakness ends it with an error. What cannot be asked here, for want of the tool or of a network, is said in a line
// and is no error, so that tests run on a plane. Licences and sources are held to deny.toml without either.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isMain, root } from "./paths.mjs";
import { probe } from "./run.mjs";
import { dim, main, step, Stop } from "./say.mjs";

/** What a tool writes that could not reach what it asks. */
const OFFLINE =
  /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|could not resolve|couldn't resolve|failed to (connect|fetch|clone)|network is unreachable|audit endpoint returned an error|error sending request|timed out/i;

/** Runs a tool; gives `{code, text}`. */
function tool(command, args) {
  const done = spawnSync(command, args, { cwd: root, encoding: "utf8", timeout: 120_000 });
  return {
    code: done.status ?? 1,
    text: `${done.stdout ?? ""}${done.stderr ?? ""}${done.error?.code ?? ""}`,
  };
}

/** What becomes of a tool's outcome: nothing, a line that says why it was passed over, or a Stop. */
export function judged(name, { code, text }) {
  if (code === 0) return "nothing known";
  if (OFFLINE.test(text)) return `passed over: ${name} cannot reach its database from here`;
  throw new Stop(`${name} found something:\n${text.trim()}`);
}

export async function audit() {
  await step("licences and sources of crates", () => {
    const text = probe("cargo", ["metadata", "--locked", "--offline", "--format-version", "1"]);
    if (!text) return "passed over: not all crates are on this machine (cargo fetch)";
    const wrong = wrongCrates(JSON.parse(text).packages, readFileSync(join(root, "deny.toml"), "utf8"));
    if (wrong.length > 0) throw new Stop(`not allowed by deny.toml:\n${wrong.join("\n")}`);
  });
  const absent = probe("cargo", ["deny", "--version"])
    ? undefined
    : "passed over: cargo install --locked cargo-deny";
  // Apart from weaknesses: these need no network, and the lack of one must not pass over what they find.
  await step("crates that deny.toml bans", () => {
    if (absent) return absent;
    if (!probe("cargo", ["metadata", "--locked", "--offline", "--format-version", "1"]))
      return "passed over: not all crates are on this machine (cargo fetch)";
    const rules = ["bans", "licenses", "sources"];
    const { code, text } = tool("cargo", ["deny", "--locked", "--offline", "check", ...rules]);
    if (code !== 0) throw new Stop(`cargo deny found something:\n${text.trim()}`);
  });
  await step(
    "known weaknesses of crates",
    () => absent ?? judged("cargo deny", tool("cargo", ["deny", "--locked", "check", "advisories"])),
  );
  await step("known weaknesses of npm packages", () =>
    judged("npm audit", tool("npm", ["audit", "--audit-level=high"])),
  );
}

/** The crates whose licence or source deny.toml does not allow. */
export function wrongCrates(packages, denyToml) {
  const list = (name) => {
    const [, inside] = new RegExp(`^${name} = \\[([^\\]]*)\\]`, "m").exec(denyToml) ?? [];
    if (inside === undefined) throw new Stop(`deny.toml has no list ${name}`);
    return [...inside.matchAll(/"([^"]+)"/g)].map(([, text]) => text);
  };
  const [licences, registries] = [list("allow"), list("allow-registry")];
  return packages.flatMap(({ name, version, license, source }) => [
    ...(isAllowed(license ?? "", licences) ? [] : [`${name} ${version}: licence ${license}`]),
    ...(source === null || registries.some((registry) => source === `registry+${registry}`)
      ? []
      : [`${name} ${version}: from ${source}`]),
  ]);
}

/** An expression of SPDX with AND, OR and brackets; `/` is an old way to write OR. */
export function isAllowed(expression, licences) {
  const words = expression.replaceAll("/", " OR ").match(/[()]|[^\s()]+/g) ?? [];
  let at = 0;
  const one = () => {
    const word = words[at++];
    if (word !== "(") return licences.includes(word);
    const inside = any();
    at += 1;
    return inside;
  };
  const all = () => {
    let allowed = one();
    while (words[at] === "AND") {
      at += 1;
      allowed = one() && allowed;
    }
    return allowed;
  };
  const any = () => {
    let allowed = all();
    while (words[at] === "OR") {
      at += 1;
      allowed = all() || allowed;
    }
    return allowed;
  };
  return any() && at === words.length;
}

if (isMain(import.meta.url)) {
  await main(async () => {
    await audit();
    console.log(dim("What was passed over is looked at where its tool and a network are."));
  });
}
