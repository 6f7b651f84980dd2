// The module that the runtime loads: the compiled crate, and what has to be JavaScript around it.
// Invariant: nobody hangs. A panic in Rust is an error of one request. A JavaScript exception that reaches it unwinds as a panic
// does, and what it unwinds says so when it is dropped: the call that it came from is settled, and the tasks behind it run. What
// cannot be unwound (a stack that overflowed, no memory left; panics and exceptions, where the build does not unwind) kills the wasm
// instance without settling a single promise; here every pending call is rejected and every open stream broken then.
// It leans on two internals of `worker` 0.8.7 (`__worker_init_state`, the text "Critical error"); tests hold both.
import { DurableObject } from "cloudflare:workers";
// As text, which a rule of wrangler.toml says: outside of the wasm, where it would cost every start.
import openapi from "../../openapi.json";
import Gateway, {
  ResourceObject as RustResourceObject,
  BudgetObject as RustBudgetObject,
  KeyObject as RustKeyObject,
  ResponseObject as RustResponseObject,
  ThreadObject as RustThreadObject,
} from "memory-gateway-wasm";

// How Rust wakes its tasks. The runtime's own microtasks cost a tenth of a request's time; promises do not. An exception
// is reported as it would be from a microtask: what restarts a dead instance listens for that.
globalThis.queueMicrotask = (task) => {
  Promise.resolve().then(() => {
    try {
      task();
    } catch (error) {
      reportError(error);
      if (!critical) globalThis.__memoryGatewayResume?.();
    }
  });
};

globalThis.__memoryGatewayOpenapi = openapi;

const state = globalThis.__worker_init_state;
const live = (globalThis.__memoryGatewayLive ??= new Set());
let critical = state.criticalError;
/** How each call that is under way is settled: by its request, an alarm by its object's context, a cron's by an object of its own. */
let pending = new Map();

function instanceDied(why) {
  const calls = pending;
  pending = new Map();
  for (const { reject } of calls.values()) reject(new Error(why));
  const streams = [...live];
  live.clear();
  for (const { end } of streams) end(why);
}

Object.defineProperty(state, "criticalError", {
  configurable: true,
  get: () => critical,
  set(value) {
    critical = value;
    if (value) instanceDied("the gateway's instance ended");
  },
});
addEventListener("error", (event) => {
  if (/Critical error/.test(String(event.error))) instanceDied("an exception reached Rust");
});

// Rust calls this where it will not settle the promise of a call itself.
globalThis.__memoryGatewayUnanswered = (key, answer) => {
  const call = pending.get(key);
  pending.delete(key);
  if (answer) call?.resolve(answer);
  else call?.reject(new Error("an exception reached Rust"));
};

function guarded(call, key = {}) {
  return new Promise((resolve, reject) => {
    pending.set(key, { resolve, reject });
    const settled = (settle) => (outcome) => {
      pending.delete(key);
      settle(outcome);
    };
    call().then(settled(resolve), settled(reject));
  });
}

async function answer(request, env, context) {
  try {
    return await guarded(() => new Gateway(context, env).fetch(request), request);
  } catch (error) {
    const id = `req_${crypto.randomUUID().replaceAll("-", "").slice(0, 24)}`;
    console.error(JSON.stringify({ event: "handler_died", request_id: id, error: String(error) }));
    const message =
      "The gateway failed. Try again; if it persists, look for the request id in the Worker's log.";
    return Response.json(
      { error: { message, type: "server_error", param: null, code: null } },
      { status: 500, headers: { "x-request-id": id } },
    );
  }
}

export default {
  fetch(request, env, context) {
    const answered = answer(request, env, context);
    // When a client leaves, the runtime drops what its request waits for and wakes nobody: without this, all that the request
    // holds here and in Rust would stay for as long as the isolate lives.
    context.waitUntil(answered);
    return answered;
  },
  scheduled(event, env, context) {
    return guarded(() => new Gateway(context, env).scheduled(event));
  },
};

/** A class of objects whose calls end when the wasm instance dies. */
const guardedObject = (Rust) =>
  class extends DurableObject {
    #rust;
    #context;
    constructor(context, env) {
      super(context, env);
      this.#context = context;
      this.#rust = new Rust(context, env);
    }
    fetch(request) {
      return guarded(() => this.#rust.fetch(request), request);
    }
    alarm(info) {
      return guarded(() => this.#rust.alarm(info), this.#context);
    }
  };

export class BudgetObject extends guardedObject(RustBudgetObject) {}
export class ThreadObject extends guardedObject(RustThreadObject) {}
export class ResourceObject extends guardedObject(RustResourceObject) {}
export class ResponseObject extends guardedObject(RustResponseObject) {}
export class KeyObject extends guardedObject(RustKeyObject) {}
