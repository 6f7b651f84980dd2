// Owns how messages of other systems become lines of an import.
// Invariant: what has no place here is told as a problem, and the rest of the message is moved; ids stay.

const text = (value) => ({ type: "text", text: value });
const asText = (value) => (typeof value === "string" ? value : JSON.stringify(value ?? null));
const call = (id, name, args) => ({
  type: "tool_call",
  toolCallId: id,
  toolName: name,
  arguments: asText(args ?? {}),
});
const result = (id, value) => ({
  type: "tool_result",
  toolCallId: id,
  content:
    Array.isArray(value) && value.every((part) => part?.type === "text" && typeof part.text === "string")
      ? value
      : asText(value),
});

const SILENT = new Set(["step-start", "step-finish", "source", "source-url", "source-document"]);

function media(type, part) {
  const source =
    part.url ?? part.image_url?.url ?? part.image_url ?? part.image ?? part.data ?? part.file?.file_data;
  const fileId = part.fileId ?? part.file_id ?? part.file?.file_id;
  const about = {
    mediaType: part.mediaType ?? part.mimeType ?? undefined,
    name: part.name ?? part.filename ?? part.file?.filename ?? undefined,
  };
  if (typeof source === "string" && /^(https?|data):/.test(source)) return { type, url: source, ...about };
  if (typeof source === "string") return { type, data: source, ...about };
  return typeof fileId === "string" ? { type, fileId, ...about } : undefined;
}

/** A part of any known form: a list of parts of ours; undefined for one that has no place. */
function partsOf(part) {
  if (typeof part === "string") return [text(part)];
  switch (part?.type) {
    case "text":
    case "input_text":
    case "output_text":
      return typeof part.text === "string" ? [text(part.text)] : undefined;
    case "refusal":
      return [{ type: "refusal", refusal: asText(part.refusal) }];
    case "reasoning":
    case "thinking": {
      const said =
        part.text ||
        part.reasoning ||
        part.thinking ||
        part.details?.map(({ text: said }) => said ?? "").join("");
      return said ? [{ type: "reasoning", text: asText(said) }] : [];
    }
    case "tool_call":
      return [call(part.toolCallId, part.toolName, part.arguments)];
    case "tool-call":
      return [call(part.toolCallId, part.toolName, part.input ?? part.args)];
    case "tool-invocation": {
      const { toolCallId, toolName, args, state, result: value } = part.toolInvocation ?? {};
      if (!toolCallId || !toolName) return undefined;
      return [call(toolCallId, toolName, args), ...(state === "result" ? [result(toolCallId, value)] : [])];
    }
    case "tool_result":
      return [result(part.toolCallId, part.content)];
    case "tool-result":
      return [result(part.toolCallId, part.output?.value ?? part.output ?? part.result)];
    case "image":
    case "image_url":
    case "input_image":
      return media("image", part) && [media("image", part)];
    case "file":
    case "input_file": {
      const kind = /^image\//.test(part.mediaType ?? part.mimeType ?? "") ? "image" : "file";
      return media(kind, part) && [media(kind, part)];
    }
    default:
      return SILENT.has(part?.type) ? [] : undefined;
  }
}

/** When something was said, in Unix milliseconds: of a date's text, of milliseconds or of seconds. */
export function time(value) {
  if (typeof value === "number" && value > 0) return Math.round(value < 1e11 ? value * 1000 : value);
  const ms = typeof value === "string" ? Date.parse(value) : NaN;
  return Number.isNaN(ms) ? undefined : ms;
}

/**
 * The `said` lines of messages `{id, role, content, createdAt, name?}`, in order, and the problems. A message that holds a call
 * and its result becomes several, as they were said.
 */
export function saidLines(thread, messages, begin) {
  const lines = [];
  const problems = [];
  let at = begin;
  messages.forEach((message, index) => {
    const id = typeof message?.id === "string" && message.id ? message.id : `${thread}:${index}`;
    const problem = (why) => problems.push(`message ${id}: ${why}`);
    at = time(message?.createdAt) ?? at + 1;
    if (!["user", "assistant", "tool"].includes(message?.role))
      return problem(`messages of the role ${asText(message?.role)} are not stored`);
    let content = message.content;
    if (content && !Array.isArray(content) && typeof content === "object")
      content = content.parts ?? content.content;
    if (typeof content === "string") content = [text(content)];
    if (!Array.isArray(content)) return problem(`its content is ${asText(content).slice(0, 80)}`);
    const groups = [];
    for (const part of content) {
      const parts = partsOf(part);
      if (!parts) problem(`a part of the type ${asText(part?.type ?? part).slice(0, 80)} was left out`);
      for (const known of parts ?? []) {
        const role =
          known.type === "tool_result" ? "tool" : message.role === "tool" ? "assistant" : message.role;
        if (groups.at(-1)?.role !== role) groups.push({ role, parts: [] });
        groups.at(-1).parts.push(known);
      }
    }
    if (groups.length === 0) return problem("nothing of it could be moved");
    groups.forEach(({ role, parts }, at_) =>
      lines.push({
        ...{
          type: "said",
          thread,
          id: at_ === 0 ? id : `${id}:${at_ + 1}`,
          role,
          createdAt: at,
          content: parts,
        },
        ...(typeof message.name === "string" && { name: message.name }),
      }),
    );
  });
  return { lines, problems };
}
