//! Marks where a provider's cache is to begin anew, for providers that cache only what is marked: Anthropic
//! (<https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching>), and OpenRouter for Anthropic's models
//! (<https://openrouter.ai/docs/features/prompt-caching>).
//!
//! Invariant: a request has our marks or the caller's, never both, and at most the four that the API takes: behind the
//! caller's instructions, behind our stable texts, behind the messages before the newest, and where that mark was in the
//! request before. With the last one, what was cached is found again however long the conversation has grown meanwhile:
//! from a mark, the API looks back over some twenty blocks only.

use std::borrow::Cow;

use serde_json::Value;
use serde_json::value::RawValue;

use super::Target;
use super::inject::text;
use crate::body::{Body, Edit};
use crate::dialect::Dialect;
use crate::protocol::Injection;
use crate::providers::OPENROUTER;

/// The field of a mark.
const HINT: &str = "cache_control";
/// The mark.
const EPHEMERAL: &str = r#"{"type":"ephemeral"}"#;
/// Blocks of Messages that may be marked, beside texts. Thinking must not be, and of other types it is not known.
const MARKED_TYPES: [&str; 5] = ["image", "document", "search_result", "tool_use", "tool_result"];

/// True where marks have a meaning.
pub fn are_taken(dialect: Dialect, target: Target<'_>) -> bool {
    match dialect {
        Dialect::Messages => true,
        Dialect::Chat => target.provider == OPENROUTER && target.model.starts_with("anthropic/"),
        Dialect::Responses | Dialect::Google => false,
    }
}

/// A body that holds the injection, with marks where they have a meaning and the caller has made none.
pub fn with_cache_hints(
    dialect: Dialect,
    bytes: Vec<u8>,
    injection: &Injection,
    target: Target<'_>,
) -> Vec<u8> {
    if injection.is_empty() || !are_taken(dialect, target) {
        return bytes;
    }
    let hinted = Body::parse(&bytes).ok().filter(|body| !has_hints(body)).and_then(|body| {
        let edits = marks(dialect, &body, injection)?;
        Some(body.edited(edits))
    });
    hinted.unwrap_or(bytes)
}

/// True when the caller has marked anything, or asked the provider to do it.
fn has_hints(body: &Body<'_>) -> bool {
    let quoted = format!("\"{HINT}\"");
    body.has(HINT)
        || ["tools", "system", "messages"].iter().filter_map(|name| body.raw(name)).any(|raw| {
            // Reading all of a long conversation is dear; most have no such word in them.
            raw.get().contains(&quoted)
                && serde_json::from_str::<Value>(raw.get()).is_ok_and(|value| is_hinted(&value))
        })
}

fn is_hinted(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(is_hinted),
        Value::Object(fields) => {
            fields.get(HINT).is_some_and(|hint| !hint.is_null())
                || fields.get("content").is_some_and(is_hinted)
        }
        _ => false,
    }
}

fn marks(dialect: Dialect, body: &Body<'_>, injection: &Injection) -> Option<Vec<Edit>> {
    let elements = body.array("messages").ok()??;
    let messages: Vec<Element<'_>> = elements.iter().map(|raw| Element::read(raw)).collect::<Option<_>>()?;
    let (instructions, history) = match dialect {
        Dialect::Messages => (body.raw("system").map(blocks_of).unwrap_or_default(), messages.as_slice()),
        _ => {
            let led = messages.iter().take_while(|message| message.is_instruction()).count();
            let (leading, history) = messages.split_at_checked(led)?;
            (leading.iter().flat_map(|message| message.blocks.iter().copied()).collect(), history)
        }
    };
    let places = of_instructions(&instructions, injection).into_iter().chain(of_history(dialect, history));
    Some(places.filter_map(|block| Some(body.replace(block.0, block.marked()?))).collect())
}

/// The caller's last block, and the last of our stable ones.
fn of_instructions<'a>(blocks: &[Block<'a>], injection: &Injection) -> Vec<Block<'a>> {
    let Some(first) = injection.texts().next() else { return Vec::new() };
    let Some(ours) = blocks.iter().rposition(|block| block.text().as_deref() == Some(first)) else {
        return Vec::new();
    };
    let callers = blocks.iter().take(ours).rfind(|block| block.has_words());
    let stable = injection.stable.len().checked_sub(1).and_then(|last| blocks.get(ours + last));
    callers.into_iter().chain(stable).copied().collect()
}

