//! What is stored, in the form of the memory API.
//!
//! Invariant: every part of a message has a form here; what is no text is described by its type and reference.

use serde_json::{Value, json};

use super::database::Row;
use super::record::Record;
use super::search::results::{Located, Results};
use super::settings::Overrides;
use super::store::Thread;
use crate::error::Error;
use crate::protocol::{Deleted, HitKind, PublicMessage};
use crate::resource::protocol::Profile;
use crate::time::iso;
use crate::turn::{Media, Part, PartKind, Source};

/// More tokens than any model's window holds.
const MAX_TOKENS: u64 = 10_000_000;

/// `{messages, total}`.
pub fn messages(thread: &str, messages: Vec<PublicMessage>, total: u64) -> Value {
    let messages: Vec<Value> = messages.iter().map(|message| public(thread, message)).collect();
    json!({ "messages": messages, "total": total })
}

/// `{thread}`.
pub fn thread(thread: &Thread) -> Value {
    json!({ "thread": thread_fields(thread) })
}

/// What is told of a thread.
pub fn thread_fields(thread: &Thread) -> Value {
    let metadata = thread.metadata.as_deref().and_then(|json| serde_json::from_str::<Value>(json).ok());
    json!({
        "id": thread.id,
        "projectId": thread.project,
        "resourceId": thread.resource,
        "title": thread.title,
        "metadata": metadata,
        "createdAt": iso(thread.created_at),
        "updatedAt": iso(thread.updated_at),
    })
}

/// The log's lines, without the block that they stand in; `None` without a note.
pub fn observations(record: &Record) -> Value {
    json!({ "observations": lines(record) })
}

fn lines(record: &Record) -> Option<String> {
    let log = record.log.as_ref()?;
    let lines: Vec<&str> = log
        .lines()
        .skip_while(|line| !line.starts_with("## "))
        .take_while(|line| !line.starts_with("</"))
        .collect();
    Some(lines.join("\n"))
}

/// `{record}`; the record is null while nothing is noted and nothing under way.
pub fn record(record: &Record) -> Value {
    let Record { is_observing, is_reflecting, .. } = *record;
    let is_untouched = record.notes + record.buffered_notes == 0
        && record.last_observed_at.is_none()
        && !is_observing
        && record.failures == 0;
    if is_untouched {
        return json!({ "record": null });
    }
    let origin = match (record.reflections, record.last_observed_at) {
        (0, None) => "initial",
        (0, Some(_)) => "observation",
        _ => "reflection",
    };
    json!({ "record": {
        "id": record.thread,
        "scope": record.scope,
        "threadId": record.thread,
        "resourceId": record.resource,
        "createdAt": iso(record.created_at),
        "updatedAt": iso(record.updated_at),
        "lastObservedAt": record.last_observed_at.map(iso),
        "originType": origin,
        "generationCount": record.reflections,
        "activeObservations": lines(record),
        "totalTokensObserved": record.tokens_observed,
        "observationTokenCount": record.note_tokens,
        "pendingMessageTokens": record.raw_tokens,
        "isObserving": is_observing && record.is_over_observe,
        "isReflecting": is_reflecting && record.is_over_swap,
        "isBufferingObservation": is_observing && !record.is_over_observe,
        "isBufferingReflection": is_reflecting && !record.is_over_swap,
        "bufferedNotes": record.buffered_notes,
        "notTaken": record.junk,
        "failures": record.failures,
        "pausedUntil": record.paused_until.map(iso),
        "config": config_of(record),
    } })
}

/// `{results, complete, threads}`: what a search found, best first.
pub fn search(results: &Results) -> Value {
    let hits: Vec<Value> = results
        .hits
        .iter()
        .map(|Located { thread, hit }| {
            json!({
                "type": match hit.kind {
                    HitKind::Message => "message",
                    HitKind::Note => "note",
                },
                "id": hit.id,
                "threadId": thread,
                "role": hit.speaker,
                "priority": hit.priority,
                "createdAt": iso(hit.at),
                "snippet": hit.snippet,
                "score": hit.score,
                "isBeside": hit.is_beside,
            })
        })
        .collect();
    json!({
        "results": hits,
        "complete": results.complete,
        "threads": { "searched": results.searched, "total": results.threads },
    })
}

