//! The wire formats: which there are, and one door to each one's readers and writers.
//!
//! Invariant: adding a dialect means adding a variant here; the compiler then lists what is missing.

pub mod chat;
pub mod citation;
pub mod fields;
pub mod google;
pub mod messages;
pub mod request_fields;
pub mod responses;

use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use self::fields::check_messages;
use crate::body::Body;
use crate::error::Error;
use crate::frame::Frame;
use crate::gather::Step;
use crate::request::{Entry, Field, Handling, Request, Written};
use crate::sse::Event;
use crate::turn::{Answer, Message, Origin, Part, Reasoning, Stop, ToolCall, Usage};

/// A wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// OpenAI Chat Completions: <https://platform.openai.com/docs/api-reference/chat>.
    Chat,
    /// OpenAI Responses: <https://platform.openai.com/docs/api-reference/responses>.
    Responses,
    /// Anthropic Messages: <https://docs.anthropic.com/en/api/messages>.
    Messages,
    /// Gemini's own generateContent: <https://ai.google.dev/api/generate-content>. Spoken to providers only.
    Google,
}

/// The conversation inside a request: the raw elements of its message array, and what they mean.
#[derive(Debug)]
pub struct Conversation<'a> {
    /// The elements as sent. One without an array (Responses' `input` as a string) has one element.
    pub elements: Vec<&'a RawValue>,
    /// The elements grouped into messages, in order, without gaps.
    pub units: Vec<Unit>,
}

/// One message, or one system text, of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// The elements that it consists of. Neighbouring units name the same element when it holds more than one message,
    /// as a user's element of Messages does that brings tool results and then text.
    pub elements: Range<usize>,
    /// What it is.
    pub content: Content,
}

/// What a [`Unit`] is.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// The caller's instructions: forwarded where they stand, never stored.
    Instruction(Vec<Part>),
    /// A message of the conversation.
    Message(Message),
}

/// One step of an answer that is being streamed.
#[derive(Clone, Debug, PartialEq)]
pub enum Delta {
    /// More text.
    Text(String),
    /// More of a refusal.
    Refusal(String),
    /// More reasoning.
    Reasoning {
        /// What is new of it.
        reasoning: Reasoning,
        /// Fields without a word in the hub.
        extra: serde_json::Map<String, Value>,
    },
    /// A tool call begins or goes on; the slot tells parallel calls apart, `arguments` is the next piece.
    ToolCall {
        /// Which of the calls.
        slot: u64,
        /// What is known of it now; empty strings where nothing new is said.
        call: ToolCall,
        /// Fields without a word in the hub.
        extra: serde_json::Map<String, Value>,
    },
    /// A field of the message that has no word in the hub; arrays are joined, all else is replaced.
    Extra(String, Value),
    /// A field of the text that is being said; arrays are joined, all else is replaced.
    TextExtra(String, Value),
    /// A whole part.
    Part(Part),
    /// A part begins in a slot of its own, beside others that are still open.
    Open {
        /// Names the part until it is closed.
        slot: u64,
        /// What is known of it.
        part: Part,
    },
    /// The part in a slot goes on.
    Grow {
        /// Which part.
        slot: u64,
        /// What is new.
        growth: Growth,
    },
    /// The part in a slot is whole.
    Close {
        /// Which part.
        slot: u64,
    },
    /// The whole message, which replaces what was gathered so far.
    Message(Message),
    /// The provider's id of the answer, where a client that is told of a failure wants it.
    Id(String),
    /// Why the model stopped.
    Stop(Stop),
    /// Token counts so far; the later ones hold where they say anything.
    Usage(Usage),
    /// The provider says that the answer is whole; nothing of substance follows.
    End,
    /// The provider reports a failure inside the answer, in these words.
    Failure(String),
}

/// How a part that a stream has opened goes on.
#[derive(Clone, Debug, PartialEq)]
pub enum Growth {
    /// More words: of a text, or of reasoning.
    Text(String),
    /// The sealed form of reasoning.
    Sealed(String),
    /// The next piece of JSON text: of a call's arguments, or of the `input` of a part that is kept whole.
    Input(String),
    /// A piece of a call's arguments, at a JSON path (`$.items[0].name`): a string goes on, any other value is whole.
    Argument {
        /// Where it belongs.
        path: String,
        /// What is new there.
        piece: Value,
    },
    /// A field of the part that has no word in the hub; arrays are joined, all else is replaced.
    Extra(String, Value),
}

/// Writes a streamed answer for a client, step by step.
#[derive(Debug)]
pub enum StreamWriter {
    /// As Chat Completions.
    Chat(chat::StreamWriter),
    /// As Responses.
    Responses(responses::StreamWriter),
    /// As Messages.
    Messages(messages::StreamWriter),
}

impl StreamWriter {
    /// What goes out before the provider's first word.
    pub fn begin(&mut self) -> String {
        match self {
            StreamWriter::Chat(writer) => writer.begin(),
            StreamWriter::Responses(writer) => writer.begin(),
            StreamWriter::Messages(writer) => writer.begin(),
        }
    }

