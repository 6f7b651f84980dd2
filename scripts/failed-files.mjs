// Owns a reporter of Node's test runner that names the files in which a test failed, one a line.
// Invariant: a file is named for each failure of its own, and for no other reason.
import { relative } from "node:path";

export default async function* failedFiles(events) {
  for await (const { type, data } of events) {
    if (type === "test:fail" && data.file) yield `${relative(process.cwd(), data.file)}\n`;
  }
}
