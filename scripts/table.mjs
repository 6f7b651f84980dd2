// Owns how lists look in a terminal.
// Invariant: a row is one line, whatever is in its cells, and numbers stand under one another.

/** Lines of a table: `columns` as `[[title, row => cell], …]`. An absent cell is a dash. */
export function table(columns, rows) {
  const cells = rows.map((row) => columns.map(([, read]) => read(row)));
  const texts = [columns.map(([title]) => title), ...cells.map((row) => row.map(plain))];
  const widths = columns.map((_, at) => Math.max(...texts.map((row) => width(row[at]))));
  const isNumber = columns.map((_, at) => {
    const present = cells.map((row) => row[at]).filter((cell) => cell !== null && cell !== undefined);
    return present.length > 0 && present.every((cell) => typeof cell === "number");
  });
  return texts.map((row) =>
    row
      .map((text, at) => {
        const fill = " ".repeat(widths[at] - width(text));
        return isNumber[at] ? fill + text : text + fill;
      })
      .join("  ")
      .trimEnd(),
  );
}

/** Control characters of a cell that came from elsewhere must not move the terminal's cursor. */
function plain(cell) {
  if (cell === null || cell === undefined || cell.length === 0) return "-";
  const text = Array.isArray(cell)
    ? cell.join(",")
    : typeof cell === "object"
      ? JSON.stringify(cell)
      : `${cell}`;
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, " ");
}

const width = (text) => [...text].length;
