//! What memory tells beside messages, placed into requests of every dialect: where it stands, that the client's bytes stay,
//! that each request begins with the one before it, and that a cache that is marked is found again.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use memory_gateway::body::Body;
use memory_gateway::dialect::Dialect;
use memory_gateway::memory::context::Item;
use memory_gateway::memory::store::TurnStatus;
use memory_gateway::prompt::{self, Target};
use memory_gateway::protocol::{Committed, Injection, Prepared};
use memory_gateway::thread;
use memory_gateway::translate;
use memory_gateway::turn::{Message, Origin, Part, PartKind, Role, ToolCall, ToolResult};
use serde_json::{Value, json};
use support::{Thread, assistant, user};

/// A client's dialect, and who its requests go to.
#[derive(Clone, Copy, Debug)]
struct Way {
    client: Dialect,
    target: Dialect,
    provider: &'static str,
    model: &'static str,
}

const fn way(client: Dialect, target: Dialect, provider: &'static str, model: &'static str) -> Way {
    Way { client, target, provider, model }
}

const CHAT: Way = way(Dialect::Chat, Dialect::Chat, "openai", "gpt-5.4");
const OPENROUTER: Way = way(Dialect::Chat, Dialect::Chat, "openrouter", "anthropic/claude-sonnet-4.5");
const RESPONSES: Way = way(Dialect::Responses, Dialect::Responses, "openai", "gpt-5.4");
const MESSAGES: Way = way(Dialect::Messages, Dialect::Messages, "anthropic", "claude-sonnet-4-5");

const WAYS: &[Way] = &[
    CHAT,
    OPENROUTER,
    RESPONSES,
    MESSAGES,
    way(Dialect::Chat, Dialect::Messages, "anthropic", "claude-sonnet-4-5"),
    way(Dialect::Chat, Dialect::Google, "google", "gemini-2.5-flash"),
    way(Dialect::Chat, Dialect::Responses, "codex", "gpt-5.3-codex"),
    way(Dialect::Responses, Dialect::Chat, "mistral", "mistral-large-latest"),
    way(Dialect::Responses, Dialect::Messages, "anthropic", "claude-sonnet-4-5"),
    way(Dialect::Responses, Dialect::Google, "google", "gemini-2.5-flash"),
    way(Dialect::Messages, Dialect::Chat, "deepseek", "deepseek-chat"),
    way(Dialect::Messages, Dialect::Responses, "openai", "gpt-5.4"),
    way(Dialect::Messages, Dialect::Google, "google", "gemini-2.5-flash"),
];

impl Way {
    fn target(&self) -> Target<'static> {
        Target { provider: self.provider, model: self.model }
    }

    /// The provider's request for a client's, with the items that `weave` makes of its messages.
    fn written(
        &self,
        text: &str,
        injection: &Injection,
        weave: impl FnOnce(Vec<Message>) -> Vec<Item>,
    ) -> String {
        let body = Body::parse(text.as_bytes()).unwrap();
        let origin = Origin { dialect: self.client, provider: self.provider.into() };
        let conversation = self.client.read_conversation(&body, &origin).unwrap();
        let items = weave(prompt::messages(&conversation));
        let bytes = if self.client == self.target {
            let edits = prompt::edit(self.client, &body, &conversation, &items, injection, self.target());
            body.edited(edits)
        } else {
            let entries = prompt::entries(self.client, conversation, items);
            let mut request = self.client.read_request(&body, entries).unwrap();
            prompt::inject(&mut request, injection);
            request.model = self.model.into();
            let target = Origin { dialect: self.target, provider: self.provider.into() };
            translate::request(request, self.client, &target).unwrap().body.to_string().into_bytes()
        };
        let hinted = prompt::with_cache_hints(self.target, bytes, injection, self.target());
        String::from_utf8(hinted).unwrap()
    }

    /// The same with the client's messages as they are.
    fn told(&self, text: &str, injection: &Injection) -> String {
        self.written(text, injection, keep)
    }

    /// The same as JSON.
    fn told_json(&self, request: &Value, injection: &Injection) -> Value {
        serde_json::from_str(&self.told(&request.to_string(), injection)).unwrap()
    }
}

