// Owns: the sandbox provider's HTTP server: routing, keys, the request log, and sending answers with their faults.
// Invariant: every request outside /sandbox and /health is logged before it is answered, and `aborted` is true only if
// the client left first: a connection that a fault broke is not the client's doing.

import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { chat } from "./chat.mjs";
import { ApiError, invalid } from "./conversation.mjs";
import { embeddings } from "./embeddings.mjs";
import { frames, spoiled, spoilersIn, splitModel, statusError, wholeBody, writes } from "./faults.mjs";
import { gemini, geminiCount } from "./gemini.mjs";
import { countTokens, messages } from "./messages.mjs";
import { anthropicModels, geminiModel, geminiModels, models } from "./models.mjs";
import { openai } from "./openai.mjs";
import { responses, storedResponses } from "./responses.mjs";
import { answerTo, manyWords } from "./rules.mjs";

// A dialect is { routes: [{ method, path, flavour, when }], credential, errorBody, headers, modelName, answer }; `answer`
// gives { whole, failedWhole } or { events, failure, named, list, end }, either with { type, json } where the JSON is not
// the plainest; `when` tells, of two routes at one path, by the request's headers and query whether this is it. `json`
// prints its errors, `speaks` takes the knobs that spoil words, `canBlock` that of a prompt which is not answered at all.
// A new one is added here and nowhere else.
const DIALECTS = [
  chat,
  responses,
  storedResponses,
  messages,
  countTokens,
  embeddings,
  gemini,
  geminiCount,
  geminiModels,
  geminiModel,
  anthropicModels,
  models,
];

const ROUTES = DIALECTS.flatMap((dialect) => dialect.routes.map((route) => ({ ...route, dialect })));
const BODY_LIMIT = 64 * 1024 * 1024;

