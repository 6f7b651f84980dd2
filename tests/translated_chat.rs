//! Recorded streams of Chat Completions, told as steps and written anew: the steps keep their grammar however the bytes are
//! cut, add up to the answer, and say the same to a client.
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
use memory_gateway::translate::StreamTranslator;
use memory_gateway::turn::{Answer, Ending, Message, Origin, Part, PartKind, Stop};
use serde::Deserialize;

#[derive(Deserialize)]
struct Exchange {
    id: String,
    provider: String,
    endpoint: String,
    status: u16,
    kind: String,
    #[serde(default)]
    response_text: String,
}

#[test]
fn recorded_chat_streams_are_told_by_the_grammar_and_say_the_same_again() {
    let folder = std::env::var("MEMORY_GATEWAY_FIXTURES")
        .map_or_else(|_| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures"), PathBuf::from);
    let Ok(packed) = std::fs::File::open(folder.join("exchanges.jsonl.xz")) else {
        println!("No recordings in {}: nothing compared.", folder.display());
        return;
    };
    let mut text = Vec::new();
    lzma_rs::xz_decompress(&mut std::io::BufReader::new(packed), &mut text).unwrap();
    let (mut streams, mut failures) = (0, Vec::new());
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let exchange: Exchange = serde_json::from_slice(line).unwrap();
        if exchange.endpoint != "chat_completions" || exchange.kind != "sse" || exchange.status != 200 {
            continue;
        }
        streams += 1;
        let origin = Origin { dialect: Dialect::Chat, provider: exchange.provider };
        let bytes = exchange.response_text.as_bytes();
        for size in [bytes.len().max(1), 7] {
            let checked = told_well(&origin, bytes, size).and_then(|()| says_the_same(&origin, bytes, size));
            if let Err(why) = checked {
                let why: String = why.chars().take(600).collect();
                failures.push(format!("{} in chunks of {size}: {why}", exchange.id));
            }
        }
    }
    println!("{streams} streams");
    assert_eq!(failures, Vec::<String>::new());
}

fn told_well(origin: &Origin, bytes: &[u8], size: usize) -> Result<(), String> {
    let mut observer = Observer::telling(origin.clone(), "seed");
    let mut steps = Vec::new();
    for chunk in bytes.chunks(size) {
        observer.push(chunk);
        steps.extend(observer.take_steps());
    }
    let (answer, last) = observer.finish_telling(true);
    steps.extend(last);
    let ended = matches!(steps.last(), Some(Step::End { .. }));
    if ended != (answer.ending == Ending::Complete) {
        return Err(format!("ends {:?}, and the last step is {:?}", answer.ending, steps.last()));
    }
    let parts = add_up(steps)?;
    let whole = answer.message.map(|message| message.parts).unwrap_or_default();
    if ended && parts != whole {
        return Err(format!("told {parts:?}, gathered {whole:?}"));
    }
    Ok(())
}

/// The parts that the steps tell, checked against the grammar.
fn add_up(steps: Vec<Step>) -> Result<Vec<Part>, String> {
    let mut open: BTreeMap<usize, Part> = BTreeMap::new();
    let mut closed: BTreeMap<usize, Part> = BTreeMap::new();
    let mut next = 0;
    let mut over = false;
    for step in steps {
        if over {
            return Err(format!("{step:?} after the end"));
        }
        match step {
            Step::Open { at, part } => {
                if at != next {
                    return Err(format!("part {at} is opened where {next} was due"));
                }
                next += 1;
                if !matches!(part.kind, PartKind::ToolCall(_)) && open.values().any(is_said) {
                    return Err(format!("part {at} is opened beside another"));
                }
                if let PartKind::ToolCall(call) = &part.kind
                    && (call.id.is_empty() || call.name.is_empty())
                {
                    return Err(format!("a call without id or name: {call:?}"));
                }
                open.insert(at, part);
            }
            Step::Grow { at, growth } => {
                let Some(part) = open.get_mut(&at) else { return Err(format!("part {at} is not open")) };
                match (&mut part.kind, growth) {
                    (PartKind::Text(text) | PartKind::Refusal(text), Growth::Text(more)) => {
                        text.push_str(&more);
                    }
                    (PartKind::Reasoning(reasoning), Growth::Text(more)) => reasoning.text.push_str(&more),
                    (PartKind::Reasoning(reasoning), Growth::Sealed(seal)) => reasoning.sealed = Some(seal),
                    (PartKind::ToolCall(call), Growth::Input(more)) => call.arguments.push_str(&more),
                    (_, Growth::Extra(..)) => {}
                    (kind, growth) => return Err(format!("{growth:?} for {kind:?}")),
                }
            }
            Step::Close { at, part } => {
                let Some(known) = open.remove(&at) else { return Err(format!("part {at} is not open")) };
                if known.kind != part.kind {
                    return Err(format!("grew to {known:?}, closed as {part:?}"));
                }
                closed.insert(at, part);
            }
            Step::Usage(_) => {}
            Step::End { .. } => over = true,
        }
    }
    if over && !open.is_empty() {
        return Err(format!("never closed: {open:?}"));
    }
    Ok(closed.into_values().collect())
}

fn is_said(part: &Part) -> bool {
    matches!(part.kind, PartKind::Text(_) | PartKind::Refusal(_) | PartKind::Reasoning(_))
}

/// Written for a client and read again, the answer is the same but for parts that only its provider knows.
fn says_the_same(origin: &Origin, bytes: &[u8], size: usize) -> Result<(), String> {
    let frame = Frame {
        id: "0".into(),
        model: "m".into(),
        created_at: 0,
        input_estimate: 0,
        stream_usage: true,
        custom_tools: Vec::new(),
        echo: serde_json::Map::new(),
        origin: origin.clone(),
    };
    let mut translator = StreamTranslator::new(Dialect::Chat, frame);
    let mut written = translator.begin();
    for chunk in bytes.chunks(size) {
        written.push_str(&translator.push(chunk));
    }
    let finished = translator.finish(true);
    written.push_str(&finished.last);
    if finished.answer.ending != Ending::Complete {
        return if written.contains("[DONE]") {
            Err("a broken answer is told to be whole".into())
        } else {
            Ok(())
        };
    }
    let mut observer = Observer::new(origin.clone());
    observer.push(written.as_bytes());
    let again = observer.finish(true);
    let (was, is) = (outline(&finished.answer), outline(&again));
    if was != is {
        return Err(format!("was {was:?}, is {is:?}"));
    }
    Ok(())
}

type Outline = (String, String, String, Vec<(String, String, String)>, Option<Stop>, [u64; 5]);

fn outline(answer: &Answer) -> Outline {
    let parts = answer.message.iter().flat_map(|message: &Message| &message.parts);
    let (mut text, mut refusal, mut reasoning, mut calls) =
        (String::new(), String::new(), String::new(), vec![]);
    for part in parts {
        match &part.kind {
            PartKind::Text(more) => text.push_str(more),
            PartKind::Refusal(more) => refusal.push_str(more),
            PartKind::Reasoning(more) => reasoning.push_str(&more.text.replace("\n\n", "")),
            PartKind::ToolCall(call) => {
                calls.push((call.id.clone(), call.name.clone(), call.written_arguments().to_owned()));
            }
            _ => {}
        }
    }
    let stop = answer.stop.clone().map(|stop| if matches!(stop, Stop::Other(_)) { Stop::End } else { stop });
    let usage = answer.usage.unwrap_or_default();
    let counts = [usage.input, usage.output, usage.cached, usage.cache_write, usage.reasoning];
    (text, refusal, reasoning, calls, stop.or(Some(Stop::End)), counts)
}
