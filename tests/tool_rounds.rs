//! An answer of several rounds, in which the model calls the gateway's tools: what a client puts together of the stream is
//! what it would have got whole, whoever answers, whoever asks, and however the bytes are cut.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use memory_gateway::dialect::Dialect;
use memory_gateway::error::{Error, Kind};
use memory_gateway::frame::Frame;
use memory_gateway::observe::Observer;
use memory_gateway::project::Tool;
use memory_gateway::tools::limits::Limits;
use memory_gateway::tools::outcome::{Citation, ToolOutcome};
use memory_gateway::tools::rounds::{Finished, Next, Rounds, Terms};
use memory_gateway::translate::StreamTranslator;
use memory_gateway::turn::{
    Answer, Ending, Message, Origin, Part, PartKind, Reasoning, Role, Stop, ToolCall, Usage,
};
use memory_gateway::way::{Way, Written};
use serde_json::{Map, Value, json};

const CLIENTS: [Dialect; 3] = [Dialect::Chat, Dialect::Responses, Dialect::Messages];

fn frame(origin: &Origin) -> Frame {
    Frame {
        id: "5eed".into(),
        model: "m".into(),
        created_at: 0,
        input_estimate: 1,
        stream_usage: true,
        custom_tools: Vec::new(),
        echo: Map::new(),
        origin: origin.clone(),
    }
}

fn way(client: Dialect, origin: &Origin, streams: bool) -> Way {
    Way {
        client,
        target: origin.clone(),
        frame: Some(frame(origin)),
        streams,
        streams_upstream: streams,
        hides_usage: false,
    }
}

fn rounds(dialect: Dialect) -> Rounds {
    let tools = vec![Tool::WebSearch, Tool::Recall];
    Rounds::new(Terms { tools, has_others: true, dialect, limits: Limits::default(), shows_steps: false }, 0)
        .keeping(true)
}

fn text(words: &str) -> Part {
    Part::text(words)
}

fn thought(words: &str, seal: Option<&str>) -> Part {
    PartKind::Reasoning(Reasoning { text: words.into(), sealed: seal.map(str::to_owned), id: None }).into()
}

fn call(id: &str, name: &str) -> Part {
    let arguments = json!({"query": "tides \"at\" Brest"}).to_string();
    PartKind::ToolCall(ToolCall { id: id.into(), name: name.into(), arguments, ..ToolCall::default() }).into()
}

/// Answers in several rounds.
fn scripts() -> Vec<(&'static str, Vec<Vec<Part>>)> {
    vec![
        ("one round", vec![vec![text("At "), text("noon.")]]),
        (
            "words before and after",
            vec![
                vec![text("I look [1]."), call("a", "web_search")],
                vec![call("b", "web_search"), call("c", "recall")],
                vec![text("So it is [1], and [2, 1].")],
            ],
        ),
        (
            "thoughts",
            vec![
                vec![thought("Look it up.", Some("c2VhbCAx")), call("a", "web_search")],
                vec![thought("Say so first.", Some("c2VhbCAy")), text("Hm."), call("b", "web_search")],
                vec![thought("Now I know.", Some("c2VhbCAz")), text("It is [2].")],
            ],
        ),
        (
            "a call of the client's in the last round",
            vec![
                vec![call("a", "web_search")],
                vec![
                    thought("Both.", Some("c2VhbCA0")),
                    text("Wait."),
                    call("b", "web_search"),
                    call("c", "mine"),
                ],
            ],
        ),
        (
            "a call of the client's alone",
            vec![vec![text("I look."), call("a", "recall")], vec![call("b", "mine"), call("c", "mine")]],
        ),
    ]
}

/// What a provider sends for a round.
fn sent(origin: &Origin, parts: &[Part]) -> Vec<u8> {
    let calls = parts.iter().any(|part| matches!(part.kind, PartKind::ToolCall(_)));
    let answer = Answer {
        message: Some(Message {
            origin: Some(origin.clone()),
            ..Message::new(Role::Assistant, parts.to_vec())
        }),
        usage: Some(Usage { input: 100, output: 10, ..Usage::default() }),
        stop: Some(if calls { Stop::ToolCalls } else { Stop::End }),
        ending: Ending::Complete,
    };
    if origin.dialect == Dialect::Google {
        return gemini(parts);
    }
    let mut writer = StreamTranslator::new(origin.dialect, frame(origin));
    let mut sent = writer.begin();
    sent.push_str(&writer.push_whole(answer));
    sent.push_str(&writer.finish(true).last);
    sent.into_bytes()
}

