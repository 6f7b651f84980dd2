// Owns: `npm run admin` as a user runs it, against a real gateway: tables, JSON, secrets, refusals.
// Invariant: every call is a process of its own with nothing of this one's environment but the path.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, test } from "node:test";
import { addKeysSql, keyHash, newKey, refuseDeleted } from "../../scripts/keys.mjs";
import { root } from "../../scripts/paths.mjs";
import { post, user } from "./conversation.mjs";
import { ADMIN_TOKEN, sandboxVars, startGateway, startSandbox } from "./gateway.mjs";

let sandbox, gateway;
before(async () => {
  sandbox = await startSandbox();
  gateway = await startGateway({ vars: sandboxVars(sandbox) });
});
after(async () => {
  await gateway?.stop();
  await sandbox?.close();
});

/** Runs the command; gives `{code, out, error}`. */
function run(args, { input = "", env = {} } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [join(root, "scripts/admin.mjs"), ...args], {
      env: { PATH: process.env.PATH, GATEWAY_URL: gateway.baseURL, ADMIN_TOKEN, ...env },
    });
    let [out, error] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text) => (out += text));
    child.stderr.setEncoding("utf8").on("data", (text) => (error += text));
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, out, error }));
    child.stdin.end(input);
  });
}

async function output(args, options) {
  const { code, out, error } = await run(args, options);
  assert.equal(code, 0, error);
  return out;
}

/** The cells of a table's rows, by the first cell. */
const rows = (out) =>
  Object.fromEntries(
    out
      .trim()
      .split("\n")
      .slice(1)
      .map((line) => line.split(/ {2,}/))
      .map(([first, ...rest]) => [first, rest]),
  );

test("from no project to an answered request, a bound credential and a deleted key", async () => {
  await output([
    ...["projects", "create", "--id", "shop", "--name", "The shop", "--set", "memory.keep_tokens=6000"],
    ...["--set", "memory.scope=resource", "--budget-period", "month", "--budget-usd", "12.5"],
  ]);
  const shop = rows(await output(["projects"])).shop;
  assert.deepEqual(shop.slice(0, 3), [
    "The shop",
    "$12.5 a month",
    '{"memory":{"keep_tokens":6000,"scope":"resource"}}',
  ]);

  const made = await output(["keys", "create", "shop", "--label", "laptop", "--models", "openai/*,google/*"]);
  const [, id] = /The key (key_[0-9a-f]+) \(laptop\)/.exec(made);
  const [key] = /msk_\S+/.exec(made);
  const answer = await post(
    gateway,
    "/chat/completions",
    { model: "openai/gpt-5.4-mini", messages: [user("Hello.")] },
    { key },
  );
  assert.equal(answer.status, 200);
  const list = await output(["keys", "shop"]);
  assert.deepEqual(rows(list)[id].slice(0, 5), [
    `${key.slice(0, 8)}…`,
    "laptop",
    "valid",
    "openai/*,google/*",
    "all",
  ]);
  assert.ok(!list.includes(key));

  await output([
    ...["keys", "update", "shop", id, "--limit", "llm_proxy=7", "--limit", "global=9"],
    ...["--expires", "2120-01-01", "--models", "none", "--endpoints", "chat,memory"],
  ]);
  const { keys } = JSON.parse(await output(["keys", "shop", "--json"]));
  assert.deepEqual(
    keys.map(({ limits, expires_at, models, endpoints }) => ({ limits, expires_at, models, endpoints })),
    [
      {
        limits: { llm_proxy: 7, global: 9 },
        expires_at: "2120-01-01T00:00:00.000Z",
        models: null,
        endpoints: ["chat", "memory"],
      },
    ],
  );
  const rotated = /msk_\S+/.exec(await output(["keys", "rotate", "shop", id]))[0];
  assert.notEqual(rotated, key);

  await output(["bindings", "set", "shop", "openai"], { input: "sk-planted-0123456789-abcd\n" });
  await output(["bindings", "set", "shop", "groq", "--key", id], { input: "gsk-planted-0123456789-efgh" });
  const bindings = await output(["bindings", "shop"]);
  assert.deepEqual(rows(bindings).openai.slice(0, 2), ["…abcd", "tests"]);
  assert.deepEqual(Object.keys(rows(await output(["bindings", "shop", "--key", id]))), ["groq"]);
  assert.match(await output(["bindings", "reseal"]), /Sealed anew under tests: 0; sealed so already: 2\./);
  await output(["bindings", "delete", "shop", "openai"]);
  assert.match(await output(["bindings", "shop"]), /^None: /);

  assert.equal(typeof (await output(["usage", "shop"])), "string");
  assert.ok(
    Array.isArray(JSON.parse(await output(["usage", "logs", "shop", "--limit", "5", "--json"])).logs),
  );
  await output(["projects", "update", "shop", "--budget", "none", "--set", "memory.scope=null"]);
  assert.match(await output(["projects", "show", "shop"]), /settings\s+\{"memory":\{"keep_tokens":6000\}\}/);
  await output(["keys", "delete", "shop", id]);
  assert.match(await output(["keys", "shop"]), /^No keys yet/);
  await output(["projects", "delete", "shop"]);
  assert.ok(!("shop" in rows(await output(["projects"]))));
});

