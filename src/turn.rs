//! The canonical conversation: what the gateway stores, compares and translates, whatever dialect it arrived in.
//!
//! Invariant: reading a message from a dialect and writing it back to the same dialect and provider loses nothing a
//! model can see. Wire fields without a word here ride along in `extra`, and go back only to where they came from.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::dialect::Dialect;
use crate::seal;

/// Who speaks. System and developer texts belong to the caller's request; they are forwarded and never stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The person or program that asks.
    User,
    /// The model.
    Assistant,
    /// The result of a tool call.
    Tool,
}

impl Role {
    /// The word that all wire formats use for the role.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
        }
    }

    /// The role behind the word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Role::User, Role::Assistant, Role::Tool].into_iter().find(|role| role.as_str() == word)
    }
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said, in order.
    pub parts: Vec<Part>,
    /// The participant's name, where the client gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The dialect and provider that the message was written in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Fields of the wire message that have no word here.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

/// Where a message was written. Provider-specific fields are returned only to the same place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The wire format.
    pub dialect: Dialect,
    /// The provider's name, as in the model id's prefix.
    pub provider: String,
}

/// One piece of a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// What the piece is.
    pub kind: PartKind,
    /// Fields of the wire part that have no word here (cache hints, signatures, annotations).
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

/// What a piece of a message is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartKind {
    /// Plain text.
    Text(String),
    /// The model's words when it declines.
    Refusal(String),
    /// A picture.
    Image(Media),
    /// Sound.
    Audio(Media),
    /// A document.
    File(Media),
    /// The model asks for a tool.
    ToolCall(ToolCall),
    /// What the tool returned.
    ToolResult(ToolResult),
    /// The model's reasoning, as far as the provider shows it.
    Reasoning(Reasoning),
    /// A part that only its own dialect understands, kept whole.
    Other(Value),
}

/// A picture, a sound or a document, by reference or by value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    /// Where the bytes are.
    pub source: Source,
    /// The MIME type, or the bare format where the dialect gives only that (`wav`, `mp3`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The file's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The resolution that the client asked for (`low`, `high`, `auto`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Where the bytes of a [`Media`] are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A web address.
    Url(String),
    /// Base64 text.
    Data(String),
    /// The provider's own file id.
    FileId(String),
}

/// A request of the model to run a tool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Ties the result to the call.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// The arguments as the model wrote them: JSON text for functions, free text for custom tools.
    pub arguments: String,
    /// True for a custom (free-text) tool.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub custom: bool,
    /// The sealed thoughts that led to the call, which the provider wants back with it (Gemini's thought signature).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<String>,
}

/// What a tool returned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolResult {
    /// The id of the call that it answers.
    pub call_id: String,
    /// Text, images or files.
    pub content: Vec<Part>,
    /// True when the tool was a custom (free-text) one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub custom: bool,
    /// True when the client said that the tool failed. Only Messages has a word for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_error: bool,
}

/// Reasoning of the model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reasoning {
    /// What can be read of it.
    pub text: String,
    /// The sealed form that the provider wants back, verbatim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<String>,
    /// The provider's id of the item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

impl ToolCall {
    /// The arguments as providers take them: a function that was called without any got `{}`.
    pub fn written_arguments(&self) -> &str {
        if self.arguments.is_empty() && !self.custom { "{}" } else { &self.arguments }
    }

    /// The arguments with sorted keys and without white space, numbers as written; nothing at all is `{}`. What is no
    /// JSON, and the free text of a custom tool, stays as it is.
    pub fn canonical_arguments(&self) -> Cow<'_, str> {
        if self.custom {
            return Cow::Borrowed(&self.arguments);
        }
        if self.arguments.trim().is_empty() {
            return Cow::Borrowed("{}");
        }
        match serde_json::from_str::<Value>(&self.arguments) {
            Ok(mut value) => {
                value.sort_all_objects();
                Cow::Owned(value.to_string())
            }
            Err(_) => Cow::Borrowed(&self.arguments),
        }
    }
}

impl From<PartKind> for Part {
    fn from(kind: PartKind) -> Self {
        Part { kind, extra: Map::new() }
    }
}

impl Part {
    /// A text part without extras.
    pub fn text(text: impl Into<String>) -> Self {
        PartKind::Text(text.into()).into()
    }

    /// True for a text without words and for reasoning without anything: what a stream opens and never fills.
    pub fn is_blank(&self) -> bool {
        match &self.kind {
            PartKind::Text(text) => text.is_empty() && self.extra.is_empty(),
            PartKind::Reasoning(reasoning) => *reasoning == Reasoning::default(),
            _ => false,
        }
    }
}

