// Owns: what the sandbox answers in Google's dialect: fields, streams, thoughts, calls, signatures.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  answer,
  assembled,
  BOTH,
  call,
  GREET,
  list,
  model,
  pair,
  parameters,
  partsOf,
  PLAIN,
  post,
  refused,
  response,
  say,
  SECOND,
  sse,
  THIRD,
  tools,
  user,
} from "./google.mjs";
import { events } from "./provider.mjs";

test("the documented conversations give the documented answers", async () => {
  assert.equal(await say(user("What is 2+2? Reply with just the number.")), "4");
  assert.equal(await say(user("My name is Alex."), model("Got it."), user("What is my name?")), "Alex");
  const systemInstruction = { parts: [{ text: "Be kind." }, { text: "Be short." }] };
  const { candidates } = await answer({ systemInstruction, contents: [user("What are your instructions?")] });
  assert.equal(candidates[0].content.parts[0].text, "Be kind.\nBe short.");
});

test("a whole answer has the fields of the real one, printed as the real one is", async () => {
  const reply = await post({ contents: [user("Say hi")] });
  assert.equal(reply.headers.get("content-type"), "application/json; charset=UTF-8");
  const text = await reply.text();
  const { responseId, ...rest } = JSON.parse(text);
  assert.match(responseId, /^\w{22}$/);
  assert.deepEqual(rest, {
    candidates: [{ content: { parts: [{ text: "hi" }], role: "model" }, finishReason: "STOP", index: 0 }],
    usageMetadata: {
      promptTokenCount: 2,
      candidatesTokenCount: 1,
      totalTokenCount: 3,
      promptTokensDetails: [{ modality: "TEXT", tokenCount: 2 }],
    },
    modelVersion: PLAIN,
  });
  assert.equal(text, `${JSON.stringify(JSON.parse(text), null, 2)}\n`);
});

test("events end their lines with CRLF, have no end mark, and count on every chunk", async () => {
  const reply = await post(
    { contents: [user("Say one two three")] },
    { method: "streamGenerateContent?alt=sse" },
  );
  assert.equal(reply.headers.get("content-type"), "text/event-stream");
  const text = await reply.text();
  assert.ok(!/[^\r]\n/.test(text) && text.endsWith("\r\n\r\n") && !text.includes("[DONE]"));
  assert.ok(
    text.startsWith('data: {"candidates": [{"content": {"parts": [{"text": "one"}],"role": "model"},'),
  );
  const chunks = events(text);
  assert.deepEqual(
    chunks.map(({ candidates: [{ content, finishReason, index }], usageMetadata: used }) => [
      content.parts[0].text,
      finishReason,
      index,
      used.candidatesTokenCount,
      used.totalTokenCount - used.promptTokenCount,
    ]),
    [
      ["one", undefined, 0, 1, 1],
      [" two", undefined, 0, 2, 2],
      [" three", "STOP", 0, 4, 4],
    ],
  );
  assert.equal(new Set(chunks.map(({ responseId }) => responseId)).size, 1);
});

test("without alt=sse a stream is one JSON list, sent element by element", async () => {
  const body = { contents: [user("Say one two")] };
  const reply = await post(body, { of: `${PLAIN};delay=1`, method: "streamGenerateContent" });
  assert.equal(reply.headers.get("content-type"), "application/json; charset=UTF-8");
  const writes = [];
  for await (const bytes of reply.body) writes.push(Buffer.from(bytes).toString());
  assert.ok(writes.length > 1);
  const text = writes.join("");
  assert.match(text, /^\[\{\n[\s\S]*\n\}\n,\r\n\{\n[\s\S]*\n\}\n\]$/);
  assert.deepEqual(assembled(JSON.parse(text)), { parts: [{ text: "one two" }], finishReason: "STOP" });
});

