//! Messages.

use memory_gateway::body::Body;
use memory_gateway::dialect::Dialect;
use memory_gateway::error::Error;
use memory_gateway::memory::context::Item;
use memory_gateway::turn::{
    Answer, Ending, Message, Origin, Part, PartKind, Reasoning, Role, Stop, ToolResult, Usage,
};
use serde_json::{Value, json};

use super::{call, fixture, kinds, observe, origin, read, refused, said, streamed, woven};

fn written(messages: &[Message], provider: &str) -> Vec<Value> {
    messages.iter().flat_map(|message| Dialect::Messages.write_message(message, provider)).collect()
}

/// Elements that come back from the store exactly as they were sent.
fn elements() -> Value {
    json!([
        {"role": "user", "content": "plain"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "user", "content": [
            {"type": "text", "text": "look", "cache_control": {"type": "ephemeral"}},
            {"type": "image", "source": {"type": "url", "url": "https://x.test/i.png"}},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
            {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"},
             "title": "a.pdf", "context": "c", "citations": {"enabled": true}},
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Grüße"}},
            {"type": "document", "source": {"type": "content", "content": "whole"}},
            {"type": "container_upload", "file_id": "file_2"},
        ]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "signed-thought"},
            {"type": "redacted_thinking", "data": "sealed-thought"},
            {"type": "text", "text": "cited", "citations": [{"type": "page_location", "cited_text": "x"}]},
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}},
            {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [
                {"type": "web_search_result", "url": "https://x.test", "title": "t", "encrypted_content": "found"}]},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"b": 1.50, "a": {}}, "caller": {"type": "direct"}},
            {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": "one", "cache_control": {"type": "ephemeral"}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_2", "is_error": true, "content": [
                {"type": "text", "text": "x"},
                {"type": "image", "source": {"type": "url", "url": "https://x.test/i.png"}},
                {"type": "tool_reference", "tool_name": "h"}]}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_3"}]},
        {"role": "assistant", "content": "done"},
    ])
}

#[test]
fn messages_come_back_as_they_were_sent() {
    let sent = elements();
    let messages = read(Dialect::Messages, &json!({ "messages": sent }));
    assert_eq!(Value::from(written(&messages, "openai")), sent);
}

#[test]
fn what_belongs_to_one_provider_is_not_sent_to_another() {
    let messages = read(Dialect::Messages, &json!({ "messages": elements() }));
    let chat: Vec<Value> =
        messages.iter().flat_map(|message| Dialect::Chat.write_message(message, "openai")).collect();
    let responses: Vec<Value> =
        messages.iter().flat_map(|message| Dialect::Responses.write_message(message, "openai")).collect();
    for text in [written(&messages, "openrouter"), chat, responses].map(|all| Value::from(all).to_string()) {
        for private in [
            "signed-thought",
            "sealed-thought",
            "found",
            "cited_text",
            "cache_control",
            "container_upload",
            "caller",
        ] {
            assert!(!text.contains(private), "{private}: {text}");
        }
        assert!(text.contains("look") && text.contains("cited") && text.contains("toolu_1"));
    }
}

#[test]
fn a_users_results_and_words_are_messages_of_their_own() {
    let messages = read(
        Dialect::Messages,
        &json!({"messages": [{"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "a", "content": "1"},
            {"type": "tool_result", "tool_use_id": "b", "content": "2"},
            {"type": "text", "text": "and"}, {"type": "text", "text": "now?"},
        ]}]}),
    );
    let roles: Vec<Role> = messages.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::Tool, Role::Tool, Role::User]);
    assert_eq!((messages[1].tool_results().count(), messages[2].parts.len()), (1, 2));
}

