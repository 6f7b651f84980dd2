// Owns the KEY=value files that wrangler reads: .dev.vars, and the env file we write for each local gateway.
// Invariant: a value written here is read back by wrangler byte for byte, and the file is the user's alone.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./paths.mjs";
import { Stop } from "./say.mjs";

export function readDevVars() {
  const path = join(root, ".dev.vars");
  return existsSync(path) ? parse(readFileSync(path, "utf8")) : {};
}

/**
 * One KEY=value a line, as dotenv reads it: `export`, quotes and comments allowed. No values over several
 * lines.
 */
export function parse(text) {
  const vars = {};
  for (const line of text.split(/\r?\n/)) {
    const found = /^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*$/.exec(line);
    if (!found) continue;
    const [, name, value] = found;
    const quoted = /^(['"`])(.*)\1\s*(?:#.*)?$/.exec(value);
    vars[name] = quoted ? quoted[2] : value.replace(/\s+#.*$/, "").replace(/^#.*$/, "");
  }
  return vars;
}

/** Writes `vars` for `wrangler dev --env-file`, which then does not read .dev.vars. */
export function writeEnvFile(path, vars) {
  const lines = Object.entries(vars).map(([name, value]) => `${name}=${quote(name, String(value))}`);
  writeFileSync(path, `${lines.join("\n")}\n`, { mode: 0o600 });
}

function quote(name, value) {
  const mark = ["'", "`", '"'].find((each) => !value.includes(each));
  if (!mark || /[\r\n]/.test(value))
    throw new Stop(`${name} cannot hold a line break, nor all three kinds of quotes`);
  // wrangler expands $NAME even inside quotes, and takes the backslash away again.
  return `${mark}${value.replaceAll("$", "\\$")}${mark}`;
}
