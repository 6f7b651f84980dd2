//! Real exchanges with providers, read back: requests come out as they went in, streams read the same however they are
//! cut, and each ends as it did.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

#[path = "support/google.rs"]
mod google;
#[path = "support/recordings.rs"]
mod recordings;

use std::collections::BTreeMap;

use memory_gateway::body::Body;
use memory_gateway::dialect::{Content, Dialect};
use memory_gateway::observe::Observer;
use memory_gateway::turn::{Answer, Ending, Origin};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use self::recordings::exchanges;

/// Streams longer than this are not fed byte by byte: in chunks of seven they show the same.
const BYTEWISE: usize = 64 * 1024;

/// What is not as expected, and why that is right.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("ae48dd35a56c", "a chat completion that was filed under Responses"),
    ("67e1aa3e83d9", "no answer of Gemini: a client's test of how it takes nonsense"),
    ("562150f6d9bc", "nothing but instructions beside an empty text: they are asked in its place"),
    ("180b9098e352", "the same"),
    ("1502dbff2203", "shortened by hand: its last event lacks a closing brace"),
];

#[test]
fn recorded_exchanges_are_read_without_loss() {
    let Some(exchanges) = exchanges(None) else { return };
    let mut scores: BTreeMap<(String, String), [u32; 8]> = BTreeMap::new();
    let mut failures = Vec::new();
    for exchange in exchanges {
        let dialect = match exchange.endpoint.as_str() {
            "chat_completions" => Dialect::Chat,
            "responses" => Dialect::Responses,
            "messages" => Dialect::Messages,
            "generate_content" => Dialect::Google,
            _ => continue,
        };
        let score = scores.entry((exchange.endpoint.clone(), exchange.provider.clone())).or_default();
        let origin = Origin { dialect, provider: exchange.provider.clone() };
        let mut check = |at: usize, result: Result<(), String>| {
            score[at + 1] += 1;
            match result {
                Ok(()) => score[at] += 1,
                Err(why) => failures.push((exchange.id.clone(), why)),
            }
        };
        if let Some(request) = exchange.request.as_deref().filter(|_| exchange.status == 200) {
            check(0, comes_back(&origin, request).and_then(|()| google::comes_back(&origin, request)));
        }
        if exchange.kind == "sse" && exchange.status == 200 {
            let whole = observe(&origin, [exchange.response_text.as_bytes()]);
            check(2, reads_the_same(&origin, &exchange.response_text, &whole));
            check(4, ends_well(dialect, &exchange.response_text, &whole));
        } else if exchange.status == 200 {
            let answer = dialect.read_answer(exchange.response_text.as_bytes(), &origin);
            check(6, goes_back(&origin, &exchange.response_text, answer.as_ref()));
            check(
                4,
                match answer {
                    Some(answer) if answer.ending == expected_of_json(&exchange.response_text) => Ok(()),
                    other => {
                        Err(format!("the whole answer reads as {:?}", other.map(|answer| answer.ending)))
                    }
                },
            );
        }
    }
    println!(
        "{:<18} {:<12} {:>10} {:>10} {:>10} {:>10}",
        "endpoint", "provider", "requests", "answers", "streams", "endings"
    );
    for ((endpoint, provider), [a, b, c, d, e, f, g, h]) in &scores {
        let [requests, answers, streams, endings] =
            [(a, b), (g, h), (c, d), (e, f)].map(|(good, all)| format!("{good}/{all}"));
        println!("{endpoint:<18} {provider:<12} {requests:>10} {answers:>10} {streams:>10} {endings:>10}");
    }
    let stale = EXCEPTIONS.iter().find(|(known, _)| failures.iter().all(|(id, _)| id != known));
    assert_eq!(stale, None, "an exception that none is");
    failures.retain(|(id, _)| EXCEPTIONS.iter().all(|(known, _)| known != id));
    for (id, why) in &failures {
        println!("{id}: {}", why.chars().take(600).collect::<String>());
    }
    assert!(failures.is_empty(), "{} of the recorded exchanges are not read right", failures.len());
}

/// Each message, read and written for the same provider, says what was sent.
fn comes_back(origin: &Origin, request: &RawValue) -> Result<(), String> {
    let body = Body::parse(request.get().as_bytes()).map_err(|error| error.to_string())?;
    let conversation = origin.dialect.read_conversation(&body, origin).map_err(|error| error.to_string())?;
    let mut sent = Vec::new();
    let mut back = Vec::new();
    for unit in &conversation.units {
        if let Content::Message(message) = &unit.content {
            back.extend(origin.dialect.write_message(message, &origin.provider));
        }
    }
    for raw in &conversation.elements {
        let value: Value = serde_json::from_str(raw.get()).unwrap();
        if !matches!(value.get("role").and_then(Value::as_str), Some("system" | "developer")) {
            sent.push(value);
        }
    }
    same(said(origin.dialect, sent), said(origin.dialect, back))
}

