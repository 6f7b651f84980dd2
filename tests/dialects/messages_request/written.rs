//! Requests as they are written for a provider that speaks Messages.

use memory_gateway::dialect::Dialect;
use memory_gateway::request::{Effort, Entry, Format, Thinking, Tool, ToolChoice};
use memory_gateway::turn::{
    Media, Message, Origin, Part, PartKind, Reasoning, Role, Source, ToolCall, ToolResult,
};
use serde_json::{Value, json};

use super::super::{call, said};
use super::{asked, entry, function, instruction, question, refusal, request, result, written};

#[test]
fn a_plain_question_needs_only_the_limit() {
    assert_eq!(
        written(&question("claude-sonnet-4-5")),
        json!({"model": "claude-sonnet-4-5", "max_tokens": 64000, "messages": [{"role": "user", "content": "q"}]})
    );
}

#[test]
fn instructions_lead_and_later_ones_keep_their_place() {
    let request = request(
        "claude-sonnet-4-5",
        vec![
            instruction("first"),
            instruction("second"),
            entry(said(Role::User, "q")),
            instruction("from here on in French"),
            entry(said(Role::Assistant, "a")),
            instruction("\n"),
            instruction("now in Greek"),
        ],
    );
    let body = written(&request);
    assert_eq!(
        body["system"],
        json!([{"type": "text", "text": "first"}, {"type": "text", "text": "second"}])
    );
    assert_eq!(
        body["messages"],
        json!([
            {"role": "user", "content": [
                {"type": "text", "text": "q"},
                {"type": "text", "text": "<system>\nfrom here on in French\n</system>"}]},
            {"role": "assistant", "content": "a"},
            {"role": "user", "content": "<system>\nnow in Greek\n</system>"},
        ])
    );
    let single = self::request("m", vec![instruction("s"), entry(said(Role::User, "q"))]);
    assert_eq!(written(&single)["system"], "s");
}

#[test]
fn all_results_of_a_turn_come_first_in_the_turn_behind_the_calls() {
    let calls = Message::new(
        Role::Assistant,
        vec![Part::text("both"), call("functions.f:0", "f", "{\"a\":1}").into(), call("b", "g", "").into()],
    );
    let request = request(
        "claude-sonnet-4-5",
        vec![
            entry(said(Role::User, "q")),
            entry(calls),
            instruction("be quick"),
            entry(result("functions.f:0", "1")),
            entry(said(Role::User, " ")),
            entry(result("b", "")),
            entry(said(Role::User, "and?")),
        ],
    );
    assert_eq!(
        written(&request)["messages"],
        json!([
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": [
                {"type": "text", "text": "both"},
                {"type": "tool_use", "id": "functions_f_0", "name": "f", "input": {"a": 1}},
                {"type": "tool_use", "id": "b", "name": "g", "input": {}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "functions_f_0", "content": "1"},
                {"type": "tool_result", "tool_use_id": "b"},
                {"type": "text", "text": "<system>\nbe quick\n</system>"},
                {"type": "text", "text": "and?"}]},
        ])
    );
}

#[test]
fn both_ends_are_such_as_the_api_takes_them() {
    let messages = |model: &str, entries: Vec<Entry>| written(&request(model, entries))["messages"].clone();
    let prefilled = || {
        vec![
            entry(said(Role::Assistant, "hello")),
            entry(said(Role::User, "q")),
            entry(said(Role::Assistant, "{ \n")),
        ]
    };
    let filler = json!({"role": "user", "content": "…"});
    assert_eq!(
        messages("claude-sonnet-4-5", prefilled()),
        json!([filler, {"role": "assistant", "content": "hello"}, {"role": "user", "content": "q"},
               {"role": "assistant", "content": "{"}])
    );
    assert_eq!(
        messages("claude-opus-4-6", prefilled())[4],
        json!({"role": "user", "content": "Continue."}),
        "newer models do not go on from their own words"
    );
    assert_eq!(messages("m", vec![instruction("only this")]), json!([filler]));
}

