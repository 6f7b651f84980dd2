// Owns: the thinking that comes before an answer, and the signatures it is known by when it comes back.
// Invariant: a signature is a function of the text it is sent with and of nothing else, so it can be checked without
// remembering anything, and a gateway that changes, drops or makes up either of the two is found out.

import { createHash } from "node:crypto";

// Anthropic documents a magic text of this beginning that makes its models redact their thinking.
const REDACT = "ANTHROPIC_MAGIC_STRING_TRIGGER_REDACTED_THINKING";
const REDACTED = "redacted by the sandbox";

export const signatureOf = (thinking) =>
  `EsandboxC${createHash("sha512").update(`sandbox\n${thinking}`).digest("base64")}`;

/** What is thought about a conversation. */
export const thoughtOn = ({ turns }) =>
  `The question begins "${asked(turns).slice(0, 40)}". A fixed rule answers it.`;

const asked = (turns) => turns.findLast(({ role }) => role === "user")?.text ?? "";

/** The block an answer begins with; null if thinking was not asked for. */
export function thoughtsOn({ turns }, thinking) {
  if (thinking === null) return null;
  if (asked(turns).includes(REDACT)) return { type: "redacted_thinking", data: signatureOf(REDACTED) };
  // Without its text the block is sent with the signature of no text: that is what will come back.
  const text = thinking.display === "omitted" ? "" : thoughtOn({ turns });
  return { type: "thinking", thinking: text, signature: signatureOf(text) };
}

/** Whether a block that came back is, to the byte, one that was sent. */
export const isGenuine = (block) =>
  block.type === "redacted_thinking"
    ? block.data === signatureOf(REDACTED)
    : block.signature === signatureOf(block.thinking);