    /// Appends what a step looks like on the wire.
    pub fn write(&mut self, step: &Step, out: &mut String) {
        match self {
            StreamWriter::Chat(writer) => writer.write(step, out),
            StreamWriter::Responses(writer) => writer.write(step, out),
            StreamWriter::Messages(writer) => writer.write(step, out),
        }
    }

    /// What tells the client that the answer broke off. Nothing may follow it.
    pub fn fail(&mut self, error: &Error) -> String {
        match self {
            StreamWriter::Chat(writer) => writer.fail(error),
            StreamWriter::Responses(writer) => writer.fail(error),
            StreamWriter::Messages(writer) => writer.fail(error),
        }
    }

    /// The whole answer as the client would have got it without streaming. Only once the end is written.
    pub fn whole(&self) -> Option<Value> {
        match self {
            StreamWriter::Responses(writer) => writer.whole(),
            StreamWriter::Chat(_) | StreamWriter::Messages(_) => None,
        }
    }
}

impl Dialect {
    const WORDS: [(Dialect, &'static str); 4] = [
        (Dialect::Chat, "chat"),
        (Dialect::Responses, "responses"),
        (Dialect::Messages, "messages"),
        (Dialect::Google, "google"),
    ];

    /// Its name in configuration and in storage.
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(dialect, _)| *dialect == self).map_or("", |(_, word)| word)
    }

    /// The dialect behind a name.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(_, known)| *known == word).map(|(dialect, _)| *dialect)
    }

    /// What a field is called in its requests; `None` where it has no such field.
    pub fn name_of(self, field: Field) -> Option<&'static str> {
        let names = match self {
            Dialect::Chat => chat::NAMES,
            Dialect::Responses => responses::NAMES,
            Dialect::Messages => messages::NAMES,
            Dialect::Google => google::NAMES,
        };
        names.iter().find(|(known, _)| *known == field).map(|(_, name)| *name)
    }

    /// What becomes of a field that a request of another dialect asks for.
    pub fn handling(self, field: Field) -> Handling {
        let table = match self {
            Dialect::Chat => chat::TABLE,
            Dialect::Responses => responses::TABLE,
            Dialect::Messages => messages::TABLE,
            Dialect::Google => google::TABLE,
        };
        table
            .iter()
            .find(|(known, _)| *known == field)
            .map_or(Handling::Refused("it is unknown there"), |row| row.1)
    }

    /// Fields of its requests that have no word in the hub, and that other dialects can do without: hints about caching,
    /// safety, storage. Any other such field is refused there.
    pub fn hints(self) -> &'static [&'static str] {
        match self {
            Dialect::Chat => chat::HINTS,
            Dialect::Responses => responses::HINTS,
            Dialect::Messages => messages::HINTS,
            Dialect::Google => google::HINTS,
        }
    }

    /// Reads a request whose conversation is already known; instructions that stand in a field of their own come before
    /// it. Errors: 400 that names the field.
    pub fn read_request(self, body: &Body<'_>, entries: Vec<Entry>) -> Result<Request, Error> {
        match self {
            Dialect::Chat => chat::read_request(body, entries),
            Dialect::Responses => responses::read_request(body, entries),
            Dialect::Messages => messages::read_request(body, entries),
            Dialect::Google => google::read_request(body, entries),
        }
    }

    /// Writes a request for a provider; what the table refuses is no longer in it. Errors: 400 that names the place of a
    /// part that cannot be said.
    pub fn write_request(self, request: &Request, provider: &str) -> Result<Written, Error> {
        let target = Origin { dialect: self, provider: provider.to_owned() };
        match self {
            Dialect::Chat => chat::write_request(request, &target),
            Dialect::Responses => responses::write_request(request, &target),
            Dialect::Messages => messages::write_request(request, &target),
            Dialect::Google => google::write_request(request, &target),
        }
    }

    /// True where a message can bear its participant's name.
    pub fn names_participants(self) -> bool {
        self == Dialect::Chat
    }

    /// True where a provider has tools that take free text.
    pub fn has_custom_tools(self, provider: &str) -> bool {
        match self {
            Dialect::Chat => chat::has_custom_tools(provider),
            Dialect::Responses => true,
            Dialect::Messages | Dialect::Google => false,
        }
    }

    /// Writes a whole answer for a client.
    pub fn write_answer(self, answer: &Answer, frame: &Frame) -> Value {
        match self {
            // No client speaks Google's own; the commonest form stands in.
            Dialect::Chat | Dialect::Google => chat::write_answer(answer, frame),
            Dialect::Responses => responses::write_answer(answer, frame),
            Dialect::Messages => messages::write_answer(answer, frame),
        }
    }

    /// The writer of a streamed answer for a client.
    pub fn stream_writer(self, frame: Frame) -> StreamWriter {
        match self {
            Dialect::Chat | Dialect::Google => StreamWriter::Chat(chat::StreamWriter::new(frame)),
            Dialect::Responses => StreamWriter::Responses(responses::StreamWriter::new(frame)),
            Dialect::Messages => StreamWriter::Messages(messages::StreamWriter::new(frame)),
        }
    }

    /// The endpoint's path below `/v1`.
    pub fn path(self) -> &'static str {
        match self {
            Dialect::Chat => "/v1/chat/completions",
            Dialect::Responses => "/v1/responses",
            Dialect::Messages => "/v1/messages",
            Dialect::Google => "/v1beta/models/{model}:generateContent",
        }
    }

    /// The endpoint's path below a provider's base URL.
    pub fn upstream_path(self) -> &'static str {
        match self {
            Dialect::Chat => "/chat/completions",
            Dialect::Responses => "/responses",
            Dialect::Messages => "/messages",
            Dialect::Google => "",
        }
    }

    /// What people call it.
    pub fn title(self) -> &'static str {
        match self {
            Dialect::Chat => "Chat Completions",
            Dialect::Responses => "the Responses API",
            Dialect::Messages => "the Messages API",
            Dialect::Google => "generateContent",
        }
    }

    /// The field of a request that holds the conversation.
    pub fn conversation_field(self) -> &'static str {
        match self {
            Dialect::Chat => "messages",
            Dialect::Responses => "input",
            Dialect::Messages => "messages",
            Dialect::Google => "contents",
        }
    }

    /// True when the request leans on history that the provider keeps, so that adding ours would send it twice.
    pub fn continues_upstream(self, body: &Body<'_>) -> bool {
        match self {
            Dialect::Chat | Dialect::Google => false,
            Dialect::Messages => messages::continues_upstream(body),
            Dialect::Responses => body.has("previous_response_id") || body.has("conversation"),
        }
    }

    /// Reads the conversation of a request. Errors: 400 that names the field.
    pub fn read_conversation<'a>(self, body: &Body<'a>, origin: &Origin) -> Result<Conversation<'a>, Error> {
        match self {
            Dialect::Chat => chat::read_conversation(body, origin),
            Dialect::Responses => responses::read_conversation(body, origin),
            Dialect::Messages => messages::read_conversation(body, origin),
            Dialect::Google => google::read_conversation(body, origin),
        }
    }

    /// Checks what every request of this dialect must have, without reading the conversation. Errors: 400.
    pub fn check(self, body: &Body<'_>) -> Result<(), Error> {
        match self {
            Dialect::Chat => check_messages(body),
            Dialect::Messages => messages::check(body),
            Dialect::Responses => responses::check(body),
            Dialect::Google => Ok(()),
        }
    }

    /// Writes a stored message as elements of the conversation's array, for a provider.
    pub fn write_message(self, message: &Message, provider: &str) -> Vec<Value> {
        let target = Origin { dialect: self, provider: provider.to_owned() };
        match self {
            Dialect::Chat => chat::write_message(message, &target),
            Dialect::Responses => responses::write_message(message, &target),
            Dialect::Messages => messages::write_message(message, &target),
            Dialect::Google => google::write_message(message, &target),
        }
    }

    /// One element in the place of two neighbours, where the dialect wants as one what the hub keeps as two; `None`
    /// where they may stand side by side.
    pub fn join(self, before: &str, after: &str) -> Option<String> {
        match self {
            Dialect::Chat | Dialect::Responses | Dialect::Google => None,
            Dialect::Messages => messages::join(before, after),
        }
    }

    /// An element to put before the first message's, where the dialect does not take a conversation that begins with it.
    pub fn opening(self, first: &str) -> Option<String> {
        match self {
            Dialect::Chat | Dialect::Responses | Dialect::Google => None,
            Dialect::Messages => messages::opening(first),
        }
    }

    /// Reads a whole (not streamed) answer; `None` when it is not one.
    pub fn read_answer(self, json: &[u8], origin: &Origin) -> Option<Answer> {
        match self {
            Dialect::Chat => chat::read_answer(json, origin),
            Dialect::Responses => responses::read_answer(json, origin),
            Dialect::Messages => messages::read_answer(json, origin),
            Dialect::Google => google::read_answer(json, origin),
        }
    }

    /// Reads one event of a streamed answer.
    pub fn read_event(self, event: Event<'_>, origin: &Origin, on_delta: &mut dyn FnMut(Delta)) {
        match self {
            Dialect::Chat => chat::read_event(event, on_delta),
            Dialect::Responses => responses::read_event(event, origin, on_delta),
            Dialect::Messages => messages::read_event(event, origin, on_delta),
            Dialect::Google => google::read_event(event, on_delta),
        }
    }

    /// The bytes that tell a client of this dialect, inside a stream that has begun, that the answer is cut short. `id` is
    /// the answer's, as far as the client knows it.
    pub fn write_failure(self, error: &Error, id: Option<&str>) -> String {
        match self {
            Dialect::Chat | Dialect::Google => chat::write_failure(error),
            Dialect::Responses => responses::write_failure(error, id),
            Dialect::Messages => messages::write_failure(error),
        }
    }
}