test("a key is rotated with an overlap, in which its old secret still works", async () => {
  await output(["projects", "create", "--id", "overlap"]);
  const made = await output(["keys", "create", "overlap"]);
  const [id] = /key_[0-9a-f]+/.exec(made);
  const next = async (...options) =>
    /msk_\S+/.exec(await output(["keys", "rotate", "overlap", id, ...options]))[0];
  const first = /msk_\S+/.exec(made)[0];
  const second = await next();
  const rotated = await output(["keys", "rotate", "overlap", id, "--overlap", "3600"]);
  assert.match(rotated, /The one before it is good until \d{4}-\d\d-\d\d \d\d:\d\d UTC\./);
  const body = { model: "openai/gpt-5.4-mini", messages: [user("Hello.")] };
  for (const [key, status] of [
    [first, 401],
    [second, 200],
    [/msk_\S+/.exec(rotated)[0], 200],
  ]) {
    assert.equal((await post(gateway, "/chat/completions", body, { key })).status, status);
  }
});

test("what cannot be done is told with what to do, in one line and without a stack", async () => {
  for (const [args, says, options] of [
    [["keys"], /usage: npm run admin -- keys list PROJECT/],
    [["project"], /there is no command project: projects, keys, bindings, usage/],
    [["keys", "nobody"], /No such project.*\(404\)/],
    [["keys", "create", "default", "--colour", "red"], /Unknown option '--colour'/],
    [["projects", "--label", "x"], /projects list takes no --label/],
    [["projects", "update", "default"], /say what to change/],
    [["projects", "update", "default", "--set", "memory.keep=1"], /settings\.memory\.keep.*\(400\)/],
    [["keys", "create", "default", "--expires", "soon"], /soon is no time/],
    [["keys", "create", "default", "--limit", "llm_proxy=many"], /--limit wants a number, not many/],
    [["bindings", "set", "default", "openai"], /no credential on standard input/],
    [["projects"], /This is not the deployment's ADMIN_TOKEN/, { env: { ADMIN_TOKEN: "wrong" } }],
    [["projects", "--url", "http://127.0.0.1:9"], /nothing answers at http:\/\/127\.0\.0\.1:9/],
    [["projects", "--url", "example.com"], /must begin with http/],
    [["projects"], /set ADMIN_TOKEN in the environment/, { env: { ADMIN_TOKEN: "" } }],
  ]) {
    const { code, out, error } = await run(args, options);
    assert.deepEqual([code, out], [1, ""], args.join(" "));
    assert.match(error, says, args.join(" "));
    assert.doesNotMatch(error, /\n {4}at /, args.join(" "));
    assert.ok(!error.includes(ADMIN_TOKEN));
  }
  assert.match(await output(["--help"]), /^Usage: npm run admin/);
});

/** Runs create-key; gives `{code, out, error}`. */
function createKey(args, env = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [join(root, "scripts/create-key.mjs"), ...args], {
      env: { PATH: process.env.PATH, ...env },
    });
    let [out, error] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text) => (out += text));
    child.stderr.setEncoding("utf8").on("data", (text) => (error += text));
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, out, error }));
  });
}

test("create-key makes a key that works, and none for a project that was deleted", async () => {
  const env = { GATEWAY_URL: gateway.baseURL, ADMIN_TOKEN };
  const made = await createKey(["--project", "first", "--label", "x"], env);
  assert.equal(made.code, 0, made.error);
  const [key] = /msk_\S+/.exec(made.out);
  const body = { model: "openai/gpt-5.4-mini", messages: [user("Hello.")] };
  assert.equal((await post(gateway, "/chat/completions", body, { key })).status, 200);
  assert.equal((await createKey(["--project", "first", "--url", gateway.url], { ADMIN_TOKEN })).code, 0);

  await output(["projects", "delete", "first"]);
  const refusal = await createKey(["--project", "first"], env);
  assert.deepEqual([refusal.code, refusal.out], [1, ""]);
  assert.match(refusal.error, /project first was deleted, and a project's name is never used twice/);
  const nowhere = await createKey([]);
  assert.deepEqual([nowhere.code, nowhere.out], [1, ""]);
  assert.match(nowhere.error, /say where: --url/);
});

test("keys that are written into the database follow the same rule", async () => {
  const database = new DatabaseSync(":memory:");
  const folder = join(root, "migrations");
  for (const name of readdirSync(folder).sort()) database.exec(readFileSync(join(folder, name), "utf8"));
  const run = (sql) =>
    sql
      .split(";")
      .filter((statement) => statement.trim())
      .map((statement) => ({ results: database.prepare(statement).all() }));
  const [one, other] = [newKey(), newKey()];
  refuseDeleted(run(addKeysSql([{ key: one, project: "p", label: "it's" }])));
  refuseDeleted(run(addKeysSql([{ key: one, project: "p" }])));
  database.exec("UPDATE projects SET deleted_at = 1");
  assert.throws(
    () => refuseDeleted(run(addKeysSql([{ key: other, project: "p" }]))),
    /project p was deleted/,
  );
  const hashes = database.prepare("SELECT hash, label FROM api_keys").all();
  assert.deepEqual(
    hashes.map((row) => ({ ...row })),
    [{ hash: keyHash(one), label: "it's" }],
  );
});
