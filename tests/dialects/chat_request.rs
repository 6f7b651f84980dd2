//! Requests in Chat Completions: read from clients, written for providers.

use memory_gateway::body::Body;
use memory_gateway::dialect::Dialect;
use memory_gateway::prompt;
use memory_gateway::request::{
    Effort, Entry, Field, Format, Request, Thinking, Tool, ToolChoice, ToolKind, WebSearch,
};
use memory_gateway::translate;
use memory_gateway::turn::{
    Media, Message, Origin, Part, PartKind, Reasoning, Role, Source, ToolCall, ToolResult,
};
use serde_json::{Map, Value, json};

fn at(dialect: Dialect, provider: &str) -> Origin {
    Origin { dialect, provider: provider.into() }
}

/// A client's request, its conversation included.
fn read(body: &Value) -> Result<Request, memory_gateway::error::Error> {
    let mut body = body.clone();
    if body.get("messages").is_none() {
        body["messages"] = json!([{"role": "user", "content": "q"}]);
    }
    let bytes = body.to_string();
    let body = Body::parse(bytes.as_bytes()).unwrap();
    let conversation = Dialect::Chat.read_conversation(&body, &at(Dialect::Chat, "p"))?;
    let items = (0..prompt::messages(&conversation).len()).map(memory_gateway::memory::context::Item::Keep);
    let entries = prompt::entries(Dialect::Chat, conversation, items.collect());
    Dialect::Chat.read_request(&body, entries)
}

fn asked(body: Value) -> Request {
    Request { entries: vec![], ..read(&body).unwrap() }
}

fn number(text: &str) -> Option<serde_json::Number> {
    serde_json::from_str(text).unwrap()
}

fn function(name: &str) -> Tool {
    let kind = ToolKind::Function { name: name.into(), description: None, parameters: None, strict: None };
    Tool { kind, extra: Map::new() }
}

