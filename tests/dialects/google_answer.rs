//! Gemini's own API: what it answers, whole and streamed.

use memory_gateway::dialect::{Dialect, Growth};
use memory_gateway::gather::Step;
use memory_gateway::observe::Observer;
use memory_gateway::turn::{
    Answer, Ending, Media, Origin, Part, PartKind, Reasoning, Source, Stop, ToolCall, Usage,
};
use serde_json::{Value, json};

use super::{call, kinds, streamed};

fn origin() -> Origin {
    Origin { dialect: Dialect::Google, provider: "google".into() }
}

fn whole(answer: &Value) -> Answer {
    Dialect::Google.read_answer(answer.to_string().as_bytes(), &origin()).unwrap()
}

fn candidate(parts: Value, finish: &str) -> Value {
    json!({"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": finish, "index": 0}]})
}

fn events(pieces: &[Value]) -> String {
    pieces.iter().map(|piece| format!("data: {piece}\r\n\r\n")).collect()
}

fn parts(answer: &Answer) -> Vec<Part> {
    answer.message.iter().flat_map(|message| message.parts.clone()).collect()
}

fn signed(text: &str, signature: &str) -> Part {
    let mut part = Part::text(text);
    part.extra.insert("thoughtSignature".into(), signature.into());
    part
}

#[test]
fn a_whole_answer_is_read_with_thoughts_calls_signatures_and_counts() {
    let mut body = candidate(
        json!([
            {"text": "Let me think.", "thought": true},
            {"text": "I "}, {"text": "look."},
            {"functionCall": {"name": "f", "args": {"x": 1.50}}, "thoughtSignature": "s1"},
            {"functionCall": {"id": "g1", "name": "g"}},
            {"text": "", "thoughtSignature": "s2"},
        ]),
        "STOP",
    );
    body["usageMetadata"] = json!({
        "promptTokenCount": 10, "toolUsePromptTokenCount": 5, "cachedContentTokenCount": 4,
        "candidatesTokenCount": 7, "thoughtsTokenCount": 30, "totalTokenCount": 52});
    let answer = whole(&body);
    let thought = Reasoning { text: "Let me think.".into(), sealed: None, id: None };
    let first = ToolCall {
        id: String::new(),
        name: "f".into(),
        arguments: json!({"x": 1.50}).to_string(),
        custom: false,
        sealed: Some("s1".into()),
    };
    assert_eq!(
        parts(&answer),
        vec![
            PartKind::Reasoning(thought).into(),
            Part::text("I look."),
            PartKind::ToolCall(first).into(),
            call("g1", "g", "{}").into(),
            signed("", "s2"),
        ]
    );
    assert_eq!(
        answer.usage,
        Some(Usage { input: 15, output: 37, cached: 4, cache_write: 0, cache_write_1h: 0, reasoning: 30 })
    );
    assert_eq!((answer.stop, answer.ending), (Some(Stop::End), Ending::Complete));
    assert_eq!(answer.message.unwrap().origin, Some(origin()));
}