fn same(sent: Vec<Value>, back: Vec<Value>) -> Result<(), String> {
    if sent == back {
        return Ok(());
    }
    let different = sent.iter().zip(&back).find(|(sent, back)| sent != back);
    Err(match different {
        Some((sent, back)) => format!("sent {sent}, back {back}"),
        None => format!(
            "sent {} pieces, back {}: {} | {}",
            sent.len(),
            back.len(),
            Value::from(sent),
            Value::from(back)
        ),
    })
}

/// A whole answer, read and written as the next request's history, says what the provider said.
fn goes_back(origin: &Origin, text: &str, answer: Option<&Answer>) -> Result<(), String> {
    let mut value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let sent = match origin.dialect {
        Dialect::Chat => value.pointer_mut("/choices/0/message").map(Value::take).into_iter().collect(),
        Dialect::Responses => value["output"].as_array().cloned().unwrap_or_default(),
        Dialect::Messages => vec![json!({"role": "assistant", "content": value["content"].take()})],
        Dialect::Google => google::contents_of_answer(value),
    };
    let message = answer.and_then(|answer| answer.message.as_ref());
    let back = message.map(|message| origin.dialect.write_message(message, &origin.provider));
    same(said(origin.dialect, sent), said(origin.dialect, back.unwrap_or_default()))
}

/// What a conversation says, in a form in which equal things are equal: pieces of content, each with its speaker.
fn said(dialect: Dialect, elements: Vec<Value>) -> Vec<Value> {
    if dialect == Dialect::Google {
        return google::said(elements);
    }
    let mut pieces = Vec::new();
    for element in elements {
        let Value::Object(mut element) = element else {
            // Responses' `input` as a bare string.
            pieces.push(json!(["user", {"text": element}]));
            continue;
        };
        let role = element.shift_remove("role").unwrap_or_default();
        if !role.is_null() {
            let mut content = parts(element.shift_remove("content"));
            if dialect == Dialect::Messages {
                content.retain(|part| {
                    part.get("text").and_then(Value::as_str).is_none_or(|text| !text.trim().is_empty())
                });
            }
            pieces.extend(content.into_iter().map(|part| json!([role, part])));
        }
        if dialect == Dialect::Chat {
            drop_of_chat(&mut element);
        }
        if dialect == Dialect::Responses {
            drop_of_responses(&mut element);
        }
        let rest = plain(Value::Object(element));
        if rest.as_object().is_some_and(|rest| !rest.is_empty()) {
            pieces.push(json!([role, rest]));
        }
    }
    pieces
}

/// Reasoning goes back only with the calls that it led to; a call's place in the list is its index, and its type is
/// `function` unless said otherwise. The predecessor of calls, `function_call`, is not remembered.
fn drop_of_chat(message: &mut Map<String, Value>) {
    message.shift_remove("function_call");
    if message.get("tool_calls").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        message.shift_remove("reasoning_content");
        message.shift_remove("reasoning");
    }
    for call in message.get_mut("tool_calls").and_then(Value::as_array_mut).into_iter().flatten() {
        let call = call.as_object_mut().unwrap();
        call.shift_remove("index");
        call.entry("type").or_insert("function".into());
        if let Some(function) = call.get_mut("function").and_then(Value::as_object_mut) {
            let arguments = function.entry("arguments").or_insert("{}".into());
            if arguments == "" {
                *arguments = "{}".into();
            }
        }
    }
}

/// Ids and states of items are the provider's own, and so is reasoning that is neither sealed nor shown.
fn drop_of_responses(item: &mut Map<String, Value>) {
    let kind = item.get("type").and_then(Value::as_str).unwrap_or("message").to_owned();
    if kind == "message" {
        ["type", "id", "status"].iter().for_each(|name| drop(item.shift_remove(*name)));
    }
    if kind == "reasoning" {
        item.shift_remove("status");
        let sealed = item.get("encrypted_content").is_some_and(Value::is_string);
        if !sealed && item.get("content").and_then(Value::as_array).is_none_or(Vec::is_empty) {
            item.clear();
        }
    }
    if kind.starts_with("function_call") || kind.starts_with("custom_tool_call") {
        ["id", "status"].iter().for_each(|name| drop(item.shift_remove(*name)));
        if let Some(output) = item.shift_remove("output") {
            item.insert("output".into(), parts(Some(output)).into());
        }
    }
}

