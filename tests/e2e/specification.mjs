// Owns: an upstream that checks every request by the provider's own OpenAPI document before the sandbox answers it.
// Invariant: a request whose path no document has, or that could not be checked, counts as wrong.
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { startLeashed } from "../../scripts/leashed.mjs";
import { withLock } from "../../scripts/lock.mjs";
import { cache, root } from "../../scripts/paths.mjs";
import { freePort } from "../../scripts/ports.mjs";
import { capture } from "../../scripts/run.mjs";
import { startUpstream } from "./wire.mjs";

// Not among the project's npm packages: it has 95 MB, and it is of no use without the documents.
const STEADY = "@stdy/cli@0.22.2";
const HOME = join(cache, STEADY.replaceAll("/", "-"));
const PROGRAM = join(HOME, "node_modules", "@stdy", "cli", "steady.js");
const SPECS = process.env.MEMORY_GATEWAY_SPECS || join(root, "..", "shared", "specs");
/** The documents, and which endpoints each is asked about: where the match begins, the document's path begins. */
const DOCUMENTS = [
  { file: "openai.yml", paths: /\/(?:chat\/completions|responses|embeddings)$/ },
  { file: "anthropic.json", paths: /\/v1\/messages(?:\/count_tokens)?$/ },
];

/** Why nothing can be checked on this machine, or undefined. Installs steady where only that is missing. */
export async function whyUnchecked() {
  const absent = DOCUMENTS.find(
    ({ file }) => !["", ".xz"].some((end) => existsSync(join(SPECS, file + end))),
  );
  if (absent) return `there is no ${absent.file} in ${SPECS} (MEMORY_GATEWAY_SPECS names another folder)`;
  try {
    DOCUMENTS.forEach(({ file }) => specification(file));
  } catch (error) {
    return `the documents in ${SPECS} cannot be read: ${error.message}`;
  }
  if (existsSync(PROGRAM)) return undefined;
  const install = ["install", "--prefix", HOME, "--no-audit", "--no-fund", "--loglevel=error", STEADY];
  return withLock(`${HOME}.lock`, () =>
    capture("npm", install).then(
      () => undefined,
      (error) => `cannot install ${STEADY}: ${error.message}`,
    ),
  );
}

/** As `startUpstream`, before `sandbox`; each of `requests` has also `wrong`, the violations as texts. */
export async function startCheckedUpstream(sandbox) {
  const folder = mkdtempSync(join(tmpdir(), "memory-gateway-specs-"));
  const [upstream, ...checks] = await Promise.all([
    startUpstream(),
    ...DOCUMENTS.map((document) => startCheck(document, folder)),
  ]);
  upstream.answer = async (res, entry) => {
    const check = checks.find(({ paths }) => paths.test(entry.path));
    entry.wrong = check ? await check.wrongIn(entry) : [`no document has ${entry.path}`];
    const answer = await forward(sandbox.url + entry.path, entry);
    res.writeHead(answer.status, { "content-type": answer.headers.get("content-type") });
    Readable.fromWeb(answer.body).pipe(res);
  };
  const { close } = upstream;
  upstream.close = async () => {
    await Promise.all([close(), ...checks.map(({ stop }) => stop())]);
    rmSync(folder, { recursive: true, force: true });
  };
  return upstream;
}

/** One steady, which has one document. */
async function startCheck({ file, paths }, folder) {
  const document = join(folder, file);
  writeFileSync(document, specification(file));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  let text = "";
  const { stop } = startLeashed(
    process.execPath,
    [PROGRAM, "--host", "127.0.0.1", "--port", String(port), "--quiet", document],
    { onText: (more) => (text += more) },
  );
  for (let tries = 0; !(await fetch(`${url}/_x-steady/health`).catch(() => undefined))?.ok; tries++) {
    if (tries === 300) throw new Error(`steady did not start. What it wrote:\n${text}`);
    await sleep(100);
  }
  return {
    paths,
    stop,
    async wrongIn(entry) {
      const [path] = paths.exec(entry.path);
      const { headers, body } = await forward(url + path, entry);
      await body?.cancel();
      // By its header and not its status: what might be the document's own fault is answered with 200.
      const count = headers.get("x-steady-error-count");
      if (count === null) return [`${path} could not be checked`];
      return Array.from({ length: Number(count) }, (_, n) =>
        ["path", "message"].map((part) => headers.get(`x-steady-error-${n + 1}-${part}`)).join(": "),
      );
    },
  };
}

function forward(url, { headers, raw }) {
  const { host, connection, "content-length": length, ...kept } = headers;
  return fetch(url, { method: "POST", headers: kept, body: raw });
}

/** A document, which may lie there compressed. */
function specification(file) {
  const path = join(SPECS, file);
  return existsSync(path)
    ? readFileSync(path)
    : execFileSync("xz", ["-dc", `${path}.xz`], { maxBuffer: 2 ** 28 });
}
