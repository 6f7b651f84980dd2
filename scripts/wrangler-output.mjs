// Owns what of wrangler's output a person sees under `npm start`.
// Invariant: the last of it is always kept, so that a failure can be shown whole.
import { dim } from "./say.mjs";

const NOISE = [
  /^\s*$/,
  /^\[wrangler:info\] (GET \/health |Ready on )/,
  /^⎔ /,
  /^\[custom build\] (Running:|up to date|$)/,
];
const isNoise = (line) => NOISE.some((pattern) => pattern.test(line));

/**
 * What wrangler writes: held back until the gateway answers, then shown without what only wrangler cares
 * about.
 */
export class WranglerOutput {
  held = "";
  #shown = false;
  #rest = "";

  write(text) {
    this.held = (this.held + text).slice(-20_000);
    if (!this.#shown) return;
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop();
    for (const line of lines) if (!isNoise(line)) console.log(dim("  │ ") + line);
  }

  show() {
    this.#shown = true;
  }
}
