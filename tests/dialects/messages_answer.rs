//! Answers of any provider, written for clients of Messages.

use memory_gateway::dialect::{Dialect, Growth};
use memory_gateway::error::{Error, Kind};
use memory_gateway::frame::Frame;
use memory_gateway::gather::Step;
use memory_gateway::observe::Observer;
use memory_gateway::turn::{
    Answer, Ending, Media, Message, Origin, Part, PartKind, Reasoning, Role, Source, Stop, ToolCall, Usage,
};
use serde_json::{Map, Value, json};

use super::{call, kinds, streamed};

fn frame(dialect: Dialect, provider: &str) -> Frame {
    Frame {
        id: "0a1b".into(),
        model: "openai/gpt-5.4".into(),
        created_at: 1_700_000_000_000,
        input_estimate: 12,
        stream_usage: true,
        custom_tools: Vec::new(),
        echo: Map::new(),
        origin: Origin { dialect, provider: provider.into() },
    }
}

fn chat() -> Frame {
    frame(Dialect::Chat, "openai")
}

fn open(at: usize, part: impl Into<Part>) -> Step {
    Step::Open { at, part: part.into() }
}

fn grow(at: usize, growth: Growth) -> Step {
    Step::Grow { at, growth }
}

fn words(at: usize, text: &str) -> Step {
    grow(at, Growth::Text(text.into()))
}

fn input(at: usize, json: &str) -> Step {
    grow(at, Growth::Input(json.into()))
}

fn close(at: usize, part: impl Into<Part>) -> Step {
    Step::Close { at, part: part.into() }
}

fn end(stop: Stop) -> Step {
    Step::End { stop: Some(stop), usage: Some(Usage { input: 100, output: 20, ..Usage::default() }) }
}

fn text(words: &str) -> PartKind {
    PartKind::Text(words.into())
}

/// The stream of the steps.
fn told(frame: Frame, steps: &[Step]) -> String {
    let mut writer = Dialect::Messages.stream_writer(frame);
    let mut out = writer.begin();
    steps.iter().for_each(|step| writer.write(step, &mut out));
    out
}

/// The events between `message_start` and the two that end a stream, without their types' prefix.
fn events(stream: &str) -> Vec<Value> {
    stream
        .split_terminator("\n\n")
        .map(|event| {
            let (name, data) = event.split_once("\ndata: ").unwrap();
            let data: Value = serde_json::from_str(data).unwrap();
            assert_eq!(name.strip_prefix("event: "), data["type"].as_str());
            data
        })
        .collect()
}

fn blocks(stream: &str) -> Vec<Value> {
    let all = events(stream);
    assert_eq!(all[0]["type"], "message_start");
    assert_eq!(all[all.len() - 2]["type"], "message_delta");
    assert_eq!(all[all.len() - 1], json!({"type": "message_stop"}));
    all[1..all.len() - 2].to_vec()
}

fn start(index: usize, block: Value) -> Value {
    json!({"type": "content_block_start", "index": index, "content_block": block})
}

fn delta(index: usize, delta: Value) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": delta})
}

fn stop(index: usize) -> Value {
    json!({"type": "content_block_stop", "index": index})
}

#[test]
fn a_text_is_told_word_by_word_and_byte_for_byte_so() {
    let steps = [open(0, text("")), words(0, "Grü"), words(0, "ße"), close(0, text("Grüße")), end(Stop::End)];
    assert_eq!(
        told(chat(), &steps),
        concat!(
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_0a1b\",\"type\":\"message\",",
            "\"role\":\"assistant\",\"model\":\"openai/gpt-5.4\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,",
            "\"usage\":{\"input_tokens\":12,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,",
            "\"output_tokens\":1}}}\n\n",
            "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",",
            "\"text\":\"\"}}\n\n",
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",",
            "\"text\":\"Grü\"}}\n\n",
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",",
            "\"text\":\"ße\"}}\n\n",
            "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
            "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},",
            "\"usage\":{\"input_tokens\":100,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,",
            "\"output_tokens\":20}}\n\n",
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        )
    );
}

