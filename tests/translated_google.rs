//! Recorded streams of Gemini, told as steps: whatever was streamed, and however it was cut, a writer hears the same
//! well-formed story, and it is the answer that the observer gathered.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

#[path = "support/recordings.rs"]
mod recordings;
#[path = "support/steps.rs"]
mod steps;

use memory_gateway::dialect::Dialect;
use memory_gateway::gather::Step;
use memory_gateway::turn::{Answer, Ending, Origin, Part, PartKind};
use serde_json::Value;

use self::recordings::{Exchange, exchanges};
use self::steps::{obeyed, tell};

#[test]
fn recorded_streams_are_told_by_the_grammar_of_steps() {
    let Some(exchanges) = exchanges(Some("generate_content")) else { return };
    let origin = Origin { dialect: Dialect::Google, provider: "google".into() };
    let (mut streams, mut told) = (0, 0);
    let mut failures = Vec::new();
    for exchange in exchanges.into_iter().filter(Exchange::streams) {
        streams += 1;
        let bytes = exchange.response_text.as_bytes();
        let (answer, steps) = tell(&origin, bytes, bytes.len());
        let cut = tell(&origin, bytes, 7);
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

fn check(answer: &Answer, steps: &[Step]) -> Result<(), String> {
    let told = obeyed(answer, steps)?;
    let gathered: Vec<Part> =
        answer.message.iter().flat_map(|message| message.parts.iter().cloned()).collect();
    if answer.ending == Ending::Complete && told != gathered {
        return Err(format!("told {told:?}, gathered {gathered:?}"));
    }
    // Gemini gives arguments as objects, never as text that could be torn.
    let torn = |part: &&Part| matches!(&part.kind, PartKind::ToolCall(call) if serde_json::from_str::<Value>(&call.arguments).is_err());
    told.iter().find(torn).map_or(Ok(()), |part| Err(format!("a call ends as {part:?}")))
}