#[test]
fn every_field_is_read_to_its_word() {
    let sent = r#"{
        "model": "m", "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}],
        "stream": true, "stream_options": {"include_usage": true}, "models": ["n"],
        "max_tokens": 5, "max_completion_tokens": 7, "temperature": 0.10, "top_p": 1, "top_k": 40,
        "frequency_penalty": 0.5, "presence_penalty": -1, "seed": 12345678901234567890,
        "logit_bias": {"50256": -100}, "logprobs": true, "top_logprobs": 3, "stop": "END", "n": 1,
        "response_format": {"type": "json_schema", "json_schema":
            {"name": "city", "description": "d", "schema": {"type": "object"}, "strict": true}},
        "verbosity": "low", "reasoning_effort": "minimal", "user": "u", "metadata": {"a": "b"},
        "service_tier": "flex", "parallel_tool_calls": false, "modalities": ["text"], "audio": null,
        "store": false, "prompt_cache_key": "k", "min_p": 0.1,
        "web_search_options": {"search_context_size": "low", "unheard_of": 1,
            "user_location": {"type": "approximate", "approximate": {"city": "Bonn", "region": null}}},
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "tools": [
            {"type": "function", "function": {"name": "f", "description": "d", "strict": true,
                "parameters": {"type": "object"}}, "cache_control": {"type": "ephemeral"}},
            {"type": "custom", "custom": {"name": "c", "format":
                {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: x"}}}},
            {"type": "web_search"}]
    }"#;
    let request = read(&serde_json::from_str(sent).unwrap()).unwrap();
    let expected = Request {
        model: "m".into(),
        stream: true,
        stream_usage: true,
        entries: request.entries.clone(),
        tools: vec![
            Tool {
                kind: ToolKind::Function {
                    name: "f".into(),
                    description: Some("d".into()),
                    parameters: Some(json!({"type": "object"})),
                    strict: Some(true),
                },
                extra: json!({"cache_control": {"type": "ephemeral"}}).as_object().unwrap().clone(),
            },
            Tool {
                kind: ToolKind::Custom {
                    name: "c".into(),
                    description: None,
                    format: Some(json!({"type": "grammar", "syntax": "lark", "definition": "start: x"})),
                },
                extra: Map::new(),
            },
            Tool { kind: ToolKind::Server(json!({"type": "web_search"})), extra: Map::new() },
            Tool {
                kind: ToolKind::WebSearch(WebSearch {
                    context_size: Some("low".into()),
                    location: json!({"city": "Bonn"}).as_object().cloned(),
                    ..WebSearch::default()
                }),
                extra: Map::new(),
            },
        ],
        tool_choice: Some(ToolChoice::Named("f".into())),
        parallel_tool_calls: Some(false),
        max_tokens: Some(7),
        temperature: number("0.10"),
        top_p: number("1"),
        top_k: Some(40),
        frequency_penalty: number("0.5"),
        presence_penalty: number("-1"),
        seed: number("12345678901234567890"),
        logit_bias: Some(json!({"50256": -100})),
        logprobs: Some(3),
        stop: vec!["END".into()],
        n: Some(1),
        format: Some(Format::JsonSchema {
            name: Some("city".into()),
            description: Some("d".into()),
            schema: json!({"type": "object"}),
            strict: Some(true),
        }),
        verbosity: Some("low".into()),
        thinking: Thinking { effort: Some(Effort::Minimal), ..Thinking::default() },
        user: Some("u".into()),
        metadata: json!({"a": "b"}).as_object().cloned(),
        service_tier: Some("flex".into()),
        rest: json!({"store": false, "prompt_cache_key": "k", "min_p": 0.1, "web_search_options": {"unheard_of": 1}})
            .as_object()
            .unwrap()
            .clone(),
    };
    assert_eq!(request, expected);
    assert!(matches!(&request.entries[..], [Entry::Instruction(_), Entry::Message { .. }]));
}

#[test]
fn every_form_of_a_tool_choice_is_understood() {
    for (form, choice) in [
        (json!("auto"), ToolChoice::Auto),
        (json!("none"), ToolChoice::None),
        (json!("required"), ToolChoice::Required),
        (json!("any"), ToolChoice::Required),
        (json!({"type": "custom", "custom": {"name": "c"}}), ToolChoice::Named("c".into())),
        (
            json!({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [
                {"type": "function", "function": {"name": "f"}}, {"type": "custom", "custom": {"name": "c"}}]}}),
            ToolChoice::Allowed { required: true, names: vec!["f".into(), "c".into()] },
        ),
    ] {
        assert_eq!(asked(json!({"tool_choice": form})).tool_choice, Some(choice), "{form}");
    }
    let former = asked(json!({"functions": [{"name": "f"}], "function_call": {"name": "f"}}));
    assert_eq!(
        (former.tools, former.tool_choice),
        (vec![function("f")], Some(ToolChoice::Named("f".into())))
    );
}

#[test]
fn thinking_is_asked_for_in_three_ways() {
    let plain = Thinking::default();
    for (body, thinking) in [
        (json!({"reasoning_effort": "xhigh"}), Thinking { effort: Some(Effort::XHigh), ..plain.clone() }),
        (json!({"reasoning_effort": "default"}), plain.clone()),
        (
            json!({"reasoning": {"max_tokens": 2000, "exclude": true}}),
            Thinking { budget: Some(2000), shown: Some(false), ..plain.clone() },
        ),
        (json!({"reasoning": {"enabled": true}}), Thinking { effort: Some(Effort::Medium), ..plain.clone() }),
        (json!({"reasoning": {"enabled": false}}), Thinking { effort: Some(Effort::None), ..plain.clone() }),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 4096}}),
            Thinking { budget: Some(4096), ..plain.clone() },
        ),
        (json!({"thinking": {"type": "enabled"}}), Thinking { adaptive: true, ..plain.clone() }),
        (json!({"thinking": {"type": "disabled"}}), Thinking { effort: Some(Effort::None), ..plain.clone() }),
    ] {
        let request = asked(body.clone());
        assert_eq!((request.thinking, request.rest.len()), (thinking, 0), "{body}");
    }
    let unknown = asked(json!({"thinking": {"type": "enabled", "clear_thinking": false}}));
    assert_eq!(unknown.rest["thinking"], json!({"clear_thinking": false}));
}