#[test]
fn one_conversation_reads_the_same_in_all_dialects() {
    let chat = read(
        Dialect::Chat,
        &json!({"messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": [
                {"type": "text", "text": "q"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                {"type": "file", "file": {"file_data": "data:text/plain;base64,R3LDvMOfZQ==", "filename": "g.txt"}}]},
            {"role": "assistant", "content": "let me see", "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"b\": 2.0, \"a\":\"\\u00e9\"}"}},
                {"id": "c2", "type": "function", "function": {"name": "g", "arguments": ""}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "r"},
            {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "x"}, {"type": "text", "text": "y"}]},
            {"role": "user", "content": "and now?"},
        ]}),
    );
    let responses = read(
        Dialect::Responses,
        &json!({"instructions": "s", "input": [
            {"role": "user", "content": [
                {"type": "input_text", "text": "q"},
                {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
                {"type": "input_file", "file_data": "data:text/plain;base64,R3LDvMOfZQ==", "filename": "g.txt"}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "let me see"}]},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{\"a\":\"é\",\"b\":2.0}"},
            {"type": "function_call", "call_id": "c2", "name": "g", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "r"},
            {"type": "function_call_output", "call_id": "c2", "output": [
                {"type": "input_text", "text": "x"}, {"type": "input_text", "text": "y"}]},
            {"role": "user", "content": "and now?"},
        ]}),
    );
    let messages = read(
        Dialect::Messages,
        &json!({"system": "s", "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "q"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
                {"type": "document", "title": "g.txt", "source": {"type": "text", "media_type": "text/plain", "data": "Grüße"}}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "sig"},
                {"type": "text", "text": "let me see"},
                {"type": "tool_use", "id": "c1", "name": "f", "input": {"b": 2.0, "a": "é"}},
                {"type": "tool_use", "id": "c2", "name": "g", "input": {}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "r"}]},
                {"type": "tool_result", "tool_use_id": "c2", "content": [
                    {"type": "text", "text": "x"}, {"type": "text", "text": "y"}]},
                {"type": "text", "text": "and now?"}]},
        ]}),
    );
    let hashes = |messages: &[Message]| messages.iter().map(Message::content_hash).collect::<Vec<_>>();
    assert_eq!(hashes(&chat), hashes(&responses));
    assert_eq!(hashes(&chat), hashes(&messages));
    for (from, to) in
        [(&chat, Dialect::Messages), (&messages, Dialect::Chat), (&messages, Dialect::Responses)]
    {
        let field = to.conversation_field();
        let crossed: Vec<Value> = from.iter().flat_map(|message| to.write_message(message, "p")).collect();
        assert_eq!(hashes(&read(to, &json!({ field: crossed }))), hashes(from), "{to:?}");
    }
}

