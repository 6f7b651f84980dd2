//! Requests of Responses: read from clients, written for providers.

use memory_gateway::body::Body;
use memory_gateway::dialect::{Content, Dialect};
use memory_gateway::error::Error;
use memory_gateway::request::{Effort, Entry, Format, Request, Thinking, Tool, ToolChoice, ToolKind};
use memory_gateway::translate;
use memory_gateway::turn::{
    Media, Message, Origin, Part, PartKind, Reasoning, Role, Source, ToolCall, ToolResult,
};
use serde_json::{Map, Value, json};

use super::{call, origin, said};

fn asked(body: &Value) -> Result<Request, Error> {
    let text = body.to_string();
    let body = Body::parse(text.as_bytes()).unwrap();
    let conversation = Dialect::Responses.read_conversation(&body, &origin(Dialect::Responses))?;
    let entries = conversation.units.into_iter().map(|unit| match unit.content {
        Content::Instruction(parts) => Entry::Instruction(parts),
        Content::Message(message) => {
            Entry::Message { message, place: Some(format!("input[{}]", unit.elements.start)) }
        }
    });
    Dialect::Responses.read_request(&body, entries.collect())
}

fn blamed(body: &Value) -> String {
    let error = asked(body).unwrap_err();
    assert_eq!(error.status(), 400);
    error.body()["error"]["param"].as_str().unwrap_or_default().to_owned()
}

fn entry(message: Message) -> Entry {
    Entry::Message { message, place: Some("messages[7]".into()) }
}

fn instruction(text: &str) -> Entry {
    Entry::Instruction(vec![Part::text(text)])
}

fn question() -> Request {
    Request { model: "gpt-5".into(), entries: vec![entry(said(Role::User, "q"))], ..Request::default() }
}

fn written(request: &Request) -> Value {
    Dialect::Responses.write_request(request, "openai").unwrap().body
}

/// What a request says beside what every request says.
fn beside(request: Request) -> Value {
    let mut body = written(&Request { model: "gpt-5".into(), entries: question().entries, ..request });
    let plain = written(&question());
    let fields = body.as_object_mut().unwrap();
    fields.retain(|name, value| plain.get(name) != Some(value));
    body
}

fn items(entries: Vec<Entry>) -> Value {
    written(&Request { entries, ..Request::default() })["input"].take()
}

fn function(name: &str, parameters: Option<Value>, strict: Option<bool>) -> Tool {
    let kind = ToolKind::Function { name: name.into(), description: Some("d".into()), parameters, strict };
    Tool { kind, extra: Map::new() }
}

fn custom(name: &str, format: Option<Value>) -> Tool {
    Tool { kind: ToolKind::Custom { name: name.into(), description: None, format }, extra: Map::new() }
}

fn result(id: &str, content: Vec<Part>, is_error: bool) -> Message {
    let result = ToolResult { call_id: id.into(), content, custom: false, is_error };
    Message::new(Role::Tool, vec![PartKind::ToolResult(result).into()])
}

fn media(source: Source, media_type: Option<&str>) -> Media {
    Media { source, media_type: media_type.map(str::to_owned), name: None, detail: None }
}

