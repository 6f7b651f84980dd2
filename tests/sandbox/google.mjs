// Owns a sandbox that is asked in Google's dialect, and short ways to ask it. Not a test itself.

import assert from "node:assert/strict";
import { useSandbox } from "./provider.mjs";

export const at = useSandbox();
export const PLAIN = "gemini-2.0-flash";
export const SECOND = "gemini-2.5-flash";
export const THIRD = "gemini-3-flash-preview";
export const GREET = "Use the helloWorld tool to greet Alice.";
export const BOTH = "Use helloWorld to greet Bob and Eve.";

export const user = (...parts) => ({ role: "user", parts: parts.map(part) });
export const model = (...parts) => ({ role: "model", parts: parts.map(part) });
export const part = (given) => (typeof given === "string" ? { text: given } : given);
export const parameters = { type: "OBJECT", properties: { name: { type: "STRING" } }, required: ["name"] };
export const tools = [{ functionDeclarations: [{ name: "helloWorld", description: "Greets.", parameters }] }];
export const pair = {
  name: "pair_up",
  parameters: {
    type: "OBJECT",
    properties: { a: { type: "STRING" }, b: { type: "STRING" } },
    required: ["a", "b"],
  },
};
export const call = (name, more) => ({ functionCall: { name: "helloWorld", args: { name } }, ...more });
export const response = (result, more) => ({
  functionResponse: { name: "helloWorld", response: { result }, ...more },
});

export const post = (
  body,
  { of = PLAIN, method = "generateContent", headers = { "x-goog-api-key": "k" } } = {},
) => at.post(`/v1beta/models/${of}:${method}`, body, { key: null, headers });
export const answer = async (body, of) => (await post(body, { of })).json();
export const say = async (...contents) => (await answer({ contents })).candidates[0].content.parts[0].text;
export const sse = async (body, of) =>
  (await post(body, { of, method: "streamGenerateContent?alt=sse" })).text();
export const list = async (body, of) => (await post(body, { of, method: "streamGenerateContent" })).text();
export const partsOf = ({ candidates }) => candidates[0].content?.parts ?? [];

export async function refused(body, told, of) {
  const reply = await post(body, { of });
  const { error } = await reply.json();
  const about = `${JSON.stringify(body).slice(0, 300)} ${error?.message}`;
  assert.deepEqual([reply.status, error?.code, error?.status], [400, 400, "INVALID_ARGUMENT"], about);
  assert.match(error.message, told);
  return error;
}

/** The candidate a reader puts together from a stream. */
export function assembled(chunks) {
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
