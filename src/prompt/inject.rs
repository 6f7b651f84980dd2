//! Puts what memory tells beside messages behind the instructions that lead a request.
//!
//! Invariant: the caller's instructions keep their bytes and come first. In Chat Completions a request gets no second
//! system message: the templates of many models refuse one, wherever it stands, and none minds a longer first one.

use serde_json::{Value, json};

use super::{Target, cache_hints};
use crate::body::{Body, Edit};
use crate::dialect::Dialect;
use crate::protocol::Injection;
use crate::request::{Entry, Request};
use crate::turn::Part;

/// What parts texts that become one.
const BETWEEN: &str = "\n\n";

/// Puts the texts into a request that is to be written in another dialect.
pub fn inject(request: &mut Request, injection: &Injection) {
    if injection.is_empty() {
        return;
    }
    let parts = injection.texts().map(Part::text);
    let led = request.entries.iter().take_while(|entry| matches!(entry, Entry::Instruction(_))).count();
    match request.entries.iter_mut().take(led).last() {
        Some(Entry::Instruction(before)) => before.extend(parts),
        _ => request.entries.insert(0, Entry::Instruction(parts.collect())),
    }
}

/// The edit that puts the texts into the field `system` of Messages, as blocks behind the caller's. What is neither a text
/// nor blocks is the provider's to refuse.
pub fn into_system(body: &Body<'_>, injection: &Injection) -> Option<Edit> {
    let blocks = parts(injection);
    let blocks = match body.raw("system").map_or("null", |raw| raw.get()) {
        "null" => format!("[{blocks}]"),
        before => appended(before, &blocks)?,
    };
    Some(body.set("system", blocks))
}

/// Puts the texts among the elements of a conversation, the first `led` of which are instructions.
pub fn into_elements(
    dialect: Dialect,
    elements: &mut Vec<String>,
    led: usize,
    injection: &Injection,
    target: Target<'_>,
) {
    let led = led.min(elements.len());
    let before = led.checked_sub(1).and_then(|at| elements.get_mut(at));
    match dialect {
        Dialect::Chat => {
            let apart = cache_hints::are_taken(dialect, target);
            if let Some(before) = before
                && let Some(longer) = longer(before, injection, apart)
            {
                *before = longer;
                return;
            }
            let content =
                if apart { format!("[{}]", parts(injection)) } else { json!(joined(injection)).to_string() };
            elements.insert(led, format!("{{\"role\":\"system\",\"content\":{content}}}"));
        }
        Dialect::Responses => {
            let role = match before.and_then(|before| role_of(before)).as_deref() {
                Some("system") => "system",
                _ => "developer",
            };
            let items = injection.texts().map(|text| json!({"role": role, "content": text}).to_string());
            elements.splice(led..led, items.collect::<Vec<_>>());
        }
        // Their instructions stand in a field of their own.
        Dialect::Messages | Dialect::Google => {}
    }
}

/// A system message of Chat Completions with the texts behind its own; `apart` keeps them as parts where it is one text.
/// `None` where its content is neither a text nor parts.
fn longer(message: &str, injection: &Injection, apart: bool) -> Option<String> {
    let message = Body::parse(message.as_bytes()).ok()?;
    let content = message.raw("content")?.get();
    let longer = match text(content) {
        Some(text) if !apart && !text.trim().is_empty() => {
            let more = json!(format!("{BETWEEN}{}", joined(injection))).to_string();
            format!("{}{}", content.strip_suffix('"')?, more.strip_prefix('"')?)
        }
        Some(_) if !apart => json!(joined(injection)).to_string(),
        _ => appended(content, &parts(injection))?,
    };
    let edit = message.set("content", longer);
    String::from_utf8(message.edited(vec![edit])).ok()
}

/// A content as parts, with more behind it; `None` where it is neither a text nor parts.
fn appended(content: &str, more: &str) -> Option<String> {
    match text(content) {
        Some(text) if text.trim().is_empty() => Some(format!("[{more}]")),
        Some(_) => Some(format!("[{{\"type\":\"text\",\"text\":{content}}},{more}]")),
        None => {
            let inner = content.strip_prefix('[')?.strip_suffix(']')?;
            let comma = if inner.trim().is_empty() { "" } else { "," };
            Some(format!("[{inner}{comma}{more}]"))
        }
    }
}

/// What a JSON string says; `None` for any other value.
pub fn text(json: &str) -> Option<String> {
    serde_json::from_str(json).ok()
}

fn parts(injection: &Injection) -> String {
    let part = |text: &str| json!({"type": "text", "text": text}).to_string();
    injection.texts().map(part).collect::<Vec<_>>().join(",")
}

fn joined(injection: &Injection) -> String {
    injection.texts().collect::<Vec<_>>().join(BETWEEN)
}

fn role_of(element: &str) -> Option<String> {
    let element: Value = serde_json::from_str(element).ok()?;
    element.get("role").and_then(Value::as_str).map(str::to_owned)
}
