// Owns reading what another gateway remembers, over its public memory API.
// Invariant: only GET is sent. A gateway that can export is asked for that, because it is lossless; another for its threads,
// their messages and observations.
import { ask, base, json } from "./import-http.mjs";
import { saidLines, time } from "./import-content.mjs";

const PAGE = 200;

/** The resources of a gateway that can export, or the threads of one that cannot; `{name, version, export}` or `{name, version, read}`. */
export async function* readGateway({ url, key, resource, say }) {
  const root = `${base(url)}/v1/memory`;
  const get = (path, read = json) => ask(`${root}${path}`, { key, read, say });
  const owner = resource ? `&resourceId=${encodeURIComponent(resource)}` : "";
  const threads = new Map();
  for (let offset = 0; ; offset += PAGE) {
    const page = await get(`/threads?limit=${PAGE}&offset=${offset}${owner}`);
    for (const thread of page.threads ?? []) threads.set(thread.id, thread);
    if ((page.threads ?? []).length < PAGE) break;
  }
  const all = [...threads.values()];
  if (all.length > 0 && (await canExport(root, key, all[0].resourceId))) {
    for (const [id, own] of groups(all)) {
      const newest = own
        .map(({ updatedAt }) => `${updatedAt}`)
        .sort()
        .at(-1);
      yield {
        name: `resource ${id}`,
        version: `${own.length} ${newest}`,
        threads: own.length,
        export: (read) =>
          ask(`${root}/resources/${encodeURIComponent(id)}/export`, { key, read, isLong: true, say }),
      };
    }
    return;
  }
  for (const thread of all)
    yield {
      name: `thread ${thread.id}`,
      version: `${thread.updatedAt}`,
      read: () => readThread(get, thread),
    };
}

function groups(threads) {
  const of = new Map();
  for (const thread of threads) of.set(thread.resourceId, [...(of.get(thread.resourceId) ?? []), thread]);
  return of;
}

function canExport(root, key, resource) {
  const read = async (answer) => {
    await answer.body?.cancel();
    return answer.ok && answer.headers.get("content-type")?.startsWith("application/x-ndjson");
  };
  return ask(`${root}/resources/${encodeURIComponent(resource)}/export`, { key, read });
}

async function readThread(get, thread) {
  const path = `/threads/${encodeURIComponent(thread.id)}`;
  const messages = [];
  for (let offset = 0; ; offset += PAGE) {
    const page = await get(`${path}/messages?limit=${PAGE}&offset=${offset}&order=asc`);
    messages.push(...(page.messages ?? []));
    if ((page.messages ?? []).length < PAGE) break;
  }
  const problems = [];
  const optional = async (name) => {
    try {
      return await get(`${path}/${name}`);
    } catch (error) {
      // A gateway without the operation, or a thread without observations.
      if (error.status !== 404) problems.push(`its ${name} could not be read: ${error.message}`);
      return {};
    }
  };
  const { observations } = await optional("observations");
  const { record } = await optional("observations/record");
  const began = time(thread.createdAt) ?? Date.now();
  const said = saidLines(thread.id, messages, began);
  const log =
    typeof observations === "string" && observations.trim() ? observations : record?.activeObservations;
  const until = time(record?.lastObservedAt) ?? said.lines.at(-1)?.createdAt ?? began;
  const title = typeof thread.title === "string" && thread.title ? thread.title : null;
  return {
    thread: {
      ...{ type: "thread", thread: thread.id, resourceId: thread.resourceId, title },
      metadata: thread.metadata ?? null,
      createdAt: began,
      updatedAt: time(thread.updatedAt) ?? began,
    },
    said: said.lines,
    observed:
      typeof log === "string" && log.trim()
        ? { type: "observed", thread: thread.id, until, text: log }
        : undefined,
    problems: [...said.problems, ...problems],
  };
}
