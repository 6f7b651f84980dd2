//! Responses.

use memory_gateway::dialect::Dialect;
use memory_gateway::memory::context::Item;
use memory_gateway::turn::{Ending, PartKind, Role, Stop, Usage};
use serde_json::{Value, json};

use super::{call, fixture, kinds, observe, read, said, streamed, woven};

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
        {"role": "assistant", "content": "I will call.", "phase": "commentary"},
        {"type": "reasoning", "id": "rs_2", "summary": [], "content": [{"type": "reasoning_text", "text": "shown"}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}", "namespace": "n"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "g", "input": "free"},
        {"type": "function_call_output", "call_id": "c1", "output": "one"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": [
            {"type": "input_text", "text": "x"}, {"type": "input_image", "image_url": "https://x.test/i.png", "detail": "auto"},
        ]},
        {"role": "assistant", "content": "one"},
        {"role": "assistant", "content": "two", "phase": "final_answer"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}},
    ]);
    let messages = read(Dialect::Responses, &json!({ "input": sent }));
    assert_eq!(messages.len(), 6, "neighbouring items of the assistant are one message");
    let back: Vec<Value> =
        messages.iter().flat_map(|message| Dialect::Responses.write_message(message, "openai")).collect();
    assert_eq!(Value::from(back), sent);
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
    assert_eq!(
        answer.usage,
        Some(Usage { input: 40, output: 20, cached: 8, cache_write: 0, cache_write_1h: 0, reasoning: 5 })
    );
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
fn tools_that_are_added_on_the_way_are_the_callers_and_not_stored() {
    let messages = read(
        Dialect::Responses,
        &json!({"input": [
            {"role": "user", "content": "q"},
            {"type": "additional_tools", "role": "developer", "tools": []},
            {"role": "assistant", "content": "a"},
        ]}),
    );
    assert_eq!(
        messages.iter().map(|message| message.role).collect::<Vec<_>>(),
        [Role::User, Role::Assistant]
    );
}

#[test]
fn an_event_too_large_to_be_read_leaves_what_was_said_and_does_not_count_as_a_cut() {
    let text = fixture("responses/tool-call.sse");
    let (head, _) = text.split_at(text.find("event: response.completed").unwrap());
    let huge = format!(
        "event: response.completed\ndata: {{\"type\":\"response.completed\",\"pad\":\"{}\"}}\n\n",
        "x".repeat(memory_gateway::sse::MAX_EVENT_BYTES)
    );
    let chunks = [head.as_bytes(), huge.as_bytes()];
    let answer = observe(Dialect::Responses, &chunks, true);
    assert_eq!((answer.ending, kinds(&answer).len()), (Ending::Unread, 3));
    assert_eq!(observe(Dialect::Responses, &chunks, false).ending, Ending::Truncated);
}
