// Owns: whether the model calls tools, which, and with what arguments.
// Invariant: arguments always are JSON of the tool's schema, whatever the text says; only tools of the request are called.

const GENERIC = new Set([
  "get",
  "set",
  "fetch",
  "find",
  "look",
  "lookup",
  "up",
  "search",
  "current",
  "list",
  "read",
  "the",
  "a",
  "of",
  "for",
  "by",
]);
const NOT_NAMES = new Set(
  (
    "use call what whats where when who why how which please the a an and or tell get give find look search show check run " +
    "greet write say read list send i my me is are do does can could would you your in on at for with it this that then now yes no hello hi if"
  ).split(" "),
);

/**
 * [{ name, arguments }] or null. `question` is the last user text, `results` the texts of tool results that come last. A
 * model that `loops` calls again whatever it was told.
 */
export function callsFor({ tools, toolChoice, parallel, loops }, question, results) {
  if (toolChoice === "none" || tools.length === 0) return null;
  const spelt = speltOut(/\bread on\b/i.test(question) ? (results.at(-1) ?? "") : "", tools);
  if (spelt.length > 0) return spelt;
  const answering = results.length > 0 && !loops;
  const dictated = answering ? [] : speltOut(question, tools);
  if (dictated.length > 0) return parallel ? dictated : dictated.slice(0, 1);
  const named = tools
    .filter((tool) => mentions(question, tool.name))
    .sort((a, b) => placeOf(question, a.name) - placeOf(question, b.name));
  let chosen;
  if (toolChoice.name) chosen = tools.filter(({ name }) => name === toolChoice.name).slice(0, 1);
  else if (toolChoice === "required") chosen = named.length ? named : [tools[0]];
  // Results in hand are an answer's material; calling again would loop for ever.
  else chosen = answering ? [] : named;
  const calls = chosen.flatMap((tool) => callsOf(tool, question, parallel));
  if (calls.length === 0) return null;
  return parallel ? calls : calls.slice(0, 1);
}

/** The calls that a text spells out: `call recall with {"query": "tea"}`. */
function speltOut(text, tools) {
  const calls = text.matchAll(/\bcall (?:the )?([\w-]{1,64})(?: tool)? with (\{[^{}\n]{0,2000}\})/gi);
  return [...calls]
    .filter(([, name, json]) => tools.some((tool) => tool.name === name) && isJson(json))
    .map(([, name, json]) => ({ name, arguments: json }));
}

function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

const nameWords = (name) =>
  name
    .replace(/([\p{Ll}\d])(\p{Lu})/gu, "$1 $2")
    .toLowerCase()
    .split(/[^\p{L}\p{N}]+/u)
    .filter(Boolean);

const placeOf = (text, name) => {
  const at = text.toLowerCase().indexOf(name.toLowerCase());
  return at < 0 ? Infinity : at;
};

function mentions(text, name) {
  const words = nameWords(name),
    lower = text.toLowerCase();
  const spoken = [...new Set([name.toLowerCase(), words.join(" ")])];
  // "recall" is also a word, so a name of one word counts only where it is spoken of as a tool.
  const asTool = (phrase) =>
    [
      `use ${phrase}`,
      `use the ${phrase}`,
      `call ${phrase}`,
      `call the ${phrase}`,
      `${phrase} tool`,
      `${phrase} function`,
      `\`${phrase}\``,
    ].some((form) => holds(lower, form));
  if (spoken.some((phrase) => asTool(phrase) || (words.length > 1 && holds(lower, phrase)))) return true;
  const telling = words.filter((word) => !GENERIC.has(word));
  return (
    words.length > 1 &&
    telling.length > 0 &&
    lower.includes("?") &&
    telling.every((word) => holds(lower, word))
  );
}

function holds(text, phrase) {
  // An empty choice of an enum is found everywhere, for ever.
  if (phrase === "") return false;
  for (let at = text.indexOf(phrase); at >= 0; at = text.indexOf(phrase, at + 1)) {
    if (!/[\p{L}\p{N}_]/u.test(text[at - 1] ?? "") && !/[\p{L}\p{N}_]/u.test(text[at + phrase.length] ?? ""))
      return true;
  }
  return false;
}

function callsOf({ name, parameters }, question, parallel) {
  const found = material(question, name);
  const call = (material) => ({ name, arguments: JSON.stringify(fill(parameters, material)) });
  const several = parallel && takesOneString(parameters) ? enumerated(question, found.names) : [];
  if (several.length < 2) return [call(found)];
  return several.map((only) => call({ ...found, names: [only] }));
}

const takesOneString = ({ properties = {} }) =>
  Object.values(properties).filter((schema) => schema?.type === "string" && !schema.enum).length === 1 &&
  !Object.values(properties).some((schema) => schema?.type === "array");

