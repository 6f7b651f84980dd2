//! Log probabilities of the answer's tokens.

use memory_gateway::dialect::Dialect;
use memory_gateway::turn::Message;
use serde_json::{Value, json};

use super::{ask, chat_stream, events, hear, param, target};

/// A token as OpenAI tells it.
fn token(text: &str, logprob: f64) -> Value {
    let bytes: Vec<u8> = text.bytes().collect();
    json!({"token": text, "logprob": logprob, "bytes": bytes, "top_logprobs": [
        {"token": text, "logprob": logprob, "bytes": bytes}]})
}

#[test]
fn they_are_asked_for_in_every_form_and_refused_where_there_are_none() {
    let chat = json!({"logprobs": true, "top_logprobs": 2});
    let responses = json!({"include": ["message.output_text.logprobs"], "top_logprobs": 2});
    for (client, asked) in [(Dialect::Chat, &chat), (Dialect::Responses, &responses)] {
        let to = |dialect| ask(client, asked.clone(), &target(dialect), "m");
        if client != Dialect::Chat {
            let body = to(Dialect::Chat).unwrap().body;
            assert_eq!((&body["logprobs"], &body["top_logprobs"]), (&true.into(), &2.into()));
        } else {
            let body = to(Dialect::Responses).unwrap().body;
            let include = json!(["reasoning.encrypted_content", "message.output_text.logprobs"]);
            assert_eq!((&body["include"], &body["top_logprobs"]), (&include, &2.into()));
        }
        assert_eq!(
            to(Dialect::Google).unwrap().body["generationConfig"],
            json!({"responseLogprobs": true, "logprobs": 2})
        );
        let field = client.name_of(memory_gateway::request::Field::Logprobs).unwrap();
        assert_eq!(param(&to(Dialect::Messages).unwrap_err()), (400, "unsupported_field", field.to_owned()));
    }
    // Without alternatives.
    let bare = ask(
        Dialect::Responses,
        json!({"include": ["message.output_text.logprobs"]}),
        &target(Dialect::Chat),
        "m",
    );
    let body = bare.unwrap().body;
    assert_eq!((&body["logprobs"], body.get("top_logprobs")), (&true.into(), None));
}

#[test]
fn those_of_chat_reach_responses_whole_and_streamed() {
    let told = vec![token("He", -0.5), token("llo", -0.25)];
    let whole = json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"},
        "logprobs": {"content": told, "refusal": null}, "finish_reason": "stop"}]});
    let (answer, known) = hear(Dialect::Responses, &target(Dialect::Chat), &[], &whole.to_string());
    let text = json!({"type": "output_text", "annotations": [], "logprobs": told, "text": "Hello"});
    assert_eq!(answer[0]["output"][0]["content"], json!([text]));
    assert_eq!(known.message.clone().unwrap().parts[0].extra["logprobs"], json!(told));
    // They are told and not kept.
    assert_eq!(
        known.message.map(Message::without_logprobs).unwrap().parts,
        [memory_gateway::turn::Part::text("Hello")]
    );

    let choice = |text: &str, tokens: &[Value]| json!({"index": 0, "delta": {"content": text}, "logprobs": {"content": tokens}});
    let stream = chat_stream(&[
        json!({"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": {"content": []}}),
        choice("He", &told[..1]),
        choice("llo", &told[1..]),
    ]);
    let (sent, _) = hear(Dialect::Responses, &target(Dialect::Chat), &[], &stream);
    let deltas: Vec<&Value> = sent
        .iter()
        .filter(|event| event["type"] == "response.output_text.delta")
        .flat_map(|event| event["logprobs"].as_array().unwrap())
        .collect();
    assert_eq!(deltas, told.iter().collect::<Vec<_>>());
    assert_eq!(sent.last().unwrap()["response"]["output"][0]["content"], json!([text]));
}

#[test]
fn those_of_tokens_without_words_are_left_out() {
    let call = json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}});
    let stream = chat_stream(&[
        json!({"index": 0, "delta": {"tool_calls": [call]}, "logprobs": {"content": [token("x", -1.0)]}}),
    ]);
    let (_, known) = hear(Dialect::Responses, &target(Dialect::Chat), &[], &stream);
    let message = known.message.unwrap();
    assert!(message.extra.is_empty() && message.parts[0].extra.is_empty(), "{message:?}");
}

#[test]
fn those_of_responses_and_gemini_reach_chat_whole_and_streamed() {
    let told = vec![token("He", -0.5), token("llo", -0.25)];
    let part = json!({"type": "output_text", "text": "Hello", "annotations": [], "logprobs": told});
    let response = json!({"status": "completed", "output": [{"type": "message", "role": "assistant", "content": [part]}]});
    let delta = |text: &str, tokens: &[Value]| json!({"type": "response.output_text.delta", "delta": text, "logprobs": tokens});
    let responses = events(&[
        delta("He", &told[..1]),
        delta("llo", &told[1..]),
        json!({"type": "response.completed", "response": response}),
    ]);
    let candidate = |text: &str, tokens: &[(&str, f64)], finish: Option<&str>| {
        let chosen: Vec<Value> = tokens
            .iter()
            .map(|(token, logprob)| json!({"token": token, "logProbability": logprob}))
            .collect();
        let tops: Vec<Value> = chosen.iter().map(|token| json!({"candidates": [token]})).collect();
        json!({"candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": finish,
            "logprobsResult": {"chosenCandidates": chosen, "topCandidates": tops}}]})
    };
    let (first, second) = (("He", -0.5), ("llo", -0.25));
    let gemini = events(&[candidate("He", &[first], None), candidate("llo", &[second], Some("STOP"))]);
    let gemini_whole = candidate("Hello", &[first, second], Some("STOP"));
    for (dialect, whole, stream) in
        [(Dialect::Responses, response, responses), (Dialect::Google, gemini_whole, gemini)]
    {
        let (answer, _) = hear(Dialect::Chat, &target(dialect), &[], &whole.to_string());
        assert_eq!(
            answer[0]["choices"][0]["logprobs"],
            json!({"content": told, "refusal": null}),
            "{dialect:?}"
        );
        let (sent, _) = hear(Dialect::Chat, &target(dialect), &[], &stream);
        let streamed: Vec<&Value> = sent
            .iter()
            .filter_map(|chunk| chunk["choices"][0]["logprobs"]["content"].as_array())
            .flatten()
            .collect();
        assert_eq!(streamed, told.iter().collect::<Vec<_>>(), "{dialect:?}");
    }
}