/// As Gemini has it: no ids, and calls do not show in why it stopped.
fn gemini(parts: &[Part]) -> Vec<u8> {
    let part = |part: &Part| match &part.kind {
        PartKind::Text(words) => json!({"text": words}),
        PartKind::Reasoning(reasoning) => json!({"text": reasoning.text, "thought": true}),
        PartKind::ToolCall(call) => {
            let args: Value = serde_json::from_str(&call.arguments).unwrap();
            json!({"functionCall": {"name": call.name, "args": args}, "thoughtSignature": "c2VhbA=="})
        }
        other => panic!("{other:?}"),
    };
    let chunk = |parts: Vec<Value>, stop: Option<&str>| {
        let mut candidate = json!({"content": {"role": "model", "parts": parts}, "index": 0});
        if let Some(stop) = stop {
            candidate["finishReason"] = stop.into();
        }
        let usage = json!({"promptTokenCount": 100, "candidatesTokenCount": 10, "totalTokenCount": 110});
        format!("data: {}\r\n\r\n", json!({"candidates": [candidate], "usageMetadata": usage}))
    };
    let mut sent: String = parts.iter().map(|one| chunk(vec![part(one)], None)).collect();
    sent.push_str(&chunk(Vec::new(), Some("STOP")));
    sent.into_bytes()
}

fn found(call: ToolCall) -> (ToolCall, ToolOutcome) {
    let citation = Citation {
        title: "Tides".into(),
        url: format!("https://{}.example/", call.name.replace('_', "-")),
        snippet: String::new(),
        date: None,
    };
    (call, ToolOutcome { citations: vec![citation], ..ToolOutcome::free("[1] Tides") })
}

/// Runs the rounds as a streamed answer; gives what the client is sent, and what is kept and shown.
fn stream(
    client: Dialect,
    origin: &Origin,
    script: &[Vec<Part>],
    size: usize,
) -> (String, Option<Value>, Answer, Answer) {
    let mut rounds = rounds(origin.dialect);
    let mut stream = way(client, origin, true).stream_rounds().unwrap();
    let mut sent_on = stream.begin();
    for parts in script {
        for chunk in sent(origin, parts).chunks(size) {
            sent_on.push_str(&stream.push(chunk, &rounds));
        }
        let end = stream.end_round(true, &rounds);
        sent_on.push_str(&end.last);
        assert_eq!(end.failure, None);
        let outcomes = match rounds.next(&end.answer, 0) {
            Next::Run(calls, _) => {
                sent_on.push_str(stream.keep_alive());
                rounds.close(end.answer, calls.into_iter().map(|(_, call)| found(call)).collect(), 0);
                continue;
            }
            Next::Keep(calls, _) => calls.into_iter().map(|(_, call)| found(call)).collect(),
            Next::Over => Vec::new(),
        };
        let Finished { kept, shown, .. } = rounds.finish(end.answer, outcomes);
        sent_on.push_str(&stream.finish(&shown, None));
        return (sent_on, stream.whole(), kept, shown);
    }
    panic!("the script has no end");
}

/// Runs them as a whole answer.
fn whole(client: Dialect, origin: &Origin, script: &[Vec<Part>]) -> (Value, Answer) {
    let mut rounds = rounds(origin.dialect);
    let way = way(client, origin, false);
    for parts in script {
        let (answer, _) = way.read_round(rounds.number(), true, &sent(origin, parts)).unwrap();
        let outcomes = match rounds.next(&answer, 0) {
            Next::Run(calls, _) => {
                rounds.close(answer, calls.into_iter().map(|(_, call)| found(call)).collect(), 0);
                continue;
            }
            Next::Keep(calls, _) => calls.into_iter().map(|(_, call)| found(call)).collect(),
            Next::Over => Vec::new(),
        };
        let Finished { kept, shown, .. } = rounds.finish(answer, outcomes);
        let Written::Json(written) = way.write_rounds(shown, None, None).reply.unwrap() else {
            panic!("no JSON")
        };
        return (serde_json::from_str(&written).unwrap(), kept);
    }
    panic!("the script has no end");
}

/// The data of events.
fn data(sent: &str) -> Vec<Value> {
    let data = sent.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter_map(|data| serde_json::from_str(data).ok()).collect()
}

