//! Recorded streams of Responses, told as steps: they obey the grammar that stream writers rely on, however they are cut,
//! and what the steps close is what the answer holds.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

#[path = "support/recordings.rs"]
mod recordings;
#[path = "support/steps.rs"]
mod steps;

use std::collections::BTreeMap;

use memory_gateway::dialect::Dialect;
use memory_gateway::frame::Frame;
use memory_gateway::translate::StreamTranslator;
use memory_gateway::turn::{Ending, Origin, Part, PartKind};
use serde_json::{Map, Value, json};

use self::recordings::{Exchange, exchanges};
use self::steps::{obeyed, tell};

/// What is not as expected, and why that is right.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("5c9fbe5a83f3", "shortened by hand: most of its deltas are missing"),
    ("f2f54a4579bc", "shortened by hand: most of its deltas are missing"),
    ("c9d6428e93e7", "two of its items end only in the last event"),
];

/// The recorded streams of an endpoint, by their ids.
fn streams(endpoint: &str) -> Option<Vec<(String, String)>> {
    let exchanges = exchanges(Some(endpoint))?.into_iter().filter(Exchange::streams);
    Some(exchanges.map(|exchange| (exchange.id, exchange.response_text)).collect())
}

fn origin() -> Origin {
    Origin { dialect: Dialect::Responses, provider: "openai".into() }
}

/// A part without what a stream and its last event may say differently: providers seal the same reasoning anew, give some
/// items another state, and leave some fields for the end.
fn comparable(part: &Part) -> Part {
    let mut part = part.clone();
    part.extra.shift_remove("logprobs");
    match &mut part.kind {
        PartKind::Reasoning(reasoning) => {
            reasoning.id = None;
            reasoning.sealed = reasoning.sealed.as_ref().map(|_| String::new());
            part.extra.shift_remove("content");
        }
        PartKind::Other(Value::Object(fields)) => fields.retain(|name, _| name == "type" || name == "id"),
        _ => {}
    }
    part
}

/// Where two texts part.
fn different(closed: &str, held: &str) -> String {
    let same = closed.chars().zip(held.chars()).take_while(|(a, b)| a == b).count();
    let around = |text: &str| text.chars().skip(same.saturating_sub(80)).take(300).collect::<String>();
    format!("closed …{}…, held …{}…", around(closed), around(held))
}

#[test]
fn recorded_streams_are_told_by_the_grammar_and_whole() {
    let Some(streams) = streams("responses") else { return };
    let mut failures = Vec::new();
    let mut count = 0;
    for (id, text) in &streams {
        count += 1;
        let (answer, steps) = tell(&origin(), text.as_bytes(), text.len());
        if tell(&origin(), text.as_bytes(), 7) != (answer.clone(), steps.clone()) {
            failures.push(format!("{id}: in chunks of 7 bytes the steps are different"));
        }
        match obeyed(&answer, &steps) {
            Err(why) => failures.push(format!("{id}: {why}")),
            Ok(_) if answer.ending != Ending::Complete => {}
            // Some recordings hold the responses of several requests.
            Ok(_) if text.matches("event: response.completed").count() > 1 => {}
            Ok(closed) => {
                let held: Vec<Part> =
                    answer.message.iter().flat_map(|message| &message.parts).map(comparable).collect();
                let closed: Vec<Part> = closed.iter().map(comparable).collect();
                if closed.len() != held.len() {
                    failures.push(format!("{id}: {} parts closed, {} held", closed.len(), held.len()));
                } else if let Some((closed, held)) =
                    closed.iter().zip(&held).find(|(closed, held)| closed != held)
                {
                    failures
                        .push(format!("{id}: {}", different(&format!("{closed:?}"), &format!("{held:?}"))));
                }
            }
        }
    }
    println!("{count} streams");
    let stale = EXCEPTIONS.iter().find(|(known, _)| !failures.iter().any(|why| why.starts_with(known)));
    assert_eq!(stale, None, "an exception that none is");
    failures.retain(|why| EXCEPTIONS.iter().all(|(known, _)| !why.starts_with(known)));
    for failure in &failures {
        println!("{}", failure.chars().take(1500).collect::<String>());
    }
    assert!(failures.is_empty(), "{} of {count} streams are not told right", failures.len());
}

fn frame(dialect: Dialect, provider: &str) -> Frame {
    Frame {
        id: "0123abcd".into(),
        model: "p/m".into(),
        created_at: 1_700_000_000_123,
        input_estimate: 0,
        stream_usage: true,
        custom_tools: Vec::new(),
        echo: Map::new(),
        origin: Origin { dialect, provider: provider.into() },
    }
}

fn events(stream: &str) -> Vec<Value> {
    let event = |block: &str| {
        let (name, data) = block.split_once("\ndata: ").unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(name.strip_prefix("event: "), data["type"].as_str());
        data
    };
    stream.split_terminator("\n\n").map(event).collect()
}