#[test]
fn sampling_is_sent_where_the_model_takes_it() {
    let number = |text: &str| serde_json::from_str(text).unwrap();
    let sampled = |model: &str, temperature: &str, top_p: &str| {
        let mut request = question(model);
        request.temperature = Some(number(temperature));
        request.top_p = Some(number(top_p));
        request.top_k = Some(5);
        let body = written(&request);
        json!([body.get("temperature"), body.get("top_p"), body.get("top_k")])
    };
    assert_eq!(sampled("claude-3-5-haiku-latest", "0.2", "0.5"), json!([0.2, 0.5, 5]));
    assert_eq!(sampled("claude-3-5-haiku-latest", "1.7", "0.5"), json!([1, 0.5, 5]));
    assert_eq!(sampled("claude-sonnet-4-5", "0", "0.5"), json!([0, null, 5]), "not both");
    assert_eq!(sampled("claude-sonnet-4-5", "1.0", "0.5"), json!([null, 0.5, 5]));
    assert_eq!(sampled("claude-opus-5", "0.2", "0.5"), json!([null, null, null]));
}

#[test]
fn each_model_is_asked_to_think_in_its_own_form() {
    let thought = |model: &str, thinking: Thinking, max_tokens: Option<u64>| {
        let mut request = question(model);
        request.thinking = thinking;
        request.max_tokens = max_tokens;
        request.temperature = Some(0.into());
        request.top_k = Some(3);
        let body = written(&request);
        json!([body["max_tokens"], body["thinking"], body["output_config"], body.get("temperature")])
    };
    let effort = |effort| Thinking { effort: Some(effort), ..Thinking::default() };
    let budget = |tokens| Thinking { budget: Some(tokens), ..Thinking::default() };
    let shown = |shown| Thinking { shown: Some(shown), ..effort(Effort::Medium) };
    for (model, thinking, max_tokens, expected) in [
        (
            "claude-sonnet-4-5",
            effort(Effort::Low),
            None,
            json!([64000, {"type": "enabled", "budget_tokens": 2048}, null, null]),
        ),
        (
            "claude-sonnet-4-5",
            effort(Effort::High),
            Some(1000),
            json!([25576, {"type": "enabled", "budget_tokens": 24576}, null, null]),
        ),
        (
            "claude-sonnet-4-5",
            budget(5000),
            Some(9000),
            json!([9000, {"type": "enabled", "budget_tokens": 5000}, null, null]),
        ),
        (
            "claude-sonnet-4-5",
            budget(10),
            Some(1024),
            json!([2048, {"type": "enabled", "budget_tokens": 1024}, null, null]),
        ),
        (
            "claude-opus-4-1",
            effort(Effort::Max),
            None,
            json!([32000, {"type": "enabled", "budget_tokens": 30976}, null, null]),
        ),
        (
            "claude-sonnet-4-5",
            shown(false),
            None,
            json!([64000, {"type": "enabled", "budget_tokens": 8192, "display": "omitted"}, null, null]),
        ),
        ("claude-sonnet-4-5", effort(Effort::None), None, json!([64000, null, null, 0])),
        (
            "claude-opus-4-6",
            effort(Effort::XHigh),
            Some(100),
            json!([100, {"type": "adaptive"}, {"effort": "high"}, null]),
        ),
        (
            "claude-opus-4-7",
            effort(Effort::XHigh),
            None,
            json!([128000, {"type": "adaptive"}, {"effort": "xhigh"}, null]),
        ),
        (
            "claude-opus-4-7",
            shown(true),
            None,
            json!([128000, {"type": "adaptive", "display": "summarized"}, {"effort": "medium"}, null]),
        ),
        (
            "claude-opus-4-8",
            budget(20000),
            None,
            json!([128000, {"type": "adaptive"}, {"effort": "high"}, null]),
        ),
        ("claude-opus-5", effort(Effort::None), None, json!([128000, {"type": "disabled"}, null, null])),
        (
            "claude-sonnet-5-5",
            effort(Effort::None),
            None,
            json!([128000, {"type": "between_tools"}, null, null]),
        ),
        ("claude-opus-5-5", effort(Effort::None), None, json!([128000, null, {"effort": "low"}, null])),
        ("claude-3-5-haiku-latest", effort(Effort::None), None, json!([8192, null, null, 0])),
        ("claude-3-5-haiku-latest", effort(Effort::Minimal), None, json!([8192, null, null, 0])),
    ] {
        assert_eq!(thought(model, thinking.clone(), max_tokens), expected, "{model} {thinking:?}");
    }
    let mut unable = question("claude-3-5-haiku-latest");
    unable.thinking = effort(Effort::High);
    assert_eq!(refusal(&unable), "reasoning");
}

