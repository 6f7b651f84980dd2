//! From one dialect to another: requests to providers, answers and errors back to clients.
//!
//! Invariant: what the target cannot say is a 400 that names the client's own field, or is named in the list of what was
//! ignored; a stream is told to be whole only when the provider said so.

use serde_json::Value;

use crate::dialect::{Dialect, StreamWriter};
use crate::error::Error;
use crate::frame::Frame;
use crate::free_text;
use crate::observe::Observer;
use crate::request::{Entry, Field, Format, Handling, Request, ToolChoice, ToolKind, WebSearch, Written};
use crate::turn::{Answer, Ending, Message, Origin, PartKind, Role, Source, Stop};

/// A request in another dialect.
#[derive(Clone, Debug, PartialEq)]
pub struct Translated {
    /// The provider's body.
    pub body: Value,
    /// The client's fields that were left out because the answer is as good without them.
    pub ignored: Vec<String>,
    /// The client's custom tools that functions stand in for; see [`free_text`].
    pub custom_tools: Vec<String>,
}

/// Writes a client's request for a provider of another dialect. Errors: 400 that names the client's field.
pub fn request(mut request: Request, client: Dialect, target: &Origin) -> Result<Translated, Error> {
    let mut ignored = Vec::new();
    for (name, value) in std::mem::take(&mut request.rest) {
        if value.is_null() || value == Value::Bool(false) {
            continue;
        }
        if !client.hints().contains(&name.as_str()) {
            let why = format!(
                "a model of `{}` is asked in another format, which has no such field",
                target.provider
            );
            return Err(refused(&name, &why));
        }
        ignored.push(name);
    }
    for field in Field::ALL {
        if !field.is_set(&request) {
            continue;
        }
        match target.dialect.handling(field) {
            Handling::Mapped(_) | Handling::Emulated(_) => {}
            Handling::Ignored(_) => {
                ignored.push(place(&request, client, field));
                drop_field(&mut request, field);
            }
            Handling::Refused(why) => {
                return Err(refused(
                    &place(&request, client, field),
                    &format!("`{}`: {why}", target.provider),
                ));
            }
        }
    }
    if forces_a_search(&request) {
        let why = format!("`{}` cannot be made to search the web", target.provider);
        return Err(refused(&place(&request, client, Field::ToolChoice), &why));
    }
    for entry in &request.entries {
        if let Entry::Message { message, place: Some(place) } = entry {
            check_parts(message, place, target)?;
        }
    }
    let is_named =
        |entry: &Entry| matches!(entry, Entry::Message { message, place: Some(_) } if message.name.is_some());
    if !target.dialect.names_participants() && request.entries.iter().any(is_named) {
        ignored.push(format!("{}[].name", client.conversation_field()));
    }
    let custom_tools = if target.dialect.has_custom_tools(&target.provider) {
        Vec::new()
    } else {
        free_text::stand_in(&mut request.tools)
    };
    let Written { body, left_out } = target.dialect.write_request(&request, &target.provider)?;
    ignored.extend(left_out.into_iter().map(|field| place(&request, client, field)));
    Ok(Translated { body, ignored, custom_tools })
}

/// Writes a request for a provider that speaks several dialects, preferred first: in the first that can say all of it.
/// Errors: those of the preferred one.
pub fn request_in_any(
    request: &Request,
    client: Dialect,
    dialects: impl IntoIterator<Item = Dialect>,
    provider: &str,
) -> Result<(Origin, Translated), Error> {
    let mut refusal = None;
    for dialect in dialects {
        let target = Origin { dialect, provider: provider.to_owned() };
        match self::request(request.clone(), client, &target) {
            Ok(translated) => return Ok((target, translated)),
            Err(error) => drop(refusal.get_or_insert(error)),
        }
    }
    Err(refusal.unwrap_or_else(Error::internal))
}

fn refused(param: &str, why: &str) -> Error {
    Error::invalid(
        param,
        format!("The field `{param}` cannot be translated for this model ({why}). Leave it out, or use another model."),
    )
    .with_code("unsupported_field")
}

