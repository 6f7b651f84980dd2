// Owns: answers of Anthropic Messages on the wire: the provider's bytes, how they end, and what is kept of them.
// Invariant: the provider of the byte tests is scripted here; what is compared is bytes, not meaning.
import Anthropic from "@anthropic-ai/sdk";
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { anthropic, asked, CLAUDE, textOf, TOOL, turn, withMemory } from "./anthropic.mjs";
import {
  assistant,
  lastPrompt,
  memoryHeaders,
  newThread,
  post,
  requestWith,
  stored,
  until,
  user,
} from "./conversation.mjs";
import { startGateway, startSandbox, sandboxVars } from "./gateway.mjs";
import { begin, startUpstream } from "./wire.mjs";

let sandbox, gateway, upstream;
before(async () => {
  [sandbox, upstream] = await Promise.all([startSandbox(), startUpstream()]);
  const PROVIDERS = JSON.stringify({ raw: { base_url: `${upstream.url}/v1`, dialects: ["messages"] } });
  gateway = await startGateway({ vars: { ...sandboxVars(sandbox), PROVIDERS } });
});
after(async () => {
  await gateway?.stop();
  await sandbox?.close();
  await upstream?.close();
});

// ——— Bytes

const data = (object) => `data: ${JSON.stringify(object)}`;
const START = data({
  type: "message_start",
  message: {
    id: "msg_1",
    type: "message",
    role: "assistant",
    content: [],
    usage: { input_tokens: 3, output_tokens: 1 },
  },
});
const delta = (text) => data({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text } });
const STOP = data({ type: "message_stop" });
const FIRST = [
  `event: message_start\n${START}\n\n`,
  `event: content_block_start\n${data({ type: "content_block_start", index: 0, content_block: { type: "text", text: "" } })}\n\n`,
  `event: content_block_delta\n${delta("half an")}\n\n`,
].join("");

const TRANSCRIPT = Buffer.from(
  [
    ": a comment\n\n",
    `event: message_start\r\n${START}\r\n\r\n`,
    `event: content_block_start\n${data({ type: "content_block_start", index: 0, content_block: { type: "text", text: "" } })}\n\n`,
    'event: ping\ndata: {"type": "ping"}\n\n',
    `event: content_block_delta\nid: 7\nretry: 10\n${delta("Grüße, 👩‍👩‍👧")}\n\n`,
    'event: yet_to_come\ndata:{"type":"yet_to_come","number":1e400}\n\n',
    `event: content_block_delta\r${delta(" und Tschüß")}\r\r`,
    "\uFEFF\n\n\n\n",
    `event: content_block_stop\n${data({ type: "content_block_stop", index: 0 })}\n\n`,
    `event: message_delta\n${data({ type: "message_delta", delta: { stop_reason: "end_turn", stop_sequence: null }, usage: { output_tokens: 5 } })}\n\n`,
    `event: message_stop\n${STOP}\n\n`,
    ": and one more comment after the end\n\n",
  ].join(""),
);

const inPieces = (bytes, size) => async (res) => {
  res.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
  for (let at = 0; at < bytes.length; at += size) {
    res.write(bytes.subarray(at, at + size));
    await new Promise(setImmediate);
  }
  res.end();
};

/** A streamed request on the bare wire. */
const open = (text, { model = "raw/m", thread, stream = true } = {}) =>
  begin(`${gateway.baseURL}/messages`, {
    headers: {
      "x-api-key": gateway.key,
      "content-type": "application/json",
      ...(thread && memoryHeaders(thread)),
    },
    body: JSON.stringify(asked(text, { model, stream })),
  }).head;

async function readAll(text, options) {
  const answer = await open(text, options);
  const { bytes, clean } = await answer.ended;
  return { status: answer.status, headers: answer.headers, text: bytes.toString("utf8"), bytes, clean };
}

const eventsOf = (text) =>
  text.split(/\r?\n\r?\n/).flatMap((event) => {
    const [, json] = /^data: ?(.*)$/m.exec(event) ?? [];
    return json === undefined ? [] : [JSON.parse(json)];
  });

const MEMORY = [
  ["off", () => undefined],
  ["on", newThread],
];