#[test]
fn a_turn_whose_thoughts_are_missing_goes_on_without_thinking() {
    let history = |first: Vec<Part>| {
        let mut parts = first;
        parts.push(call("a", "f", "{}").into());
        let mut calls = Message::new(Role::Assistant, parts);
        calls.origin = Some(Origin { dialect: Dialect::Messages, provider: "anthropic".into() });
        let mut request = request(
            "claude-sonnet-4-5",
            vec![entry(said(Role::User, "q")), entry(calls), entry(result("a", "1"))],
        );
        request.thinking.effort = Some(Effort::Low);
        request
    };
    let thought = Reasoning { text: "hm".into(), sealed: Some("sig".into()), id: None };
    let with = written(&history(vec![PartKind::Reasoning(thought.clone()).into()]));
    assert_eq!(with["thinking"], json!({"type": "enabled", "budget_tokens": 2048}));
    assert_eq!(
        with["messages"][1]["content"][0],
        json!({"type": "thinking", "thinking": "hm", "signature": "sig"})
    );
    assert_eq!(written(&history(vec![Part::text("Let me look.")])).get("thinking"), None);
    let mut newer = history(vec![]);
    newer.model = "claude-opus-4-6".into();
    assert_eq!(written(&newer)["thinking"], json!({"type": "adaptive"}), "newer models do not mind");
    let foreign = Reasoning { sealed: Some("mgw1:openai:responses:xyz".into()), ..thought };
    assert_eq!(written(&history(vec![PartKind::Reasoning(foreign).into()])).get("thinking"), None);
}

#[test]
fn seals_come_home_through_clients_of_other_dialects() {
    let mut message = Message::new(
        Role::Assistant,
        vec![
            PartKind::Reasoning(Reasoning {
                text: "hm".into(),
                sealed: Some("mgw1:anthropic:messages:sig".into()),
                id: None,
            })
            .into(),
            PartKind::Reasoning(Reasoning { text: "x".into(), sealed: Some("foreign".into()), id: None })
                .into(),
            Part::text("a"),
        ],
    );
    message.origin = Some(Origin { dialect: Dialect::Chat, provider: "anthropic".into() });
    let request = request(
        "claude-opus-4-6",
        vec![entry(said(Role::User, "q")), entry(message), entry(said(Role::User, "r"))],
    );
    assert_eq!(
        written(&request)["messages"][1]["content"],
        json!([{"type": "thinking", "thinking": "hm", "signature": "sig"}, {"type": "text", "text": "a"}])
    );
}

