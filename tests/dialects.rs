//! Reading and writing each dialect: requests, whole answers, streams.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

use memory_gateway::body::Body;
use memory_gateway::dialect::{Content, Dialect};
use memory_gateway::memory::context::Item;
use memory_gateway::observe::Observer;
use memory_gateway::prompt;
use memory_gateway::turn::{Answer, Ending, Message, Origin, Part, PartKind, Role, Stop, ToolCall, Usage};
use serde_json::{Value, json};

fn origin(dialect: Dialect) -> Origin {
    Origin { dialect, provider: "openai".into() }
}

/// The messages of a request, as stored.
fn read(dialect: Dialect, body: &Value) -> Vec<Message> {
    let bytes = body.to_string();
    let body = Body::parse(bytes.as_bytes()).unwrap();
    prompt::messages(&dialect.read_conversation(&body, &origin(dialect)).unwrap())
}

fn refused(dialect: Dialect, body: &Value) -> String {
    let bytes = body.to_string();
    let body = Body::parse(bytes.as_bytes()).unwrap();
    let error = dialect.read_conversation(&body, &origin(dialect)).unwrap_err();
    assert_eq!(error.status(), 400);
    error.body()["error"]["param"].as_str().unwrap_or_default().to_owned()
}

/// Chat messages that come back from the store exactly as they were sent.
fn chat_messages() -> Value {
    json!([
        {"role": "user", "content": "plain"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": "Ann"},
        {"role": "user", "content": [
            {"type": "text", "text": "look", "cache_control": {"type": "ephemeral"}},
            {"type": "image_url", "image_url": {"url": "https://x.test/i.png", "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"}},
            {"type": "file", "file": {"file_id": "file-1"}},
            {"type": "video_url", "video_url": {"url": "https://x.test/v.mp4"}},
        ]},
        {"role": "assistant", "content": null, "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"},
             "extra_content": {"google": {"thought_signature": "sig"}}},
            {"id": "c2", "type": "custom", "custom": {"name": "g", "input": "free text"}},
        ]},
        {"role": "tool", "tool_call_id": "c1", "content": "one"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "x"}, {"type": "text", "text": "y"}]},
        {"role": "assistant", "content": "done", "annotations": [{"type": "url_citation"}]},
        {"role": "assistant", "content": null, "refusal": "no"},
        {"role": "function", "name": "old", "content": "result"},
    ])
}

#[test]
fn chat_messages_come_back_as_they_were_sent() {
    let sent = chat_messages();
    let back: Vec<Value> = read(Dialect::Chat, &json!({ "messages": sent }))
        .iter()
        .flat_map(|message| Dialect::Chat.write_message(message, "openai"))
        .collect();
    assert_eq!(Value::from(back), sent);
}

#[test]
fn responses_items_come_back_as_they_were_sent() {
    let sent = json!([
        {"role": "user", "content": "plain"},
        {"role": "user", "content": [
            {"type": "input_text", "text": "look"},
            {"type": "input_image", "image_url": "https://x.test/i.png", "detail": "low"},
            {"type": "input_image", "file_id": "file-1", "detail": "auto"},
            {"type": "input_file", "file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"},
            {"type": "input_video", "video_url": "https://x.test/v.mp4"},
        ]},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "E"},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "g", "input": "free"},
        {"type": "function_call_output", "call_id": "c1", "output": "one"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": [
            {"type": "input_text", "text": "x"}, {"type": "input_image", "image_url": "https://x.test/i.png", "detail": "auto"},
        ]},
        {"role": "assistant", "content": "done"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}},
    ]);
    let messages = read(Dialect::Responses, &json!({ "input": sent }));
    assert_eq!(messages.len(), 6, "neighbouring items of the assistant are one message");
    let back: Vec<Value> =
        messages.iter().flat_map(|message| Dialect::Responses.write_message(message, "openai")).collect();
    assert_eq!(Value::from(back), sent);
}

