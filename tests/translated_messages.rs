//! Real streams of Messages, told as steps: they obey the grammar, say what the answer says however they are cut, and a
//! client's stream that is written from them reads as that answer again. And the requests that led to them are read.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

#[path = "support/recordings.rs"]
mod recordings;
#[path = "support/steps.rs"]
mod steps;

use memory_gateway::body::Body;
use memory_gateway::dialect::{Content, Dialect};
use memory_gateway::error::Error;
use memory_gateway::frame::Frame;
use memory_gateway::gather::Step;
use memory_gateway::request::{Entry, Request, Tool, ToolKind};
use memory_gateway::turn::{Answer, Ending, Message, Origin, Part, PartKind};

use self::recordings::exchanges;
use self::steps::{obeyed, tell};

#[test]
fn recorded_streams_are_told_without_loss() {
    let Some(exchanges) = exchanges(Some("messages")) else { return };
    let (mut told, mut asked) = (0, 0);
    let mut failures = Vec::new();
    for exchange in exchanges {
        if let (200, Some(request)) = (exchange.status, &exchange.request) {
            asked += 1;
            let checked = goes_on(&exchange.provider, request.get());
            failures.extend(checked.err().map(|why| format!("{}: {why}", exchange.id)));
        }
        if exchange.kind == "sse" {
            told += 1;
            let checked = check(&exchange.provider, first(&exchange.response_text));
            failures.extend(checked.err().map(|why| format!("{}: {why}", exchange.id)));
        }
    }
    println!("{told} streams, {asked} requests");
    assert!(told > 0 && asked > 0);
    assert!(failures.is_empty(), "{} of {told}:\n{}", failures.len(), failures.join("\n"));
}

/// A request that the provider took is read, and what is written of it for another model is a request again that says the
/// same of tools, limits and instructions.
fn goes_on(provider: &str, request: &str) -> Result<(), String> {
    let origin = Origin { dialect: Dialect::Messages, provider: provider.to_owned() };
    let read = |text: &str| -> Result<Request, Error> {
        let body = Body::parse(text.as_bytes())?;
        let conversation = Dialect::Messages.read_conversation(&body, &origin)?;
        let entries = conversation.units.into_iter().map(|unit| match unit.content {
            Content::Instruction(parts) => Entry::Instruction(parts),
            Content::Message(message) => Entry::Message { message, place: None },
        });
        Dialect::Messages.read_request(&body, entries.collect())
    };
    if request == "{}" {
        return Ok(());
    }
    let asked = read(request).map_err(|error| error.to_string())?;
    let written =
        Dialect::Messages.write_request(&asked, "elsewhere").map_err(|error| error.to_string())?.body;
    let again = read(&written.to_string()).map_err(|error| format!("{error}: {written}"))?;
    let functions = |request: &Request| {
        let is_function = |tool: &&Tool| matches!(tool.kind, ToolKind::Function { .. });
        request.tools.iter().filter(is_function).count()
    };
    let led = |request: &Request| matches!(request.entries.first(), Some(Entry::Instruction(_)));
    if functions(&again) != functions(&asked) || led(&again) != led(&asked) || again.stop != asked.stop {
        return Err(format!("of {request} comes {written}"));
    }
    Ok(())
}

/// The first answer: some recordings hold several, one behind the other.
fn first(stream: &str) -> &[u8] {
    let end =
        stream.find("event: message_stop").and_then(|at| stream[at..].find("\n\n").map(|len| at + len + 2));
    &stream.as_bytes()[..end.unwrap_or(stream.len())]
}

fn check(provider: &str, bytes: &[u8]) -> Result<(), String> {
    let origin = Origin { dialect: Dialect::Messages, provider: provider.to_owned() };
    let (answer, steps) = tell(&origin, bytes, bytes.len());
    let again = bytes.windows(20).filter(|window| window == b"event: message_start").count() > 1;
    for (size, cut) in [(bytes.len(), &steps), (7, &tell(&origin, bytes, 7).1)] {
        let told = obeyed(&answer, cut).map_err(|why| format!("in chunks of {size}: {why}"))?;
        let said: Vec<Part> = answer.message.iter().flat_map(|message| message.parts.clone()).collect();
        // An answer that began anew was told twice; what counts came last.
        let same = if again { told.ends_with(&said) } else { told == said };
        if answer.ending == Ending::Complete && !same {
            return Err(format!("in chunks of {size}: told {told:?}, said {said:?}"));
        }
    }
    if answer.ending == Ending::Complete && !again { written_again(&origin, &answer, &steps) } else { Ok(()) }
}

/// The steps written for a client and read again give the answer, but for what its own provider alone understands.
fn written_again(origin: &Origin, answer: &Answer, steps: &[Step]) -> Result<(), String> {
    let frame = Frame {
        id: "5eed".into(),
        model: "m".into(),
        created_at: 0,
        input_estimate: 1,
        stream_usage: true,
        custom_tools: Vec::new(),
        echo: Default::default(),
        origin: origin.clone(),
    };
    let mut writer = Dialect::Messages.stream_writer(frame.clone());
    let mut stream = writer.begin();
    steps.iter().for_each(|step| writer.write(step, &mut stream));
    let again = tell(origin, stream.as_bytes(), stream.len()).0;
    let whole = Dialect::Messages.write_answer(answer, &frame).to_string();
    let whole = Dialect::Messages.read_answer(whole.as_bytes(), origin).unwrap();
    for (how, again) in [("streamed", again), ("whole", whole)] {
        // Arguments that were cut off are no object, which a whole answer needs.
        let torn =
            answer.message.iter().flat_map(Message::tool_calls).any(|call| !call.arguments.ends_with('}'));
        if (how == "streamed" || !torn) && kinds(&again) != kinds(answer) || again.usage != answer.usage {
            return Err(format!("{how}, written again it reads {again:?}, not {answer:?}"));
        }
    }
    Ok(())
}

fn kinds(answer: &Answer) -> Vec<PartKind> {
    let parts = answer.message.iter().flat_map(|message| &message.parts);
    let mut kinds: Vec<PartKind> =
        parts.map(|part| part.kind.clone()).filter(|kind| !matches!(kind, PartKind::Other(_))).collect();
    // A whole answer carries arguments as an object, not as their spelling.
    for kind in &mut kinds {
        if let PartKind::ToolCall(call) = kind {
            call.arguments = call.canonical_arguments().into_owned();
        }
    }
    kinds
}
