//! Answers in Chat Completions: written for clients, whole and streamed, and read from servers with ways of their own.

use memory_gateway::dialect::{Dialect, Growth, StreamWriter};
use memory_gateway::error::{Error, Kind};
use memory_gateway::frame::Frame;
use memory_gateway::gather::Step;
use memory_gateway::observe::Observer;
use memory_gateway::turn::{
    Answer, Ending, Media, Message, Origin, Part, PartKind, Reasoning, Role, Source, Stop, ToolCall, Usage,
};
use serde_json::{Map, Value, json};

use super::{kinds, origin, streamed};

fn frame(dialect: Dialect, provider: &str) -> Frame {
    Frame {
        id: "abc".into(),
        model: "vendor/m\"1".into(),
        created_at: 1_700_000_000_999,
        input_estimate: 5,
        stream_usage: false,
        custom_tools: Vec::new(),
        echo: Map::new(),
        origin: Origin { dialect, provider: provider.into() },
    }
}

fn anthropic() -> Frame {
    frame(Dialect::Messages, "anthropic")
}

/// What the steps look like to the client, data lines without what every chunk repeats.
fn told(frame: Frame, steps: &[Step]) -> Vec<Value> {
    let usage = frame.stream_usage;
    let mut writer = Dialect::Chat.stream_writer(frame);
    let mut out = writer.begin();
    steps.iter().for_each(|step| writer.write(step, &mut out));
    chunks(&out, usage)
}

fn chunks(out: &str, usage: bool) -> Vec<Value> {
    out.split_terminator("\n\n")
        .map(|event| {
            let data = event.strip_prefix("data: ").unwrap();
            if data == "[DONE]" {
                return json!("[DONE]");
            }
            let mut chunk: Map<String, Value> = serde_json::from_str(data).unwrap();
            for (name, value) in [
                ("id", json!("chatcmpl-abc")),
                ("object", json!("chat.completion.chunk")),
                ("created", json!(1_700_000_000)),
                ("model", json!("vendor/m\"1")),
            ] {
                assert_eq!(chunk.shift_remove(name), Some(value));
            }
            let choices = chunk.shift_remove("choices").unwrap();
            let counts = chunk.shift_remove("usage");
            assert!(chunk.is_empty(), "{chunk:?}");
            let Some(choice) = choices.get(0) else { return counts.unwrap() };
            assert_eq!(counts, usage.then_some(Value::Null));
            assert_eq!(choice["index"], 0);
            match (&choice["finish_reason"], &choice["logprobs"]) {
                (Value::Null, Value::Null) => choice["delta"].clone(),
                (Value::Null, logprobs) => json!([choice["delta"], logprobs]),
                (reason, Value::Null) => json!([choice["delta"], reason]),
                both => panic!("{both:?}"),
            }
        })
        .collect()
}

fn open(at: usize, kind: PartKind) -> Step {
    Step::Open { at, part: kind.into() }
}

fn words(at: usize, text: &str) -> Step {
    Step::Grow { at, growth: Growth::Text(text.into()) }
}

fn input(at: usize, text: &str) -> Step {
    Step::Grow { at, growth: Growth::Input(text.into()) }
}

fn close(at: usize, part: impl Into<Part>) -> Step {
    Step::Close { at, part: part.into() }
}

fn end(stop: Stop, usage: Option<Usage>) -> Step {
    Step::End { stop: Some(stop), usage }
}

fn text() -> PartKind {
    PartKind::Text(String::new())
}

fn call(id: &str, arguments: &str, custom: bool, sealed: Option<&str>) -> PartKind {
    PartKind::ToolCall(ToolCall {
        id: id.into(),
        name: "f".into(),
        arguments: arguments.into(),
        custom,
        sealed: sealed.map(str::to_owned),
    })
}

fn thought(text: &str, sealed: Option<&str>) -> PartKind {
    PartKind::Reasoning(Reasoning { text: text.into(), sealed: sealed.map(str::to_owned), id: None })
}

fn role() -> Value {
    json!({"role": "assistant", "content": ""})
}

