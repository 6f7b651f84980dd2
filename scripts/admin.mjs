// Owns `npm run admin`: projects, keys, bindings and usage in the terminal, over the management API.
// Invariant: no secret is taken from the command line, where others see it, and none is printed but a new key, once.
import { parseArgs } from "node:util";
import { ask, readTarget } from "./admin-client.mjs";
import {
  fromStandardInput,
  key,
  logsQuery,
  owner,
  project,
  query,
  rotation,
  something,
} from "./admin-options.mjs";
import {
  showActivity,
  showBindings,
  showFields,
  showKeys,
  showLogs,
  showNewKey,
  showProject,
  showProjects,
  showResealed,
} from "./admin-tables.mjs";
import { isMain } from "./paths.mjs";
import { main, Stop } from "./say.mjs";

const HELP = `Usage: npm run admin -- COMMAND [OPTIONS]

  projects                                 list the projects
  projects create [--id ID] [--name NAME] [--set PATH=VALUE]… [BUDGET]
  projects show PROJECT
  projects update PROJECT [--name NAME] [--set PATH=VALUE]… [BUDGET]
  projects delete PROJECT                  for good: its keys stop, its id is never given again

  keys PROJECT                             list a project's keys
  keys create PROJECT [--label TEXT] [RULES]    prints the key, once
  keys update PROJECT KEY_ID [--label TEXT] [--disable | --enable] [RULES]
  keys rotate PROJECT KEY_ID [--overlap SECONDS]  a new key with the same rules; the old one stops, after the overlap
  keys delete PROJECT KEY_ID

  bindings PROJECT [--key KEY_ID]          list the providers' credentials of a project, or of one key
  bindings set PROJECT PROVIDER [--key KEY_ID]  reads the credential from standard input
  bindings delete PROJECT PROVIDER [--key KEY_ID]
  bindings reseal                          seal everything under the first of MASTER_KEYS

  usage PROJECT [--granularity 1h|daily|weekly|monthly] [--group-by model|provider|key] [--from TIME] [--to TIME]
  usage memory PROJECT                     what memory's own calls used; options as above
  usage logs PROJECT [--limit N] [--offset N] [--filter NAME=VALUE]…
  usage log PROJECT REQUEST_ID

RULES   --expires TIME  --models PATTERN,…  --endpoints NAME,…  --limit NAME=N…  BUDGET   ("none" takes a rule back)
BUDGET  --budget-period day|month with --budget-usd AMOUNT or --budget-tokens N; --budget none

  --set memory.keep_tokens=6000            a setting; VALUE is JSON or a text, "null" takes it back
  --url URL      the gateway (else GATEWAY_URL, else the one that npm start runs); its token is in ADMIN_TOKEN
  --json         print the answers as they are`;

const text = { type: "string" };
const several = { type: "string", multiple: true };
const flag = { type: "boolean" };
const OPTIONS = {
  url: text,
  json: flag,
  help: flag,
  id: text,
  name: text,
  set: several,
  label: text,
  disable: flag,
  enable: flag,
  expires: text,
  models: text,
  endpoints: text,
  limit: several,
  overlap: text,
  budget: text,
  "budget-period": text,
  "budget-usd": text,
  "budget-tokens": text,
  key: text,
  granularity: text,
  "group-by": text,
  from: text,
  to: text,
  offset: text,
  filter: several,
};

const RULES = ["expires", "models", "endpoints", "limit"];
const BUDGET = ["budget", "budget-period", "budget-usd", "budget-tokens"];
const TIMES = ["granularity", "group-by", "from", "to"];