#[test]
fn what_belongs_to_one_provider_is_not_sent_to_another() {
    let messages = read(Dialect::Chat, &json!({ "messages": chat_messages() }));
    let elsewhere: Vec<Value> =
        messages.iter().flat_map(|message| Dialect::Chat.write_message(message, "google")).collect();
    let text = Value::from(elsewhere).to_string();
    for private in
        ["cache_control", "thought_signature", "video_url", "annotations", "\"function\",\"name\":\"old\""]
    {
        assert!(!text.contains(private), "{private}");
    }
    assert!(text.contains("look") && text.contains("{\\\"a\\\":1}") && text.contains("free text"));
}

#[test]
fn one_conversation_reads_the_same_in_both_dialects() {
    let chat = read(
        Dialect::Chat,
        &json!({"messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "let me see", "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "r"},
        ]}),
    );
    let responses = read(
        Dialect::Responses,
        &json!({"instructions": "s", "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "q"}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "let me see"}]},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "r"},
        ]}),
    );
    let hashes = |messages: &[Message]| messages.iter().map(Message::content_hash).collect::<Vec<_>>();
    assert_eq!(hashes(&chat), hashes(&responses));
    let crossed: Vec<Value> =
        chat.iter().flat_map(|message| Dialect::Responses.write_message(message, "openai")).collect();
    assert_eq!(
        Value::from(crossed),
        json!([
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "let me see"},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "r"},
        ])
    );
}

#[test]
fn malformed_conversations_are_refused_by_field() {
    for (body, param) in [
        (json!({}), "messages"),
        (json!({"messages": null}), "messages"),
        (json!({"messages": "hi"}), "messages"),
        (json!({"messages": []}), "messages"),
        (json!({"messages": [1]}), "messages[0]"),
        (json!({"messages": [{"role": "user"}, {"role": "robot"}]}), "messages[1].role"),
        (json!({"messages": [{"content": "x"}]}), "messages[0].role"),
    ] {
        assert_eq!(refused(Dialect::Chat, &body), param, "{body}");
    }
    for (body, param) in [
        (json!({}), "input"),
        (json!({"input": 1}), "input"),
        (json!({"input": ["hi"]}), "input[0]"),
        (json!({"input": [{"role": "tool", "content": "x"}]}), "input[0].role"),
    ] {
        assert_eq!(refused(Dialect::Responses, &body), param, "{body}");
    }
    assert_eq!(read(Dialect::Responses, &json!({"previous_response_id": "r"})), []);
}

#[test]
fn system_texts_are_recognised_and_not_stored() {
    let bytes = json!({"messages": [
        {"role": "system", "content": "a"}, {"role": "developer", "content": "b"}, {"role": "user", "content": "c"}]})
    .to_string();
    let body = Body::parse(bytes.as_bytes()).unwrap();
    let conversation = Dialect::Chat.read_conversation(&body, &origin(Dialect::Chat)).unwrap();
    let systems = conversation.units.iter().filter(|unit| unit.content == Content::System).count();
    assert_eq!((systems, prompt::messages(&conversation).len()), (2, 1));
}

/// The request with the items woven in, as JSON.
fn woven(dialect: Dialect, text: &str, items: &[Item]) -> String {
    let body = Body::parse(text.as_bytes()).unwrap();
    let conversation = dialect.read_conversation(&body, &origin(dialect)).unwrap();
    let edit = prompt::edit(dialect, &body, &conversation, items, "openai");
    String::from_utf8(body.edited(edit.into_iter().collect())).unwrap()
}

fn said(role: Role, text: &str) -> Message {
    Message::new(role, vec![Part::text(text)])
}

#[test]
fn history_comes_behind_the_callers_system_texts_and_ahead_of_the_new_message() {
    let text = r#"{"messages" : [ {"role":"system","content":"s"},  {"role":"user", "content":"é" ,"x":1e400} ],"z":0}"#;
    let items = [
        Item::Insert(said(Role::User, "before")),
        Item::Insert(said(Role::Assistant, "answer")),
        Item::Keep(0),
    ];
    assert_eq!(
        woven(Dialect::Chat, text, &items),
        r#"{"messages" : [{"role":"system","content":"s"},{"role":"user","content":"before"},{"role":"assistant","content":"answer"},{"role":"user", "content":"é" ,"x":1e400}],"z":0}"#
    );
    assert_eq!(woven(Dialect::Chat, text, &[Item::Keep(0)]), text, "nothing to add, nothing touched");
}