#[test]
fn a_text_goes_out_byte_by_byte_as_openai_writes_it() {
    let mut writer = Dialect::Chat.stream_writer(anthropic());
    let mut out = writer.begin();
    for step in [
        open(0, text()),
        words(0, "Grüße,\n"),
        words(0, "Alex"),
        close(0, Part::text("Grüße,\nAlex")),
        end(Stop::End, None),
    ] {
        writer.write(&step, &mut out);
    }
    let head = r#"data: {"id":"chatcmpl-abc","object":"chat.completion.chunk","created":1700000000,"model":"vendor/m\"1","choices":[{"index":0,"delta":"#;
    let tail = r#","logprobs":null,"finish_reason":null}]}"#;
    assert_eq!(
        out,
        [
            format!(r#"{head}{{"role":"assistant","content":""}}{tail}"#),
            format!(r#"{head}{{"content":"Grüße,\n"}}{tail}"#),
            format!(r#"{head}{{"content":"Alex"}}{tail}"#),
            format!(r#"{head}{{}},"logprobs":null,"finish_reason":"stop"}}]}}"#),
            "data: [DONE]\n\n".into(),
        ]
        .join("\n\n")
    );
}

#[test]
fn calls_are_numbered_as_they_begin_and_named_once_even_when_they_interleave() {
    assert_eq!(
        told(
            anthropic(),
            &[
                open(0, text()),
                words(0, "Hm."),
                close(0, Part::text("Hm.")),
                open(1, call("a", "", false, None)),
                input(1, "{\"x\""),
                open(2, call("b", "", false, None)),
                input(2, "{"),
                input(1, ":1}"),
                input(2, "}"),
                close(1, call("a", "{\"x\":1}", false, None)),
                close(2, call("b", "{}", false, None)),
                end(Stop::ToolCalls, None),
            ]
        ),
        [
            role(),
            json!({"content": "Hm."}),
            json!({"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]}),
            json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"x\""}}]}),
            json!({"tool_calls": [{"index": 1, "id": "b", "type": "function", "function": {"name": "f", "arguments": ""}}]}),
            json!({"tool_calls": [{"index": 1, "function": {"arguments": "{"}}]}),
            json!({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}),
            json!({"tool_calls": [{"index": 1, "function": {"arguments": "}"}}]}),
            json!([{}, "tool_calls"]),
            json!("[DONE]"),
        ]
    );
}

#[test]
fn a_lone_custom_call_carries_its_seal_wherever_it_came_up() {
    let google = || frame(Dialect::Google, "google");
    let beside = json!({"google": {"thought_signature": "mgw1:google:google:sig"}});
    assert_eq!(
        told(
            google(),
            &[
                open(0, call("a", "", true, Some("sig"))),
                input(0, "free"),
                close(0, call("a", "free", true, Some("sig"))),
            ]
        ),
        [
            role(),
            json!({"tool_calls": [{"index": 0, "id": "a", "type": "custom", "custom": {"name": "f", "input": ""}, "extra_content": beside}]}),
            json!({"tool_calls": [{"index": 0, "custom": {"input": "free"}}]}),
        ]
    );
    let late = told(
        google(),
        &[open(0, call("a", "", false, None)), input(0, "{}"), close(0, call("a", "{}", false, Some("sig")))],
    );
    assert_eq!(late.last(), Some(&json!({"tool_calls": [{"index": 0, "extra_content": beside}]})));
}

#[test]
fn thoughts_are_told_as_they_come_and_sealed_when_they_are_whole() {
    assert_eq!(
        told(
            anthropic(),
            &[
                open(0, thought("", None)),
                words(0, "on"),
                words(0, "e"),
                Step::Grow { at: 0, growth: Growth::Sealed("EqQB".into()) },
                close(0, thought("one", Some("EqQB"))),
                open(1, thought("", None)),
                Step::Grow { at: 1, growth: Growth::Sealed("red".into()) },
                close(1, thought("", Some("red"))),
                open(2, thought("", None)),
                words(2, "two"),
                close(2, thought("two", None)),
            ]
        ),
        [
            role(),
            json!({"reasoning_content": "on"}),
            json!({"reasoning_content": "e"}),
            json!({"reasoning_details": [{"type": "reasoning.text", "text": "one",
                "signature": "mgw1:anthropic:messages:EqQB", "format": "anthropic-claude-v1", "index": 0}]}),
            json!({"reasoning_details": [{"type": "reasoning.encrypted", "data": "mgw1:anthropic:messages:red",
                "format": "anthropic-claude-v1", "index": 1}]}),
            json!({"reasoning_content": "\n\ntwo"}),
        ]
    );
}

#[test]
fn refusals_limits_and_filters_have_their_own_words() {
    assert_eq!(
        told(
            anthropic(),
            &[
                open(0, PartKind::Refusal(String::new())),
                words(0, "No."),
                close(0, PartKind::Refusal("No.".into())),
                end(Stop::ContentFilter, None),
            ]
        ),
        [role(), json!({"refusal": "No."}), json!([{}, "content_filter"]), json!("[DONE]")]
    );
    for (stop, word) in [(Stop::Length, "length"), (Stop::Other("pause_turn".into()), "stop")] {
        assert_eq!(told(anthropic(), &[end(stop, None)])[1], json!([{}, word]));
    }
}

#[test]
fn counts_come_in_a_chunk_of_their_own_and_only_when_asked_for() {
    let counts = Usage { input: 20, output: 9, cached: 8, cache_write: 4, cache_write_1h: 0, reasoning: 2 };
    let asked = Frame { stream_usage: true, ..anthropic() };
    let steps = [Step::Usage(counts), end(Stop::End, Some(counts))];
    assert_eq!(
        told(asked, &steps),
        [
            role(),
            json!([{}, "stop"]),
            json!({"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29,
                   "prompt_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 4},
                   "completion_tokens_details": {"reasoning_tokens": 2}}),
            json!("[DONE]"),
        ]
    );
    assert_eq!(told(anthropic(), &steps), [role(), json!([{}, "stop"]), json!("[DONE]")]);
}

#[test]
fn a_broken_answer_ends_in_an_error_and_nothing_after_it() {
    let mut writer = Dialect::Chat.stream_writer(anthropic());
    let mut out = String::new();
    writer.write(&open(0, text()), &mut out);
    writer.write(&words(0, "Ha"), &mut out);
    let error = Error::new(Kind::Upstream, "It broke off.");
    assert_eq!(writer.fail(&error), format!("data: {}\n\n", error.body()));
    assert!(matches!(writer, StreamWriter::Chat(_)));
}

fn cited(text: &str, name: &str, list: Value) -> Part {
    let mut part = Part::text(text);
    part.extra.insert(name.into(), list);
    part
}

#[test]
fn sources_are_placed_in_the_whole_of_the_answer() {
    let first = Part::text("Äh. ");
    let quoted = cited(
        "Rome.",
        "citations",
        json!([{"type": "web_search_result_location", "url": "https://a.test", "title": "A", "cited_text": "q"}]),
    );
    let placed = cited(
        "Big.",
        "annotations",
        json!([{"type": "url_citation", "url": "https://b.test", "title": "B", "start_index": 0, "end_index": 3}]),
    );
    let source = |url: &str, title: &str, start: u64, end: u64| json!({"type": "url_citation", "url_citation": {"url": url, "title": title, "start_index": start, "end_index": end}});
    let first_source = source("https://a.test", "A", 4, 9);
    let second_source = source("https://b.test", "B", 9, 12);
    assert_eq!(
        told(
            anthropic(),
            &[
                open(0, text()),
                words(0, "Äh. "),
                close(0, first.clone()),
                open(1, text()),
                words(1, "Rome."),
                close(1, quoted.clone()),
                open(2, text()),
                words(2, "Big."),
                close(2, placed.clone()),
            ]
        ),
        [
            role(),
            json!({"content": "Äh. "}),
            json!({"content": "Rome."}),
            json!({"annotations": [first_source]}),
            json!({"content": "Big."}),
            json!({"annotations": [second_source]}),
        ]
    );
    let whole = written(vec![first, quoted, placed], None, None, &anthropic());
    assert_eq!(
        whole["choices"][0]["message"],
        json!({"role": "assistant", "content": "Äh. Rome.Big.", "refusal": null,
               "annotations": [first_source, second_source]})
    );
}

#[test]
fn log_probabilities_stand_beside_the_text() {
    let tokens = json!([{"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": []}]);
    let growth = Growth::Extra("logprobs".into(), tokens.clone());
    assert_eq!(
        told(
            frame(Dialect::Google, "google"),
            &[open(0, text()), words(0, "Hi"), Step::Grow { at: 0, growth }]
        ),
        [role(), json!({"content": "Hi"}), json!([{}, {"content": tokens, "refusal": null}])]
    );
    let part = cited("Hi", "logprobs", tokens.clone());
    let whole = written(vec![part], Some(Stop::End), None, &frame(Dialect::Google, "google"));
    assert_eq!(whole["choices"][0]["logprobs"], json!({"content": tokens, "refusal": null}));
}

#[test]
fn what_a_provider_did_with_its_own_tools_is_not_told_and_pictures_are() {
    let picture = PartKind::Image(Media {
        source: Source::Data("AAAA".into()),
        media_type: Some("image/png".into()),
        name: None,
        detail: None,
    });
    let search = PartKind::Other(json!({"type": "server_tool_use", "name": "web_search"}));
    let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}});
    assert_eq!(
        told(
            anthropic(),
            &[
                open(0, search.clone()),
                close(0, search.clone()),
                open(1, picture.clone()),
                close(1, picture.clone())
            ]
        ),
        [role(), json!({"images": [image]})]
    );
    let whole = written(vec![search.into(), picture.into()], Some(Stop::End), None, &anthropic());
    assert_eq!(
        whole["choices"][0]["message"],
        json!({"role": "assistant", "content": "", "refusal": null, "images": [image]})
    );
}