#[test]
fn a_stream_reads_like_the_same_answer_whole_and_like_the_array_of_its_pieces() {
    let pieces = [
        candidate(json!([{"text": "Hm, ", "thought": true}]), ""),
        candidate(json!([{"text": "yes.", "thought": true, "thoughtSignature": "r"}]), ""),
        candidate(json!([{"text": "Grüße"}]), "FINISH_REASON_UNSPECIFIED"),
        candidate(json!([{"text": " an"}, {"text": " alle"}]), ""),
        candidate(json!([{"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "c"}]), ""),
        candidate(json!([{"text": "", "thoughtSignature": "t"}]), "MAX_TOKENS"),
        json!({"usageMetadata": {"trafficType": "ON_DEMAND"}}),
    ];
    let expected = whole(&candidate(
        json!([
            {"text": "Hm, yes.", "thought": true, "thoughtSignature": "r"},
            {"text": "Grüße an alle"},
            {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "c"},
            {"text": "", "thoughtSignature": "t"},
        ]),
        "MAX_TOKENS",
    ));
    assert_eq!(expected.stop, Some(Stop::Length));
    assert_eq!(whole(&Value::from(pieces.to_vec())), expected);
    let read = streamed(Dialect::Google, &events(&pieces));
    assert_eq!(parts(&read), parts(&expected));
    assert_eq!((read.stop, read.usage, read.ending), (expected.stop, None, Ending::Complete));
}

#[test]
fn a_stream_without_a_reason_to_stop_is_cut_short() {
    let pieces = [candidate(json!([{"text": "Hel"}]), "")];
    assert_eq!(streamed(Dialect::Google, &events(&pieces)).ending, Ending::Truncated);
    assert_eq!(whole(&Value::from(pieces.to_vec())).ending, Ending::Truncated);
}

#[test]
fn a_blocked_prompt_is_an_answer_without_words() {
    let blocked = json!({
        "promptFeedback": {"blockReason": "PROHIBITED_CONTENT", "safetyRatings": []},
        "usageMetadata": {"promptTokenCount": 8, "totalTokenCount": 8}});
    let expected = Answer {
        message: None,
        usage: Some(Usage { input: 8, ..Usage::default() }),
        stop: Some(Stop::ContentFilter),
        ending: Ending::Complete,
    };
    assert_eq!(whole(&blocked), expected);
    assert_eq!(streamed(Dialect::Google, &events(&[blocked])), expected);
}

#[test]
fn an_error_inside_a_stream_is_a_failure_with_the_providers_words() {
    let error =
        json!({"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}});
    let stream = events(&[candidate(json!([{"text": "Hel"}]), ""), error.clone()]);
    let answer = streamed(Dialect::Google, &stream);
    assert_eq!((kinds(&answer), answer.ending), (vec![PartKind::Text("Hel".into())], Ending::Failed));
    let mut observer = Observer::new(origin());
    observer.push(stream.as_bytes());
    assert_eq!(observer.failure(), Some("The model is overloaded."));
    assert_eq!(whole(&json!([error])).ending, Ending::Failed);
}

#[test]
fn what_is_no_answer_is_not_taken_for_one() {
    for text in ["", "{}", "[]", "[1]", "\"text\"", "{\"models\":[]}", "{\"candidates\""] {
        assert_eq!(Dialect::Google.read_answer(text.as_bytes(), &origin()), None, "{text}");
    }
}

#[test]
fn every_reason_to_stop_has_its_meaning() {
    let other = |word: &str| Some(Stop::Other(word.into()));
    for (word, stop) in [
        ("STOP", Some(Stop::End)),
        ("MAX_TOKENS", Some(Stop::Length)),
        ("SAFETY", Some(Stop::ContentFilter)),
        ("RECITATION", Some(Stop::ContentFilter)),
        ("LANGUAGE", Some(Stop::ContentFilter)),
        ("BLOCKLIST", Some(Stop::ContentFilter)),
        ("PROHIBITED_CONTENT", Some(Stop::ContentFilter)),
        ("SPII", Some(Stop::ContentFilter)),
        ("IMAGE_SAFETY", Some(Stop::ContentFilter)),
        ("IMAGE_PROHIBITED_CONTENT", Some(Stop::ContentFilter)),
        ("IMAGE_RECITATION", Some(Stop::ContentFilter)),
        ("MALFORMED_FUNCTION_CALL", other("MALFORMED_FUNCTION_CALL")),
        ("UNEXPECTED_TOOL_CALL", other("UNEXPECTED_TOOL_CALL")),
        ("TOO_MANY_TOOL_CALLS", other("TOO_MANY_TOOL_CALLS")),
        ("NO_IMAGE", other("NO_IMAGE")),
        ("OTHER", other("OTHER")),
        ("FINISH_REASON_UNSPECIFIED", None),
    ] {
        assert_eq!(whole(&candidate(json!([]), word)).stop, stop, "{word}");
    }
    assert_eq!(whole(&json!({"candidates": [{"finishReason": 2}]})).stop, Some(Stop::Length));
}

#[test]
fn a_picture_is_part_of_the_answer_and_one_among_the_thoughts_is_not() {
    let picture = json!({"mimeType": "image/png", "data": "AAAA"});
    let answer = whole(&candidate(
        json!([{"inlineData": picture, "thought": true}, {"inlineData": picture, "thoughtSignature": "s"}]),
        "STOP",
    ));
    let media = Media {
        source: Source::Data("AAAA".into()),
        media_type: Some("image/png".into()),
        name: None,
        detail: None,
    };
    assert_eq!(
        kinds(&answer),
        vec![PartKind::Other(json!({"inlineData": picture, "thought": true})), PartKind::Image(media)]
    );
    let back = Dialect::Google.write_message(&answer.message.unwrap(), "google");
    assert_eq!(
        back,
        vec![json!({"role": "model", "parts": [
            {"inlineData": picture, "thought": true}, {"inlineData": picture, "thoughtSignature": "s"}]})]
    );
}

#[test]
fn only_the_first_candidate_is_the_answer() {
    let answer = whole(&json!({"candidates": [
        {"index": 1, "content": {"parts": [{"text": "b"}]}, "finishReason": "SAFETY"},
        {"index": 0, "content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}]}));
    assert_eq!((kinds(&answer), answer.stop), (vec![PartKind::Text("a".into())], Some(Stop::End)));
}

#[test]
fn code_that_google_ran_and_results_of_its_tools_stay_whole() {
    let odd = json!([
        {"executableCode": {"language": "PYTHON", "code": "1"}},
        {"functionResponse": {"name": "f", "response": {}}},
        {"functionCall": {"name": "f", "args": {}, "unheardOf": 1}},
    ]);
    let answer = whole(&candidate(odd.clone(), "STOP"));
    let expected: Vec<_> = odd.as_array().unwrap().iter().cloned().map(PartKind::Other).collect();
    assert_eq!(kinds(&answer), expected);
    let back = Dialect::Google.write_message(&answer.message.unwrap(), "google");
    assert_eq!(back, vec![json!({"role": "model", "parts": odd})]);
}

#[test]
fn arguments_that_come_in_pieces_are_one_call() {
    let call = |call: Value| json!({"functionCall": call});
    let text = |path: &str, text: &str, more: bool| {
        let piece = json!({"jsonPath": path, "stringValue": text, "willContinue": more});
        call(json!({"partialArgs": [piece], "willContinue": true}))
    };
    let mut named = call(json!({"name": "send", "willContinue": true}));
    named["thoughtSignature"] = "ZZ".into();
    let parts = [
        named,
        text("$.to[0].city", "Bos", true),
        text("$.to[0].city", "ton", true),
        text("$.to[0].city", "", false),
        call(json!({"willContinue": true})),
        call(json!({"partialArgs": [{"jsonPath": "$.to[1].city", "nullValue": "NULL_VALUE"},
            {"jsonPath": "$.fast", "boolValue": true}], "willContinue": true})),
        call(json!({})),
        // All of it at once, and one without arguments.
        call(json!({"name": "divide", "id": "d", "partialArgs": [{"jsonPath": "$.by", "numberValue": 2}]})),
        call(json!({"name": "stop", "willContinue": true})),
        call(json!({})),
    ];
    let said = |id: &str, name: &str, arguments: &str, sealed: Option<&str>| {
        PartKind::ToolCall(ToolCall {
            id: id.into(),
            name: name.into(),
            arguments: arguments.into(),
            custom: false,
            sealed: sealed.map(str::to_owned),
        })
    };
    let send = r#"{"to":[{"city":"Boston"},{"city":null}],"fast":true}"#;
    let expected = vec![
        said("", "send", send, Some("ZZ")),
        said("d", "divide", r#"{"by":2}"#, None),
        said("", "stop", "{}", None),
    ];
    assert_eq!(kinds(&whole(&candidate(json!(parts), "STOP"))), expected);

    let mut pieces: Vec<Value> = parts.iter().map(|part| candidate(json!([part]), "")).collect();
    pieces.push(candidate(json!([]), "STOP"));
    let closed: Vec<PartKind> = told(&pieces)
        .into_iter()
        .filter_map(|step| match step {
            Step::Close { part, .. } => Some(part.kind),
            _ => None,
        })
        .collect();
    let with_ids = vec![
        said("call_5eed0", "send", send, Some("ZZ")),
        said("d", "divide", r#"{"by":2}"#, None),
        said("call_5eed2", "stop", "{}", None),
    ];
    assert_eq!(closed, with_ids);
}

#[test]
fn pieces_of_a_call_that_never_began_say_nothing() {
    let piece = json!({"functionCall": {"partialArgs": [{"jsonPath": "$.a", "stringValue": "x"}]}});
    let answer = whole(&candidate(json!([{"text": "hi"}, piece]), "STOP"));
    assert_eq!(kinds(&answer), vec![PartKind::Text("hi".into())]);
}

fn told(pieces: &[Value]) -> Vec<Step> {
    let mut observer = Observer::telling(origin(), "5eed");
    observer.push(events(pieces).as_bytes());
    let mut steps = observer.take_steps();
    steps.extend(observer.finish_telling(true).1);
    steps
}

fn grow(at: usize, growth: Growth) -> Step {
    Step::Grow { at, growth }
}

#[test]
fn parallel_calls_without_ids_are_told_with_ids_of_their_own() {
    let steps = told(&[
        candidate(
            json!([{"text": "Look."}, {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "s"}]),
            "",
        ),
        candidate(json!([{"functionCall": {"name": "f"}}]), "STOP"),
    ]);
    let made = |id: &str, arguments: &str, sealed: Option<&str>| -> Part {
        PartKind::ToolCall(ToolCall {
            id: id.into(),
            name: "f".into(),
            arguments: arguments.into(),
            custom: false,
            sealed: sealed.map(str::to_owned),
        })
        .into()
    };
    assert_eq!(
        steps,
        vec![
            Step::Open { at: 0, part: Part::text("") },
            grow(0, Growth::Text("Look.".into())),
            Step::Close { at: 0, part: Part::text("Look.") },
            Step::Open { at: 1, part: made("call_5eed1", "", Some("s")) },
            grow(1, Growth::Input(r#"{"a":1}"#.into())),
            Step::Close { at: 1, part: made("call_5eed1", r#"{"a":1}"#, Some("s")) },
            Step::Open { at: 2, part: made("call_5eed2", "", None) },
            grow(2, Growth::Input("{}".into())),
            Step::Close { at: 2, part: made("call_5eed2", "{}", None) },
            Step::End { stop: Some(Stop::ToolCalls), usage: None },
        ]
    );
}

fn grounded(mut piece: Value) -> Value {
    piece["candidates"][0]["groundingMetadata"] = json!({
        "groundingChunks": [
            {"web": {"uri": "https://a.example", "title": "A"}},
            {"maps": {"uri": "https://b.example", "title": "B", "placeId": "p"}},
            {"retrievedContext": {"text": "no address"}}],
        "groundingSupports": [
            {"segment": {"startIndex": 8, "endIndex": 15, "text": "19 °C"}, "groundingChunkIndices": [0, 2]},
            {"segment": {"endIndex": 7, "text": "Zürich"}, "groundingChunkIndices": [1]}],
        "webSearchQueries": ["q"]});
    piece
}

fn sources() -> Value {
    json!([
        {"type": "url_citation", "url": "https://a.example", "title": "A", "start_index": 7, "end_index": 12},
        {"type": "url_citation", "url": "https://b.example", "title": "B", "start_index": 0, "end_index": 6},
    ])
}

#[test]
fn sources_are_told_with_their_place_in_characters() {
    // The provider's count of the first is one byte too long; its words decide.
    let answer = whole(&grounded(candidate(json!([{"text": "Zürich 19 °C."}]), "STOP")));
    assert_eq!(parts(&answer)[0].extra["annotations"], sources());
    let steps = told(&[
        candidate(json!([{"text": "Zürich "}]), ""),
        grounded(candidate(json!([{"text": "19 °C."}, {"text": "", "thoughtSignature": "s"}]), "STOP")),
    ]);
    let mut cited = Part::text("Zürich 19 °C.");
    cited.extra.insert("annotations".into(), sources());
    assert_eq!(
        steps,
        vec![
            Step::Open { at: 0, part: Part::text("") },
            grow(0, Growth::Text("Zürich ".into())),
            grow(0, Growth::Text("19 °C.".into())),
            grow(0, Growth::Extra("annotations".into(), sources())),
            Step::Close { at: 0, part: cited },
            Step::Open { at: 1, part: signed("", "s") },
            Step::Close { at: 1, part: signed("", "s") },
            Step::End { stop: Some(Stop::End), usage: None },
        ]
    );
}

#[test]
fn a_signed_text_is_told_as_a_part_of_its_own_with_its_sources() {
    let steps = told(&[
        candidate(json!([{"text": "So: "}]), ""),
        grounded(candidate(json!([{"text": "Zürich 19 °C.", "thoughtSignature": "s"}]), "STOP")),
    ]);
    let mut cited = signed("Zürich 19 °C.", "s");
    cited.extra.insert("annotations".into(), sources());
    assert_eq!(
        steps,
        vec![
            Step::Open { at: 0, part: Part::text("") },
            grow(0, Growth::Text("So: ".into())),
            Step::Close { at: 0, part: Part::text("So: ") },
            Step::Open { at: 1, part: signed("", "s") },
            grow(1, Growth::Text("Zürich 19 °C.".into())),
            grow(1, Growth::Extra("annotations".into(), sources())),
            Step::Close { at: 1, part: cited },
            Step::End { stop: Some(Stop::End), usage: None },
        ]
    );
}

#[test]
fn recited_texts_and_sources_without_a_place_are_sources_too() {
    let mut body = candidate(json!([{"text": "To be"}]), "STOP");
    body["candidates"][0]["citationMetadata"] = json!({"citationSources": [{"startIndex": 3, "endIndex": 5, "uri": "u", "license": "mit"}, {"endIndex": 2}]});
    body["candidates"][0]["groundingMetadata"] = json!({"groundingChunks": [{"web": {"uri": "w"}}]});
    assert_eq!(
        parts(&whole(&body))[0].extra["annotations"],
        json!([
            {"type": "url_citation", "url": "w"},
            {"type": "url_citation", "url": "u", "start_index": 3, "end_index": 5},
        ])
    );
}

#[test]
fn log_probabilities_are_told_in_the_common_form() {
    let mut body = candidate(json!([{"text": "é!"}]), "STOP");
    body["candidates"][0]["logprobsResult"] = json!({
        "chosenCandidates": [
            {"token": "é", "tokenId": 1, "logProbability": -0.5}, {"token": "!", "tokenId": 2, "logProbability": -1}],
        "topCandidates": [{"candidates": [{"token": "é", "tokenId": 1, "logProbability": -0.5}]}]});
    assert_eq!(
        parts(&whole(&body))[0].extra["logprobs"],
        json!([
            {"token": "é", "logprob": -0.5, "bytes": [195, 169], "top_logprobs": [
                {"token": "é", "logprob": -0.5, "bytes": [195, 169]}]},
            {"token": "!", "logprob": -1, "bytes": [33], "top_logprobs": []},
        ])
    );
}
