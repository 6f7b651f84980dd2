import assert from "node:assert/strict";
import { test } from "node:test";
import { events, useSandbox } from "./provider.mjs";

const at = useSandbox();
const PLAIN = "gemini-2.0-flash",
  SECOND = "gemini-2.5-flash",
  THIRD = "gemini-3-flash-preview";
const GREET = "Use the helloWorld tool to greet Alice.",
  BOTH = "Use helloWorld to greet Bob and Eve.";

const user = (...parts) => ({ role: "user", parts: parts.map(part) });
const model = (...parts) => ({ role: "model", parts: parts.map(part) });
const part = (given) => (typeof given === "string" ? { text: given } : given);
const parameters = { type: "OBJECT", properties: { name: { type: "STRING" } }, required: ["name"] };
const tools = [{ functionDeclarations: [{ name: "helloWorld", description: "Greets.", parameters }] }];
const pair = {
  name: "pair_up",
  parameters: {
    type: "OBJECT",
    properties: { a: { type: "STRING" }, b: { type: "STRING" } },
    required: ["a", "b"],
  },
};
const call = (name, more) => ({ functionCall: { name: "helloWorld", args: { name } }, ...more });
const response = (result, more) => ({
  functionResponse: { name: "helloWorld", response: { result }, ...more },
});

const post = (body, { of = PLAIN, method = "generateContent", headers = { "x-goog-api-key": "k" } } = {}) =>
  at.post(`/v1beta/models/${of}:${method}`, body, { key: null, headers });
const answer = async (body, of) => (await post(body, { of })).json();
const say = async (...contents) => (await answer({ contents })).candidates[0].content.parts[0].text;
const sse = async (body, of) => (await post(body, { of, method: "streamGenerateContent?alt=sse" })).text();
const list = async (body, of) => (await post(body, { of, method: "streamGenerateContent" })).text();
const partsOf = ({ candidates }) => candidates[0].content?.parts ?? [];

async function refused(body, told, of) {
  const reply = await post(body, { of });
  const { error } = await reply.json();
  const about = `${JSON.stringify(body).slice(0, 300)} ${error?.message}`;
  assert.deepEqual([reply.status, error?.code, error?.status], [400, 400, "INVALID_ARGUMENT"], about);
  assert.match(error.message, told);
  return error;
}

/** The candidate a reader puts together from a stream. */
function assembled(chunks) {
  const parts = [];
  for (const one of chunks.flatMap(partsOf)) {
    const last = parts.at(-1);
    if (typeof one.text !== "string" || typeof last?.text !== "string" || last.thought !== one.thought)
      parts.push({ ...one });
    else Object.assign(last, one, { text: last.text + one.text });
  }
  const { finishReason } = chunks.at(-1).candidates[0];
  return { parts: parts.filter(({ text }) => text !== ""), finishReason };
}

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

test("unknown fields are refused by their name and place, wherever they are", async () => {
  const x = [user("x")],
    declared = (more) => ({ contents: x, tools: [{ functionDeclarations: [{ name: "f", ...more }] }] });
  const cases = [
    [{ contents: x, stream: true }, 'Unknown name "stream": Cannot find field.'],
    [{ contents: x, messages: [] }, 'Unknown name "messages": Cannot find field.'],
    [
      { contents: x, generationConfig: { max_tokens: 1 } },
      "Unknown name \"max_tokens\" at 'generation_config': Cannot find field.",
    ],
    [
      { contents: [{ role: "user", content: "x" }] },
      "Unknown name \"content\" at 'contents[0]': Cannot find field.",
    ],
    [
      { contents: [user({ type: "text", text: "x" })] },
      "Unknown name \"type\" at 'contents[0].parts[0]': Cannot find field.",
    ],
    [
      { contents: x, generationConfig: { thinkingConfig: { effort: "low" } } },
      "Unknown name \"effort\" at 'generation_config.thinking_config': Cannot find field.",
    ],
    [
      declared({ strict: true }),
      "Unknown name \"strict\" at 'tools[0].function_declarations[0]': Cannot find field.",
    ],
    [
      declared({ parameters: { ...parameters, $schema: "x" } }),
      "Unknown name \"$schema\" at 'tools[0].function_declarations[0].parameters': Cannot find field.",
    ],
    [
      declared({ parameters: { type: "OBJECT", properties: { a: { type: "STRING", const: "b" } } } }),
      "Unknown name \"const\" at 'tools[0].function_declarations[0].parameters.properties[a].value': Cannot find field.",
    ],
  ];
  for (const [body, told] of cases) {
    const message = `Invalid JSON payload received. ${told}`;
    const error = await refused(body, /./);
    assert.equal(error.message, message);
    assert.deepEqual(error.details[0]["@type"], "type.googleapis.com/google.rpc.BadRequest");
    assert.equal(error.details[0].fieldViolations[0].description, message);
  }
  for (const keyword of ["additionalProperties", "$ref", "$defs", "oneOf", "allOf", "not"])
    await refused(declared({ parameters: { ...parameters, [keyword]: {} } }), /Cannot find field/);
});

