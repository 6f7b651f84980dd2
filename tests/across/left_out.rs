//! What is left out because the answer is as good without, by the client's own names; and whose answer broke off.

use memory_gateway::carriage::Carriage;
use memory_gateway::dialect::Dialect;
use memory_gateway::error::{Error, Kind};
use memory_gateway::observe::Observer;
use serde_json::{Value, json};

use super::{ask, events, target};

fn ignored(fields: Value, model: &str) -> (Vec<String>, Vec<String>) {
    let told = ask(Dialect::Chat, fields, &target(Dialect::Messages), model).unwrap();
    let body = told.body.as_object().unwrap();
    let sampling = ["temperature", "top_p", "top_k"].iter().filter(|name| body.contains_key(**name));
    (told.ignored, sampling.map(|name| (*name).to_owned()).collect())
}

#[test]
fn how_to_sample_is_named_where_the_model_takes_none_of_it() {
    let all = json!({"temperature": 0.5, "top_p": 0.9, "top_k": 5});
    let mut thinking = all.clone();
    thinking["reasoning_effort"] = "low".into();
    let none = Vec::<String>::new;
    let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let everything = || named(&["temperature", "top_p", "top_k"]);
    for (fields, model, left_out, kept) in [
        (all.clone(), "claude-sonnet-4-5", named(&["top_p"]), named(&["temperature", "top_k"])),
        (all.clone(), "claude-3-7-sonnet", none(), everything()),
        (all, "claude-opus-4-8", everything(), none()),
        (thinking, "claude-sonnet-4-5", everything(), none()),
        (json!({"top_p": 0.97, "reasoning_effort": "low"}), "claude-sonnet-4-5", none(), named(&["top_p"])),
        // Ones change nothing, so nothing is lost.
        (json!({"temperature": 1, "top_p": 1}), "claude-opus-4-8", none(), none()),
        (json!({"temperature": 1, "top_p": 0.9}), "claude-sonnet-4-5", none(), named(&["top_p"])),
    ] {
        assert_eq!(ignored(fields.clone(), model), (left_out, kept), "{model} {fields}");
    }
}

#[test]
fn the_name_of_a_participant_is_named_where_no_message_can_bear_it() {
    let named = json!({"messages": [{"role": "user", "name": "Ada", "content": "hi"}, {"role": "user", "name": "Bo", "content": "ho"}]});
    for dialect in [Dialect::Messages, Dialect::Responses, Dialect::Google] {
        let told = ask(Dialect::Chat, named.clone(), &target(dialect), "m").unwrap();
        assert_eq!(told.ignored, ["messages[].name"], "{dialect:?}");
        assert!(!told.body.to_string().contains("Ada"));
    }
    let told = ask(Dialect::Chat, json!({}), &target(Dialect::Messages), "m").unwrap();
    assert_eq!(told.ignored, Vec::<String>::new());
}

#[test]
fn a_stream_of_responses_that_breaks_off_fails_under_the_id_that_it_began_with() {
    let error = Error::new(Kind::Upstream, "It broke off.").with_code("upstream_incomplete");
    let failed = |begun: &[Value]| {
        let observer = Observer::new(target(Dialect::Responses));
        let mut carriage = Carriage::native(Dialect::Responses, Some(observer), false, false);
        carriage.push(events(begun).as_bytes());
        carriage.finish(true);
        let text = carriage.fail(&error);
        let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
        serde_json::from_str::<Value>(data).unwrap()
    };
    let created = json!({"type": "response.created", "response": {"id": "resp_7", "status": "in_progress"}});
    let delta = json!({"type": "response.output_text.delta", "delta": "half"});
    let told = json!({"code": "upstream_incomplete", "message": "It broke off."});
    assert_eq!(
        failed(&[created, delta.clone()]),
        json!({"type": "response.failed", "response": {"id": "resp_7", "object": "response", "status": "failed",
            "error": told, "output": []}})
    );
    assert_eq!(failed(&[delta])["response"].get("id"), None);
}