/// The last block before the newest message of the user's or of a tool, and the one that was it in the request before.
fn of_history<'a>(dialect: Dialect, messages: &[Element<'a>]) -> Vec<Block<'a>> {
    let blocks: Vec<(usize, &Element<'a>, Block<'a>)> = messages
        .iter()
        .enumerate()
        .flat_map(|(at, message)| message.blocks.iter().map(move |block| (at, message, *block)))
        .collect();
    let newest = |end: usize, by_assistant: bool| {
        messages.get(..end)?.iter().rposition(|message| message.is_by_assistant() == by_assistant)
    };
    let last_before = |newest: usize| {
        blocks.iter().rposition(|(at, message, block)| *at < newest && message.may_mark(dialect, *block))
    };
    let Some(input) = newest(messages.len(), false) else { return Vec::new() };
    let Some(last) = last_before(input) else { return Vec::new() };
    // The request before ended with the input that the last answer answers.
    let earlier = newest(input, true)
        .and_then(|answer| newest(answer, false))
        .and_then(last_before)
        .filter(|earlier| *earlier < last);
    earlier.into_iter().chain([last]).filter_map(|at| blocks.get(at)).map(|(_, _, block)| *block).collect()
}

/// A message, as far as marks need to know it.
#[derive(Debug)]
struct Element<'a> {
    role: Cow<'a, str>,
    blocks: Vec<Block<'a>>,
}

/// A block of a message; or its whole content, if that is a text.
#[derive(Clone, Copy, Debug)]
struct Block<'a>(&'a RawValue);

impl<'a> Element<'a> {
    fn read(raw: &'a RawValue) -> Option<Self> {
        let object = Body::parse(raw.get().as_bytes()).ok()?;
        let mut blocks = object.raw("content").map(blocks_of).unwrap_or_default();
        // The API that is spoken behind Chat Completions has a block for each call, too.
        blocks.extend(object.array("tool_calls").ok().flatten().unwrap_or_default().into_iter().map(Block));
        Some(Element { role: object.string("role").ok()??, blocks })
    }

    fn is_instruction(&self) -> bool {
        matches!(self.role.as_ref(), "system" | "developer")
    }

    fn is_by_assistant(&self) -> bool {
        self.role == "assistant"
    }

    fn may_mark(&self, dialect: Dialect, block: Block<'_>) -> bool {
        match (dialect, block.kind().as_deref()) {
            // Blank ones are refused with a mark.
            (Dialect::Messages, Some("text")) => block.has_words(),
            (Dialect::Messages, Some(kind)) => MARKED_TYPES.contains(&kind),
            // OpenRouter takes marks on texts only, and none on what tools returned.
            (_, Some("text")) => self.role != "tool" && block.has_words(),
            _ => false,
        }
    }
}

impl Block<'_> {
    fn kind(self) -> Option<String> {
        if self.0.get().starts_with('"') {
            return Some("text".to_owned());
        }
        Some(Body::parse(self.0.get().as_bytes()).ok()?.string("type").ok()??.into_owned())
    }

    /// What it says, if it is a text.
    fn text(self) -> Option<String> {
        let json = self.0.get();
        if json.starts_with('"') {
            return text(json);
        }
        Some(Body::parse(json.as_bytes()).ok()?.string("text").ok()??.into_owned())
    }

    fn has_words(self) -> bool {
        self.text().is_some_and(|text| !text.trim().is_empty())
    }

    /// The JSON to put in its place.
    fn marked(self) -> Option<String> {
        let json = self.0.get();
        if json.starts_with('"') {
            return Some(format!("[{{\"type\":\"text\",\"text\":{json},\"{HINT}\":{EPHEMERAL}}}]"));
        }
        let block = Body::parse(json.as_bytes()).ok()?;
        String::from_utf8(block.edited(vec![block.set(HINT, EPHEMERAL.to_owned())])).ok()
    }
}

/// The blocks of a content; a text is one.
fn blocks_of(content: &RawValue) -> Vec<Block<'_>> {
    let blocks: Vec<&RawValue> = match content.get().as_bytes().first() {
        Some(b'"') => vec![content],
        Some(b'[') => serde_json::from_str(content.get()).unwrap_or_default(),
        _ => Vec::new(),
    };
    blocks.into_iter().map(Block).collect()
}
