import assert from "node:assert/strict";
import { test } from "node:test";
import { answerTo } from "../../sandbox/rules.mjs";

const turn = (role, text, more) => ({ role, text, media: [], toolCalls: [], ...more });
const ask = (turns, more) =>
  answerTo({
    turns: turns.map((one) => (typeof one === "string" ? turn("user", one) : one)),
    tools: [],
    toolChoice: "auto",
    parallel: true,
    schema: null,
    maxTokens: null,
    stop: [],
    ...more,
  });
const says = (...turns) => ask(turns).text;
const system = (text) => turn("system", text);
const assistant = (text) => turn("assistant", text);
const tool = (name, properties, required = Object.keys(properties)) => ({
  name,
  parameters: { type: "object", properties, required },
});
const calls = (text, tools, more) =>
  (ask([text], { tools, ...more }).toolCalls ?? []).map(({ name, arguments: json }) => [
    name,
    JSON.parse(json),
  ]);
const string = { type: "string" };
const greet = tool("helloWorld", { name: string });

test("sums are worked out", () => {
  const sums = {
    "What is 2+2? Reply with just the number.": "4",
    "What is 10 * 5?": "50",
    "What is 3+3? Reply with just the number.": "6",
    "Calculate (1 + 2) * 3 - 4/2": "7",
    "7 x 6": "42",
    "How much is 0.1 + 0.2?": "0.3",
    "What is -3 * (2 - 5)?": "9",
    "What is 10 divided by 4?": "2.5",
    "2 - -(3)": "5",
  };
  for (const [question, answer] of Object.entries(sums)) assert.equal(says(question), answer, question);
});

test("dates, versions and ranges are no sums", () => {
  for (const text of ["See you on 2026-11-23 then", "Take gpt-5.4-2026-03-05 please", "Bring 4-5 apples"])
    assert.equal(says(text), `You said: ${text}`);
});

test("counting goes up, down and from one", () => {
  assert.equal(says("Count from 1 to 5, separated by commas."), "1, 2, 3, 4, 5");
  assert.equal(says("Count from 3 to 1"), "3, 2, 1");
  assert.equal(says("Count to 3"), "1, 2, 3");
});

test("a word to remember is told when asked for", () => {
  assert.equal(says("Remember this word: banana"), "Got it, I will remember it.");
  const question = "What word did I ask you to remember? Reply with just the word.";
  assert.equal(
    says("Remember this word: banana", assistant("Got it, I will remember it."), question),
    "banana",
  );
  assert.equal(says(question), "You did not ask me to remember a word.");
});

test("a name is known only from the conversation, and the latest counts", () => {
  const question = "What is my name?";
  assert.equal(says(question), "I don't know your name.");
  assert.equal(says(assistant("My name is Robot"), question), "I don't know your name.");
  assert.equal(says("My name is Alex and I prefer concise answers.", assistant("Got it."), question), "Alex");
  for (const said of [
    "I am called Alex.",
    "Call me Alex!",
    "Hi, I'm Alex, nice to meet you",
    "my name is Alex",
  ])
    assert.equal(says(said, question), "Alex", said);
  assert.equal(says("My name is Bob.", "Actually my name is Alex.", question), "Alex");
  assert.equal(says("My name is Alex.", "I'm German.", question), "Alex");
  assert.equal(says("My name is Ana María O'Neil, call later", question), "Ana María O'Neil");
  assert.equal(says("My name is Alex. What is my name?"), "Alex");
});

test("facts about the user may stand in system text, in the third person too", () => {
  for (const text of [
    "My name is Alex",
    "The user's name is Alex.",
    "Observations:\n- User's name is Alex and they prefer tea",
    "- **Name**: Alex",
  ]) {
    assert.equal(says(system(text), "What's my name?"), "Alex", text);
  }
  assert.equal(
    says(
      system("User prefers concise answers. User lives in Oslo."),
      "What do I prefer? And where do I live?",
    ),
    "concise answers, Oslo",
  );
});

