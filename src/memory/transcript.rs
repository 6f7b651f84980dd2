//! Messages as text for the observer: numbered, dated, and framed so that no content can pass for the frame.
//!
//! Invariant: every line of content begins with `| ` and every other line is ours. But for that, and line breaks that are all
//! of one kind, a text stays as it is, so names, numbers and code reach the observer as they were written. Left out are the
//! model's reasoning and memory's own text that came back; what is cut for its length says so where it is cut.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use serde_json::Value;

use crate::time;
use crate::tokens;
use crate::turn::{Media, Message, Part, PartKind, Role, Source, ToolCall, ToolResult};

/// What is shown of a tool's result, in tokens.
pub const RESULT_TOKENS: u64 = 5_000;
/// Arguments up to this many characters are shown as they were written, longer ones in outline.
pub const ARGUMENTS_SHOWN: usize = 1_000;
/// What is shown of a text in an outline, in characters.
pub const VALUE_SHOWN: usize = 200;
/// What is shown of a list in an outline, in items.
pub const ITEMS_SHOWN: usize = 10;
/// What is shown of a whole outline, in characters.
pub const OUTLINE_SHOWN: usize = 2_000;

/// Shorter lines, in bytes, are not compared with the log: they may be the same by chance.
const ECHO_BYTES: usize = 16;
/// How the tags before injected texts begin; then how each goes on, and what closes it.
const TAG: &str = "<conversation_";
const BLOCKS: [(&str, &str); 3] = [
    ("profile>", "</conversation_profile>"),
    ("notes>", "</conversation_notes>"),
    ("now>", "</conversation_now>"),
];

/// A message and when it was said.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// The message.
    pub message: &'a Message,
    /// When it was stored, in Unix milliseconds.
    pub at: u64,
    /// True for an answer that was cut short.
    pub incomplete: bool,
}

/// The messages as text, numbered from 1. `log` is what is injected of the thread at present: lines of it that a message
/// brings back are left out. `zone` gives the user's minutes east of UTC at an instant in Unix milliseconds.
pub fn write(said: &[Said<'_>], log: &str, zone: &dyn Fn(u64) -> i32) -> String {
    let log: HashSet<&str> = lines(log).map(str::trim).filter(|line| line.len() >= ECHO_BYTES).collect();
    let mut tools: HashMap<&str, &str> = HashMap::new();
    let mut out = String::new();
    for (number, Said { message, at, incomplete }) in (1..).zip(said) {
        tools.extend(message.tool_calls().map(|call| (call.id.as_str(), call.name.as_str())));
        let role = message.role.as_str();
        let cut = if *incomplete { " (cut short)" } else { "" };
        let when = time::local(*at, zone).format("%A %Y-%m-%d %H:%M");
        // Writing to a string cannot fail.
        let _ = writeln!(out, "#{number} {role}{cut}, {when}");
        let mut content = Content::new(number, message.role, &tools, &log);
        content.message(message);
        for line in lines(&content.text) {
            out.push_str("| ");
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// The lines of a text, split at everything that a model may see as the end of one.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split(['\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}']))
}

/// The content of one message, written part by part.
struct Content<'a> {
    number: usize,
    role: Role,
    /// Names of tools, by the ids of their calls.
    tools: &'a HashMap<&'a str, &'a str>,
    log: &'a HashSet<&'a str>,
    text: String,
    last: Last,
}

/// What was written last, which says how the next part is joined to it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Nothing,
    Text,
    /// A mark in square brackets that the next text follows on the same line.
    Mark,
    /// Something with a line of its own.
    Line,
}

impl<'a> Content<'a> {
    fn new(
        number: usize,
        role: Role,
        tools: &'a HashMap<&'a str, &'a str>,
        log: &'a HashSet<&'a str>,
    ) -> Self {
        Content { number, role, tools, log, text: String::new(), last: Last::Nothing }
    }

    fn message(&mut self, message: &Message) {
        if let Some(name) = &message.name {
            self.mark(&format!("[from {name}]"));
        }
        self.parts(&message.parts);
    }

    fn parts(&mut self, parts: &[Part]) {
        for part in parts {
            match &part.kind {
                PartKind::Text(text) => self.words(text),
                PartKind::Refusal(text) => self.line("[declines]", &without_echo(text, self.log)),
                PartKind::Image(media) => self.mark(&placeholder("image", media)),
                PartKind::Audio(media) => self.mark(&placeholder("audio", media)),
                PartKind::File(media) => self.mark(&placeholder("file", media)),
                PartKind::ToolCall(call) => self.line(&format!("[calls {}]", call.name), &outline(call)),
                PartKind::ToolResult(result) => self.result(result),
                PartKind::Reasoning(_) => {}
                PartKind::Other(value) => {
                    let kind = value.get("type").and_then(Value::as_str).unwrap_or("other");
                    self.line(&format!("[{kind}]"), &outline_json(value.clone()));
                }
            }
        }
    }

    fn words(&mut self, text: &str) {
        let text = without_echo(text, self.log);
        if text.is_empty() {
            return;
        }
        match self.last {
            Last::Nothing => {}
            // Providers cut a model's text into parts anywhere, to hang citations on them.
            Last::Text if self.role == Role::Assistant => {}
            Last::Mark => self.text.push(' '),
            Last::Text | Last::Line => self.text.push('\n'),
        }
        self.text.push_str(&text);
        self.last = Last::Text;
    }

    fn mark(&mut self, mark: &str) {
        match self.last {
            Last::Nothing => {}
            Last::Mark => self.text.push(' '),
            Last::Text | Last::Line => self.text.push('\n'),
        }
        self.text.push_str(mark);
        self.last = Last::Mark;
    }

    fn line(&mut self, mark: &str, text: &str) {
        self.mark(mark);
        if !text.is_empty() {
            self.text.push(' ');
            self.text.push_str(text);
        }
        self.last = Last::Line;
    }

    fn result(&mut self, result: &ToolResult) {
        let failed = if result.is_error { ", failed" } else { "" };
        let mark = match self.tools.get(result.call_id.as_str()) {
            Some(tool) => format!("[result of {tool}{failed}]"),
            None => format!("[result{failed}]"),
        };
        let mut content = Content::new(self.number, Role::Tool, self.tools, self.log);
        content.parts(&result.content);
        let text = match cut_to_tokens(&content.text, RESULT_TOKENS) {
            Some((shown, more)) => {
                format!("{shown}\n[… {more} more tokens; message #{}]", self.number)
            }
            None => content.text,
        };
        self.line(&mark, &text);
    }
}

/// What stands for bytes: kind, type, name, and where they are if that is short.
fn placeholder(kind: &str, media: &Media) -> String {
    let place = match &media.source {
        // A query may hold a signature that opens the file to anyone.
        Source::Url(url) if url.starts_with("http") => url.split(['?', '#']).next(),
        Source::FileId(id) => Some(id.as_str()),
        Source::Url(_) | Source::Data(_) => None,
    };
    let place = place.filter(|place| place.len() <= VALUE_SHOWN);
    let details = [media.media_type.as_deref(), media.name.as_deref(), place];
    let mut out = format!("[{kind}");
    for detail in details.into_iter().flatten() {
        out.push(' ');
        out.push_str(detail);
    }
    out.push(']');
    out
}

/// The arguments of a call as they were written, or in outline where they are long.
fn outline(call: &ToolCall) -> String {
    let arguments = without_blocks(&call.arguments);
    if arguments.chars().nth(ARGUMENTS_SHOWN).is_none() {
        return arguments.into_owned();
    }
    match serde_json::from_str(&arguments) {
        Ok(value) => outline_json(value),
        Err(_) => cut_to_characters(&arguments, OUTLINE_SHOWN).into_owned(),
    }
}

/// JSON with all its keys, and of its values as much as helps to know them again.
fn outline_json(mut value: Value) -> String {
    shorten(&mut value);
    cut_to_characters(&value.to_string(), OUTLINE_SHOWN).into_owned()
}

fn shorten(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(shown) = cut_to_characters(text, VALUE_SHOWN) {
                *text = shown;
            }
        }
        Value::Array(items) => {
            let more = items.len().saturating_sub(ITEMS_SHOWN);
            items.truncate(ITEMS_SHOWN);
            items.iter_mut().for_each(shorten);
            if more > 0 {
                items.push(Value::String(format!("… [{more} more items]")));
            }
        }
        Value::Object(fields) => fields.values_mut().for_each(shorten),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The beginning of a text with its whole length behind it, where it has more than `limit` characters.
fn cut_to_characters(text: &str, limit: usize) -> Cow<'_, str> {
    let Some((shown, _)) = text.char_indices().nth(limit).and_then(|(end, _)| text.split_at_checked(end))
    else {
        return Cow::Borrowed(text);
    };
    Cow::Owned(format!("{shown}… [{} characters]", text.chars().count()))
}