#[test]
fn text_and_parallel_calls_follow_each_other() {
    let steps = [
        open(0, text("")),
        words(0, "Both."),
        close(0, text("Both.")),
        open(1, call("a", "f", "")),
        input(1, "{\"x\":"),
        input(1, "1}"),
        close(1, call("a", "f", "{\"x\":1}")),
        open(2, call("b", "g", "")),
        input(2, "{}"),
        close(2, call("b", "g", "{}")),
        end(Stop::ToolCalls),
    ];
    let stream = told(chat(), &steps);
    let tool = |id: &str, name: &str| json!({"type": "tool_use", "id": id, "name": name, "input": {}});
    let piece = |json: &str| json!({"type": "input_json_delta", "partial_json": json});
    assert_eq!(
        blocks(&stream),
        [
            start(0, json!({"type": "text", "text": ""})),
            delta(0, json!({"type": "text_delta", "text": "Both."})),
            stop(0),
            start(1, tool("a", "f")),
            delta(1, piece("{\"x\":")),
            delta(1, piece("1}")),
            stop(1),
            start(2, tool("b", "g")),
            delta(2, piece("{}")),
            stop(2),
        ]
    );
    let answer = streamed(Dialect::Messages, &stream);
    assert_eq!(kinds(&answer), [text("Both."), call("a", "f", "{\"x\":1}"), call("b", "g", "{}")]);
    assert_eq!((answer.stop, answer.ending), (Some(Stop::ToolCalls), Ending::Complete));
}

#[test]
fn truly_interleaved_calls_overlap_and_are_told_apart() {
    let steps = [
        open(0, call("a", "f", "")),
        input(0, "{\"x\":"),
        open(1, call("b", "g", "")),
        input(1, "{\"y\""),
        input(0, "1}"),
        input(1, ":2}"),
        close(0, call("a", "f", "{\"x\":1}")),
        close(1, call("b", "g", "{\"y\":2}")),
        end(Stop::ToolCalls),
    ];
    let stream = told(chat(), &steps);
    assert!(stream.starts_with("event: message_start\n"), "though a call comes first");
    assert_eq!(stream.matches("message_start").count(), 2, "once, in name and type");
    let indices: Vec<Value> = blocks(&stream).iter().map(|event| event["index"].clone()).collect();
    assert_eq!(indices, [0, 0, 1, 1, 0, 1, 0, 1]);
    let answer = streamed(Dialect::Messages, &stream);
    assert_eq!(kinds(&answer), [call("a", "f", "{\"x\":1}"), call("b", "g", "{\"y\":2}")]);
}

#[test]
fn thoughts_have_a_signature_and_a_foreign_one_is_wrapped() {
    let thought = |text: &str, seal: Option<&str>| {
        PartKind::Reasoning(Reasoning { text: text.into(), sealed: seal.map(str::to_owned), id: None })
    };
    let steps = [
        open(0, thought("", None)),
        words(0, "hm"),
        grow(0, Growth::Sealed("xyz".into())),
        close(0, thought("hm", Some("xyz"))),
        open(1, thought("", None)),
        words(1, "so"),
        close(1, thought("so", None)),
        end(Stop::End),
    ];
    let stream = told(frame(Dialect::Responses, "openai"), &steps);
    let empty = || json!({"type": "thinking", "thinking": "", "signature": ""});
    assert_eq!(
        blocks(&stream),
        [
            start(0, empty()),
            delta(0, json!({"type": "thinking_delta", "thinking": "hm"})),
            delta(0, json!({"type": "signature_delta", "signature": "mgw1:openai:responses:xyz"})),
            stop(0),
            start(1, empty()),
            delta(1, json!({"type": "thinking_delta", "thinking": "so"})),
            stop(1),
        ]
    );
    assert_eq!(
        kinds(&streamed(Dialect::Messages, &stream)),
        [thought("hm", Some("mgw1:openai:responses:xyz")), thought("so", None)]
    );
}