/** What is stored, as soon as there are two messages. */
const twoOf = (thread) =>
  until(async () => {
    const found = await stored(gateway, thread);
    return found.length === 2 && found;
  }, "the answer is stored");

for (const [memory, newId] of MEMORY) {
  for (const size of [1, 7, 64, 1_000_000]) {
    test(`memory ${memory}, pieces of ${size}: the client gets exactly the provider's bytes`, async () => {
      upstream.answer = inPieces(TRANSCRIPT, size);
      const thread = newId();
      const answer = await readAll("one", { thread });
      assert.deepEqual(
        [answer.status, answer.headers["content-type"], answer.clean],
        [200, "text/event-stream; charset=utf-8", true],
      );
      assert.equal(answer.text, TRANSCRIPT.toString());
      assert.ok(answer.bytes.equals(TRANSCRIPT));
      if (thread) assert.deepEqual(await twoOf(thread), [user("one"), assistant("Grüße, 👩‍👩‍👧 und Tschüß")]);
    });
  }

  test(`memory ${memory}: an answer that is not streamed keeps its bytes`, async () => {
    const body =
      '{ "type":"message","role":"assistant","content":[{"type":"text","text":"gr\\u00fc\\u00df" }],"x":1e400}\r\n';
    upstream.answer = (res) => res.writeHead(200, { "content-type": "application/json" }).end(body);
    const thread = newId();
    assert.equal((await readAll("one", { thread, stream: false })).text, body);
    if (thread) assert.deepEqual(await twoOf(thread), [user("one"), assistant("grüß")]);
  });

  test(`memory ${memory}: the body reaches the provider byte for byte but for the model's name`, async () => {
    upstream.answer = (res) =>
      res.writeHead(200, { "content-type": "application/json" }).end('{"type":"message","content":[]}');
    const odd =
      '{ "zeta":1e400,\n\t"model" : "raw/some/model" , "max_tokens":12345678901234567890, "system":[ ],\r\n' +
      ' "messages":[ {"zz":1e5,"role":"user" , "content":[ {"type":"text","text":"caf\\u00e9 \\/","cache_control":{"type":"ephemeral"} } ]} ] ,"": {}}\n';
    const response = await post(gateway, "/messages", odd, { thread: newId() });
    assert.equal(response.status, 200, await response.text());
    assert.equal(upstream.requests.at(-1).raw, odd.replace("raw/some/model", "some/model"));
    assert.equal(upstream.requests.at(-1).path, "/v1/messages");
  });
}

for (const knob of ["chunk=1", "chunk=7", "chunk=0", "crlf", "comments", "gzip"]) {
  test(`an answer cut anew (${knob}) is stored the same`, async () => {
    const thread = newThread();
    const answer = await turn(gateway, thread, "Say: grüße 👩‍👩‍👧 to all", {
      stream: true,
      model: `${CLAUDE};${knob}`,
    });
    assert.equal(textOf(answer), "grüße 👩‍👩‍👧 to all");
    assert.deepEqual(await stored(gateway, thread), [
      user("Say: grüße 👩‍👩‍👧 to all"),
      assistant("grüße 👩‍👩‍👧 to all"),
    ]);
  });
}

test("the next request, sent the instant message_stop was read, sees the answer, ten times in a row", async () => {
  const thread = newThread();
  const history = [];
  for (let n = 1; n <= 10; n += 1) {
    const answer = await open(`Say: turn ${n}`, { thread, model: CLAUDE });
    await answer.seen("event: message_stop");
    history.push(user(`Say: turn ${n}`));
    assert.deepEqual(lastPrompt(sandbox), history);
    history.push(assistant(`turn ${n}`));
  }
});

// ——— Answers that break off