test("what is streamed, either way, adds up to what is sent whole", async () => {
  const includeThoughts = { generationConfig: { thinkingConfig: { includeThoughts: true } } };
  const cases = [
    [PLAIN, { contents: [user("Say one two")] }],
    [PLAIN, { contents: [user("Write 9 words")], generationConfig: { maxOutputTokens: 3 } }],
    [SECOND, { contents: [user("Say one two")], ...includeThoughts }],
    [SECOND, { contents: [user(BOTH)], tools }],
    [THIRD, { contents: [user("Say one two")], ...includeThoughts }],
    [THIRD, { contents: [user(BOTH)], tools, ...includeThoughts }],
    [THIRD, { contents: [user("Say x")], generationConfig: { maxOutputTokens: 3 } }],
  ];
  for (const [of, body] of cases) {
    const { candidates, usageMetadata } = await answer(body, of);
    const whole = { parts: candidates[0].content.parts ?? [], finishReason: candidates[0].finishReason };
    for (const chunks of [events(await sse(body, of)), JSON.parse(await list(body, of))]) {
      assert.deepEqual(assembled(chunks), whole, JSON.stringify([of, body]));
      assert.deepEqual(chunks.at(-1).usageMetadata, usageMetadata);
      assert.ok(chunks.slice(0, -1).every((chunk) => !chunk.candidates[0].finishReason));
    }
  }
});

test("thoughts are counted apart from the answer, and shown only if asked for", async () => {
  const contents = [user("Say hi")];
  for (const of of [SECOND, THIRD]) {
    const quiet = await answer({ contents }, of);
    assert.deepEqual(
      partsOf(quiet).map(({ text, thought }) => [text, thought]),
      [["hi", undefined]],
    );
    const { promptTokenCount, candidatesTokenCount, thoughtsTokenCount, totalTokenCount } =
      quiet.usageMetadata;
    assert.deepEqual([candidatesTokenCount, thoughtsTokenCount > 1], [1, true]);
    assert.equal(totalTokenCount, promptTokenCount + candidatesTokenCount + thoughtsTokenCount);
    const shown = await answer(
      { contents, generation_config: { thinking_config: { include_thoughts: true } } },
      of,
    );
    assert.deepEqual(
      partsOf(shown).map(({ thought }) => thought),
      [true, undefined],
    );
  }
  const off = { contents, generationConfig: { thinkingConfig: { thinkingBudget: 0 } } };
  assert.equal((await answer(off, SECOND)).usageMetadata.thoughtsTokenCount, undefined);
});

test("thoughts can use up the limit and leave a content without parts", async () => {
  const body = { contents: [user("Say hi")], generationConfig: { maxOutputTokens: 2 } };
  const { candidates, usageMetadata } = await answer(body, SECOND);
  assert.deepEqual(candidates, [{ content: { role: "model" }, finishReason: "MAX_TOKENS", index: 0 }]);
  assert.equal(usageMetadata.candidatesTokenCount, undefined);
});

test("a call has no id, its arguments whole, and the first one of a step a signature", async () => {
  for (const [of, signed] of [
    [PLAIN, false],
    [SECOND, true],
    [THIRD, true],
  ]) {
    const parts = partsOf(await answer({ contents: [user(BOTH)], tools }, of));
    assert.deepEqual(
      parts.map(({ functionCall }) => functionCall),
      [call("Bob").functionCall, call("Eve").functionCall],
    );
    assert.deepEqual(
      parts.map(({ thoughtSignature }) => thoughtSignature !== undefined),
      [signed, false],
    );
    const chunks = events(await sse({ contents: [user(BOTH)], tools }, of));
    assert.equal(partsOf(chunks[0]).length, 2);
    assert.equal(chunks.length, of === THIRD ? 2 : 1);
    assert.equal(chunks.at(-1).candidates[0].finishReason, "STOP");
  }
  const [bare] = partsOf(
    await answer({
      contents: [user("Use ping_it")],
      tools: [{ functionDeclarations: [{ name: "ping_it" }] }],
    }),
  );
  assert.deepEqual(bare, { functionCall: { name: "ping_it", args: {} } });
});

test("results are spoken, in the order of the responses", async () => {
  const turns = [user(BOTH), model(call("Bob"), call("Eve"))];
  assert.equal(await say(...turns, user(response("first"), response("second"))), "first\nsecond");
  assert.equal(
    await say(
      user(GREET),
      model({ function_call: { name: "helloWorld", args: { name: "Alice" } } }),
      user({ function_response: { name: "helloWorld", response: { greeting: "Hi!", mood: 1 } } }),
    ),
    '{"greeting":"Hi!","mood":1}',
  );
  const ids = [
    user(BOTH),
    model(
      { functionCall: { ...call("Bob").functionCall, id: "a" } },
      { functionCall: { ...call("Eve").functionCall, id: "b" } },
    ),
  ];
  assert.equal(await say(...ids, user(response("2", { id: "b" }), response("1", { id: "a" }))), "2\n1");
  await refused(
    { contents: [...ids, user(response("2", { id: "c" }), response("1", { id: "a" }))] },
    /no function call/,
  );
  await refused(
    { contents: [...ids, user(response("2", { id: "b" }), response("1", { id: "b" }))] },
    /no function call/,
  );
});

