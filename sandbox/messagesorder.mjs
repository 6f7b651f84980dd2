// Owns: what must hold between the messages of a Messages request: who speaks when, calls and results, thinking first.
// Invariant: looked at as raw messages, because these rules are about neighbours and not about meaning.

import { invalid } from "./conversation.mjs";

const refuse = (path, told) => {
  throw invalid(`${path}: ${told}`, path);
};
const blocksOf = (message) => (Array.isArray(message?.content) ? message.content : []);
const isThinking = ({ type }) => type === "thinking" || type === "redacted_thinking";

export function checkOrder({ messages }, model, thinking) {
  if (messages[0].role !== "user") refuse("messages.0.role", "the first message must be the user's.");
  checkSystemTurns(messages, model);
  checkToolTurns(messages);
  messages.forEach(checkThinkingEnds);
  if (thinking?.type === "enabled") {
    messages.forEach(checkThinkingFirst);
    checkThinkingKept(messages);
  }
  checkEnding(messages, model);
}

// "claude-opus-4-8", "anthropic/claude-opus-4.8", "claude-3-5-haiku-latest", "claude-sonnet-4-20250514" -> 408, 408, 305, 400
function generation(model) {
  const found = /claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)/.exec(model);
  return found ? Number(found[1]) * 100 + Number(found[2] ?? 0) : 0;
}

// Claude Opus 4.8 brought system messages inside a conversation; earlier models, and whatever is no Claude, have none.
function checkSystemTurns(messages, model) {
  messages.forEach(({ role }, n) => {
    if (role !== "system") return;
    if (generation(model) < 408)
      throw invalid("role 'system' is not supported on this model", `messages.${n}.role`);
    if (messages[n - 1].role === "assistant")
      refuse(`messages.${n}`, "a system message must follow a user message.");
    if (messages[n + 1]?.role === "user")
      refuse(`messages.${n + 1}`, "a system message must be followed by the assistant's or be the last.");
  });
}

function checkToolTurns(messages) {
  messages.forEach((message, n) => {
    const asked = callIds(messages, n - 1),
      answered = new Set();
    blocksOf(message).forEach((block, k) => {
      if (block.type !== "tool_result") return;
      const id = block.tool_use_id;
      if (!asked.includes(id))
        refuse(
          `messages.${n}.content.${k}`,
          `unexpected \`tool_use_id\` in a \`tool_result\` block: ${id}. The message before it has no such \`tool_use\`.`,
        );
      if (answered.has(id)) refuse(`messages.${n}.content.${k}`, `more than one \`tool_result\` for ${id}.`);
      answered.add(id);
    });
    if (messages[n + 1]?.role === "assistant") return;
    const calls = callIds(messages, n),
      results = leadingResults(messages[n + 1]);
    // One id for calls of different turns is taken: other providers count theirs anew with every turn.
    if (new Set(calls).size < calls.length) refuse(`messages.${n}`, "`tool_use` ids must be unique.");
    const open = calls.filter((id) => !results.includes(id));
    if (open.length)
      refuse(
        `messages.${n}`,
        `\`tool_use\` ids without \`tool_result\` blocks at the start of the next message: ${open.join(", ")}.`,
      );
  });
}

// Assistant messages in a row count as one.
function callIds(messages, end) {
  let start = end + 1;
  while (messages[start - 1]?.role === "assistant") start--;
  return messages
    .slice(start, end + 1)
    .flatMap(blocksOf)
    .filter(({ type }) => type === "tool_use")
    .map(({ id }) => id);
}

// A text before the results counts as the next thing said, and the calls as never answered.
function leadingResults(message) {
  const blocks = blocksOf(message),
    end = blocks.findIndex(({ type }) => type !== "tool_result");
  return blocks.slice(0, end < 0 ? blocks.length : end).map(({ tool_use_id: id }) => id);
}

function checkThinkingEnds(message, n) {
  if (isThinking(blocksOf(message).at(-1) ?? {}))
    refuse(`messages.${n}`, "the final block of an assistant message cannot be thinking.");
}

// Adaptive models think between other blocks too.
function checkThinkingFirst(message, n) {
  const blocks = blocksOf(message);
  if (blocks.some(isThinking) && !isThinking(blocks[0]))
    refuse(`messages.${n}.content.0`, "a message with thinking blocks must begin with one.");
}

// Calls and results make one turn of the assistant, however many messages it takes; only its beginning has to think.
function checkThinkingKept(messages) {
  let n = messages.length;
  while (
    n > 0 &&
    (messages[n - 1].role !== "user" || blocksOf(messages[n - 1]).some(({ type }) => type === "tool_result"))
  )
    n--;
  while (messages[n]?.role === "system") n++;
  const first = messages[n];
  if (!first || isThinking(blocksOf(first)[0] ?? {})) return;
  const found = blocksOf(first)[0]?.type ?? "text";
  refuse(
    `messages.${n}.content.0.type`,
    `Expected \`thinking\` or \`redacted_thinking\`, but found \`${found}\`: with thinking enabled the assistant's last turn must begin with the thinking it was given.`,
  );
}

function checkEnding(messages, model) {
  const { role, content } = messages.at(-1);
  if (role !== "assistant") return;
  // Claude 4.6 and later no longer go on with an answer that is begun for them.
  if (generation(model) >= 406)
    throw invalid(
      "This model takes no beginning of its answer: the conversation must end with a user message.",
      "messages",
    );
  const text =
    typeof content === "string" ? content : content.at(-1)?.type === "text" ? content.at(-1).text : "";
  if (/\s$/.test(text))
    throw invalid("messages: final assistant content cannot end with trailing whitespace", "messages");
}