/// A stream of Chat Completions as its clients put it together: the message, why it ended, the counts.
fn put_together_of_chat(sent: &str) -> Value {
    let mut message = json!({"role": "assistant", "content": "", "refusal": ""});
    let (mut stop, mut usage) = (Value::Null, Value::Null);
    for chunk in data(sent) {
        usage = if chunk["usage"].is_null() { usage } else { chunk["usage"].clone() };
        let Some(choice) = chunk["choices"].get(0) else { continue };
        stop = if choice["finish_reason"].is_null() { stop } else { choice["finish_reason"].clone() };
        for (name, value) in choice["delta"].as_object().unwrap() {
            match (name.as_str(), value) {
                ("role", _) => {}
                ("tool_calls", Value::Array(calls)) => {
                    for call in calls {
                        let at = call["index"].as_u64().unwrap() as usize;
                        let mut call = call.clone();
                        call.as_object_mut().unwrap().shift_remove("index");
                        match message["tool_calls"].get_mut(at) {
                            None => push(&mut message["tool_calls"], call),
                            Some(known) => {
                                join(&mut known["function"]["arguments"], &call["function"]["arguments"])
                            }
                        }
                    }
                }
                (_, Value::Array(more)) => more.iter().for_each(|one| push(&mut message[name], one.clone())),
                (_, more) => join(&mut message[name], more),
            }
        }
    }
    json!({"message": message, "stop": stop, "usage": usage})
}

/// A stream of Messages as its clients put it together: the blocks, why it ended, the counts.
fn put_together_of_messages(sent: &str) -> Value {
    let mut content = json!([]);
    let mut inputs: Vec<String> = Vec::new();
    let (mut stop, mut usage) = (Value::Null, Value::Null);
    for event in data(sent) {
        let at = event["index"].as_u64().unwrap_or_default() as usize;
        match event["type"].as_str().unwrap() {
            "content_block_start" => {
                push(&mut content, event["content_block"].clone());
                inputs.push(String::new());
            }
            "content_block_delta" => {
                let (delta, block) = (&event["delta"], &mut content[at]);
                match delta["type"].as_str().unwrap() {
                    "text_delta" => join(&mut block["text"], &delta["text"]),
                    "thinking_delta" => join(&mut block["thinking"], &delta["thinking"]),
                    "signature_delta" => join(&mut block["signature"], &delta["signature"]),
                    "citations_delta" => push(&mut block["citations"], delta["citation"].clone()),
                    _ => inputs[at].push_str(delta["partial_json"].as_str().unwrap()),
                }
            }
            "content_block_stop" if !inputs[at].is_empty() => {
                content[at]["input"] = serde_json::from_str(&inputs[at]).unwrap();
            }
            "message_delta" => {
                (stop, usage) = (event["delta"]["stop_reason"].clone(), event["usage"].clone());
            }
            _ => {}
        }
    }
    json!({"content": content, "stop": stop, "usage": usage})
}

fn push(list: &mut Value, one: Value) {
    match list {
        Value::Array(list) => list.push(one),
        none => *none = json!([one]),
    }
}

fn join(text: &mut Value, more: &Value) {
    let more = more.as_str().unwrap_or_default();
    *text = (text.as_str().unwrap_or_default().to_owned() + more).into();
}

/// A whole answer as what a stream of it is put together to.
fn in_hand(client: Dialect, mut whole: Value) -> Value {
    match client {
        Dialect::Chat => {
            let mut message = whole["choices"][0]["message"].take();
            for name in ["content", "refusal"] {
                if message[name].is_null() {
                    message[name] = "".into();
                }
            }
            json!({"message": message, "stop": whole["choices"][0]["finish_reason"], "usage": whole["usage"]})
        }
        Dialect::Messages => {
            json!({"content": whole["content"], "stop": whole["stop_reason"], "usage": whole["usage"]})
        }
        _ => whole,
    }
}

fn put_together(client: Dialect, sent: &str) -> Value {
    match client {
        Dialect::Chat => put_together_of_chat(sent),
        Dialect::Messages => put_together_of_messages(sent),
        _ => data(sent).pop().unwrap()["response"].take(),
    }
}

fn origins() -> [Origin; 4] {
    [
        (Dialect::Chat, "openrouter"),
        (Dialect::Responses, "openai"),
        (Dialect::Messages, "anthropic"),
        (Dialect::Google, "google"),
    ]
    .map(|(dialect, provider)| Origin { dialect, provider: provider.into() })
}

#[test]
fn what_a_client_puts_together_of_a_stream_is_the_whole_answer() {
    for origin in &origins() {
        for client in CLIENTS {
            for (name, script) in scripts() {
                let about = format!("{name}, {client:?} from {origin:?}");
                let (sent, response, kept, _) = stream(client, origin, &script, usize::MAX);
                let (whole, kept_whole) = whole(client, origin, &script);
                assert_eq!(kept, kept_whole, "{about}");
                assert_eq!(put_together(client, &sent), in_hand(client, whole.clone()), "{about}\n{sent}");
                if client == Dialect::Responses {
                    assert_eq!(response, Some(whole), "{about}");
                }
                for size in [1, 7] {
                    let cut = stream(client, origin, &script, size);
                    assert_eq!((&cut.0, &cut.2), (&sent, &kept), "{about}, in pieces of {size}");
                }
            }
        }
    }
}

