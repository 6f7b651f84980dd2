// Owns the gateways of the tests of errors and of what crosses: their secrets are planted, and looked for in what they write.
// Invariant: a gateway that is started here ends with the tests, and no line of its log holds a key.
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { after, before, test } from "node:test";
import { MODEL, refused, user } from "./conversation.mjs";
import { sandboxVars, startGateway, startSandbox } from "./gateway.mjs";
import { startUpstream } from "./wire.mjs";

export const SECRETS = { OPENAI_API_KEY: "sk-planted-openai-secret", RAW_KEY: "sk-planted-raw-secret" };
export const LIMIT = 200_000;

/** What `startGateways` started. */
export let sandbox, gateway, upstream, poor;
const gateways = [];
/** A gateway that ends with the tests. */
export async function start(vars) {
  const started = await startGateway({ vars });
  gateways.push(started);
  return started;
}

/**
 * Has a file's tests run with `gateway`, the sandbox behind it and a scripted provider; `more`: "poor", which has no key but a
 * wrong one for OpenAI.
 */
export function startGateways(...more) {
  before(async () => {
    [sandbox, upstream] = await Promise.all([startSandbox(), startUpstream()]);
    const closed = await closedPort();
    const PROVIDERS = JSON.stringify({
      raw: { base_url: `${upstream.url}/v1`, dialects: ["chat", "responses"], api_key_secret: "RAW_KEY" },
      closed: { base_url: `http://127.0.0.1:${closed}/v1` },
    });
    [gateway, poor] = await Promise.all([
      start({
        ...sandboxVars(sandbox),
        ...SECRETS,
        PROVIDERS,
        MAX_BODY_BYTES: String(LIMIT),
        UPSTREAM_TIMEOUT_MS: "1500",
        CORS_ORIGINS: "https://app.test",
      }),
      more.includes("poor") && start({ OPENAI_API_KEY: "invalid-key", OPENAI_BASE_URL: `${sandbox.url}/v1` }),
    ]);
  });
  after(async () => {
    await Promise.all(gateways.map((started) => started.stop()));
    await sandbox?.close();
    await upstream?.close();
  });
}

/** The last test of a file: it looks at all that the others made the gateways write. */
export function endWithLogs() {
  test("no log line holds a key", async () => {
    for (const { logs } of gateways) {
      const text = logs();
      assert.match(text, /POST \/v1\/chat\/completions/);
      assert.doesNotMatch(text, /planted|msk_test|invalid-key|sandbox-key|sk-own/);
    }
  });
}

/** A port that nobody listens on, nor can: it is the near end of a connection for as long as the tests run. */
async function closedPort() {
  const server = createServer((socket) => socket.unref());
  await once(server.listen(0, "127.0.0.1"), "listening");
  const socket = connect(server.address().port, "127.0.0.1");
  await once(socket, "connect");
  socket.unref();
  server.unref();
  return socket.localPort;
}

export const chatBody = (model = MODEL, more = {}) => ({ model, messages: [user("one")], ...more });
export const CHAT = "/chat/completions";

/** The refusal without its message, which must say something. */
export async function told(response) {
  const { message, ...rest } = await refused(await response);
  assert.ok(message.length > 20, message);
  return rest;
}

export const invalid = (param, code = null) => ({ status: 400, type: "invalid_request_error", param, code });
