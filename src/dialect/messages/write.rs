//! Messages and their parts, written as the API takes them.
//!
//! Invariant: what is written is what the API takes, wherever the message came from: no blank texts, no unsigned
//! thinking, no media of a type it does not know, and ids and names in its alphabet. Signatures and blocks without a word
//! in the hub go back only to the provider that they came from. A part that cannot be said is left out of a stored
//! message, and is an error in one that the client sent.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::dialect::fields::only_text;
use crate::error::Error;
use crate::free_text;
use crate::seal;
use crate::turn::{Media, Message, Origin, Part, PartKind, Reasoning, Role, Source, ToolResult};

/// The picture types that the API takes.
const IMAGE_TYPES: &[&str] = &["image/jpeg", "image/png", "image/gif", "image/webp"];

/// Extras that are the gateway's own and no field of a block: it refuses what it does not know.
const OURS: &[&str] = &["annotations", "logprobs"];

/// How the parts of one message are written.
#[derive(Clone, Copy, Debug)]
pub struct Writing<'a> {
    /// Who they go to.
    pub target: &'a Origin,
    /// They come from there.
    pub native: bool,
    /// Where the message stands in the client's request; `None` for a stored one.
    pub place: Option<&'a str>,
    /// Cache hints are kept even if the message comes from elsewhere.
    pub hints: bool,
}

/// Writes a stored message as elements of `messages`; none when it holds nothing that the API takes.
pub fn write_message(message: &Message, target: &Origin) -> Vec<Value> {
    let native = message.is_native_to(target);
    let writing = Writing { target, native, place: None, hints: false };
    let Ok(Some(content)) = writing.content(sayable(message), "") else { return Vec::new() };
    let mut object = Map::new();
    object.insert("role".into(), if message.role == Role::Assistant { "assistant" } else { "user" }.into());
    object.insert("content".into(), content);
    if native {
        object.extend(message.extra.clone());
    }
    vec![Value::Object(object)]
}

/// The parts of a message but for reasoning at the end of the assistant's: the API takes no message that ends in thinking,
/// as one does that was cut short there.
pub fn sayable(message: &Message) -> &[Part] {
    let is_reasoning = |part: &Part| matches!(part.kind, PartKind::Reasoning(_));
    let end = match message.role {
        Role::Assistant => {
            message.parts.iter().rposition(|part| !is_reasoning(part)).map_or(0, |last| last + 1)
        }
        Role::User | Role::Tool => message.parts.len(),
    };
    message.parts.get(..end).unwrap_or_default()
}

