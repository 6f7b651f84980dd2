//! The steps of odd streams: events that come twice, pieces that are aimed at the wrong part, calls without a name.
//!
//! Each of these was once told or kept wrongly.

use memory_gateway::dialect::{Dialect, Growth};
use memory_gateway::gather::Step;
use memory_gateway::observe::Observer;
use memory_gateway::turn::{Part, PartKind, Reasoning};
use serde_json::{Value, json};

use super::{call, kinds, origin};

/// What is told of a stream, and what is kept of it.
fn told(dialect: Dialect, events: &[Value]) -> (Vec<Step>, Vec<PartKind>) {
    let mut observer = Observer::telling(origin(dialect), "5eed");
    let mut steps = Vec::new();
    for event in events {
        let data = event.as_str().map_or_else(|| event.to_string(), str::to_owned);
        observer.push(format!("data: {data}\n\n").as_bytes());
        steps.extend(observer.take_steps());
    }
    let (answer, rest) = observer.finish_telling(true);
    steps.extend(rest);
    steps.retain(|step| !matches!(step, Step::Usage(_) | Step::End { .. }));
    (steps, kinds(&answer))
}

/// A Chat Completions stream of these pieces of calls.
fn chat(calls: &[Value]) -> (Vec<Step>, Vec<PartKind>) {
    let mut events: Vec<Value> = calls
        .iter()
        .map(|call| json!({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}))
        .collect();
    events.push("[DONE]".into());
    told(Dialect::Chat, &events)
}

/// A Messages stream of these blocks, each with its deltas.
fn messages(blocks: &[(Value, &[Value])]) -> (Vec<Step>, Vec<PartKind>) {
    let mut events = Vec::new();
    for (index, (block, deltas)) in blocks.iter().enumerate() {
        events.push(json!({"type": "content_block_start", "index": index, "content_block": block}));
        events.extend(
            deltas.iter().map(|delta| json!({"type": "content_block_delta", "index": index, "delta": delta})),
        );
        events.push(json!({"type": "content_block_stop", "index": index}));
    }
    events.push(json!({"type": "message_stop"}));
    told(Dialect::Messages, &events)
}

fn input(piece: &str) -> Value {
    json!({"type": "input_json_delta", "partial_json": piece})
}

fn open(at: usize, kind: PartKind) -> Step {
    Step::Open { at, part: kind.into() }
}

fn words(at: usize, text: &str) -> Step {
    Step::Grow { at, growth: Growth::Text(text.into()) }
}

fn arguments(at: usize, text: &str) -> Step {
    Step::Grow { at, growth: Growth::Input(text.into()) }
}

fn close(at: usize, kind: PartKind) -> Step {
    Step::Close { at, part: kind.into() }
}

fn thought(text: &str, sealed: Option<&str>) -> PartKind {
    PartKind::Reasoning(Reasoning { text: text.into(), sealed: sealed.map(str::to_owned), id: None })
}

/// The steps and the memory of one call that is told in these pieces.
fn one_call(pieces: &[&str]) -> (Vec<Step>, Vec<PartKind>) {
    let whole = call("a", "find", &pieces.concat());
    let mut steps = vec![open(0, call("a", "find", ""))];
    steps.extend(pieces.iter().map(|piece| arguments(0, piece)));
    steps.push(close(0, whole.clone()));
    (steps, vec![whole])
}

#[test]
fn a_call_that_is_sent_twice_is_one_call_with_its_arguments_once() {
    let head = |arguments: &str| json!({"index": 0, "id": "a", "function": {"name": "find", "arguments": arguments}});
    let piece = |arguments: &str| json!({"index": 0, "function": {"arguments": arguments}});
    assert_eq!(chat(&[head("{}"), head("{}")]), one_call(&["{}"]));
    assert_eq!(chat(&[head("{\"q\":"), piece("1}"), piece("1}")]), one_call(&["{\"q\":", "1}"]));
    assert_eq!(chat(&[head("{}"), piece(" \n")]), one_call(&["{}", " \n"]));
}

#[test]
fn input_that_is_aimed_at_words_or_thoughts_opens_no_part() {
    for block in [json!({"type": "text", "text": ""}), json!({"type": "thinking", "thinking": ""})] {
        assert_eq!(messages(&[(block, &[input("{\"q\":1}")])]), (vec![], vec![]));
    }
    let text = json!({"type": "text", "text": "hi"});
    let said = PartKind::Text("hi".into());
    let expected = vec![open(0, PartKind::Text(String::new())), words(0, "hi"), close(0, said.clone())];
    assert_eq!(messages(&[(text, &[input("{\"q\":1}")])]), (expected, vec![said]));
    let seal = json!({"type": "citations_delta", "citation": {"url": "https://a"}});
    let (steps, kept) = messages(&[(json!({"type": "thinking", "thinking": ""}), &[seal])]);
    assert_eq!((steps, kept), (vec![], vec![]));
}

#[test]
fn a_call_that_opens_with_arguments_is_told_them_once() {
    let opened = json!({"type": "tool_use", "id": "a", "name": "find", "input": {"q": 1}});
    assert_eq!(messages(&[(opened.clone(), &[])]), one_call(&["{\"q\":1}"]));
    assert_eq!(messages(&[(opened.clone(), &[input("{\"q\""), input(":1}")])]), one_call(&["{\"q\"", ":1}"]));
    let text = json!({"type": "text", "text": "hi"});
    let (steps, kept) = messages(&[(opened, &[]), (text, &[])]);
    let whole = call("a", "find", "{\"q\":1}");
    let said = PartKind::Text("hi".into());
    let expected = vec![
        open(0, call("a", "find", "")),
        arguments(0, "{\"q\":1}"),
        close(0, whole.clone()),
        open(1, PartKind::Text(String::new())),
        words(1, "hi"),
        close(1, said.clone()),
    ];
    assert_eq!((steps, kept), (expected, vec![whole, said]));
}

