// Owns: what must hold between the contents of a Gemini request: calls and their results, and the signatures of thoughts.
// Invariant: a signature is a function of the call or the text it was sent with and of nothing else, so one that is
// dropped, made up or put on another call is found out without remembering anything.
// Source: https://ai.google.dev/gemini-api/docs/thought-signatures

import { createHash } from "node:crypto";
import { invalid } from "./conversation.mjs";

// Google lets these stand for the signature of a call that another model made.
const DUMMIES = ["skip_thought_signature_validator", "context_engineering_is_the_way_to_go"];

const digest = (...of) =>
  createHash("sha512")
    .update(["sandbox gemini", ...of].join("\n"))
    .digest("base64");

// The arguments are a map, so their order means nothing.
const canonical = (value) =>
  value !== null && typeof value === "object"
    ? Array.isArray(value)
      ? value.map(canonical)
      : Object.fromEntries(
          Object.keys(value)
            .sort()
            .map((key) => [key, canonical(value[key])]),
        )
    : value;

export const callSignature = ({ name, args = {} }) => digest("call", name, JSON.stringify(canonical(args)));
export const textSignature = (text) => digest("text", text);

const callsOf = (content) => (content?.parts ?? []).filter(({ functionCall }) => functionCall);
const responsesOf = (content) =>
  (content?.parts ?? []).flatMap(({ functionResponse }) => functionResponse ?? []);

/** `contents` are [{ role, parts, at }], `at` being the place in the request, and no two of the model are neighbours. */
export function checkOrder(contents, model) {
  contents.forEach((content, n) => {
    checkCallTurn(contents, n);
    checkResponses(contents, n);
    checkSignatures(content);
  });
  if (/^gemini-3/.test(model)) checkCurrentTurn(contents);
}

function checkCallTurn(contents, n) {
  if (callsOf(contents[n]).length === 0) return;
  if (n === 0)
    throw invalid(
      "Please ensure that function call turn comes immediately after a user turn or after a function response turn.",
      `contents[${contents[n].at}]`,
    );
  if (responsesOf(contents[n + 1]).length !== callsOf(contents[n]).length)
    throw invalid(
      "Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.",
      `contents[${contents[n].at}]`,
    );
}

function checkResponses(contents, n) {
  const responses = responsesOf(contents[n]),
    calls = callsOf(contents[n - 1]).map(({ functionCall }) => functionCall);
  if (responses.length && calls.length === 0)
    throw invalid(
      "Please ensure that function response turn comes immediately after a function call turn.",
      `contents[${contents[n].at}]`,
    );
  for (const { id, name } of responses) {
    const at = calls.findIndex(
      (call) => call.name === name && (id === undefined || call.id === undefined || call.id === id),
    );
    if (at < 0)
      throw invalid(
        `The function response \`${name}\` of contents[${contents[n].at}] matches no function call of the function call turn.`,
        `contents[${contents[n].at}]`,
      );
    calls.splice(at, 1);
  }
}

function checkSignatures({ parts, at }) {
  const text = parts.map((part) => (part.thought ? "" : (part.text ?? ""))).join("");
  for (const { thoughtSignature: signature, functionCall, thought } of parts) {
    if (!signature || DUMMIES.includes(signature)) continue;
    const genuine = functionCall ? callSignature(functionCall) : thought ? null : textSignature(text);
    // Base64 in Google's other alphabet means the same bytes.
    if (plain(signature) !== plain(genuine ?? ""))
      throw invalid(
        `Thought signature is not valid: that of contents[${at}] was not given with this ${functionCall ? `call of \`${functionCall.name}\`` : "text"}.`,
        `contents[${at}]`,
      );
  }
}

const plain = (base64) => base64.replaceAll("-", "+").replaceAll("_", "/").replace(/=+$/, "");

// The turn begins with what the user last said; each step of the model in it has to keep its first call's signature.
function checkCurrentTurn(contents) {
  const begun = contents.findLastIndex(
    ({ role, parts }) => role !== "model" && parts.some(({ functionResponse }) => !functionResponse),
  );
  contents.forEach((content, n) => {
    const first = callsOf(content)[0];
    if (n < begun || first === undefined || first.thoughtSignature) return;
    throw invalid(
      `Function call \`${first.functionCall.name}\` in the ${content.at + 1}. content block is missing a \`thought_signature\`. Learn more: https://ai.google.dev/gemini-api/docs/thought-signatures.`,
      `contents[${content.at}]`,
    );
  });
}