for (const [how, start] of [
  [
    "the SDK's stream is aborted",
    async (thread) => {
      const stream = anthropic(gateway).messages.stream(
        asked("one", { model: `${CLAUDE};words=2000;delay=20` }),
        withMemory(thread),
      );
      stream.done().catch(() => {}); // It ends with the abort.
      await until(
        () => stream.currentMessage && textOf(stream.currentMessage).includes("word3"),
        "three words arrived",
      );
      return () => stream.abort();
    },
  ],
  [
    "the connection is reset",
    async (thread) => {
      const answer = await open("one", { thread, model: `${CLAUDE};words=2000;delay=20` });
      await until(() => answer.received().includes("word3"), "three words arrived");
      return () => answer.leave();
    },
  ],
]) {
  for (const [memory, newId] of MEMORY) {
    test(`memory ${memory}: when ${how}, the provider's work ends and the partial answer is kept`, async () => {
      const thread = newId();
      const leave = await start(thread);
      const entry = requestWith(sandbox, "words=2000");
      leave();
      await until(() => entry.aborted, "the provider's connection was closed", 2_000);
      if (!thread) return;
      const [question, answer] = await twoOf(thread);
      assert.deepEqual([question, answer.incomplete], [user("one"), true]);
      assert.match(answer.content, /^word1 word2 word3\b/);
      assert.doesNotMatch(answer.content, /word2000/);
      // It is shown as far as it came, and the thread goes on.
      assert.equal(textOf(await turn(gateway, thread, "Say: two")), "two");
      assert.deepEqual(lastPrompt(sandbox), [user("one"), assistant(answer.content), user("Say: two")]);
    });
  }
}

const breaksOff =
  (text, { cleanly }) =>
  async (res) => {
    res.writeHead(200, { "content-type": "text/event-stream" });
    await new Promise((resolve) => res.write(text, resolve));
    if (cleanly) return res.end();
    await new Promise((resolve) => setTimeout(resolve, 50)); // Let the bytes arrive before the reset.
    res.destroy();
  };

for (const cleanly of [false, true]) {
  const how = cleanly ? "ends its stream too early as if all were well" : "drops the connection";
  test(`when the provider ${how} between two events, an error event says so and no message_stop follows`, async () => {
    upstream.answer = breaksOff(FIRST, { cleanly });
    const thread = newThread();
    const { text, clean } = await readAll("one", { thread });
    assert.equal(clean, false);
    assert.ok(text.startsWith(FIRST), text);
    const added = text.slice(FIRST.length);
    assert.match(added, /^event: error\ndata: /);
    assert.deepEqual(eventsOf(added), [
      {
        type: "error",
        error: {
          type: "api_error",
          message:
            "The provider `raw` broke off in the middle of its answer. What came so far is incomplete.",
        },
      },
    ]);
    assert.deepEqual(await twoOf(thread), [user("one"), { ...assistant("half an"), incomplete: true }]);
  });

  test(`when the provider ${how} inside an event, nothing is added to the torn event`, async () => {
    const torn = `${FIRST}event: content_block_delta\n${delta(" event").slice(0, 30)}`;
    upstream.answer = breaksOff(torn, { cleanly });
    const thread = newThread();
    const { text, clean } = await readAll("one", { thread });
    assert.deepEqual([text, clean], [torn, false]);
    assert.deepEqual(await twoOf(thread), [user("one"), { ...assistant("half an"), incomplete: true }]);
  });
}

test("the SDK throws the gateway's error when the provider ends its stream too early", async () => {
  upstream.answer = breaksOff(FIRST, { cleanly: true });
  const stream = anthropic(gateway).messages.stream(
    asked("one", { model: "raw/m" }),
    withMemory(newThread()),
  );
  await assert.rejects(stream.finalMessage(), (error) => {
    assert.deepEqual([error instanceof Anthropic.APIError, error.type], [true, "api_error"]);
    assert.match(error.message, /broke off in the middle/);
    return true;
  });
});

for (const [memory, newId] of MEMORY) {
  test(`memory ${memory}: a stream that the provider cuts never ends cleanly nor with message_stop`, async () => {
    const thread = newId();
    const { text, clean } = await readAll("one", { model: `${CLAUDE};words=80;cut=4001`, thread });
    assert.ok(text.includes("word3"), text);
    assert.doesNotMatch(text, /message_stop/);
    assert.equal(clean, false);
    if (thread) assert.equal((await twoOf(thread))[1].incomplete, true);
  });
}