#[test]
fn the_seal_of_a_call_travels_in_front_of_it_and_back() {
    let sealed = |id: &str, arguments: &str, seal: Option<&str>| {
        PartKind::ToolCall(ToolCall {
            id: id.into(),
            name: "f".into(),
            arguments: arguments.into(),
            custom: false,
            sealed: seal.map(str::to_owned),
        })
    };
    let steps = [
        open(0, sealed("a", "", Some("AbC="))),
        input(0, "{}"),
        close(0, sealed("a", "{}", Some("AbC="))),
        open(1, sealed("b", "", None)),
        input(1, "{}"),
        close(1, sealed("b", "{}", None)),
        end(Stop::ToolCalls),
    ];
    let google = || frame(Dialect::Google, "google");
    let stream = told(google(), &steps);
    assert_eq!(
        blocks(&stream)[..4],
        [
            start(0, json!({"type": "redacted_thinking", "data": "mgw1:google:google:AbC="})),
            stop(0),
            start(1, json!({"type": "tool_use", "id": "a", "name": "f", "input": {}})),
            delta(1, json!({"type": "input_json_delta", "partial_json": "{}"})),
        ]
    );
    let answer = Answer {
        message: Some(Message::new(
            Role::Assistant,
            vec![sealed("a", "{}", Some("AbC=")).into(), sealed("b", "{}", None).into()],
        )),
        usage: None,
        stop: Some(Stop::ToolCalls),
        ending: Ending::Complete,
    };
    let whole = Dialect::Messages.write_answer(&answer, &google());
    let back = json!({"messages": [{"role": "user", "content": "q"},
                                   {"role": "assistant", "content": whole["content"]}]});
    let messages = super::read(Dialect::Messages, &back);
    let calls: Vec<Option<&str>> = messages[1].tool_calls().map(|call| call.sealed.as_deref()).collect();
    assert_eq!((calls, messages[1].parts.len()), (vec![Some("mgw1:google:google:AbC="), None], 2));
}

#[test]
fn redacted_thoughts_stay_redacted() {
    let extra: Map<String, Value> = json!({"type": "redacted_thinking"}).as_object().cloned().unwrap();
    let part = |seal: Option<&str>| Part {
        kind: PartKind::Reasoning(Reasoning { sealed: seal.map(str::to_owned), ..Reasoning::default() }),
        extra: extra.clone(),
    };
    let steps = [
        open(0, part(None)),
        grow(0, Growth::Sealed("b3Bh".into())),
        close(0, part(Some("b3Bh"))),
        end(Stop::End),
    ];
    assert_eq!(
        blocks(&told(frame(Dialect::Messages, "openrouter"), &steps)),
        [start(0, json!({"type": "redacted_thinking", "data": "b3Bh"})), stop(0)]
    );
}

#[test]
fn a_refusal_is_a_text_and_the_reason_to_stop() {
    let refusal = |words: &str| PartKind::Refusal(words.into());
    let steps = [open(0, refusal("")), words(0, "No."), close(0, refusal("No.")), end(Stop::End)];
    let stream = told(chat(), &steps);
    assert_eq!(blocks(&stream)[0], start(0, json!({"type": "text", "text": ""})));
    assert!(stream.contains("\"stop_reason\":\"refusal\""));
}

#[test]
fn every_reason_to_stop_has_a_word() {
    for (stop, word) in [
        (Some(Stop::End), "end_turn"),
        (None, "end_turn"),
        (Some(Stop::Length), "max_tokens"),
        (Some(Stop::ToolCalls), "tool_use"),
        (Some(Stop::ContentFilter), "refusal"),
        (Some(Stop::Other("pause_turn".into())), "pause_turn"),
        (Some(Stop::Other("insufficient_system_resource".into())), "end_turn"),
    ] {
        let stream = told(chat(), &[Step::End { stop: stop.clone(), usage: None }]);
        assert_eq!(
            events(&stream)[1],
            json!({"type": "message_delta", "delta": {"stop_reason": word, "stop_sequence": null},
                   "usage": {"input_tokens": 12, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
                             "output_tokens": 1}}),
            "{stop:?}"
        );
    }
}

#[test]
fn counts_leave_the_cache_out_of_the_input() {
    let counts =
        Usage { input: 100, output: 20, cached: 60, cache_write: 30, cache_write_1h: 0, reasoning: 7 };
    let mut writer = Dialect::Messages.stream_writer(chat());
    let mut out = String::new();
    writer.write(&Step::Usage(Usage { input: 100, cached: 60, ..Usage::default() }), &mut out);
    assert_eq!(out, "");
    writer.write(&Step::End { stop: Some(Stop::End), usage: Some(counts) }, &mut out);
    let events = events(&out);
    assert_eq!(
        (&events[0]["message"]["usage"], &events[1]["usage"]),
        (
            &json!({"input_tokens": 40, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 60, "output_tokens": 0}),
            &json!({"input_tokens": 10, "cache_creation_input_tokens": 30, "cache_read_input_tokens": 60,
                    "output_tokens": 20, "output_tokens_details": {"thinking_tokens": 7}}),
        ),
        "real counts in the beginning, where they were known"
    );
    assert_eq!(streamed(Dialect::Messages, &out).usage, Some(counts));
}