#[test]
fn sources_that_the_gateway_named_beside_a_text_do_not_go_back_with_it() {
    let mut text = Part::text("High water is at noon [1].");
    text.extra = json!({
        "annotations": [{"type": "url_citation", "url": "https://x.test"}],
        "logprobs": [],
        "cache_control": {"type": "ephemeral"},
    })
    .as_object()
    .cloned()
    .unwrap();
    let mut message = Message::new(Role::Assistant, vec![text]);
    message.origin = Some(Origin { dialect: Dialect::Messages, provider: "anthropic".into() });
    let request = request(
        "claude-opus-4-6",
        vec![entry(said(Role::User, "q")), entry(message), entry(said(Role::User, "r"))],
    );
    assert_eq!(
        written(&request)["messages"][1]["content"],
        json!([{"type": "text", "text": "High water is at noon [1].", "cache_control": {"type": "ephemeral"}}])
    );
}

#[test]
fn tools_are_written_in_the_subset_of_the_api() {
    let mut request = question("claude-sonnet-4-5");
    let mut hinted = function("functions.c", None, None);
    hinted.extra =
        json!({"cache_control": {"type": "ephemeral"}, "defer_loading": true}).as_object().cloned().unwrap();
    let closed = json!({"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}, "required": ["n"],
                        "additionalProperties": false});
    request.tools = vec![
        function("a", Some(json!({"anyOf": [{"required": ["x"]}], "properties": {"x": {}}})), Some(false)),
        function("b", Some(closed), Some(true)),
        hinted,
        function("d", Some(json!({"type": "object"})), Some(true)),
    ];
    assert_eq!(
        written(&request)["tools"],
        json!([
            {"name": "a", "description": "d", "input_schema": {"properties": {"x": {}},
                "description": "(anyOf: [{\"required\":[\"x\"]}])", "type": "object"}},
            {"name": "b", "description": "d", "strict": true, "input_schema": {"type": "object",
                "properties": {"n": {"type": "integer", "description": "(minimum: 1)"}}, "required": ["n"],
                "additionalProperties": false}},
            {"name": "functions_c", "description": "d", "input_schema": {"type": "object", "properties": {}},
                "cache_control": {"type": "ephemeral"}},
            {"name": "d", "description": "d", "input_schema": {"type": "object", "properties": {}}},
        ])
    );
}

#[test]
fn a_choice_of_tools_is_made_as_the_model_takes_it() {
    let chosen = |model: &str, choice: Option<ToolChoice>, parallel: Option<bool>| {
        let mut request = question(model);
        request.tools = vec![function("f", None, None), function("g", None, None)];
        request.tool_choice = choice;
        request.parallel_tool_calls = parallel;
        let body = written(&request);
        json!([body["tool_choice"], body["tools"].as_array().map(Vec::len), body["thinking"], body["system"]])
    };
    let named = || Some(ToolChoice::Named("f".into()));
    let allowed = |required| Some(ToolChoice::Allowed { required, names: vec!["g".into()] });
    for (model, choice, parallel, expected) in [
        ("claude-sonnet-4-5", None, None, json!([null, 2, null, null])),
        (
            "claude-sonnet-4-5",
            None,
            Some(false),
            json!([{"type": "auto", "disable_parallel_tool_use": true}, 2, null, null]),
        ),
        (
            "claude-sonnet-4-5",
            Some(ToolChoice::Required),
            Some(true),
            json!([{"type": "any", "disable_parallel_tool_use": false}, 2, null, null]),
        ),
        ("claude-sonnet-4-5", named(), None, json!([{"type": "tool", "name": "f"}, 2, null, null])),
        ("claude-sonnet-4-5", Some(ToolChoice::None), Some(false), json!([{"type": "none"}, 2, null, null])),
        ("claude-sonnet-4-5", allowed(false), None, json!([{"type": "auto"}, 1, null, null])),
        ("claude-sonnet-4-5", allowed(true), None, json!([{"type": "any"}, 1, null, null])),
        (
            "claude-opus-5",
            named(),
            None,
            json!([{"type": "tool", "name": "f"}, 2, {"type": "disabled"}, null]),
        ),
        (
            "claude-opus-5-5",
            named(),
            None,
            json!([{"type": "auto"}, 2, null, "Answer by calling the tool `f`, and with nothing else."]),
        ),
    ] {
        assert_eq!(chosen(model, choice.clone(), parallel), expected, "{model} {choice:?}");
    }
    let mut without = question("claude-sonnet-4-5");
    without.tool_choice = Some(ToolChoice::Auto);
    without.parallel_tool_calls = Some(false);
    assert_eq!(written(&without).get("tool_choice"), None, "nothing to choose from");
    let mut forced = question("claude-sonnet-4-5");
    forced.tools = vec![function("f", None, None)];
    forced.tool_choice = Some(ToolChoice::Required);
    forced.thinking.effort = Some(Effort::High);
    assert_eq!(written(&forced).get("thinking"), None, "the API refuses thinking beside a forced tool");
}

