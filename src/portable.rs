//! What the gateway remembers, as lines of JSON: out of one gateway and into another, or the same.
//!
//! A file begins with a line of type `export` and ends with one of type `end` that counts the others, so that a file which was
//! cut is seen to be. Between them stand the threads, each as its `thread` line, what its memory holds, and its messages last;
//! then the facts of the resource's profile. Times are Unix milliseconds. `cursor` lines say where an export can go on.
//!
//! Invariant: a line has the same bytes whenever the same row is written, and a row that is read from a line is written as that
//! line again. Which fields a line has stands in [`KINDS`] and nowhere else.

pub mod intake;
pub mod observed;
pub mod report;
pub mod said;

use std::fmt;

use serde_json::{Map, Value, json};

use crate::memory::database::{Row, Value as Cell};

/// The number of this form; goes up when a reader of the old one would misread the new one.
pub const FORMAT: u64 = 1;
/// The largest number that JSON carries exactly everywhere.
const MAX_NUMBER: i64 = 1 << 53;

/// What a field of a line holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// A whole number.
    Number,
    /// A whole number, or null.
    MaybeNumber,
    /// A text.
    Text,
    /// A text, or null.
    MaybeText,
    /// JSON that is stored as its text.
    Json,
    /// JSON that is stored as its text, or null.
    MaybeJson,
}

/// A field of a line, and the column behind it.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name in the line.
    pub name: &'static str,
    /// Its column.
    pub column: &'static str,
    /// What it holds.
    pub holds: Holds,
}

/// One kind of rows of a thread.
#[derive(Debug)]
pub struct Kind {
    /// The `type` of its lines.
    pub name: &'static str,
    /// Its table.
    pub table: &'static str,
    /// Its fields; the first is the number that orders the rows.
    pub fields: &'static [Field],
    /// The columns that never change once a row is there: two rows that differ in one are not the same row. Without any, the
    /// row that is there stays.
    pub identity: &'static [&'static str],
    /// How many bytes a row has, roughly, in SQL.
    pub size: &'static str,
}

const fn field(name: &'static str, column: &'static str, holds: Holds) -> Field {
    Field { name, column, holds }
}

