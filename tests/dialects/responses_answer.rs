//! Answers of Responses: written for clients whole and streamed.

mod read;

use memory_gateway::body::Body;
use memory_gateway::dialect::{Dialect, Growth, StreamWriter, responses};
use memory_gateway::error::{Error, Kind};
use memory_gateway::frame::Frame;
use memory_gateway::gather::Step;
use memory_gateway::turn::{
    Answer, Ending, Media, Message, Origin, Part, PartKind, Reasoning, Role, Source, Stop, ToolCall, Usage,
};
use serde_json::{Map, Value, json};

use super::call;

fn frame() -> Frame {
    Frame {
        id: "ab".into(),
        model: "google/gemini".into(),
        created_at: 1_700_000_000_999,
        input_estimate: 7,
        stream_usage: true,
        custom_tools: Vec::new(),
        echo: Map::new(),
        origin: Origin { dialect: Dialect::Google, provider: "google".into() },
    }
}

fn answer(parts: Vec<Part>, stop: Stop) -> Answer {
    Answer {
        message: Some(Message::new(Role::Assistant, parts)),
        usage: Some(Usage {
            input: 10,
            output: 5,
            cached: 4,
            cache_write: 1,
            cache_write_1h: 0,
            reasoning: 2,
        }),
        stop: Some(stop),
        ending: Ending::Complete,
    }
}

/// The steps of an answer that comes part by part, its words in one piece.
fn steps(answer: &Answer) -> Vec<Step> {
    let mut steps = Vec::new();
    for (at, part) in answer.message.iter().flat_map(|message| &message.parts).enumerate() {
        let mut head = part.clone();
        let mut growths = Vec::new();
        match &mut head.kind {
            PartKind::Text(text) | PartKind::Refusal(text) => {
                growths.push(Growth::Text(std::mem::take(text)));
                let extra = std::mem::take(&mut head.extra);
                growths.extend(extra.into_iter().map(|(name, value)| Growth::Extra(name, value)));
            }
            PartKind::Reasoning(reasoning) => {
                let text = std::mem::take(&mut reasoning.text);
                growths.extend((!text.is_empty()).then_some(Growth::Text(text)));
                growths.extend(reasoning.sealed.take().map(Growth::Sealed));
            }
            PartKind::ToolCall(call) => growths.push(Growth::Input(std::mem::take(&mut call.arguments))),
            _ => {}
        }
        steps.push(Step::Open { at, part: head });
        steps.extend(growths.into_iter().map(|growth| Step::Grow { at, growth }));
        steps.push(Step::Close { at, part: part.clone() });
    }
    steps.push(Step::End { stop: answer.stop.clone(), usage: answer.usage });
    steps
}

fn events(stream: &str) -> Vec<Value> {
    let blocks = stream.split_terminator("\n\n");
    blocks.map(|block| serde_json::from_str(block.split_once("\ndata: ").unwrap().1).unwrap()).collect()
}

/// The stream of the steps after its beginning, the whole response in it shortened to its status and output.
fn told(frame: Frame, steps: &[Step]) -> (Vec<Value>, Option<Value>) {
    let mut writer = Dialect::Responses.stream_writer(frame);
    let mut out = writer.begin();
    for step in steps {
        writer.write(step, &mut out);
    }
    let mut events = events(&out);
    for (at, event) in events.iter_mut().enumerate() {
        let fields = event.as_object_mut().unwrap();
        assert_eq!(fields.shift_remove("sequence_number"), Some(at.into()));
        if let Some(response) = fields.get_mut("response") {
            *response = json!([response["id"], response["status"], response["output"]]);
        }
    }
    assert_eq!(events[0], json!({"type": "response.created", "response": ["resp_ab", "in_progress", []]}));
    assert_eq!(
        events[1],
        json!({"type": "response.in_progress", "response": ["resp_ab", "in_progress", []]})
    );
    (events.split_off(2), writer.whole())
}

/// The events of an answer, which end in the object that the answer is when it comes whole.
fn written(answer: &Answer) -> Vec<Value> {
    let (events, whole) = told(frame(), &steps(answer));
    let expected = Dialect::Responses.write_answer(answer, &frame());
    assert_eq!(whole, Some(expected.clone()));
    let last = events.last().unwrap();
    assert_eq!(last["response"], json!(["resp_ab", expected["status"], expected["output"]]));
    events
}

fn item(index: usize, done: bool, item: &Value) -> Value {
    let kind = if done { "response.output_item.done" } else { "response.output_item.added" };
    json!({"type": kind, "output_index": index, "item": item})
}