fn keep(messages: Vec<Message>) -> Vec<Item> {
    (0..messages.len()).map(Item::Keep).collect()
}

const PROFILE: &str = "<conversation_profile>\n\"Alex\"\n</conversation_profile>";
const NOTES: &str = "<conversation_notes>\nH é\n</conversation_notes>";
const NOW: &str = "<conversation_now>\n2026-11-24\n</conversation_now>";

fn all() -> Injection {
    Injection { stable: vec![PROFILE.into(), NOTES.into()], volatile: Some(NOW.into()) }
}

fn notes() -> Injection {
    Injection { stable: vec!["N".into()], volatile: None }
}

fn hint() -> Value {
    json!({"type": "ephemeral"})
}

// Where the texts stand.

#[test]
fn nothing_to_tell_and_nothing_to_weave_touches_no_byte() {
    for (way, text) in [
        (CHAT, r#"{ "messages" : [ {"role":"user", "content":"q"} ] }"#),
        (OPENROUTER, r#"{ "messages" : [ {"role":"user", "content":"q"} ] }"#),
        (RESPONSES, r#"{ "input" : "q" }"#),
        (MESSAGES, r#"{ "system" : "s", "messages" : [ {"role":"user", "content":"q"} ] }"#),
    ] {
        assert_eq!(way.told(text, &Injection::default()), text);
    }
}

#[test]
fn chat_has_one_system_message_the_callers_longer_by_the_texts() {
    let text = r#"{"z":1e400,"messages":[{"role":"system","content":"a"},{"x":1,"role":"developer","content":"b\u00e9\"","name":"n"},{"role":"user","content":"q","y":2},{"role":"system","content":"late"},{"role":"user","content":"r"}],"unknown":{"k":[1]}}"#;
    let more = json!(format!("\n\n{PROFILE}\n\n{NOTES}\n\n{NOW}")).to_string();
    assert_eq!(
        CHAT.told(text, &all()),
        text.replace(r#""b\u00e9\"""#, &format!(r#""b\u00e9\"{}"#, more.strip_prefix('"').unwrap()))
    );
}

#[test]
fn chat_takes_every_form_of_the_callers_instructions() {
    let told = |system: Value, injection: &Injection| {
        let user = json!({"role": "user", "content": "q"});
        let messages: Vec<Value> = system.as_array().unwrap().iter().cloned().chain([user]).collect();
        let mut body = CHAT.told_json(&json!({"messages": messages}), injection);
        let mut messages = body["messages"].take();
        messages.as_array_mut().unwrap().pop();
        messages
    };
    let ours = json!({"role": "system", "content": format!("{PROFILE}\n\n{NOTES}\n\n{NOW}")});
    let part = |text: &str| json!({"type": "text", "text": text});
    for (system, expected) in [
        (json!([]), json!([ours])),
        (json!([{"role": "system", "content": ""}]), json!([ours])),
        (json!([{"role": "system", "content": null}]), json!([{"role": "system", "content": null}, ours])),
        (json!([{"role": "system"}]), json!([{"role": "system"}, ours])),
        (
            json!([{"role": "developer", "content": [part("s")]}]),
            json!([{"role": "developer", "content": [part("s"), part(PROFILE), part(NOTES), part(NOW)]}]),
        ),
        (
            json!([{"role": "system", "content": []}]),
            json!([{"role": "system", "content": [part(PROFILE), part(NOTES), part(NOW)]}]),
        ),
    ] {
        assert_eq!(told(system.clone(), &all()), expected, "{system}");
    }
}

#[test]
fn responses_has_an_item_for_each_text_behind_the_leading_ones_and_keeps_instructions() {
    let text = r#"{"instructions":"i","input":[{"role":"system","content":"a"},{"role":"user","content":"q","y":2},{"role":"developer","content":"late"},{"role":"user","content":"r"}],"unknown":1}"#;
    let item = |text: &str| json!({"role": "system", "content": text}).to_string();
    let items = [item(PROFILE), item(NOTES), item(NOW)].join(",");
    assert_eq!(
        RESPONSES.told(text, &all()),
        text.replace(r#"{"role":"user","content":"q""#, &format!(r#"{items},{{"role":"user","content":"q""#))
    );
    assert_eq!(
        RESPONSES.told(r#"{"input" : "q\u00e9","store":false}"#, &notes()),
        r#"{"input" : [{"role":"developer","content":"N"},{"role":"user","content":"q\u00e9"}],"store":false}"#
    );
    assert_eq!(
        RESPONSES.told(r#"{"prompt":{"id":"p"}}"#, &notes()),
        r#"{"input":[{"role":"developer","content":"N"}],"prompt":{"id":"p"}}"#
    );
}

#[test]
fn messages_has_a_block_for_each_text_behind_the_callers() {
    // The caller marks a place of its own, so that this is about the texts alone.
    let rest =
        r#""messages":[{"role":"user","content":"q"}],"cache_control":{"type":"ephemeral"},"unknown":1}"#;
    let ours = r#"{"type":"text","text":"N"},{"type":"text","text":"now"}"#;
    let injection = Injection { volatile: Some("now".into()), ..notes() };
    for (system, expected) in [
        ("", format!(r#""system":[{ours}],"#)),
        (r#""system":null,"#, format!(r#""system":[{ours}],"#)),
        (r#""system":"","#, format!(r#""system":[{ours}],"#)),
        (r#""system" : [ ],"#, format!(r#""system" : [ {ours}],"#)),
        (r#""system":"s\u00e9","#, format!(r#""system":[{{"type":"text","text":"s\u00e9"}},{ours}],"#)),
        (
            r#""system":[ {"text":"s", "type":"text","x":1} ],"#,
            format!(r#""system":[ {{"text":"s", "type":"text","x":1}} ,{ours}],"#),
        ),
        (r#""system":7,"#, r#""system":7,"#.to_owned()),
    ] {
        assert_eq!(
            MESSAGES.told(&format!("{{{system}{rest}"), &injection),
            format!("{{{expected}{rest}"),
            "{system}"
        );
    }
}

#[test]
fn texts_alone_can_be_told_whether_stable_or_not() {
    let request = json!({"system": "s", "messages": [{"role": "user", "content": "q"}]});
    let volatile = Injection { stable: vec![], volatile: Some("now".into()) };
    assert_eq!(
        MESSAGES.told_json(&request, &volatile)["system"],
        json!([{"cache_control": hint(), "type": "text", "text": "s"}, {"type": "text", "text": "now"}])
    );
    let chat = json!({"messages": [{"role": "user", "content": "q"}]});
    assert_eq!(
        CHAT.told_json(&chat, &volatile)["messages"],
        json!([{"role": "system", "content": "now"}, {"role": "user", "content": "q"}])
    );
}

#[test]
fn a_woven_conversation_that_the_assistant_begins_is_opened_by_the_user_and_told_as_well() {
    let weave = |_: Vec<Message>| vec![Item::Insert(assistant("stored")), Item::Keep(0)];
    let text = r#"{"system":"s","messages":[{"role":"user","content":"q"}]}"#;
    let body: Value = serde_json::from_str(&MESSAGES.written(text, &notes(), weave)).unwrap();
    assert_eq!(
        body,
        json!({
            "system": [{"cache_control": hint(), "type": "text", "text": "s"}, {"cache_control": hint(), "type": "text", "text": "N"}],
            "messages": [
                {"role": "user", "content": "…"},
                {"role": "assistant", "content": [{"type": "text", "text": "stored", "cache_control": hint()}]},
                {"role": "user", "content": "q"},
            ],
        })
    );
    let text = r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":"q"}]}"#;
    assert_eq!(
        CHAT.written(text, &notes(), weave),
        r#"{"messages":[{"role":"system","content":"s\n\nN"},{"role":"assistant","content":"stored"},{"role":"user","content":"q"}]}"#
    );
}

#[test]
fn a_translated_request_tells_the_texts_behind_the_callers_in_every_form() {
    let injection = Injection { volatile: Some("now".into()), ..notes() };
    let marked = |text: &str| json!({"type": "text", "text": text, "cache_control": hint()});
    let plain = |text: &str| json!({"type": "text", "text": text});
    let chat = json!({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"},
        {"role": "system", "content": "late"}, {"role": "user", "content": "r"}]});
    let messages = json!({"max_tokens": 9, "system": [plain("s"), plain("t")], "messages": [{"role": "user", "content": "q"}]});
    let responses = json!({"instructions": "s", "input": [{"role": "developer", "content": "t"}, {"role": "user", "content": "q"}]});
    let bare = json!({"input": "q"});
    let to = |client, target, provider, model| way(client, target, provider, model);
    use Dialect::{Chat, Google, Messages, Responses};
    let cases = [
        (
            to(Chat, Messages, "anthropic", "claude-sonnet-4-5"),
            &chat,
            "/system",
            json!([marked("s"), marked("N"), plain("now")]),
        ),
        (
            to(Responses, Messages, "anthropic", "claude-sonnet-4-5"),
            &responses,
            "/system",
            json!([plain("s"), marked("t"), marked("N"), plain("now")]),
        ),
        (
            to(Responses, Messages, "anthropic", "claude-sonnet-4-5"),
            &bare,
            "/system",
            json!([marked("N"), plain("now")]),
        ),
        (
            to(Chat, Google, "google", "gemini-2.5-flash"),
            &chat,
            "/systemInstruction/parts",
            json!([{"text": "s"}, {"text": "N"}, {"text": "now"}, {"text": "late"}]),
        ),
        (
            to(Messages, Google, "google", "gemini-2.5-flash"),
            &messages,
            "/systemInstruction/parts",
            json!([{"text": "s"}, {"text": "t"}, {"text": "N"}, {"text": "now"}]),
        ),
        (to(Chat, Responses, "codex", "gpt-5.3-codex"), &chat, "/instructions", json!("s\n\nN\n\nnow")),
        (
            to(Messages, Responses, "openai", "gpt-5.4"),
            &messages,
            "/instructions",
            json!("s\n\nt\n\nN\n\nnow"),
        ),
        (
            to(Messages, Chat, "deepseek", "deepseek-chat"),
            &messages,
            "/messages/0",
            json!({"role": "system", "content": "s\n\nt\n\nN\n\nnow"}),
        ),
        (
            to(Responses, Chat, "mistral", "mistral-large-latest"),
            &responses,
            "/messages/1",
            json!({"role": "system", "content": "t\n\nN\n\nnow"}),
        ),
        (
            to(Responses, Chat, "mistral", "mistral-large-latest"),
            &bare,
            "/messages/0",
            json!({"role": "system", "content": "N\n\nnow"}),
        ),
    ];
    for (way, request, place, expected) in cases {
        let body = way.told_json(request, &injection);
        assert_eq!(body.pointer(place), Some(&expected), "{way:?}: {body}");
    }
    // One stable text and nothing beside it is a mere string in the field.
    let alone = to(Responses, Messages, "anthropic", "claude-sonnet-4-5").told_json(&bare, &notes());
    assert_eq!(alone["system"], json!([marked("N")]));
}

// Cache hints.

fn count_hints(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(count_hints).sum(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| if name == "cache_control" { 1 } else { count_hints(value) })
            .sum(),
        _ => 0,
    }
}

#[test]
fn a_caller_that_marks_anything_gets_no_mark_of_ours() {
    let hint = json!({"type": "ephemeral", "ttl": "1h"});
    let plain = json!({"max_tokens": 9, "system": [{"type": "text", "text": "s"}],
        "tools": [{"name": "f", "input_schema": {"type": "object", "properties": {"cache_control": {"type": "string"}}}}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "\"cache_control\": {}"}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"cache_control": "x"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "r"}]}]}]});
    for place in [
        "",
        "/system/0",
        "/tools/0",
        "/messages/0/content/0",
        "/messages/2/content/0",
        "/messages/2/content/0/content/0",
    ] {
        let mut request = plain.clone();
        request.pointer_mut(place).unwrap()["cache_control"] = hint.clone();
        let mut expected = request.clone();
        expected["system"].as_array_mut().unwrap().push(json!({"type": "text", "text": "N"}));
        assert_eq!(MESSAGES.told_json(&request, &notes()), expected, "{place}");
    }
    // Words that only look like a mark are none, and neither is a null.
    let mut request = plain.clone();
    request["system"][0]["cache_control"] = Value::Null;
    let marked = MESSAGES.told_json(&request, &notes());
    assert_eq!(marked["messages"][1]["content"][0]["cache_control"], json!({"type": "ephemeral"}));
    assert_eq!(
        marked["system"][0],
        json!({"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}})
    );
}

#[test]
fn marks_stand_behind_the_callers_system_the_stable_texts_and_the_last_message_before_the_newest() {
    let text = r#"{"tools":[{"name":"f","input_schema":{"type":"object"}}],"system":"s","thinking":{"type":"enabled","budget_tokens":1024},"messages":[ {"role":"user","content":"1"}, {"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"x"},{"type":"text","text":"2"},{"type":"text","text":" "},{"type":"redacted_thinking","data":"d"}],"y":1}, {"role":"user","content":"3"} ]}"#;
    let ours = [PROFILE, NOTES, NOW].map(|text| json!({"type": "text", "text": text}).to_string());
    let hint = r#""cache_control":{"type":"ephemeral"},"#;
    let expected = text
        .replace(
            r#""system":"s""#,
            &format!(
                r#""system":[{{{hint}"type":"text","text":"s"}},{},{{{hint}{},{}]"#,
                ours[0],
                ours[1].strip_prefix('{').unwrap(),
                ours[2]
            ),
        )
        .replace(r#"{"type":"text","text":"2"}"#, &format!(r#"{{{hint}"type":"text","text":"2"}}"#));
    assert_eq!(MESSAGES.told(text, &all()), expected);
}

#[test]
fn a_message_of_blocks_that_cannot_be_marked_leaves_the_mark_to_the_one_before() {
    let thinking = json!([{"type": "thinking", "thinking": "t", "signature": "x"}]);
    let request = json!({"messages": [
        {"role": "user", "content": "1"},
        {"role": "assistant", "content": thinking},
        {"role": "user", "content": "2"},
        {"role": "assistant", "content": "begun:"},
    ]});
    let body = MESSAGES.told_json(&request, &notes());
    assert_eq!(
        body["messages"][0]["content"],
        json!([{"type": "text", "text": "1", "cache_control": hint()}])
    );
    assert_eq!(count_hints(&body), 2);
    let first = json!({"messages": [{"role": "user", "content": "1"}]});
    assert_eq!(
        MESSAGES.told_json(&first, &notes())["messages"],
        first["messages"],
        "nothing is before the newest"
    );
}

#[test]
fn the_mark_of_the_request_before_is_set_again_and_there_are_never_more_than_four() {
    for blocks in [1, 25] {
        let uses: Vec<Value> = (0..blocks)
            .map(|at| json!({"type": "tool_use", "id": format!("t{at}"), "name": "f", "input": {}}))
            .collect();
        let results: Vec<Value> = (0..blocks)
            .map(|at| json!({"type": "tool_result", "tool_use_id": format!("t{at}"), "content": "r"}))
            .collect();
        let request = json!({"system": "s", "messages": [
            {"role": "user", "content": "1"}, {"role": "assistant", "content": "2"},
            {"role": "user", "content": "3"}, {"role": "assistant", "content": uses},
            {"role": "user", "content": results},
        ]});
        let mut expected = request.clone();
        let marked = |text: &str| json!({"type": "text", "text": text, "cache_control": hint()});
        expected["system"] = json!([marked("s"), marked("N")]);
        expected["messages"][1]["content"] = json!([marked("2")]);
        expected["messages"][3]["content"][blocks - 1]["cache_control"] = hint();
        assert_eq!(MESSAGES.told_json(&request, &notes()), expected);
        assert_eq!(count_hints(&expected), 4);
    }
}

#[test]
fn only_anthropics_models_are_marked_at_openrouter_and_only_in_texts() {
    let text = r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":"1"},{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"r"},{"role":"user","content":"2"}]}"#;
    let injection = Injection { volatile: Some("now".into()), ..notes() };
    assert_eq!(
        OPENROUTER.told(text, &injection),
        text.replace(
            r#""content":"s""#,
            r#""content":[{"cache_control":{"type":"ephemeral"},"type":"text","text":"s"},{"cache_control":{"type":"ephemeral"},"type":"text","text":"N"},{"type":"text","text":"now"}]"#
        )
        .replace(r#""content":"1""#, r#""content":[{"type":"text","text":"1","cache_control":{"type":"ephemeral"}}]"#)
    );
    // Two rounds of calls: no text has come since the question, and one mark stands for both requests.
    let call = json!({"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    let result = json!({"role": "tool", "tool_call_id": "c", "content": "r"});
    let rounds = json!({"messages": [{"role": "user", "content": "1"}, call, result, call, result]});
    let mut expected = rounds["messages"].clone();
    expected[0]["content"] = json!([{"type": "text", "text": "1", "cache_control": hint()}]);
    let told = OPENROUTER.told_json(&rounds, &notes());
    assert_eq!(told["messages"].as_array().unwrap()[1..], *expected.as_array().unwrap());
    let other = Way { model: "qwen/qwen3.5", ..OPENROUTER };
    assert_eq!(
        other.told(text, &injection),
        text.replace(r#""content":"s""#, r#""content":"s\n\nN\n\nnow""#)
    );
    let bare = json!({"messages": [{"role": "user", "content": "q"}]});
    assert_eq!(
        OPENROUTER.told_json(&bare, &notes())["messages"][0],
        json!({"role": "system", "content": [{"type": "text", "text": "N", "cache_control": hint()}]})
    );
    let parts = json!({"messages": [{"role": "developer", "content": [{"type": "text", "text": "s", "cache_control": hint()}]}, {"role": "user", "content": "q"}]});
    let told = OPENROUTER.told_json(&parts, &notes());
    assert_eq!(told["messages"][0]["content"][1], json!({"type": "text", "text": "N"}));
    assert_eq!(count_hints(&told), 1);
}

#[test]
fn marks_reach_no_provider_that_does_not_know_them() {
    for way in WAYS {
        let told = way.told_json(&request(*way, &[user("1"), assistant("2"), user("3")]), &all());
        let marked = way.target == Dialect::Messages || way.provider == "openrouter";
        assert_eq!(count_hints(&told), if marked { 3 } else { 0 }, "{way:?}: {told}");
    }
}

// Over many turns.

fn request(way: Way, messages: &[Message]) -> Value {
    let parameters = json!({"type": "object", "properties": {}});
    let mut elements: Vec<Value> =
        messages.iter().flat_map(|message| way.client.write_message(message, "client")).collect();
    match way.client {
        Dialect::Chat => {
            elements.insert(0, json!({"role": "system", "content": "Be brief."}));
            json!({"model": way.model, "messages": elements,
                "tools": [{"type": "function", "function": {"name": "f", "parameters": parameters}}]})
        }
        Dialect::Responses => json!({"model": way.model, "instructions": "Be brief.", "input": elements,
            "tools": [{"type": "function", "name": "f", "parameters": parameters}]}),
        _ => json!({"model": way.model, "max_tokens": 99, "system": "Be brief.", "messages": elements,
            "tools": [{"name": "f", "input_schema": parameters}]}),
    }
}

/// Thirty turns: what is said or returned, and the answer. Some call tools, one of them very many at once.
fn script() -> Vec<(Vec<Message>, Message)> {
    let mut steps = Vec::new();
    for turn in 1..=30 {
        let question = user(&format!("question {turn}"));
        if turn % 5 == 3 {
            let ids: Vec<String> =
                (0..if turn == 13 { 25 } else { 2 }).map(|at| format!("call_{turn}_{at}")).collect();
            let call = |id: &String| {
                let call = ToolCall {
                    id: id.clone(),
                    name: "f".into(),
                    arguments: "{}".into(),
                    ..ToolCall::default()
                };
                Part::from(PartKind::ToolCall(call))
            };
            let result = |id: &String| {
                let content = vec![Part::text(format!("result of {id}"))];
                let result = ToolResult { call_id: id.clone(), content, custom: false, is_error: false };
                Message::new(Role::Tool, vec![PartKind::ToolResult(result).into()])
            };
            steps.push((vec![question], Message::new(Role::Assistant, ids.iter().map(call).collect())));
            steps.push((ids.iter().map(result).collect(), assistant(&format!("answer {turn}"))));
        } else {
            steps.push((vec![question], assistant(&format!("answer {turn}"))));
        }
    }
    steps
}

/// The script as a client has played it through.
struct Played {
    way: Way,
    /// The client sends all of the history each time.
    full: bool,
    /// The provider's requests.
    sent: Vec<String>,
    /// The same requests if the volatile text were [`LATER`].
    later: Vec<String>,
}

const LATER: &str = "<conversation_now>\n2026-11-25, and more\n</conversation_now>";

/// Every way, with a client that sends what is new and one that sends all.
static PLAYED: LazyLock<Vec<Played>> =
    LazyLock::new(|| WAYS.iter().flat_map(|way| [play(*way, false), play(*way, true)]).collect());

fn play(way: Way, full: bool) -> Played {
    let mut thread = Thread::new();
    let mut history: Vec<Message> = Vec::new();
    let (mut sent, mut later) = (Vec::new(), Vec::new());
    for (inputs, answer) in script() {
        history.extend(inputs.clone());
        let text = request(way, if full { &history } else { &inputs }).to_string();
        let mut begun = None;
        sent.push(way.written(&text, &all(), |messages| {
            let request = thread.request(&messages);
            let Prepared::Ready { items, .. } =
                thread::prepare(&thread.store, &request, support::around(&thread.settings)).unwrap()
            else {
                panic!("not ready")
            };
            begun = Some((request, items.clone()));
            items
        }));
        let (request, items) = begun.unwrap();
        let injection = Injection { volatile: Some(LATER.into()), ..all() };
        later.push(way.written(&text, &injection, |_| items));
        history.push(answer.clone());
        let origin = Some(Origin { dialect: way.target, provider: way.provider.into() });
        let ended = thread.end(&request, TurnStatus::Complete, Some(Message { origin, ..answer }));
        assert_eq!(ended, Committed::Stored);
    }
    Played { way, full, sent, later }
}

/// A prompt piece by piece, in the order in which its provider reads it, and whether a mark stands behind the piece. A text
/// is the same with and without the parts around it.
fn pieces(dialect: Dialect, body: &str) -> Vec<(String, bool)> {
    let body: Value = serde_json::from_str(body).unwrap();
    let listed = |value: &Value, kind: &str| match value {
        Value::String(text) => vec![json!({"type": kind, "text": text})],
        Value::Array(items) => items.clone(),
        _ => Vec::new(),
    };
    let mut out = Vec::new();
    let mut add = |role: &str, mut piece: Value| {
        let marked = piece.as_object_mut().and_then(|fields| fields.shift_remove("cache_control")).is_some();
        out.push((format!("{role} {piece}"), marked));
    };
    listed(&body["tools"], "").into_iter().for_each(|tool| add("tool", tool));
    match dialect {
        Dialect::Messages => {
            listed(&body["system"], "text").into_iter().for_each(|block| add("system", block));
            for message in body["messages"].as_array().unwrap() {
                let role = message["role"].as_str().unwrap();
                listed(&message["content"], "text").into_iter().for_each(|block| add(role, block));
            }
        }
        Dialect::Chat => {
            for message in body["messages"].as_array().unwrap() {
                let mut rest = message.clone();
                let content = rest.as_object_mut().unwrap().shift_remove("content").unwrap_or_default();
                let parts = listed(&content, "text");
                parts.into_iter().for_each(|part| add(&rest.to_string(), part));
                listed(&message["tool_calls"], "").into_iter().for_each(|call| add("call", call));
            }
        }
        Dialect::Responses => {
            add("instructions", body["instructions"].clone());
            for item in body["input"].as_array().unwrap() {
                let mut item = item.clone();
                let fields = item.as_object_mut().unwrap();
                if let Some(role) = fields.get("role").cloned() {
                    fields.shift_remove("type");
                    let kind = if role == "assistant" { "output_text" } else { "input_text" };
                    let content = listed(&fields["content"], kind);
                    fields.insert("content".into(), content.into());
                }
                add("", item);
            }
        }
        Dialect::Google => {
            listed(&body["systemInstruction"]["parts"], "").into_iter().for_each(|part| add("system", part));
            for content in body["contents"].as_array().unwrap() {
                let role = content["role"].as_str().unwrap();
                listed(&content["parts"], "").into_iter().for_each(|part| add(role, part));
            }
        }
    }
    out
}

fn texts(pieces: &[(String, bool)]) -> Vec<&str> {
    pieces.iter().map(|(text, _)| text.as_str()).collect()
}

/// A text as it stands inside a JSON string.
fn escaped(text: &str) -> String {
    json!(text).to_string().trim_matches('"').to_owned()
}

#[test]
fn over_thirty_turns_each_request_begins_with_the_one_before_it() {
    for Played { way, full, sent, .. } in PLAYED.iter() {
        assert_eq!(sent.len(), 36);
        let prompts: Vec<Vec<(String, bool)>> = sent.iter().map(|body| pieces(way.target, body)).collect();
        for (at, two) in prompts.windows(2).enumerate() {
            let (before, after) = (texts(&two[0]), texts(&two[1]));
            assert!(after.len() > before.len(), "{way:?} {full} {at}");
            assert_eq!(after[..before.len()], before, "{way:?}, all of the history: {full}, request {at}");
        }
        let last = sent.last().unwrap();
        for text in ["question 1\"", "answer 30", &escaped(PROFILE), &escaped(NOTES), &escaped(NOW)] {
            let expected = usize::from(text != "answer 30");
            assert_eq!(last.matches(text).count(), expected, "{way:?}, all of the history: {full}: {text}");
        }
    }
}

#[test]
fn the_same_request_is_the_same_bytes_but_for_what_is_volatile() {
    for Played { way, full, sent, later } in PLAYED.iter() {
        for (one, other) in sent.iter().zip(later) {
            assert_eq!(one.replace(&escaped(NOW), &escaped(LATER)), *other, "{way:?} {full}");
        }
    }
}

/// Anthropic's cache: what stands before a mark is written, and read again from a mark that has it within reach.
#[derive(Default)]
struct Cache(BTreeSet<Vec<String>>);

impl Cache {
    /// How many pieces of a prompt are read from the cache, which then holds what is marked.
    fn ask(&mut self, prompt: &[(String, bool)]) -> usize {
        let texts: Vec<String> = prompt.iter().map(|(text, _)| text.clone()).collect();
        let marks: Vec<usize> = (0..prompt.len()).filter(|at| prompt[*at].1).collect();
        let hit = marks
            .iter()
            .flat_map(|mark| (mark.saturating_sub(19)..=*mark).rev())
            .filter(|end| self.0.contains(&texts[..=*end]))
            .max();
        self.0.extend(marks.iter().map(|mark| texts[..=*mark].to_vec()));
        hit.map_or(0, |end| end + 1)
    }
}

#[test]
fn what_one_request_has_marked_the_next_one_reads_from_the_cache() {
    let marked = |way: &Way| way.target == Dialect::Messages || way.provider == "openrouter";
    for Played { way, full, sent, .. } in PLAYED.iter().filter(|played| marked(&played.way)) {
        let (mut cache, mut written, mut newest) = (Cache::default(), 0, 0);
        for (at, body) in sent.iter().enumerate() {
            let prompt = pieces(way.target, body);
            let marks = prompt.iter().filter(|(_, marked)| *marked).count();
            assert!((2..=4).contains(&marks), "{way:?} {at}: {marks}");
            assert!(cache.ask(&prompt) >= written, "{way:?}, all of the history: {full}, request {at}");
            written = prompt.iter().rposition(|(_, marked)| *marked).unwrap() + 1;
            newest = prompt.len() - written;
        }
        assert_eq!(newest, 1, "all but the newest message is marked at last: {way:?} {full}");
    }
}