/// The kinds of a thread's rows, in the order of their lines. Messages come last: what was noted of them is there before them,
/// so that nothing is noted twice.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "turn",
        table: "turns",
        fields: &[
            field("seq", "seq", Holds::Number),
            field("id", "id", Holds::Text),
            field("status", "status", Holds::Text),
            field("startedAt", "started_at", Holds::Number),
            field("finishedAt", "finished_at", Holds::MaybeNumber),
            field("messages", "messages", Holds::Number),
            field("supersededBy", "superseded_by", Holds::MaybeNumber),
            field("provider", "provider", Holds::MaybeText),
            field("model", "model", Holds::MaybeText),
            field("usage", "usage", Holds::MaybeJson),
            field("stop", "stop", Holds::MaybeJson),
        ],
        identity: &["id", "started_at"],
        size: "200",
    },
    Kind {
        name: "segment",
        table: "segments",
        fields: &[
            field("id", "id", Holds::Number),
            field("kind", "kind", Holds::Text),
            field("state", "state", Holds::Text),
            field("cycle", "cycle", Holds::MaybeText),
            field("from", "seq_from", Holds::Number),
            field("to", "seq_to", Holds::Number),
            field("tokens", "tokens", Holds::Number),
            field("attempt", "attempt", Holds::Number),
            field("level", "level", Holds::Number),
            field("notBefore", "not_before", Holds::Number),
            field("leaseUntil", "lease_until", Holds::MaybeNumber),
            field("plannedAt", "planned_at", Holds::Number),
            field("readyAt", "ready_at", Holds::MaybeNumber),
            field("activatedAt", "activated_at", Holds::MaybeNumber),
            field("provider", "provider", Holds::MaybeText),
            field("model", "model", Holds::MaybeText),
            field("tokensIn", "tokens_in", Holds::Number),
            field("tokensOut", "tokens_out", Holds::Number),
            field("error", "error", Holds::MaybeText),
            field("script", "script", Holds::MaybeText),
        ],
        identity: &["kind", "seq_from", "planned_at"],
        size: "400 + coalesce(length(script), 0)",
    },
    Kind {
        name: "note",
        table: "notes",
        fields: &[
            field("id", "id", Holds::Number),
            field("segment", "segment", Holds::Number),
            field("parent", "parent", Holds::MaybeNumber),
            field("priority", "priority", Holds::Text),
            field("speaker", "speaker", Holds::Text),
            field("saidAt", "said_at", Holds::Number),
            field("refers", "refers", Holds::MaybeText),
            field("key", "key", Holds::MaybeText),
            field("text", "text", Holds::Text),
            field("sources", "sources", Holds::Json),
            field("lastSource", "last_source", Holds::Number),
            field("tokens", "tokens", Holds::Number),
            field("status", "status", Holds::Text),
            field("supersededBy", "superseded_by", Holds::MaybeNumber),
            field("frozen", "frozen", Holds::Number),
            field("createdAt", "created_at", Holds::Number),
        ],
        identity: &["segment", "said_at", "created_at"],
        size: "400 + length(text)",
    },
    Kind {
        name: "log",
        table: "render",
        fields: &[
            field("ord", "ord", Holds::Number),
            field("segment", "segment", Holds::Number),
            field("lastDay", "last_day", Holds::MaybeText),
            field("text", "bytes", Holds::Text),
        ],
        identity: &[],
        size: "100 + length(bytes)",
    },
    Kind {
        name: "gap",
        table: "gaps",
        fields: &[field("seq", "seq", Holds::Number), field("text", "text", Holds::Text)],
        identity: &[],
        size: "100 + length(text)",
    },
    Kind {
        name: "state",
        table: "state",
        fields: &[field("one", "one", Holds::Number), field("state", "body", Holds::Json)],
        identity: &[],
        size: "length(body)",
    },
    Kind {
        name: "message",
        table: "messages",
        fields: &[
            field("seq", "seq", Holds::Number),
            field("id", "id", Holds::Text),
            field("role", "role", Holds::Text),
            field("createdAt", "created_at", Holds::Number),
            field("incomplete", "incomplete", Holds::Number),
            field("supersededBy", "superseded_by", Holds::MaybeNumber),
            field("segment", "segment", Holds::MaybeNumber),
            field("covered", "covered", Holds::Number),
            field("tokens", "tokens", Holds::Number),
            field("contentHash", "content_hash", Holds::Text),
            field("chainHash", "chain_hash", Holds::MaybeText),
            field("message", "body", Holds::Json),
        ],
        identity: &["id", "content_hash", "created_at"],
        size: "400 + length(body) + (SELECT coalesce(sum(length(r.body)), 0) FROM message_rest AS r WHERE r.seq = messages.seq)",
    },
];

impl Kind {
    /// The kind of a line's `type`, with its place in [`KINDS`].
    pub fn of(name: &str) -> Option<(usize, &'static Kind)> {
        KINDS.iter().enumerate().find(|(_, kind)| kind.name == name)
    }

    /// The column that orders the rows.
    pub fn key(&self) -> &'static str {
        self.fields.first().map_or("rowid", |field| field.column)
    }

    /// All columns, in the order of the fields.
    pub fn columns(&self) -> String {
        self.fields.iter().map(|field| field.column).collect::<Vec<_>>().join(", ")
    }

    /// The line of a row that has the kind's columns.
    pub fn line(&self, thread: &str, row: &Row) -> String {
        let mut line = Map::new();
        line.insert("type".into(), self.name.into());
        line.insert("thread".into(), thread.into());
        for (at, field) in self.fields.iter().enumerate() {
            let value = match (row.optional(at), field.holds) {
                (None, _) => Value::Null,
                (Some(cell), Holds::Number | Holds::MaybeNumber) => cell.integer().into(),
                (Some(cell), Holds::Text | Holds::MaybeText) => cell.text().into(),
                (Some(cell), Holds::Json | Holds::MaybeJson) => {
                    serde_json::from_str(&cell.text()).unwrap_or(Value::Null)
                }
            };
            line.insert(field.name.into(), value);
        }
        Value::Object(line).to_string()
    }

    /// The row of a line. Errors: the field that is missing or of another type.
    pub fn row(&self, line: &Map<String, Value>) -> Result<Row, &'static str> {
        let cell = |field: &Field| {
            let value = line.get(field.name).unwrap_or(&Value::Null);
            let number = || value.as_i64().filter(|number| number.abs() <= MAX_NUMBER).map(Cell::Integer);
            let text = || value.as_str().map(Cell::from);
            let json = || (!value.is_null()).then(|| Cell::Text(value.to_string()));
            match field.holds {
                Holds::MaybeNumber | Holds::MaybeText | Holds::MaybeJson if value.is_null() => {
                    Some(Cell::Null)
                }
                Holds::Number | Holds::MaybeNumber => number(),
                Holds::Text | Holds::MaybeText => text(),
                Holds::Json | Holds::MaybeJson => json(),
            }
            .ok_or(field.name)
        };
        let cells: Vec<Cell> = self.fields.iter().map(cell).collect::<Result<_, _>>()?;
        let row = Row(cells);
        if row.integer(0) < 1 {
            return Err(self.fields.first().map_or("type", |field| field.name));
        }
        Ok(row)
    }
}