#[test]
fn a_system_text_further_down_stays_in_front_of_its_message() {
    let text = r#"{"messages":[{"role":"user","content":"1"},{"role":"system","content":"s"},{"role":"user","content":"2"},{"role":"system","content":"t"}]}"#;
    let items =
        [Item::Replace(0, said(Role::User, "one")), Item::Insert(said(Role::Assistant, "a")), Item::Keep(1)];
    assert_eq!(
        woven(Dialect::Chat, text, &items),
        r#"{"messages":[{"role":"user","content":"one"},{"role":"assistant","content":"a"},{"role":"system","content":"s"},{"role":"user","content":"2"},{"role":"system","content":"t"}]}"#
    );
}

#[test]
fn a_bare_string_of_input_becomes_a_message_when_history_joins_it() {
    let text = r#"{"input":"caf\u00e9?","model":"m"}"#;
    let items = [Item::Insert(said(Role::User, "before")), Item::Keep(0)];
    assert_eq!(
        woven(Dialect::Responses, text, &items),
        r#"{"input":[{"role":"user","content":"before"},{"role":"user","content":"caf\u00e9?"}],"model":"m"}"#
    );
    let prompt_only = r#"{"prompt":{"id":"p"},"model":"m"}"#;
    assert_eq!(
        woven(Dialect::Responses, prompt_only, &[Item::Insert(said(Role::User, "before"))]),
        r#"{"input":[{"role":"user","content":"before"}],"prompt":{"id":"p"},"model":"m"}"#
    );
}

fn observe(dialect: Dialect, chunks: &[&[u8]], at_end: bool) -> Answer {
    let mut observer = Observer::new(origin(dialect));
    for chunk in chunks {
        observer.push(chunk);
    }
    observer.finish(at_end)
}

/// The stream's answer, the same however it is cut.
fn streamed(dialect: Dialect, stream: &str) -> Answer {
    let bytes = stream.as_bytes();
    let whole = observe(dialect, &[bytes], true);
    for size in [1, 2, 3, 7, 64] {
        assert_eq!(
            observe(dialect, &bytes.chunks(size).collect::<Vec<_>>(), true),
            whole,
            "chunks of {size}"
        );
    }
    for cut in 0..=bytes.len() {
        let (head, tail) = bytes.split_at(cut);
        assert_eq!(observe(dialect, &[head, tail], true), whole, "cut at {cut}");
    }
    whole
}

fn kinds(answer: &Answer) -> Vec<PartKind> {
    answer.message.iter().flat_map(|message| &message.parts).map(|part| part.kind.clone()).collect()
}

fn call(id: &str, name: &str, arguments: &str) -> PartKind {
    PartKind::ToolCall(ToolCall {
        id: id.into(),
        name: name.into(),
        arguments: arguments.into(),
        custom: false,
    })
}

