//! Real streams of Messages, told as steps: they obey the grammar, say what the answer says however they are cut, and a
//! client's stream that is written from them reads as that answer again. And the requests that led to them are read.
//!
//! The recordings are large and not part of this repository. `MEMORY_GATEWAY_FIXTURES` names their folder; without them
//! the test says so and passes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use memory_gateway::body::Body;
use memory_gateway::dialect::{Content, Dialect, Growth};
use memory_gateway::error::Error;
use memory_gateway::frame::Frame;
use memory_gateway::gather::Step;
use memory_gateway::observe::Observer;
use memory_gateway::request::{Entry, Request, Tool, ToolKind};
use memory_gateway::turn::{Answer, Ending, Message, Origin, Part, PartKind, Reasoning};
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Exchange {
    id: String,
    provider: String,
    endpoint: String,
    kind: String,
    status: u16,
    request: Option<Box<RawValue>>,
    #[serde(default)]
    response_text: String,
}

#[test]
fn recorded_streams_are_told_without_loss() {
    let folder = std::env::var("MEMORY_GATEWAY_FIXTURES")
        .map_or_else(|_| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures"), PathBuf::from);
    let Ok(packed) = std::fs::File::open(folder.join("exchanges.jsonl.xz")) else {
        println!("No recordings in {}: nothing compared.", folder.display());
        return;
    };
    let mut text = Vec::new();
    lzma_rs::xz_decompress(&mut std::io::BufReader::new(packed), &mut text).unwrap();
    let (mut told, mut asked) = (0, 0);
    let mut failures = Vec::new();
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let exchange: Exchange = serde_json::from_slice(line).unwrap();
        if exchange.endpoint == "messages"
            && let (200, Some(request)) = (exchange.status, &exchange.request)
        {
            asked += 1;
            let checked = goes_on(&exchange.provider, request.get());
            failures.extend(checked.err().map(|why| format!("{}: {why}", exchange.id)));
        }
        if exchange.endpoint == "messages" && exchange.kind == "sse" {
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
    let (answer, steps) = observe(&origin, bytes.len().max(1), bytes);
    let again = bytes.windows(20).filter(|window| window == b"event: message_start").count() > 1;
    for (size, cut) in [(bytes.len().max(1), &steps), (7, &observe(&origin, 7, bytes).1)] {
        let parts = grammar(cut, &answer).map_err(|why| format!("in chunks of {size}: {why}"))?;
        let said: Vec<Part> = answer.message.iter().flat_map(|message| message.parts.clone()).collect();
        let blank = |part: &Part| part.is_blank();
        let told: Vec<Part> = parts.into_iter().filter(|part| !blank(part)).collect();
        // An answer that began anew was told twice; what counts came last.
        let same = if again { told.ends_with(&said) } else { told == said };
        if answer.ending == Ending::Complete && !same {
            return Err(format!("in chunks of {size}: told {told:?}, said {said:?}"));
        }
    }
    if answer.ending == Ending::Complete && !again { written_again(&origin, &answer, &steps) } else { Ok(()) }
}

fn observe(origin: &Origin, size: usize, bytes: &[u8]) -> (Answer, Vec<Step>) {
    let mut observer = Observer::telling(origin.clone(), "5eed");
    let mut steps = Vec::new();
    for chunk in bytes.chunks(size) {
        observer.push(chunk);
        steps.extend(observer.take_steps());
    }
    let (answer, last) = observer.finish_telling(true);
    steps.extend(last);
    (answer, steps)
}

/// What is open, and what was told of it.
#[derive(Default)]
struct Told {
    words: String,
    input: String,
    seal: Option<String>,
}

/// The closed parts, in order, if the steps obey the grammar.
fn grammar(steps: &[Step], answer: &Answer) -> Result<Vec<Part>, String> {
    let mut open: BTreeMap<usize, (Part, Told)> = BTreeMap::new();
    let mut closed: BTreeMap<usize, Part> = BTreeMap::new();
    let mut next = 0;
    let mut ended = false;
    for step in steps {
        if ended {
            return Err(format!("{step:?} after the end"));
        }
        match step {
            Step::Open { at, part } => {
                let exclusive = |part: &Part| {
                    matches!(part.kind, PartKind::Text(_) | PartKind::Refusal(_) | PartKind::Reasoning(_))
                };
                if *at != next {
                    return Err(format!("{at} is opened in the place of {next}"));
                }
                if open.values().any(|(part, _)| exclusive(part)) && exclusive(part) {
                    return Err(format!("{at} is opened beside another text"));
                }
                let empty = match &part.kind {
                    PartKind::Text(words) | PartKind::Refusal(words) => words.is_empty(),
                    PartKind::Reasoning(reasoning) => {
                        *reasoning == Reasoning { id: reasoning.id.clone(), ..Reasoning::default() }
                    }
                    PartKind::ToolCall(call) => {
                        call.arguments.is_empty() && !call.id.is_empty() && !call.name.is_empty()
                    }
                    _ => true,
                };
                if !empty {
                    return Err(format!("{at} is opened as {part:?}"));
                }
                open.insert(*at, (part.clone(), Told::default()));
                next += 1;
            }
            Step::Grow { at, growth } => {
                let Some((_, told)) = open.get_mut(at) else {
                    return Err(format!("{at} grows, and is not open"));
                };
                match growth {
                    Growth::Text(more) => told.words.push_str(more),
                    Growth::Input(more) => told.input.push_str(more),
                    Growth::Sealed(seal) => told.seal = Some(seal.clone()),
                    Growth::Extra(..) | Growth::Argument { .. } => {}
                }
            }
            Step::Close { at, part } => {
                let Some((_, told)) = open.remove(at) else {
                    return Err(format!("{at} is closed, and is not open"));
                };
                let same = match &part.kind {
                    PartKind::Text(words) | PartKind::Refusal(words) => *words == told.words,
                    PartKind::Reasoning(reasoning) => {
                        reasoning.text == told.words && reasoning.sealed == told.seal
                    }
                    PartKind::ToolCall(call) => call.arguments == told.input && !told.input.is_empty(),
                    _ => true,
                };
                if !same {
                    return Err(format!("{at} is closed as {part:?}, and was told as {:?}", told.words));
                }
                closed.insert(*at, part.clone());
            }
            Step::Usage(_) => {}
            Step::End { stop, usage } => {
                if !open.is_empty() || *stop != answer.stop || *usage != answer.usage {
                    return Err(format!("it ends with {step:?}, {} open", open.len()));
                }
                ended = true;
            }
        }
    }
    if ended != (answer.ending == Ending::Complete) {
        return Err(format!("the end is told: {ended}, the answer is {:?}", answer.ending));
    }
    Ok(closed.into_values().collect())
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
    let again = observe(origin, stream.len(), stream.as_bytes()).0;
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
