// Owns how the management API's answers look in a terminal.
// Invariant: lines of text come out, nothing is asked or written here.
import { bold } from "./say.mjs";
import { table } from "./table.mjs";

const day = (at) => at?.slice(0, 16).replace("T", " ");
const spent = (budget) =>
  budget &&
  [budget.usd !== undefined && `$${budget.usd}`, budget.tokens !== undefined && `${budget.tokens} tokens`]
    .filter(Boolean)
    .join(" and ") + ` a ${budget.period}`;

export function showProjects({ projects, total }) {
  const columns = [
    ["PROJECT", ({ id }) => id],
    ["NAME", ({ name }) => name],
    ["BUDGET", ({ budget }) => spent(budget)],
    ["SETTINGS", ({ settings }) => (Object.keys(settings).length > 0 ? settings : null)],
    ["CREATED", ({ created_at }) => day(created_at)],
  ];
  return listed(columns, projects, total, "No projects yet: npm run admin -- projects create --id my-app");
}

export const showProject = ({ project }) => showFields({ ...project, budget: spent(project.budget) });

export function showKeys({ keys, total }) {
  const columns = [
    ["KEY_ID", ({ id }) => id],
    ["KEY", ({ prefix }) => `${prefix}…`],
    ["LABEL", ({ label }) => label],
    ["STATE", ({ disabled, expires_at }) => state(disabled, expires_at)],
    ["MODELS", ({ models }) => models ?? "all"],
    ["ENDPOINTS", ({ endpoints }) => endpoints ?? "all"],
    ["LIMITS", ({ limits }) => pairs(limits) ?? "usual"],
    ["BUDGET", ({ budget }) => spent(budget)],
    ["CREATED", ({ created_at }) => day(created_at)],
  ];
  return listed(columns, keys, total, "No keys yet: npm run admin -- keys create PROJECT --label laptop");
}

function state(disabled, expires_at) {
  if (disabled) return "disabled";
  if (!expires_at) return "valid";
  return new Date(expires_at) <= new Date() ? "expired" : `until ${day(expires_at)}`;
}

const pairs = (fields) =>
  Object.keys(fields ?? {}).length > 0
    ? Object.entries(fields)
        .map(([name, value]) => `${name}=${value}`)
        .join(" ")
    : null;

export const showNewKey = ({ key, secret }) => [
  `The key ${key.id}${key.label ? ` (${key.label})` : ""}, shown only now:`,
  "",
  `  ${bold(secret)}`,
  "",
  ...(key.previous_valid_until
    ? [`The one before it is good until ${day(key.previous_valid_until)} UTC.`, ""]
    : []),
];

export const showBindings = (bindings) =>
  listed(
    [
      ["PROVIDER", ({ provider }) => provider],
      ["CREDENTIAL", ({ credential }) => credential],
      ["MASTER KEY", ({ master_key }) => master_key],
      ["CHANGED", ({ updated_at }) => day(updated_at)],
    ],
    bindings,
    bindings.length,
    'None: printf %s "$KEY" | npm run --silent admin -- bindings set PROJECT PROVIDER',
  );

export function showResealed({ master_key, resealed, kept, failed }) {
  const lines = [`Sealed anew under ${master_key}: ${resealed}; sealed so already: ${kept}.`];
  if (failed.length === 0) return lines;
  const columns = [
    ["PROJECT", ({ project_id }) => project_id],
    ["KEY_ID", ({ key_id }) => key_id],
    ["PROVIDER", ({ provider }) => provider],
    ["WHY", ({ error }) => error],
  ];
  return [...lines, `Left as they are: ${failed.length}.`, "", ...table(columns, failed)];
}

export function showActivity({ activity }) {
  const group = ["model", "provider", "api_key_id"].find((name) => activity[0] && name in activity[0]);
  const columns = [
    ["PERIOD", ({ period }) => day(period)],
    ...(group ? [[group.toUpperCase(), (row) => row[group]]] : []),
    ["REQUESTS", ({ requests }) => requests],
    ["PROMPT", ({ prompt_tokens }) => prompt_tokens],
    ["COMPLETION", ({ completion_tokens }) => completion_tokens],
    ["CACHED", ({ cached_tokens }) => cached_tokens],
    ["COST $", ({ cost_usd }) => cost_usd ?? "unknown"],
    // Of them the cost has nothing: nobody knows the model's price.
    ["UNPRICED", ({ unpriced }) => unpriced],
  ];
  return listed(columns, activity, activity.length, "Nothing in that time.");
}

export function showLogs({ logs, total }) {
  const columns = [
    ["TIME", ({ timestamp }) => timestamp?.slice(0, 19).replace("T", " ")],
    ["REQUEST", ({ request_id }) => request_id],
    ["STATUS", ({ status_code }) => status_code],
    ["MODEL", ({ provider, model }) => [provider, model].filter(Boolean).join("/")],
    ["KEY", ({ api_key_label, api_key_prefix }) => api_key_label || `${api_key_prefix}…`],
    ["SOURCE", ({ source }) => source],
    ["TOKENS", ({ total_tokens }) => total_tokens],
    ["COST $", ({ cost_usd }) => cost_usd],
    ["MS", ({ latency_ms }) => latency_ms],
  ];
  return listed(columns, logs, total, "No requests.");
}

function listed(columns, rows, total, none) {
  if (rows.length === 0) return [none];
  const more = total > rows.length ? ["", `${rows.length} of ${total}.`] : [];
  return [...table(columns, rows), ...more];
}

export const showFields = (fields) => {
  const rows = Object.entries(fields).map(([name, value]) => ({ name, value }));
  return table(
    [
      ["FIELD", ({ name }) => name],
      ["VALUE", ({ value }) => (value === null ? null : value === false ? "false" : value)],
    ],
    rows,
  );
};