test("null is as good as absent, in either spelling of a name", async () => {
  const body = {
    contents: [user({ text: "Say hi", thought: null })],
    generation_config: { stop_sequences: null, topK: null },
    tools: null,
    systemInstruction: null,
  };
  assert.equal(partsOf(await answer(body))[0].text, "hi");
});

test("requests the real endpoint refuses are refused", async () => {
  const x = [user("x")],
    config = (generationConfig) => ({ contents: x, generationConfig }),
    thinking = (thinkingConfig) => config({ thinkingConfig }),
    schema = (own) => ({
      contents: x,
      tools: [
        {
          functionDeclarations: [{ name: "f", parameters: { type: "OBJECT", properties: { a: own } } }],
        },
      ],
    }),
    calling = (functionCallingConfig, more = { tools }) => ({
      contents: x,
      ...more,
      toolConfig: { functionCallingConfig },
    });
  const cases = [
    [{}, /contents is not specified/],
    [{ contents: [] }, /contents is not specified/],
    [{ contents: [{ role: "user", parts: [] }] }, /parts must not be empty/],
    [{ contents: [{ role: "assistant", parts: [{ text: "x" }] }] }, /valid role: user, model/],
    [{ contents: [{ role: "system", parts: [{ text: "x" }] }] }, /valid role/],
    [{ contents: "x" }, /Invalid value at 'contents'/],
    [{ contents: [user({})] }, /required oneof field 'data'/],
    [{ contents: [user({ text: "x", inlineData: { mimeType: "image/png", data: "AAAA" } })] }, /oneof/],
    [{ contents: [user({ text: 1 })] }, /'contents\[0\]\.parts\[0\]\.text' \(TYPE_STRING\), 1/],
    [{ contents: [user({ inlineData: { data: "AAAA" } })] }, /mime_type/],
    [{ contents: [user({ inlineData: { mimeType: "image/gif", data: "AAAA" } })] }, /Unsupported MIME/],
    [
      { contents: [user({ inlineData: { mimeType: "image/png", data: "data:image/png;base64,AAAA" } })] },
      /Base64 decoding failed/,
    ],
    [{ contents: [user({ fileData: { mimeType: "image/png" } })] }, /file_uri/],
    [{ contents: [user(call("Bob"))] }, /model turn/],
    [{ contents: [user("x"), model(response("1"))] }, /model turn/],
    [
      { contents: [user("x"), model({ functionCall: { name: "f", args: "{}" } })] },
      /'contents\[1\]\.parts\[0\]\.function_call\.args' \(type\.googleapis\.com\/google\.protobuf\.Struct\), "\{\}"/,
    ],
    [
      {
        contents: [
          user("x"),
          model(call("Bob")),
          user({ functionResponse: { name: "helloWorld", response: "Hi" } }),
        ],
      },
      /function_response\.response/,
    ],
    [
      { contents: [user("x"), model(call("Bob")), user({ functionResponse: { name: "helloWorld" } })] },
      /response: must be set/,
    ],
    [{ contents: x, systemInstruction: "Be kind." }, /Invalid value at 'system_instruction'/],
    [
      {
        contents: x,
        systemInstruction: { parts: [{ inlineData: { mimeType: "image/png", data: "AAAA" } }] },
      },
      /only supports text/,
    ],
    [thinking({ thinkingBudget: 1, thinkingLevel: "LOW" }), /only one of/, THIRD],
    [thinking({ thinkingLevel: "LOW" }), /not supported/, SECOND],
    [thinking({ thinkingLevel: "xhigh" }), /thinking_level/, THIRD],
    [thinking({ thinkingBudget: 0 }), /only works in thinking mode/, "gemini-2.5-pro"],
    [thinking({ thinkingBudget: 0, includeThoughts: true }), /include_thoughts/, SECOND],
    [thinking({ thinkingBudget: 10 }), /not supported by this model/],
    [config({ stopSequences: ["1", "2", "3", "4", "5", "6"] }), /stop_sequences/],
    [config({ maxOutputTokens: 0 }), /max_output_tokens/],
    [config({ maxOutputTokens: 1.5 }), /TYPE_INT32/],
    [config({ temperature: 2.1 }), /temperature/],
    [config({ candidateCount: 9 }), /candidate_count/],
    [config({ logprobs: 1 }), /response_logprobs/],
    [config({ responseSchema: parameters }), /response_mime_type/],
    [config({ responseMimeType: "text/html" }), /allowed mimetypes/],
    [
      { ...config({ responseMimeType: "application/json" }), tools },
      /Function calling with a response mime type/,
      SECOND,
    ],
    [schema({ type: ["STRING", "NULL"] }), /Proto field is not repeating/],
    [schema({ type: "ARRAY" }), /items: missing field/],
    [schema({ type: "STRING", format: "uri" }), /only 'enum' and 'date-time'/],
    [schema({ type: "STRING", enum: [""] }), /cannot be empty/],
    [schema({ type: "STRING", enum: [1] }), /TYPE_STRING/],
    [schema({ type: "OBJECT", required: ["b"] }), /required\[0\]: property is not defined/],
    [schema({}), /type: must be specified/],
    [{ contents: x, tools: [...tools, ...tools] }, /Duplicate/],
    [{ contents: x, tools: [{ functionDeclarations: [{ name: "1x" }] }] }, /Invalid function name/],
    [
      {
        contents: x,
        tools: [{ functionDeclarations: [{ name: "f", parameters, parametersJsonSchema: {} }] }],
      },
      /mutually exclusive/,
    ],
    [{ contents: x, tools: [...tools, { googleSearch: {} }] }, /cannot be combined/],
    [calling({ mode: "REQUIRED" }), /mode/],
    [calling({ mode: "AUTO", allowedFunctionNames: ["helloWorld"] }), /ANY/],
    [calling({ mode: "ANY", allowedFunctionNames: ["other"] }), /'other'/],
    [calling({ mode: "ANY" }, {}), /without function_declarations/],
    [{ contents: x, cachedContent: "abc" }, /Invalid CachedContent name/],
    [{ contents: x, tools, cachedContent: "cachedContents/abc" }, /can not be used/],
  ];
  for (const [body, told, of] of cases) await refused(body, told, of);
  assert.equal((await post("{")).status, 400);
});

