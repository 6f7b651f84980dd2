//! Recorded streams of Responses, told as steps: they obey the grammar that stream writers rely on, however they are cut,
//! and what the steps close is what the answer holds.
//!
//! The recordings are large and not part of this repository. `MEMORY_GATEWAY_FIXTURES` names their folder; without them
//! the test says so and passes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use memory_gateway::dialect::{Dialect, Growth};
use memory_gateway::gather::Step;
use memory_gateway::observe::Observer;
use memory_gateway::turn::{Answer, Ending, Origin, Part, PartKind};
use serde_json::Value;

/// The recorded streams, by their ids.
fn streams() -> Option<Vec<(String, String)>> {
    let folder = std::env::var("MEMORY_GATEWAY_FIXTURES")
        .map_or_else(|_| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures"), PathBuf::from);
    let Ok(packed) = std::fs::File::open(folder.join("exchanges.jsonl.xz")) else {
        println!("No recordings in {}: nothing compared.", folder.display());
        return None;
    };
    let mut text = Vec::new();
    lzma_rs::xz_decompress(&mut std::io::BufReader::new(packed), &mut text).unwrap();
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let exchanges = lines.map(|line| serde_json::from_slice::<Value>(line).unwrap()).filter(|exchange| {
        exchange["endpoint"] == "responses" && exchange["kind"] == "sse" && exchange["status"] == 200
    });
    let text = |exchange: &Value, name: &str| exchange[name].as_str().unwrap_or_default().to_owned();
    Some(exchanges.map(|exchange| (text(&exchange, "id"), text(&exchange, "response_text"))).collect())
}

fn origin() -> Origin {
    Origin { dialect: Dialect::Responses, provider: "openai".into() }
}

fn told(chunks: &mut dyn Iterator<Item = &[u8]>) -> (Answer, Vec<Step>) {
    let mut observer = Observer::telling(origin(), "seed");
    let mut steps = Vec::new();
    for chunk in chunks {
        observer.push(chunk);
        steps.extend(observer.take_steps());
    }
    let (answer, last) = observer.finish_telling(true);
    steps.extend(last);
    (answer, steps)
}

/// Checks the grammar. Gives the closed parts, by their numbers.
fn obeyed(steps: &[Step], ending: Ending) -> Result<Vec<Part>, String> {
    let mut open: BTreeMap<usize, (Part, String, String)> = BTreeMap::new();
    let mut closed: BTreeMap<usize, Part> = BTreeMap::new();
    let mut opened = 0;
    let mut ended = false;
    for step in steps {
        if ended {
            return Err(format!("{step:?} after the end"));
        }
        match step {
            Step::Open { at, part } => {
                if *at != opened {
                    return Err(format!("{at} is opened, {opened} is next"));
                }
                opened += 1;
                let torn = |(part, _, input): &(Part, String, String)| {
                    matches!(part.kind, PartKind::ToolCall(_))
                        && serde_json::from_str::<Value>(input).is_err()
                };
                if !open.values().all(torn) {
                    return Err(format!("{at} is opened beside {open:?}"));
                }
                if let PartKind::ToolCall(call) = &part.kind
                    && (call.id.is_empty() || call.name.is_empty() || !call.arguments.is_empty())
                {
                    return Err(format!("opened as {call:?}"));
                }
                open.insert(*at, (part.clone(), String::new(), String::new()));
            }
            Step::Grow { at, growth } => {
                let Some((_, words, input)) = open.get_mut(at) else {
                    return Err(format!("{at} grows and is not open"));
                };
                match growth {
                    Growth::Text(more) => words.push_str(more),
                    Growth::Input(more) => input.push_str(more),
                    Growth::Sealed(_) | Growth::Extra(..) => {}
                }
            }
            Step::Close { at, part } => {
                let Some((_, words, input)) = open.remove(at) else {
                    return Err(format!("{at} is closed and not open"));
                };
                match &part.kind {
                    PartKind::Text(text) | PartKind::Refusal(text) if *text != words => {
                        return Err(format!("{at} grew to {words:?} and closed as {text:?}"));
                    }
                    PartKind::Reasoning(reasoning) if reasoning.text != words => {
                        return Err(format!("{at} grew to {words:?} and closed as {reasoning:?}"));
                    }
                    PartKind::ToolCall(call) if call.arguments != input || input.is_empty() => {
                        return Err(format!("{at} grew to {input:?} and closed as {call:?}"));
                    }
                    _ => {}
                }
                closed.insert(*at, part.clone());
            }
            Step::Usage(_) => {}
            Step::End { .. } => {
                if !open.is_empty() {
                    return Err(format!("open at the end: {open:?}"));
                }
                ended = true;
            }
        }
    }
    if ended != (ending == Ending::Complete) {
        return Err(format!("the end is told: {ended}, but the answer is {ending:?}"));
    }
    Ok(closed.into_values().collect())
}

/// A part without what streams and whole answers write differently: the bytes of a token.
fn comparable(part: &Part) -> Part {
    let mut part = part.clone();
    part.extra.shift_remove("logprobs");
    part
}

#[test]
fn recorded_streams_are_told_by_the_grammar_and_whole() {
    let Some(streams) = streams() else { return };
    let mut failures = Vec::new();
    let mut count = 0;
    for (id, text) in &streams {
        count += 1;
        let (answer, steps) = told(&mut std::iter::once(text.as_bytes()));
        if told(&mut text.as_bytes().chunks(7)) != (answer.clone(), steps.clone()) {
            failures.push(format!("{id}: in chunks of 7 bytes the steps are different"));
        }
        match obeyed(&steps, answer.ending) {
            Err(why) => failures.push(format!("{id}: {why}")),
            Ok(_) if answer.ending != Ending::Complete => {}
            Ok(closed) => {
                let held: Vec<Part> =
                    answer.message.iter().flat_map(|message| &message.parts).map(comparable).collect();
                let closed: Vec<Part> = closed.iter().map(comparable).collect();
                if closed != held {
                    failures.push(format!("{id}: closed\n  {closed:?}\nheld\n  {held:?}"));
                }
            }
        }
    }
    println!("{count} streams");
    for failure in &failures {
        println!("{}", failure.chars().take(1500).collect::<String>());
    }
    assert!(failures.is_empty(), "{} of {count} streams are not told right", failures.len());
}
