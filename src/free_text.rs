//! Custom tools, which take free text, at providers that know nothing but functions: a function with one text stands in
//! for each, and its calls are turned back.
//!
//! Invariant: a client that declared a custom tool sees calls of that tool, with the text alone, told as it comes. What a
//! model writes in another form than it was asked to is given as it is.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::dialect::{Delta, Growth};
use crate::request::{Tool, ToolKind};
use crate::turn::{Message, Part, PartKind, ToolCall};

/// The one field of the function.
const FIELD: &str = "input";

/// How the arguments begin, but for white space between the marks.
const HEAD: &[u8] = b"{\"input\":\"";

/// Puts a function in the place of every custom tool; gives their names. A grammar stands in the description: nothing
/// else there holds the model to it.
pub fn stand_in(tools: &mut [Tool]) -> Vec<String> {
    let mut names = Vec::new();
    for tool in tools {
        let ToolKind::Custom { name, description, format } = &tool.kind else { continue };
        names.push(name.clone());
        let grammar = format.as_ref().map(|format| {
            let word = |name: &str| format.get(name).and_then(Value::as_str).unwrap_or_default();
            format!("It follows this {} grammar:\n{}", word("syntax"), word("definition"))
        });
        let about: Vec<&str> = description.as_deref().into_iter().chain(grammar.as_deref()).collect();
        let text = match &grammar {
            Some(grammar) => format!("The whole input of the tool, as plain text. {grammar}"),
            None => "The whole input of the tool, as plain text.".to_owned(),
        };
        let parameters = json!({
            "type": "object",
            "properties": {FIELD: {"type": "string", "description": text}},
            "required": [FIELD],
            "additionalProperties": false,
        });
        tool.kind = ToolKind::Function {
            name: name.clone(),
            description: (!about.is_empty()).then(|| about.join("\n\n")),
            parameters: Some(parameters),
            strict: None,
        };
    }
    names
}

/// The arguments of a call as the object that functions take. Free text, and what is no object, stands in its one field.
pub fn object(call: &ToolCall) -> Value {
    match serde_json::from_str(call.written_arguments()) {
        Ok(Value::Object(fields)) if !call.custom => Value::Object(fields),
        Ok(other) if !call.custom => json!({ FIELD: other }),
        _ => json!({ FIELD: call.arguments }),
    }
}

/// Turns the calls of functions that stand in for the named tools back into theirs.
pub fn read_calls(message: &mut Message, names: &[String]) {
    message.parts.iter_mut().for_each(|part| read_call(part, names));
}

fn read_call(part: &mut Part, names: &[String]) {
    if let PartKind::ToolCall(call) = &mut part.kind
        && !call.custom
        && names.contains(&call.name)
    {
        let mut reader = Reader::default();
        let mut text = reader.push(&call.arguments);
        text.push_str(&reader.finish());
        call.arguments = text;
        call.custom = true;
    }
}

/// Turns the deltas of calls back, as they come.
#[derive(Debug, Default)]
pub struct Deltas {
    names: Vec<String>,
    /// The calls in blocks that are open, by slot.
    blocks: BTreeMap<u64, Reader>,
    /// The calls that come in pieces, with their ids, by slot.
    pieces: BTreeMap<u64, (String, Reader)>,
}

impl Deltas {
    /// Of an answer to a request with these custom tools.
    pub fn new(names: Vec<String>) -> Self {
        Deltas { names, ..Deltas::default() }
    }

