//! Streams, good and broken: told whole or cut, the same story; by the grammar of steps; and a client reads what was said.

use memory_gateway::dialect::Dialect;
use memory_gateway::error::{Error, Kind};
use memory_gateway::frame::Frame;
use memory_gateway::free_text;
use memory_gateway::gather::Step;
use memory_gateway::observe::Observer;
use memory_gateway::translate::StreamTranslator;
use memory_gateway::turn::{Answer, Ending, Origin, Part, PartKind};
use memory_gateway::way::Way;
use serde_json::{Value, json};

use super::steps::{obeyed, tell_chunks};
use super::{CLIENTS, Random, UPSTREAMS, frame, mutate, origin, rounds};

/// The events of good streams, a name and data each.
fn events(dialect: Dialect, random: &mut Random) -> Vec<(&'static str, Value)> {
    let chat = |delta: Value| json!({"id": "c", "choices": [{"index": 0, "delta": delta}]});
    let call = |at: u64, id: Value, name: Value, piece: &str| json!({"tool_calls": [{"index": at, "id": id, "function": {"name": name, "arguments": piece}}]});
    let plain = |values: Vec<Value>| values.into_iter().map(|value| ("", value)).collect();
    let named = |values: Vec<(&'static str, Value)>| {
        let full = |(name, mut value): (&'static str, Value)| {
            value["type"] = name.into();
            (name, value)
        };
        values.into_iter().map(full).collect()
    };
    let blocks = |at: u64, block: Value, deltas: &[Value]| {
        let mut out = vec![("content_block_start", json!({"index": at, "content_block": block}))];
        out.extend(deltas.iter().map(|delta| ("content_block_delta", json!({"index": at, "delta": delta}))));
        out.push(("content_block_stop", json!({"index": at})));
        out
    };
    match dialect {
        Dialect::Chat => plain(vec![
            chat(json!({"role": "assistant", "content": ""})),
            chat(json!({"reasoning_content": "hm"})),
            chat(json!({"reasoning_details": [{"type": "reasoning.encrypted", "data": "ZZ", "index": 0}]})),
            chat(json!({"content": "Hé"})),
            chat(json!({"content": "llo\n", "annotations": [{"type": "url_citation", "url_citation":
                {"url": "https://a", "title": "t", "start_index": 0, "end_index": 2}}]})),
            chat(call(0, "a".into(), "find".into(), "")),
            chat(call(0, Value::Null, Value::Null, "{\"q\":")),
            chat(call(1, "b".into(), "count".into(), "{}")),
            chat(call(0, Value::Null, Value::Null, "1}")),
            chat(json!({"refusal": "no"})),
            json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}),
            json!({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 6}}),
            "[DONE]".into(),
        ]),
        Dialect::Messages => {
            let usage = json!({"input_tokens": 3, "output_tokens": 1});
            let mut out = vec![("message_start", json!({"message": {"id": "m", "usage": usage}}))];
            let delta = |kind: &str, field: &str, text: &str| json!({"type": kind, field: text});
            out.extend(blocks(
                0,
                json!({"type": "thinking", "thinking": "", "signature": ""}),
                &[delta("thinking_delta", "thinking", "hm"), delta("signature_delta", "signature", "ZZ")],
            ));
            out.extend(blocks(1, json!({"type": "redacted_thinking", "data": "YY"}), &[]));
            out.extend(blocks(2, json!({"type": "text", "text": ""}), &[
                delta("text_delta", "text", "Hé"),
                json!({"type": "citations_delta", "citation": {"type": "web_search_result_location", "url": "https://a"}}),
                delta("text_delta", "text", "llo"),
            ]));
            out.extend(blocks(
                3,
                json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}),
                &[delta("input_json_delta", "partial_json", "{\"query\":\"x\"}")],
            ));
            out.extend(blocks(
                4,
                json!({"type": "tool_use", "id": "a", "name": "find", "input": {}}),
                &[
                    delta("input_json_delta", "partial_json", ""),
                    delta("input_json_delta", "partial_json", "{\"q\":"),
                    delta("input_json_delta", "partial_json", "1}"),
                ],
            ));
            out.extend(blocks(5, json!({"type": "tool_use", "id": "b", "name": "count", "input": {}}), &[]));
            out.push(("ping", json!({})));
            out.push((
                "message_delta",
                json!({"delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}}),
            ));
            if random.one_in(8) {
                out.push(("error", json!({"error": {"type": "overloaded_error", "message": "busy"}})));
            }
            out.push(("message_stop", json!({})));
            named(out)
        }
        Dialect::Google => {
            let parts =
                |parts: Value| json!({"candidates": [{"content": {"role": "model", "parts": parts}}]});
            plain(vec![
                parts(json!([{"text": "hm", "thought": true}])),
                parts(json!([{"text": "Hé"}])),
                parts(json!([{"text": "llo", "thoughtSignature": "ZZ"}])),
                parts(json!([{"functionCall": {"name": "find", "args": {"q": 1}}, "thoughtSignature": "YY"},
                    {"functionCall": {"id": "b", "name": "count"}}])),
                parts(
                    json!([{"executableCode": {"code": "1"}}, {"inlineData": {"mimeType": "image/png", "data": "AA=="}}]),
                ),
                json!({"candidates": [{"content": {"parts": [{"text": ""}]}, "finishReason": "STOP", "groundingMetadata":
                    {"groundingChunks": [{"web": {"uri": "https://a", "title": "t"}}], "groundingSupports":
                    [{"segment": {"startIndex": 0, "endIndex": 3}, "groundingChunkIndices": [0]}]}}],
                    "usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 5, "totalTokenCount": 9}}),
            ])
        }
        Dialect::Responses => {
            let thought = json!({"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "hm"}],
                "encrypted_content": "ZZ"});
            let source = json!({"type": "url_citation", "url": "https://a", "title": "t", "start_index": 0, "end_index": 2});
            let text = json!({"type": "output_text", "text": "Héllo", "annotations": [source]});
            let said = json!({"type": "message", "id": "msg", "role": "assistant", "content": [text,
                {"type": "refusal", "refusal": "no"}]});
            let call = json!({"type": "function_call", "id": "fc", "call_id": "a", "name": "find", "arguments": "{\"q\":1}"});
            let free = json!({"type": "custom_tool_call", "id": "ctc", "call_id": "b", "name": "patch", "input": "x y"});
            let search = json!({"type": "web_search_call", "id": "ws", "status": "completed"});
            let output = json!([thought, said, call, free, search]);
            let begun = |item: &Value| {
                let mut item = item.clone();
                for name in ["summary", "content"] {
                    if item.get(name).is_some() {
                        item[name] = json!([]);
                    }
                }
                for name in ["arguments", "input"] {
                    if item.get(name).is_some() {
                        item[name] = "".into();
                    }
                }
                item
            };
            let mut out = vec![("response.created", json!({"response": {"id": "resp", "output": []}}))];
            let mut item = |index: u64, item: &Value, deltas: Vec<(&'static str, Value)>| {
                out.push(("response.output_item.added", json!({"output_index": index, "item": begun(item)})));
                out.extend(deltas.into_iter().map(|(name, mut data)| {
                    data["output_index"] = index.into();
                    (name, data)
                }));
                out.push(("response.output_item.done", json!({"output_index": index, "item": item})));
            };
            let delta = |text: &str| json!({ "delta": text });
            item(0, &thought, vec![("response.reasoning_summary_text.delta", delta("hm"))]);
            item(
                1,
                &said,
                vec![
                    ("response.content_part.added", json!({"part": {"type": "output_text", "text": ""}})),
                    ("response.output_text.delta", delta("Hé")),
                    ("response.output_text.annotation.added", json!({"annotation": source})),
                    ("response.output_text.delta", delta("llo")),
                    ("response.refusal.delta", delta("no")),
                ],
            );
            item(
                2,
                &call,
                vec![
                    ("response.function_call_arguments.delta", delta("{\"q\":")),
                    ("response.function_call_arguments.delta", delta("1}")),
                ],
            );
            item(3, &free, vec![("response.custom_tool_call_input.delta", delta("x y"))]);
            item(4, &search, Vec::new());
            let usage = json!({"input_tokens": 5, "output_tokens": 6});
            let response = json!({"id": "resp", "status": "completed", "output": output, "usage": usage});
            if random.one_in(8) {
                out.push((
                    "response.failed",
                    json!({"response": {"status": "failed", "error": {"message": "busy"}}}),
                ));
            }
            out.push(("response.completed", json!({ "response": response })));
            named(out)
        }
    }
}

/// A stream: mostly a good one with some of its events lost, doubled, swapped or changed.
fn stream(dialect: Dialect, random: &mut Random) -> Vec<u8> {
    if random.one_in(12) {
        return noise(random);
    }
    let mut events = events(dialect, random);
    for _ in 0..random.below(4) {
        let at = random.below(events.len());
        let to = random.below(events.len());
        match random.below(4) {
            0 => drop(events.remove(at)),
            1 => events.insert(to, events[at].clone()),
            2 => events.swap(at, to),
            _ => mutate(&mut events[at].1, random),
        }
    }
    let end = *random.pick(&["\n", "\n", "\r\n", "\r"]);
    let mut text = String::new();
    for (name, data) in events {
        let data = data.as_str().map_or_else(|| data.to_string(), str::to_owned);
        if !name.is_empty() {
            text += &format!("event: {name}{end}");
        }
        text += &format!("data: {data}{end}{end}");
    }
    let mut bytes = text.into_bytes();
    if random.one_in(4) {
        bytes.truncate(random.below(bytes.len()));
    }
    if random.one_in(4) && !bytes.is_empty() {
        let at = random.below(bytes.len());
        bytes[at] = u8::try_from(random.below(256)).unwrap();
    }
    bytes
}

fn noise(random: &mut Random) -> Vec<u8> {
    const WORDS: [&[u8]; 12] = [
        b"data: ",
        b"event: ",
        b"\n",
        b"\n\n",
        b"\r",
        b"{}",
        b"[",
        b"[DONE]",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b":",
        b"null",
    ];
    (0..random.below(40)).flat_map(|_| random.pick(&WORDS).to_vec()).collect()
}

/// What a client is told of a picture that its format cannot hold.
const MEDIUM: &str = "[The model answered with a medium that this API format cannot carry.]";

struct Told {
    answer: Answer,
    steps: Vec<Step>,
    sent: String,
    failure: Option<String>,
}

fn tell(client: Dialect, upstream: &Origin, frame: &Frame, chunks: &[&[u8]]) -> Told {
    let (answer, steps) = tell_chunks(Observer::framed(frame), chunks.iter().copied());
    let mut translator = StreamTranslator::new(client, frame.clone());
    let mut plain = Observer::new(upstream.clone());
    let mut sent = translator.begin();
    for chunk in chunks {
        plain.push(chunk);
        sent += &translator.push(chunk);
    }
    let mut finished = translator.finish(true);
    assert_eq!(finished.answer, answer);
    assert_eq!(plain.finish(true).ending, answer.ending);
    sent += &finished.last;
    if answer.ending != Ending::Complete {
        sent += &finished.writer.fail(&Error::new(Kind::Upstream, "broken"));
    }
    Told { answer, steps, sent, failure: finished.failure }
}

#[test]
fn a_stream_is_told_well_whatever_it_holds_and_however_it_is_cut() {
    rounds(|random| {
        let (upstream, provider, _) = *random.pick(UPSTREAMS);
        let client = *random.pick(CLIENTS);
        let upstream = origin(upstream, provider);
        let bytes = stream(upstream.dialect, random);
        let text = || format!("{client:?} from {upstream:?}: {}", String::from_utf8_lossy(&bytes));
        let mut frame = frame(upstream.clone());
        if random.one_in(3) {
            // A function that stands in for a custom tool.
            frame.custom_tools = vec![(*random.pick(&["find", "count"])).to_owned()];
        }
        let whole = tell(client, &upstream, &frame, &[&bytes]);
        let (mut rest, mut chunks) = (bytes.as_slice(), Vec::new());
        let most = *random.pick(&[1, 3, 20, 200]);
        while !rest.is_empty() {
            let (chunk, tail) = rest.split_at((1 + random.below(most)).min(rest.len()));
            chunks.push(chunk);
            rest = tail;
        }
        let cut = tell(client, &upstream, &frame, &chunks);
        assert_eq!((&whole.answer, &whole.steps), (&cut.answer, &cut.steps), "{}", text());
        assert_eq!((&whole.sent, &whole.failure), (&cut.sent, &cut.failure), "{}", text());
        if let Err(why) = obeyed(&whole.answer, &whole.steps) {
            panic!("{why}: {}\n{:?}", text(), whole.steps);
        }
        let mut heard = Observer::new(origin(client, "gateway"));
        heard.push(whole.sent.as_bytes());
        let heard = heard.finish(true);
        let complete = |answer: &Answer| answer.ending == Ending::Complete;
        assert_eq!(complete(&heard), complete(&whole.answer), "{}\nsent: {}", text(), whole.sent);
        if complete(&heard) {
            let heard = heard.message.map(|message| message.parts).unwrap_or_default();
            // Pieces that come behind a whole call are kept and not told: the client has been given the call.
            let mut told: Vec<(usize, &Part)> = whole
                .steps
                .iter()
                .filter_map(|step| match step {
                    Step::Close { at, part } => Some((*at, part)),
                    _ => None,
                })
                .collect();
            told.sort_by_key(|(at, _)| *at);
            let told = told.into_iter().map(|(_, part)| part);
            assert_eq!(said(heard.iter()), said(told), "{}\nsent: {}", text(), whole.sent);
        }
        for (streams, is_stream) in [(false, false), (false, true), (true, false), (true, true)] {
            for frame in [None, Some(frame.clone())] {
                let way = Way {
                    client,
                    target: upstream.clone(),
                    frame,
                    streams,
                    streams_upstream: is_stream,
                    hides_usage: false,
                };
                way.read_whole(200, is_stream, &bytes);
            }
        }
    });
}

/// The words and the calls.
fn said<'a>(parts: impl Iterator<Item = &'a Part>) -> (String, Vec<(&'a str, String)>) {
    let (mut words, mut calls) = (String::new(), Vec::new());
    for part in parts {
        match &part.kind {
            // Messages has no refusals; they are texts there.
            PartKind::Text(more) | PartKind::Refusal(more) => words += more,
            // Nor has it custom tools; their text stands in an object there.
            PartKind::ToolCall(call) if call.custom => {
                calls.push((call.name.as_str(), free_text::object(call).to_string()));
            }
            PartKind::ToolCall(call) => calls.push((call.name.as_str(), call.arguments.clone())),
            _ => {}
        }
    }
    (words.replace(MEDIUM, ""), calls)
}
