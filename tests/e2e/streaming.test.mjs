// Owns: streamed answers on the wire: the provider's bytes, their timing, how they end, and what is kept of them.
// Invariant: the provider of the byte tests is scripted here, chunk by chunk; what is compared is bytes, not meaning.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  assistant,
  chat,
  echo,
  lastPrompt,
  memoryHeaders,
  MODEL,
  newThread,
  openai,
  stored,
  streamed,
  until,
  user,
} from "./conversation.mjs";
import { directBaseURL } from "./direct.mjs";
import { startGateway, startSandbox, sandboxVars } from "./gateway.mjs";
import { begin, startUpstream } from "./wire.mjs";

let sandbox, gateway, upstream, long;
before(async () => {
  [sandbox, upstream] = await Promise.all([startSandbox(), startUpstream()]);
  const PROVIDERS = JSON.stringify({
    raw: { base_url: `${upstream.url}/v1`, dialects: ["chat", "responses"] },
  });
  gateway = await startGateway({ vars: { ...sandboxVars(sandbox), PROVIDERS } });
  long = longStream(); // Runs beside all other tests.
  long.catch(() => {}); // Its own test tells.
});
after(async () => {
  await gateway?.stop();
  await sandbox?.close();
  await upstream?.close();
});

/** A streamed request on the bare wire. */
const open = (text, options) => ask(text, options).head;

function ask(
  text,
  {
    model = MODEL,
    thread,
    path = "/chat/completions",
    base = gateway.baseURL,
    stream = true,
    usage = true,
  } = {},
) {
  const chat = {
    messages: [user(text)],
    ...(stream && usage && { stream_options: { include_usage: true } }),
  };
  const said = path === "/responses" ? { input: text } : chat;
  return begin(base + path, {
    headers: {
      authorization: `Bearer ${gateway.key}`,
      "content-type": "application/json",
      ...(thread && memoryHeaders(thread)),
    },
    body: JSON.stringify({ model, stream, ...said }),
  });
}

async function readAll(text, options) {
  const answer = await open(text, options);
  const { bytes, clean } = await answer.ended;
  return { status: answer.status, headers: answer.headers, text: bytes.toString("utf8"), bytes, clean };
}

const PATHS = ["/chat/completions", "/responses"];
const MEMORY = [
  ["off", () => undefined],
  ["on", newThread],
];
const events = (text) =>
  text
    .split(/\r?\n\r?\n/)
    .map((event) => /^data: (.*)$/m.exec(event)?.[1])
    .filter((data) => data !== undefined);

/** What a stream of the sandbox said, whatever the dialect. */
const said = (text) =>
  events(text)
    .filter((data) => data !== "[DONE]")
    .map((data) => JSON.parse(data))
    .map(({ choices, type, delta }) =>
      choices ? (choices[0]?.delta?.content ?? "") : type === "response.output_text.delta" ? delta : "",
    )
    .join("");

// ——— Bytes

const chunk = (delta, finish_reason = null) =>
  `data: ${JSON.stringify({ id: "x", object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason }] })}`;

const TRANSCRIPT = Buffer.from(
  [
    ": a comment\n\n",
    `${chunk({ role: "assistant", content: "" })}\r\n\r\n`,
    `event: odd\nid: 7\nretry: 10\n${chunk({ content: "Grüße, 👩‍👩‍👧" })}\n\n`,
    'data:{"unknown":1e400}\n\n',
    `${chunk({ content: " und Tschüß" })}\r\r`,
    "\uFEFF\n\n\n\n",
    `${chunk({}, "stop")}\n\n`,
    'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}\n\n',
    "data: [DONE]\n\n",
    ": and one more comment after the end\n\n",
  ].join(""),
);

/** Sends bytes in pieces, each on its own. */
const inPieces = (bytes, size) => async (res) => {
  res.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
  for (let at = 0; at < bytes.length; at += size) {
    res.write(bytes.subarray(at, at + size));
    await new Promise(setImmediate);
  }
  res.end();
};