/// The longest beginning of a text that is within `limit` tokens, and how many are behind it; `None` when it is whole.
fn cut_to_tokens(text: &str, limit: u64) -> Option<(&str, u64)> {
    let all = tokens::of_text(text);
    if all <= limit {
        return None;
    }
    let beginning = |end: usize| text.split_at(text.floor_char_boundary(end)).0;
    let (mut fits, mut exceeds) = (0, text.len());
    while exceeds - fits > 1 {
        let middle = fits.midpoint(exceeds);
        if tokens::of_text(beginning(middle)) <= limit { fits = middle } else { exceeds = middle }
    }
    let shown = beginning(fits);
    Some((shown, all.saturating_sub(tokens::of_text(shown))))
}

/// A text without what memory itself had put before the model and the text brings back.
fn without_echo<'t>(text: &'t str, log: &HashSet<&str>) -> Cow<'t, str> {
    let kept = without_blocks(text);
    if log.is_empty() || !lines(&kept).any(|line| log.contains(line.trim())) {
        return kept;
    }
    let rest: Vec<&str> = lines(&kept).filter(|line| !log.contains(line.trim())).collect();
    Cow::Owned(rest.join("\n").trim_matches('\n').to_owned())
}

/// A text without whole injected blocks. Inside a block no tag can stand unescaped, so it begins at the last opening tag
/// before the closing one; a tag that is alone is an ordinary word.
fn without_blocks(text: &str) -> Cow<'_, str> {
    // What is not closed here is closed nowhere behind, and is not looked for again.
    let mut may_close = [true; BLOCKS.len()];
    let mut kept = String::new();
    let mut rest = text;
    let mut found = false;
    while let Some((before, inside)) = rest.split_once(TAG) {
        kept.push_str(before);
        let opened = BLOCKS.iter().zip(&mut may_close).find(|((name, _), _)| inside.starts_with(name));
        let closed = opened.filter(|(_, may_close)| **may_close).and_then(|((name, close), may_close)| {
            let closed = inside.split_once(close);
            *may_close = closed.is_some();
            closed.map(|(block, after)| (*name, block, after))
        });
        let Some((name, block, after)) = closed else {
            kept.push_str(TAG);
            rest = inside;
            continue;
        };
        if let Some((words, _)) = block.rsplit_once(&format!("{TAG}{name}")) {
            kept.push_str(TAG);
            kept.push_str(words);
        }
        found = true;
        rest = after;
    }
    if !found {
        return Cow::Borrowed(text);
    }
    kept.push_str(rest);
    Cow::Owned(kept.trim_matches('\n').to_owned())
}
