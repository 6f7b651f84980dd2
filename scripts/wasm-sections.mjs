// Owns what of a finished wasm file is shipped: the sections that only tools read can be left out.
// Invariant: every other section comes out byte for byte and in its order; a file that is not wasm is refused, never cut.
import { Stop } from "./say.mjs";

const HEADER = Buffer.from([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]);
const CUSTOM = 0;

/** The same module without its custom sections of these names. Throws `Stop` where the bytes are not a wasm module. */
export function withoutSections(wasm, names) {
  if (!wasm.subarray(0, HEADER.length).equals(HEADER))
    throw new Stop("This is not a wasm module of version 1.");
  const kept = [HEADER];
  for (let at = HEADER.length; at < wasm.length;) {
    const size = unsigned(wasm, at + 1);
    const end = size.end + size.value;
    if (end > wasm.length) throw new Stop(`The wasm module is cut short: a section at ${at} ends beyond it.`);
    if (wasm[at] !== CUSTOM || !names.includes(sectionName(wasm, size.end)))
      kept.push(wasm.subarray(at, end));
    at = end;
  }
  return Buffer.concat(kept);
}

function sectionName(wasm, at) {
  const length = unsigned(wasm, at);
  return wasm.toString("utf8", length.end, length.end + length.value);
}

/** LEB128 of at most 32 bits: its value, and where what follows it begins. */
function unsigned(wasm, at) {
  let value = 0;
  for (let i = 0; i < 5; i += 1) {
    const byte = wasm[at + i];
    if (byte === undefined) break;
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return { value, end: at + i + 1 };
  }
  throw new Stop(`The wasm module is damaged: no number can be read at ${at}.`);
}
