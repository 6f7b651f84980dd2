//! What crosses from one dialect to another, from the client's request to the client's answer: log probabilities, custom
//! tools, searches of the web, and what is left out by name.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod custom_tools;
mod left_out;
mod logprobs;
mod web_search;

use memory_gateway::body::Body;
use memory_gateway::dialect::Dialect;
use memory_gateway::error::Error;
use memory_gateway::frame::Frame;
use memory_gateway::memory::context::Item;
use memory_gateway::prompt;
use memory_gateway::translate::{self, StreamTranslator, Translated};
use memory_gateway::turn::{Answer, Origin};
use memory_gateway::way::{Way, Whole, Written};
use serde_json::{Map, Value, json};

/// Who is asked: an OpenAI-compatible server without tools for free text, and the makers of the other formats.
fn target(dialect: Dialect) -> Origin {
    let provider = match dialect {
        Dialect::Chat => "groq",
        Dialect::Responses => "openai",
        Dialect::Messages => "anthropic",
        Dialect::Google => "google",
    };
    Origin { dialect, provider: provider.into() }
}

/// A request of a client, as the target gets it. What every request must have is added.
fn ask(client: Dialect, fields: Value, target: &Origin, model: &str) -> Result<Translated, Error> {
    let mut request = match client {
        Dialect::Responses => json!({"input": "hi"}),
        _ => json!({"messages": [{"role": "user", "content": "hi"}]}),
    };
    request["model"] = model.into();
    request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let bytes = request.to_string();
    let body = Body::parse(bytes.as_bytes()).unwrap();
    let origin = Origin { dialect: client, provider: target.provider.clone() };
    let conversation = client.read_conversation(&body, &origin).unwrap();
    let items = (0..prompt::count_messages(&conversation)).map(Item::Keep).collect();
    let request = client.read_request(&body, prompt::entries(client, conversation, items)).unwrap();
    translate::request(request, client, target)
}

/// The field that a refusal names.
fn param(error: &Error) -> (u16, &'static str, String) {
    let body = error.body();
    (error.status(), error.code().unwrap_or_default(), body["error"]["param"].as_str().unwrap().to_owned())
}

/// What a client gets of an answer, and what is known of it: whole, or as the data of its events.
fn hear(client: Dialect, target: &Origin, custom_tools: &[&str], answer: &str) -> (Vec<Value>, Answer) {
    let is_stream = answer.starts_with("data:") || answer.starts_with("event:");
    let frame = Frame {
        id: "5eed".into(),
        model: "m".into(),
        created_at: 0,
        input_estimate: 1,
        stream_usage: false,
        custom_tools: custom_tools.iter().map(|name| (*name).to_owned()).collect(),
        echo: Map::new(),
        origin: target.clone(),
    };
    let read_whole = |streams: bool| {
        let way = Way {
            client,
            target: target.clone(),
            frame: Some(frame.clone()),
            streams,
            streams_upstream: streams,
            hides_usage: false,
        };
        let Whole { outcome, reply } = way.read_whole(200, is_stream, answer.as_bytes());
        match reply.unwrap() {
            Written::Json(text) => (vec![serde_json::from_str(&text).unwrap()], outcome.answer.unwrap()),
            Written::Events(text) => (data(&text), outcome.answer.unwrap()),
            Written::Same => panic!("the answer is not translated"),
        }
    };
    // What is known of an answer is the same however it comes and however the client wants it.
    let (whole, known) = read_whole(false);
    assert_eq!(read_whole(true).1, known);
    if !is_stream {
        return (whole, known);
    }
    let streamed = |size: usize| {
        let mut translator = StreamTranslator::new(client, frame.clone());
        let mut text = translator.begin();
        answer.as_bytes().chunks(size).for_each(|chunk| text += &translator.push(chunk));
        let finished = translator.finish(true);
        assert_eq!(finished.answer, known);
        text + &finished.last
    };
    let text = streamed(answer.len());
    assert_eq!(streamed(7), text);
    (data(&text), known)
}

/// The data of events.
fn data(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter_map(|data| serde_json::from_str(data).ok()).collect()
}

/// The events of a stream.
fn events(data: &[Value]) -> String {
    data.iter().map(|data| format!("data: {data}\n\n")).collect()
}

/// A stream of Chat Completions with these choices.
fn chat_stream(choices: &[Value]) -> String {
    let mut data: Vec<Value> = choices.iter().map(|choice| json!({"choices": [choice]})).collect();
    data.push(json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}));
    events(&data) + "data: [DONE]\n\n"
}

/// A stream of Messages with these blocks, each with its deltas.
fn messages_stream(blocks: &[(Value, Vec<Value>)]) -> String {
    let mut data = vec![json!({"type": "message_start", "message": {"id": "m", "content": []}})];
    for (index, (block, deltas)) in blocks.iter().enumerate() {
        data.push(json!({"type": "content_block_start", "index": index, "content_block": block}));
        for delta in deltas {
            data.push(json!({"type": "content_block_delta", "index": index, "delta": delta}));
        }
        data.push(json!({"type": "content_block_stop", "index": index}));
    }
    data.push(json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}));
    data.push(json!({"type": "message_stop"}));
    events(&data)
}
