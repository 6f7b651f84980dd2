//! Real streams of Messages, told as steps: they obey the grammar, say what the answer says however they are cut, and a
//! client's stream that is written from them reads as that answer again.
//!
//! The recordings are large and not part of this repository. `MEMORY_GATEWAY_FIXTURES` names their folder; without them
//! the test says so and passes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use memory_gateway::dialect::{Dialect, Growth};
use memory_gateway::frame::Frame;
use memory_gateway::gather::Step;
use memory_gateway::observe::Observer;
use memory_gateway::turn::{Answer, Ending, Origin, Part, PartKind, Reasoning};
use serde::Deserialize;

#[derive(Deserialize)]
struct Exchange {
    id: String,
    provider: String,
    endpoint: String,
    kind: String,
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
    let mut told = 0;
    let mut failures = Vec::new();
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let exchange: Exchange = serde_json::from_slice(line).unwrap();
        if exchange.endpoint == "messages" && exchange.kind == "sse" {
            told += 1;
            let checked = check(&exchange.provider, exchange.response_text.as_bytes());
            failures.extend(checked.err().map(|why| format!("{}: {why}", exchange.id)));
        }
    }
    println!("{told} streams");
    assert!(told > 0);
    assert!(failures.is_empty(), "{} of {told}:\n{}", failures.len(), failures.join("\n"));
}

fn check(provider: &str, bytes: &[u8]) -> Result<(), String> {
    let origin = Origin { dialect: Dialect::Messages, provider: provider.to_owned() };
    let (answer, steps) = observe(&origin, bytes.len().max(1), bytes);
    for (size, cut) in [(bytes.len().max(1), &steps), (7, &observe(&origin, 7, bytes).1)] {
        let parts = grammar(cut, &answer).map_err(|why| format!("in chunks of {size}: {why}"))?;
        let said: Vec<Part> = answer.message.iter().flat_map(|message| message.parts.clone()).collect();
        let blank = |part: &Part| part.is_blank();
        let told: Vec<Part> = parts.into_iter().filter(|part| !blank(part)).collect();
        if answer.ending == Ending::Complete && told != said {
            return Err(format!("in chunks of {size}: told {told:?}, said {said:?}"));
        }
    }
    if answer.ending == Ending::Complete { written_again(&origin, &answer, &steps) } else { Ok(()) }
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
                    Growth::Extra(..) => {}
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
        if kinds(&again) != kinds(answer) || again.usage != answer.usage {
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
