//! Stored messages in the form of the memory API.
//!
//! Invariant: every part of a message has a form here; what is no text is described by its type and reference.

use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};

use crate::protocol::PublicMessage;
use crate::turn::{Media, Part, PartKind, Source};

/// `{messages, total}`.
pub fn messages(thread: &str, messages: Vec<PublicMessage>, total: u64) -> Value {
    let messages: Vec<Value> = messages.iter().map(|message| public(thread, message)).collect();
    json!({ "messages": messages, "total": total })
}

fn public(thread: &str, stored: &PublicMessage) -> Value {
    json!({
        "id": stored.id,
        "threadId": thread,
        "role": stored.message.role.as_str(),
        "content": stored.message.parts.iter().map(part).collect::<Vec<_>>(),
        "type": "text",
        "status": if stored.incomplete { "incomplete" } else { "complete" },
        "createdAt": iso_time(stored.created_at),
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

/// ISO 8601 in UTC with milliseconds, from Unix milliseconds.
pub fn iso_time(ms: u64) -> String {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    DateTime::from_timestamp_millis(ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_iso_8601_with_milliseconds() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_798_761_600_123, "2027-01-01T00:00:00.123Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(iso_time(ms), text);
        }
    }
}