fn written(parts: Vec<Part>, stop: Option<Stop>, usage: Option<Usage>, frame: &Frame) -> Value {
    let message = Some(Message::new(Role::Assistant, parts));
    Dialect::Chat.write_answer(&Answer { message, usage, stop, ending: Ending::Complete }, frame)
}

#[test]
fn a_whole_answer_is_what_the_official_client_expects() {
    let parts = vec![
        thought("one", Some("EqQB")).into(),
        thought("two", None).into(),
        Part::text(""),
        call("a", "", false, None).into(),
        call("b", "free", true, Some("sig")).into(),
    ];
    let usage = Usage { input: 20, output: 9, cached: 8, cache_write: 0, cache_write_1h: 0, reasoning: 2 };
    assert_eq!(
        written(parts, Some(Stop::ToolCalls), Some(usage), &anthropic()),
        json!({
            "id": "chatcmpl-abc", "object": "chat.completion", "created": 1_700_000_000, "model": "vendor/m\"1",
            "choices": [{"index": 0, "message": {
                "role": "assistant", "content": null, "refusal": null, "reasoning_content": "one\n\ntwo",
                "reasoning_details": [{"type": "reasoning.text", "text": "one",
                    "signature": "mgw1:anthropic:messages:EqQB", "format": "anthropic-claude-v1", "index": 0}],
                "tool_calls": [
                    {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                    {"id": "b", "type": "custom", "custom": {"name": "f", "input": "free"},
                     "extra_content": {"google": {"thought_signature": "mgw1:anthropic:messages:sig"}}}],
            }, "logprobs": null, "finish_reason": "tool_calls"}],
            "usage": {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29,
                "prompt_tokens_details": {"cached_tokens": 8}, "completion_tokens_details": {"reasoning_tokens": 2}},
        })
    );
    let refused = written(vec![PartKind::Refusal("No.".into()).into()], Some(Stop::End), None, &anthropic());
    assert_eq!(
        refused["choices"][0]["message"],
        json!({"role": "assistant", "content": null, "refusal": "No."})
    );
    assert_eq!(refused["usage"]["total_tokens"], 0);
    let silent = Answer { message: None, usage: None, stop: None, ending: Ending::Complete };
    let silent = Dialect::Chat.write_answer(&silent, &anthropic());
    assert_eq!(silent["choices"][0]["message"], json!({"role": "assistant", "content": "", "refusal": null}));
    assert_eq!(silent["choices"][0]["finish_reason"], "stop");
}

fn sse(deltas: &[Value]) -> String {
    deltas
        .iter()
        .map(|delta| format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": delta}]})))
        .collect()
}

#[test]
fn mistrals_thoughts_are_reasoning_and_go_back_as_they_came() {
    let content = json!([
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}], "closed": true},
        {"type": "text", "text": "4"},
    ]);
    let answer = json!({"choices": [{"index": 0, "finish_reason": "stop",
        "message": {"role": "assistant", "content": content}}]});
    let answer = Dialect::Chat.read_answer(answer.to_string().as_bytes(), &origin(Dialect::Chat)).unwrap();
    assert_eq!(kinds(&answer), [thought("hm", None), PartKind::Text("4".into())]);
    let message = answer.message.unwrap();
    assert_eq!(
        Dialect::Chat.write_message(&message, "openai"),
        [json!({"role": "assistant", "content": content})]
    );
    assert_eq!(Dialect::Chat.write_message(&message, "groq"), [json!({"role": "assistant", "content": "4"})]);
    let piece =
        |text: &str| json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]});
    let stream = sse(&[
        piece("h"),
        piece("m"),
        json!({"content": [{"type": "thinking", "thinking": []}]}),
        json!({"content": "4"}),
    ]);
    assert_eq!(kinds(&streamed(Dialect::Chat, &stream)), [thought("hm", None), PartKind::Text("4".into())]);
}