#[test]
fn a_text_goes_out_as_it_comes_byte_for_byte() {
    let mut writer = Dialect::Responses.stream_writer(frame());
    writer.begin();
    let text = |at, words: &str| Step::Grow { at, growth: Growth::Text(words.into()) };
    let mut out = String::new();
    writer.write(&Step::Open { at: 0, part: Part::text("") }, &mut out);
    writer.write(&text(0, "Say \"é\"\n"), &mut out);
    assert_eq!(
        out,
        "event: response.output_item.added\n\
         data: {\"type\":\"response.output_item.added\",\"sequence_number\":2,\"output_index\":0,\"item\":{\"id\":\"msg_ab0\",\
         \"type\":\"message\",\"status\":\"in_progress\",\"role\":\"assistant\",\"content\":[]}}\n\n\
         event: response.content_part.added\n\
         data: {\"type\":\"response.content_part.added\",\"sequence_number\":3,\"item_id\":\"msg_ab0\",\"output_index\":0,\
         \"content_index\":0,\"part\":{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":\"\"}}\n\n\
         event: response.output_text.delta\n\
         data: {\"type\":\"response.output_text.delta\",\"sequence_number\":4,\"item_id\":\"msg_ab0\",\"output_index\":0,\
         \"content_index\":0,\"delta\":\"Say \\\"é\\\"\\n\",\"logprobs\":[]}\n\n"
    );
}

#[test]
fn text_and_a_tool_call_are_items_of_their_own() {
    let events =
        written(&answer(vec![Part::text("I look."), call("c1", "f", "{\"a\":1}").into()], Stop::ToolCalls));
    let part = |text: &str| json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text});
    let message = |status: &str, content: Value| json!({"id": "msg_ab0", "type": "message", "status": status, "role": "assistant", "content": content});
    let called = |status: &str, arguments: &str| {
        json!({"id": "fc_ab1", "type": "function_call", "status": status, "call_id": "c1", "name": "f",
               "arguments": arguments})
    };
    let output = [message("completed", json!([part("I look.")])), called("completed", "{\"a\":1}")];
    assert_eq!(
        Value::from(events),
        json!([
            item(0, false, &message("in_progress", json!([]))),
            {"type": "response.content_part.added", "item_id": "msg_ab0", "output_index": 0, "content_index": 0,
             "part": part("")},
            {"type": "response.output_text.delta", "item_id": "msg_ab0", "output_index": 0, "content_index": 0,
             "delta": "I look.", "logprobs": []},
            {"type": "response.output_text.done", "item_id": "msg_ab0", "output_index": 0, "content_index": 0,
             "text": "I look.", "logprobs": []},
            {"type": "response.content_part.done", "item_id": "msg_ab0", "output_index": 0, "content_index": 0,
             "part": part("I look.")},
            item(0, true, &output[0]),
            item(1, false, &called("in_progress", "")),
            {"type": "response.function_call_arguments.delta", "item_id": "fc_ab1", "output_index": 1,
             "delta": "{\"a\":1}"},
            {"type": "response.function_call_arguments.done", "item_id": "fc_ab1", "output_index": 1, "name": "f",
             "arguments": "{\"a\":1}"},
            item(1, true, &output[1]),
            {"type": "response.completed", "response": ["resp_ab", "completed", output]},
        ])
    );
}

#[test]
fn reasoning_carries_its_seal_wrapped() {
    let reasoning = |sealed: Option<&str>| -> Part {
        let sealed = sealed.map(str::to_owned);
        PartKind::Reasoning(Reasoning { text: "Hm.\n\nYes.".into(), sealed, id: Some("theirs".into()) })
            .into()
    };
    let events = written(&answer(vec![reasoning(Some("S")), Part::text("Yes.")], Stop::End));
    let summary = json!({"type": "summary_text", "text": "Hm.\n\nYes."});
    let whole = json!({"id": "rs_ab0", "type": "reasoning", "summary": [summary],
                       "encrypted_content": "mgw1:google:google:S"});
    assert_eq!(
        Value::from(events[..6].to_vec()),
        json!([
            item(0, false, &json!({"id": "rs_ab0", "type": "reasoning", "summary": []})),
            {"type": "response.reasoning_summary_part.added", "item_id": "rs_ab0", "output_index": 0,
             "summary_index": 0, "part": {"type": "summary_text", "text": ""}},
            {"type": "response.reasoning_summary_text.delta", "item_id": "rs_ab0", "output_index": 0,
             "summary_index": 0, "delta": "Hm.\n\nYes."},
            {"type": "response.reasoning_summary_text.done", "item_id": "rs_ab0", "output_index": 0,
             "summary_index": 0, "text": "Hm.\n\nYes."},
            {"type": "response.reasoning_summary_part.done", "item_id": "rs_ab0", "output_index": 0,
             "summary_index": 0, "part": summary},
            item(0, true, &whole),
        ])
    );
    let only_sealed = PartKind::Reasoning(Reasoning { sealed: Some("S".into()), ..Reasoning::default() });
    let events = written(&answer(vec![only_sealed.into(), reasoning(None)], Stop::End));
    assert_eq!(
        events.last().unwrap()["response"][2],
        json!([
            {"id": "rs_ab0", "type": "reasoning", "summary": [], "encrypted_content": "mgw1:google:google:S"},
            {"id": "rs_ab1", "type": "reasoning", "summary": [summary]}])
    );
}

