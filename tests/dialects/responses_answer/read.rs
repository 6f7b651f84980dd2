//! Answers of Responses as they are read from a provider.

use memory_gateway::dialect::{Dialect, Growth};
use memory_gateway::gather::Step;
use memory_gateway::observe::Observer;
use memory_gateway::turn::{Answer, Ending, Part, PartKind, Reasoning, Stop, Usage};
use serde_json::{Value, json};

use super::super::{call, fixture, kinds, origin, streamed};

/// The steps of a provider's stream.
fn heard(stream: &str) -> (Answer, Vec<Step>) {
    let mut observer = Observer::telling(origin(Dialect::Responses), "seed");
    observer.push(stream.as_bytes());
    observer.finish_telling(true)
}

fn sse(events: &[Value]) -> String {
    let event = |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
    events.iter().map(event).collect()
}

#[test]
fn a_stream_is_told_part_by_part() {
    let (answer, steps) = heard(&fixture("responses/tool-call.sse"));
    let thoughts = |text: &str, sealed: Option<&str>, id: Option<&str>| -> Part {
        let reasoning =
            Reasoning { text: text.into(), sealed: sealed.map(str::to_owned), id: id.map(str::to_owned) };
        PartKind::Reasoning(reasoning).into()
    };
    let grow = |at, growth| Step::Grow { at, growth };
    let usage = Usage { input: 40, output: 20, cached: 8, cache_write: 0, cache_write_1h: 0, reasoning: 5 };
    let city = "{\"city\":\"Paris\"}";
    assert_eq!(
        steps,
        [
            Step::Open { at: 0, part: thoughts("", None, None) },
            grow(0, Growth::Text("Weather is asked.".into())),
            grow(0, Growth::Sealed("sealed==".into())),
            Step::Close { at: 0, part: thoughts("Weather is asked.", Some("sealed=="), Some("rs_1")) },
            Step::Open { at: 1, part: Part::text("") },
            grow(1, Growth::Text("Let me".into())),
            grow(1, Growth::Text(" look.".into())),
            Step::Close { at: 1, part: Part::text("Let me look.") },
            Step::Open { at: 2, part: call("call_1", "weather", "").into() },
            grow(2, Growth::Input("{\"city\":".into())),
            grow(2, Growth::Input("\"Paris\"}".into())),
            Step::Usage(usage),
            Step::Close { at: 2, part: call("call_1", "weather", city).into() },
            Step::End { stop: Some(Stop::ToolCalls), usage: Some(usage) },
        ]
    );
    assert_eq!(answer.ending, Ending::Complete);
}

#[test]
fn paragraphs_of_a_summary_and_neighbouring_items_stay_apart() {
    let reasoning = |id: &str, texts: &[&str], sealed: &str| {
        let summary: Vec<Value> =
            texts.iter().map(|text| json!({"type": "summary_text", "text": text})).collect();
        json!({"type": "reasoning", "id": id, "summary": summary, "encrypted_content": sealed})
    };
    let said = |id: &str, text: &str| {
        json!({"type": "message", "id": id, "role": "assistant", "status": "completed", "phase": "final_answer",
               "content": [{"type": "output_text", "text": text, "annotations": []}]})
    };
    let first = reasoning("rs_1", &["**One**", "Two"], "E1");
    let second = reasoning("rs_2", &["Three"], "E2");
    let search = json!({"type": "web_search_call", "id": "ws_1", "status": "completed"});
    let empty = json!({"type": "reasoning", "id": "rs_3", "summary": []});
    let output = json!([first, second, said("msg_1", "Hel"), said("msg_2", "lo"), search, empty]);
    let cited = json!({"type": "url_citation", "url": "https://a.test", "title": "A", "start_index": 0, "end_index": 1});
    let mut held = output.clone();
    held[3]["content"][0]["annotations"] = json!([cited]);
    let added = |kind: &str| json!({"type": "response.output_item.added", "item": {"type": kind}});
    let done = |item: &Value| json!({"type": "response.output_item.done", "item": item});
    let summary = |text: &str| json!({"type": "response.reasoning_summary_text.delta", "delta": text});
    let part =
        json!({"type": "response.content_part.added", "content_index": 0, "part": {"type": "output_text"}});
    let text = |text: &str| json!({"type": "response.output_text.delta", "delta": text});
    let stream = sse(&[
        added("reasoning"),
        json!({"type": "response.reasoning_summary_part.added", "summary_index": 0}),
        summary("**One**"),
        json!({"type": "response.reasoning_summary_part.added", "summary_index": 1}),
        summary("Two"),
        done(&first),
        added("reasoning"),
        summary("Three"),
        done(&second),
        added("message"),
        part.clone(),
        text("Hel"),
        done(&output[2]),
        added("message"),
        part,
        text("lo"),
        json!({"type": "response.output_text.annotation.added", "annotation_index": 0, "annotation": cited}),
        done(&held[3]),
        done(&search),
        added("reasoning"),
        done(&empty),
        json!({"type": "response.completed", "response": {"status": "completed", "output": held}}),
    ]);
    let (answer, steps) = heard(&stream);
    let closed: Vec<&Part> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Close { part, .. } => Some(part),
            _ => None,
        })
        .collect();
    assert_eq!(closed, answer.message.as_ref().unwrap().parts.iter().collect::<Vec<_>>());
    let parts = kinds(&answer);
    assert_eq!(parts.len(), 5, "what is neither shown nor sealed is nothing");
    assert!(matches!(&parts[0], PartKind::Reasoning(reasoning) if reasoning.text == "**One**\n\nTwo"));
    assert_eq!(parts[2..4], [PartKind::Text("Hel".into()), PartKind::Text("lo".into())]);
    let whole = json!({"status": "completed", "output": held}).to_string();
    let whole = Dialect::Responses.read_answer(whole.as_bytes(), &origin(Dialect::Responses));
    assert_eq!(whole.unwrap().message, answer.message);
    let torn = stream.split_once("event: response.completed").unwrap().0;
    assert_eq!(kinds(&streamed(Dialect::Responses, torn)), parts, "and so it reads when the end is missing");
}

#[test]
fn arguments_that_only_the_end_tells_are_told_then() {
    let called = json!({"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{\"a\":1}"});
    let (answer, steps) = heard(&sse(&[
        json!({"type": "response.output_item.added", "output_index": 0, "item": {
            "type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": ""}}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": called}),
        json!({"type": "response.completed", "response": {"status": "completed", "output": [called]}}),
    ]));
    let whole = call("c1", "f", "{\"a\":1}");
    assert_eq!(
        steps,
        [
            Step::Open { at: 0, part: call("c1", "f", "").into() },
            Step::Grow { at: 0, growth: Growth::Input("{\"a\":1}".into()) },
            Step::Close { at: 0, part: whole.clone().into() },
            Step::End { stop: Some(Stop::ToolCalls), usage: None },
        ]
    );
    assert_eq!(kinds(&answer), [whole]);
}