// Names joined by nothing but commas and "and" are a list of things to do the same with.
function enumerated(question, names) {
  const run = [];
  let end = 0;
  for (const name of names) {
    const at = question.indexOf(name, end);
    if (at < 0) continue;
    const between = question.slice(end, at);
    if (run.length && !/^["'”]?(?:,|,? and)(?: for| to| in)? ["'“]?$/.test(between)) {
      if (run.length > 1) break;
      run.length = 0;
    }
    run.push(name);
    end = at + name.length;
  }
  return run;
}

/** What a text offers to fill arguments from. */
function material(text, toolName = "") {
  const quoted = [
    ...text.matchAll(
      /"([^"\n]{1,500})"|“([^”\n]{1,500})”|(?<![\p{L}\p{N}])'([^'\n]{1,500})'(?![\p{L}\p{N}])/gu,
    ),
  ].map((match) => match[1] ?? match[2] ?? match[3]);
  const names = [],
    first = [];
  const isTool = new Set([toolName.toLowerCase(), ...nameWords(toolName)]);
  for (const { 0: name, index } of text.matchAll(
    /(?<![\p{L}\p{N}_])\p{Lu}[\p{L}\p{M}\p{N}'’-]{0,40}(?: \p{Lu}[\p{L}\p{M}\p{N}'’-]{0,40}){0,4}/gu,
  )) {
    const kept = name.split(" ");
    while (kept.length && (NOT_NAMES.has(kept[0].toLowerCase()) || isTool.has(kept[0].toLowerCase())))
      kept.shift();
    const word = kept.join(" ").replace(/['’]s$/, "");
    if (!word || word.includes("_")) continue;
    const startsSentence =
      kept.length === name.split(" ").length &&
      /(?:^|[.!?:\n])\s{0,3}$/.test(text.slice(Math.max(0, index - 4), index));
    (startsSentence ? first : names).push(word);
  }
  const numbers = [...text.matchAll(/(?<![\p{L}\d.])-?\d{1,15}(?:\.\d{1,15})?(?![\p{L}\d])/gu)].map(
    ([number]) => Number(number),
  );
  return { text, numbers, names: quoted.length ? quoted : names.length ? names : first };
}

/** A value of the schema, as JSON of it. Used for structured answers too. */
export const fillFrom = (schema, text) => fill(schema, material(text));

function fill(schema, found) {
  const left = { ...found, names: [...found.names], numbers: [...found.numbers] };
  const value = valueOf({ type: "object", ...schema }, "", left, schema, 0);
  return value;
}

const OWN_WORDS = /^(?:q|query|queries|question|text|input|prompt|message|content|body|expression|answer)$/i;

function valueOf(schema, name, left, root, depth) {
  if (depth > 12 || schema === null || typeof schema !== "object") return null;
  if (typeof schema.$ref === "string")
    return valueOf(referred(schema.$ref, root), name, left, root, depth + 1);
  if ("const" in schema) return schema.const;
  if (Array.isArray(schema.enum))
    return (
      schema.enum.find((choice) => holds(left.text.toLowerCase(), String(choice).toLowerCase())) ??
      schema.enum[0]
    );
  const variant = (schema.anyOf ?? schema.oneOf)?.find(({ type }) => type !== "null");
  if (variant) return valueOf(variant, name, left, root, depth + 1);
  if (Array.isArray(schema.allOf))
    return valueOf(Object.assign({}, ...schema.allOf), name, left, root, depth + 1);
  const type =
    [schema.type].flat().find((one) => one !== "null") ?? (schema.properties ? "object" : "string");
  if (type === "object") return objectOf(schema, left, root, depth);
  if (type === "array") return arrayOf(schema, name, left, root, depth);
  if (type === "number") return left.numbers.shift() ?? schema.default ?? schema.minimum ?? 0;
  if (type === "integer") return Math.trunc(left.numbers.shift() ?? schema.default ?? schema.minimum ?? 0);
  if (type === "boolean") return schema.default ?? !/\b(?:not|no|false|without|off)\b/i.test(left.text);
  if (type === "null") return null;
  if (schema.format === "date") return /\b\d{4}-\d\d-\d\d\b/.exec(left.text)?.[0] ?? "2026-01-01";
  if (schema.format === "email")
    return /[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}/.exec(left.text)?.[0] ?? "sandbox@example.com";
  if (OWN_WORDS.test(name)) return left.names.shift() ?? left.text.slice(0, 500);
  return left.names.shift() ?? schema.default ?? "example";
}

function objectOf({ properties = {}, required = [] }, left, root, depth) {
  const value = {};
  for (const [name, schema] of Object.entries(properties)) {
    if (required.includes(name)) value[name] = valueOf(schema, name, left, root, depth + 1);
  }
  // Optional fields last and only from what the text still offers, as a model would leave the rest out.
  for (const [name, schema] of Object.entries(properties)) {
    if (name in value || !offers(schema, left)) continue;
    value[name] = valueOf(schema, name, left, root, depth + 1);
  }
  return value;
}

const offers = (schema, { text, names, numbers }) =>
  Array.isArray(schema?.enum)
    ? schema.enum.some((choice) => holds(text.toLowerCase(), String(choice).toLowerCase()))
    : schema?.type === "string"
      ? names.length > 0
      : schema?.type === "number" || schema?.type === "integer"
        ? numbers.length > 0
        : false;

function arrayOf({ items = { type: "string" }, minItems = 1 }, name, left, root, depth) {
  const supply = items.enum
    ? []
    : items.type === "string"
      ? left.names
      : items.type === "number" || items.type === "integer"
        ? left.numbers
        : [];
  const count = Math.min(100, Math.max(supply.length, minItems));
  return Array.from({ length: count }, () => valueOf(items, name, left, root, depth + 1));
}

function referred(reference, root) {
  if (!reference.startsWith("#/")) return {};
  return (
    reference
      .slice(2)
      .split("/")
      .reduce((at, key) => at?.[key.replaceAll("~1", "/").replaceAll("~0", "~")], root) ?? {}
  );
}