#[test]
fn what_another_dialect_stored_is_written_as_the_api_takes_it() {
    let result = |id: &str| {
        let content = vec![Part::text("r")];
        let result = ToolResult { call_id: id.into(), content, custom: false, is_error: false };
        Message::new(Role::Tool, vec![PartKind::ToolResult(result).into()])
    };
    let free = PartKind::ToolCall(memory_gateway::turn::ToolCall {
        id: "c".into(),
        name: "free".into(),
        arguments: "some text".into(),
        custom: true,
        sealed: None,
    });
    let unsigned = Reasoning { text: "hm".into(), ..Reasoning::default() };
    let mut thought = Message::new(Role::Assistant, vec![PartKind::Reasoning(unsigned).into()]);
    thought.origin = Some(Origin { dialect: Dialect::Messages, provider: "anthropic".into() });
    let stored = [
        said(Role::Assistant, " \n"),
        thought,
        Message::new(Role::Assistant, vec![Part::text(""), PartKind::Refusal("I cannot.".into()).into()]),
        Message::new(
            Role::Assistant,
            vec![call("functions.f:0", "a.b", "[1]").into(), call("", "torn", "{\"a").into(), free.into()],
        ),
        result("functions.f:0"),
    ];
    assert_eq!(
        Value::from(written(&stored, "anthropic")),
        json!([
            {"role": "assistant", "content": [{"type": "text", "text": "I cannot."}]},
            {"role": "assistant", "content": [
                {"type": "tool_use", "id": "functions_f_0", "name": "a_b", "input": {"input": [1]}},
                {"type": "tool_use", "id": "_", "name": "torn", "input": {"input": "{\"a"}},
                {"type": "tool_use", "id": "c", "name": "free", "input": {"input": "some text"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "functions_f_0", "content": "r"}]},
        ])
    );
}

#[test]
fn a_request_that_continues_a_thread_of_the_provider_leans_on_it_and_may_add_nothing() {
    let continues = |body: &Value| {
        let text = body.to_string();
        Dialect::Messages.continues_upstream(&Body::parse(text.as_bytes()).unwrap())
    };
    let thread = json!({"type": "continue", "id": "thread_1"});
    let nothing = json!({"thread": thread, "messages": []});
    assert!(continues(&nothing));
    assert_eq!(read(Dialect::Messages, &nothing), []);
    for messages in [Value::Null, json!("hi"), json!({})] {
        assert_eq!(refused(Dialect::Messages, &json!({"thread": thread, "messages": messages})), "messages");
    }
    for thread in
        [Value::Null, json!("continue"), json!({}), json!({"type": "new"}), json!({"type": ["continue"]})]
    {
        let body = json!({"thread": thread, "messages": []});
        assert!(!continues(&body), "{body}");
        assert_eq!(refused(Dialect::Messages, &body), "messages", "{body}");
    }
    assert!(!continues(&json!({"messages": []})));
}

#[test]
fn a_remembered_conversation_that_begins_with_the_assistant_gets_words_of_the_user_before_it() {
    let text = r#"{"messages":[{"role":"user", "content":"q"}]}"#;
    let told = Item::Insert(said(Role::Assistant, "a"));
    let opened = r#"{"messages":[{"role":"user","content":"…"},{"role":"assistant","content":"a"},{"role":"user", "content":"q"}]}"#;
    let blank = Item::Insert(said(Role::User, ""));
    assert_eq!(woven(Dialect::Messages, text, &[told.clone(), Item::Keep(0)]), opened);
    assert_eq!(woven(Dialect::Messages, text, &[blank, told.clone(), Item::Keep(0)]), opened, "a blank text");
    let led = r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":"q"}]}"#;
    assert_eq!(
        woven(Dialect::Messages, led, &[told.clone(), Item::Keep(0)]),
        r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":"…"},{"role":"assistant","content":"a"},{"role":"user","content":"q"}]}"#
    );
    let asked = [Item::Insert(said(Role::User, "u")), told.clone(), Item::Keep(0)];
    assert!(!woven(Dialect::Messages, text, &asked).contains('…'));
    assert!(!woven(Dialect::Chat, text, &[told, Item::Keep(0)]).contains('…'), "others take it");
    let own = r#"{"messages":[{"role":"assistant","content":"a"},{"role":"user","content":"q"}]}"#;
    assert_eq!(woven(Dialect::Messages, own, &[Item::Keep(0), Item::Keep(1)]), own, "nothing remembered");
}

#[test]
fn malformed_messages_are_refused_by_field() {
    for (body, param) in [
        (json!({}), "messages"),
        (json!({"messages": []}), "messages"),
        (json!({"messages": [1]}), "messages[0]"),
        (json!({"messages": [{"role": "user", "content": "x"}, {"role": "tool"}]}), "messages[1].role"),
        (json!({"messages": [{"content": "x"}]}), "messages[0].role"),
    ] {
        assert_eq!(refused(Dialect::Messages, &body), param, "{body}");
    }
    let between = json!({"messages": [{"role": "user", "content": "x"}, {"role": "system", "content": "s"}]});
    assert_eq!(read(Dialect::Messages, &between).len(), 1, "a system text between the messages is forwarded");
    let lenient =
        json!({"messages": [{"role": "user"}, {"role": "assistant", "content": [1, {"type": "text"}]}]});
    assert_eq!(read(Dialect::Messages, &lenient).len(), 2);
}

fn stored_result(id: &str) -> Message {
    let content = vec![Part::text(format!("result of {id}"))];
    let result = ToolResult { call_id: id.into(), content, custom: false, is_error: false };
    Message::new(Role::Tool, vec![PartKind::ToolResult(result).into()])
}

#[test]
fn all_results_of_a_turn_stand_in_one_element() {
    let text = r#"{"system":"s","messages":[{"content":[{"type":"tool_result", "tool_use_id":"b"},{"type":"text","text":"go"}],"role":"user"}]}"#;
    let calls = Message::new(Role::Assistant, vec![call("a", "f", "{}").into(), call("b", "f", "{}").into()]);
    let items = [Item::Insert(calls), Item::Insert(stored_result("a")), Item::Keep(0), Item::Keep(1)];
    assert_eq!(
        woven(Dialect::Messages, text, &items),
        concat!(
            r#"{"system":"s","messages":[{"role":"user","content":"…"},{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":{}},"#,
            r#"{"type":"tool_use","id":"b","name":"f","input":{}}]},"#,
            r#"{"content":[{"type":"tool_result","tool_use_id":"a","content":"result of a"},"#,
            r#"{"type":"tool_result", "tool_use_id":"b"},{"type":"text","text":"go"}],"role":"user"}]}"#
        )
    );
}

#[test]
fn an_element_keeps_its_bytes_unless_something_comes_into_its_middle() {
    let text = r#"{"messages":[{"role":"user","content":"q"},{"role":"user","content":[{"tool_use_id":"a","type":"tool_result"},{"text":"go","type":"text"}]}]}"#;
    let before = Item::Insert(said(Role::Assistant, "answer"));
    let whole = [Item::Keep(0), before.clone(), Item::Keep(1), Item::Keep(2)];
    assert_eq!(
        woven(Dialect::Messages, text, &whole),
        r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"answer"},{"role":"user","content":[{"tool_use_id":"a","type":"tool_result"},{"text":"go","type":"text"}]}]}"#
    );
    let parted = [Item::Keep(0), Item::Keep(1), before.clone(), Item::Keep(2)];
    assert_eq!(
        woven(Dialect::Messages, text, &parted),
        r#"{"messages":[{"role":"user","content":"q"},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a"}]},{"role":"assistant","content":"answer"},{"role":"user","content":"go"}]}"#
    );
    let without = [Item::Keep(0), before, Item::Keep(2)];
    assert_eq!(
        woven(Dialect::Messages, text, &without),
        r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"answer"},{"role":"user","content":"go"}]}"#
    );
    let unchanged = [Item::Keep(0), Item::Keep(1), Item::Keep(2)];
    assert_eq!(woven(Dialect::Messages, text, &unchanged), text);
}

