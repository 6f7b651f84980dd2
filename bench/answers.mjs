// Owns waiting for a server that was started.
// Invariant: it waits no longer than the server runs.
import { setTimeout as sleep } from "node:timers/promises";
import { answers } from "../scripts/gateway-process.mjs";

/** True once `url` answers at all; false when `child` ended or `ms` are over. `onLook` is called at each look. */
export async function answersWithin(ms, url, child, onLook = () => {}) {
  let running = true;
  void child.exited.then(() => (running = false));
  for (const until = Date.now() + ms; running && Date.now() < until; await sleep(50)) {
    onLook();
    if (await answers(url)) return true;
  }
  return false;
}