/** Each command: what its words are called, its options, what it does, and how the answer is shown. */
const COMMANDS = {
  "projects list": [[], [], () => ["GET", "/projects?limit=200"], showProjects],
  "projects create": [
    [],
    ["id", "name", "set", ...BUDGET],
    (_, options) => ["POST", "/projects", project(options)],
    showProject,
  ],
  "projects show": [["PROJECT"], [], ([id]) => ["GET", `/projects/${id}`], showProject],
  "projects update": [
    ["PROJECT"],
    ["name", "set", ...BUDGET],
    ([id], options) => ["PATCH", `/projects/${id}`, something(project(options))],
    showProject,
  ],
  "projects delete": [["PROJECT"], [], ([id]) => ["DELETE", `/projects/${id}`], () => ["Deleted."]],

  "keys list": [["PROJECT"], [], ([id]) => ["GET", `/projects/${id}/keys?limit=200`], showKeys],
  "keys create": [
    ["PROJECT"],
    ["label", ...RULES, ...BUDGET],
    ([id], options) => ["POST", `/projects/${id}/keys`, key(options)],
    showNewKey,
  ],
  "keys update": [
    ["PROJECT", "KEY_ID"],
    ["label", "disable", "enable", ...RULES, ...BUDGET],
    ([id, key_id], options) => ["PATCH", `/projects/${id}/keys/${key_id}`, something(key(options))],
    ({ key }) => showKeys({ keys: [key], total: 1 }),
  ],
  "keys rotate": [
    ["PROJECT", "KEY_ID"],
    ["overlap"],
    ([id, key_id], options) => ["POST", `/projects/${id}/keys/${key_id}/rotate`, rotation(options)],
    showNewKey,
  ],
  "keys delete": [
    ["PROJECT", "KEY_ID"],
    [],
    ([id, key_id]) => ["DELETE", `/projects/${id}/keys/${key_id}`],
    () => ["Deleted. It stops working everywhere within a minute."],
  ],

  "bindings list": [
    ["PROJECT"],
    ["key"],
    ([id], options) => ["GET", `${owner(id, options)}/bindings`],
    ({ bindings }) => showBindings(bindings),
  ],
  "bindings set": [
    ["PROJECT", "PROVIDER"],
    ["key"],
    async ([id, provider], options) => [
      "PUT",
      `${owner(id, options)}/bindings/${provider}`,
      { credential: await fromStandardInput() },
    ],
    ({ binding }) => showBindings([binding]),
  ],
  "bindings delete": [
    ["PROJECT", "PROVIDER"],
    ["key"],
    ([id, provider], options) => ["DELETE", `${owner(id, options)}/bindings/${provider}`],
    () => ["Deleted."],
  ],
  "bindings reseal": [[], [], () => ["POST", "/bindings/reseal"], showResealed],

  "usage activity": [
    ["PROJECT"],
    TIMES,
    ([id], options) => ["GET", `/projects/${id}/usage/activity${query(options, TIMES)}`],
    showActivity,
  ],
  "usage memory": [
    ["PROJECT"],
    TIMES,
    ([id], options) => ["GET", `/projects/${id}/usage/memory-activity${query(options, TIMES)}`],
    showActivity,
  ],
  "usage logs": [
    ["PROJECT"],
    ["limit", "offset", "from", "to", "filter"],
    ([id], options) => ["GET", `/projects/${id}/usage/logs${logsQuery(options)}`],
    showLogs,
  ],
  "usage log": [
    ["PROJECT", "REQUEST_ID"],
    [],
    ([id, request]) => ["GET", `/projects/${id}/usage/logs/${request}`],
    ({ log }) => showFields(log),
  ],
};

/** What a bare `projects`, `keys PROJECT` … means. */
const FIRST = { projects: "list", keys: "list", bindings: "list", usage: "activity" };

async function admin() {
  const { values: options, positionals } = readArguments();
  if (options.help || positionals.length === 0) return console.log(HELP);
  const [noun, second, ...rest] = positionals;
  if (!(noun in FIRST))
    throw new Stop(`there is no command ${noun}: projects, keys, bindings, usage\n\n${HELP}`);
  const named = `${noun} ${second}` in COMMANDS;
  const name = `${noun} ${named ? second : FIRST[noun]}`;
  const words = named ? rest : positionals.slice(1);
  const [wanted, taken, request, show] = COMMANDS[name];
  if (words.length !== wanted.length) {
    throw new Stop(`usage: npm run admin -- ${[name, ...wanted].join(" ")} …, or --help for all commands`);
  }
  const foreign = Object.keys(options).find((option) => !["url", "json", ...taken].includes(option));
  if (foreign) throw new Stop(`${name} takes no --${foreign}; --help tells what it takes`);
  const target = readTarget(options);
  const answer = await ask(target, ...(await request(words.map(encodeURIComponent), options)));
  console.log(options.json ? JSON.stringify(answer, null, 2) : show(answer).join("\n"));
}

function readArguments() {
  try {
    return parseArgs({ options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw new Stop(`${error.message}\n--help tells the commands and their options`);
  }
}

if (isMain(import.meta.url)) await main(admin);
