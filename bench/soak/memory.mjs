// Owns what a workerd holds in memory: all of the process, as the operating system counts it, and what of it its isolate still
// has a use for, as V8's inspector tells.
// Invariant: nothing is asked of the Worker but requests that anybody may send it; sizes are in bytes.
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../../scripts/ports.mjs";
import { Stop } from "../../scripts/say.mjs";

/** How long each answer of the inspector may take, and everything that a round left open to be closed. */
const ANSWER_MS = 30_000;
const REST_MS = 60_000;

/** What the process has in memory; 0 when it has ended. */
export function resident(pid) {
  try {
    return 1024 * Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

/** How many objects have their database open. */
function openDatabases(pid) {
  const folder = `/proc/${pid}/fd`;
  return readdirSync(folder).filter((descriptor) => {
    try {
      return /\/[0-9a-f]{64}\.sqlite$/.test(readlinkSync(`${folder}/${descriptor}`));
    } catch {
      return false; // Closed meanwhile.
    }
  }).length;
}

/** What a workerd is to be started with, and what looks into it then. */
export async function inspectorOf() {
  if (typeof WebSocket === "undefined")
    throw new Stop("this Node has no WebSocket; `npm run soak` brings one that has");
  const address = `127.0.0.1:${await freePort()}`;
  return { flags: [`--inspector-addr=${address}`], atRest: (target) => atRest(target, address) };
}

/**
 * Waits until the objects have gone, collects garbage, and says what is left: `{ resident, heap, wasm, requests, databases }`.
 * `requests` are those that something still holds: one at least, of the fetches here.
 */
async function atRest({ url, pid }, address) {
  for (const until = Date.now() + REST_MS; openDatabases(pid) > 0 && Date.now() < until;) await sleep(500);
  const inspector = await connect(address);
  try {
    const context = await inspector.context();
    await inspector.ask("Runtime.disable"); // It would keep what is logged from here on.
    // What JavaScript lets go of with one collection frees what Rust holds, and that more of JavaScript's with the next.
    for (let times = 0; times < 3; times++) {
      let isDone = false;
      const collected = inspector.ask("HeapProfiler.collectGarbage").finally(() => (isDone = true));
      // It is done by the way when the isolate next runs.
      while (!isDone) {
        await (await fetch(new URL("/health", url))).text();
        await sleep(50);
      }
      await collected;
    }
    const { usedSize } = await inspector.ask("Runtime.getHeapUsage");
    const [wasm] = await inspector.each(context, "WebAssembly.Memory", "(one) => one.buffer.byteLength");
    const requests = await inspector.each(context, "Request", "() => 1");
    return {
      ...{ resident: resident(pid), heap: usedSize, wasm },
      ...{ requests: requests.length, databases: openDatabases(pid) },
    };
  } finally {
    inspector.close();
  }
}

/** Speaks with V8's inspector: https://chromedevtools.github.io/devtools-protocol/v8/ */
async function connect(address) {
  const [{ webSocketDebuggerUrl }] = await (await fetch(`http://${address}/json`)).json();
  const socket = new WebSocket(webSocketDebuggerUrl);
  const waiting = new Map();
  let asked = 0;
  let hearContext;
  const context = new Promise((resolve) => (hearContext = resolve));
  socket.onmessage = ({ data }) => {
    const { id, method, params, result, error } = JSON.parse(data);
    if (method === "Runtime.executionContextCreated") hearContext(params.context.id);
    waiting.get(id)?.(error ? new Error(`the inspector says: ${error.message}`) : result);
    waiting.delete(id);
  };
  await new Promise((resolve, reject) => ((socket.onopen = resolve), (socket.onerror = reject)));
  const ask = async (method, params = {}) => {
    const id = ++asked;
    let timer;
    const answer = await new Promise((resolve) => {
      timer = setTimeout(resolve, ANSWER_MS, new Error(`the inspector does not answer ${method}`));
      waiting.set(id, resolve);
      socket.send(JSON.stringify({ id, method, params }));
    });
    clearTimeout(timer);
    if (answer instanceof Error) throw answer;
    return answer;
  };
  return {
    ask,
    /** The Worker's global scope, by its number. */
    async context() {
      await ask("Runtime.enable");
      return context;
    },
    /** What a function makes of each object of a class that something holds. */
    async each(contextId, className, of) {
      const { result } = await ask("Runtime.evaluate", { contextId, expression: `${className}.prototype` });
      const { objects } = await ask("Runtime.queryObjects", { prototypeObjectId: result.objectId });
      const made = await ask("Runtime.callFunctionOn", {
        objectId: objects.objectId,
        functionDeclaration: `function () { return this.map(${of}); }`,
        returnByValue: true,
      });
      return made.result.value;
    },
    close: () => socket.close(),
  };
}
