//! Which parts of a prompt are marked for the provider's cache, and for whom.

use super::*;

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
