//! Posted messages in the forms of the clients that exist.

use memory_gateway::memory::api::messages;
use memory_gateway::memory::public;
use memory_gateway::protocol::PublicMessage;
use memory_gateway::turn::{PartKind, Source};
use serde_json::{Value, json};

use crate::support::short;

/// The messages that a body holds, as `id|short form`.
fn read(messages: Value) -> Result<Vec<String>, String> {
    let body = json!({ "messages": messages }).to_string();
    messages::read(body.as_bytes())
        .map(|posted| {
            let line = |id: &Option<String>, text: String| format!("{}|{text}", id.as_deref().unwrap_or(""));
            posted.iter().map(|posted| line(&posted.id, short(&posted.message))).collect()
        })
        .map_err(|error| error.body()["error"]["param"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn each_clients_calls_and_results_become_the_same_messages() {
    let same = ["m|a:Let me see.[add](c1)".to_owned(), "m.1|t:c1:5".to_owned()];
    let text = json!({ "type": "text", "text": "Let me see." });
    for (client, parts) in [
        (
            "the gateway itself",
            json!([
                text,
                { "type": "tool_call", "toolCallId": "c1", "toolName": "add", "arguments": "{}" },
                { "type": "tool_result", "toolCallId": "c1", "content": [{ "type": "text", "text": "5" }] },
            ]),
        ),
        (
            "the AI SDK's model messages",
            json!([
                text,
                { "type": "tool-call", "toolCallId": "c1", "toolName": "add", "input": {} },
                { "type": "tool-result", "toolCallId": "c1", "toolName": "add", "output": { "type": "json", "value": 5 } },
            ]),
        ),
        (
            "the AI SDK's parts of a user interface",
            json!([
                { "type": "step-start" },
                text,
                { "type": "tool-add", "toolCallId": "c1", "state": "output-available", "input": {}, "output": 5 },
            ]),
        ),
        (
            "Mastra",
            json!([
                text,
                { "type": "tool-invocation", "toolInvocation": {
                    "state": "result", "toolCallId": "c1", "toolName": "add", "args": {}, "result": "5" } },
            ]),
        ),
        (
            "Anthropic",
            json!([
                text,
                { "type": "tool_use", "id": "c1", "name": "add", "input": {} },
                { "type": "tool_result", "tool_use_id": "c1", "content": "5" },
            ]),
        ),
    ] {
        for content in [parts.clone(), json!({ "format": 2, "parts": parts })] {
            let messages = json!([{ "id": "m", "role": "assistant", "content": content }]);
            assert_eq!(read(messages).as_deref(), Ok(&same[..]), "{client}");
        }
    }
    let openai = json!([
        { "role": "assistant", "id": "m", "content": "Let me see.",
          "tool_calls": [{ "id": "c1", "type": "function", "function": { "name": "add", "arguments": "{}" } }] },
        { "role": "tool", "id": "m.1", "tool_call_id": "c1", "content": "5" },
    ]);
    assert_eq!(read(openai).as_deref(), Ok(&same[..]));
}

#[test]
fn what_the_api_gives_out_can_be_posted_again_and_is_the_same() {
    let body = json!({ "messages": [
        { "role": "user", "id": "1", "createdAt": "2026-11-26T12:00:00.123Z", "content": [
            { "type": "text", "text": "Look" },
            { "type": "image_url", "image_url": { "url": "https://example.com/a.png" } },
            { "type": "image", "image": "data:image/png;base64,AAAA" },
            { "type": "input_audio", "input_audio": { "data": "BBBB", "format": "wav" } },
            { "type": "file", "file": { "file_id": "file-1", "filename": "a.pdf" } },
            { "type": "file", "data": "CCCC", "mediaType": "application/pdf", "filename": "b.pdf" },
        ] },
        { "role": "assistant", "id": "2", "content": [
            { "type": "reasoning", "text": "Hm." },
            { "type": "refusal", "refusal": "No." },
            { "type": "tool_call", "toolCallId": "c", "toolName": "t", "arguments": "{\"a\":1}" },
        ] },
        { "role": "tool", "id": "3", "content": [
            { "type": "tool_result", "toolCallId": "c", "content": [{ "type": "text", "text": "done" }] },
        ] },
    ] });
    let posted = messages::read(body.to_string().as_bytes()).unwrap();
    let given_out: Vec<Value> = posted
        .iter()
        .map(|posted| {
            let message = PublicMessage {
                id: posted.id.clone().unwrap(),
                created_at: posted.created_at.unwrap_or(7),
                incomplete: false,
                message: posted.message.clone(),
            };
            public::public("t", &message)
        })
        .collect();
    let again = messages::read(json!({ "messages": given_out }).to_string().as_bytes()).unwrap();
    let hashes = |all: &[memory_gateway::protocol::Posted]| {
        all.iter().map(|one| (one.id.clone(), one.message.content_hash())).collect::<Vec<_>>()
    };
    assert_eq!(hashes(&posted), hashes(&again));
    assert_eq!(posted[0].created_at, Some(1_795_694_400_123));
    let sources: Vec<Source> = posted[0].message.parts[1..]
        .iter()
        .map(|part| match &part.kind {
            PartKind::Image(media) | PartKind::Audio(media) | PartKind::File(media) => media.source.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    let data = |text: &str| Source::Data(text.into());
    assert_eq!(
        sources,
        [
            Source::Url("https://example.com/a.png".into()),
            data("AAAA"),
            data("BBBB"),
            Source::FileId("file-1".into()),
            data("CCCC"),
        ]
    );
}

#[test]
fn what_cannot_be_kept_is_refused_by_the_path_of_its_field() {
    let message = |fields: Value| json!([{ "role": "user", "content": "fine" }, fields]);
    for (messages, param) in [
        (json!([]), "messages"),
        (json!("hello"), "messages"),
        (Value::from(vec![json!({ "role": "user", "content": "x" }); 1_001]), "messages"),
        (json!([7]), "messages[0]"),
        (message(json!({ "content": "x" })), "messages[1].role"),
        (message(json!({ "role": "system", "content": "x" })), "messages[1].role"),
        (message(json!({ "role": "user" })), "messages[1].content"),
        (message(json!({ "role": "user", "content": "" })), "messages[1].content"),
        (message(json!({ "role": "user", "content": 7 })), "messages[1].content"),
        (message(json!({ "role": "user", "content": [7] })), "messages[1].content[0]"),
        (
            message(json!({ "role": "user", "content": [{ "type": "hologram" }] })),
            "messages[1].content[0].type",
        ),
        (message(json!({ "role": "user", "content": [{ "type": "text" }] })), "messages[1].content[0].text"),
        (message(json!({ "role": "user", "content": [{ "type": "image" }] })), "messages[1].content[0].url"),
        (message(json!({ "role": "user", "content": { "format": 2 } })), "messages[1].content.parts"),
        (message(json!({ "role": "tool", "content": "x" })), "messages[1].tool_call_id"),
        (
            message(json!({ "role": "assistant", "content": [{ "type": "tool-call", "toolName": "t" }] })),
            "messages[1].content[0].toolCallId",
        ),
        (
            message(json!({ "role": "assistant", "tool_calls": [{ "id": "c", "function": {} }] })),
            "messages[1].tool_calls[0].function.name",
        ),
        (message(json!({ "role": "user", "content": "x", "id": 7 })), "messages[1].id"),
        (message(json!({ "role": "user", "content": "x", "id": "x".repeat(513) })), "messages[1].id"),
        (message(json!({ "role": "user", "content": "x", "type": 7 })), "messages[1].type"),
        (
            message(json!({ "role": "user", "content": "x", "createdAt": "yesterday" })),
            "messages[1].createdAt",
        ),
    ] {
        assert_eq!(read(messages), Err(param.to_owned()));
    }
}