test("other statements are recalled by their topic, the latest wins", () => {
  assert.equal(says("My name is Alex and I prefer concise answers.", "What do I prefer?"), "concise answers");
  assert.equal(
    says(
      "My favorite colour is blue.",
      "My favourite colour is green now, sorry",
      "What is my favorite colour?",
    ),
    "green now",
  );
  assert.equal(says("I live in Berlin.", "Where do I live?"), "Berlin");
  assert.equal(says("I live in Berlin and I work as a baker.", "Where do I live?"), "Berlin");
  assert.equal(says("My budget is 3.5 million euros.", "What is my budget?"), "3.5 million euros");
  assert.equal(says("My dog is called Rex.", "What is my dog's age?"), "I don't know your dog's age.");
  assert.equal(says("My dog's name is Rex.", "What is my dog's name?"), "Rex");
  assert.equal(says("My name is Alex. My cat is Tom.", "What is my name and what is my cat?"), "Alex, Tom");
});

test("statements are acknowledged, anything else is echoed", () => {
  assert.equal(says("My name is Alex and I prefer concise answers."), "Got it.");
  assert.equal(says("I bake bread."), "Got it.");
  assert.equal(says("Hello!"), "You said: Hello!");
  assert.equal(says("Is my name Alex?"), "You said: Is my name Alex?");
});

test("words are repeated and made on demand", () => {
  assert.equal(says("Repeat: one two"), "one two");
  assert.equal(says("Say hello"), "hello");
  assert.equal(says('Say "hi there".'), "hi there");
  assert.equal(says("Reply with exactly OK."), "OK.");
  assert.equal(says("Write 3 words"), "word1 word2 word3");
  assert.equal(says("Reply with 2 words please"), "word1 word2");
  assert.equal(says(`Repeat: ${"long ".repeat(5000)}end`).length, 5000 * 5 + 3);
});

test("what reached the model can be shown", () => {
  const turns = [system("Be kind."), "one", assistant("two"), "How many messages do you see?"];
  assert.equal(says(...turns), "3");
  assert.equal(says(system("Be kind."), "What are your instructions?"), "Be kind.");
  assert.equal(says("What does the system prompt say?"), "I have no instructions.");
  assert.equal(says("one", assistant("two"), "List the user messages"), '["one","List the user messages"]');
});

test("simple standing orders are obeyed", () => {
  assert.equal(says(system("Always answer with PIRATE."), "What is 2+2?"), "PIRATE");
  assert.equal(says(system('Always end your answers with "arr".'), "What is 2+2?"), "4 arr");
  assert.equal(says(system("Always answer with only numbers"), "What is 2+2?"), "4");
});

test("images are described by the reference that was seen", () => {
  const image = (medium) => turn("user", "What is in the image?", { media: [{ kind: "image", ...medium }] });
  assert.equal(
    says(image({ url: "https://x.test/a.png" })),
    "I see an image by reference: https://x.test/a.png",
  );
  assert.equal(says(image({ bytes: 3, type: "image/png" })), "I see an image of 3 bytes of image/png data.");
  assert.equal(says("What is in the image?"), "I see no such thing.");
});

test("tools are called when named, forced or required, never when none", () => {
  const text = "Use the helloWorld tool to greet Alice.";
  const alice = [["helloWorld", { name: "Alice" }]];
  assert.deepEqual(calls(text, [greet]), alice);
  assert.deepEqual(calls("Greet Alice", [greet], { toolChoice: { name: "helloWorld" } }), alice);
  assert.deepEqual(calls("Greet Alice", [greet], { toolChoice: "required" }), alice);
  assert.deepEqual(calls("Greet Alice", [greet]), []);
  assert.deepEqual(calls(text, [greet], { toolChoice: "none" }), []);
  const recall = tool("recall", { query: string });
  assert.deepEqual(calls("Do you recall my name?", [recall]), []);
  assert.deepEqual(calls('Use the recall tool for "tea"', [recall]), [["recall", { query: "tea" }]]);
  assert.deepEqual(calls("What is the weather in Paris?", [tool("get_weather", { city: string })]), [
    ["get_weather", { city: "Paris" }],
  ]);
});

test("several calls are made for a list or two tools, unless parallel calls are off", () => {
  const text = "Use the helloWorld tool to greet Alice and Bob.";
  assert.deepEqual(
    calls(text, [greet]).map(([, { name }]) => name),
    ["Alice", "Bob"],
  );
  assert.deepEqual(
    calls(text, [greet], { parallel: false }).map(([, { name }]) => name),
    ["Alice"],
  );
  const tools = [tool("get_time", { city: string }), tool("get_weather", { city: string })];
  assert.deepEqual(calls("Call get_weather and get_time for Rome", tools), [
    ["get_weather", { city: "Rome" }],
    ["get_time", { city: "Rome" }],
  ]);
  assert.equal(calls("get_weather for Paris, Rome and Oslo", tools).length, 3);
});