#[test]
fn thoughts_that_stand_in_details_only_are_read_and_not_sent_twice() {
    let details = json!([{"type": "reasoning.text", "text": "hm", "signature": "s", "index": 0}]);
    let message = json!({"role": "assistant", "content": null, "reasoning_details": details, "tool_calls": [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    let answer = json!({"choices": [{"message": message}]});
    let answer = Dialect::Chat.read_answer(answer.to_string().as_bytes(), &origin(Dialect::Chat)).unwrap();
    assert_eq!(kinds(&answer)[0], thought("hm", None));
    assert_eq!(Dialect::Chat.write_message(&answer.message.unwrap(), "openai"), [message]);
}

#[test]
fn sources_of_a_chat_answer_belong_to_its_text_and_go_back_beside_it() {
    let source = json!({"type": "url_citation", "url_citation": {"url": "https://a.test", "title": "A", "start_index": 0, "end_index": 2}});
    let message = json!({"role": "assistant", "content": "Hi", "annotations": [source]});
    let answer = json!({"choices": [{"message": message}]});
    let answer = Dialect::Chat.read_answer(answer.to_string().as_bytes(), &origin(Dialect::Chat)).unwrap();
    let whole = answer.message.unwrap();
    assert_eq!(whole.parts, [cited("Hi", "annotations", json!([source]))]);
    assert_eq!(Dialect::Chat.write_message(&whole, "openai"), std::slice::from_ref(&message));
    // Behind the text, and, as OpenRouter does, ahead of it.
    for deltas in [
        [json!({"content": "Hi"}), json!({"annotations": [source]})],
        [json!({"annotations": [source]}), json!({"content": "Hi"})],
    ] {
        let answer = streamed(Dialect::Chat, &sse(&deltas));
        assert_eq!(
            Dialect::Chat.write_message(&answer.message.unwrap(), "openai"),
            std::slice::from_ref(&message)
        );
    }
    let mut observer = Observer::telling(origin(Dialect::Chat), "s");
    observer.push(sse(&[json!({"content": "Hi"}), json!({"annotations": [source]})]).as_bytes());
    let growth = Growth::Extra("annotations".into(), json!([source]));
    assert_eq!(observer.take_steps().last(), Some(&Step::Grow { at: 0, growth }));
}

#[test]
fn counts_that_leave_reasoning_out_are_completed() {
    let usage = |value: Value| {
        let answer = json!({"choices": [], "usage": value});
        Dialect::Chat.read_answer(answer.to_string().as_bytes(), &origin(Dialect::Chat)).unwrap().usage
    };
    assert_eq!(
        usage(json!({"prompt_tokens": 12, "completion_tokens": 2, "total_tokens": 354,
            "prompt_tokens_details": {"cached_tokens": 11}, "completion_tokens_details": {"reasoning_tokens": 340}})),
        Some(Usage { input: 12, output: 342, cached: 11, cache_write: 0, cache_write_1h: 0, reasoning: 340 })
    );
    assert_eq!(
        usage(json!({"prompt_tokens": 12, "completion_tokens": 342})),
        Some(Usage { input: 12, output: 342, ..Usage::default() })
    );
}

#[test]
fn stops_are_read_by_every_servers_word() {
    for (word, stop) in [
        ("stop", Some(Stop::End)),
        ("eos", Some(Stop::End)),
        ("length", Some(Stop::Length)),
        ("model_length", Some(Stop::Length)),
        ("tool_calls", Some(Stop::ToolCalls)),
        ("function_call", Some(Stop::ToolCalls)),
        ("content_filter", Some(Stop::ContentFilter)),
        ("", None),
        ("error", Some(Stop::Other("error".into()))),
    ] {
        let answer = json!({"choices": [{"message": {"content": "a"}, "finish_reason": word}]});
        let answer =
            Dialect::Chat.read_answer(answer.to_string().as_bytes(), &origin(Dialect::Chat)).unwrap();
        assert_eq!(answer.stop, stop, "{word}");
    }
}
