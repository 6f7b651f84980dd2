//! Conversations of texts, pictures, thoughts, parallel calls and results, by way of any two dialects.

use memory_gateway::request::{Entry, Request, Tool, ToolKind};
use memory_gateway::translate;
use memory_gateway::turn::{Media, Message, Part, PartKind, Reasoning, Role, Source, ToolCall, ToolResult};
use serde_json::{Map, Value, json};

use super::{Random, UPSTREAMS, origin, read, rounds};

fn words(random: &mut Random) -> String {
    const WORDS: [&str; 12] = [
        "a",
        "Hé",
        "𝄞",
        "\"q\"",
        "<b>",
        "\\",
        "{\"a\":1}",
        "line\nline",
        "  x",
        "null",
        "\u{2028}.",
        "[DONE]",
    ];
    let mut text = String::from("w");
    (0..random.below(4)).for_each(|_| text += random.pick::<&str>(&WORDS));
    text + "."
}

fn arguments(random: &mut Random) -> String {
    const VALUES: [&str; 9] = [
        "1",
        "1.50",
        "1e400",
        "18446744073709551616",
        "\"é\\n\"",
        "[1,{\"b\":null}]",
        "{}",
        "true",
        "\"{\\\"a\\\":1}\"",
    ];
    let fields: Vec<String> =
        (0..random.below(3)).map(|at| format!("\"k{at}\": {}", random.pick::<&str>(&VALUES))).collect();
    if fields.is_empty() && random.one_in(2) { String::new() } else { format!("{{{}}}", fields.join(",")) }
}

fn conversation(random: &mut Random) -> Vec<Message> {
    let mut out = Vec::new();
    for turn in 0..=random.below(4) {
        let mut parts = vec![Part::text(words(random))];
        if random.one_in(3) {
            let source = if random.one_in(2) {
                Source::Data("AAAA".into())
            } else {
                Source::Url("https://a/b.png".into())
            };
            let media = Media { source, media_type: Some("image/png".into()), name: None, detail: None };
            parts.push(PartKind::Image(media).into());
        }
        out.push(Message::new(Role::User, parts));
        for step in 0..=random.below(2) {
            let mut parts = Vec::new();
            if random.one_in(3) {
                parts.push(
                    PartKind::Reasoning(Reasoning { text: words(random), ..Reasoning::default() }).into(),
                );
            }
            let mut results = Vec::new();
            if random.one_in(2) {
                parts.push(Part::text(words(random)));
            }
            for at in 0..random.below(4) {
                let id = format!("call_{turn}{step}{at}");
                let name = (*random.pick(&["find", "count", "a-b_c"])).to_owned();
                let call =
                    ToolCall { id: id.clone(), name, arguments: arguments(random), ..ToolCall::default() };
                parts.push(PartKind::ToolCall(call).into());
                let text = match random.below(4) {
                    0 => arguments(random),
                    1 => format!("{{\"{}\":\"x\"}}", random.pick::<&str>(&["result", "output"])),
                    _ => words(random),
                };
                let content = vec![Part::text(text)];
                let result = ToolResult { call_id: id, content, custom: false, is_error: false };
                results.push(Message::new(Role::Tool, vec![PartKind::ToolResult(result).into()]));
            }
            if results.is_empty() {
                parts.push(Part::text(words(random)));
            }
            out.push(Message::new(Role::Assistant, parts));
            if results.is_empty() {
                break;
            }
            out.extend(results);
        }
    }
    out.push(Message::new(Role::User, vec![Part::text(words(random))]));
    out
}

/// What was said, in a form in which equal things are equal.
fn facts(entries: &[Entry]) -> Vec<(String, String)> {
    let mut facts: Vec<(String, String)> = Vec::new();
    let json = |text: &str| match serde_json::from_str::<Value>(text) {
        Ok(mut value) => {
            value.sort_all_objects();
            // An object goes to Gemini as it is, and there this one is the form of a text as well.
            match value.as_object().filter(|fields| fields.len() == 1).and_then(|fields| fields.iter().next())
            {
                Some((name, Value::String(text))) if name == "result" => text.clone(),
                _ => value.to_string(),
            }
        }
        Err(_) => text.to_owned(),
    };
    let mut say = |who: String, what: String| match facts.last_mut() {
        Some((last, text)) if *last == who && matches!(who.as_str(), "user" | "assistant") => {
            text.push_str(&what)
        }
        _ => facts.push((who, what)),
    };
    for entry in entries {
        let (role, parts) = match entry {
            Entry::Instruction(parts) => ("system", parts),
            Entry::Message { message, .. } => (message.role.as_str(), &message.parts),
        };
        for part in parts {
            match &part.kind {
                PartKind::Text(text) => say(role.to_owned(), text.clone()),
                PartKind::Image(media) => say("image".to_owned(), format!("{:?}", media.source)),
                PartKind::ToolCall(call) => {
                    say(format!("call {}", call.name), json(call.written_arguments()))
                }
                PartKind::ToolResult(result) => {
                    let text: Vec<&str> = result
                        .content
                        .iter()
                        .filter_map(|part| match &part.kind {
                            PartKind::Text(text) => Some(text.as_str()),
                            _ => None,
                        })
                        .collect();
                    say("result".to_owned(), json(&text.concat()));
                }
                PartKind::Reasoning(_) => {}
                other => panic!("{other:?} was never said"),
            }
        }
    }
    facts
}

#[test]
fn what_was_said_survives_every_two_translations() {
    rounds(|random| {
        let messages = conversation(random);
        let entry = |message| Entry::Message { message, place: None };
        let mut entries = vec![Entry::Instruction(vec![Part::text(words(random))])];
        entries.extend(messages.into_iter().map(entry));
        let tools = ["find", "count", "a-b_c"].map(|name| {
            let parameters = Some(json!({"type": "object", "properties": {}}));
            let kind = ToolKind::Function { name: name.into(), description: None, parameters, strict: None };
            Tool { kind, extra: Map::new() }
        });
        let asked = Request { entries, tools: tools.to_vec(), ..Request::default() };
        let expected = facts(&asked.entries);
        for (first, provider, model) in UPSTREAMS {
            let first = origin(*first, provider);
            let body = first
                .dialect
                .write_request(&Request { model: (*model).into(), ..asked.clone() }, provider)
                .unwrap()
                .body;
            let there = read(&first, body.to_string().as_bytes()).unwrap();
            assert_eq!(facts(&there.entries), expected, "by way of {first:?}: {body}");
            assert_eq!(there.tools.len(), 3);
            for (second, provider, model) in UPSTREAMS {
                let second = origin(*second, provider);
                let again = Request { model: (*model).into(), max_tokens: None, ..there.clone() };
                let translated = translate::request(again, first.dialect, &second).unwrap().body;
                let back = read(&second, translated.to_string().as_bytes()).unwrap();
                assert_eq!(
                    facts(&back.entries),
                    expected,
                    "by way of {first:?} and {second:?}: {body} {translated}"
                );
                assert_eq!(back.tools.len(), 3);
            }
        }
    });
}
