// Owns `npm run sbom`: everything that is in the two lock files, as a CycloneDX document (build/sbom.cdx.json, or `--stdout`).
// https://cyclonedx.org/docs/1.6/json/
// Invariant: nothing but the lock files is read, so the document is the same wherever and whenever it is made, and
// nothing has to be installed for it.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { isMain, root } from "./paths.mjs";
import { main, Stop } from "./say.mjs";

/** The document, from the texts of Cargo.lock and package-lock.json. */
export function sbom(cargoLock, packageLock) {
  const crates = readCargoLock(cargoLock);
  const packages = readPackageLock(packageLock);
  const own = crates.find(({ source }) => source === undefined);
  if (!own) throw new Stop("Cargo.lock holds no package of this repository");
  const components = [...crates.filter((crate) => crate !== own).map(crateComponent), ...packages.components];
  components.sort((one, other) => (one["bom-ref"] < other["bom-ref"] ? -1 : 1));
  const about = crateComponent(own);
  const dependencies = [
    { ref: about["bom-ref"], dependsOn: [...own.dependencies, ...packages.direct].sort() },
    ...crates
      .filter((crate) => crate !== own)
      .map(({ ref, dependencies }) => ({ ref, dependsOn: dependencies.sort() })),
    ...packages.dependencies,
  ].sort((one, other) => (one.ref < other.ref ? -1 : 1));
  const digest = createHash("sha256").update(cargoLock).update(packageLock).digest("hex");
  return {
    $schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    serialNumber: `urn:uuid:${uuid(digest)}`,
    version: 1,
    metadata: { component: { ...about, type: "application", licenses: [{ license: { id: "Apache-2.0" } }] } },
    components,
    dependencies,
  };
}

/** A UUID (version 8, a form of one's own: RFC 9562) of a digest: two documents differ when the lock files do. */
const uuid = (hex) =>
  [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `8${hex.slice(13, 16)}`,
    `8${hex.slice(17, 20)}`,
    hex.slice(20, 32),
  ].join("-");

const crateRef = (name, version) => `pkg:cargo/${name}@${version}`;

function crateComponent({ name, version, ref, checksum }) {
  return {
    type: "library",
    "bom-ref": ref,
    name,
    version,
    purl: ref,
    ...(checksum && { hashes: [{ alg: "SHA-256", content: checksum }] }),
  };
}

/** The packages of Cargo.lock, whose TOML cargo itself writes: tables of strings and lists of strings. */
export function readCargoLock(text) {
  const crates = text
    .split(/^\[\[package\]\]$/m)
    .slice(1)
    .map((table) => {
      const field = (name) => new RegExp(`^${name} = "([^"]*)"$`, "m").exec(table)?.[1];
      const [, list = ""] = /^dependencies = \[([^\]]*)\]/m.exec(table) ?? [];
      const [name, version] = [field("name"), field("version")];
      if (!name || !version) throw new Stop(`a package of Cargo.lock cannot be read:\n${table}`);
      return {
        name,
        version,
        source: field("source"),
        checksum: field("checksum"),
        ref: crateRef(name, version),
        named: [...list.matchAll(/"([^"]+)"/g)].map(([, dependency]) => dependency),
      };
    });
  return crates.map(({ named, ...crate }) => ({
    ...crate,
    // A version stands behind the name where there are several.
    dependencies: named.map((dependency) => {
      const [name, version] = dependency.split(" ");
      const found = crates.find((other) => other.name === name && (!version || other.version === version));
      if (!found) throw new Stop(`Cargo.lock names ${dependency}, which is not in it`);
      return found.ref;
    }),
  }));
}

function readPackageLock(text) {
  const { packages } = JSON.parse(text);
  const nameOf = (path) => path.split("node_modules/").at(-1);
  const refOf = (path) => {
    const name = packages[path].name ?? nameOf(path);
    return `pkg:npm/${name.replace("@", "%40")}@${packages[path].version}`;
  };
  /** Where Node looks for a package that another one asks for: beside it, then in each folder above. */
  const resolved = (from, name) => {
    for (let at = from; ; at = at.slice(0, Math.max(0, at.lastIndexOf("node_modules/") - 1))) {
      const path = `${at && `${at}/`}node_modules/${name}`;
      if (packages[path]) return path;
      if (at === "") return undefined;
    }
  };
  const needs = (path) => {
    const { dependencies, devDependencies, optionalDependencies, peerDependencies } = packages[path];
    const names = Object.keys({
      ...dependencies,
      ...devDependencies,
      ...optionalDependencies,
      ...peerDependencies,
    });
    // What is optional may be missing.
    const paths = names.map((name) => resolved(path, name)).filter(Boolean);
    return [...new Set(paths.map(refOf))].sort();
  };
  const components = new Map();
  const dependencies = new Map();
  for (const path of Object.keys(packages).filter((path) => path !== "")) {
    const { version, license, integrity } = packages[path];
    const ref = refOf(path);
    const [group, name] = /^(?:(@[^/]+)\/)?(.+)$/.exec(packages[path].name ?? nameOf(path)).slice(1);
    components.set(ref, {
      type: "library",
      "bom-ref": ref,
      ...(group && { group }),
      name,
      version,
      // The Worker that is deployed holds none of them: they build and test it.
      scope: "excluded",
      purl: ref,
      ...(integrity && { hashes: hashes(integrity) }),
      ...(license && {
        licenses: /[ (]/.test(license) ? [{ expression: license }] : [{ license: licence(license) }],
      }),
    });
    dependencies.set(ref, [...new Set([...(dependencies.get(ref) ?? []), ...needs(path)])].sort());
  }
  return {
    components: [...components.values()],
    dependencies: [...dependencies].map(([ref, dependsOn]) => ({ ref, dependsOn })),
    direct: needs(""),
  };
}

/** What is no identifier of SPDX's is a name. */
const licence = (text) =>
  /^[A-Za-z0-9.+-]+$/.test(text) && text !== "UNLICENSED" ? { id: text } : { name: text };

const ALGORITHMS = { sha1: "SHA-1", sha256: "SHA-256", sha384: "SHA-384", sha512: "SHA-512" };
const hashes = (integrity) =>
  integrity.split(" ").map((one) => {
    const at = one.indexOf("-");
    return {
      alg: ALGORITHMS[one.slice(0, at)],
      content: Buffer.from(one.slice(at + 1), "base64").toString("hex"),
    };
  });

if (isMain(import.meta.url)) {
  await main(async () => {
    const read = (name) => readFileSync(join(root, name), "utf8");
    const text = `${JSON.stringify(sbom(read("Cargo.lock"), read("package-lock.json")), null, 2)}\n`;
    if (process.argv.includes("--stdout")) return process.stdout.write(text);
    const path = join(root, "build/sbom.cdx.json");
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    console.log(`build/sbom.cdx.json: ${JSON.parse(text).components.length} components`);
  });
}