#[test]
fn every_field_of_a_request_becomes_a_word_of_the_hub() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let request = asked(&json!({
        "model": "m", "stream": true, "stream_options": {"include_obfuscation": false}, "store": true,
        "instructions": "Be brief.",
        "input": [
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "And kind."}]},
            {"role": "user", "content": "q"}],
        "tools": [
            {"type": "function", "name": "f", "description": "d", "parameters": schema, "strict": true,
             "defer_loading": true},
            {"type": "function", "name": "g", "parameters": null, "strict": null},
            {"type": "custom", "name": "c", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}},
            {"type": "custom", "name": "t", "format": {"type": "text"}},
            {"type": "file_search", "vector_store_ids": ["v"]}],
        "tool_choice": "required", "parallel_tool_calls": false,
        "text": {"format": {"type": "json_schema", "name": "n", "schema": schema, "strict": true}, "verbosity": "low"},
        "reasoning": {"effort": "xhigh", "generate_summary": "concise", "context": "auto"},
        "max_output_tokens": 100, "temperature": 0.5, "top_p": 0.9, "frequency_penalty": 0, "presence_penalty": 1,
        "top_logprobs": 3,
        "include": ["reasoning.encrypted_content", "message.output_text.logprobs", "web_search_call.action.sources"],
        "truncation": "disabled", "previous_response_id": "resp_1", "user": "u", "metadata": {"k": "v"},
        "service_tier": "flex", "max_tool_calls": 3,
        "prompt_cache_key": "k", "safety_identifier": "s", "context_management": null, "background": false,
    }))
    .unwrap();
    let mut deferred = function("f", Some(schema.clone()), Some(true));
    deferred.extra.insert("defer_loading".into(), true.into());
    let mut none = function("g", None, None);
    if let ToolKind::Function { description, .. } = &mut none.kind {
        *description = None;
    }
    let server = json!({"type": "file_search", "vector_store_ids": ["v"]});
    let grammar = json!({"type": "grammar", "syntax": "lark", "definition": "x"});
    let expected = Request {
        model: "m".into(),
        stream: true,
        stream_usage: true,
        entries: vec![
            instruction("Be brief."),
            instruction("And kind."),
            Entry::Message {
                message: Message {
                    origin: Some(origin(Dialect::Responses)),
                    ..said(Role::User, "q")
                },
                place: Some("input[1]".into()),
            },
        ],
        tools: vec![
            deferred,
            none,
            custom("c", Some(grammar)),
            custom("t", None),
            Tool { kind: ToolKind::Server(server), extra: Map::new() },
        ],
        tool_choice: Some(ToolChoice::Required),
        parallel_tool_calls: Some(false),
        max_tokens: Some(100),
        temperature: json!(0.5).as_number().cloned(),
        top_p: json!(0.9).as_number().cloned(),
        frequency_penalty: json!(0).as_number().cloned(),
        presence_penalty: json!(1).as_number().cloned(),
        logprobs: Some(3),
        format: Some(Format::JsonSchema { name: Some("n".into()), description: None, schema, strict: Some(true) }),
        verbosity: Some("low".into()),
        thinking: Thinking {
            effort: Some(Effort::XHigh),
            shown: Some(true),
            summary: Some("concise".into()),
            ..Thinking::default()
        },
        user: Some("u".into()),
        metadata: json!({"k": "v"}).as_object().cloned(),
        service_tier: Some("flex".into()),
        rest: json!({"background": false, "prompt_cache_key": "k", "safety_identifier": "s", "max_tool_calls": 3})
            .as_object()
            .cloned()
            .unwrap(),
        ..Request::default()
    };
    assert_eq!(Value::Object(request.rest.clone()), Value::Object(expected.rest.clone()));
    assert_eq!(Request { rest: expected.rest.clone(), ..request }, expected);
}