/// `{config}`.
pub fn config(record: &Record) -> Value {
    json!({ "config": config_of(record) })
}

fn config_of(record: &Record) -> Value {
    json!({
        "observation": { "messageTokens": record.thresholds.0, "model": record.models.0 },
        "reflection": { "observationTokens": record.thresholds.1, "model": record.models.1 },
        "scope": record.scope,
    })
}

/// Reads a configuration: `{messageTokens?, observationTokens?}` or `{observation: {messageTokens}, reflection:
/// {observationTokens}}`. Errors: 400 that names the field.
pub fn read_config(body: &[u8]) -> Result<Overrides, Error> {
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| Error::bad_request(format!("The body is not valid JSON: {error}.")))?;
    let number = |flat: &str, group: &str| {
        let nested = format!("/{group}/{flat}");
        match body.get(flat).or_else(|| body.pointer(&nested)) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                value.as_u64().filter(|number| (2..=MAX_TOKENS).contains(number)).map(Some).ok_or_else(|| {
                    Error::invalid(flat, format!("{flat} must be a whole number from 2 to {MAX_TOKENS}."))
                })
            }
        }
    };
    let observe_tokens = number("messageTokens", "observation")?;
    let swap_tokens = number("observationTokens", "reflection")?;
    if observe_tokens.is_none() && swap_tokens.is_none() {
        return Err(Error::invalid("messageTokens", "Give messageTokens, observationTokens or both."));
    }
    Ok(Overrides { observe_tokens, swap_tokens, ..Overrides::default() })
}

/// `{ok, receipt}` of what was deleted: a thread, some of its messages, a resource.
pub fn receipt(id: &str, scope: &str, deleted_at: u64, counts: Value) -> Value {
    json!({
        "ok": true,
        "receipt": { "id": id, "scope": scope, "counts": counts, "deletedAt": iso(deleted_at) },
    })
}

/// `{ok, receipt}` of a deleted thread; `None` where there was none.
pub fn receipt_of_thread(thread: &str, deleted: &Deleted) -> Option<Value> {
    let Deleted::Deleted { deleted_at, messages, notes, jobs, responses, .. } = deleted else { return None };
    let counts = json!({ "messages": messages, "notes": notes, "jobs": jobs, "responses": responses });
    Some(receipt(thread, "thread", *deleted_at, counts))
}

/// The most messages that one request deletes.
const MAX_DELETED: usize = 1_000;

/// Reads `{messageIds}`. Errors: 400 that names the field.
pub fn read_message_ids(body: &[u8]) -> Result<Vec<String>, Error> {
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| Error::bad_request(format!("The body is not valid JSON: {error}.")))?;
    let ids = body.get("messageIds").and_then(Value::as_array);
    let ids =
        ids.and_then(|ids| ids.iter().map(|id| id.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>());
    ids.filter(|ids| (1..=MAX_DELETED).contains(&ids.len())).ok_or_else(|| {
        Error::invalid(
            "messageIds",
            format!("Name in `messageIds` the messages to delete: an array of 1 to {MAX_DELETED} ids."),
        )
    })
}

/// `{resources, total}`: rows of id, first and last use, number of threads.
pub fn resources(rows: &[Row], total: u64) -> Value {
    json!({ "resources": rows.iter().map(resource_row).collect::<Vec<_>>(), "total": total })
}

/// `{resource, threads, total}`: a row as of [`resources`], and rows of threads: id, first and last use.
pub fn resource(row: &Row, threads: &[Row]) -> Value {
    let threads: Vec<Value> = threads
        .iter()
        .map(|row| json!({ "id": row.text(0), "createdAt": iso(row.unsigned(1)), "updatedAt": iso(row.unsigned(2)) }))
        .collect();
    json!({ "resource": resource_row(row), "threads": threads, "total": row.unsigned(3) })
}