/// Checks the events as a client's SDK takes them: items and their pieces are put together from what is added, the deltas
/// and what is done, and must come out as in the object that ends the stream.
fn taken(events: &[Value]) -> Result<Value, String> {
    let mut output: Vec<Value> = Vec::new();
    let mut done = 0;
    for (at, event) in events.iter().enumerate() {
        if event["sequence_number"] != at {
            return Err(format!("event {at} has the number {}", event["sequence_number"]));
        }
        let kind = event["type"].as_str().unwrap_or_default();
        let index = event["output_index"].as_u64().unwrap_or_default() as usize;
        if let Some(id) = event.get("item_id")
            && output.get(index).is_none_or(|item| item["id"] != *id)
        {
            return Err(format!("{event} is not about {:?}", output.get(index)));
        }
        let text = |name: &str| event[name].as_str().unwrap_or_default();
        let piece =
            |list: &str, name: &str| format!("/{index}/{list}/{}", event[name].as_u64().unwrap_or(99));
        let mut all = Value::from(std::mem::take(&mut output));
        let mut say = |place: String, more: &str| match all.pointer_mut(&place) {
            Some(Value::String(text)) => {
                text.push_str(more);
                Ok(())
            }
            other => Err(format!("{event} goes to {other:?}")),
        };
        let content = piece("content", "content_index");
        let summary = piece("summary", "summary_index");
        let same = |said: Option<&Value>, done: &Value| match said {
            Some(said) if said == done => Ok(()),
            other => Err(format!("{event} ends {other:?}")),
        };
        match kind {
            "response.created" | "response.in_progress" if at < 2 => {}
            "response.output_item.added" => match all.as_array_mut() {
                Some(items) if items.len() == index => items.push(event["item"].clone()),
                _ => return Err(format!("{event} is added out of turn")),
            },
            "response.content_part.added" => match all[index]["content"].as_array_mut() {
                Some(parts) if event["content_index"] == parts.len() => parts.push(event["part"].clone()),
                _ => return Err(format!("{event} is added out of turn")),
            },
            "response.reasoning_summary_part.added" => match all[index]["summary"].as_array_mut() {
                Some(parts) if event["summary_index"] == parts.len() => parts.push(event["part"].clone()),
                _ => return Err(format!("{event} is added out of turn")),
            },
            "response.output_text.delta" => say(content + "/text", text("delta"))?,
            "response.refusal.delta" => say(content + "/refusal", text("delta"))?,
            "response.reasoning_summary_text.delta" => say(summary + "/text", text("delta"))?,
            "response.function_call_arguments.delta" => say(format!("/{index}/arguments"), text("delta"))?,
            "response.custom_tool_call_input.delta" => say(format!("/{index}/input"), text("delta"))?,
            "response.output_text.done" => same(all.pointer(&(content + "/text")), &event["text"])?,
            "response.refusal.done" => same(all.pointer(&(content + "/refusal")), &event["refusal"])?,
            "response.reasoning_summary_text.done" => {
                same(all.pointer(&(summary + "/text")), &event["text"])?
            }
            "response.reasoning_summary_part.done" => same(all.pointer(&summary), &event["part"])?,
            "response.function_call_arguments.done" => {
                same(all[index].get("arguments"), &event["arguments"])?
            }
            "response.custom_tool_call_input.done" => same(all[index].get("input"), &event["input"])?,
            "response.output_text.annotation.added" => {}
            "response.content_part.done" => match all.pointer_mut(&content) {
                Some(part) if part["text"] == event["part"]["text"] => *part = event["part"].clone(),
                _ => return Err(format!("{event} ends something else")),
            },
            "response.output_item.done" => {
                let mut item = event["item"].clone();
                for list in ["content", "summary"] {
                    if item.get(list) != all[index].get(list) {
                        return Err(format!("{event} ends {}", all[index]));
                    }
                }
                all[index] = item.take();
                done += 1;
            }
            "response.completed" | "response.incomplete" => {
                if event["response"]["output"] != all
                    || all.as_array().is_none_or(|items| items.len() != done)
                {
                    return Err(format!("ends with {}, told was {all}", event["response"]["output"]));
                }
                return if at + 1 == events.len() {
                    Ok(event["response"].clone())
                } else {
                    Err("goes on".into())
                };
            }
            _ => return Err(format!("{event} is unknown")),
        }
        output = serde_json::from_value(all).unwrap();
    }
    Err("has no end".into())
}

#[test]
fn recorded_streams_of_other_dialects_are_written_as_responses() {
    let mut failures = Vec::new();
    let mut ends: BTreeMap<String, u32> = BTreeMap::new();
    for (endpoint, dialect) in [
        ("chat_completions", Dialect::Chat),
        ("messages", Dialect::Messages),
        ("generate_content", Dialect::Google),
    ] {
        for (id, text) in streams(endpoint).unwrap_or_default() {
            let frame = frame(dialect, "p");
            let mut translator = StreamTranslator::new(Dialect::Responses, frame.clone());
            let mut out = translator.begin();
            for chunk in text.as_bytes().chunks(64) {
                out.push_str(&translator.push(chunk));
            }
            let finished = translator.finish(true);
            out.push_str(&finished.last);
            *ends.entry(format!("{endpoint} {:?}", finished.answer.ending)).or_default() += 1;
            if finished.answer.ending != Ending::Complete {
                continue;
            }
            match taken(&events(&out)) {
                Err(why) => failures.push(format!("{id}: {why}")),
                Ok(whole) => {
                    if finished.writer.whole().as_ref() != Some(&whole) {
                        failures.push(format!("{id}: the writer remembers something else"));
                    }
                    let written = Dialect::Responses.write_answer(&finished.answer, &frame);
                    // Some recordings hold the answers to several requests, of which the last counts.
                    let anew = text.matches("event: message_start").count() > 1;
                    if written != whole && !anew {
                        failures
                            .push(format!("{id}: {}", different(&whole.to_string(), &written.to_string())));
                    }
                }
            }
        }
    }
    println!("{}", json!(ends));
    for failure in &failures {
        println!("{}", failure.chars().take(1500).collect::<String>());
    }
    assert!(failures.is_empty(), "{} streams are not written right", failures.len());
}
