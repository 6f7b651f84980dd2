//! Reading and writing each dialect: requests, whole answers, streams.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

mod chat;
mod chat_answer;
mod chat_request;
mod google;
mod google_answer;
mod messages;
mod messages_answer;
mod messages_request;
mod responses;
mod responses_answer;
mod responses_request;
mod steps;

use memory_gateway::body::Body;
use memory_gateway::dialect::{Content, Dialect};
use memory_gateway::memory::context::Item;
use memory_gateway::observe::Observer;
use memory_gateway::prompt::{self, Target};
use memory_gateway::protocol::Injection;
use memory_gateway::turn::{Answer, Message, Origin, Part, PartKind, Role, ToolCall};
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
    let systems =
        conversation.units.iter().filter(|unit| matches!(unit.content, Content::Instruction(_))).count();
    assert_eq!((systems, prompt::messages(&conversation).len()), (2, 1));
}

/// The request with the items woven in, as JSON.
fn woven(dialect: Dialect, text: &str, items: &[Item]) -> String {
    let body = Body::parse(text.as_bytes()).unwrap();
    let conversation = dialect.read_conversation(&body, &origin(dialect)).unwrap();
    let target = Target { provider: "openai", model: "gpt" };
    let edits = prompt::edit(dialect, &body, &conversation, items, &Injection::default(), target);
    String::from_utf8(body.edited(edits)).unwrap()
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
        ..ToolCall::default()
    })
}

fn fixture(name: &str) -> String {
    std::fs::read_to_string(format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}