test("a key may come in three ways, and a bad one has Google's statuses", async () => {
  const body = { contents: [user("Say hi")] };
  const status = async (headers, query = "") => {
    const reply = await post(body, { headers, method: `generateContent${query}` });
    const { error } = await reply.json();
    return [reply.status, error?.status, error?.details?.[0].reason];
  };
  const good = [200, undefined, undefined],
    invalid = [400, "INVALID_ARGUMENT", "API_KEY_INVALID"];
  assert.deepEqual(await status({ "x-goog-api-key": "k" }), good);
  assert.deepEqual(await status({}, "?key=k"), good);
  assert.deepEqual(await status({ authorization: "Bearer k" }), good);
  assert.deepEqual(await status({}), [403, "PERMISSION_DENIED", undefined]);
  assert.deepEqual(await status({ "x-goog-api-key": "invalid-key" }), invalid);
  assert.deepEqual(await status({ authorization: "Bearer invalid-key" }), [
    401,
    "UNAUTHENTICATED",
    undefined,
  ]);
  assert.deepEqual(await status({ "x-goog-api-key": "msk_leaked" }), invalid);
  assert.deepEqual(await status({ "x-goog-api-key": "k", authorization: "Bearer msk_leaked" }), invalid);
});

test("a blocked prompt has no candidates, a filtered answer no content", async () => {
  const body = { contents: [user("Say one two")] };
  const { responseId, ...blocked } = await answer(body, `${PLAIN};blocked`);
  assert.ok(responseId);
  assert.deepEqual(blocked, {
    promptFeedback: { blockReason: "SAFETY" },
    usageMetadata: {
      promptTokenCount: 3,
      totalTokenCount: 3,
      promptTokensDetails: [{ modality: "TEXT", tokenCount: 3 }],
    },
    modelVersion: PLAIN,
  });
  const [only, ...more] = events(await sse(body, `${PLAIN};blocked`));
  assert.deepEqual([only.promptFeedback, only.candidates, more], [blocked.promptFeedback, undefined, []]);
  const ends = { finishReason: "SAFETY", index: 0 };
  const { safetyRatings, ...filtered } = (await answer(body, `${PLAIN};filtered`)).candidates[0];
  assert.deepEqual([filtered, safetyRatings[0].blocked], [ends, true]);
  const chunks = events(await sse(body, `${PLAIN};filtered`));
  assert.equal(partsOf(chunks[0])[0].text, "one");
  assert.deepEqual(chunks.at(-1).candidates[0], { ...ends, safetyRatings });
  assert.equal((await at.chat({ model: "gpt-x;blocked", messages: [] })).status, 400);
});