#[test]
fn fields_of_a_wrong_type_are_refused_by_name() {
    for (body, param) in [
        (json!({"max_tokens": "5"}), "max_tokens"),
        (json!({"max_completion_tokens": -1}), "max_completion_tokens"),
        (json!({"temperature": "hot"}), "temperature"),
        (json!({"stop": ["a", 1]}), "stop[1]"),
        (json!({"stream_options": {"include_usage": "yes"}}), "stream_options.include_usage"),
        (
            json!({"tools": [{"type": "function", "function": {"name": "f"}}, {"type": "function", "function": {}}]}),
            "tools[1].function.name",
        ),
        (json!({"tools": [{"type": "function"}]}), "tools[0].function"),
        (
            json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": "x"}}]}),
            "tools[0].function.parameters",
        ),
        (json!({"tools": {}}), "tools"),
        (json!({"functions": [1]}), "functions[0]"),
        (json!({"tool_choice": "perhaps"}), "tool_choice"),
        (json!({"response_format": {"type": "xml"}}), "response_format.type"),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}}),
            "response_format.json_schema.schema",
        ),
        (json!({"reasoning_effort": "huge"}), "reasoning_effort"),
        (json!({"reasoning": {"max_tokens": "x"}}), "reasoning.max_tokens"),
        (json!({"thinking": {"type": "maybe"}}), "thinking.type"),
    ] {
        let error = read(&body).unwrap_err();
        assert_eq!((error.status(), &error.body()["error"]["param"]), (400, &json!(param)), "{body}");
    }
}

#[test]
fn what_is_written_reads_the_same() {
    let request = Request {
        model: "m".into(),
        stream: true,
        stream_usage: true,
        tools: vec![
            function("f"),
            Tool {
                kind: ToolKind::Custom {
                    name: "c".into(),
                    description: Some("d".into()),
                    format: Some(json!({"type": "grammar", "syntax": "regex", "definition": "a+"})),
                },
                extra: Map::new(),
            },
        ],
        tool_choice: Some(ToolChoice::Allowed { required: false, names: vec!["f".into(), "c".into()] }),
        parallel_tool_calls: Some(true),
        max_tokens: Some(9),
        temperature: number("0.5"),
        top_p: number("0.9"),
        frequency_penalty: number("1"),
        presence_penalty: number("2"),
        seed: number("3"),
        logit_bias: Some(json!({"1": 2})),
        stop: vec!["a".into(), "b".into()],
        format: Some(Format::JsonSchema {
            name: Some("n".into()),
            description: None,
            schema: json!({"type": "object"}),
            strict: Some(false),
        }),
        verbosity: Some("high".into()),
        thinking: Thinking { effort: Some(Effort::Max), ..Thinking::default() },
        user: Some("u".into()),
        service_tier: Some("priority".into()),
        ..Request::default()
    };
    for provider in ["openai", "groq"] {
        let written = Dialect::Chat.write_request(&request, provider).unwrap().body;
        let bytes = written.to_string();
        let body = Body::parse(bytes.as_bytes()).unwrap();
        assert_eq!(Dialect::Chat.read_request(&body, vec![]).unwrap(), request, "{provider}");
    }
}

#[test]
fn servers_are_asked_in_their_own_words() {
    let request = Request { model: "m".into(), stream: true, max_tokens: Some(9), ..Request::default() };
    let usage = json!({"include_usage": true});
    for (provider, body) in [
        (
            "openai",
            json!({"model": "m", "messages": [], "max_completion_tokens": 9, "stream": true, "stream_options": usage}),
        ),
        (
            "groq",
            json!({"model": "m", "messages": [], "max_tokens": 9, "stream": true, "stream_options": usage}),
        ),
        ("mistral", json!({"model": "m", "messages": [], "max_tokens": 9, "stream": true})),
    ] {
        assert_eq!(Dialect::Chat.write_request(&request, provider).unwrap().body, body);
    }
}

