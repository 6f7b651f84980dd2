// Owns: the object of a resource on the real runtime: what it keeps over a restart, and what is left on disk when it has
// forgotten.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { storageOf } from "../../scripts/local-database.mjs";
import { startGateway } from "./gateway.mjs";

let gateway;
before(async () => {
  gateway = await startGateway({ main: "tests/e2e/objects-entry.js" });
});
after(() => gateway?.stop());

const NOTHING = { text: null, version: "" };
const key = (resource) => ({ project: "default", resource });

async function ask(resource, path, fields = {}) {
  const response = await fetch(`${gateway.url}/objects/RESOURCE/${resource}/v1/${path}`, {
    method: "POST",
    body: JSON.stringify({ key: key(resource), ...fields }),
  });
  assert.equal(response.status, 200, await response.clone().text());
  return response.json();
}

const fact = (thread, note, name, text, said_at = 1_795_525_380_000) => ({
  key: name,
  text,
  said_at,
  zone: 60,
  thread,
  note,
  priority: "high",
});

/** All bytes that the objects of resources have on disk. */
function onDisk() {
  const folder = join(storageOf(gateway.state), "v3", "do", "memory-gateway-ResourceObject");
  if (!existsSync(folder)) return "";
  const files = readdirSync(folder).filter((name) => !name.startsWith("metadata"));
  return files.map((name) => readFileSync(join(folder, name), "latin1")).join("\n");
}

test("asking for the profile of a resource that was never used makes no tables", async () => {
  assert.deepEqual(await ask("nobody", "profile"), NOTHING);
  // The runtime's own tables may be there.
  assert.ok(!onDisk().includes("TABLE migrations"));
});

test("a profile is there after a restart, byte for byte", async () => {
  const facts = [
    fact("t1", 1, "user.name", "The user's name is Alex."),
    fact("t2", 1, "user.home", "Lives in Oslo."),
  ];
  assert.equal(await ask("alex", "promote", { facts }), "done");
  assert.ok(onDisk().includes("TABLE migrations"));
  const profile = await ask("alex", "profile");
  assert.deepEqual(
    profile.text.split("\n").filter((line) => line.startsWith("- ")),
    ["- 2026-11-24 Lives in Oslo.", "- 2026-11-24 The user's name is Alex."],
  );
  await gateway.restart();
  assert.deepEqual(await ask("alex", "profile"), profile);
  assert.equal(await ask("alex", "forget", { thread: "t2", at: 1_795_525_380_000 }), "done");
  assert.equal(await ask("alex", "promote", { facts }), "done");
  assert.doesNotMatch((await ask("alex", "profile")).text, /Oslo/);
});

test("of a deleted resource no byte is left, and late facts do not come back", async () => {
  const planted = "PLANTED-7f3a";
  const facts = [fact(`thread-${planted}`, 1, "user.secret", `Knows ${planted}.`)];
  await ask("bob", "promote", { facts });
  assert.ok(onDisk().includes(planted), "the test looks where facts are");
  assert.equal(await ask("bob", "delete", { at: 1_795_525_380_000 }), "done");
  assert.deepEqual(await ask("bob", "profile"), NOTHING);
  await ask("bob", "promote", { facts });
  assert.equal(await ask("bob", "delete", { at: 1_795_525_380_000 }), "done");
  assert.deepEqual(await ask("bob", "profile"), NOTHING);
  assert.ok(!onDisk().includes(planted), "deleted facts are on disk");
  // What is said later is taken again.
  await ask("bob", "promote", { facts: [fact("t", 1, "user.home", "Lives in Bergen.", 1_795_525_380_001)] });
  assert.match((await ask("bob", "profile")).text, /Lives in Bergen\./);
});