impl Message {
    /// A message without name, origin or extras.
    pub fn new(role: Role, parts: Vec<Part>) -> Self {
        Message { role, parts, name: None, origin: None, extra: Map::new() }
    }

    /// The texts of the message, one after the other.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for part in &self.parts {
            if let PartKind::Text(text) = &part.kind {
                out.push_str(text);
            }
        }
        out
    }

    /// The tool calls of the message, in order.
    pub fn tool_calls(&self) -> impl Iterator<Item = &ToolCall> {
        self.parts.iter().filter_map(|part| match &part.kind {
            PartKind::ToolCall(call) => Some(call),
            _ => None,
        })
    }

    /// The tool results of the message, in order.
    pub fn tool_results(&self) -> impl Iterator<Item = &ToolResult> {
        self.parts.iter().filter_map(|part| match &part.kind {
            PartKind::ToolResult(result) => Some(result),
            _ => None,
        })
    }

    /// The message without the log probabilities of its tokens. No model reads them again, and they would outgrow the words
    /// in what is stored many times over.
    pub fn without_logprobs(mut self) -> Self {
        for part in &mut self.parts {
            part.extra.shift_remove("logprobs");
        }
        self
    }

    /// True for what the caller contributes to a conversation: user messages and tool results.
    pub fn is_input(&self) -> bool {
        self.role != Role::Assistant
    }

    /// True when it carries sealed thoughts in the form in which they pass through clients of other dialects.
    pub fn has_wrapped_seals(&self) -> bool {
        self.parts.iter().any(|part| match &part.kind {
            PartKind::Reasoning(reasoning) => reasoning.sealed.as_deref().is_some_and(seal::is_wrapped),
            PartKind::ToolCall(call) => call.sealed.as_deref().is_some_and(seal::is_wrapped),
            _ => false,
        })
    }

    /// True when provider-specific fields of this message may be sent to `target`.
    pub fn is_native_to(&self, target: &Origin) -> bool {
        self.origin.as_ref() == Some(target)
    }

    /// SHA-256 (hex) of role and content. Cache hints, ids of the provider and other extras do not count, because
    /// clients move or drop them between turns; neither does the way a single text is wrapped. The arguments of a call
    /// count as the JSON they are, not as its spelling: Messages carries them as an object, the others as text.
    pub fn content_hash(&self) -> String {
        let mut digest = Fields(Sha256::new());
        digest.field(self.role.as_str());
        for part in &self.parts {
            digest.part(&part.kind);
        }
        hex(&digest.0.finalize())
    }
}

/// Feeds length-prefixed fields into a digest, so that no two different messages share a byte sequence.
struct Fields(Sha256);

impl Fields {
    fn field(&mut self, text: &str) {
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
    }

    fn part(&mut self, kind: &PartKind) {
        match kind {
            PartKind::Text(text) => {
                self.field("text");
                self.field(text);
            }
            PartKind::Refusal(text) => {
                self.field("refusal");
                self.field(text);
            }
            PartKind::Image(media) => self.media("image", media),
            PartKind::Audio(media) => self.media("audio", media),
            PartKind::File(media) => self.media("file", media),
            PartKind::ToolCall(call) => {
                self.field("call");
                self.field(&call.id);
                self.field(&call.name);
                self.field(&call.canonical_arguments());
            }
            PartKind::ToolResult(result) => {
                self.field("result");
                self.field(&result.call_id);
                for part in &result.content {
                    self.part(&part.kind);
                }
                self.field("end");
            }
            // Clients drop or rewrite reasoning between turns; it never tells two messages apart.
            PartKind::Reasoning(_) => {}
            PartKind::Other(value) => {
                self.field("other");
                self.field(&value.to_string());
            }
        }
    }

    fn media(&mut self, word: &str, media: &Media) {
        self.field(word);
        match &media.source {
            Source::Url(url) => self.field(url),
            Source::Data(data) => self.field(data),
            Source::FileId(id) => self.field(id),
        }
    }
}