/// True when the model must call a tool by the name of the search, as Messages has it.
fn forces_a_search(request: &Request) -> bool {
    let Some(ToolChoice::Named(wanted)) = &request.tool_choice else { return false };
    let is_wanted = |kind: &ToolKind| match kind {
        ToolKind::Function { name, .. } | ToolKind::Custom { name, .. } => name == wanted,
        ToolKind::WebSearch(_) | ToolKind::Server(_) => false,
    };
    request.searches().next().is_some() && !request.tools.iter().any(|tool| is_wanted(&tool.kind))
}

/// Where the client wrote a field.
fn place(request: &Request, client: Dialect, field: Field) -> String {
    let name = client.name_of(field).unwrap_or("model");
    let position = |wanted: fn(&ToolKind) -> bool| request.tools.iter().position(|tool| wanted(&tool.kind));
    let at = match field {
        Field::CustomTools => position(|kind| matches!(kind, ToolKind::Custom { .. })),
        Field::ServerTools => position(|kind| matches!(kind, ToolKind::Server(_))),
        _ if name.contains("[]") => position(|kind| matches!(kind, ToolKind::WebSearch(_))),
        _ => None,
    };
    match at {
        Some(at) if name.contains("[]") => name.replace("[]", &format!("[{at}]")),
        Some(at) => format!("{name}[{at}]"),
        None => name.to_owned(),
    }
}

fn drop_field(request: &mut Request, field: Field) {
    let mut of_searches = |drop: fn(&mut WebSearch)| {
        for tool in &mut request.tools {
            if let ToolKind::WebSearch(search) = &mut tool.kind {
                drop(search);
            }
        }
    };
    match field {
        Field::SearchContextSize => of_searches(|search| search.context_size = None),
        Field::SearchLocation => of_searches(|search| search.location = None),
        Field::SearchAllowedDomains => of_searches(|search| search.allowed_domains.clear()),
        Field::SearchBlockedDomains => of_searches(|search| search.blocked_domains.clear()),
        Field::SearchLimit => of_searches(|search| search.max_uses = None),
        Field::WebSearch => request.tools.retain(|tool| !matches!(tool.kind, ToolKind::WebSearch(_))),
        Field::MaxTokens => request.max_tokens = None,
        Field::Temperature => request.temperature = None,
        Field::TopP => request.top_p = None,
        Field::TopK => request.top_k = None,
        Field::FrequencyPenalty => request.frequency_penalty = None,
        Field::PresencePenalty => request.presence_penalty = None,
        Field::Seed => request.seed = None,
        Field::LogitBias => request.logit_bias = None,
        Field::Logprobs => request.logprobs = None,
        Field::Stop => request.stop.clear(),
        Field::N => request.n = None,
        Field::JsonObject | Field::JsonSchema => request.format = Some(Format::Text),
        Field::Verbosity => request.verbosity = None,
        Field::Thinking => request.thinking = Default::default(),
        Field::Tools => request.tools.retain(|tool| !matches!(tool.kind, ToolKind::Function { .. })),
        Field::CustomTools => request.tools.retain(|tool| !matches!(tool.kind, ToolKind::Custom { .. })),
        Field::ServerTools => request.tools.retain(|tool| !matches!(tool.kind, ToolKind::Server(_))),
        Field::ToolChoice => request.tool_choice = None,
        Field::AllowedTools => request.tool_choice = Some(ToolChoice::Auto),
        Field::ParallelToolCalls => request.parallel_tool_calls = None,
        Field::User => request.user = None,
        Field::Metadata => request.metadata = None,
        Field::ServiceTier => request.service_tier = None,
    }
}