/// The blocks that the answer becomes in the next request.
fn replayed(answer: &Answer) -> Value {
    written(answer.message.as_slice(), "openai")
        .first()
        .map(|element| element["content"].clone())
        .unwrap_or_default()
}

#[test]
fn what_is_cached_for_an_hour_is_counted_apart() {
    let answer = |usage: &str| {
        let text = format!(
            r#"{{"type":"message","role":"assistant","content":[],"stop_reason":"end_turn","usage":{usage}}}"#
        );
        let origin = Origin { dialect: Dialect::Messages, provider: "anthropic".into() };
        Dialect::Messages.read_answer(text.as_bytes(), &origin).unwrap().usage.unwrap()
    };
    let counted = answer(
        r#"{"input_tokens":5,"cache_creation_input_tokens":30,"cache_read_input_tokens":0,"output_tokens":2,
            "cache_creation":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20}}"#,
    );
    let expected =
        Usage { input: 35, output: 2, cached: 0, cache_write: 30, cache_write_1h: 20, reasoning: 0 };
    assert_eq!(counted, expected);
    // The end of a stream counts again, without telling them apart.
    let later = answer(r#"{"input_tokens":5,"cache_creation_input_tokens":30,"output_tokens":4}"#);
    assert_eq!(counted.with(later), Usage { output: 4, ..expected });
}

fn stream(name: &str) -> Answer {
    streamed(Dialect::Messages, &fixture(&format!("messages/{name}.sse")))
}