#[test]
fn without_counts_the_estimates_are_told() {
    let steps = [
        open(0, text("")),
        words(0, "eight by"),
        close(0, text("eight by")),
        Step::End { stop: None, usage: None },
    ];
    let stream = told(chat(), &steps);
    assert!(stream.ends_with(concat!(
        "\"usage\":{\"input_tokens\":12,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\"output_tokens\":2}}",
        "\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
    )));
}

#[test]
fn sources_are_told_as_citations() {
    let source = json!({"type": "url_citation", "url_citation": {"url": "https://x.test", "title": "X", "start_index": 0, "end_index": 2}});
    let citation = json!({"type": "web_search_result_location", "url": "https://x.test", "title": "X",
                          "encrypted_index": "", "cited_text": ""});
    let mut whole: Part = text("Hi").into();
    whole.extra.insert("annotations".into(), json!([source]));
    let steps = [
        open(0, text("")),
        words(0, "Hi"),
        grow(0, Growth::Extra("logprobs".into(), json!([{"token": "Hi"}]))),
        grow(0, Growth::Extra("annotations".into(), json!([source]))),
        close(0, whole.clone()),
        end(Stop::End),
    ];
    assert_eq!(
        blocks(&told(chat(), &steps))[1..],
        [
            delta(0, json!({"type": "text_delta", "text": "Hi"})),
            delta(0, json!({"type": "citations_delta", "citation": citation})),
            stop(0)
        ]
    );
    let answer = Answer {
        message: Some(Message::new(Role::Assistant, vec![whole])),
        usage: None,
        stop: None,
        ending: Ending::Complete,
    };
    assert_eq!(
        Dialect::Messages.write_answer(&answer, &chat())["content"],
        json!([{"type": "text", "text": "Hi", "citations": [citation]}])
    );
}

#[test]
fn a_broken_stream_ends_in_an_error_and_nothing_follows() {
    let mut writer = Dialect::Messages.stream_writer(chat());
    let mut out = writer.begin();
    writer.write(&open(0, text("")), &mut out);
    writer.write(&words(0, "Half"), &mut out);
    let failure = writer.fail(&Error::new(Kind::Overloaded, "Busy."));
    assert_eq!(
        failure,
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Busy.\"}}\n\n"
    );
    let answer = streamed(Dialect::Messages, &format!("{out}{failure}"));
    assert_eq!((kinds(&answer), answer.ending), (vec![text("Half")], Ending::Failed));
    let mut after = writer.fail(&Error::internal());
    writer.write(&end(Stop::End), &mut after);
    assert_eq!(after, "");
    for (kind, name) in [
        (Kind::Timeout, "timeout_error"),
        (Kind::Refused(429), "rate_limit_error"),
        (Kind::Upstream, "api_error"),
    ] {
        let failure = Dialect::Messages.write_failure(&Error::new(kind, "x"), None);
        assert!(failure.contains(&format!("\"error\":{{\"type\":\"{name}\"")), "{failure}");
    }
}

