// Owns: the HTTP surface asked at random, by the document of it: what is valid, what is not quite, and what is nonsense.
// Invariant: no answer is a failure of the gateway's own, and each has a status, a type and a shape that the document
// says. Chance is seeded. Without Python or its package nothing fails, and what was left out is said.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { root } from "../../scripts/paths.mjs";
import { capture } from "../../scripts/run.mjs";
import { chat, MODEL } from "./conversation.mjs";
import { ADMIN_TOKEN, sandboxVars, startGateway, startSandbox } from "./gateway.mjs";
import { environment } from "./virtualenv.mjs";

const SEED = "1";
const SECONDS = "15";
const CHECKS = [
  "not_a_server_error",
  "status_code_conformance",
  "content_type_conformance",
  "response_headers_conformance",
  "response_schema_conformance",
  "allow_header_conformance",
];
/** Threads that are there, and one that is not. */
const THREADS = ["thread", "a/b é:%2F", "gone"];
/** Not the tests' own: what is asked at random deletes, too. */
const PROJECTS = ["fuzzed", "gone"];

const { python, missing } = await environment("tests/e2e/schemathesis/requirements.txt");
if (missing) console.log(`Nothing is asked at random: ${missing}`);

let sandbox, gateway, folder;
before(async () => {
  if (missing) return;
  folder = mkdtempSync(join(tmpdir(), "memory-gateway-fuzz-"));
  sandbox = await startSandbox();
  gateway = await startGateway({ vars: sandboxVars(sandbox) });
  for (const thread of THREADS.slice(0, -1))
    await chat(gateway, encodeURIComponent(thread), "My name is Alex and I drink tea.");
  await gateway.manage("POST", "/projects", { id: "fuzzed" });
});
after(async () => {
  await gateway?.stop();
  await sandbox?.close();
  if (folder) rmSync(folder, { recursive: true, force: true });
});

/**
 * The document with values in it that lead somewhere: of a thousand texts none is by chance the name of a thread or of a
 * model. What else a request has is left to chance.
 */
function leading() {
  const document = JSON.parse(readFileSync(join(root, "openapi.json"), "utf8"));
  const { parameters, schemas } = document.components;
  const among = (of, ...values) => (of.schema = { enum: values });
  among(parameters.threadId, ...THREADS);
  among(parameters.resourceId, "ann", "bob", "");
  among(parameters.projectId, ...PROJECTS);
  among(parameters.keyId, "key_0000000000000000", "key");
  among(parameters.provider, "openai", "anthropic", "nobody");
  among(parameters["x-thread-id"], ...THREADS.map(encodeURIComponent));
  among(parameters["x-resource-id"], "ann", "bob");
  for (const name of ["x-sm-user-id", "x-sm-conversation-id"]) among(parameters[name], "ann");
  for (const schema of Object.values(schemas))
    if (schema.properties?.model?.description?.includes("provider/model"))
      schema.properties.model = { enum: [MODEL, "anthropic/claude-sonnet-4-5", "google/gemini-2.5-flash"] };
  // Lines of JSON are nothing that texts are made for there; they are sent as the texts that they are.
  const lines = document.paths["/v1/memory/import"].post.requestBody;
  lines.content = { "text/plain": { schema: { type: "string" } } };
  // Credentials are the runs' own; with one more of them nearly every answer would be a 401.
  for (const operations of Object.values(document.paths))
    for (const operation of Object.values(operations))
      operation.parameters = operation.parameters?.filter(
        ({ $ref }) => !$ref?.endsWith("/x-memory-gateway-authorization"),
      );
  return document;
}

/** Asks at random; throws with what was found. Gives how many requests were made. */
async function fuzz(document, paths, token, phases = "coverage,fuzzing") {
  const file = join(folder, "openapi.json");
  writeFileSync(file, JSON.stringify(document));
  const options = [
    ...["--url", gateway.url, "--header", `Authorization: Bearer ${token}`],
    ...["--include-path-regex", paths, "--checks", CHECKS.join(",")],
    ...["--phases", phases, "--max-examples", "20", "--max-time", SECONDS],
    ...["--seed", SEED, "--no-shrink", "--request-timeout", "60", "--warnings", "off", "--no-color"],
  ];
  // In a folder of its own: it keeps there what it found. Its program's first line may name a Python that was elsewhere.
  const program = join(dirname(python), "schemathesis");
  const text = await capture(python, [program, "run", file, ...options], {
    cwd: folder,
    env: { PYTHONDONTWRITEBYTECODE: "1", SCHEMATHESIS_HOOKS: "" },
  });
  const [, made] = /(\d+) generated/.exec(text) ?? assert.fail(text);
  return Number(made);
}

const RUNS = {
  "inference endpoints": { paths: "^/(v1/(chat|responses|messages|embeddings|models)|health|openapi)" },
  "the memory API": { paths: "^/v1/memory" },
  "the management API": { paths: "^/v1/gateway", token: ADMIN_TOKEN },
};

for (const [what, { paths, token }] of Object.entries(RUNS)) {
  test(
    `${what}: whatever is asked, the answer is one that the document has`,
    { skip: missing ?? false },
    async () => {
      const made = await fuzz(leading(), paths, token ?? gateway.key);
      assert.ok(made > 50, `only ${made} requests were made`);
      // Whatever was asked before, who comes next is served.
      const { text } = await chat(gateway, undefined, "What is 3+3?");
      assert.equal(text, "6");
    },
  );
}

test("an answer off the document is seen", { skip: missing ?? false }, async () => {
  const document = leading();
  document.paths["/health"].get.responses["200"].content["application/json"].schema.required = ["absent"];
  await assert.rejects(fuzz(document, "^/health", gateway.key, "coverage"), /absent/);
});

test("the document is served without a key, as it is kept", { skip: missing ?? false }, async () => {
  const answer = await fetch(`${gateway.url}/openapi.json`);
  assert.deepEqual([answer.status, answer.headers.get("content-type")], [200, "application/json"]);
  assert.equal(await answer.text(), readFileSync(join(root, "openapi.json"), "utf8"));
});