test("faults come as they do in other dialects", async () => {
  const body = { contents: [user("Say a b c d e")] };
  const failing = events(await sse(body, `${PLAIN};error`));
  assert.deepEqual(
    failing.slice(0, -1).map((chunk) => partsOf(chunk)[0].text),
    ["a", " b"],
  );
  const error = {
    code: 500,
    message: "The sandbox was told to fail in the middle of the answer.",
    status: "INTERNAL",
  };
  assert.deepEqual(failing.at(-1), { error });
  assert.deepEqual(JSON.parse(await list(body, `${PLAIN};error`)).at(-1), { error });
  assert.deepEqual(await answer(body, `${PLAIN};error`), { error });

  const limited = await post(body, { of: `${PLAIN};status=429` });
  assert.equal(limited.status, 429);
  assert.deepEqual((await limited.json()).error.details, [
    { "@type": "type.googleapis.com/google.rpc.RetryInfo", retryDelay: "2s" },
  ]);
  assert.deepEqual(
    JSON.parse(await list(body, `${PLAIN};status=503`)).map((one) => one.error.status),
    ["UNAVAILABLE"],
  );
  await assert.rejects(async () => sse(body, `${PLAIN};cut=100`));
  const unended = await list(body, `${PLAIN};nodone`);
  assert.throws(() => JSON.parse(unended), SyntaxError);
  assert.ok(JSON.parse(`${unended}]`).every(({ candidates }) => !candidates[0].finishReason));
  await assert.rejects(async () => events(await sse(body, `${PLAIN};garbage`)), SyntaxError);
  const commented = await sse(body, `${PLAIN};comments;pad=10`);
  assert.match(commented, /\r\n\r\n: PROCESSING\r\n\r\ndata: \{"candidates": [^\n]*"obfuscation": "x{10}"\}/);
});

test("tokens are counted of contents or of a whole request", async () => {
  const count = async (body) => {
    const reply = await post(body, { of: SECOND, method: "countTokens" });
    return [reply.status, await reply.json()];
  };
  const contents = [user("Say hi there")];
  const counted = (tokenCount) => [
    200,
    { totalTokens: tokenCount, promptTokensDetails: [{ modality: "TEXT", tokenCount }] },
  ];
  assert.deepEqual(await count({ contents }), counted(3));
  const request = { model: `models/${SECOND}`, contents, systemInstruction: { parts: [{ text: "1234" }] } };
  assert.deepEqual(await count({ generateContentRequest: request }), counted(4));
  for (const body of [
    {},
    { contents, systemInstruction: request.systemInstruction },
    { contents, generateContentRequest: request },
    { generateContentRequest: { ...request, model: undefined } },
  ])
    assert.equal((await count(body))[0], 400, JSON.stringify(body));
});

test("models are listed in Google's own shape, page by page, and told one by one", async () => {
  const get = async (path) => {
    const reply = await fetch(at.sandbox.url + path, { headers: { "x-goog-api-key": "k" } });
    return [reply.status, await reply.json()];
  };
  const [, { models, nextPageToken }] = await get("/v1beta/models");
  assert.equal(nextPageToken, undefined);
  assert.ok(models.every(({ name }) => name.startsWith("models/")));
  assert.deepEqual(
    models.filter(({ supportedGenerationMethods: able }) => !able.includes("generateContent")).length,
    1,
  );
  const [, first] = await get("/v1beta/models?pageSize=2");
  const [, rest] = await get(`/v1beta/models?pageSize=50&pageToken=${first.nextPageToken}`);
  assert.deepEqual([...first.models, ...rest.models], models);
  assert.deepEqual(await get(`/v1beta/${models[0].name}`), [200, models[0]]);
  const [status, { error }] = await get("/v1beta/models/gemini-none");
  assert.deepEqual([status, error.code, error.status], [404, 404, "NOT_FOUND"]);
});

test("the log shows these requests as it shows others", async () => {
  const body = { contents: [user("Say hi")] };
  await sse(body, `${PLAIN};delay=1`);
  const entry = at.sandbox.requests.at(-1);
  assert.deepEqual(
    [entry.method, entry.path, entry.body, entry.finished, entry.bytesSent > 0],
    ["POST", `/v1beta/models/${PLAIN};delay=1:streamGenerateContent?alt=sse`, body, true, true],
  );
});
