// Owns: the model list. Invariant: it is only a sample; any model name is answered, listed or not.

import { openai, routesFor } from "./openai.mjs";

const MODELS = {
  openai: ["gpt-5.4-mini", "gpt-5.4", "gpt-4o", "text-embedding-3-small"],
  google: ["models/gemini-2.5-flash", "models/gemini-2.5-pro"],
  openrouter: ["google/gemini-2.5-flash", "openai/gpt-5.4-mini", "anthropic/claude-sonnet-4.5"],
};

export const models = {
  ...openai,
  routes: routesFor("GET", "/models"),

  answer: ({ flavour }) => ({
    whole: { object: "list", data: MODELS[flavour].map((id) => ({ id, object: "model", created: 1_750_000_000, owned_by: "sandbox" })) },
  }),
};