#[test]
fn a_seal_of_a_call_comes_back_to_it_through_a_client_that_keeps_its_own_history() {
    let sealed = ToolCall {
        id: "call_ab0".into(),
        name: "f".into(),
        arguments: "{}".into(),
        custom: false,
        sealed: Some("S".into()),
    };
    let answer =
        answer(vec![PartKind::ToolCall(sealed).into(), call("c2", "g", "{}").into()], Stop::ToolCalls);
    let events = written(&answer);
    let output = &events.last().unwrap()["response"][2];
    let ids: Vec<&Value> = output.as_array().unwrap().iter().map(|item| &item["id"]).collect();
    assert_eq!(ids, ["rs_ab0", "fc_ab1", "fc_ab2"]);
    let mut input = output.clone();
    input
        .as_array_mut()
        .unwrap()
        .push(json!({"type": "function_call_output", "call_id": "call_ab0", "output": "r"}));
    let read = super::read(Dialect::Responses, &json!({ "input": input }));
    let back: Vec<Option<&str>> = read[0].tool_calls().map(|call| call.sealed.as_deref()).collect();
    assert_eq!(back, [Some("mgw1:google:google:S"), None]);
    assert_eq!(read[0].parts.len(), 2);
    // OpenAI could not open it, and does not get it.
    let home = Dialect::Responses.write_message(&read[0], "openai");
    assert!(home.iter().all(|item| item["type"] == "function_call"), "{home:?}");
}

#[test]
fn calls_that_stream_beside_each_other_keep_their_items() {
    let (first, second) = (call("c1", "f", "{\"a\":1}"), call("c2", "g", "{}"));
    let free = PartKind::ToolCall(ToolCall {
        id: "c3".into(),
        name: "h".into(),
        arguments: "x y".into(),
        custom: true,
        sealed: None,
    });
    let open = |at, id: &str, name: &str, custom| {
        let call = ToolCall { id: id.into(), name: name.into(), custom, ..ToolCall::default() };
        Step::Open { at, part: PartKind::ToolCall(call).into() }
    };
    let input = |at, more: &str| Step::Grow { at, growth: Growth::Input(more.into()) };
    let close = |at, kind: &PartKind| Step::Close { at, part: kind.clone().into() };
    let steps = [
        open(0, "c1", "f", false),
        input(0, "{\"a\""),
        open(1, "c2", "g", false),
        input(1, "{}"),
        input(0, ":1}"),
        close(0, &first),
        close(1, &second),
        open(2, "c3", "h", true),
        input(2, "x y"),
        close(2, &free),
        Step::End { stop: Some(Stop::ToolCalls), usage: None },
    ];
    let (events, whole) = told(frame(), &steps);
    let brief: Vec<String> = events
        .iter()
        .map(|event| {
            let kind = event["type"].as_str().unwrap().strip_prefix("response.").unwrap();
            let said = ["delta", "arguments", "input"].iter().find_map(|name| event[*name].as_str());
            format!("{kind} {} {}", event["output_index"], said.unwrap_or_default())
        })
        .collect();
    assert_eq!(
        brief,
        [
            "output_item.added 0 ",
            "function_call_arguments.delta 0 {\"a\"",
            "output_item.added 1 ",
            "function_call_arguments.delta 1 {}",
            "function_call_arguments.delta 0 :1}",
            "function_call_arguments.done 0 {\"a\":1}",
            "output_item.done 0 ",
            "function_call_arguments.done 1 {}",
            "output_item.done 1 ",
            "output_item.added 2 ",
            "custom_tool_call_input.delta 2 x y",
            "custom_tool_call_input.done 2 x y",
            "output_item.done 2 ",
            "completed null ",
        ]
    );
    let parts = vec![first.into(), second.into(), free.into()];
    let answer = Answer { usage: None, ..answer(parts, Stop::ToolCalls) };
    let expected = Dialect::Responses.write_answer(&answer, &frame());
    assert_eq!(
        expected["output"][2],
        json!({"id": "ctc_ab2", "type": "custom_tool_call", "status": "completed", "call_id": "c3", "name": "h",
               "input": "x y"})
    );
    assert_eq!((whole, &expected["usage"]), (Some(expected.clone()), &Value::Null));
}

