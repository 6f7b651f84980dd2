// Owns: the simulated prompt cache behind cache_control: what a prompt reads from it, and what it leaves there.
// Invariant: input, read and created tokens always add up to the whole prompt; a prefix is read only by the key and
// the model it was written for.

import { createHash } from "node:crypto";

const ENTRIES_AT_MOST = 10_000;
// Anthropic looks this many blocks back from a breakpoint for an earlier one: how a growing conversation hits.
const LOOKBACK = 20;

/** The prompt in the order it is cached in: [{ json, size, ttl }], `ttl` being null where there is no breakpoint. */
function pieces(body) {
  const piece = (value, where) => ({
    json: JSON.stringify([where, value], withoutMarks),
    size: sizeOf(value),
    ttl: ttlOf(value),
  });
  const blocks = (content, where) =>
    (typeof content === "string" ? [{ type: "text", text: content }] : (content ?? [])).map((block) =>
      piece(block, where),
    );
  const all = [
    ...(body.tools ?? []).map((tool) => piece(tool, "tool")),
    ...blocks(body.system, "system"),
    ...body.messages.flatMap(({ role, content }) => blocks(content, role)),
  ];
  if (body.cache_control && all.length) all.at(-1).ttl ??= body.cache_control.ttl ?? "5m";
  return all;
}

// As promptTokens measures it, so that a prefix has the same size whatever comes after it.
function sizeOf({ type, text = "", name = "", input, input_schema: parameters, content = "" }) {
  if (parameters) return JSON.stringify({ name, parameters }).length + 1;
  if (type === "tool_use") return name.length + JSON.stringify(input).length;
  if (type === "tool_result")
    return typeof content === "string"
      ? content.length
      : (content ?? []).reduce((sum, inner) => sum + sizeOf(inner), 0);
  return text.length;
}

// A breakpoint moves on with every turn; the text it stood at stays the same prefix.
const withoutMarks = (key, value) => (key === "cache_control" ? undefined : value);

const ttlOf = (block) =>
  marksOf(block)
    .map(({ ttl }) => ttl ?? "5m")
    .at(-1) ?? null;

/** The cache_control objects of a block, those inside a tool result included. */
export const marksOf = (block) =>
  [
    ...(Array.isArray(block.content) ? block.content.map((inner) => inner?.cache_control) : []),
    block.cache_control,
  ].filter(Boolean);

/** The input side of `usage`, for a prompt of `total` tokens; `store` remembers it. */
export function cachedUsage(body, { model, key, total }, store) {
  const all = pieces(body),
    marked = all.flatMap(({ ttl }, n) => (ttl ? [n] : []));
  const { hashes, tokensAt } = marked.length ? measure(all, `${key}\n${model}`, total) : {};
  const read = Math.max(-1, ...marked.map((mark) => lastKnown(hashes, mark, store)));
  const created = { "5m": 0, "1h": 0 };
  let from = read;
  for (const mark of marked) {
    remember(hashes[mark], store);
    if (mark <= from) continue;
    created[all[mark].ttl] += tokensAt(mark) - tokensAt(from);
    from = mark;
  }
  return {
    input_tokens: marked.length ? total - tokensAt(from) : total,
    cache_creation_input_tokens: created["5m"] + created["1h"],
    cache_read_input_tokens: marked.length ? tokensAt(read) : 0,
    cache_creation: { ephemeral_5m_input_tokens: created["5m"], ephemeral_1h_input_tokens: created["1h"] },
  };
}

function measure(all, seed, total) {
  const hashes = [],
    ends = [];
  let hash = seed,
    end = 0;
  for (const { json, size } of all) {
    hash = createHash("sha256").update(`${hash}\n`).update(json).digest("base64");
    end += size;
    hashes.push(hash);
    ends.push(end);
  }
  return { hashes, tokensAt: (n) => (n < 0 ? 0 : Math.min(total, Math.ceil(ends[n] / 4))) };
}

function lastKnown(hashes, mark, store) {
  for (let n = mark; n >= Math.max(0, mark - LOOKBACK); n--) if (store.has(hashes[n])) return n;
  return -1;
}

// There is no least length and no expiry here, unlike the real cache, so that short tests can see it work.
function remember(hash, store) {
  store.delete(hash);
  if (store.size >= ENTRIES_AT_MOST) store.delete(store.keys().next().value);
  store.add(hash);
}