/// `{resourceId, profile}`: the profile as models are told it; null when nothing is known.
pub fn profile(resource: &str, profile: &Profile) -> Value {
    json!({ "resourceId": resource, "profile": profile.text })
}

fn resource_row(row: &Row) -> Value {
    json!({
        "id": row.text(0),
        "createdAt": iso(row.unsigned(1)),
        "updatedAt": iso(row.unsigned(2)),
        "threads": row.unsigned(3),
    })
}

/// What is told of a message.
pub fn public(thread: &str, stored: &PublicMessage) -> Value {
    json!({
        "id": stored.id,
        "threadId": thread,
        "role": stored.message.role.as_str(),
        "content": stored.message.parts.iter().map(part).collect::<Vec<_>>(),
        "type": "text",
        "status": if stored.incomplete { "incomplete" } else { "complete" },
        "createdAt": iso(stored.created_at),
    })
}

fn part(part: &Part) -> Value {
    match &part.kind {
        PartKind::Text(text) => json!({"type": "text", "text": text}),
        PartKind::Refusal(text) => json!({"type": "refusal", "refusal": text}),
        PartKind::Image(media) => reference("image", media),
        PartKind::Audio(media) => reference("audio", media),
        PartKind::File(media) => reference("file", media),
        PartKind::ToolCall(call) => json!({
            "type": "tool_call", "toolCallId": call.id, "toolName": call.name, "arguments": call.arguments,
        }),
        PartKind::ToolResult(result) => json!({
            "type": "tool_result",
            "toolCallId": result.call_id,
            "content": result.content.iter().map(self::part).collect::<Vec<_>>(),
        }),
        PartKind::Reasoning(reasoning) => json!({"type": "reasoning", "text": reasoning.text}),
        PartKind::Other(value) => json!({"type": "other", "value": value}),
    }
}

fn reference(kind: &str, media: &Media) -> Value {
    let (field, value) = match &media.source {
        Source::Url(url) => ("url", url),
        Source::Data(data) => ("data", data),
        Source::FileId(id) => ("fileId", id),
    };
    let mut described = json!({ "type": kind, "mediaType": media.media_type, "name": media.name });
    if let Value::Object(fields) = &mut described {
        fields.insert(field.to_owned(), value.clone().into());
    }
    described
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_read_flat_or_grouped_and_refused_by_name() {
        let read = |text: &str| {
            read_config(text.as_bytes())
                .map(|read| (read.observe_tokens, read.swap_tokens))
                .map_err(|error| error.body()["error"]["param"].as_str().unwrap_or_default().to_owned())
        };
        assert_eq!(read(r#"{"messageTokens":500}"#), Ok((Some(500), None)));
        assert_eq!(
            read(r#"{"observation":{"messageTokens":500},"reflection":{"observationTokens":900}}"#),
            Ok((Some(500), Some(900)))
        );
        assert_eq!(read(r#"{"messageTokens":1}"#), Err("messageTokens".into()));
        assert_eq!(read(r#"{"observationTokens":"many"}"#), Err("observationTokens".into()));
        assert_eq!(read("{}"), Err("messageTokens".into()));
        assert_eq!(read("{"), Err(String::new()));
    }

    #[test]
    fn a_hit_says_what_it_is_where_it_stands_and_when_it_was_said() {
        let hit = crate::protocol::Hit {
            kind: HitKind::Note,
            id: "7".into(),
            seqs: vec![1],
            speaker: "user".into(),
            priority: Some("H".into()),
            at: 1_798_761_600_123,
            snippet: "The user's name is Alex.".into(),
            score: 1.5,
            is_beside: false,
        };
        let mut results = Results::among(2);
        results.add("t", vec![hit], true);
        assert_eq!(
            search(&results.best(10)),
            json!({ "results": [{
                "type": "note", "id": "7", "threadId": "t", "role": "user", "priority": "H",
                "createdAt": "2027-01-01T00:00:00.123Z", "snippet": "The user's name is Alex.", "score": 1.5,
                "isBeside": false,
            }], "complete": false, "threads": { "searched": 1, "total": 2 } })
        );
    }
}