test("Gemini 3 wants the signature of the first call of each step of the turn, and its own", async () => {
  const ask = { tools, contents: [user(GREET)] };
  const [first] = partsOf(await answer(ask, THIRD));
  const back = (...contents) => ({ tools, contents: [user(GREET), ...contents] });
  const works = async (body) => assert.equal((await post(body, { of: THIRD })).status, 200);
  const { thoughtSignature, functionCall } = first;
  await works(back(model(first), user(response("Hi"))));
  await works(back(model({ functionCall, thought_signature: thoughtSignature }), user(response("Hi"))));
  await refused(
    back(model({ functionCall }), user(response("Hi"))),
    /^Function call `helloWorld` in the 2\. content block is missing a `thought_signature`/,
    THIRD,
  );
  await refused(
    back(model(first), user(response("Hi")), model(call("Bob")), user(response("Hi"))),
    /in the 4\. content block/,
    THIRD,
  );
  await refused(back(model(call("Bob", { thoughtSignature })), user(response("Hi"))), /not valid/, THIRD);
  await refused(back(model(call("Bob", { thoughtSignature: "AAAA" })), user(response("Hi"))), /not valid/);
  for (const dummy of ["skip_thought_signature_validator", "context_engineering_is_the_way_to_go"])
    await works(back(model(call("Bob", { thoughtSignature: dummy })), user(response("Hi"))));
  const [several] = partsOf(
    await answer({ contents: [user("Use pair_up")], tools: [{ functionDeclarations: [pair] }] }, THIRD),
  );
  const { a, b } = several.functionCall.args;
  await works(
    back(
      model({ ...several, functionCall: { name: "pair_up", args: { b, a } } }),
      user({ functionResponse: { name: "pair_up", response: {} } }),
    ),
  );
  // Of parallel calls only the first, of earlier turns none, and of other models nothing is asked.
  await works(back(model(first, call("Eve")), user(response("Hi"), response("Ho"))));
  await works(back(model(call("Bob")), user(response("Hi")), model("Hi"), user("And now?")));
  assert.equal((await post(back(model(call("Bob")), user(response("Hi"))), { of: SECOND })).status, 200);
});

test("the signature of a text comes whole on it, in a stream last on an empty part, and goes back either way", async () => {
  const ask = { contents: [user("Say one two")] };
  const [text] = partsOf(await answer(ask, THIRD));
  const pieces = events(await sse(ask, THIRD)).map((chunk) => ({ role: "model", parts: partsOf(chunk) }));
  assert.deepEqual(pieces.at(-1).parts, [{ text: "", thoughtSignature: text.thoughtSignature }]);
  for (const said of [[model(text)], pieces])
    assert.equal(
      (await post({ contents: [...ask.contents, ...said, user("Why?")] }, { of: THIRD })).status,
      200,
    );
  await refused(
    { contents: [...ask.contents, model({ ...text, text: "one" }), user("Why?")] },
    /not valid/,
    THIRD,
  );
});

test("calls and responses match in number and name, turn by turn", async () => {
  const contents = (...after) => ({ tools, contents: [user(BOTH), ...after] });
  const two = model(call("Bob"), call("Eve"));
  await refused(contents(two), /number of function response parts is equal/);
  await refused(contents(two, user("x")), /number of function response parts is equal/);
  await refused(contents(two, user(response("1"))), /number of function response parts is equal/);
  await refused(
    contents(two, user(response("1")), user(response("2"))),
    /number of function response parts is equal/,
  );
  await refused(contents(user(response("1"))), /function response turn comes immediately after/);
  await refused(contents(two, user(response("1"), response("2", { name: "other" }))), /`other`/);
  await refused({ contents: [model(call("Bob")), user(response("1"))] }, /function call turn comes/);
  assert.equal((await post(contents(two, user(response("1"), response("2"), "Well?")))).status, 200);
  assert.equal((await post({ contents: [model("Hello"), user("x")] })).status, 200);
});

