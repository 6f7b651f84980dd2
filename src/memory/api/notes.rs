//! Notes one by one, and the log as it was.

use serde_json::{Value, json};

use super::body::{self, Fields};
use crate::api::query_parameter;
use crate::error::Error;
use crate::memory::note::{Days, Priority};
use crate::memory::note_id;
use crate::memory::store::NoteStatus;
use crate::protocol::PublicNote;
use crate::time::{from_rfc3339, iso};

/// The longest text that a note can be given, in characters.
pub const MAX_TEXT_CHARS: usize = 2_000;

/// `PATCH /v1/memory/notes/{id}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    /// What it is to say.
    pub text: Option<String>,
    /// How much it is to matter.
    pub priority: Option<Priority>,
}

impl Correction {
    /// Reads the body. Errors: 400 that names the field, and for a body that changes nothing.
    pub fn read(body: &[u8]) -> Result<Self, Error> {
        let object = body::read(body)?;
        let fields = Fields::of(&object);
        let text = fields.text("text")?.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
        if text.as_ref().is_some_and(|text| text.is_empty() || text.chars().count() > MAX_TEXT_CHARS) {
            return Err(fields.refuse("text", &format!("must have 1 to {MAX_TEXT_CHARS} characters")));
        }
        let priority = match fields.text("priority")? {
            None => None,
            Some(word) => Some(
                priority_of(word).ok_or_else(|| fields.refuse("priority", "must be high, medium or low"))?,
            ),
        };
        if text.is_none() && priority.is_none() {
            return Err(Error::invalid("text", "Give text, priority or both."));
        }
        Ok(Correction { text, priority })
    }
}

const PRIORITIES: [(&str, Priority); 3] =
    [("high", Priority::High), ("medium", Priority::Medium), ("low", Priority::Low)];

fn priority_of(word: &str) -> Option<Priority> {
    PRIORITIES.into_iter().find(|(known, _)| *known == word).map(|(_, priority)| priority)
}

/// Which notes a query asks for by `status`: those of one status, `all`, or, by default, those that are or will be in the
/// log. Errors: 400 that names the parameter.
pub fn statuses(query: &str) -> Result<Vec<NoteStatus>, Error> {
    match query_parameter(query, "status").as_deref() {
        None | Some("") => Ok(vec![NoteStatus::Active, NoteStatus::Buffered]),
        Some("all") => Ok(NoteStatus::ALL.to_vec()),
        Some(word) => NoteStatus::from_word(word).map(|status| vec![status]).ok_or_else(|| {
            Error::invalid("status", "`status` must be active, buffered, superseded, dropped or all.")
        }),
    }
}

/// The time that a query asks for by `from` and `to`, in Unix milliseconds; without them, all of it. Errors: 400 that names
/// the parameter.
pub fn span(query: &str) -> Result<(u64, u64), Error> {
    let at = |name: &str, default| match query_parameter(query, name).filter(|text| !text.is_empty()) {
        None => Ok(default),
        // A `+` of a time zone that was not encoded has become a space.
        Some(text) => from_rfc3339(&text.replace(' ', "+")).ok_or_else(|| {
            Error::invalid(
                name,
                format!(
                    "`{name}` must be a time in ISO 8601 with its zone, such as 2026-11-26T12:00:00.000Z."
                ),
            )
        }),
    };
    Ok((at("from", 0)?, at("to", u64::MAX)?))
}

/// The refusal of an id that leads to no note.
pub fn not_found() -> Error {
    Error::not_found("There is no such note. GET /v1/memory/threads/{id}/notes lists those of a thread.")
}

/// The refusal to change a note that has left the log.
pub fn gone(thread: &str, successor: Option<i64>) -> Error {
    let instead = match successor {
        Some(id) => format!("The note `{}` took its place; correct that one.", note_id::write(thread, id)),
        None => "Only notes that are active or buffered can be corrected.".to_owned(),
    };
    Error::conflict(format!("The note has left the log. {instead}"))
}

/// `{notes, total}`.
pub fn page(thread: &str, notes: &[PublicNote], total: u64) -> Value {
    let notes: Vec<Value> = notes.iter().map(|note| fields_of(thread, note)).collect();
    json!({ "notes": notes, "total": total })
}

/// `{note}`.
pub fn one(thread: &str, note: &PublicNote) -> Value {
    json!({ "note": fields_of(thread, note) })
}

fn fields_of(thread: &str, note: &PublicNote) -> Value {
    let id = |number: i64| note_id::write(thread, number);
    let days = note.refers.as_deref().and_then(Days::read);
    json!({
        "id": id(note.id),
        "threadId": thread,
        "text": note.text,
        "priority": PRIORITIES.iter().find(|(_, known)| *known == note.priority).map(|(word, _)| word),
        "speaker": note.speaker.as_str(),
        "saidAt": iso(note.said_at),
        "refersTo": days.map(|days| json!({ "from": days.from.to_string(), "to": days.to.to_string() })),
        "key": note.key,
        "status": note.status.as_str(),
        "parentId": note.parent.map(id),
        "supersededBy": note.superseded_by.map(id),
        "messageIds": note.messages,
        "tokens": note.tokens,
        "createdAt": iso(note.created_at),
        "correctedAt": note.corrected_at.map(iso),
    })
}

/// `{ok, receipt}` of a note that was forgotten.
pub fn receipt(id: &str, deleted_at: u64, notes: u64, restored: u64) -> Value {
    json!({
        "ok": true,
        "receipt": {
            "id": id,
            "scope": "note",
            "counts": { "notes": notes, "restored": restored },
            "deletedAt": iso(deleted_at),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_correction_is_one_line_and_says_something() {
        let read = |body: &str| {
            Correction::read(body.as_bytes())
                .map(|read| (read.text, read.priority))
                .map_err(|error| error.body()["error"]["param"].as_str().unwrap_or_default().to_owned())
        };
        assert_eq!(
            read("{\"text\":\" The user's\\n name is  Alexa. \",\"priority\":\"high\"}"),
            Ok((Some("The user's name is Alexa.".into()), Some(Priority::High)))
        );
        assert_eq!(read(r#"{"priority":"low"}"#), Ok((None, Some(Priority::Low))));
        let long = format!(r#"{{"text":"{}"}}"#, "é".repeat(2_001));
        for (body, param) in [
            ("{}", "text"),
            (r#"{"text":null}"#, "text"),
            (r#"{"text":"\n"}"#, "text"),
            (r#"{"text":7}"#, "text"),
            (&long, "text"),
            (r#"{"text":"x","priority":"urgent"}"#, "priority"),
        ] {
            assert_eq!(read(body), Err(param.into()), "{body:.60}");
        }
    }

    #[test]
    fn statuses_and_times_are_read_and_refused_by_name() {
        assert_eq!(statuses(""), Ok(vec![NoteStatus::Active, NoteStatus::Buffered]));
        assert_eq!(statuses("status=dropped"), Ok(vec![NoteStatus::Dropped]));
        assert_eq!(statuses("status=all").unwrap().len(), 4);
        assert_eq!(statuses("status=lost").unwrap_err().body()["error"]["param"], "status");
        assert_eq!(span(""), Ok((0, u64::MAX)));
        assert_eq!(span("from=1970-01-01T01:00:00.001+01:00&to=1970-01-01T00:00:00.002Z"), Ok((1, 2)));
        assert_eq!(span("to=now").unwrap_err().body()["error"]["param"], "to");
    }
}
