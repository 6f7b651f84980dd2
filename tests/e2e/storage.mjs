// Owns looking at what a gateway's objects and databases hold on disk: rows, and raw bytes.
// Invariant: nothing is changed by looking.
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { storageOf } from "../../scripts/local-database.mjs";

/** The files below the gateway's storage, without the log that wrangler keeps of requests' addresses. */
function files(gateway) {
  const entries = readdirSync(storageOf(gateway.state), { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return paths.filter((path) => !path.includes("observability"));
}

/** The files that hold any of these texts, in any case: a list of `file: text`. */
export function bytesWith(gateway, ...texts) {
  return files(gateway).flatMap((file) => {
    const bytes = readFileSync(file).toString("latin1").toLowerCase();
    const found = texts.filter((text) => bytes.includes(text.toLowerCase()));
    return found.map((text) => `${file}: ${text}`);
  });
}

/** The databases of one kind of object, or of D1, opened one after the other. */
function* databases(gateway, kind, options) {
  const isMine = (file) => file.includes(kind) && file.endsWith(".sqlite") && !file.includes("metadata");
  for (const file of files(gateway).filter(isMine)) {
    const database = new DatabaseSync(file, { timeout: 5_000, ...options });
    try {
      yield { file, database };
    } finally {
      database.close();
    }
  }
}

/**
 * Every row of every table of these databases, the index of words included: `[{ file, table, row }]`, `row` in JSON. Blobs
 * are given as the characters of their bytes, so that words in them are found.
 */
export function rowsOf(gateway, kind = "") {
  const rows = [];
  for (const { file, database } of databases(gateway, kind, { readOnly: true })) {
    const tables = database.prepare(
      "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'",
    );
    for (const { name } of tables.all()) {
      const all = database.prepare(`SELECT * FROM "${name}"`);
      all.setReadBigInts(true);
      for (const row of all.all()) {
        const readable = Object.entries(row).map(([column, value]) => {
          if (typeof value === "bigint") return [column, String(value)];
          return [column, value instanceof Uint8Array ? Buffer.from(value).toString("latin1") : value];
        });
        rows.push({ file, table: name, row: JSON.stringify(Object.fromEntries(readable)) });
      }
    }
  }
  return rows;
}

/** The rows that hold any of these texts, in any case: a list of `table: row`, cut short. */
export const rowsWith = (gateway, ...texts) =>
  rowsOf(gateway)
    .filter(({ row }) => texts.some((text) => row.toLowerCase().includes(text.toLowerCase())))
    .map(({ table, row }) => `${table}: ${row.slice(0, 300)}`);

/** Runs SQL in every database of a kind that has the table; for what no request can bring about. */
export function alter(gateway, kind, table, sql) {
  for (const { database } of databases(gateway, kind)) {
    const has = database.prepare("SELECT 1 FROM sqlite_master WHERE name = ?").get(table);
    if (has) database.exec(sql);
  }
}