#[test]
fn json_is_asked_for_by_schema_where_the_model_can_and_in_words_where_not() {
    let schema =
        json!({"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}, "required": ["a"]});
    let formed = |model: &str, schema: &Value| {
        let mut request = question(model);
        let (name, schema) = (Some("thing".into()), schema.clone());
        request.format = Some(Format::JsonSchema { name, description: None, schema, strict: None });
        let body = written(&request);
        json!([body["output_config"]["format"], body["system"]])
    };
    assert_eq!(
        formed("claude-sonnet-4-5", &schema),
        json!([{"type": "json_schema", "schema": {"type": "object",
            "properties": {"a": {"type": "string", "description": "(maxLength: 3)"}}, "required": ["a"],
            "additionalProperties": false}}, null])
    );
    let words = |schema: &Value| {
        format!(
            "Answer with one JSON value `thing` and nothing else, without a code fence. It follows this JSON schema: {schema}"
        )
    };
    assert_eq!(formed("claude-3-5-haiku-latest", &schema), json!([null, words(&schema)]));
    let open = json!({"type": "object"});
    assert_eq!(formed("claude-sonnet-4-5", &open), json!([null, words(&open)]));
    let mut object = request("claude-sonnet-4-5", vec![instruction("s"), entry(said(Role::User, "q"))]);
    object.format = Some(Format::JsonObject);
    assert_eq!(
        written(&object)["system"],
        json!([{"type": "text", "text": "s"},
               {"type": "text", "text": "Answer with one JSON object and nothing else, without a code fence."}])
    );
}

fn media(source: Source, media_type: Option<&str>, name: Option<&str>) -> Media {
    Media { source, media_type: media_type.map(str::to_owned), name: name.map(str::to_owned), detail: None }
}

#[test]
fn pictures_and_documents_are_written_and_sound_is_refused_at_its_place() {
    let data = |text: &str| Source::Data(text.into());
    let user = |parts: Vec<PartKind>| {
        request(
            "claude-sonnet-4-5",
            vec![entry(Message::new(Role::User, parts.into_iter().map(Part::from).collect()))],
        )
    };
    assert_eq!(
        written(&user(vec![
            PartKind::Image(media(Source::Url("https://x.test/a.png".into()), None, None)),
            PartKind::Image(media(data("/9j/AA"), None, None)),
            PartKind::Image(media(data("AAAA"), Some("image/jpg"), None)),
            PartKind::File(media(data("AAAA"), Some("application/pdf"), Some("a.pdf"))),
            PartKind::File(media(data("eyJhIjoxfQ=="), Some("application/json"), None)),
        ]))["messages"][0]["content"],
        json!([
            {"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}},
            {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "/9j/AA"}},
            {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "AAAA"}},
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}, "title": "a.pdf"},
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "{\"a\":1}"}},
        ])
    );
    let sound = || PartKind::Audio(media(data("AAAA"), Some("wav"), None));
    assert_eq!(refusal(&user(vec![PartKind::Text("listen".into()), sound()])), "messages[7].content[1]");
    let picture = PartKind::Image(media(data("AAAA"), Some("image/tiff"), None));
    let in_result =
        ToolResult { call_id: "a".into(), content: vec![picture.into()], custom: false, is_error: true };
    assert_eq!(refusal(&user(vec![PartKind::ToolResult(in_result)])), "messages[7].content[0].content[0]");
    let stored = Message::new(Role::User, vec![Part::text("listen"), sound().into()]);
    let stored = request("claude-sonnet-4-5", vec![Entry::Message { message: stored, place: None }]);
    assert_eq!(written(&stored)["messages"][0]["content"], "listen", "a stored one is done without");
}

