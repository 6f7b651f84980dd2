//! Recorded streams of Gemini, told as steps: whatever was streamed, and however it was cut, a writer hears the same
//! well-formed story, and it is the answer that the observer gathered.
//!
//! The recordings are large and not part of this repository. `MEMORY_GATEWAY_FIXTURES` names their folder; without them
//! the test says so and passes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

use std::path::PathBuf;

use memory_gateway::dialect::{Dialect, Growth};
use memory_gateway::gather::Step;
use memory_gateway::observe::Observer;
use memory_gateway::turn::{Answer, Ending, Origin, Part, PartKind};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Exchange {
    id: String,
    endpoint: String,
    status: u16,
    kind: String,
    #[serde(default)]
    response_text: String,
}

#[test]
fn recorded_streams_are_told_by_the_grammar_of_steps() {
    let folder = std::env::var("MEMORY_GATEWAY_FIXTURES")
        .map_or_else(|_| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures"), PathBuf::from);
    let Ok(packed) = std::fs::File::open(folder.join("exchanges.jsonl.xz")) else {
        println!("No recordings in {}: nothing told.", folder.display());
        return;
    };
    let mut text = Vec::new();
    lzma_rs::xz_decompress(&mut std::io::BufReader::new(packed), &mut text).unwrap();
    let (mut streams, mut told) = (0, 0);
    let mut failures = Vec::new();
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let exchange: Exchange = serde_json::from_slice(line).unwrap();
        if exchange.endpoint != "generate_content" || exchange.kind != "sse" || exchange.status != 200 {
            continue;
        }
        streams += 1;
        let bytes = exchange.response_text.as_bytes();
        let (answer, steps) = tell(&[bytes]);
        let cut = tell(&bytes.chunks(7).collect::<Vec<_>>());
        let result = if cut == (answer.clone(), steps.clone()) {
            check(&answer, &steps)
        } else {
            Err("in chunks of 7 bytes it is told differently".to_owned())
        };
        told += usize::from(result.is_ok());
        failures.extend(result.err().map(|why| format!("{}: {why}", exchange.id)));
    }
    println!("{told} of {streams} streams are told well.");
    assert_eq!(failures, Vec::<String>::new());
    assert!(streams > 0);
}

fn tell(chunks: &[&[u8]]) -> (Answer, Vec<Step>) {
    let origin = Origin { dialect: Dialect::Google, provider: "google".into() };
    let mut observer = Observer::telling(origin, "5eed");
    let mut steps = Vec::new();
    for chunk in chunks {
        observer.push(chunk);
        steps.extend(observer.take_steps());
    }
    let (answer, rest) = observer.finish_telling(true);
    steps.extend(rest);
    (answer, steps)
}

struct Heard {
    head: Part,
    words: String,
    seal: Option<String>,
    closed: Option<Part>,
}

fn check(answer: &Answer, steps: &[Step]) -> Result<(), String> {
    let mut parts: Vec<Heard> = Vec::new();
    let mut ended = false;
    for step in steps {
        if ended {
            return Err(format!("{step:?} follows the end"));
        }
        match step {
            Step::Open { at, part } => open(&mut parts, *at, part)?,
            Step::Grow { at, growth } => {
                let heard = parts.get_mut(*at).filter(|heard| heard.closed.is_none());
                let heard = heard.ok_or_else(|| format!("part {at} grows and is not open"))?;
                match growth {
                    Growth::Text(more) | Growth::Input(more) if more.is_empty() => {
                        return Err(format!("part {at} grows by nothing"));
                    }
                    Growth::Text(more) | Growth::Input(more) => heard.words.push_str(more),
                    Growth::Sealed(seal) => heard.seal = Some(seal.clone()),
                    Growth::Extra(..) | Growth::Argument { .. } => {}
                }
            }
            Step::Close { at, part } => close(&mut parts, *at, part)?,
            Step::Usage(_) => {}
            Step::End { stop, usage } => {
                ended = true;
                if (stop, usage) != (&answer.stop, &answer.usage) {
                    return Err("the end tells another reason or count than the answer".to_owned());
                }
            }
        }
    }
    if ended != (answer.ending == Ending::Complete) {
        return Err(format!("told to the end: {ended}, but it ends {:?}", answer.ending));
    }
    let told: Vec<_> = parts.into_iter().map(|heard| heard.closed).collect();
    let gathered: Vec<_> =
        answer.message.iter().flat_map(|message| message.parts.iter().cloned().map(Some)).collect();
    if ended && told != gathered {
        return Err(format!("told {told:?}, gathered {gathered:?}"));
    }
    Ok(())
}

fn open(parts: &mut Vec<Heard>, at: usize, part: &Part) -> Result<(), String> {
    if at != parts.len() {
        return Err(format!("part {at} is opened as number {}", parts.len()));
    }
    for (other, heard) in parts.iter().enumerate().filter(|(_, heard)| heard.closed.is_none()) {
        let torn = matches!(heard.head.kind, PartKind::ToolCall(_))
            && serde_json::from_str::<Value>(&heard.words).is_err();
        if !torn {
            return Err(format!("part {at} is opened beside part {other}"));
        }
    }
    match &part.kind {
        PartKind::Text(words) | PartKind::Refusal(words) if !words.is_empty() => {
            return Err(format!("part {at} is opened with words"));
        }
        PartKind::Reasoning(reasoning) if !reasoning.text.is_empty() || reasoning.sealed.is_some() => {
            return Err(format!("part {at} is opened with thoughts"));
        }
        PartKind::ToolCall(call)
            if call.id.is_empty() || call.name.is_empty() || !call.arguments.is_empty() =>
        {
            return Err(format!("the call {at} is opened as {call:?}"));
        }
        _ => {}
    }
    parts.push(Heard { head: part.clone(), words: String::new(), seal: None, closed: None });
    Ok(())
}

fn close(parts: &mut [Heard], at: usize, part: &Part) -> Result<(), String> {
    let heard = parts.get_mut(at).filter(|heard| heard.closed.is_none());
    let heard = heard.ok_or_else(|| format!("part {at} is closed and not open"))?;
    if part.is_blank() {
        return Err(format!("part {at} holds nothing"));
    }
    let (words, seal) = match &part.kind {
        PartKind::Text(words) | PartKind::Refusal(words) => (words.as_str(), &None),
        PartKind::Reasoning(reasoning) => (reasoning.text.as_str(), &reasoning.sealed),
        PartKind::ToolCall(call) => (call.arguments.as_str(), &None),
        _ => ("", &None),
    };
    if heard.words != words || heard.seal != *seal {
        return Err(format!("part {at} grew to {:?}, but is closed as {words:?}", heard.words));
    }
    if let PartKind::ToolCall(call) = &part.kind
        && serde_json::from_str::<Value>(&call.arguments).is_err()
    {
        return Err(format!("the call {at} ends as {:?}", call.arguments));
    }
    heard.closed = Some(part.clone());
    Ok(())
}