/// Content as parts; a string is one text, and a text is one whatever its part is called.
fn parts(content: Option<Value>) -> Vec<Value> {
    match content {
        Some(Value::String(text)) => vec![json!({ "text": text })],
        Some(Value::Array(parts)) => parts.into_iter().map(part).collect(),
        _ => Vec::new(),
    }
}

fn part(value: Value) -> Value {
    let Value::Object(mut fields) = value else { return value };
    match fields.get("type").and_then(Value::as_str).unwrap_or_default() {
        "text" | "input_text" | "output_text" => drop(fields.shift_remove("type")),
        // `auto` is the default.
        "input_image" if fields.get("detail").is_none_or(|detail| detail == "auto") => {
            fields.shift_remove("detail");
        }
        "tool_result" => {
            if let Some(content) = fields.shift_remove("content") {
                fields.insert("content".into(), parts(Some(content)).into());
            }
            if fields.get("is_error") == Some(&Value::Bool(false)) {
                fields.shift_remove("is_error");
            }
        }
        _ => {}
    }
    plain(Value::Object(fields))
}

/// An object without what says nothing, its keys sorted.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut out = Map::new();
            for (name, value) in fields {
                let value = plain(value);
                let empty = match &value {
                    Value::Null => true,
                    Value::Array(items) => items.is_empty(),
                    // Arguments may well be an empty object.
                    Value::Object(fields) => fields.is_empty() && name != "input",
                    _ => false,
                };
                if !empty {
                    out.insert(name, value);
                }
            }
            out.sort_keys();
            Value::Object(out)
        }
        Value::Array(items) => items.into_iter().map(plain).collect(),
        other => other,
    }
}

fn observe<'a>(origin: &Origin, chunks: impl IntoIterator<Item = &'a [u8]>) -> Answer {
    let mut observer = Observer::new(origin.clone());
    for chunk in chunks {
        observer.push(chunk);
    }
    observer.finish(true)
}

fn reads_the_same(origin: &Origin, stream: &str, whole: &Answer) -> Result<(), String> {
    let bytes = stream.as_bytes();
    if bytes.len() <= BYTEWISE && observe(origin, bytes.chunks(1)) != *whole {
        return Err("cut at every byte it reads differently".to_owned());
    }
    if observe(origin, bytes.chunks(7)) != *whole {
        return Err("in chunks of 7 bytes it reads differently".to_owned());
    }
    if observe(origin, stream.split_inclusive("\n\n").map(str::as_bytes)) != *whole {
        return Err("event by event it reads differently".to_owned());
    }
    Ok(())
}

fn ends_well(dialect: Dialect, stream: &str, answer: &Answer) -> Result<(), String> {
    let expected = expected_of_stream(dialect, stream);
    if answer.ending != expected {
        return Err(format!(
            "the stream ends {:?}, not {expected:?}: …{:?}",
            answer.ending,
            &stream[stream.len().saturating_sub(300)..]
        ));
    }
    Ok(())
}

fn expected_of_stream(dialect: Dialect, stream: &str) -> Ending {
    let closing: &[&str] = match dialect {
        Dialect::Chat => &["data: [DONE]", "\"finish_reason\":\"", "\"finish_reason\": \""],
        Dialect::Responses => &[
            "\"type\":\"response.completed\"",
            "\"type\": \"response.completed\"",
            "\"response.incomplete\"",
        ],
        Dialect::Messages => &["\"message_stop\""],
        Dialect::Google => &["\"finishReason\"", "\"blockReason\""],
    };
    let failing: &[&str] = match dialect {
        Dialect::Chat => &["data: {\"error\"", ",\"error\":{"],
        Dialect::Responses => &["\"type\":\"response.failed\"", "\"type\":\"error\""],
        Dialect::Messages => &["event: error"],
        Dialect::Google => &["data: {\"error\""],
    };
    let holds = |marks: &[&str]| marks.iter().any(|mark| stream.contains(mark));
    if holds(failing) {
        Ending::Failed
    } else if holds(closing) {
        Ending::Complete
    } else {
        Ending::Truncated
    }
}

fn expected_of_json(text: &str) -> Ending {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    if value.get("error").is_some_and(|error| !error.is_null()) {
        return Ending::Failed;
    }
    match value.get("status").and_then(Value::as_str) {
        Some("queued" | "in_progress" | "cancelled") => Ending::Truncated,
        Some("failed") => Ending::Failed,
        _ => Ending::Complete,
    }
}