test("limits and stop sequences end the answer, and a broken call is none", async () => {
  const ended = async (text, generationConfig, more) => {
    const { candidates } = await answer({ contents: [user(text)], generationConfig, ...more });
    return [candidates[0].content.parts?.[0].text, candidates[0].finishReason];
  };
  assert.deepEqual(await ended("Write 9 words", { maxOutputTokens: 2 }), ["word1 word2", "MAX_TOKENS"]);
  assert.deepEqual(await ended("Say one, two", { stopSequences: [","] }), ["one", "STOP"]);
  assert.deepEqual(await ended(GREET, { maxOutputTokens: 1 }, { tools }), [
    undefined,
    "MALFORMED_FUNCTION_CALL",
  ]);
});

test("tools are called as the mode says", async () => {
  const other = { name: "other", parametersJsonSchema: { type: "object", additionalProperties: false } };
  const both = [{ functionDeclarations: [...tools[0].functionDeclarations, other] }];
  const called = async (functionCallingConfig, text = "Hello") =>
    partsOf(await answer({ contents: [user(text)], tools: both, toolConfig: { functionCallingConfig } })).map(
      ({ functionCall }) => functionCall?.name,
    );
  assert.deepEqual(await called({ mode: "ANY" }), ["helloWorld"]);
  assert.deepEqual(await called({ mode: "any", allowedFunctionNames: ["other"] }), ["other"]);
  assert.deepEqual(await called({ mode: "NONE" }, GREET), [undefined]);
  assert.deepEqual(await called({ mode: "VALIDATED", allowedFunctionNames: ["other"] }, GREET), [undefined]);
  assert.deepEqual(await called({}, GREET), ["helloWorld"]);
});

test("JSON is written to either kind of schema", async () => {
  const json = async (generationConfig) =>
    partsOf(await answer({ contents: [user("Greet Alice, mood: sad")], generationConfig }))[0].text;
  const type = "application/json";
  assert.equal(await json({ responseMimeType: type, responseSchema: parameters }), '{"name":"Alice"}');
  const responseJsonSchema = {
    type: "object",
    properties: { mood: { enum: ["glad", "sad"] } },
    required: ["mood"],
    additionalProperties: false,
  };
  assert.equal(await json({ responseMimeType: type, responseJsonSchema }), '{"mood":"sad"}');
  assert.equal(typeof JSON.parse(await json({ responseMimeType: type })).answer, "string");
  const names = { type: "ARRAY", items: { type: "STRING" } };
  assert.equal(await json({ responseMimeType: type, responseSchema: names }), '["Alice"]');
  const choice = { type: "STRING", enum: ["glad", "sad"] };
  assert.equal(await json({ responseMimeType: "text/x.enum", responseSchema: choice }), "sad");
});

test("several candidates, log probabilities and cached prompts are answered as asked", async () => {
  const body = {
    contents: [user("Say one two")],
    generationConfig: { candidateCount: 2, responseLogprobs: true, logprobs: 1 },
    cachedContent: "cachedContents/abc",
  };
  const { candidates, usageMetadata } = await answer(body);
  assert.deepEqual(
    candidates.map(({ index }) => index),
    [0, 1],
  );
  assert.deepEqual(
    candidates[0].logprobsResult.chosenCandidates.map(({ token }) => token),
    ["one", " two"],
  );
  assert.equal(usageMetadata.candidatesTokenCount, 4);
  assert.equal(usageMetadata.cachedContentTokenCount, 1000);
  assert.ok(usageMetadata.promptTokenCount > 1000);
});

test("media are read from data and from a URI", async () => {
  const ask = (medium) => say(user("What is in the image?", medium));
  assert.match(await ask({ inlineData: { mimeType: "image/png", data: "AAAA" } }), /3 bytes of image\/png/);
  assert.match(await ask({ inline_data: { mime_type: "image/png", data: "AAAA" } }), /3 bytes/);
  assert.match(
    await ask({ fileData: { mimeType: "image/png", fileUri: "https://x.test/cat.png" } }),
    /by reference: https:\/\/x\.test\/cat\.png/,
  );
});