#[test]
fn the_table_names_each_field_once() {
    let mut named: Vec<Field> = memory_gateway::dialect::chat::TABLE.iter().map(|row| row.0).collect();
    named.sort();
    let mut all = Field::ALL.to_vec();
    all.sort();
    assert_eq!(named, all);
}

fn message(origin: Origin, role: Role, parts: Vec<Part>) -> Entry {
    Entry::Message {
        message: Message { origin: Some(origin), ..Message::new(role, parts) },
        place: Some("messages[1]".into()),
    }
}

fn call(id: &str, name: &str, arguments: &str, sealed: Option<&str>) -> Part {
    PartKind::ToolCall(ToolCall {
        id: id.into(),
        name: name.into(),
        arguments: arguments.into(),
        custom: false,
        sealed: sealed.map(str::to_owned),
    })
    .into()
}

fn result(id: &str, content: Vec<Part>, is_error: bool) -> Part {
    PartKind::ToolResult(ToolResult { call_id: id.into(), content, custom: false, is_error }).into()
}

fn media(kind: fn(Media) -> PartKind, media_type: &str, data: &str) -> Part {
    kind(Media {
        source: Source::Data(data.into()),
        media_type: Some(media_type.into()),
        name: None,
        detail: None,
    })
    .into()
}

fn messages_for(provider: &str, entries: Vec<Entry>) -> Value {
    let request = Request { entries, ..Request::default() };
    Dialect::Chat.write_request(&request, provider).unwrap().body["messages"].take()
}

