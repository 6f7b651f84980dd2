//! Recorded streams of Chat Completions, told as steps and written anew: the steps keep their grammar however the bytes are
//! cut, add up to the answer, and say the same to a client.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

#[path = "support/recordings.rs"]
mod recordings;
#[path = "support/steps.rs"]
mod steps;

use memory_gateway::dialect::Dialect;
use memory_gateway::frame::Frame;
use memory_gateway::observe::Observer;
use memory_gateway::translate::StreamTranslator;
use memory_gateway::turn::{Answer, Ending, Message, Origin, PartKind, Stop};

use self::recordings::{Exchange, exchanges};
use self::steps::{obeyed, tell};

#[test]
fn recorded_chat_streams_are_told_by_the_grammar_and_say_the_same_again() {
    let Some(exchanges) = exchanges(Some("chat_completions")) else { return };
    let (mut streams, mut failures) = (0, Vec::new());
    for exchange in exchanges.into_iter().filter(Exchange::streams) {
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
    let (answer, steps) = tell(origin, bytes, size);
    let told = obeyed(&answer, &steps)?;
    let whole = answer.message.map(|message| message.parts).unwrap_or_default();
    if answer.ending == Ending::Complete && told != whole {
        return Err(format!("told {told:?}, gathered {whole:?}"));
    }
    Ok(())
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
