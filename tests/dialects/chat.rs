//! Chat Completions.

use memory_gateway::dialect::Dialect;
use memory_gateway::turn::{Ending, PartKind, Stop, Usage};
use serde_json::{Value, json};

use super::{call, fixture, kinds, observe, origin, read, streamed};

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
        {"role": "tool", "tool_call_id": "c1", "content": "one", "name": "f"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "x"}, {"type": "text", "text": "y"}]},
        {"role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [
            {"id": "c3", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "assistant", "content": null, "reasoning": "so", "tool_calls": [
            {"id": "c4", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
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
fn what_belongs_to_one_provider_is_not_sent_to_another() {
    let messages = read(Dialect::Chat, &json!({ "messages": chat_messages() }));
    let elsewhere: Vec<Value> =
        messages.iter().flat_map(|message| Dialect::Chat.write_message(message, "google")).collect();
    let text = Value::from(elsewhere).to_string();
    for private in [
        "cache_control",
        "thought_signature",
        "video_url",
        "annotations",
        "reasoning",
        "\"function\",\"name\":\"old\"",
    ] {
        assert!(!text.contains(private), "{private}");
    }
    assert!(text.contains("look") && text.contains("{\\\"a\\\":1}") && text.contains("free text"));
}

#[test]
fn a_streamed_chat_answer_is_put_together() {
    let answer = streamed(Dialect::Chat, &fixture("chat/text.sse"));
    assert_eq!(kinds(&answer), [PartKind::Text("Grüße, Alex! 👋".into())]);
    assert_eq!(
        answer.usage,
        Some(Usage { input: 21, output: 9, cached: 16, cache_write: 0, cache_write_1h: 0, reasoning: 2 })
    );
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
fn whole_answers_are_read_alike() {
    let chat = json!({"choices": [{"index": 0, "finish_reason": "length", "message": {"role": "assistant", "content": "hi"}}],
                      "usage": {"prompt_tokens": 3, "completion_tokens": 1}});
    let answer = Dialect::Chat.read_answer(chat.to_string().as_bytes(), &origin(Dialect::Chat)).unwrap();
    assert_eq!((kinds(&answer), answer.stop), (vec![PartKind::Text("hi".into())], Some(Stop::Length)));
    assert_eq!(
        answer.usage,
        Some(Usage { input: 3, output: 1, cached: 0, cache_write: 0, cache_write_1h: 0, reasoning: 0 })
    );
    let failed = json!({"error": {"message": "no"}, "choices": []});
    let answer = Dialect::Chat.read_answer(failed.to_string().as_bytes(), &origin(Dialect::Chat)).unwrap();
    assert_eq!((answer.ending, answer.message), (Ending::Failed, None));
    assert_eq!(Dialect::Chat.read_answer(b"<html>", &origin(Dialect::Chat)), None);
    assert_eq!(Dialect::Chat.read_answer(b"{\"ok\":true}", &origin(Dialect::Chat)), None);
}
