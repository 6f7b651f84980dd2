// Owns: OpenAI Embeddings on the wire.
// Invariant: the same text always gives the same unit vector, and texts that share words lie closer than texts that do not.

import { invalid } from "./conversation.mjs";
import { openai, routesFor } from "./openai.mjs";

const DIMENSIONS = 64;

export const embeddings = {
  ...openai,
  routes: routesFor("POST", "/embeddings"),

  answer({ body, model }) {
    const { input, dimensions = DIMENSIONS, encoding_format: encoding = "float" } = body;
    if (input === undefined || input === null)
      throw invalid("'input' is required.", "input", "missing_required_parameter");
    if (input.length === 0) throw invalid("'input' is empty.", "input", "invalid_value");
    if (!Number.isInteger(dimensions) || dimensions < 1 || dimensions > 4096)
      throw invalid("'dimensions' must be an integer from 1 to 4096.", "dimensions", "invalid_value");
    // A list of numbers is one text, already in tokens; any other list is several texts.
    const texts = Array.isArray(input) && typeof input[0] !== "number" ? input : [input];
    const data = texts.map((text, index) => {
      const vector = embed(Array.isArray(text) ? text.join(" ") : String(text), dimensions);
      return {
        object: "embedding",
        index,
        embedding:
          encoding === "base64" ? Buffer.from(Float32Array.from(vector).buffer).toString("base64") : vector,
      };
    });
    const tokens = texts.reduce((sum, text) => sum + Math.max(1, Math.ceil(text.length / 4)), 0);
    return { whole: { object: "list", data, model, usage: { prompt_tokens: tokens, total_tokens: tokens } } };
  },
};

function embed(text, dimensions) {
  const vector = new Array(dimensions).fill(0);
  for (const [word] of text.toLowerCase().matchAll(/[\p{L}\p{N}]+/gu)) {
    const hash = fnv1a(word);
    vector[hash % dimensions] += hash & 0x10000 ? 1 : -1;
  }
  const length = Math.hypot(...vector);
  if (length === 0) vector[0] = 1;
  return vector.map((value) => value / (length || 1));
}

function fnv1a(word) {
  let hash = 0x811c9dc5;
  for (let at = 0; at < word.length; at++) hash = Math.imul(hash ^ word.charCodeAt(at), 0x01000193) >>> 0;
  return hash;
}