#[test]
fn a_stream_of_several_rounds_begins_once_and_ends_once_and_names_no_tool_of_the_gateway_s() {
    for origin in &origins() {
        for client in CLIENTS {
            for (name, script) in scripts() {
                let (sent, ..) = stream(client, origin, &script, usize::MAX);
                let count = |what: &str| sent.matches(what).count();
                let (begin, end) = match client {
                    Dialect::Chat => ("\"role\":\"assistant\"", "data: [DONE]"),
                    Dialect::Responses => ("event: response.created", "event: response.completed"),
                    _ => ("event: message_start", "event: message_stop"),
                };
                assert_eq!((count(begin), count(end)), (1, 1), "{name}, {client:?} from {origin:?}\n{sent}");
                for hidden in ["\"web_search\"", "\"recall\""] {
                    assert_eq!(count(hidden), 0, "{name}, {client:?} from {origin:?}\n{sent}");
                }
                if client == Dialect::Chat {
                    let usage = 100 * script.len();
                    assert_eq!(count(&format!("\"prompt_tokens\":{usage},")), 1, "{name} from {origin:?}");
                }
            }
        }
    }
}

#[test]
fn a_round_that_came_whole_is_told_as_one_that_was_streamed() {
    let script = scripts().remove(1).1;
    for origin in &origins() {
        for client in CLIENTS {
            let mut rounds = rounds(origin.dialect);
            let way = way(client, origin, true);
            let mut stream = way.stream_rounds().unwrap();
            let mut sent_on = stream.begin();
            let mut last = None;
            for parts in &script {
                let (answer, _) = way.read_round(rounds.number(), true, &sent(origin, parts)).unwrap();
                sent_on.push_str(&stream.take_whole(&answer, &rounds));
                sent_on.push_str(&stream.end_round(true, &rounds).last);
                match rounds.next(&answer, 0) {
                    Next::Run(calls, _) => {
                        rounds.close(answer, calls.into_iter().map(|(_, call)| found(call)).collect(), 0);
                    }
                    _ => last = Some(answer),
                }
            }
            let Finished { shown, .. } = rounds.finish(last.unwrap(), Vec::new());
            sent_on.push_str(&stream.finish(&shown, None));
            let (streamed, ..) = self::stream(client, origin, &script, usize::MAX);
            assert_eq!(
                put_together(client, &sent_on),
                put_together(client, &streamed),
                "{client:?} from {origin:?}"
            );
        }
    }
}

#[test]
fn a_round_that_breaks_off_leaves_what_was_said_and_ends_the_stream_as_broken() {
    for client in CLIENTS {
        let origin = &origins()[0];
        let mut rounds = rounds(origin.dialect);
        let mut stream = way(client, origin, true).stream_rounds().unwrap();
        let mut sent_on = stream.begin();
        let first = sent(origin, &[text("I look."), call("a", "web_search")]);
        sent_on.push_str(&stream.push(&first, &rounds));
        let end = stream.end_round(true, &rounds);
        let Next::Run(calls, _) = rounds.next(&end.answer, 0) else { panic!("no call") };
        rounds.close(end.answer, calls.into_iter().map(|(_, call)| found(call)).collect(), 0);
        let second = sent(origin, &[text("So it is said.")]);
        let second = String::from_utf8(second).unwrap();
        let (before, behind) = second.split_once("said.").unwrap();
        let cut = before.len() + "said.".len() + behind.find("\n\n").unwrap() + 2;
        sent_on.push_str(&stream.push(&second.as_bytes()[..cut], &rounds));
        let end = stream.end_round(false, &rounds);
        assert_eq!(end.answer.ending, Ending::Truncated);
        let Finished { kept, .. } = rounds.finish(end.answer, Vec::new());
        sent_on.push_str(&stream.fail(&Error::new(Kind::Upstream, "It broke off.")));
        let me = Origin { dialect: client, provider: "gateway".into() };
        let mut observer = Observer::new(me);
        observer.push(sent_on.as_bytes());
        let heard = observer.finish(true);
        assert_ne!(heard.ending, Ending::Complete, "{client:?}\n{sent_on}");
        assert!(sent_on.contains("It broke off."), "{client:?}");
        let kept = kept.message.unwrap();
        assert_eq!(kept.text(), "I look.\n\nSo it is said.", "{client:?}");
        assert_eq!(kept.tool_results().count(), 1);
    }
}