    /// Takes the next delta; gives what it becomes.
    pub fn push(&mut self, delta: Delta, on_delta: &mut dyn FnMut(Delta)) {
        if self.names.is_empty() {
            return on_delta(delta);
        }
        match delta {
            Delta::Part(mut part) => {
                read_call(&mut part, &self.names);
                on_delta(Delta::Part(part));
            }
            Delta::Message(mut message) => {
                read_calls(&mut message, &self.names);
                self.blocks.clear();
                self.pieces.clear();
                on_delta(Delta::Message(message));
            }
            Delta::Open { slot, mut part } => {
                self.blocks.remove(&slot);
                if let PartKind::ToolCall(call) = &mut part.kind
                    && self.names.contains(&call.name)
                {
                    let mut reader = Reader::default();
                    call.custom = true;
                    // What a block is opened with is all there is, or nothing.
                    if !call.arguments.is_empty() {
                        call.arguments = reader.push(&call.arguments) + &reader.finish();
                        reader = Reader::default();
                    }
                    self.blocks.insert(slot, reader);
                }
                on_delta(Delta::Open { slot, part });
            }
            Delta::Grow { slot, growth: Growth::Input(more) } => {
                let more = match self.blocks.get_mut(&slot) {
                    Some(reader) => reader.push(&more),
                    None => more,
                };
                if !more.is_empty() {
                    on_delta(Delta::Grow { slot, growth: Growth::Input(more) });
                }
            }
            Delta::Grow { slot, growth: Growth::Argument { path, piece: Value::String(more) } }
                if self.blocks.contains_key(&slot) && path.ends_with(FIELD) =>
            {
                if !more.is_empty() {
                    on_delta(Delta::Grow { slot, growth: Growth::Input(more) });
                }
            }
            Delta::Close { slot } => {
                let rest = self.blocks.remove(&slot).map(Reader::finish).unwrap_or_default();
                if !rest.is_empty() {
                    on_delta(Delta::Grow { slot, growth: Growth::Input(rest) });
                }
                on_delta(Delta::Close { slot });
            }
            Delta::ToolCall { slot, call, extra } => self.push_piece(slot, call, extra, on_delta),
            Delta::Stop(_) | Delta::End => {
                let slots: Vec<u64> = self.pieces.keys().copied().collect();
                slots.into_iter().for_each(|slot| self.end_pieces(slot, on_delta));
                on_delta(delta);
            }
            delta => on_delta(delta),
        }
    }

    fn push_piece(
        &mut self,
        slot: u64,
        mut call: ToolCall,
        extra: Map<String, Value>,
        on_delta: &mut dyn FnMut(Delta),
    ) {
        let begins = self.names.contains(&call.name);
        let goes_on = self.pieces.get(&slot).is_some_and(|(id, _)| call.id.is_empty() || call.id == *id);
        if !goes_on {
            self.end_pieces(slot, on_delta);
            if begins {
                self.pieces.insert(slot, (call.id.clone(), Reader::default()));
            }
        }
        if let Some((_, reader)) = self.pieces.get_mut(&slot) {
            call.custom = true;
            call.arguments = reader.push(&call.arguments);
        }
        on_delta(Delta::ToolCall { slot, call, extra });
    }

    fn end_pieces(&mut self, slot: u64, on_delta: &mut dyn FnMut(Delta)) {
        let Some((_, reader)) = self.pieces.remove(&slot) else { return };
        let arguments = reader.finish();
        if !arguments.is_empty() {
            let call = ToolCall { arguments, custom: true, ..ToolCall::default() };
            on_delta(Delta::ToolCall { slot, call, extra: Map::new() });
        }
    }
}

/// Reads the text out of `{"input":"…"}` while it comes.
#[derive(Debug, Default)]
struct Reader {
    state: State,
    /// What came and is not told yet: all of it before the text begins, then no more than half an escape.
    held: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many bytes of [`HEAD`] have come.
    Head(usize),
    /// Inside the text.
    Text,
    /// The text is whole; nothing behind it counts.
    Over,
    /// The arguments have another form.
    Other,
}

impl Default for State {
    fn default() -> Self {
        State::Head(0)
    }
}

impl Reader {
    /// Takes the next piece of the arguments; gives the next piece of the text.
    fn push(&mut self, piece: &str) -> String {
        let mut rest = piece;
        if let State::Head(_) = self.state {
            let read = self.read_head(piece);
            let (head, text) = piece.split_at_checked(read).unwrap_or((piece, ""));
            self.held.push_str(head);
            if self.state != State::Text {
                self.held.push_str(text);
                return String::new();
            }
            self.held.clear();
            rest = text;
        }
        match self.state {
            State::Text => {
                self.held.push_str(rest);
                let (end, closed) = readable(&self.held);
                let text = decoded(self.held.get(..end).unwrap_or_default());
                self.held.drain(..end);
                if closed {
                    self.state = State::Over;
                    self.held.clear();
                }
                text
            }
            State::Other => {
                self.held.push_str(rest);
                String::new()
            }
            State::Head(_) | State::Over => String::new(),
        }
    }

    /// Follows the head; gives how many bytes of the piece belong to it.
    fn read_head(&mut self, piece: &str) -> usize {
        for (at, byte) in piece.bytes().enumerate() {
            let State::Head(read) = self.state else { return at };
            let between = !(2..=7).contains(&read);
            match HEAD.get(read) {
                Some(expected) if *expected == byte => {
                    self.state = if read + 1 == HEAD.len() { State::Text } else { State::Head(read + 1) };
                }
                _ if between && byte.is_ascii_whitespace() => {}
                _ => self.state = State::Other,
            }
        }
        piece.len()
    }