/// Where an export goes on: behind a row of a thread, or at a thread that has not begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The thread's id.
    pub thread: String,
    /// The row's kind, by its place in [`KINDS`]; `None` before the thread's first line.
    pub row: Option<(usize, i64)>,
}

impl Cursor {
    /// Reads the text form; `None` for what is none.
    pub fn read(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once('.')?;
        let (number, thread) = rest.split_once('.')?;
        let row = match kind {
            "-" => None,
            kind => Some((kind.parse().ok().filter(|at| *at < KINDS.len())?, number.parse().ok()?)),
        };
        (!thread.is_empty()).then(|| Cursor { thread: thread.to_owned(), row })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.row {
            Some((kind, number)) => write!(out, "{kind}.{number}.{}", self.thread),
            None => write!(out, "-.-.{}", self.thread),
        }
    }
}

/// The first line. `of` is the resource or thread that is exported.
pub fn header(project: &str, of: (&str, &str)) -> String {
    json!({ "type": "export", "format": FORMAT, "projectId": project, of.0: of.1 }).to_string()
}

/// A line that says where an export can go on.
pub fn cursor_line(cursor: &Cursor) -> String {
    json!({ "type": "cursor", "after": cursor.to_string() }).to_string()
}

/// The last line. `lines` counts those in front of it of this answer, its header among them.
pub fn end(lines: u64, threads: u64) -> String {
    json!({ "type": "end", "lines": lines, "threads": threads }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_becomes_a_line_and_the_line_the_row_again() {
        let (_, kind) = Kind::of("gap").unwrap();
        let row = Row(vec![Cell::Integer(7), "two\nlines é".into()]);
        let line = kind.line("a/b", &row);
        assert_eq!(line, r#"{"type":"gap","thread":"a/b","seq":7,"text":"two\nlines é"}"#);
        let read: Map<String, Value> = serde_json::from_str(&line).unwrap();
        assert_eq!(kind.row(&read), Ok(row));
    }

    #[test]
    fn a_field_that_is_missing_or_of_another_type_is_named() {
        let (_, kind) = Kind::of("log").unwrap();
        for (line, wrong) in [
            (r#"{"ord":1,"segment":2,"lastDay":null}"#, "text"),
            (r#"{"ord":"1","segment":2,"lastDay":null,"text":""}"#, "ord"),
            (r#"{"ord":0,"segment":2,"text":""}"#, "ord"),
            (r#"{"ord":1e300,"segment":2,"text":""}"#, "ord"),
            (r#"{"ord":1,"segment":9007199254740993,"text":""}"#, "segment"),
            (r#"{"ord":1,"segment":2,"lastDay":3,"text":""}"#, "lastDay"),
        ] {
            assert_eq!(kind.row(&serde_json::from_str(line).unwrap()), Err(wrong), "{line}");
        }
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_nothing_else_is() {
        for cursor in [
            Cursor { thread: "a.b/é".into(), row: Some((6, 1 << 20)) },
            Cursor { thread: "t".into(), row: None },
        ] {
            assert_eq!(Cursor::read(&cursor.to_string()), Some(cursor));
        }
        for text in ["", "1", "1.2", "1.2.", "99.2.t", "x.2.t", "1.x.t"] {
            assert_eq!(Cursor::read(text), None, "{text}");
        }
    }
}