#[test]
fn what_has_no_word_in_the_hub_is_named_when_it_crosses_dialects() {
    let target = Origin { dialect: Dialect::Messages, provider: "anthropic".into() };
    let crossed = |more: Value| {
        let mut body = json!({"model": "m", "input": "q", "max_output_tokens": 50});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        translate::request(asked(&body)?, Dialect::Responses, &target).map(|translated| translated.ignored)
    };
    for (more, param) in [
        (json!({"background": true}), "background"),
        (json!({"prompt": {"id": "p"}}), "prompt"),
        (json!({"include": ["reasoning.encrypted_content", "novelty"]}), "include"),
        (json!({"text": {"novelty": 1}}), "text.novelty"),
        (json!({"reasoning": {"mode": "pro"}}), "reasoning.mode"),
        (json!({"tool_choice": {"type": "web_search_preview"}}), "tool_choice"),
        (
            json!({"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "image_generation"}]}}),
            "tool_choice",
        ),
        (
            json!({"input": [{"role": "user", "content": "q"}, {"type": "item_reference", "id": "msg_1"}]}),
            "input[1]",
        ),
        (
            json!({"input": [{"type": "compaction", "encrypted_content": "E"}, {"role": "user", "content": "q"}]}),
            "input[0]",
        ),
    ] {
        assert_eq!(crossed(more.clone()).unwrap_err().body()["error"]["param"], param, "{more}");
    }
    let hints = json!({
        "truncation": "auto", "prompt_cache_key": "k", "prompt_cache_retention": "24h", "safety_identifier": "s",
        "max_tool_calls": 2, "store": false, "conversation": null});
    assert_eq!(
        crossed(hints).unwrap(),
        ["truncation", "prompt_cache_key", "prompt_cache_retention", "safety_identifier"]
    );
}

#[test]
fn tools_that_an_item_adds_are_tools() {
    let request = asked(&json!({"model": "m", "input": [
        {"role": "user", "content": "q"},
        {"type": "additional_tools", "role": "developer", "tools": [{"type": "custom", "name": "c"}]},
    ]}))
    .unwrap();
    assert_eq!(request.tools, [custom("c", None)]);
    assert_eq!(request.entries.len(), 1);
}

#[test]
fn instructions_may_be_items() {
    let request = asked(&json!({"model": "m", "input": [], "instructions": [
        {"role": "developer", "content": "a"}, {"role": "user", "content": [{"type": "input_text", "text": "b"}]}]}))
    .unwrap();
    assert_eq!(request.entries[0], instruction("a"));
    assert!(matches!(&request.entries[1], Entry::Message { message, place }
        if message.text() == "b" && place.as_deref() == Some("instructions[1]")));
}

#[test]
fn a_choice_of_tools_is_read_in_every_form() {
    let choice = |choice: Value| {
        asked(&json!({"model": "m", "input": "q", "tool_choice": choice})).unwrap().tool_choice
    };
    let named = Some(ToolChoice::Named("f".into()));
    assert_eq!(choice(json!("auto")), Some(ToolChoice::Auto));
    assert_eq!(choice(json!("none")), Some(ToolChoice::None));
    assert_eq!(choice(json!({"type": "function", "name": "f"})), named);
    assert_eq!(choice(json!({"type": "custom", "name": "f"})), named);
    assert_eq!(
        choice(json!({"type": "allowed_tools", "mode": "required", "tools": [
            {"type": "function", "name": "f"}, {"type": "custom", "name": "c"}]})),
        Some(ToolChoice::Allowed { required: true, names: vec!["f".into(), "c".into()] })
    );
    assert_eq!(choice(json!({"type": "mcp", "server_label": "s"})), None);
    assert_eq!(choice(Value::Null), None);
}

#[test]
fn wrong_types_are_blamed_by_field() {
    let body = |more: Value| {
        let mut body = json!({"model": "m", "input": "q"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for (more, param) in [
        (json!({"stream": "yes"}), "stream"),
        (json!({"instructions": 1}), "instructions"),
        (json!({"instructions": [{"role": "robot"}]}), "instructions[0].role"),
        (json!({"max_output_tokens": -1}), "max_output_tokens"),
        (json!({"temperature": "hot"}), "temperature"),
        (json!({"tools": {}}), "tools"),
        (json!({"tools": [1]}), "tools[0]"),
        (json!({"tools": [{"name": "f"}]}), "tools[0].type"),
        (json!({"tools": [{"type": "web_search"}, {"type": "function"}]}), "tools[1].name"),
        (json!({"tools": [{"type": "function", "name": "f", "parameters": []}]}), "tools[0].parameters"),
        (json!({"tools": [{"type": "function", "name": "f", "strict": 1}]}), "tools[0].strict"),
        (json!({"tool_choice": "any"}), "tool_choice"),
        (json!({"tool_choice": {}}), "tool_choice.type"),
        (json!({"tool_choice": {"type": "function"}}), "tool_choice.name"),
        (json!({"tool_choice": {"type": "allowed_tools", "mode": "auto"}}), "tool_choice.tools"),
        (json!({"text": []}), "text"),
        (json!({"text": {"format": "json"}}), "text.format"),
        (json!({"text": {"format": {"type": "yaml"}}}), "text.format.type"),
        (json!({"text": {"format": {"type": "json_schema", "name": "n"}}}), "text.format.schema"),
        (json!({"text": {"verbosity": 1}}), "text.verbosity"),
        (json!({"reasoning": {"effort": "enormous"}}), "reasoning.effort"),
        (json!({"include": "all"}), "include"),
        (json!({"metadata": []}), "metadata"),
    ] {
        assert_eq!(blamed(&body(more.clone())), param, "{more}");
    }
}

#[test]
fn a_request_says_all_and_asks_the_provider_to_keep_nothing() {
    let request = Request {
        stream: true,
        entries: vec![
            instruction("One."),
            instruction("Two."),
            entry(said(Role::User, "q")),
            instruction("Three."),
            entry(said(Role::Assistant, "a")),
        ],
        ..question()
    };
    assert_eq!(
        written(&request),
        json!({
            "model": "gpt-5",
            "instructions": "One.\n\nTwo.",
            "input": [
                {"role": "user", "content": "q"},
                {"role": "developer", "content": "Three."},
                {"role": "assistant", "content": "a"}],
            "store": false,
            "include": ["reasoning.encrypted_content"],
            "stream": true,
        })
    );
}

#[test]
fn each_field_has_its_place_in_the_request() {
    let number = |value: Value| value.as_number().cloned();
    let schema = json!({"type": "object"});
    let format = |name: Option<&str>, strict| {
        let name = name.map(str::to_owned);
        Some(Format::JsonSchema { name, description: None, schema: schema.clone(), strict })
    };
    let thinking = |thinking: Thinking| beside(Request { thinking, ..Request::default() });
    for (request, fields) in [
        (Request { max_tokens: Some(100), ..Request::default() }, json!({"max_output_tokens": 100})),
        // The API takes no less.
        (Request { max_tokens: Some(1), ..Request::default() }, json!({"max_output_tokens": 16})),
        (
            Request { temperature: number(json!(0.50)), top_p: number(json!(1)), ..Request::default() },
            json!({"temperature": 0.50, "top_p": 1}),
        ),
        (
            Request { logprobs: Some(2), ..Request::default() },
            json!({"top_logprobs": 2, "include": ["reasoning.encrypted_content", "message.output_text.logprobs"]}),
        ),
        (
            Request {
                format: Some(Format::JsonObject),
                verbosity: Some("high".into()),
                ..Request::default()
            },
            json!({"text": {"format": {"type": "json_object"}, "verbosity": "high"}}),
        ),
        (
            Request { format: format(None, None), ..Request::default() },
            json!({"text": {"format": {"type": "json_schema", "name": "answer", "schema": schema}}}),
        ),
        (
            Request { format: format(Some("n"), Some(true)), ..Request::default() },
            json!({"text": {"format": {"type": "json_schema", "name": "n", "schema": schema, "strict": true}}}),
        ),
        (
            Request {
                parallel_tool_calls: Some(false),
                user: Some("u".into()),
                metadata: json!({"k": "v"}).as_object().cloned(),
                service_tier: Some("standard_only".into()),
                ..Request::default()
            },
            json!({"parallel_tool_calls": false, "user": "u", "metadata": {"k": "v"}, "service_tier": "default"}),
        ),
    ] {
        assert_eq!(beside(request), fields);
    }
    for (asked, fields) in [
        (Thinking { budget: Some(8_192), ..Thinking::default() }, json!({"reasoning": {"effort": "medium"}})),
        (
            Thinking { budget: Some(0), shown: Some(true), ..Thinking::default() },
            json!({"reasoning": {"effort": "none"}}),
        ),
        (
            Thinking { adaptive: true, shown: Some(true), ..Thinking::default() },
            json!({"reasoning": {"summary": "auto"}}),
        ),
        (
            Thinking { effort: Some(Effort::High), summary: Some("detailed".into()), ..Thinking::default() },
            json!({"reasoning": {"effort": "high", "summary": "detailed"}}),
        ),
        (Thinking { adaptive: true, shown: Some(false), ..Thinking::default() }, json!({})),
    ] {
        assert_eq!(thinking(asked), fields);
    }
}

#[test]
fn a_function_is_strict_only_where_the_client_said_so() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let tools = vec![
        function("f", Some(schema.clone()), None),
        function("g", None, Some(true)),
        function("h", None, None),
        custom("c", Some(json!({"type": "grammar", "syntax": "regex", "definition": "x"}))),
    ];
    let none = json!({"type": "object", "properties": {}});
    let exactly_none =
        json!({"type": "object", "properties": {}, "required": [], "additionalProperties": false});
    let names = vec!["f".to_owned(), "c".to_owned()];
    let allowed = Some(ToolChoice::Allowed { required: false, names });
    assert_eq!(
        beside(Request { tools: tools.clone(), tool_choice: allowed, ..Request::default() }),
        json!({
            "tools": [
                {"type": "function", "name": "f", "description": "d", "parameters": schema, "strict": false},
                {"type": "function", "name": "g", "description": "d", "parameters": exactly_none, "strict": true},
                {"type": "function", "name": "h", "description": "d", "parameters": none, "strict": false},
                {"type": "custom", "name": "c", "format": {"type": "grammar", "syntax": "regex", "definition": "x"}}],
            "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [
                {"type": "function", "name": "f"}, {"type": "custom", "name": "c"}]},
        })
    );
    let choice =
        |choice| beside(Request { tools: tools.clone(), tool_choice: Some(choice), ..Request::default() });
    assert_eq!(choice(ToolChoice::Required)["tool_choice"], "required");
    assert_eq!(choice(ToolChoice::None)["tool_choice"], "none");
    assert_eq!(choice(ToolChoice::Named("c".into()))["tool_choice"], json!({"type": "custom", "name": "c"}));
}

#[test]
fn a_conversation_of_another_dialect_becomes_items() {
    let free =
        ToolCall { id: "c2".into(), name: "free".into(), arguments: "x".into(), custom: true, sealed: None };
    let spoken = Message::new(
        Role::Assistant,
        vec![Part::text("I look."), call("c1", "f", "").into(), PartKind::ToolCall(free).into()],
    );
    let picture = PartKind::Image(media(Source::Data("AAAA".into()), Some("image/png")));
    let entries = vec![
        entry(Message::new(
            Role::User,
            vec![
                Part::text("q"),
                picture.clone().into(),
                PartKind::File(media(Source::Data("BBBB".into()), Some("application/pdf"))).into(),
                PartKind::File(media(Source::Url("https://x.test/a.pdf".into()), None)).into(),
            ],
        )),
        entry(spoken),
        entry(result("c1", vec![Part::text("seen"), picture.clone().into()], false)),
        entry(result("c2", vec![Part::text("broke")], true)),
        entry(Message::new(Role::Assistant, vec![PartKind::Refusal("No.".into()).into()])),
        entry(Message::new(Role::Assistant, vec![picture.into()])),
    ];
    let refusal = Message::new(Role::Assistant, vec![PartKind::Refusal("No.".into()).into()]);
    let id = format!("msg_{}", &refusal.content_hash()[..48]);
    assert_eq!(
        items(entries),
        json!([
            {"role": "user", "content": [
                {"type": "input_text", "text": "q"},
                {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "auto"},
                {"type": "input_file", "file_data": "data:application/pdf;base64,BBBB", "filename": "document.pdf"},
                {"type": "input_file", "file_url": "https://x.test/a.pdf"}]},
            {"role": "assistant", "content": "I look."},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
            {"type": "custom_tool_call", "call_id": "c2", "name": "free", "input": "x"},
            {"type": "function_call_output", "call_id": "c1", "output": [
                {"type": "input_text", "text": "seen"},
                {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "auto"}]},
            {"type": "custom_tool_call_output", "call_id": "c2", "output": "Error: broke"},
            {"type": "message", "id": id, "status": "completed", "role": "assistant",
             "content": [{"type": "refusal", "refusal": "No."}]},
        ])
    );
}

#[test]
fn sound_is_refused_where_the_client_can_mend_it() {
    let sound = PartKind::Audio(media(Source::Data("AAAA".into()), Some("wav")));
    let message = Message::new(Role::User, vec![Part::text("q"), sound.into()]);
    let request = |place: Option<&str>| Request {
        entries: vec![Entry::Message { message: message.clone(), place: place.map(str::to_owned) }],
        ..question()
    };
    let error = Dialect::Responses.write_request(&request(Some("messages[0]")), "openai").unwrap_err();
    assert_eq!(error.body()["error"]["param"], "messages[0].content[1]");
    assert_eq!(
        written(&request(None))["input"],
        json!([{"role": "user", "content": [{"type": "input_text", "text": "q"}]}])
    );
}

#[test]
fn a_call_and_its_result_keep_one_id_that_the_api_takes() {
    let long = format!("call_{}", "x".repeat(80));
    let spoken = Message::new(Role::Assistant, vec![call(&long, "f", "{}").into()]);
    let items = items(vec![entry(spoken), entry(result(&long, vec![Part::text("r")], false))]);
    let id = items[0]["call_id"].as_str().unwrap();
    assert!(id.starts_with("call_") && id.len() <= 64, "{id}");
    assert_eq!(items[1]["call_id"], id);
}

#[test]
fn sealed_reasoning_goes_back_to_its_maker_only() {
    let thought = |sealed: &str, id: Option<&str>| {
        let reasoning =
            Reasoning { text: "hm".into(), sealed: Some(sealed.into()), id: id.map(str::to_owned) };
        Message::new(Role::Assistant, vec![PartKind::Reasoning(reasoning).into()])
    };
    let native = Message { origin: Some(origin(Dialect::Responses)), ..thought("E", Some("rs_1")) };
    let summary = json!([{"type": "summary_text", "text": "hm"}]);
    assert_eq!(
        items(vec![
            entry(native),
            entry(thought("E", Some("rs_1"))),
            entry(thought("mgw1:openai:responses:F", Some("rs_ours"))),
            entry(thought("mgw1:google:google:G", None)),
        ]),
        json!([
            {"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": "E"},
            {"type": "reasoning", "summary": summary, "encrypted_content": "F"},
        ])
    );
}

#[test]
fn a_seal_that_a_client_carries_for_another_provider_stays_with_its_part() {
    let request = asked(&json!({"model": "m", "input": [
        {"role": "user", "content": "q"},
        {"type": "reasoning", "id": "rs_ab0", "summary": [], "encrypted_content": "mgw1:anthropic:messages:sig"},
        {"type": "reasoning", "id": "rs_ab1", "summary": [], "encrypted_content": "mgw1:call:c:1:mgw1:google:google:S"},
        {"type": "function_call", "id": "fc_ab2", "call_id": "c:1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c:1", "output": "r"},
    ]}))
    .unwrap();
    let Entry::Message { message, place } = &request.entries[1] else { panic!() };
    assert_eq!(place.as_deref(), Some("input[1]"));
    let reasoning = Reasoning {
        text: String::new(),
        sealed: Some("mgw1:anthropic:messages:sig".into()),
        id: Some("rs_ab0".into()),
    };
    let call = ToolCall {
        id: "c:1".into(),
        name: "f".into(),
        arguments: "{}".into(),
        custom: false,
        sealed: Some("mgw1:google:google:S".into()),
    };
    let kinds: Vec<PartKind> = message.parts.iter().map(|part| part.kind.clone()).collect();
    assert_eq!(kinds, [PartKind::Reasoning(reasoning), PartKind::ToolCall(call)]);
}

#[test]
fn what_is_written_reads_back_the_same() {
    let mut request = Request {
        stream: true,
        stream_usage: true,
        entries: vec![instruction("s"), entry(said(Role::User, "q"))],
        tools: vec![function("f", Some(json!({"type": "object"})), Some(false)), custom("c", None)],
        tool_choice: Some(ToolChoice::Named("c".into())),
        parallel_tool_calls: Some(true),
        max_tokens: Some(99),
        temperature: json!(0.25).as_number().cloned(),
        top_p: json!(1).as_number().cloned(),
        logprobs: Some(0),
        format: Some(Format::JsonObject),
        verbosity: Some("low".into()),
        thinking: Thinking {
            effort: Some(Effort::Minimal),
            shown: Some(true),
            summary: Some("auto".into()),
            ..Thinking::default()
        },
        user: Some("u".into()),
        metadata: json!({"k": "v"}).as_object().cloned(),
        service_tier: Some("priority".into()),
        ..question()
    };
    let mut read = asked(&written(&request)).unwrap();
    for request in [&mut request, &mut read] {
        for entry in &mut request.entries {
            if let Entry::Message { message, place } = entry {
                message.origin = None;
                *place = None;
            }
        }
    }
    assert_eq!(read, request);
}