    /// What is left when the arguments are whole.
    fn finish(self) -> String {
        match self.state {
            State::Over => String::new(),
            // Torn: what is left of an escape is no character.
            State::Text => String::new(),
            State::Head(_) | State::Other => match serde_json::from_str(&self.held) {
                Ok(Value::Object(mut fields)) => match fields.shift_remove(FIELD) {
                    Some(Value::String(text)) => text,
                    None if fields.is_empty() => String::new(),
                    _ => self.held,
                },
                Ok(Value::String(text)) => text,
                _ => self.held,
            },
        }
    }
}

/// How much of a JSON string's inside can be read, and whether the string ends there.
fn readable(text: &str) -> (usize, bool) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return (at, true),
            b'\\' => {
                let length = match bytes.get(at + 1) {
                    None => return (at, false),
                    Some(b'u') => 6,
                    Some(_) => 2,
                };
                let first = |at: usize| bytes.get(at + 2..at + 6);
                let is_high = length == 6
                    && first(at).is_some_and(|digits| {
                        matches!(digits, [b'd' | b'D', b'8'..=b'9' | b'a'..=b'b' | b'A'..=b'B', ..])
                    });
                // Two escapes make one character.
                let pairs = is_high && matches!(bytes.get(at + 6..), Some([] | [b'\\'] | [b'\\', b'u', ..]));
                let length = if pairs { 12 } else { length };
                if at + length > bytes.len() {
                    return (at, false);
                }
                at += length;
            }
            _ => at += 1,
        }
    }
    (at, false)
}

