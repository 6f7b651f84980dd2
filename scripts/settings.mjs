// Owns what `npm start` is told: from the environment, else from .dev.vars, else a default.
// Invariant: what the user set is never overruled; the sandbox fills in only what is missing.
import { readDevVars } from "./dev-vars.mjs";
import { checkKey } from "./keys.mjs";
import { Stop } from "./say.mjs";

/** The shipped providers by the names that model ids begin with: the secret with the key, and the address. */
const PROVIDERS = {
  openai: ["OPENAI_API_KEY", "OPENAI_BASE_URL"],
  anthropic: ["ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"],
  google: ["GOOGLE_API_KEY", "GOOGLE_BASE_URL"],
  openrouter: ["OPENROUTER_API_KEY", "OPENROUTER_BASE_URL"],
  codex: ["CODEX_ACCESS_TOKEN", "CODEX_BASE_URL"],
  azure: ["AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT"],
  "workers-ai": ["WORKERS_AI_API_KEY", "WORKERS_AI_BASE_URL"],
  ...Object.fromEntries(
    ["GROQ", "MISTRAL", "DEEPSEEK", "XAI", "TOGETHER", "FIREWORKS", "CEREBRAS", "PERPLEXITY"]
      .concat(["OLLAMA", "LMSTUDIO", "VLLM"])
      .map((name) => [name.toLowerCase(), [`${name}_API_KEY`, `${name}_BASE_URL`]]),
  ),
};
/** The variables of the Worker that the environment may set; .dev.vars may hold these and any other. */
const PASSED_ON = [
  ...Object.values(PROVIDERS).flat(),
  "AZURE_OPENAI_API_VERSION",
  "WORKERS_AI_ACCOUNT_ID",
  "PROVIDERS",
  "OBSERVER_MODEL",
  "REFLECTOR_MODEL",
  "OBSERVER_DEADLINE_MS",
  "OBSERVER_ATTEMPTS",
  "MEMORY_OBSERVE_TOKENS",
  "MEMORY_BUFFER_TOKENS",
  "MEMORY_KEEP_TOKENS",
  "MEMORY_WINDOW_TOKENS",
  "MEMORY_REFLECT_TOKENS",
  "MEMORY_SWAP_TOKENS",
  "MEMORY_ANSWER_TOKENS",
  "MEMORY_IDLE_ACTIVATION",
  "MEMORY_GAP_MINUTES",
  "MEMORY_SCOPE",
  "MEMORY_TIME_ZONE",
  "MEMORY_DEADLINE_MS",
  "MAX_BODY_BYTES",
  "MAX_ANSWER_BYTES",
  "BODY_TIMEOUT_MS",
  "UPSTREAM_TIMEOUT_MS",
  "FIRST_TOKEN_TIMEOUT_MS",
  "UPSTREAM_ATTEMPTS",
  "CIRCUIT_FAILURES",
  "CIRCUIT_OPEN_MS",
  "PENDING_TURN_TTL_MS",
  "RESPONSES_TTL_DAYS",
  "LEDGER",
  "LEDGER_RETENTION_DAYS",
  "PRICES",
  "KEY_BUDGET",
  "PROJECT_BUDGET",
  "MEMORY_BUDGET",
  "OTEL_EXPORTER_OTLP_ENDPOINT",
  "OTEL_EXPORTER_OTLP_HEADERS",
  "OTEL_SERVICE_NAME",
  "CORS_ORIGINS",
  "ADMIN_TOKEN",
  "MASTER_KEYS",
  "LIMITS",
  "WEB_SEARCH",
  "WEB_SEARCH_PRICE_USD",
  ...["TAVILY", "BRAVE", "EXA"].flatMap((name) => [`${name}_API_KEY`, `${name}_BASE_URL`]),
  "SEARXNG_BASE_URL",
  ...["ROUNDS", "CALLS", "TIME_MS", "CALL_MS", "COST_USD"].map((name) => `TOOLS_${name}`),
];
/** For start.mjs itself, not for the Worker. */
const OURS = ["PORT", "SANDBOX_PORT", "GATEWAY_KEY"];

export function readSettings(environment = process.env, file = readDevVars()) {
  const set = Object.fromEntries(Object.entries(file).filter(([, value]) => value !== ""));
  const declared = environment.PROVIDERS || set.PROVIDERS || "";
  for (const name of [...OURS, ...PASSED_ON, ...keyNames(declared)]) {
    if (environment[name]) set[name] = environment[name];
  }
  const port = portNumber("PORT", set.PORT ?? "8787");
  const sandboxPort = portNumber("SANDBOX_PORT", set.SANDBOX_PORT ?? String(port + 1));
  if (port === sandboxPort)
    throw new Stop(`PORT and SANDBOX_PORT are both ${port}: give them different numbers`);
  const key = set.GATEWAY_KEY && checkKey(set.GATEWAY_KEY, "GATEWAY_KEY");
  const vars = Object.fromEntries(Object.entries(set).filter(([name]) => !OURS.includes(name)));
  // The real edge answers within the default of 250 ms; wrangler dev, two processes away, does not always.
  vars.MEMORY_DEADLINE_MS ??= "2000";
  const live = [
    ...Object.keys(PROVIDERS).filter((name) => vars[PROVIDERS[name][0]]),
    ...declaredAlive(declared, vars),
  ];
  return { port, sandboxPort, key, vars, live };
}

/** Points the providers that the sandbox plays at it, those that have no key of their own. */
export function sandboxVars(sandboxUrl) {
  const roots = { openai: "/v1", anthropic: "", google: "", openrouter: "/api/v1", codex: "/v1" };
  return Object.fromEntries(
    Object.entries(roots).flatMap(([name, path]) => {
      const [key, address] = PROVIDERS[name];
      return [
        [key, "sandbox-key"],
        [address, sandboxUrl + path],
      ];
    }),
  );
}

function portNumber(name, text) {
  const number = Number(text);
  if (Number.isInteger(number) && number > 0 && number < 65_536) return number;
  throw new Stop(`${name} must be a port number from 1 to 65535, not ${JSON.stringify(text)}`);
}

/**
 * PROVIDERS as `[name, entry]` pairs. The Worker explains what is wrong in it; here that only means "none".
 */
function entries(declared) {
  try {
    return Object.entries(JSON.parse(declared || "{}"));
  } catch {
    return [];
  }
}

const keyNames = (declared) =>
  entries(declared)
    .map(([, entry]) => entry?.api_key_secret)
    .filter((name) => typeof name === "string");

const declaredAlive = (declared, vars) =>
  entries(declared)
    .filter(([, entry]) => vars[entry?.api_key_secret])
    .map(([name]) => name);