#[test]
fn pictures_that_tools_return_are_shown_after_all_results_of_the_group() {
    let from = || at(Dialect::Messages, "anthropic");
    let mut hinted = Part::text("hi");
    hinted.extra.insert("cache_control".into(), json!({"type": "ephemeral"}));
    let reasoning = Reasoning { text: "hm".into(), sealed: Some("EqQB".into()), id: None };
    let entries = vec![
        Entry::Instruction(vec![Part::text("s")]),
        message(from(), Role::User, vec![hinted]),
        message(
            from(),
            Role::Assistant,
            vec![
                PartKind::Reasoning(reasoning).into(),
                Part::text("Looking."),
                call("toolu_1", "shoot", "", None),
                call("toolu_2", "read", "{\"a\":1}", None),
            ],
        ),
        message(
            from(),
            Role::Tool,
            vec![result(
                "toolu_1",
                vec![Part::text("done"), media(PartKind::Image, "image/png", "AAAA")],
                false,
            )],
        ),
        message(from(), Role::Tool, vec![result("toolu_2", vec![Part::text("no such file")], true)]),
        message(from(), Role::User, vec![Part::text("and now?")]),
    ];
    assert_eq!(
        messages_for("openai", entries.clone()),
        json!([
            {"role": "system", "content": "s"},
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "Looking.", "tool_calls": [
                {"id": "toolu_1", "type": "function", "function": {"name": "shoot", "arguments": "{}"}},
                {"id": "toolu_2", "type": "function", "function": {"name": "read", "arguments": "{\"a\":1}"}}]},
            {"role": "tool", "tool_call_id": "toolu_1", "content": "done\n[image]"},
            {"role": "tool", "tool_call_id": "toolu_2", "content": "Error:\nno such file"},
            {"role": "user", "content": [
                {"type": "text", "text": "Returned by the tool call toolu_1:"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
            {"role": "user", "content": "and now?"},
        ])
    );
    let hinted = messages_for("openrouter", entries);
    assert_eq!(
        hinted[1],
        json!({"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]})
    );
}

#[test]
fn a_stored_picture_of_a_tool_is_named_and_parts_no_pair() {
    let entry = message(
        at(Dialect::Messages, "anthropic"),
        Role::Tool,
        vec![result("c", vec![media(PartKind::Image, "image/png", "AAAA")], false)],
    );
    let Entry::Message { message, .. } = entry else { panic!() };
    assert_eq!(
        Dialect::Chat.write_message(&message, "openai"),
        [json!({"role": "tool", "tool_call_id": "c", "content": "[image]"})]
    );
}

#[test]
fn what_the_model_said_elsewhere_is_written_in_texts_and_calls() {
    let from = at(Dialect::Responses, "openai");
    let said = |parts: Vec<Part>| messages_for("groq", vec![message(from.clone(), Role::Assistant, parts)]);
    assert_eq!(
        said(vec![media(PartKind::Image, "image/png", "AAAA"), PartKind::Refusal("I cannot.".into()).into()]),
        json!([{"role": "assistant", "content": [{"type": "text", "text": "I cannot."}]}])
    );
    assert_eq!(said(vec![PartKind::Other(json!({"type": "web_search_call"})).into()]), json!([]));
    assert_eq!(said(vec![PartKind::Reasoning(Reasoning::default()).into(), Part::text("")]), json!([]));
    let long = "x".repeat(50);
    let written = messages_for(
        "mistral",
        vec![
            message(from.clone(), Role::Assistant, vec![call(&long, "a.b", "{}", None)]),
            message(from.clone(), Role::Tool, vec![result(&long, vec![Part::text("r")], false)]),
        ],
    );
    assert_eq!(written[0]["tool_calls"][0]["id"], written[1]["tool_call_id"]);
    assert_eq!(written[0]["tool_calls"][0]["function"]["name"], "a_b");
    assert_eq!(written[1]["tool_call_id"].as_str().map(str::len), Some(9));
}

#[test]
fn documents_and_sounds_of_other_dialects_take_the_forms_that_are_known_here() {
    let from = at(Dialect::Messages, "anthropic");
    let user = |parts: Vec<Part>| vec![message(from.clone(), Role::User, parts)];
    assert_eq!(
        messages_for(
            "openai",
            user(vec![
                media(PartKind::File, "text/plain", "R3LDvMOfZQ=="),
                media(PartKind::File, "application/pdf", "AAAA"),
                media(PartKind::Audio, "audio/mpeg", "BBBB"),
            ])
        ),
        json!([{"role": "user", "content": [
            {"type": "text", "text": "Grüße"},
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "document.pdf"}},
            {"type": "input_audio", "input_audio": {"data": "BBBB", "format": "mp3"}}]}])
    );
    let linked = PartKind::File(Media {
        source: Source::Url("https://x.test/a.pdf".into()),
        media_type: None,
        name: None,
        detail: None,
    });
    let request = Request { entries: user(vec![Part::text("q"), linked.into()]), ..Request::default() };
    let error = Dialect::Chat.write_request(&request, "openai").unwrap_err();
    assert_eq!((error.status(), &error.body()["error"]["param"]), (400, &json!("messages[1].content[1]")));
    assert!(Dialect::Chat.write_request(&request, "openrouter").is_ok());
}

#[test]
fn a_tool_whose_name_a_server_would_refuse_is_refused_before_it() {
    let request = Request { tools: vec![function("f"), function("a.b")], ..Request::default() };
    let error = Dialect::Chat.write_request(&request, "openai").unwrap_err();
    assert_eq!((error.status(), &error.body()["error"]["param"]), (400, &json!("tools[1].name")));
}

#[test]
fn thoughts_go_back_with_their_calls_where_the_model_fails_without() {
    let thought = |provider: &str| {
        let reasoning = Reasoning { text: "hm".into(), ..Reasoning::default() };
        let parts = vec![PartKind::Reasoning(reasoning).into(), call("c", "f", "{}", None)];
        vec![message(at(Dialect::Messages, provider), Role::Assistant, parts)]
    };
    assert_eq!(messages_for("deepseek", thought("deepseek"))[0]["reasoning_content"], "hm");
    for (from, to) in [("deepseek", "openai"), ("anthropic", "deepseek"), ("groq", "groq")] {
        assert_eq!(messages_for(to, thought(from))[0].get("reasoning_content"), None, "{from} to {to}");
    }
}

#[test]
fn a_clients_seals_are_read_from_where_we_put_them() {
    let sent = json!({"messages": [{"role": "assistant", "content": "a", "reasoning_content": "one\n\ntwo",
        "reasoning_details": [
            {"type": "reasoning.text", "text": "one", "signature": "mgw1:anthropic:messages:EqQB", "format": "anthropic-claude-v1", "index": 0},
            {"type": "reasoning.encrypted", "data": "mgw1:anthropic:messages:red", "id": "rs", "format": "anthropic-claude-v1", "index": 1}],
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"},
            "extra_content": {"google": {"thought_signature": "mgw1:google:google:sig"}}}]}]});
    let request = read(&sent).unwrap();
    let Entry::Message { message, .. } = &request.entries[0] else { panic!() };
    let reasoning = |text: &str, sealed: &str, id: Option<&str>| {
        PartKind::Reasoning(Reasoning {
            text: text.into(),
            sealed: Some(sealed.into()),
            id: id.map(str::to_owned),
        })
        .into()
    };
    assert_eq!(
        message.parts,
        [
            reasoning("one", "mgw1:anthropic:messages:EqQB", None),
            reasoning("", "mgw1:anthropic:messages:red", Some("rs")),
            Part::text("a"),
            call("c", "f", "{}", Some("mgw1:google:google:sig")),
        ]
    );
    assert!(message.extra.is_empty());
    let back = Dialect::Chat.write_message(message, "p");
    assert!(!Value::from(back).to_string().contains("mgw1"), "no provider gets a seal of ours");
}