/// Refuses what the client itself sent and no other dialect can hold: parts without a word in the hub, and files that
/// only another provider has. What the model said earlier is left out where it cannot be said.
fn check_parts(message: &Message, place: &str, target: &Origin) -> Result<(), Error> {
    if message.role == Role::Assistant {
        return Ok(());
    }
    for (at, part) in message.parts.iter().enumerate() {
        let place = format!("{place}.content[{at}]");
        let inner: &[_] = match &part.kind {
            PartKind::ToolResult(result) => &result.content,
            _ => std::slice::from_ref(part),
        };
        for part in inner {
            match &part.kind {
                PartKind::Other(value) => {
                    let kind = value.get("type").and_then(Value::as_str).unwrap_or("unknown");
                    return Err(refused(
                        &place,
                        &format!("parts of type `{kind}` have no counterpart at `{}`", target.provider),
                    ));
                }
                PartKind::Image(media) | PartKind::Audio(media) | PartKind::File(media)
                    if matches!(media.source, Source::FileId(_)) =>
                {
                    return Err(refused(
                        &place,
                        "a file id is known to the provider that holds the file only; send the bytes or a URL",
                    ));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// A whole answer for a client of another dialect.
pub fn answer(mut answer: Answer, client: Dialect, frame: &Frame) -> (Answer, Value) {
    name_calls(&mut answer, frame);
    let written = client.write_answer(&answer, frame);
    (answer, written)
}

/// The answer with its calls as they are told: those of custom tools as such, none without an id or arguments, and
/// announced in why the model stopped.
pub fn name_calls(answer: &mut Answer, frame: &Frame) {
    let Some(message) = &mut answer.message else { return };
    free_text::read_calls(message, &frame.custom_tools);
    let mut called = false;
    for (at, part) in message.parts.iter_mut().enumerate() {
        if let PartKind::ToolCall(call) = &mut part.kind {
            called = true;
            if call.id.is_empty() {
                call.id = format!("call_{}{at}", frame.id);
            }
            if call.arguments.is_empty() {
                call.arguments = call.written_arguments().to_owned();
            }
        }
    }
    if called && matches!(answer.stop, None | Some(Stop::End)) {
        answer.stop = Some(Stop::ToolCalls);
    }
}

/// A streamed answer on its way from one dialect to another.
#[derive(Debug)]
pub struct StreamTranslator {
    observer: Observer,
    writer: StreamWriter,
}

/// How a translated stream ended.
#[derive(Debug)]
pub struct Finished {
    /// What was said.
    pub answer: Answer,
    /// What is still to be sent, if the answer is complete.
    pub last: String,
    /// What the provider said when it failed.
    pub failure: Option<String>,
    /// Writes the client's error, if it is not.
    pub writer: StreamWriter,
}

impl StreamTranslator {
    /// A translator of one answer for a client.
    pub fn new(client: Dialect, frame: Frame) -> Self {
        let observer = Observer::framed(&frame);
        StreamTranslator { observer, writer: client.stream_writer(frame) }
    }

    /// What goes out before the provider's first word.
    pub fn begin(&mut self) -> String {
        self.writer.begin()
    }

    /// Takes the provider's next bytes, gives the client's.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.observer.push(bytes);
        let mut out = String::new();
        for step in self.observer.take_steps() {
            self.writer.write(&step, &mut out);
        }
        out
    }

    /// Takes an answer that came whole, though a stream was asked for; gives all that is to be sent before the end.
    pub fn push_whole(&mut self, answer: Answer) -> String {
        let mut out = String::new();
        for step in self.observer.take_whole(answer) {
            self.writer.write(&step, &mut out);
        }
        out
    }

    /// True once the provider has said that the answer is over: whole, or failed.
    pub fn is_over(&self) -> bool {
        self.observer.is_over()
    }

    /// The end. `at_end` says that the provider closed the stream of its own accord.
    pub fn finish(self, at_end: bool) -> Finished {
        let StreamTranslator { mut observer, mut writer } = self;
        let answer = observer.outcome(at_end);
        let failure = observer.failure().map(str::to_owned);
        let mut last = String::new();
        for step in observer.take_steps() {
            writer.write(&step, &mut last);
        }
        if answer.ending != Ending::Complete {
            last.clear();
        }
        Finished { answer, last, failure, writer }
    }
}
