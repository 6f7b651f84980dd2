//! What memory tells beside messages, placed into requests of every dialect: where it stands, that the client's bytes stay,
//! that each request begins with the one before it, and that a cache that is marked is found again.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

mod marks;
#[path = "../support/mod.rs"]
mod support;
mod turns;

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