/// SHA-256 (hex) of a chain of inputs: the hash before it and the content hash of the next input.
pub fn chain_hash(before: Option<&str>, content_hash: &str) -> String {
    let mut digest = Fields(Sha256::new());
    digest.field(before.unwrap_or_default());
    digest.field(content_hash);
    hex(&digest.0.finalize())
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().map_or('0', char::from);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Token counts as the provider reported them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Prompt tokens, cached ones included.
    pub input: u64,
    /// Completion tokens, reasoning included.
    pub output: u64,
    /// Prompt tokens that the provider read from its cache.
    pub cached: u64,
    /// Prompt tokens that the provider wrote to its cache.
    pub cache_write: u64,
    /// Of these, those that it keeps for an hour instead of minutes, which costs more.
    #[serde(default)]
    pub cache_write_1h: u64,
    /// Completion tokens spent on reasoning.
    pub reasoning: u64,
}

impl Usage {
    /// Both reports as one. The later one holds where it says anything: a report may leave out what an earlier one gave
    /// (Messages spreads them over two events), and some providers correct themselves downwards.
    #[must_use]
    pub fn with(self, later: Usage) -> Self {
        let newer = |before: u64, now: u64| if now > 0 { now } else { before };
        // An input without the part that was cached, where an earlier report had one, is no whole input.
        let lacks_cache = later.cached + later.cache_write == 0 && self.cached + self.cache_write > 0;
        Usage {
            input: if lacks_cache { self.input.max(later.input) } else { newer(self.input, later.input) },
            output: newer(self.output, later.output),
            cached: newer(self.cached, later.cached),
            cache_write: newer(self.cache_write, later.cache_write),
            cache_write_1h: newer(self.cache_write_1h, later.cache_write_1h),
            reasoning: newer(self.reasoning, later.reasoning),
        }
    }
}

/// Why the model stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// It was done.
    End,
    /// The token limit.
    Length,
    /// It waits for tool results.
    ToolCalls,
    /// A content filter.
    ContentFilter,
    /// A word of the provider that has no name here.
    Other(String),
}

/// How an answer ended, seen from the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The provider said that the answer is whole.
    Complete,
    /// The provider reported an error inside the answer.
    Failed,
    /// The bytes stopped before the answer was whole.
    Truncated,
    /// The bytes came to their end, but one event among them was too large to be read.
    Unread,
}

/// What the gateway learned from an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The assistant's message; `None` when nothing was said.
    pub message: Option<Message>,
    /// Token counts; `None` when the provider reported none.
    pub usage: Option<Usage>,
    /// Why the model stopped; `None` when the answer never got that far.
    pub stop: Option<Stop>,
    /// How the answer ended.
    pub ending: Ending,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_hash_ignores_extras_and_reasoning_but_no_content() {
        let plain = Message::new(Role::User, vec![Part::text("hi")]);
        let mut hinted = plain.clone();
        hinted.parts[0].extra.insert("cache_control".into(), Value::Bool(true));
        hinted.parts.push(PartKind::Reasoning(Reasoning::default()).into());
        assert_eq!(plain.content_hash(), hinted.content_hash());
        let split = Message::new(Role::User, vec![Part::text("h"), Part::text("i")]);
        assert_ne!(plain.content_hash(), split.content_hash());
        let tool = Message::new(Role::Tool, vec![Part::text("hi")]);
        assert_ne!(plain.content_hash(), tool.content_hash());
    }

    #[test]
    fn arguments_are_compared_as_json_and_torn_ones_as_text() {
        let hash = |arguments: &str| {
            let call = ToolCall {
                id: "c".into(),
                name: "f".into(),
                arguments: arguments.into(),
                custom: false,
                sealed: None,
            };
            Message::new(Role::Assistant, vec![PartKind::ToolCall(call).into()]).content_hash()
        };
        assert_eq!(
            hash(r#"{"b": {"y":1.50,"x":"é"}, "a":[1]}"#),
            hash(r#"{"a":[1],"b":{"x":"\u00e9","y":1.50}}"#)
        );
        assert_eq!(hash(""), hash(" {} "));
        assert_ne!(hash(r#"{"a":1}"#), hash(r#"{"a":1.0}"#));
        assert_ne!(hash(r#"{"a":[1,2]}"#), hash(r#"{"a":[2,1]}"#));
        assert_ne!(hash(r#"{"a":1"#), hash(r#"{"a": 1"#));
    }

    #[test]
    fn a_chain_tells_equal_twins_apart() {
        let hi = Message::new(Role::User, vec![Part::text("hi")]).content_hash();
        let first = chain_hash(None, &hi);
        assert_ne!(first, chain_hash(Some(&first), &hi));
    }

    #[test]
    fn hex_is_lower_case_and_complete() {
        assert_eq!(hex(&[0, 15, 16, 255]), "000f10ff");
    }
}
