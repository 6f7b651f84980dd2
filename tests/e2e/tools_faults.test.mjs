// Owns: what becomes of an answer when the service that searches the web goes wrong, and when the client leaves meanwhile.
// Invariant: each case asks a question of its own; prompts and searches are picked by it.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { MODEL, memoryHeaders, messagesOf, newThread, openai, post, until, user } from "./conversation.mjs";
import { directBaseURL } from "./direct.mjs";
import { sandboxVars, startGateway, startSandbox } from "./gateway.mjs";
import { sendJson, startSearchEngine } from "./searchengine.mjs";
import { begin } from "./wire.mjs";

/** Models that leave time to go away: each write of a whole answer takes as long as some writes of a streamed one. */
const SLOWLY = { whole: `${MODEL};delay=1500`, streamed: `${MODEL};delay=60` };
/** A question in nano-dollars. */
const PRICE = 8_000_000;
const MEGABYTE = 1024 * 1024;
const SEARCH = { "x-gateway-tools": "web_search" };
const asking = (about) => `Use the web_search tool for "${about}".`;

let sandbox, engine, elsewhere, gateway;
before(async () => {
  sandbox = await startSandbox();
  elsewhere = await startSearchEngine();
  engine = await startSearchEngine(fault);
  gateway = await startGateway({
    vars: {
      ...sandboxVars(sandbox),
      WEB_SEARCH: "searxng",
      SEARXNG_BASE_URL: engine.url,
      WEB_SEARCH_PRICE_USD: "0.008",
      TOOLS_CALL_MS: "2000",
      // So that a request costs what its searches cost.
      PRICES: JSON.stringify(
        Object.fromEntries(
          [MODEL, ...Object.values(SLOWLY)].map((model) => [model, { input: 0, output: 0 }]),
        ),
      ),
    },
  });
});
after(async () => {
  await gateway?.stop();
  await Promise.all([sandbox?.close(), engine?.close(), elsewhere?.close()]);
});

/** Answers as the question's first word says. */
async function fault(query, entry, response) {
  const [word, number] = query.split(" ")[0].split("-");
  switch (word) {
    case "silence":
      return;
    case "status":
      return sendJson(response, { error: "secret of the service" }, Number(number));
    case "empty":
      return sendJson(response, { results: [] });
    case "page":
      return void response.writeHead(200, { "content-type": "text/html" }).end("<h1>Not today</h1>");
    case "shapeless":
      return sendJson(response, { results: "none" });
    case "redirect":
      return void response.writeHead(302, { location: `${elsewhere.url}/search?q=${query}` }).end();
    case "cut":
      entry.cut = true;
      response.writeHead(200, { "content-type": "application/json", "content-length": "5000" });
      response.write('{"results":[{"title":"Half');
      return void setImmediate(() => response.destroy());
    case "huge":
      return pour(entry, response);
    default:
      return false;
  }
}

/** Sends fifty megabytes, as fast as they are taken. */
async function pour(entry, response) {
  response.writeHead(200, { "content-type": "application/json" });
  const closed = new Promise((resolve) => response.once("close", resolve));
  const piece = Buffer.alloc(64 * 1024, " ");
  for (entry.bytesSent = 0; entry.bytesSent < 50 * MEGABYTE && !response.destroyed;) {
    const hasRoom = response.write(piece);
    entry.bytesSent += piece.length;
    if (!hasRoom) await Promise.race([closed, new Promise((resolve) => response.once("drain", resolve))]);
  }
  response.end();
}

const promptsAbout = (about) =>
  sandbox.requests.filter(({ body }) => JSON.stringify(body ?? "").includes(about)).map(({ body }) => body);

/** The one row of a request, once it is settled. */
const rowOf = (id) =>
  until(async () => {
    const rows = await gateway.d1(
      `SELECT outcome, status_code AS status, cost_nano_usd AS cost, estimated FROM ledger WHERE request_id = '${id}'`,
    );
    assert.ok(rows.length <= 1);
    return rows[0] && rows[0].outcome !== "pending" && rows[0];
  }, `a settled row of ${id}`);

async function ask(about, thread) {
  const { data, response } = await openai(gateway)
    .chat.completions.create(
      { model: MODEL, messages: [user(asking(about))] },
      { headers: { ...SEARCH, ...(thread && memoryHeaders(thread)) } },
    )
    .withResponse();
  return { choice: data.choices[0], id: response.headers.get("x-request-id") };
}

const NO_ANSWER =
  "The web search gave no answer that can be read. Answer from what you know, and say that you could not search.";
const refusing = (what) =>
  `The web search ${what}. Answer from what you know, and say that you could not search.`;