#[test]
fn texts_and_refusals_in_a_row_are_one_message() {
    let refusal = || -> Part { PartKind::Refusal("No.".into()).into() };
    let file = PartKind::File(Media {
        source: Source::Url("https://x.test".into()),
        media_type: None,
        name: None,
        detail: None,
    });
    let parts = vec![
        Part::text("a"),
        file.into(),
        Part::text("b"),
        refusal(),
        call("c", "f", "{}").into(),
        Part::text("d"),
    ];
    let events = written(&answer(parts, Stop::End));
    let text = |text: &str| json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text});
    let output = &events.last().unwrap()["response"][2];
    assert_eq!(output[0]["content"], json!([text("a"), text("b"), {"type": "refusal", "refusal": "No."}]));
    assert_eq!(output[2]["content"], json!([text("d")]));
    let refused: Vec<&Value> = events
        .iter()
        .filter(|event| event["type"].as_str().unwrap().starts_with("response.refusal"))
        .collect();
    assert_eq!(
        refused,
        [
            &json!({"type": "response.refusal.delta", "item_id": "msg_ab0", "output_index": 0, "content_index": 2,
                    "delta": "No."}),
            &json!({"type": "response.refusal.done", "item_id": "msg_ab0", "output_index": 0, "content_index": 2,
                    "refusal": "No."}),
        ]
    );
}

#[test]
fn sources_and_log_probabilities_have_the_form_of_responses() {
    let mut part = Part::text("Words.");
    let token = json!({"token": "Words.", "logprob": -0.5, "bytes": null});
    part.extra.insert("logprobs".into(), json!([token]));
    part.extra.insert(
        "annotations".into(),
        json!([{"type": "url_citation", "url_citation": {"url": "https://a.test", "title": "A", "start_index": 1, "end_index": 4}}]),
    );
    part.extra.insert(
        "citations".into(),
        json!([{"type": "web_search_result_location", "url": "https://b.test", "title": "B"}]),
    );
    let events = written(&answer(vec![part], Stop::End));
    let source = |url: &str, title: &str, start: u64, end: u64| json!({"type": "url_citation", "url": url, "title": title, "start_index": start, "end_index": end});
    let (a, b) = (source("https://a.test", "A", 1, 4), source("https://b.test", "B", 0, 0));
    let token = json!([{"token": "Words.", "logprob": -0.5, "bytes": [], "top_logprobs": []}]);
    let added = |at: usize, source: &Value| {
        json!({"type": "response.output_text.annotation.added", "item_id": "msg_ab0", "output_index": 0,
               "content_index": 0, "annotation_index": at, "annotation": source})
    };
    assert_eq!(events[3]["logprobs"], token);
    assert_eq!(events[3]["delta"], "");
    assert_eq!(events[4..6], [added(0, &a), added(1, &b)]);
    assert_eq!(
        events.last().unwrap()["response"][2][0]["content"],
        json!([{"type": "output_text", "annotations": [a, b], "logprobs": token, "text": "Words."}])
    );
}

#[test]
fn a_picture_is_the_call_of_the_tool_that_draws() {
    let picture = PartKind::Image(Media {
        source: Source::Data("AAAA".into()),
        media_type: Some("image/png".into()),
        name: None,
        detail: None,
    });
    let events = written(&answer(vec![Part::text("Here:"), picture.into()], Stop::End));
    assert_eq!(
        events.last().unwrap()["response"][2][1],
        json!({"id": "ig_ab1", "type": "image_generation_call", "status": "completed", "result": "AAAA"})
    );
}

