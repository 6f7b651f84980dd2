// Owns: that a request whose client leaves while the gateway waits for somebody comes to its end all the same. One that stands
// still for ever is never let go: all that it holds stays in the isolate's memory for as long as that lives.
// Invariant: the client leaves when the gateway is known to wait, and whom it waits for never answers.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { until } from "./conversation.mjs";
import { directBaseURL } from "./direct.mjs";
import { startGateway } from "./gateway.mjs";
import { begin, startUpstream } from "./wire.mjs";

let upstream, gateway, base;

const GREETING = JSON.stringify({
  ...{ id: "x", object: "chat.completion", model: "gpt-5.4-mini" },
  choices: [{ index: 0, message: { role: "assistant", content: "Hello." }, finish_reason: "stop" }],
});

before(async () => {
  upstream = await startUpstream();
  upstream.answer = (res) => res.writeHead(200, { "content-type": "application/json" }).end(GREETING);
  gateway = await startGateway({
    vars: { OPENAI_API_KEY: "sk-of-the-sandbox", OPENAI_BASE_URL: `${upstream.url}/v1` },
  });
  base = await directBaseURL(gateway);
});
after(async () => {
  await gateway?.stop();
  await upstream?.close();
});

test("a request whose client leaves while a provider's list of models is waited for comes to its end", async () => {
  const asked = new Promise((resolve) => {
    upstream.answer = (_, entry) => entry.path === "/v1/models" && resolve(entry);
  });
  const id = `test-${randomUUID()}`;
  const request = begin(`${base}/models`, {
    method: "GET",
    headers: { authorization: `Bearer ${gateway.key}`, "x-request-id": id },
  });
  request.head.catch(() => {});
  const entry = await asked;
  request.leave();
  await until(() => entry.closed, "the provider's connection is closed");
  const line = await until(
    () =>
      gateway
        .logs()
        .split("\n")
        .find((line) => line.includes(`"request_id":"${id}"`)),
    "the request is in the log",
    20_000,
  );
  const { event, endpoint, status, error } = JSON.parse(line.slice(line.indexOf("{")));
  assert.deepEqual(
    { event, endpoint, status, error },
    { event: "request", endpoint: "/v1/models", status: 499, error: "client_closed_request" },
  );
});