for (const [what, about, told, cost] of [
  ["answers 500", "status-500 tides", refusing("refused the question"), 0],
  [
    "lets nobody in",
    "status-401 tides",
    refusing("does not let the gateway in; its operator has to look into it"),
    0,
  ],
  ["has had enough", "status-429 tides", refusing("takes no more questions at the moment"), 0],
  ["sends elsewhere", "redirect tides", refusing("refused the question"), 0],
  ["says nothing", "silence tides", NO_ANSWER, PRICE],
  ["sends a page", "page tides", NO_ANSWER, PRICE],
  ["sends JSON of another shape", "shapeless tides", NO_ANSWER, PRICE],
  ["is cut off", "cut tides", NO_ANSWER, PRICE],
  ["sends fifty megabytes", "huge tides", NO_ANSWER, PRICE],
]) {
  test(`a service that ${what} is told to the model, and the answer goes on`, async () => {
    const thread = newThread();
    const { choice, id } = await ask(about, thread);
    assert.deepEqual([choice.finish_reason, choice.message.content], ["stop", told]);
    const [, second, ...more] = promptsAbout(about);
    assert.deepEqual([second.messages.at(-1).role, second.messages.at(-1).content], ["tool", told]);
    assert.deepEqual(more, []);
    assert.equal(engine.asked(about).length, 1, "nothing is asked twice");
    assert.deepEqual(await rowOf(id), { outcome: "complete", status: 200, cost, estimated: 0 });
    const { messages } = await messagesOf(gateway, thread);
    assert.deepEqual(
      messages.map(({ role, content }) => [role, content.map(({ type }) => type)]),
      [
        ["user", ["text"]],
        ["assistant", ["tool_call", "tool_result", "text"]],
      ],
    );
    assert.doesNotMatch(gateway.logs(), /secret of the service/);
  });
}

test("no redirect is followed, and of a huge answer no more is read than has room", async () => {
  assert.deepEqual(elsewhere.requests, []);
  const [huge] = engine.asked("huge");
  await until(() => huge.aborted, "the connection is closed");
  // What lies in the buffers between the two is sent and not read.
  assert.ok(huge.bytesSent < 20 * MEGABYTE, `${huge.bytesSent} bytes`);
  const [silent] = engine.asked("silence");
  await until(() => silent.aborted, "nobody waits for a service that says nothing");
});

test("a search that finds nothing is an answer, is paid, and is told", async () => {
  const { choice, id } = await ask("empty tides");
  assert.match(
    choice.message.content,
    /^<web_search_results>\nNothing was found on the web for: empty tides\n/,
  );
  assert.deepEqual(await rowOf(id), { outcome: "complete", status: 200, cost: PRICE, estimated: 0 });
});

test("the same question within minutes is answered from memory and costs nothing; another project's is asked", async () => {
  const about = "kept tides";
  const first = await ask(about);
  const second = await ask(about);
  assert.equal(second.choice.message.content, first.choice.message.content);
  assert.deepEqual([(await rowOf(first.id)).cost, (await rowOf(second.id)).cost], [PRICE, 0]);
  assert.equal(engine.asked(about).length, 1);
  const other = await post(
    gateway,
    "/chat/completions",
    { model: MODEL, messages: [user(asking(about))] },
    { headers: SEARCH, key: gateway.otherKey },
  );
  assert.equal((await other.json()).choices[0].finish_reason, "stop");
  assert.equal(engine.asked(about).length, 2);
});

/** Asks as a client that can leave; `id` names the request. */
async function begun(id, about, { model = MODEL, stream, thread }) {
  const asked = begin(`${await directBaseURL(gateway)}/chat/completions`, {
    headers: {
      authorization: `Bearer ${gateway.key}`,
      "content-type": "application/json",
      "x-request-id": id,
      ...SEARCH,
      ...memoryHeaders(thread),
    },
    body: JSON.stringify({ model, stream, messages: [user(asking(about))] }),
  });
  asked.head.catch(() => {});
  return asked;
}

for (const stream of [false, true]) {
  const how = stream ? "streamed" : "whole";
  test(`${how}: a client that leaves while the web is searched closes the search, and its question is kept`, async () => {
    const about = `silence ${how} leaving`;
    const thread = newThread();
    const asked = await begun(`leaving-search-${how}`, about, { stream, thread });
    const search = await until(() => engine.asked(about)[0], "the web is searched");
    asked.leave();
    await until(() => search.aborted, "the search is given up");
    const row = await rowOf(`leaving-search-${how}`);
    assert.equal(row.outcome, "aborted", JSON.stringify(row));
    assert.equal(promptsAbout(about).length, 1, "nothing is asked any more");
    const [question, ...rest] = (await messagesOf(gateway, thread)).messages.filter(
      ({ content }) => content[0]?.text !== "Hello.",
    );
    assert.deepEqual(question.content, [{ type: "text", text: asking(about) }]);
    assert.ok(!JSON.stringify(rest).includes("tool_result"), JSON.stringify(rest));
  });

  test(`${how}: a client that leaves while the model is asked again ends that, and what was searched is kept and paid`, async () => {
    const about = `second round ${how} leaving`;
    const thread = newThread();
    const asked = await begun(`leaving-round-${how}`, about, {
      model: SLOWLY[how],
      stream,
      thread,
    });
    const second = await until(
      () =>
        sandbox.requests.find(
          ({ body }) => body?.messages?.at(-1).role === "tool" && JSON.stringify(body).includes(about),
        ),
      "the model is asked again",
      20_000,
    );
    asked.leave();
    await until(() => second.aborted, "the provider's work is ended");
    const row = await rowOf(`leaving-round-${how}`);
    assert.deepEqual([row.outcome, row.cost], ["aborted", PRICE], JSON.stringify(row));
    const kept = await until(async () => {
      const { messages } = await messagesOf(gateway, thread);
      return messages.find(({ role, status }) => role === "assistant" && status === "incomplete");
    }, "the partial turn is kept");
    assert.deepEqual(kept.content.map(({ type }) => type).slice(0, 2), ["tool_call", "tool_result"]);
  });
}
