//! Stored messages in the form of the memory API.
//!
//! Invariant: every part of a message has a form here; what is no text is described by its type and reference.

use serde_json::{Value, json};

use crate::protocol::PublicMessage;
use crate::time::iso;
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
