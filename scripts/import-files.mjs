// Owns reading conversations from files: a ChatGPT export, and messages in OpenAI's format.
// Invariant: of a conversation with branches the one that was last looked at is moved; the others are told.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { basename, extname, join } from "node:path";
import { digest } from "./digest.mjs";
import { saidLines, time } from "./import-content.mjs";

/** The threads of a file or folder: `{name, version, read}`, or `{name, problem}` for what cannot be read. */
export function* readFiles({ path, isFolder, resource }) {
  const files = isFolder
    ? readdirSync(path)
        .sort()
        .map((name) => join(path, name))
    : [path];
  for (const file of files) {
    if (!statSync(file).isFile() || ![".json", ".jsonl"].includes(extname(file))) continue;
    const name = basename(file, extname(file));
    const written = Math.round(statSync(file).mtimeMs);
    let contents;
    try {
      const text = readFileSync(file, "utf8");
      contents =
        extname(file) === ".jsonl"
          ? text
              .split("\n")
              .filter((line) => line.trim())
              .map((line) => JSON.parse(line))
          : [JSON.parse(text)];
    } catch (error) {
      yield { name: file, problem: `it is not JSON: ${error.message}` };
      continue;
    }
    const isJsonl = extname(file) === ".jsonl";
    for (const [at, content] of contents.entries()) {
      if (Array.isArray(content) && content.some((entry) => entry?.mapping)) {
        for (const conversation of content) yield chatGpt(conversation, resource);
        continue;
      }
      if (content?.mapping) {
        yield chatGpt(content, resource);
        continue;
      }
      const id = isJsonl ? `${name}-${at + 1}` : name;
      const messages = Array.isArray(content) ? content : content?.messages;
      if (Array.isArray(messages)) yield messagesOf(id, messages, written, resource);
      else
        yield { name: `${file}${isJsonl ? ` line ${at + 1}` : ""}`, problem: "it holds no list of messages" };
    }
  }
}

function item(id, resource, title, [created, updated], messages, more = []) {
  return {
    name: `thread ${id}`,
    version: digest([], { messages, title }).slice(0, 16),
    read: () => {
      const { lines, problems } = saidLines(id, messages, created);
      return {
        thread: {
          type: "thread",
          thread: id,
          resourceId: resource,
          title,
          createdAt: created,
          updatedAt: updated,
        },
        said: lines,
        problems: [...problems, ...more],
      };
    },
  };
}

function messagesOf(id, messages, written, resource) {
  const read = messages.map((message, at) => {
    const content = [];
    const said = message?.content;
    if (message?.role === "tool" || message?.role === "function")
      content.push({
        type: "tool_result",
        toolCallId: message.tool_call_id ?? message.name ?? "",
        content: said,
      });
    else if (typeof said === "string") content.push(said);
    else if (Array.isArray(said)) content.push(...said);
    for (const { id: call, function: asked } of message?.tool_calls ?? [])
      content.push({
        type: "tool_call",
        toolCallId: call,
        toolName: asked?.name,
        arguments: asked?.arguments ?? "{}",
      });
    const role = message?.role === "function" ? "tool" : message?.role;
    return {
      ...{
        id: `${id}:${at}`,
        role,
        content,
        createdAt: time(message?.createdAt ?? message?.created_at) ?? written + at,
      },
      ...(role !== "tool" && message?.name && { name: message.name }),
    };
  });
  return item(id, resource, null, [read[0]?.createdAt ?? written, read.at(-1)?.createdAt ?? written], read);
}

/** The node from which nothing goes on that was made last. */
function newestLeaf(nodes) {
  const leaves = Object.values(nodes).filter(({ children }) => !children?.length);
  const at = ({ message }) => message?.create_time ?? 0;
  return leaves.sort((one, other) => at(one) - at(other)).at(-1)?.id;
}

function chatGpt(conversation, resource) {
  const nodes = conversation?.mapping;
  const id = conversation?.conversation_id ?? conversation?.id;
  const title = typeof conversation?.title === "string" && conversation.title ? conversation.title : null;
  const name = `conversation ${title ?? id ?? "without a name"}`;
  if (!nodes || typeof id !== "string") return { name, problem: "it has no messages or no id" };
  const path = [];
  const seen = new Set();
  let at = nodes[conversation.current_node] ? conversation.current_node : newestLeaf(nodes);
  while (at && nodes[at] && !seen.has(at)) {
    seen.add(at);
    path.unshift(nodes[at]);
    at = nodes[at].parent;
  }
  const others = Object.entries(nodes).filter(
    ([key, { children }]) => !children?.length && !seen.has(key),
  ).length;
  const problems = others > 0 ? [`${others} other branches were left out`] : [];
  const messages = [];
  for (const { message } of path) {
    const { author, content, create_time: created, metadata } = message ?? {};
    if (!message || metadata?.is_visually_hidden_from_conversation) continue;
    const parts = content?.parts ?? (content?.text !== undefined ? [content.text] : []);
    const isEmpty = parts.every((part) => part === "");
    if (isEmpty && author?.role !== "user") continue;
    if (author?.role === "tool") {
      problems.push(`message ${message.id}: a tool's output without its call was left out`);
      continue;
    }
    const known = parts.map((part) =>
      typeof part === "string" ? part : { ...part, type: part?.content_type },
    );
    messages.push({ id: message.id, role: author?.role, content: known, createdAt: time(created) });
  }
  const began = time(conversation.create_time) ?? messages[0]?.createdAt ?? Date.now();
  return item(id, resource, title, [began, time(conversation.update_time) ?? began], messages, problems);
}
