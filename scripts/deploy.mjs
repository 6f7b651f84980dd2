// Owns `npm run deploy`: the account's database, its schema, the Worker. `--dry-run` does all that needs no
// account.
// Invariant: nothing of an account is written into the repository's files; wrangler.deploy.toml is
// git-ignored.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { build, describeSize } from "./build.mjs";
import { migrate } from "./local-database.mjs";
import { bold, main, step, Stop } from "./say.mjs";
import { ensureAll } from "./setup.mjs";
import { deployConfig, wrangler, wranglerShown } from "./wrangler.mjs";

const DATABASE = "memory-gateway";

await main(async () => {
  const { values } = parseArgs({ options: { "dry-run": { type: "boolean", default: false } } });
  await ensureAll();
  await step("build the Worker", async () => describeSize(await build()));
  if (values["dry-run"]) return dryRun();

  await step("check the login", ensureLogin);
  let config;
  await step("find or create the database", async () => {
    const id = (await databaseId()) ?? (await createDatabase());
    config = deployConfig(id);
    return `${DATABASE} ${id}`;
  });
  await step("apply migrations", () =>
    wrangler(["d1", "migrations", "apply", "DB", "--remote", "--config", config]),
  );
  await wranglerShown(["deploy", "--config", config]);
  console.log(
    `\n${bold("Deployed.")} Give it a provider and a first key:\n\n` +
      "  npx wrangler secret put OPENROUTER_API_KEY    (reaches every model; or one of the following)\n" +
      "  npx wrangler secret put OPENAI_API_KEY        (likewise ANTHROPIC_API_KEY, GOOGLE_API_KEY)\n" +
      "  node scripts/create-key.mjs --remote --label laptop\n\n" +
      "To manage projects and keys from here (npm run admin -- --help), give it an administrator:\n\n" +
      "  npx wrangler secret put ADMIN_TOKEN           (a long random text)\n" +
      "  npx wrangler secret put MASTER_KEYS           (k1:… with `openssl rand -base64 32` in place of the dots)\n",
  );
});

async function dryRun() {
  await step("apply migrations to an empty database", async () => {
    const state = mkdtempSync(join(tmpdir(), "memory-gateway-"));
    try {
      await migrate(state);
    } finally {
      rmSync(state, { recursive: true, force: true });
    }
  });
  await step("bundle", async () => {
    const output = await wrangler(["deploy", "--dry-run", "--outdir", "build/bundle"]);
    const size = /Total Upload: (.+)/.exec(output)?.[1];
    if (!size) throw new Stop(`wrangler gave no bundle size:\n${output}`);
    return size.replace(/\s+/g, " ");
  });
  console.log(
    "\nDry run passed: nothing was sent anywhere. `npm run deploy` does the rest, with a Cloudflare account.",
  );
}

/**
 * wrangler's own login, or CLOUDFLARE_API_TOKEN (and CLOUDFLARE_ACCOUNT_ID if the token sees several
 * accounts).
 */
async function ensureLogin() {
  const login = await wrangler(["whoami", "--json"])
    .then(JSON.parse)
    .catch(() => ({ loggedIn: false }));
  if (login.loggedIn) return login.email;
  throw new Stop(
    "not logged in to Cloudflare, and a deployment needs an account.\n" +
      "Run `npx wrangler login`, or set CLOUDFLARE_API_TOKEN.\n" +
      "Without an account: npm run deploy -- --dry-run",
  );
}

/** By name, in the account: so that any checkout of the repository deploys to the same database. */
async function databaseId() {
  const databases = JSON.parse(await wrangler(["d1", "list", "--json"]));
  return databases.find(({ name }) => name === DATABASE)?.uuid;
}

async function createDatabase() {
  await wrangler(["d1", "create", DATABASE, "--update-config=false"]);
  const id = await databaseId();
  if (id) return id;
  throw new Stop(`the database ${DATABASE} was created but is not listed yet: run npm run deploy again`);
}
