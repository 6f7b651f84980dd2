// Owns how the options of `npm run admin` become the body or the query of a management request.
// Invariant: what was not said is not sent; what cannot be meant is a Stop that names the option.
import { Stop } from "./say.mjs";

export const owner = (project, { key }) =>
  `/projects/${project}${key === undefined ? "" : `/keys/${encodeURIComponent(key)}`}`;

export const project = ({ id, name, set, ...options }) => ({
  ...given({ id, name }),
  ...(set && { settings: settings(set) }),
  ...budget(options),
});

export function key({ label, disable, enable, expires, models, endpoints, limit, ...options }) {
  if (disable && enable) throw new Stop("a key cannot be disabled and enabled at once");
  return {
    ...given({ label }),
    ...(disable && { disabled: true }),
    ...(enable && { disabled: false }),
    ...(expires && { expires_at: orNone(expires, time) }),
    ...(models && { models: orNone(models, list) }),
    ...(endpoints && { endpoints: orNone(endpoints, list) }),
    ...(limit && { limits: limit.length === 1 ? orNone(limit[0], () => limits(limit)) : limits(limit) }),
    ...budget(options),
  };
}

export const rotation = ({ overlap }) =>
  overlap === undefined ? undefined : { overlap_seconds: number("overlap", overlap) };

const given = (fields) =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
const orNone = (value, read) => (value === "none" ? null : read(value));
const list = (value) =>
  value
    .split(",")
    .map((entry) => entry.trim())
    .filter(Boolean);

export function something(body) {
  if (Object.keys(body).length > 0) return body;
  throw new Stop("say what to change: --help tells the options");
}

function time(value) {
  const at = new Date(value);
  if (!Number.isNaN(at.getTime())) return at.toISOString();
  throw new Stop(`${value} is no time: write it as 2027-01-31 or 2027-01-31T12:00:00Z`);
}

function pair(option, text) {
  const at = text.indexOf("=");
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
  throw new Stop(`--${option} wants NAME=VALUE, not ${text}`);
}

function number(option, value) {
  if (value.trim() !== "" && Number.isFinite(Number(value))) return Number(value);
  throw new Stop(`--${option} wants a number, not ${value}`);
}

const limits = (pairs) =>
  Object.fromEntries(
    pairs.map((text) => {
      const [name, value] = pair("limit", text);
      return [name, number("limit", value)];
    }),
  );

function budget(options) {
  const { budget, "budget-period": period, "budget-usd": usd, "budget-tokens": tokens } = options;
  if (budget !== undefined && budget !== "none")
    throw new Stop(
      "--budget takes only none; a budget is --budget-period with --budget-usd or --budget-tokens",
    );
  if (budget === "none") return { budget: null };
  if (usd === undefined && tokens === undefined && period === undefined) return {};
  return {
    budget: {
      ...given({ period }),
      ...(usd !== undefined && { usd: number("budget-usd", usd) }),
      ...(tokens !== undefined && { tokens: number("budget-tokens", tokens) }),
    },
  };
}

/** `memory.keep_tokens=6000` as `{memory: {keep_tokens: 6000}}`, several of them as one document. */
function settings(pairs) {
  const document = {};
  for (const text of pairs) {
    const [path, value] = pair("set", text);
    const names = path.split(".");
    const last = names.pop();
    let at = document;
    for (const name of names) {
      if (!Object.hasOwn(at, name)) at[name] = Object.create(null);
      at = at[name];
    }
    at[last] = jsonOrText(value);
  }
  return document;
}

function jsonOrText(value) {
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

export function query(options, names) {
  const parameters = new URLSearchParams();
  for (const name of names) {
    if (options[name] === undefined) continue;
    const isTime = name === "from" || name === "to";
    parameters.set(name.replaceAll("-", "_"), isTime ? time(options[name]) : options[name]);
  }
  return parameters.size > 0 ? `?${parameters}` : "";
}

export function logsQuery({ limit, filter = [], ...options }) {
  const filters = Object.fromEntries(filter.map((text) => pair("filter", text)));
  if (limit?.length > 1) throw new Stop("--limit here is one number");
  return query({ ...options, ...filters, ...(limit && { limit: limit[0] }) }, [
    ...["limit", "offset", "from", "to"],
    ...Object.keys(filters),
  ]);
}

/** A credential in an argument would stay in the shell's history and be seen by everybody on the machine. */
export async function fromStandardInput() {
  if (process.stdin.isTTY) process.stderr.write("The credential, then Enter and Ctrl-D: ");
  let text = "";
  for await (const piece of process.stdin.setEncoding("utf8")) text += piece;
  if (text.trim()) return text.trim();
  throw new Stop(
    'no credential on standard input: printf %s "$KEY" | npm run --silent admin -- bindings set …',
  );
}