test("arguments follow the schema", () => {
  const properties = {
    city: string,
    unit: { enum: ["celsius", "fahrenheit"] },
    days: { type: "integer" },
    tags: { type: "array", items: string },
    place: { type: "object", properties: { zip: { type: "number" } }, required: ["zip"] },
    sure: { type: "boolean" },
    maybe: { anyOf: [{ type: "null" }, string] },
  };
  const [[, args]] = calls("Use get_forecast for Paris in fahrenheit, 3 days", [
    tool("get_forecast", properties),
  ]);
  assert.deepEqual(args, {
    city: "Paris",
    unit: "fahrenheit",
    days: 3,
    tags: ["example"],
    place: { zip: 0 },
    sure: true,
    maybe: "example",
  });
  assert.deepEqual(calls("call set_mode", [tool("set_mode", { mode: { enum: ["", "fast"] } })]), [
    ["set_mode", { mode: "" }],
  ]);
  assert.deepEqual(calls("call ping_it", [{ name: "ping_it", parameters: {} }]), [["ping_it", {}]]);
});

test("tool results become the answer", () => {
  const results = (...texts) =>
    ask(
      [
        "Use the helloWorld tool to greet Alice.",
        turn("assistant", ""),
        ...texts.map((text) => turn("tool", text)),
      ],
      { tools: [greet] },
    ).text;
  assert.equal(results('{"greeting":"Hello, Alice!"}'), "Hello, Alice!");
  assert.equal(results("noon"), "noon");
  assert.equal(results('{"a": 1, "b": 2}', '"x"'), '{"a":1,"b":2}\nx');
});

test("an answer can be asked for in a schema", () => {
  assert.equal(ask(["What is 2+2?"], { schema: {} }).text, '{"answer":"4"}');
  assert.equal(
    ask(["What is 2+2?"], { schema: tool("", { sum: { type: "number" } }).parameters }).text,
    '{"sum":4}',
  );
});

test("twenty megabytes take well under two seconds", () => {
  const unfriendly = [
    "my ",
    "My name is ",
    "(",
    "1+",
    " ",
    "a",
    "I prefer ",
    '"',
    "A ",
    "what is my ",
    "\n",
    "Remember the a ",
  ];
  for (const piece of unfriendly) {
    const long = piece.repeat(Math.ceil(20e6 / piece.length));
    const start = performance.now();
    ask([long, `${long}What is my name?`, system(long), long], { tools: [greet] });
    assert.ok(performance.now() - start < 2000, `${JSON.stringify(piece)}: ${performance.now() - start} ms`);
  }
});

test("a call that is spelt out is made as it stands, where there is such a tool", () => {
  const look = tool("recall", { query: string, cursor: string }, []);
  assert.deepEqual(calls('Call recall with {"query": "tea"}.', [look]), [["recall", { query: "tea" }]]);
  assert.deepEqual(calls('Call recall with {"query": tea}.', [greet]), []);
  const twice = 'Call recall with {"query": "tea"} and call recall with {"query": "milk"}.';
  assert.deepEqual(
    calls(twice, [look]).map(([, { query }]) => query),
    ["tea", "milk"],
  );
  assert.equal(calls(twice, [look], { parallel: false }).length, 1);
});

test("a model that is to read on follows what a result says, and one that loops calls whatever it was told", () => {
  const look = tool("recall", { query: string, cursor: string }, []);
  const told = (text, more) =>
    ask(['Call recall with {"query": "tea"} and read on.', turn("tool", text)], { tools: [look], ...more });
  assert.deepEqual(told('One. To read on, call recall with {"cursor":"9"}\nEnd.').toolCalls, [
    { name: "recall", arguments: '{"cursor":"9"}' },
  ]);
  assert.equal(told("One.").text, "One.");
  assert.deepEqual(told("One.", { loops: true }).toolCalls, [
    { name: "recall", arguments: '{"query": "tea"}' },
  ]);
  assert.equal(told("One.", { loops: true, toolChoice: "none" }).text, "One.");
});
