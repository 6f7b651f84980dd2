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
 * Waits until the objects have gone, collects garbage, and says what is left: `{ resident, heap, embedder, wasm, databases, live }`.
 */
async function atRest({ url, pid }, address) {
  for (const until = Date.now() + REST_MS; openDatabases(pid) > 0 && Date.now() < until;) await sleep(500);
  const inspector = await connect(address);
  try {
    const { context } = await inspector.context();
    await inspector.ask("Runtime.disable"); // It would keep what is logged from here on.
    // What JavaScript lets go of with one collection frees what Rust holds, and that more of JavaScript's with the next.
    for (let times = 0; times < 3; times++) {
      const collected = inspector.ask("HeapProfiler.collectGarbage");
      let isDone = false;
      void collected.finally(() => (isDone = true)).catch(() => {});
      // It is done by the way when the isolate next runs.
      while (!isDone) {
        await (await fetch(new URL("/health", url))).text();
        await sleep(50);
      }
      await collected;
    }
    const { usedSize, embedderHeapUsedSize, backingStorageSize, totalSize } =
      await inspector.ask("Runtime.getHeapUsage");
    const memories = await inspector.instances(context, "WebAssembly.Memory");
    const [wasm] = await inspector.call(
      memories,
      "function () { return this.map((one) => one.buffer.byteLength); }",
    );
    const live = await inspector.value(context, "globalThis.__memoryGatewayLive.size");
    return {
      resident: resident(pid),
      heap: usedSize,
      total: totalSize,
      embedder: embedderHeapUsedSize,
      backing: backingStorageSize,
      wasm,
      databases: openDatabases(pid),
      live,
    };
  } finally {
    inspector.close();
  }
}

async function connect(address) {
  const [{ webSocketDebuggerUrl }] = await (await fetch(`http://${address}/json`)).json();
  const socket = new WebSocket(webSocketDebuggerUrl);
  const waiting = new Map();
  let asked = 0;
  let hearContext;
  const context = new Promise((resolve) => (hearContext = resolve));
  socket.onmessage = ({ data }) => {
    const { id, method, params, result, error } = JSON.parse(data);
    if (method === "Runtime.executionContextCreated") hearContext({ context: params.context.id });
    waiting.get(id)?.(error ? new Error(`the inspector says: ${error.message}`) : result);
    waiting.delete(id);
  };
  await new Promise((resolve, reject) => ((socket.onopen = resolve), (socket.onerror = reject)));
  const ask = async (method, params = {}) => {
    const id = ++asked;
    const timer = new AbortController();
    const answer = await Promise.race([
      new Promise((resolve) => {
        waiting.set(id, resolve);
        socket.send(JSON.stringify({ id, method, params }));
      }),
      sleep(ANSWER_MS, new Error(`the inspector does not answer ${method}`), { signal: timer.signal }).catch(
        () => {},
      ),
    ]);
    timer.abort();
    if (answer instanceof Error) throw answer;
    return answer;
  };
  return {
    ask,
    async context() {
      await ask("Runtime.enable");
      return context;
    },
    async value(contextId, expression) {
      return (await ask("Runtime.evaluate", { contextId, expression, returnByValue: true })).result.value;
    },
    async instances(contextId, type) {
      const { result } = await ask("Runtime.evaluate", { contextId, expression: `${type}.prototype` });
      const { objects } = await ask("Runtime.queryObjects", { prototypeObjectId: result.objectId });
      return objects.objectId;
    },
    async call(objectId, functionDeclaration) {
      return (await ask("Runtime.callFunctionOn", { objectId, functionDeclaration, returnByValue: true }))
        .result.value;
    },
    close: () => socket.close(),
  };
}