/// The characters of a JSON string's inside. Models write line breaks as they are at times; what cannot be read at all is
/// given as it came.
fn decoded(inside: &str) -> String {
    let mut quoted = String::with_capacity(inside.len() + 2);
    quoted.push('"');
    for char in inside.chars() {
        if char.is_control() && char.is_ascii() {
            quoted.push_str(&format!("\\u{:04x}", u32::from(char)));
        } else {
            quoted.push(char);
        }
    }
    quoted.push('"');
    serde_json::from_str(&quoted).unwrap_or_else(|_| inside.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: impl Iterator<Item = String>) -> String {
        let mut reader = Reader::default();
        let mut text: String = pieces.map(|piece| reader.push(&piece)).collect();
        text.push_str(&reader.finish());
        text
    }

    #[test]
    fn the_text_is_read_out_of_the_arguments_however_they_are_cut() {
        for (arguments, text) in [
            (r#"{"input":"a \"b\" \\ \n \u00e9 é \ud83d\ude00!"}"#, "a \"b\" \\ \n é é 😀!"),
            (" { \"input\" :\n\"*** Begin\"\n} ", "*** Begin"),
            (r#"{"input":""}"#, ""),
            (r#"{"input":"a","other":"b"}"#, "a"),
            // Not as it was asked for.
            (r#"{"other":"b","input":"a"}"#, "a"),
            (r#"{"other":"b"}"#, r#"{"other":"b"}"#),
            (r#"{"input":{"a":1}}"#, r#"{"input":{"a":1}}"#),
            (r#""a\nb""#, "a\nb"),
            ("*** Begin", "*** Begin"),
            ("{\"in put\":\"a\"}", "{\"in put\":\"a\"}"),
            ("{}", ""),
            ("", ""),
            // A raw line break, a lone surrogate, half a text.
            ("{\"input\":\"a\nb\"}", "a\nb"),
            (r#"{"input":"\ud83d x"}"#, r"\ud83d x"),
            (r#"{"input":"ab\u00"#, "ab"),
        ] {
            assert_eq!(read([arguments.to_owned()].into_iter()), text, "{arguments}");
            let chars: Vec<char> = arguments.chars().collect();
            for size in [1, 2, 3, 5, 7] {
                let cut = read(chars.chunks(size).map(|piece| piece.iter().collect()));
                let whole = if text.starts_with("\\ud83d") { cut.contains("ud83d") } else { cut == text };
                assert!(whole, "{arguments} in pieces of {size}: {cut}");
            }
        }
    }

    #[test]
    fn the_text_is_told_as_it_comes() {
        let mut reader = Reader::default();
        let told: Vec<String> = ["{\"inp", "ut\": \"a", "b\\", "nc\\ud83d", "\\ude00d", "\"}"]
            .map(|piece| reader.push(piece))
            .into();
        assert_eq!(told, ["", "a", "b", "\nc", "😀d", ""]);
    }

    #[test]
    fn a_function_stands_in_for_a_custom_tool_with_its_grammar_in_words() {
        let custom = |format: Option<Value>| ToolKind::Custom {
            name: "patch".into(),
            description: Some("Edits files.".into()),
            format,
        };
        let stood_in = |kind: ToolKind| {
            let mut tools = vec![Tool { kind, extra: Map::new() }];
            let names = stand_in(&mut tools);
            (names, tools.remove(0).kind)
        };
        let function = |description: &str, about: &str| ToolKind::Function {
            name: "patch".into(),
            description: Some(description.into()),
            parameters: Some(
                json!({"type": "object", "properties": {"input": {"type": "string", "description": about}},
                "required": ["input"], "additionalProperties": false}),
            ),
            strict: None,
        };
        let plain = "The whole input of the tool, as plain text.";
        assert_eq!(stood_in(custom(None)), (vec!["patch".into()], function("Edits files.", plain)));
        let grammar = json!({"type": "grammar", "syntax": "lark", "definition": "start: WORD"});
        let words = "It follows this lark grammar:\nstart: WORD";
        assert_eq!(
            stood_in(custom(Some(grammar))).1,
            function(&format!("Edits files.\n\n{words}"), &format!("{plain} {words}"))
        );
        let search = ToolKind::Server(json!({"type": "x"}));
        assert_eq!(stood_in(search.clone()), (vec![], search));
    }

    /// The deltas of a stream with one custom tool, `patch`.
    fn deltas(deltas: Vec<Delta>) -> Vec<Delta> {
        let mut reader = Deltas::new(vec!["patch".into()]);
        let mut out = Vec::new();
        for delta in deltas {
            reader.push(delta, &mut |delta| out.push(delta));
        }
        out
    }

    fn call(id: &str, name: &str, arguments: &str, custom: bool) -> ToolCall {
        ToolCall { id: id.into(), name: name.into(), arguments: arguments.into(), custom, sealed: None }
    }

    #[test]
    fn calls_in_blocks_are_turned_back_and_others_are_not() {
        let open = |slot, call| Delta::Open { slot, part: PartKind::ToolCall(call).into() };
        let grow = |slot, more: &str| Delta::Grow { slot, growth: Growth::Input(more.into()) };
        assert_eq!(
            deltas(vec![
                open(0, call("a", "patch", "", false)),
                open(1, call("b", "find", "", false)),
                grow(0, "{\"input\":\"x\\"),
                grow(1, "{\"input\":\"y\"}"),
                grow(0, "n\"}"),
                Delta::Close { slot: 0 },
                Delta::Close { slot: 1 },
                open(2, call("c", "patch", "{\"input\":\"whole\"}", false)),
                Delta::Close { slot: 2 },
                open(3, call("d", "patch", "", false)),
                grow(3, "raw"),
                Delta::Close { slot: 3 },
            ]),
            vec![
                open(0, call("a", "patch", "", true)),
                open(1, call("b", "find", "", false)),
                grow(0, "x"),
                grow(1, "{\"input\":\"y\"}"),
                grow(0, "\n"),
                Delta::Close { slot: 0 },
                Delta::Close { slot: 1 },
                open(2, call("c", "patch", "whole", true)),
                Delta::Close { slot: 2 },
                open(3, call("d", "patch", "", true)),
                grow(3, "raw"),
                Delta::Close { slot: 3 },
            ]
        );
    }

    #[test]
    fn calls_in_pieces_and_whole_ones_are_turned_back() {
        let piece = |call| Delta::ToolCall { slot: 0, call, extra: Map::new() };
        let part = |call| Delta::Part(PartKind::ToolCall(call).into());
        assert_eq!(
            deltas(vec![
                piece(call("a", "patch", "", false)),
                piece(call("", "", "{\"input\":\"x", false)),
                piece(call("", "", "y\"}", false)),
                // The same slot again: another call.
                piece(call("b", "patch", "raw", false)),
                piece(call("c", "find", "{}", false)),
                part(call("", "patch", "{\"input\":\"z\"}", false)),
                Delta::End,
            ]),
            vec![
                piece(call("a", "patch", "", true)),
                piece(call("", "", "x", true)),
                piece(call("", "", "y", true)),
                piece(call("b", "patch", "", true)),
                piece(call("", "", "raw", true)),
                piece(call("c", "find", "{}", false)),
                part(call("", "patch", "z", true)),
                Delta::End,
            ]
        );
    }
}