#[test]
fn a_call_without_a_name_is_told_when_its_name_is_known_and_never_without() {
    let nameless = |arguments: &str| json!({"index": 0, "id": "a", "function": {"arguments": arguments}});
    let name = json!({"index": 0, "function": {"name": "find"}});
    assert_eq!(chat(&[nameless("{\"q\":1}"), name]), one_call(&["{\"q\":1}"]));
    assert_eq!(chat(&[nameless("{}")]), (vec![], vec![call("a", "", "{}")]));
    let unnamed = json!({"type": "tool_use", "id": "a", "name": "", "input": {}});
    assert_eq!(messages(&[(unnamed, &[input("{}")])]).0, vec![]);
}

#[test]
fn a_call_without_arguments_closes_with_the_ones_that_were_told() {
    let bare = json!({"index": 0, "id": "a", "function": {"name": "find"}});
    assert_eq!(chat(&[bare]).0, one_call(&["{}"]).0);
    let item = json!({"type": "function_call", "call_id": "a", "name": "find", "arguments": ""});
    let events = [
        json!({"type": "response.output_item.added", "output_index": 0, "item": item}),
        json!({"type": "response.completed", "response": {"status": "completed", "output": [item]}}),
    ];
    assert_eq!(told(Dialect::Responses, &events).0, one_call(&["{}"]).0);
}

#[test]
fn a_text_that_opens_with_words_is_told_with_them() {
    let opened = json!({"type": "text", "text": "He"});
    let more = json!({"type": "text_delta", "text": "llo"});
    let said = PartKind::Text("Hello".into());
    let expected =
        vec![open(0, PartKind::Text(String::new())), words(0, "He"), words(0, "llo"), close(0, said.clone())];
    assert_eq!(messages(&[(opened, &[more])]), (expected, vec![said]));
}

#[test]
fn thoughts_that_open_with_words_or_a_seal_are_told_with_them() {
    let opened = json!({"type": "thinking", "thinking": "hm", "signature": "ZZ"});
    let sealed = Step::Grow { at: 0, growth: Growth::Sealed("ZZ".into()) };
    let expected =
        vec![open(0, thought("", None)), words(0, "hm"), sealed, close(0, thought("hm", Some("ZZ")))];
    assert_eq!(messages(&[(opened, &[])]), (expected, vec![thought("hm", Some("ZZ"))]));
}

#[test]
fn what_is_blank_is_neither_told_nor_kept() {
    let blank: Part = PartKind::Text(String::new()).into();
    assert!(blank.is_blank());
    assert_eq!(messages(&[(json!({"type": "text", "text": ""}), &[])]), (vec![], vec![]));
}

#[test]
fn a_text_that_comes_whole_is_told_with_its_sources_and_probabilities() {
    let source = json!({"type": "url_citation", "url": "https://a.test"});
    let token = json!({"token": "hi", "logprob": -0.5});
    let content =
        json!([{"type": "output_text", "text": "hi", "annotations": [source], "logprobs": [token]}]);
    let response = json!({"status": "completed", "output": [{"type": "message", "content": content}]});
    let (steps, _) = told(Dialect::Responses, &[json!({"type": "response.completed", "response": response})]);
    let grown: Vec<Growth> = steps
        .into_iter()
        .filter_map(|step| match step {
            Step::Grow { growth, .. } => Some(growth),
            _ => None,
        })
        .collect();
    assert_eq!(
        grown,
        [
            Growth::Text("hi".into()),
            Growth::Extra("annotations".into(), json!([source])),
            Growth::Extra("logprobs".into(), json!([token])),
        ]
    );
}

#[test]
fn the_last_event_completes_a_call_that_lost_a_piece_and_never_contradicts_what_was_told() {
    let item = |arguments: &str| json!({"type": "function_call", "call_id": "a", "name": "find", "arguments": arguments});
    let steps = |piece: &str| {
        let events = [
            json!({"type": "response.output_item.added", "output_index": 0, "item": item("")}),
            json!({"type": "response.function_call_arguments.delta", "output_index": 0, "delta": piece}),
            json!({"type": "response.completed", "response": {"status": "completed", "output": [item("{\"q\":1}")]}}),
        ];
        told(Dialect::Responses, &events).0
    };
    assert_eq!(steps("{\"q\":"), one_call(&["{\"q\":", "1}"]).0);
    assert_eq!(steps("1}"), one_call(&["1}"]).0);
}

#[test]
fn calls_under_one_index_and_without_ids_are_told_apart_once_each_is_whole() {
    let bare =
        |name: &str, arguments: &str| json!({"index": 0, "function": {"name": name, "arguments": arguments}});
    let whole = |id: &str, name: &str, arguments: &str| call(id, name, arguments);
    let pieces = [
        bare("find", "{\"q\":"),
        bare("find", "1}"),
        bare("find", " "),
        bare("find", "{\"q\":2}"),
        bare("find", "{\"q\":2}"),
        bare("count", "{}"),
    ];
    let kept = vec![
        whole("call_5eed0", "find", "{\"q\":1} "),
        whole("call_5eed1", "find", "{\"q\":2}"),
        whole("call_5eed2", "count", "{}"),
    ];
    assert_eq!(chat(&pieces).1, kept);
}
