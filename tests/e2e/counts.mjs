// Owns what a provider of every dialect says that counts tokens: its events, whole answers, and the ways to send them.
// Invariant: each dialect counts the same, so one row is right for all.
import { setTimeout as sleep } from "node:timers/promises";

export const COUNTS = { input: 100, output: 20, cached: 40, reasoning: 5 };
// 60 at 1 dollar a million, 40 at 0.5, 15 at 10, 5 at 20.
export const COST = 60_000 + 20_000 + 150_000 + 100_000;
export const chatUsage = {
  prompt_tokens: 100,
  completion_tokens: 20,
  total_tokens: 120,
  prompt_tokens_details: { cached_tokens: 40 },
  completion_tokens_details: { reasoning_tokens: 5 },
};
export const responsesUsage = {
  input_tokens: 100,
  output_tokens: 20,
  total_tokens: 120,
  input_tokens_details: { cached_tokens: 40 },
  output_tokens_details: { reasoning_tokens: 5 },
};
export const messagesUsage = {
  input_tokens: 60,
  cache_read_input_tokens: 40,
  output_tokens: 20,
  output_tokens_details: { thinking_tokens: 5 },
};
export const WORDS = "one two three four five six seven eight";

export const data = (value) => `data: ${typeof value === "string" ? value : JSON.stringify(value)}\n\n`;
export const named = (value) => `event: ${value.type}\ndata: ${JSON.stringify(value)}\n\n`;
export const chunk = (delta, finish_reason = null, more = {}) =>
  data({ id: "c", object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason }], ...more });
export const response = (status, usage) => ({
  id: "resp_1",
  object: "response",
  status,
  model: "m",
  output: [
    {
      id: "msg_1",
      type: "message",
      role: "assistant",
      status,
      content: [{ type: "output_text", text: WORDS, annotations: [] }],
    },
  ],
  usage,
});

/** The events of a streamed answer: what begins it, its words, what ends it. */
export const EVENTS = {
  chat: {
    head: [chunk({ role: "assistant", content: "" })],
    words: WORDS.split(" ").map((word) => chunk({ content: `${word} ` })),
    tail: [chunk({}, "stop"), data({ id: "c", choices: [], usage: chatUsage }), data("[DONE]")],
    failure: data({ error: { message: "It broke.", type: "server_error" } }),
  },
  responses: {
    head: [
      named({
        type: "response.created",
        sequence_number: 0,
        response: { ...response("in_progress"), output: [] },
      }),
      named({
        type: "response.output_item.added",
        output_index: 0,
        item: { id: "msg_1", type: "message", role: "assistant", status: "in_progress", content: [] },
      }),
      named({
        type: "response.content_part.added",
        item_id: "msg_1",
        output_index: 0,
        content_index: 0,
        part: { type: "output_text", text: "", annotations: [] },
      }),
    ],
    words: WORDS.split(" ").map((word) =>
      named({
        type: "response.output_text.delta",
        item_id: "msg_1",
        output_index: 0,
        content_index: 0,
        delta: `${word} `,
      }),
    ),
    tail: [named({ type: "response.completed", response: response("completed", responsesUsage) })],
    failure: named({
      type: "response.failed",
      response: { ...response("failed"), error: { code: "server_error", message: "It broke." } },
    }),
  },
  messages: {
    head: [
      named({
        type: "message_start",
        message: {
          id: "msg_1",
          type: "message",
          role: "assistant",
          model: "m",
          content: [],
          usage: { input_tokens: 60, cache_read_input_tokens: 40, output_tokens: 1 },
        },
      }),
      named({ type: "content_block_start", index: 0, content_block: { type: "text", text: "" } }),
    ],
    words: WORDS.split(" ").map((word) =>
      named({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text: `${word} ` } }),
    ),
    tail: [
      named({ type: "content_block_stop", index: 0 }),
      named({
        type: "message_delta",
        delta: { stop_reason: "end_turn" },
        usage: { output_tokens: 20, output_tokens_details: { thinking_tokens: 5 } },
      }),
      named({ type: "message_stop" }),
    ],
    failure: named({ type: "error", error: { type: "overloaded_error", message: "It broke." } }),
  },
};

export const WHOLE = {
  chat: {
    id: "c",
    object: "chat.completion",
    choices: [{ index: 0, message: { role: "assistant", content: WORDS }, finish_reason: "stop" }],
    usage: chatUsage,
  },
  responses: response("completed", responsesUsage),
  messages: {
    id: "msg_1",
    type: "message",
    role: "assistant",
    model: "m",
    content: [{ type: "text", text: WORDS }],
    stop_reason: "end_turn",
    usage: messagesUsage,
  },
};

export const stream =
  (events, then = (res) => res.end()) =>
  async (res) => {
    res.writeHead(200, { "content-type": "text/event-stream" });
    for (const event of events) {
      res.write(event);
      await sleep(2);
    }
    await then(res);
  };
export const json =
  (value, status = 200) =>
  (res) => {
    res.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
  };
export const cut = async (res) => {
  await sleep(20);
  res.socket.destroy();
};
export const hang = () => {};

export const COMPLETE = { outcome: "complete", status: 200, ...COUNTS, estimated: 0, cost: COST };