export async function startSandbox({ port = 0, host = "127.0.0.1" } = {}) {
  const requests = [];
  const state = {};
  const server = createServer((req, res) => {
    handle(req, res, requests, state).catch((error) => {
      if (!res.destroyed) console.error("sandbox:", error);
      res.destroy();
    });
  });
  await new Promise((resolve, reject) => server.once("error", reject).listen(port, host, resolve));
  const bound = server.address().port;
  return {
    url: `http://${host}:${bound}`,
    port: bound,
    requests,
    clear: () => void (requests.length = 0),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function handle(req, res, requests, state) {
  const [path, search] = req.url.split("?"),
    query = new URLSearchParams(search);
  res.setHeader("server", "sandbox");
  res.setHeader("x-sandbox", "true");
  if (path === "/health") return sendJson(res, 200, { status: "ok", sandbox: true });
  if (path === "/sandbox/requests") {
    if (req.method === "DELETE") requests.length = 0;
    return sendJson(res, 200, requests);
  }

  const entry = {
    n: requests.length ? requests.at(-1).n + 1 : 1,
    at: new Date().toISOString(),
    method: req.method,
    path: req.url,
    headers: req.headers,
    body: null,
    aborted: false,
    finished: false,
    bytesSent: 0,
  };
  requests.push(entry);
  const left = new AbortController();
  const exchange = { req, res, entry, left: left.signal, broken: false };
  res.once("finish", () => void (entry.finished = !exchange.broken));
  res.once("close", () => {
    entry.aborted = !res.writableFinished && !exchange.broken;
    left.abort();
  });

  const raw = await readBody(req);
  const match = matchRoute(req.method, path, req.headers, query);
  const { dialect, flavour } = match.route ?? { dialect: openai, flavour: "openai" };
  res.setHeader("set-cookie", "sandbox=1; Path=/");
  for (const [name, value] of Object.entries(dialect.headers(flavour))) res.setHeader(name, value);
  try {
    entry.body = parse(raw);
    if (match.refused) throw match.refused;
    const key = dialect.credential(req.headers, flavour, query);
    checkCredential(key);
    if (match.route.method === "POST") checkBody(entry.body, raw);
    const requestId = res.getHeader("request-id");
    await answer(exchange, dialect, {
      method: req.method,
      headers: req.headers,
      query,
      body: entry.body,
      key,
      requestId,
      flavour,
      match: match.parts,
      state,
    });
  } catch (error) {
    if (!(error instanceof ApiError)) console.error("sandbox:", error);
    sendError(
      exchange,
      dialect,
      flavour,
      error instanceof ApiError
        ? error
        : new ApiError(500, `The sandbox itself failed: ${error.message}`, { type: "server_error" }),
    );
  }
}

async function readBody(req) {
  const parts = [];
  let size = 0;
  for await (const part of req) {
    size += part.length;
    if (size <= BODY_LIMIT) parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

function parse(raw) {
  if (raw === "") return null;
  try {
    return JSON.parse(raw);
  } catch {
    return raw;
  }
}

function checkBody(body, raw) {
  if (body !== null && typeof body === "object" && !Array.isArray(body)) return;
  throw invalid(
    raw === "" ? "The request has no body." : "The body of the request is not a JSON object.",
    null,
  );
}

function matchRoute(method, path, headers, query) {
  const here = ROUTES.filter(({ when }) => when === undefined || when(headers, query))
    .map((route) => ({
      route,
      parts: typeof route.path === "string" ? route.path === path && [path] : route.path.exec(path),
    }))
    .filter(({ parts }) => parts);
  if (here.length === 0)
    return {
      refused: new ApiError(404, `The sandbox has nothing at ${method} ${path}.`, { code: "unknown_url" }),
    };
  return (
    here.find(({ route }) => route.method === method) ?? {
      ...here[0],
      refused: new ApiError(405, `${path} does not take ${method}.`, { code: "method_not_supported" }),
    }
  );
}

function checkCredential(key) {
  const refuse = (message) => {
    throw new ApiError(401, message, { code: "invalid_api_key" });
  };
  if (!key) refuse("The request has no API key.");
  if (key.startsWith("msk_")) refuse("A gateway key (msk_) leaked upstream: a provider must never see one.");
  if (key === "invalid-key") refuse("The API key is not valid.");
}

async function answer(exchange, dialect, request) {
  const name = dialect.modelName({ body: request.body, match: request.match });
  let knobs = {},
    model;
  if (request.method === "POST") {
    if (typeof name !== "string" || name === "")
      throw invalid("'model' is required.", "model", "missing_required_parameter");
    ({ model, knobs } = splitModel(name));
  }
  if (knobs.blocked && !dialect.canBlock)
    throw invalid("The sandbox knob 'blocked' is Gemini's alone.", "model");
  const [spoiler] = spoilersIn(knobs);
  if (spoiler && !dialect.speaks)
    throw invalid(`The sandbox knob '${spoiler}' is for endpoints that answer in words.`, "model");
  if (knobs.first !== undefined && timesSeen(exchange.entry, request.state) > knobs.first) knobs = {};
  const { res } = exchange;
  if (knobs.stall) await sleep(knobs.stall, exchange.left);
  if (knobs.status) throw statusError(knobs.status);
  if (knobs.redirect) return void res.writeHead(307, { location: "http://127.0.0.1:9/" }).end();
  if (knobs.html)
    return send(
      exchange,
      "text/html; charset=utf-8",
      ["<!doctype html><title>sandbox</title><h1>A page where JSON was expected</h1>\n"],
      knobs,
    );

  const reply = dialect.answer({
    ...request,
    model,
    answerTo: (conversation) =>
      spoiled(
        knobs.words === undefined
          ? answerTo({ ...conversation, loops: knobs.loop > 0 })
          : { text: manyWords(knobs.words), verbatim: true },
        knobs,
      ),
    blocked: knobs.blocked > 0,
  });
  if (reply.events) {
    res.setHeader("cache-control", "no-cache");
    return send(exchange, reply.type ?? "text/event-stream; charset=utf-8", frames(reply, knobs), knobs);
  }
  const body = Buffer.from(wholeBody(reply, knobs));
  if (knobs.gzip) res.setHeader("content-encoding", "gzip");
  return send(exchange, reply.type ?? "application/json", [knobs.gzip ? gzipSync(body) : body], knobs);
}

/** How often this very request came by now. Whoever asks again unchanged is known by it, whatever else goes on. */
function timesSeen({ path, body }, state) {
  const seen = (state.seen ??= new Map());
  const request = createHash("sha256")
    .update(`${path}\n${JSON.stringify(body)}`)
    .digest("base64");
  seen.set(request, (seen.get(request) ?? 0) + 1);
  return seen.get(request);
}

async function send(exchange, type, parts, knobs) {
  const { res, entry, left } = exchange;
  const stopAt = knobs.cut ?? knobs.eof ?? Infinity;
  res.writeHead(200, { "content-type": type }).flushHeaders();
  for (const whole of writes(parts, knobs)) {
    if (knobs.delay) await sleep(knobs.delay, left);
    if (left.aborted) return;
    const bytes = whole.subarray(0, stopAt - entry.bytesSent);
    const first = entry.bytesSent === 0;
    entry.bytesSent += bytes.length;
    await written(res, bytes, left);
    if (entry.bytesSent >= stopAt) break;
    if (first && knobs.pause) await sleep(knobs.pause, left);
  }
  if (left.aborted) return;
  if (knobs.cut === undefined) return void res.end();
  exchange.broken = true;
  // Destroying at once could drop bytes that are still queued, and the cut would not be where it was asked for.
  await new Promise((resolve) => res.write("", resolve));
  res.socket?.destroySoon();
}

function written(res, bytes, left) {
  if (bytes.length === 0 || res.write(bytes) || left.aborted) return;
  return new Promise((resolve) => {
    const done = () => {
      res.off("drain", done);
      left.removeEventListener("abort", done);
      resolve();
    };
    res.once("drain", done);
    left.addEventListener("abort", done);
  });
}

// A client that leaves ends every wait, or a test with a long stall would hold the process.
function sleep(ms, left) {
  return new Promise((resolve) => {
    if (left.aborted) return resolve();
    const timer = setTimeout(resolve, ms);
    left.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
}

function sendError({ res, entry }, dialect, flavour, error) {
  if (res.headersSent || res.destroyed) return;
  if (error.retryAfter) res.setHeader("retry-after", String(error.retryAfter));
  entry.bytesSent += sendJson(
    res,
    error.status,
    dialect.errorBody(error, flavour, res.getHeader("request-id")),
    dialect.json,
  );
}

function sendJson(res, status, value, json = JSON.stringify) {
  const body = json(value);
  res.writeHead(status, { "content-type": "application/json" }).end(body);
  return Buffer.byteLength(body);
}

async function main(args) {
  const after = (flag, otherwise) => (args.includes(flag) ? args[args.indexOf(flag) + 1] : otherwise);
  const sandbox = await startSandbox({
    port: Number(after("--port", "8788")),
    host: after("--host", "127.0.0.1"),
  });
  console.log(`sandbox provider on ${sandbox.url}`);
  for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => sandbox.close());
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(process.argv.slice(2));