for (const [memory, thread] of MEMORY) {
  for (const size of [1, 7, 64, 1_000_000]) {
    test(`memory ${memory}, pieces of ${size}: the client gets exactly the provider's bytes`, async () => {
      upstream.answer = inPieces(TRANSCRIPT, size);
      const id = thread();
      const answer = await readAll("one", { model: "raw/m", thread: id });
      assert.equal(answer.status, 200);
      assert.equal(answer.headers["content-type"], "text/event-stream; charset=utf-8");
      assert.equal(answer.text, TRANSCRIPT.toString());
      assert.ok(answer.bytes.equals(TRANSCRIPT));
      assert.ok(answer.clean);
      if (id) {
        const told = await until(async () => {
          const found = await stored(gateway, id);
          return found.length === 2 && found;
        }, "the answer is stored");
        assert.deepEqual(told, [user("one"), assistant("Grüße, 👩‍👩‍👧 und Tschüß")]);
      }
    });
  }

  test(`memory ${memory}: token counts that the client did not ask for are not in its stream`, async () => {
    sandbox.clear();
    const { text, clean } = await readAll("one", { thread: thread(), usage: false });
    assert.ok(clean);
    assert.equal(said(text), echo("one").content);
    assert.doesNotMatch(text, /usage/);
    const asked = sandbox.requests.at(-1).body.stream_options;
    assert.deepEqual(asked, { include_usage: true });
  });

  test(`memory ${memory}: a large answer arrives whole`, async () => {
    const text = "0123456789abcdef".repeat(64);
    const events = Array.from({ length: 3_000 }, () => `${chunk({ content: text })}\n\n`);
    const bytes = Buffer.from(`${events.join("")}${chunk({}, "stop")}\n\ndata: [DONE]\n\n`);
    upstream.answer = inPieces(bytes, 50_000);
    const id = thread();
    const answer = await readAll("one", { model: "raw/m", thread: id });
    assert.ok(answer.bytes.equals(bytes), `${answer.bytes.length} of ${bytes.length} bytes`);
    if (id) assert.equal((await stored(gateway, id))[1].content, text.repeat(3_000));
  });

  for (const path of PATHS) {
    test(`memory ${memory}, ${path}: the first byte reaches the client before the provider sends its last`, async () => {
      let last;
      const goOn = new Promise((resolve) => (last = resolve));
      upstream.answer = async (res) => {
        res.writeHead(200, { "content-type": "text/event-stream" });
        res.write(`${chunk({ content: "first" })}\n\n`);
        await goOn; // Not before the client has the first event.
        const done = { type: "response.completed", response: { status: "completed", output: [] } };
        res.end(path === "/responses" ? `data: ${JSON.stringify(done)}\n\n` : "data: [DONE]\n\n");
      };
      const answer = await open("one", { model: "raw/m", thread: thread(), path });
      await until(() => answer.received().includes("first"), "the first event arrived");
      last();
      const { bytes, clean } = await answer.ended;
      assert.ok(clean);
      assert.match(bytes.toString(), /\[DONE\]|response\.completed/);
    });
  }

  test(`memory ${memory}: an answer that is not streamed keeps its bytes`, async () => {
    const body =
      '{ "choices":[{"index":0,"message":{"role":"assistant","content":"gr\\u00fc\\u00df" },"x":1e400}]}\r\n';
    upstream.answer = (res) => res.writeHead(200, { "content-type": "application/json" }).end(body);
    const answer = await readAll("one", { model: "raw/m", thread: thread() });
    assert.equal(answer.text, body);
  });

  test(`memory ${memory}: a compressed answer reaches the client readable`, async () => {
    const answer = await readAll("one", { model: `${MODEL};gzip`, thread: thread() });
    assert.equal(answer.status, 200);
    assert.equal(said(answer.text), echo("one").content);
  });

  test(`memory ${memory}: a client that reads slowly gets every byte`, async () => {
    const bytes = Buffer.from(
      `${`${chunk({ content: "x".repeat(2_000) })}\n\n`.repeat(2_000)}data: [DONE]\n\n`,
    );
    upstream.answer = (res) => {
      res.writeHead(200, { "content-type": "text/event-stream" });
      res.end(bytes);
    };
    const response = await fetch(`${gateway.baseURL}/chat/completions`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${gateway.key}`,
        "content-type": "application/json",
        ...(memory === "on" && memoryHeaders(newThread())),
      },
      body: JSON.stringify({ model: "raw/m", stream: true, messages: [user("one")] }),
    });
    let length = 0;
    for await (const part of response.body) {
      length += part.length;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    assert.equal(length, bytes.length);
  });
}

for (const path of PATHS) {
  for (const knob of ["chunk=1", "chunk=7", "chunk=0", "crlf", "comments"]) {
    test(`${path}: an answer cut anew (${knob}) is stored the same`, async () => {
      const thread = newThread();
      const { text } = await readAll("Say: grüße 👩‍👩‍👧 to all", { model: `${MODEL};${knob}`, thread, path });
      assert.equal(said(text), "grüße 👩‍👩‍👧 to all");
      assert.deepEqual(await stored(gateway, thread), [
        user("Say: grüße 👩‍👩‍👧 to all"),
        assistant("grüße 👩‍👩‍👧 to all"),
      ]);
    });
  }
}

// ——— The client leaves

for (const path of PATHS) {
  test(`${path}: a client that leaves mid-stream ends the provider's work, and the partial answer is kept`, async () => {
    const thread = newThread();
    const answer = await open("one", { model: `${MODEL};words=2000;delay=20`, thread, path });
    await until(() => answer.received().includes("word3"), "three words arrived");
    const entry = sandbox.requests.at(-1);
    answer.leave();
    await until(() => entry.aborted, "the provider's connection was closed", 2_000);
    const told = await until(async () => {
      const found = await stored(gateway, thread);
      return found.length === 2 && found;
    }, "the partial answer is stored");
    assert.deepEqual(told[0], user("one"));
    assert.equal(told[1].incomplete, true);
    assert.match(told[1].content, /^word1 word2 word3\b/);
    assert.doesNotMatch(told[1].content, /word2000/);
    // It is shown as far as it came, and the thread goes on.
    await chat(gateway, thread, "two");
    assert.deepEqual(lastPrompt(sandbox), [user("one"), assistant(told[1].content), user("two")]);
  });
}

test("without memory, too, a client that leaves ends the provider's work", async () => {
  const answer = await open("one", { model: `${MODEL};words=2000;delay=20` });
  await until(() => answer.received().includes("word3"), "three words arrived");
  const entry = sandbox.requests.at(-1);
  answer.leave();
  await until(() => entry.aborted, "the provider's connection was closed", 2_000);
});

for (const [memory, thread] of MEMORY) {
  test(`memory ${memory}: a client that leaves while the model is silent ends the provider's work`, async () => {
    const id = thread();
    // chunk=2000 holds the first words; then nothing for half a minute.
    const base = await directBaseURL(gateway);
    const answer = await open("one", {
      model: `${MODEL};words=2000;chunk=2000;pause=30000`,
      thread: id,
      base,
    });
    await until(() => answer.received().includes("word1"), "the first words arrived");
    const entry = sandbox.requests.at(-1);
    answer.leave();
    await until(() => entry.aborted, "the provider's connection was closed", 2_000);
    if (!id) return;
    const told = await until(async () => {
      const found = await stored(gateway, id);
      return found.length === 2 && found;
    }, "the partial answer is stored");
    assert.equal(told[1].incomplete, true);
    assert.match(told[1].content, /^word1/);
  });

  for (const stream of [true, false]) {
    const what = stream ? "the first byte" : "a whole answer";
    test(`memory ${memory}: a client that leaves before ${what} ends the provider's work`, async () => {
      const id = thread();
      const base = await directBaseURL(gateway);
      const before = sandbox.requests.length;
      const asked = ask("one", { model: `${MODEL};stall=30000`, thread: id, base, stream });
      await until(() => sandbox.requests.length > before, "the provider was asked");
      const entry = sandbox.requests.at(-1);
      asked.leave();
      await assert.rejects(asked.head);
      await until(() => entry.aborted, "the provider's connection was closed", 2_000);
      if (!id) return;
      assert.deepEqual(await stored(gateway, id), [user("one")]);
      // The same message again is the same message.
      await chat(gateway, id, "one");
      assert.deepEqual(await stored(gateway, id), [user("one"), echo("one")]);
    });
  }
}

// ——— The provider breaks off

for (const [memory, thread] of MEMORY) {
  for (const path of PATHS) {
    test(`memory ${memory}, ${path}: a stream that the provider cuts never ends cleanly`, async () => {
      const id = thread();
      const { text, clean } = await readAll("one", { model: `${MODEL};words=50;cut=4001`, thread: id, path });
      assert.ok(text.includes("word3"), text);
      assert.doesNotMatch(text, /\[DONE\]|response\.completed/);
      assert.equal(clean, false);
      if (!id) return;
      const [, answer] = await until(async () => {
        const found = await stored(gateway, id);
        return found.length === 2 && found;
      }, "the partial answer is stored");
      assert.equal(answer.incomplete, true);
      assert.ok(
        "word1 word2 word3 word4 word5 word6 word7 word8".startsWith(answer.content.slice(0, 40)),
        answer.content,
      );
    });
  }

  test(`memory ${memory}: the SDK's iterator throws when the provider cuts the stream`, async () => {
    const id = thread();
    const stream = await openai(gateway).chat.completions.create(
      { model: `${MODEL};words=50;cut=4001`, messages: [user("one")], stream: true },
      { headers: id && memoryHeaders(id) },
    );
    let text = "";
    await assert.rejects(async () => {
      for await (const part of stream) text += part.choices[0]?.delta?.content ?? "";
    });
    assert.match(text, /^word1 word2/);
  });
}

/** A provider that sends these events and then drops the connection, or ends the stream as if all were well. */
const breaksOff =
  (parts, { cleanly }) =>
  async (res) => {
    res.writeHead(200, { "content-type": "text/event-stream" });
    for (const part of parts) await new Promise((resolve) => res.write(part, resolve));
    if (cleanly) return res.end();
    await new Promise((resolve) => setTimeout(resolve, 50)); // Let the bytes arrive before the reset.
    res.destroy();
  };

for (const cleanly of [false, true]) {
  const how = cleanly ? "ends its stream too early as if all were well" : "drops the connection";
  test(`memory on: when the provider ${how} between two events, an error event says so and no [DONE] follows`, async () => {
    const first = `${chunk({ content: "half an" })}\n\n`;
    upstream.answer = breaksOff([first], { cleanly });
    const thread = newThread();
    const { text, clean } = await readAll("one", { model: "raw/m", thread });
    assert.equal(clean, false);
    assert.ok(text.startsWith(first), text);
    assert.deepEqual(JSON.parse(events(text.slice(first.length))[0]), {
      error: {
        message: "The provider `raw` broke off in the middle of its answer. What came so far is incomplete.",
        type: "upstream_error",
        param: null,
        code: "upstream_incomplete",
        provider: "raw",
      },
    });
    assert.doesNotMatch(text, /\[DONE\]/);
    assert.deepEqual(await stored(gateway, thread), [
      user("one"),
      { ...assistant("half an"), incomplete: true },
    ]);
  });

  test(`memory on, responses: when the provider ${how}, response.failed says so`, async () => {
    const first =
      'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"half an"}\n\n';
    upstream.answer = breaksOff([first], { cleanly });
    const thread = newThread();
    const { text, clean } = await readAll("one", { model: "raw/m", thread, path: "/responses" });
    assert.equal(clean, false);
    assert.ok(text.startsWith(first), text);
    const last = JSON.parse(events(text).at(-1));
    assert.equal(last.type, "response.failed");
    assert.equal(last.response.status, "failed");
    assert.equal(last.response.error.code, "upstream_incomplete");
    assert.deepEqual(await stored(gateway, thread), [
      user("one"),
      { ...assistant("half an"), incomplete: true },
    ]);
  });

  test(`memory on: when the provider ${how} inside an event, nothing is added to the torn event`, async () => {
    const torn = `${chunk({ content: "half an" })}\n\n${chunk({ content: " event" }).slice(0, 30)}`;
    upstream.answer = breaksOff([torn], { cleanly });
    const thread = newThread();
    const { text, clean } = await readAll("one", { model: "raw/m", thread });
    assert.deepEqual([text, clean], [torn, false]);
    assert.deepEqual(await stored(gateway, thread), [
      user("one"),
      { ...assistant("half an"), incomplete: true },
    ]);
  });
}

test("the SDK throws the gateway's error when the provider ends its stream too early", async () => {
  upstream.answer = breaksOff([`${chunk({ content: "half an" })}\n\n`], { cleanly: true });
  const stream = await openai(gateway).chat.completions.create(
    { model: "raw/m", messages: [user("one")], stream: true },
    { headers: memoryHeaders(newThread()) },
  );
  await assert.rejects(async () => {
    for await (const _ of stream);
  }, /broke off in the middle/);
});

test("a stream of the sandbox that ends cleanly but too early is broken for the client and kept as incomplete", async () => {
  const thread = newThread();
  const { text, clean } = await readAll("one", { model: `${MODEL};words=50;eof=4001`, thread });
  assert.equal(clean, false);
  assert.doesNotMatch(text, /\[DONE\]/);
  const [, answer] = await stored(gateway, thread);
  assert.equal(answer.incomplete, true);
});

test("a provider that never says [DONE] but gave a reason to stop has said it all", async () => {
  const thread = newThread();
  const { text, clean } = await readAll("one", { model: `${MODEL};nodone`, thread });
  assert.ok(clean);
  assert.equal(said(text), echo("one").content);
  assert.deepEqual(await stored(gateway, thread), [user("one"), echo("one")]);
});

for (const path of PATHS) {
  test(`${path}: a failure that the provider reports inside its stream passes as it is, the rest kept as incomplete`, async () => {
    const thread = newThread();
    const plain = await readAll("Say: one two three four", { model: `${MODEL};error`, path });
    const { text, clean } = await readAll("Say: one two three four", {
      model: `${MODEL};error`,
      thread,
      path,
    });
    const shape = (answer) => events(answer).map((data) => Object.keys(JSON.parse(data)).sort());
    assert.deepEqual(shape(text), shape(plain.text));
    assert.equal(clean, plain.clean);
    assert.match(text, /told to fail in the middle/);
    assert.doesNotMatch(text, /\[DONE\]/);
    assert.deepEqual(await stored(gateway, thread), [
      user("Say: one two three four"),
      { ...assistant("one two"), incomplete: true },
    ]);
  });
}

test("an event that cannot be read passes, and the answer around it is kept", async () => {
  const thread = newThread();
  const { text } = await readAll("Say: one two", { model: `${MODEL};garbage`, thread });
  assert.match(text, /\{"sandbox": garbage/);
  assert.deepEqual(await stored(gateway, thread), [user("Say: one two"), assistant("one two")]);
});

test("a tool call that is cut in its arguments does not spoil the thread", async () => {
  const thread = newThread();
  const call = { index: 0, id: "call_1", type: "function", function: { name: "f", arguments: '{"na' } };
  upstream.answer = breaksOff([`${chunk({ tool_calls: [call] })}\n\n`], { cleanly: false });
  const { clean } = await readAll("one", { model: "raw/m", thread });
  assert.equal(clean, false);
  await chat(gateway, thread, "two");
  assert.deepEqual(lastPrompt(sandbox), [user("one"), user("two")]);
});

// ——— Memory of streams

test("the next request, sent the instant [DONE] was read, sees the answer, twenty times in a row", async () => {
  const thread = newThread();
  const history = [];
  for (let turn = 1; turn <= 20; turn += 1) {
    const answer = await open(`turn ${turn}`, { thread });
    await answer.seen("data: [DONE]");
    history.push(user(`turn ${turn}`));
    assert.deepEqual(lastPrompt(sandbox), history);
    history.push(echo(`turn ${turn}`));
  }
});

test("the same with responses", async () => {
  const thread = newThread();
  for (let turn = 1; turn <= 10; turn += 1) {
    const answer = await open(`turn ${turn}`, { thread, path: "/responses" });
    await answer.seen("event: response.completed");
    const { input } = sandbox.requests.at(-1).body;
    assert.equal(turn === 1 ? 1 : input.length, turn * 2 - 1);
  }
});

test("usage that the provider sends behind the last words reaches the client", async () => {
  const stream = await openai(gateway).chat.completions.create(
    { model: MODEL, messages: [user("one")], stream: true, stream_options: { include_usage: true } },
    { headers: memoryHeaders(newThread()) },
  );
  let usage;
  for await (const part of stream) usage = part.usage ?? usage;
  assert.ok(usage.total_tokens > 0);
});

/** A minute: twice the 30 seconds that the platform leaves a Worker after its answer has begun. */
async function longStream() {
  const thread = newThread();
  const since = performance.now();
  const text = await streamed(gateway, thread, "one", { model: `${MODEL};words=600;delay=100` });
  return { thread, text, seconds: (performance.now() - since) / 1000 };
}

test("a stream of a minute is whole, and remembered", async () => {
  const { thread, text, seconds } = await long;
  assert.ok(seconds >= 60, `${seconds} s`);
  const words = Array.from({ length: 600 }, (_, n) => `word${n + 1}`).join(" ");
  assert.equal(text, words);
  assert.deepEqual(await stored(gateway, thread), [user("one"), assistant(words)]);
});