#[test]
fn a_whole_answer_is_a_message() {
    let picture = Media { source: Source::Data("AAAA".into()), media_type: None, name: None, detail: None };
    let thought = Reasoning { text: "hm".into(), sealed: Some("xyz".into()), id: Some("rs_1".into()) };
    let parts: Vec<PartKind> = vec![
        PartKind::Reasoning(thought),
        text(""),
        text("Here."),
        PartKind::Image(picture),
        PartKind::Other(json!({"type": "web_search_call"})),
        call("a", "f", "{\"x\":1.50}"),
        call("b", "g", "{}"),
        call("c", "h", "[1]"),
    ];
    let answer = Answer {
        message: Some(Message::new(Role::Assistant, parts.into_iter().map(Part::from).collect())),
        usage: Some(Usage { input: 50, output: 9, cached: 20, ..Usage::default() }),
        stop: Some(Stop::ToolCalls),
        ending: Ending::Complete,
    };
    let written = Dialect::Messages.write_answer(&answer, &frame(Dialect::Responses, "openai"));
    assert_eq!(
        written.to_string(),
        json!({"id": "msg_0a1b", "type": "message", "role": "assistant", "model": "openai/gpt-5.4", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "mgw1:openai:responses:xyz"},
            {"type": "text", "text": "Here."},
            {"type": "text", "text": "[The model answered with a medium that this API format cannot carry.]"},
            {"type": "tool_use", "id": "a", "name": "f", "input": serde_json::from_str::<Value>("{\"x\":1.50}").unwrap()},
            {"type": "tool_use", "id": "b", "name": "g", "input": {}},
            {"type": "tool_use", "id": "c", "name": "h", "input": {"input": "[1]"}}],
            "stop_reason": "tool_use", "stop_sequence": null,
            "usage": {"input_tokens": 30, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 20, "output_tokens": 9}})
        .to_string()
    );
}

#[test]
fn an_answer_without_words_is_an_empty_message() {
    let answer = Answer { message: None, usage: None, stop: Some(Stop::End), ending: Ending::Complete };
    let written = Dialect::Messages.write_answer(&answer, &chat());
    assert_eq!((&written["content"], &written["stop_reason"]), (&json!([]), &json!("end_turn")));
}

/// The steps of a provider's stream.
fn observed(events: &[Value]) -> Vec<Step> {
    let mut observer = Observer::telling(super::origin(Dialect::Messages), "0a1b");
    for event in events {
        observer.push(format!("data: {event}\n\n").as_bytes());
    }
    observer.finish_telling(true).1
}

#[test]
fn a_call_whose_only_piece_is_empty_has_no_arguments() {
    let steps = observed(&[
        json!({"type": "message_start", "message": {"content": []}}),
        start(0, json!({"type": "tool_use", "id": "a", "name": "f", "input": {}})),
        delta(0, json!({"type": "input_json_delta", "partial_json": ""})),
        stop(0),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}}),
        json!({"type": "message_stop"}),
    ]);
    assert_eq!(
        steps,
        [
            open(0, call("a", "f", "")),
            input(0, "{}"),
            close(0, call("a", "f", "{}")),
            Step::End { stop: Some(Stop::ToolCalls), usage: None },
        ]
    );
}

#[test]
fn an_answer_that_begins_anew_closes_what_it_had_begun_with_what_was_told() {
    let steps = observed(&[
        json!({"type": "message_start", "message": {"content": []}}),
        start(0, json!({"type": "tool_use", "id": "a", "name": "f", "input": {}})),
        delta(0, json!({"type": "input_json_delta", "partial_json": "{\"x\":"})),
        json!({"type": "message_start", "message": {"content": []}}),
        start(0, json!({"type": "text", "text": ""})),
        delta(0, json!({"type": "text_delta", "text": "Anew."})),
        stop(0),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}),
        json!({"type": "message_stop"}),
    ]);
    assert_eq!(
        steps,
        [
            open(0, call("a", "f", "")),
            input(0, "{\"x\":"),
            close(0, call("a", "f", "{\"x\":")),
            open(1, text("")),
            words(1, "Anew."),
            close(1, text("Anew.")),
            Step::End { stop: Some(Stop::End), usage: None },
        ]
    );
}

#[test]
fn the_free_text_of_a_custom_tool_is_streamed_as_a_field_of_an_object() {
    let call = ToolCall { id: "c1".into(), name: "sql".into(), custom: true, ..ToolCall::default() };
    let whole = ToolCall { arguments: "SELECT \"a\"\n".into(), ..call.clone() };
    let steps = [
        open(0, PartKind::ToolCall(call)),
        input(0, "SELECT \""),
        input(0, "a\"\n"),
        close(0, PartKind::ToolCall(whole)),
        end(Stop::ToolCalls),
    ];
    let sent: String = events(&told(chat(), &steps))
        .iter()
        .filter_map(|event| event["delta"]["partial_json"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(serde_json::from_str::<Value>(&sent).unwrap(), json!({"input": "SELECT \"a\"\n"}));
}