#[test]
fn at_most_four_cache_hints_are_kept_and_those_the_last() {
    let hint = || json!({"cache_control": {"type": "ephemeral"}}).as_object().cloned().unwrap();
    let text = |text: &str| Part { kind: PartKind::Text(text.into()), extra: hint() };
    let mut request = request(
        "claude-sonnet-4-5",
        vec![
            Entry::Instruction(vec![text("s1"), text("s2")]),
            entry(Message::new(Role::User, vec![text("u1"), Part::text("u2"), text("u3")])),
            entry(Message::new(Role::Assistant, vec![text("a")])),
            entry(Message::new(Role::User, vec![Part::text("u4")])),
        ],
    );
    request.tools = vec![Tool { extra: hint(), ..function("f", None, None) }];
    let body = written(&request);
    let kept = |value: &Value| value.get("cache_control").is_some();
    assert_eq!(body.to_string().matches("cache_control").count(), 4);
    assert!(!kept(&body["tools"][0]) && !kept(&body["system"][0]) && kept(&body["system"][1]));
}

#[test]
fn the_rest_is_written_where_the_api_has_it() {
    let mut request = question("claude-sonnet-4-5");
    request.stream = true;
    request.stream_usage = true;
    request.max_tokens = Some(7);
    request.stop = vec!["a".into()];
    request.user = Some("u".into());
    request.service_tier = Some("default".into());
    assert_eq!(
        written(&request),
        json!({"model": "claude-sonnet-4-5", "max_tokens": 7, "messages": [{"role": "user", "content": "q"}],
               "stop_sequences": ["a"], "metadata": {"user_id": "u"}, "service_tier": "standard_only", "stream": true})
    );
    for (tier, expected) in [("priority", "auto"), ("auto", "auto"), ("flex", "standard_only")] {
        request.service_tier = Some(tier.into());
        assert_eq!(written(&request)["service_tier"], expected);
    }
    request.stop.push("\n".into());
    assert_eq!(refusal(&request), "stop");
}

#[test]
fn what_is_written_reads_as_what_was_meant() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false});
    let calls = ToolCall {
        id: "c".into(),
        name: "f".into(),
        arguments: "{\"a\":1.50}".into(),
        ..ToolCall::default()
    };
    let mut request = request(
        "claude-sonnet-4-5",
        vec![
            Entry::Instruction(vec![Part::text("a"), Part::text("b")]),
            entry(said(Role::User, "q")),
            entry(Message::new(Role::Assistant, vec![Part::text("t"), PartKind::ToolCall(calls).into()])),
            entry(result("c", "1")),
        ],
    );
    request.stream = true;
    request.stream_usage = true;
    request.max_tokens = Some(9);
    request.temperature = Some(1.into());
    request.top_k = Some(3);
    request.stop = vec!["x".into()];
    request.tools = vec![function("f", Some(schema.clone()), Some(true))];
    request.tool_choice = Some(ToolChoice::Required);
    request.parallel_tool_calls = Some(true);
    request.format = Some(Format::JsonSchema { name: None, description: None, schema, strict: Some(true) });
    request.user = Some("u".into());
    request.service_tier = Some("default".into());
    let mut read = asked(&written(&request)).unwrap();
    for entry in read.entries.iter_mut().chain(&mut request.entries) {
        if let Entry::Message { message, place } = entry {
            message.origin = None;
            *place = None;
        }
    }
    assert_eq!(read, request);
}