impl Writing<'_> {
    /// A single text as a string, all else as blocks; `None` when nothing is left. Errors: as [`blocks`](Self::blocks).
    fn content(&self, parts: &[Part], within: &str) -> Result<Option<Value>, Error> {
        if let [part] = parts
            && let Some(text) = only_text(&[part], self.native || self.hints)
        {
            return Ok((!text.trim().is_empty()).then(|| text.into()));
        }
        let blocks = self.blocks(parts, within)?;
        Ok((!blocks.is_empty()).then(|| blocks.into()))
    }

    /// Parts as blocks. `within` is where in the message they stand. Errors: 400 that names the part's place.
    pub fn blocks(&self, parts: &[Part], within: &str) -> Result<Vec<Value>, Error> {
        let mut blocks = Vec::with_capacity(parts.len());
        for (at, part) in parts.iter().enumerate() {
            blocks.extend(self.block(part, &format!("{within}.content[{at}]"))?);
        }
        Ok(blocks)
    }

    fn block(&self, part: &Part, within: &str) -> Result<Option<Value>, Error> {
        let native = self.native;
        let block = match &part.kind {
            PartKind::Text(text) | PartKind::Refusal(text) if text.trim().is_empty() => None,
            PartKind::Text(text) | PartKind::Refusal(text) => Some(json!({"type": "text", "text": text})),
            PartKind::Image(media) => match image_source(media, native) {
                Some(source) => Some(json!({"type": "image", "source": source})),
                None => self.unsayable(within, "pictures must be JPEG, PNG, GIF or WebP")?,
            },
            PartKind::File(media) => match document_source(media, native) {
                Some(source) => {
                    let mut document = json!({"type": "document", "source": source});
                    if let (Some(name), Value::Object(fields)) = (&media.name, &mut document) {
                        fields.insert("title".into(), name.clone().into());
                    }
                    Some(document)
                }
                None => self.unsayable(within, "documents must be PDF or text")?,
            },
            PartKind::Audio(_) => self.unsayable(within, "sound has no place there")?,
            PartKind::ToolCall(call) => Some(
                json!({"type": "tool_use", "id": legal(&call.id), "name": legal(&call.name), "input": free_text::object(call)}),
            ),
            PartKind::ToolResult(result) => Some(self.result(result, within)?),
            PartKind::Reasoning(reasoning) => self.reasoning(reasoning, part),
            PartKind::Other(value) if native => Some(value.clone()),
            PartKind::Other(_) => None,
        };
        let Some(Value::Object(mut fields)) = block else { return Ok(block) };
        let has_type = fields.get("type").cloned();
        if native {
            let theirs = part.extra.iter().filter(|(name, _)| !OURS.contains(&name.as_str()));
            fields.extend(theirs.map(|(name, value)| (name.clone(), value.clone())));
            fields.extend(has_type.map(|kind| ("type".to_owned(), kind)));
        } else if self.hints
            && !matches!(part.kind, PartKind::Reasoning(_))
            && let Some(hint) = part.extra.get("cache_control").filter(|hint| hint.is_object())
        {
            fields.insert("cache_control".to_owned(), hint.clone());
        }
        Ok(Some(Value::Object(fields)))
    }

    fn unsayable(&self, within: &str, why: &str) -> Result<Option<Value>, Error> {
        let Some(place) = self.place else { return Ok(None) };
        let place = format!("{place}{within}");
        let words =
            format!("{place} cannot be translated for `{}`: {why}. Leave it out.", self.target.provider);
        Err(Error::invalid(&place, words).with_code("unsupported_field"))
    }

    fn reasoning(&self, reasoning: &Reasoning, part: &Part) -> Option<Value> {
        let seal = seal::opened(reasoning.sealed.as_deref()?, self.native, self.target)?;
        if part.extra.get("type").is_some_and(|kind| kind == "redacted_thinking") {
            return Some(json!({"type": "redacted_thinking", "data": seal}));
        }
        Some(json!({"type": "thinking", "thinking": reasoning.text, "signature": seal}))
    }

    fn result(&self, result: &ToolResult, within: &str) -> Result<Value, Error> {
        let mut object = Map::new();
        object.insert("type".into(), "tool_result".into());
        object.insert("tool_use_id".into(), legal(&result.call_id).into());
        let content = self.content(&result.content, within)?;
        object.extend(content.map(|content| ("content".to_owned(), content)));
        if result.is_error {
            object.insert("is_error".into(), true.into());
        }
        Ok(Value::Object(object))
    }
}

/// An id or a name in the API's alphabet. Other providers' ids hold dots and colons; a call and its result change alike.
pub fn legal(name: &str) -> String {
    if name.is_empty() {
        return "_".to_owned();
    }
    name.chars()
        .map(|char| if char.is_ascii_alphanumeric() || matches!(char, '_' | '-') { char } else { '_' })
        .collect()
}

fn image_source(media: &Media, native: bool) -> Option<Value> {
    match &media.source {
        Source::Url(url) => Some(json!({"type": "url", "url": url})),
        Source::Data(data) => {
            let media_type = match media.media_type.as_deref() {
                Some("image/jpg") => "image/jpeg",
                Some("image/*") | None => image_type(data),
                Some(media_type) => media_type,
            };
            (native || IMAGE_TYPES.contains(&media_type))
                .then(|| json!({"type": "base64", "media_type": media_type, "data": data}))
        }
        Source::FileId(id) => native.then(|| json!({"type": "file", "file_id": id})),
    }
}

/// The type of a picture by its first bytes, as they look in base64.
fn image_type(data: &str) -> &'static str {
    [("/9j/", "image/jpeg"), ("R0lG", "image/gif"), ("UklG", "image/webp")]
        .iter()
        .find(|(start, _)| data.starts_with(start))
        .map_or("image/png", |(_, media_type)| media_type)
}

fn document_source(media: &Media, native: bool) -> Option<Value> {
    match &media.source {
        Source::Url(url) => Some(json!({"type": "url", "url": url})),
        Source::Data(data) => {
            let media_type = media.media_type.as_deref().unwrap_or("application/pdf");
            if media_type == "application/pdf" || (native && !media_type.starts_with("text/")) {
                return Some(json!({"type": "base64", "media_type": media_type, "data": data}));
            }
            // All that is text (source code, JSON, CSV) is taken as plain text.
            let text = String::from_utf8(STANDARD.decode(data).ok()?).ok()?;
            Some(json!({"type": "text", "media_type": "text/plain", "data": text}))
        }
        Source::FileId(id) => native.then(|| json!({"type": "file", "file_id": id})),
    }
}
