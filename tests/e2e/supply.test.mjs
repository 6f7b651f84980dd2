// Owns what is built in and what it is built from: the list of it, what may be on that list, and what is missing.
// Invariant: no tool, no network and no gateway is needed.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { isAllowed, judged, wrongCrates } from "../../scripts/audit.mjs";
import { root } from "../../scripts/paths.mjs";
import { readCargoLock, sbom } from "../../scripts/sbom.mjs";
import { withoutSections } from "../../scripts/wasm-sections.mjs";

const read = (name) => readFileSync(join(root, name), "utf8");

test("the list of what is built in holds every crate and package of the lock files, once, with its digest", () => {
  const [cargoLock, packageLock] = [read("Cargo.lock"), read("package-lock.json")];
  const document = sbom(cargoLock, packageLock);
  assert.deepEqual([document.bomFormat, document.specVersion], ["CycloneDX", "1.6"]);
  assert.match(
    document.serialNumber,
    /^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/,
  );
  assert.deepEqual(sbom(cargoLock, packageLock), document, "the same every time");
  assert.notEqual(sbom(`${cargoLock}\n`, packageLock).serialNumber, document.serialNumber);

  const refs = document.components.map((component) => component["bom-ref"]);
  assert.equal(new Set(refs).size, refs.length);
  const crates = readCargoLock(cargoLock);
  assert.equal(crates.length, cargoLock.split("[[package]]").length - 1);
  const packages = Object.entries(JSON.parse(packageLock).packages)
    .filter(([path]) => path !== "")
    .map(([path, { name, version }]) => {
      const known = name ?? path.split("node_modules/").at(-1);
      return `pkg:npm/${known.replace("@", "%40")}@${version}`;
    });
  const all = [...crates.filter(({ source }) => source).map(({ ref }) => ref), ...new Set(packages)];
  assert.deepEqual([...refs].sort(), all.sort());
  for (const { hashes, purl } of document.components) {
    assert.ok(
      hashes?.every(({ alg, content }) => alg && /^[0-9a-f]{40,128}$/.test(content)),
      purl,
    );
  }

  const known = new Set([...refs, document.metadata.component["bom-ref"]]);
  assert.equal(document.dependencies.length, known.size);
  for (const { ref, dependsOn } of document.dependencies) {
    assert.ok(known.has(ref), ref);
    for (const other of dependsOn) assert.ok(known.has(other), `${ref} needs ${other}`);
  }
  const needs = (ref) => document.dependencies.find((entry) => entry.ref === ref).dependsOn;
  const own = needs(document.metadata.component["bom-ref"]);
  assert.ok(own.some((ref) => ref.startsWith("pkg:cargo/serde_json@")));
  assert.ok(own.some((ref) => ref.startsWith("pkg:npm/wrangler@")));
  assert.ok(
    needs(own.find((ref) => ref.startsWith("pkg:cargo/serde_json@"))).some((ref) => ref.includes("/itoa@")),
  );
});

test("a licence is allowed where one way through its expression is", () => {
  const allowed = ["MIT", "Apache-2.0", "Unicode-3.0"];
  for (const [expression, expected] of [
    ["MIT", true],
    ["GPL-3.0-only", false],
    ["GPL-3.0-only OR MIT", true],
    ["GPL-3.0-only/MIT", true],
    ["MIT AND GPL-3.0-only", false],
    ["(MIT OR Apache-2.0) AND Unicode-3.0", true],
    ["(MIT OR Apache-2.0) AND Zlib", false],
    ["MIT OR Apache-2.0 AND Zlib", true],
    ["", false],
    ["MIT WITH something", false],
  ]) {
    assert.equal(isAllowed(expression, allowed), expected, expression);
  }
});

test("a crate of another licence or from elsewhere is named", () => {
  const registry = "registry+https://github.com/rust-lang/crates.io-index";
  const crate = (name, license, source) => ({ name, version: "1.0.0", license, source });
  const found = wrongCrates(
    [
      crate("own", "Apache-2.0", null),
      crate("good", "MIT OR Apache-2.0", registry),
      crate("closed", "GPL-3.0-only", registry),
      crate("none", null, registry),
      crate("forked", "MIT", "git+https://example.test/forked"),
    ],
    read("deny.toml"),
  );
  assert.deepEqual(found, [
    "closed 1.0.0: licence GPL-3.0-only",
    "none 1.0.0: licence null",
    "forked 1.0.0: from git+https://example.test/forked",
  ]);
});

test("a weakness is an error, and a database that cannot be reached is none", () => {
  assert.equal(judged("npm audit", { code: 0, text: "found 0 vulnerabilities" }), "nothing known");
  for (const text of [
    "npm error code ENOTFOUND",
    "error: failed to fetch advisory database",
    "npm error audit endpoint returned an error",
  ]) {
    assert.match(judged("npm audit", { code: 1, text }), /^passed over/);
  }
  assert.throws(
    () => judged("npm audit", { code: 1, text: "1 high severity vulnerability" }),
    /npm audit found something:\n1 high/,
  );
});

test("where the standard library's source cannot be had, one line says what panics cost in that build", () => {
  const folder = mkdtempSync(join(tmpdir(), "memory-gateway-no-source-"));
  try {
    // A compiler of a distribution: without rustup beside it, and without the source.
    writeFileSync(join(folder, "rustc"), `#!/bin/sh\necho ${folder}\n`, { mode: 0o755 });
    const program = `import { ensureRustSource } from ${JSON.stringify(join(root, "scripts", "setup.mjs"))};
      console.log(await ensureRustSource());`;
    const done = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
      env: { ...process.env, PATH: folder },
      encoding: "utf8",
    });
    assert.equal(done.status, 0, done.stderr);
    const [, line, answer] = done.stdout.trim().split("\n");
    assert.match(line, /panics cost all requests of their isolate.*By hand: rustup component add rust-src$/);
    assert.equal(answer, "false");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

const HEADER = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
/** A section of wasm: its kind, its length as LEB128 of two bytes, and what it holds. */
const section = (kind, content) => [kind, (content.length & 0x7f) | 0x80, content.length >> 7, ...content];
const custom = (name, content) => section(0, [name.length, ...Buffer.from(name), ...content]);

test("what is shipped of a wasm module lacks the sections named, and all else is as it was", () => {
  const types = section(1, [1, 0x60, 0, 0]);
  const features = custom("target_features", [0]);
  const names = custom("name", new Array(300).fill(7));
  const lookalike = section(3, [4, ...Buffer.from("name")]);
  const module = Buffer.from([...HEADER, ...types, ...names, ...lookalike, ...features, ...names]);
  const shipped = Buffer.from([...HEADER, ...types, ...lookalike, ...features]);
  assert.deepEqual(withoutSections(module, ["name"]), shipped);
  assert.deepEqual(withoutSections(module, []), module);
  assert.deepEqual(withoutSections(shipped, ["name"]), shipped);
});

test("a file that is no wasm module, or not a whole one, is refused and not cut", () => {
  const whole = Buffer.from([...HEADER, ...custom("name", [1, 2, 3])]);
  assert.throws(() => withoutSections(Buffer.from("<html>not wasm"), ["name"]), /not a wasm module/);
  assert.throws(() => withoutSections(whole.subarray(0, -1), ["name"]), /cut short/);
  assert.throws(() => withoutSections(whole.subarray(0, HEADER.length + 2), ["name"]), /damaged/);
});
