// Owns: what the sandbox takes and refuses in Google's dialect, its faults, counts and models.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  answer,
  at,
  call,
  list,
  model,
  parameters,
  partsOf,
  PLAIN,
  post,
  refused,
  response,
  SECOND,
  sse,
  THIRD,
  tools,
  user,
} from "./google.mjs";
import { events } from "./provider.mjs";

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