fn fixture(name: &str) -> String {
    std::fs::read_to_string(format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn a_streamed_chat_answer_is_put_together() {
    let answer = streamed(Dialect::Chat, &fixture("chat/text.sse"));
    assert_eq!(kinds(&answer), [PartKind::Text("Grüße, Alex! 👋".into())]);
    assert_eq!(answer.usage, Some(Usage { input: 21, output: 9, cached: 16, cache_write: 0, reasoning: 2 }));
    assert_eq!((answer.stop, answer.ending), (Some(Stop::End), Ending::Complete));
}

#[test]
fn interleaved_tool_calls_of_a_streamed_chat_answer_are_told_apart() {
    let answer = streamed(Dialect::Chat, &fixture("chat/parallel-tools.sse"));
    assert_eq!(
        kinds(&answer),
        [
            PartKind::Text("Checking.".into()),
            call("call_a", "weather", "{\"city\":\"Paris\"}"),
            call("call_b", "weather", "{\"city\":\"Rome\"}"),
        ]
    );
    assert_eq!(answer.stop, Some(Stop::ToolCalls));
}

#[test]
fn a_chat_stream_without_its_closing_word_is_whole_if_it_gave_a_reason_to_stop() {
    let text = fixture("chat/text.sse");
    let unclosed = text.replace("data: [DONE]\n\n", "");
    assert_eq!(observe(Dialect::Chat, &[unclosed.as_bytes()], true).ending, Ending::Complete);
    assert_eq!(observe(Dialect::Chat, &[unclosed.as_bytes()], false).ending, Ending::Truncated);
    let (head, _) = text.split_at(text.find("finish_reason\":\"stop").unwrap());
    let cut = observe(Dialect::Chat, &[head.as_bytes()], true);
    assert_eq!((cut.ending, kinds(&cut).len()), (Ending::Truncated, 1));
}

#[test]
fn an_error_inside_a_stream_is_a_failure_that_keeps_what_was_said() {
    let stream = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Half\"}}]}\n\n\
                  data: {\"error\":{\"message\":\"overloaded\",\"code\":529}}\n\n";
    let answer = streamed(Dialect::Chat, stream);
    assert_eq!((kinds(&answer), answer.ending), (vec![PartKind::Text("Half".into())], Ending::Failed));
}

#[test]
fn a_streamed_responses_answer_is_put_together() {
    let answer = streamed(Dialect::Responses, &fixture("responses/tool-call.sse"));
    let parts = kinds(&answer);
    assert!(matches!(&parts[0], PartKind::Reasoning(reasoning)
        if reasoning.sealed.as_deref() == Some("sealed==") && reasoning.id.as_deref() == Some("rs_1")));
    assert_eq!(
        parts[1..],
        [PartKind::Text("Let me look.".into()), call("call_1", "weather", "{\"city\":\"Paris\"}")]
    );
    assert_eq!(answer.usage, Some(Usage { input: 40, output: 20, cached: 8, cache_write: 0, reasoning: 5 }));
    assert_eq!((answer.stop, answer.ending), (Some(Stop::ToolCalls), Ending::Complete));
}

#[test]
fn a_responses_stream_that_stops_early_keeps_what_was_said() {
    let text = fixture("responses/tool-call.sse");
    let (head, _) = text.split_at(text.find("event: response.completed").unwrap());
    let answer = observe(Dialect::Responses, &[head.as_bytes()], true);
    assert_eq!(answer.ending, Ending::Truncated);
    let parts = kinds(&answer);
    assert_eq!(
        parts[1..],
        [PartKind::Text("Let me look.".into()), call("call_1", "weather", "{\"city\":\"Paris\"}")]
    );
}

#[test]
fn a_responses_stream_may_end_incomplete_or_failed() {
    let event = |kind: &str, response: Value| {
        format!("event: {kind}\ndata: {}\n\n", json!({"type": kind, "response": response}))
    };
    let item = json!([{"type": "message", "content": [{"type": "output_text", "text": "cut"}]}]);
    let length = event(
        "response.incomplete",
        json!({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}, "output": item}),
    );
    let answer = streamed(Dialect::Responses, &length);
    assert_eq!((answer.stop, answer.ending), (Some(Stop::Length), Ending::Complete));
    let failed = event(
        "response.failed",
        json!({"status": "failed", "error": {"code": "server_error"}, "output": []}),
    );
    assert_eq!(streamed(Dialect::Responses, &failed).ending, Ending::Failed);
}

#[test]
fn whole_answers_are_read_alike() {
    let chat = json!({"choices": [{"index": 0, "finish_reason": "length", "message": {"role": "assistant", "content": "hi"}}],
                      "usage": {"prompt_tokens": 3, "completion_tokens": 1}});
    let answer = Dialect::Chat.read_answer(chat.to_string().as_bytes(), &origin(Dialect::Chat)).unwrap();
    assert_eq!((kinds(&answer), answer.stop), (vec![PartKind::Text("hi".into())], Some(Stop::Length)));
    assert_eq!(answer.usage, Some(Usage { input: 3, output: 1, cached: 0, cache_write: 0, reasoning: 0 }));
    let failed = json!({"error": {"message": "no"}, "choices": []});
    let answer = Dialect::Chat.read_answer(failed.to_string().as_bytes(), &origin(Dialect::Chat)).unwrap();
    assert_eq!((answer.ending, answer.message), (Ending::Failed, None));
    assert_eq!(Dialect::Chat.read_answer(b"<html>", &origin(Dialect::Chat)), None);
    assert_eq!(Dialect::Chat.read_answer(b"{\"ok\":true}", &origin(Dialect::Chat)), None);
}
