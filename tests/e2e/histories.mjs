// Owns: histories that one API allows and another may not, for the tests of how a thread goes on.
// Invariant: each is valid where it comes in: what makes a later request wrong is how it was written there.
import { assistant, user } from "./conversation.mjs";

// One pixel.
export const PNG =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/** As much as each dialect allows, as its clients with histories of their own send it. */
const HISTORIES = {
  chat: {
    messages: [
      { role: "developer", content: [{ type: "text", text: "Be kind." }] },
      { role: "user", name: "ann", content: "Hello." },
      { role: "assistant", content: [{ type: "text", text: "Hello, Ann." }] },
      user([
        { type: "text", text: "See and hear." },
        { type: "image_url", image_url: { url: "https://example.com/a.png" } },
        { type: "input_audio", input_audio: { data: "AAAA", format: "wav" } },
        { type: "file", file: { filename: "a.pdf", file_data: "data:application/pdf;base64,JVBERi0=" } },
      ]),
      { role: "assistant", content: null, refusal: "No." },
      user("Use both tools."),
      {
        role: "assistant",
        content: "I do.",
        tool_calls: [
          { id: "call_1", type: "function", function: { name: "helloWorld", arguments: "{}" } },
          { id: "call_2", type: "custom", custom: { name: "shout", input: "Hey!" } },
        ],
      },
      { role: "tool", tool_call_id: "call_1", content: [{ type: "text", text: "one" }] },
      { role: "tool", tool_call_id: "call_2", content: "two" },
      { role: "assistant", content: "one, two" },
      user("Go on."),
    ],
  },
  responses: {
    input: [
      { role: "developer", content: [{ type: "input_text", text: "Be kind." }] },
      { type: "message", ...user("Hello.") },
      {
        type: "message",
        id: "msg_1",
        status: "completed",
        role: "assistant",
        content: [{ type: "output_text", text: "Hello, Ann.", annotations: [], logprobs: [] }],
      },
      user([
        { type: "input_text", text: "See this." },
        { type: "input_image", image_url: "https://example.com/a.png", detail: "auto" },
        { type: "input_file", filename: "a.pdf", file_data: "data:application/pdf;base64,JVBERi0=" },
      ]),
      {
        type: "message",
        id: "msg_2",
        status: "completed",
        role: "assistant",
        content: [{ type: "refusal", refusal: "No." }],
      },
      user("Use all tools."),
      {
        type: "reasoning",
        id: "rs_1",
        summary: [{ type: "summary_text", text: "Hm." }],
        encrypted_content: "abc",
      },
      { type: "web_search_call", id: "ws_1", status: "completed", action: { type: "search", query: "a" } },
      {
        type: "function_call",
        id: "fc_1",
        call_id: "call_1",
        name: "helloWorld",
        arguments: "{}",
        status: "completed",
      },
      { type: "custom_tool_call", id: "ctc_1", call_id: "call_2", name: "shout", input: "Hey!" },
      { type: "function_call_output", call_id: "call_1", output: [{ type: "input_text", text: "one" }] },
      { type: "custom_tool_call_output", call_id: "call_2", output: "two" },
      { role: "assistant", content: "one, two" },
      user("Go on."),
    ],
  },
  messages: {
    max_tokens: 2_000,
    messages: [
      user([{ type: "text", text: "Hello.", cache_control: { type: "ephemeral" } }]),
      { role: "assistant", content: "Hello, Ann." },
      user([
        { type: "text", text: "See these." },
        { type: "image", source: { type: "url", url: "https://example.com/a.png" } },
        {
          type: "document",
          source: { type: "base64", media_type: "application/pdf", data: "JVBERi0=" },
          title: "a",
        },
        { type: "document", source: { type: "text", media_type: "text/plain", data: "b" } },
        {
          type: "search_result",
          source: "https://example.com",
          title: "c",
          content: [{ type: "text", text: "c" }],
          citations: { enabled: false },
        },
      ]),
      {
        role: "assistant",
        content: [
          { type: "text", text: "I do." },
          { type: "tool_use", id: "toolu_1", name: "helloWorld", input: {} },
          { type: "tool_use", id: "toolu_2", name: "helloWorld", input: { name: "Bob" } },
        ],
      },
      user([
        { type: "tool_result", tool_use_id: "toolu_1", is_error: true, content: "It failed." },
        {
          type: "tool_result",
          tool_use_id: "toolu_2",
          content: [
            { type: "text", text: "two" },
            { type: "image", source: { type: "base64", media_type: "image/png", data: PNG } },
          ],
        },
        { type: "text", text: "Go on." },
      ]),
    ],
  },
};

const chat = (...messages) => ({ dialect: "chat", body: { messages } });
const call = (id, json = "{}", content = null) => ({
  role: "assistant",
  content,
  tool_calls: [{ id, type: "function", function: { name: "helloWorld", arguments: json } }],
});
const result = (id, content = "done") => ({ role: "tool", tool_call_id: id, content });
const TOOL = { type: "function", function: { name: "helloWorld", parameters: { type: "object" } } };

/** By name: the dialect a history comes in, the body, and knobs of the sandbox where its answer is to be odd. */
export const BEGINNINGS = {
  ...Object.fromEntries(
    Object.entries(HISTORIES).map(([dialect, body]) => [`all that ${dialect} allows`, { dialect, body }]),
  ),
  "an empty answer": { ...chat(user("a")), knobs: ";words=0" },
  "an empty question": chat(user("")),
  "a question of white space": chat(user(" \n")),
  "an empty result": chat(user("a"), call("call_1"), result("call_1", "")),
  "a call whose arguments are no JSON": chat(user("a"), call("call_1", '{"na'), result("call_1")),
  "a call with an id that only Chat allows": chat(user("a"), call("call:1.2/3"), result("call:1.2/3")),
  "a call beside an empty text": chat(user("a"), call("call_1", "{}", ""), result("call_1"), user("b")),
  "a call that the limit cut": {
    dialect: "chat",
    body: { messages: [user("Use the helloWorld tool.")], tools: [TOOL], max_tokens: 1 },
  },
  "a call with a name that only Responses allows": {
    dialect: "responses",
    body: {
      input: [
        user("a"),
        { type: "function_call", call_id: "call_1", name: "hello.World", arguments: "{}" },
        { type: "function_call_output", call_id: "call_1", output: "b" },
        user("c"),
      ],
    },
  },
  "several questions in a row": chat(user("a"), user("b"), user("c")),
  "an answer before any question": chat(assistant("How can I help?"), user("a")),
  "an answer that ends in white space": chat(user("a"), assistant("b \n"), user("c")),
};