#[test]
fn a_streamed_text_is_put_together() {
    let answer = stream("text");
    assert_eq!(kinds(&answer), [PartKind::Text("Grüße, Alex! 👋".into())]);
    assert_eq!(
        answer.usage,
        Some(Usage {
            input: 2312,
            output: 41,
            cached: 2000,
            cache_write: 300,
            cache_write_1h: 0,
            reasoning: 0
        })
    );
    assert_eq!((answer.stop, answer.ending), (Some(Stop::End), Ending::Complete));
}

#[test]
fn thinking_keeps_its_signature_and_an_empty_text_is_dropped() {
    let answer = stream("thinking-tool");
    assert_eq!(
        replayed(&answer),
        json!([
            {"type": "thinking", "thinking": "The weather is asked for.", "signature": "c2ln"},
            {"type": "text", "text": "Let me look."},
            {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Paris", "days": 2},
             "caller": {"type": "direct"}},
        ])
    );
    assert_eq!(answer.usage.map(|usage| (usage.input, usage.output, usage.reasoning)), Some((2312, 41, 7)));
    assert_eq!((answer.stop, answer.ending), (Some(Stop::ToolCalls), Ending::Complete));
}

#[test]
fn interleaved_calls_are_told_apart_and_one_without_arguments_has_none() {
    let answer = stream("parallel-tools");
    assert_eq!(
        kinds(&answer),
        [
            PartKind::Text("Both at once.".into()),
            call("toolu_a", "weather", "{\"city\":\"Rome\"}"),
            call("toolu_b", "now", "{}"),
            call("toolu_c", "weather", "{\"city\":\"Oslo\"}"),
        ]
    );
}

#[test]
fn redacted_thinking_goes_back_as_it_came() {
    let answer = stream("redacted-thinking");
    assert_eq!(
        replayed(&answer),
        json!([{"type": "redacted_thinking", "data": "b3BhcXVl"}, {"type": "text", "text": "Done."}])
    );
    assert_eq!(answer.stop, Some(Stop::End));
}

#[test]
fn a_server_tool_and_its_citations_go_back_as_they_came() {
    let answer = stream("server-tool");
    let citation = |text: &str, index: &str| {
        json!({"type": "web_search_result_location", "url": "https://x.test/eclipse", "title": "Eclipse",
               "cited_text": text, "encrypted_index": index})
    };
    assert_eq!(
        replayed(&answer),
        json!([
            {"type": "text", "text": "I will search."},
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "solar eclipse"}},
            {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [
                {"type": "web_search_result", "url": "https://x.test/eclipse", "title": "Eclipse",
                 "encrypted_content": "ZW5j", "page_age": null}]},
            {"type": "text", "text": "The Moon covers the Sun.",
             "citations": [citation("The Moon", "aWR4"), citation("the Sun", "aWR5")]},
            {"type": "text", "text": " That is all."},
        ])
    );
    assert_eq!(answer.usage.map(|usage| usage.input), Some(2312), "a report may leave out the cache");
}

#[test]
fn a_paused_answer_is_whole_and_says_why_it_stopped() {
    let answer = stream("pause");
    assert_eq!(
        (answer.stop.clone(), answer.ending),
        (Some(Stop::Other("pause_turn".into())), Ending::Complete)
    );
    assert_eq!(
        replayed(&answer),
        json!([
            {"type": "compaction", "content": "Earlier: greetings.", "encrypted_content": "c3Vt"},
            {"type": "text", "text": "Still working."},
            {"type": "server_tool_use", "id": "srvtoolu_2", "name": "web_search", "input": {"query": "more"}},
        ])
    );
}

#[test]
fn a_refusal_without_words_is_an_answer_without_a_message() {
    let answer = stream("refusal");
    assert_eq!(answer.message, None);
    assert_eq!((answer.stop, answer.ending), (Some(Stop::ContentFilter), Ending::Complete));
}

#[test]
fn an_error_inside_a_stream_of_messages_is_a_failure_that_keeps_what_was_said() {
    let answer = stream("error");
    assert_eq!((kinds(&answer), answer.ending), (vec![PartKind::Text("Half of ".into())], Ending::Failed));
}