#[test]
fn details_that_a_client_kept_in_pieces_are_one_again() {
    let sent = json!({"messages": [{"role": "assistant", "content": "a", "reasoning_details": [
        {"type": "reasoning.text", "text": "on", "index": 0}, {"type": "reasoning.text", "text": "e", "index": 0},
        {"type": "reasoning.text", "signature": "mgw1:anthropic:messages:EqQB", "index": 0}]}]});
    let request = read(&sent).unwrap();
    let Entry::Message { message, .. } = &request.entries[0] else { panic!() };
    let whole =
        Reasoning { text: "one".into(), sealed: Some("mgw1:anthropic:messages:EqQB".into()), id: None };
    assert_eq!(message.parts, [PartKind::Reasoning(whole).into(), Part::text("a")]);
}

#[test]
fn a_signature_of_geminis_compatible_api_crosses_a_client_of_another_dialect() {
    let target = at(Dialect::Chat, "google");
    for (origin, sealed) in
        [(target.clone(), "sig"), (at(Dialect::Messages, "google"), "mgw1:google:chat:sig")]
    {
        let entries = vec![message(origin, Role::Assistant, vec![call("c", "f", "{}", Some(sealed))])];
        assert_eq!(
            messages_for("google", entries)[0]["tool_calls"][0]["extra_content"],
            json!({"google": {"thought_signature": "sig"}})
        );
    }
    let entries = vec![message(target, Role::Assistant, vec![call("c", "f", "{}", Some("sig"))])];
    assert_eq!(messages_for("openai", entries)[0]["tool_calls"][0].get("extra_content"), None);
}

#[test]
fn fields_that_cannot_be_said_are_refused_and_notes_are_left_out() {
    let target = at(Dialect::Chat, "groq");
    let translated = |request: Request| translate::request(request, Dialect::Chat, &target);
    for (request, param) in [
        (Request { n: Some(2), ..Request::default() }, "n"),
        (Request { top_k: Some(4), ..Request::default() }, "top_k"),
        (Request { rest: json!({"min_p": 1}).as_object().unwrap().clone(), ..Request::default() }, "min_p"),
    ] {
        assert_eq!(translated(request).unwrap_err().body()["error"]["param"], param);
    }
    let notes = json!({"a": "b"}).as_object().cloned();
    let kept = translated(Request { metadata: notes, ..Request::default() }).unwrap();
    assert_eq!(
        (kept.body, kept.ignored),
        (json!({"model": "", "messages": []}), vec!["metadata".to_owned()])
    );
}