test("a failure that the provider reports inside its stream passes as it is, the rest kept as incomplete", async () => {
  const thread = newThread();
  const { text } = await readAll("Say: one two three four", { model: `${CLAUDE};error`, thread });
  const { request_id: id, ...rest } = eventsOf(text).at(-1);
  assert.match(id, /^req_01/);
  assert.deepEqual(rest, {
    type: "error",
    error: { type: "api_error", message: "The sandbox was told to fail in the middle of the answer." },
  });
  assert.deepEqual(await twoOf(thread), [
    user("Say: one two three four"),
    { ...assistant("one two"), incomplete: true },
  ]);
});

test("a stream without message_stop is not taken for a whole answer", async () => {
  const thread = newThread();
  const { text, clean } = await readAll("Say: one two", { model: `${CLAUDE};nodone`, thread });
  assert.equal(clean, false);
  assert.deepEqual(eventsOf(text).at(-1).type, "error");
  assert.deepEqual(await twoOf(thread), [
    user("Say: one two"),
    { ...assistant("one two"), incomplete: true },
  ]);
});

test("a tool call that is cut in its input does not spoil the thread", async () => {
  const thread = newThread();
  const call = { type: "tool_use", id: "toolu_1", name: TOOL.name, input: {} };
  const text = [
    `event: message_start\n${START}\n\n`,
    `event: content_block_start\n${data({ type: "content_block_start", index: 0, content_block: call })}\n\n`,
    `event: content_block_delta\n${data({ type: "content_block_delta", index: 0, delta: { type: "input_json_delta", partial_json: '{"na' } })}\n\n`,
  ].join("");
  upstream.answer = breaksOff(text, { cleanly: false });
  assert.equal((await readAll("one", { thread })).clean, false);
  assert.equal(textOf(await turn(gateway, thread, "Say: two")), "two");
  assert.deepEqual(lastPrompt(sandbox), [user("one"), user("Say: two")]);
});

// ——— Errors of the provider

for (const [status, type, name] of [
  [400, "invalid_request_error", "BadRequestError"],
  [429, "rate_limit_error", "RateLimitError"],
  [529, "overloaded_error", "OverloadedError"],
]) {
  for (const [memory, newId] of MEMORY) {
    test(`memory ${memory}: a ${status} of the provider passes byte for byte`, async () => {
      const body = `{ "type":"error", "error":{"type":"${type}","message":"N\\u006f."},"request_id":"req_theirs" }\n`;
      upstream.answer = (res) =>
        res
          .writeHead(status, {
            "content-type": "application/json",
            "request-id": "req_theirs",
            "retry-after": "7",
            "x-should-retry": "false",
          })
          .end(body);
      for (const stream of [false, true]) {
        const thread = newId();
        const answer = await readAll("one", { thread, stream });
        assert.deepEqual([answer.status, answer.text, answer.clean], [status, body, true]);
        assert.deepEqual(
          ["content-type", "retry-after", "x-should-retry", "x-upstream-request-id"].map(
            (header) => answer.headers[header],
          ),
          ["application/json", "7", "false", "req_theirs"],
        );
        if (thread) assert.deepEqual(await stored(gateway, thread), [user("one")]);
      }
    });

    test(`memory ${memory}: the SDK throws its ${name} for a ${status} of the provider`, async () => {
      for (const stream of [false, true]) {
        await assert.rejects(
          turn(gateway, newId(), "one", { model: `${CLAUDE};status=${status}`, stream }),
          (error) => {
            assert.deepEqual(
              [error.constructor === Anthropic[name] || error.name, error.status, error.type],
              [true, status, type],
            );
            return true;
          },
        );
      }
    });
  }
}

test("what is wrong with a request is left to the provider to say, in its own words", async () => {
  for (const thread of [undefined, newThread()]) {
    const response = await post(gateway, "/messages", { model: CLAUDE, messages: [user("one")] }, { thread });
    const body = await response.json();
    assert.deepEqual(
      [response.status, body],
      [
        400,
        {
          type: "error",
          error: { type: "invalid_request_error", message: "max_tokens: this field is required." },
          request_id: response.headers.get("x-upstream-request-id"),
        },
      ],
    );
  }
});