#[test]
fn a_stream_is_whole_only_after_its_last_word() {
    let text = fixture("messages/thinking-tool.sse");
    for end in ["event: message_stop", "event: message_delta"] {
        let (head, _) = text.split_at(text.find(end).unwrap());
        assert_eq!(observe(Dialect::Messages, &[head.as_bytes()], true).ending, Ending::Truncated, "{end}");
    }
    let (head, _) = text.split_at(text.find("is\\\", \\\"days").unwrap());
    let answer = observe(Dialect::Messages, &[head.as_bytes()], true);
    assert_eq!(
        kinds(&answer).last(),
        Some(&call("toolu_1", "weather", "{\"city\": \"Par")),
        "torn arguments are not made whole"
    );
}

#[test]
fn an_answer_that_begins_again_is_the_one_that_counts() {
    let text = fixture("messages/text.sse");
    let (head, _) = text.split_at(text.find("event: content_block_stop").unwrap());
    let answer = streamed(Dialect::Messages, &format!("{head}{}", fixture("messages/redacted-thinking.sse")));
    assert_eq!(answer.message.map(|message| message.text()).as_deref(), Some("Done."));
}

#[test]
fn a_whole_answer_reads_like_the_streamed_one() {
    for name in ["thinking-tool", "parallel-tools", "redacted-thinking", "server-tool", "pause"] {
        let answer = stream(name);
        let whole = json!({"type": "message", "role": "assistant", "content": replayed(&answer),
                           "stop_reason": "end_turn", "usage": {"input_tokens": 1, "cache_read_input_tokens": null}});
        let read =
            Dialect::Messages.read_answer(whole.to_string().as_bytes(), &origin(Dialect::Messages)).unwrap();
        assert_eq!(replayed(&read), replayed(&answer), "{name}");
        let hash = |answer: &Answer| answer.message.as_ref().map(Message::content_hash);
        assert_eq!(hash(&read), hash(&answer), "{name}");
        assert_eq!((read.ending, read.usage.map(|usage| usage.input)), (Ending::Complete, Some(1)));
    }
    let failed = json!({"type": "error", "error": {"type": "overloaded_error", "message": "no"}}).to_string();
    let failed = Dialect::Messages.read_answer(failed.as_bytes(), &origin(Dialect::Messages)).unwrap();
    assert_eq!((failed.ending, failed.message), (Ending::Failed, None));
    for other in [&b"<html>"[..], b"{\"ok\":true}", b"[]"] {
        assert_eq!(Dialect::Messages.read_answer(other, &origin(Dialect::Messages)), None);
    }
}

#[test]
fn every_reason_to_stop_has_its_meaning() {
    for (reason, stop) in [
        ("end_turn", Stop::End),
        ("stop_sequence", Stop::End),
        ("max_tokens", Stop::Length),
        ("model_context_window_exceeded", Stop::Length),
        ("tool_use", Stop::ToolCalls),
        ("refusal", Stop::ContentFilter),
        ("pause_turn", Stop::Other("pause_turn".into())),
        ("yet unknown", Stop::Other("yet unknown".into())),
    ] {
        let whole = json!({"content": [], "stop_reason": reason}).to_string();
        let answer = Dialect::Messages.read_answer(whole.as_bytes(), &origin(Dialect::Messages)).unwrap();
        assert_eq!((answer.stop, answer.message), (Some(stop), None), "{reason}");
    }
}

#[test]
fn a_broken_stream_ends_in_an_error_event() {
    let failure = Dialect::Messages.write_failure(&Error::bad_request("Cut \"short\"."), None);
    assert_eq!(
        failure,
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"Cut \\\"short\\\".\"}}\n\n"
    );
    let broken = format!(
        "{}{failure}",
        fixture("messages/text.sse").split_once("event: content_block_stop").unwrap().0
    );
    assert_eq!(streamed(Dialect::Messages, &broken).ending, Ending::Failed);
}