#[test]
fn the_whole_object_has_every_field_and_repeats_what_was_asked() {
    let response = Dialect::Responses.write_answer(&answer(vec![], Stop::Length), &frame());
    let usage = json!({
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 15,
    });
    assert_eq!(
        response,
        json!({
            "id": "resp_ab", "object": "response", "created_at": 1_700_000_000, "status": "incomplete",
            "background": false, "completed_at": null, "error": null, "frequency_penalty": 0,
            "incomplete_details": {"reason": "max_output_tokens"}, "instructions": null, "max_output_tokens": null,
            "max_tool_calls": null, "metadata": {}, "model": "google/gemini", "output": [],
            "parallel_tool_calls": true, "presence_penalty": 0, "previous_response_id": null,
            "prompt_cache_key": null, "reasoning": {"effort": null, "summary": null}, "safety_identifier": null,
            "service_tier": "default", "store": true, "temperature": 1, "text": {"format": {"type": "text"}},
            "tool_choice": "auto", "tools": [], "top_logprobs": 0, "top_p": 1, "truncation": "disabled",
            "usage": usage,
        })
    );
    let text = json!({
        "model": "m", "input": "q", "stream": true, "instructions": "s", "temperature": 0.20, "tool_choice": "none",
        "tools": [{"type": "function", "name": "f"}, {"type": "web_search"}], "reasoning": {"effort": "low"},
        "text": {"verbosity": "low"}, "metadata": null, "user": "u", "store": false, "service_tier": "auto",
        "conversation": "conv_1"})
    .to_string();
    let echo = responses::echo(&Body::parse(text.as_bytes()).unwrap());
    let asked = Dialect::Responses.write_answer(&answer(vec![], Stop::End), &Frame { echo, ..frame() });
    let expected = json!({
        "status": "completed", "incomplete_details": null, "instructions": "s", "temperature": 0.20,
        "tool_choice": "none",
        "tools": [{"type": "function", "name": "f", "description": null, "parameters": null, "strict": false},
                  {"type": "web_search"}],
        "reasoning": {"effort": "low", "summary": null}, "text": {"format": {"type": "text"}, "verbosity": "low"},
        "metadata": {}, "user": "u", "store": false, "service_tier": "default", "conversation": {"id": "conv_1"}});
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&asked[name], value, "{name}");
    }
}

#[test]
fn every_reason_to_stop_has_its_end() {
    let end = |stop: Option<Stop>| {
        let answer = Answer { stop, ..answer(vec![Part::text("a")], Stop::End) };
        let event = written(&answer).pop().unwrap();
        let whole = Dialect::Responses.write_answer(&answer, &frame());
        (event["type"].as_str().unwrap().to_owned(), whole["incomplete_details"]["reason"].clone())
    };
    let completed = ("response.completed".to_owned(), Value::Null);
    for stop in [None, Some(Stop::End), Some(Stop::ToolCalls), Some(Stop::Other("pause_turn".into()))] {
        assert_eq!(end(stop), completed);
    }
    let incomplete = |reason: &str| ("response.incomplete".to_owned(), reason.into());
    assert_eq!(end(Some(Stop::Length)), incomplete("max_output_tokens"));
    assert_eq!(end(Some(Stop::ContentFilter)), incomplete("content_filter"));
}

#[test]
fn a_broken_stream_fails_under_its_own_id_and_number() {
    let mut writer = Dialect::Responses.stream_writer(frame());
    let mut out = writer.begin();
    let all = steps(&answer(vec![call("c", "f", "{}").into(), Part::text("Hel")], Stop::End));
    for step in &all[..5] {
        writer.write(step, &mut out);
    }
    let count = events(&out).len();
    let failed = writer.fail(&Error::new(Kind::Upstream, "The provider broke off.").with_code("truncated"));
    let event: Value = events(&failed).remove(0);
    assert_eq!(failed.lines().next(), Some("event: response.failed"));
    assert_eq!((&event["sequence_number"], &event["response"]["id"]), (&count.into(), &"resp_ab".into()));
    assert_eq!(
        (&event["response"]["status"], &event["response"]["error"]),
        (&"failed".into(), &json!({"code": "truncated", "message": "The provider broke off."}))
    );
    assert_eq!(event["response"]["output"].as_array().map(Vec::len), Some(1), "the call was whole");
    assert!(matches!(&writer, StreamWriter::Responses(writer) if writer.whole().is_none()));
    let limited =
        Dialect::Responses.stream_writer(frame()).fail(&Error::new(Kind::Refused(429), "Slow down."));
    assert_eq!(events(&limited)[0]["response"]["error"]["code"], "rate_limit_exceeded");
}
