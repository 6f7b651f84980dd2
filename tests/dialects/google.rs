//! Gemini's own API: what is asked of it.

use memory_gateway::body::Body;
use memory_gateway::dialect::{Content, Dialect, google};
use memory_gateway::error::Error;
use memory_gateway::request::{
    Effort, Entry, Field, Format, Handling, Request, Thinking, Tool, ToolChoice, ToolKind,
};
use memory_gateway::turn::{
    Media, Message, Origin, Part, PartKind, Reasoning, Role, Source, ToolCall, ToolResult,
};
use serde_json::{Map, Value, json};

fn target() -> Origin {
    Origin { dialect: Dialect::Google, provider: "google".into() }
}

fn sent(message: Message, place: &str) -> Entry {
    Entry::Message { message, place: Some(place.into()) }
}

fn user(parts: Vec<Part>) -> Entry {
    sent(Message::new(Role::User, parts), "messages[0]")
}

fn said(text: &str) -> Entry {
    user(vec![Part::text(text)])
}

fn model(parts: Vec<Part>) -> Entry {
    sent(Message::new(Role::Assistant, parts), "messages[1]")
}

/// A message as Gemini gave it and memory kept it.
fn kept(parts: Vec<Part>) -> Entry {
    let message = Message { origin: Some(target()), ..Message::new(Role::Assistant, parts) };
    Entry::Message { message, place: None }
}

fn call(id: &str, name: &str, arguments: &str, sealed: Option<&str>) -> Part {
    let sealed = sealed.map(str::to_owned);
    PartKind::ToolCall(ToolCall {
        id: id.into(),
        name: name.into(),
        arguments: arguments.into(),
        custom: false,
        sealed,
    })
    .into()
}

fn result(call_id: &str, content: Vec<Part>) -> Entry {
    let result = ToolResult { call_id: call_id.into(), content, custom: false, is_error: false };
    sent(Message::new(Role::Tool, vec![PartKind::ToolResult(result).into()]), "messages[2]")
}

fn function(name: &str, parameters: Option<Value>) -> Tool {
    let kind =
        ToolKind::Function { name: name.into(), description: Some("Does.".into()), parameters, strict: None };
    Tool { kind, extra: Map::new() }
}

fn write(request: &Request) -> Result<Value, Error> {
    Dialect::Google.write_request(request, "google").map(|written| written.body)
}

fn contents(model: &str, entries: Vec<Entry>) -> Value {
    write(&Request { model: model.into(), entries, ..Request::default() }).unwrap()["contents"].take()
}

fn blamed(request: &Request) -> String {
    let error = write(request).unwrap_err();
    assert_eq!(error.status(), 400);
    error.body()["error"]["param"].as_str().unwrap_or_default().to_owned()
}

fn read_request(body: &Value) -> Result<Request, Error> {
    let bytes = body.to_string();
    let body = Body::parse(bytes.as_bytes()).unwrap();
    let conversation = Dialect::Google.read_conversation(&body, &target())?;
    let entries = conversation
        .units
        .into_iter()
        .map(|unit| match unit.content {
            Content::Message(message) => sent(message, &format!("contents[{}]", unit.elements.start)),
            Content::Instruction(parts) => Entry::Instruction(parts),
        })
        .collect();
    Dialect::Google.read_request(&body, entries)
}

#[test]
fn a_request_is_asked_in_geminis_own_words() {
    let schema = json!({"$schema": "s", "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let request = Request {
        model: "gemini-2.5-flash".into(),
        stream: true,
        entries: vec![
            Entry::Instruction(vec![Part::text("Be brief.")]),
            said("Hi."),
            model(vec![Part::text("Hello.")]),
            Entry::Instruction(vec![Part::text("Speak French.")]),
            said("Where am I?"),
            said("And why?"),
        ],
        tools: vec![
            function("look", Some(schema.clone())),
            function("wait", Some(json!({"type": "object"}))),
        ],
        tool_choice: Some(ToolChoice::Named("look".into())),
        max_tokens: Some(100),
        temperature: Some(serde_json::from_str("0.70").unwrap()),
        top_p: Some(serde_json::from_str("0.9").unwrap()),
        top_k: Some(40),
        seed: Some(7.into()),
        frequency_penalty: Some(1.into()),
        presence_penalty: Some(0.into()),
        logprobs: Some(3),
        stop: vec!["END".into()],
        n: Some(1),
        format: Some(Format::JsonSchema {
            name: Some("place".into()),
            description: Some("A place.".into()),
            schema,
            strict: Some(true),
        }),
        thinking: Thinking { effort: Some(Effort::Low), ..Thinking::default() },
        ..Request::default()
    };
    let cleaned = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let mut described = cleaned.clone();
    described["description"] = "A place.".into();
    assert_eq!(
        write(&request).unwrap(),
        json!({
            "contents": [
                {"role": "user", "parts": [{"text": "Hi."}]},
                {"role": "model", "parts": [{"text": "Hello."}]},
                {"role": "user", "parts": [{"text": "Where am I?"}, {"text": "And why?"}]},
            ],
            "systemInstruction": {"parts": [{"text": "Be brief."}, {"text": "Speak French."}]},
            "tools": [{"functionDeclarations": [
                {"name": "look", "description": "Does.", "parametersJsonSchema": cleaned},
                {"name": "wait", "description": "Does."},
            ]}],
            "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["look"]}},
            "generationConfig": {
                "maxOutputTokens": 100,
                "temperature": serde_json::from_str::<Value>("0.70").unwrap(),
                "topP": serde_json::from_str::<Value>("0.9").unwrap(),
                "topK": 40,
                "frequencyPenalty": 1,
                "presencePenalty": 0,
                "seed": 7,
                "responseLogprobs": true,
                "logprobs": 3,
                "stopSequences": ["END"],
                "responseMimeType": "application/json",
                "responseJsonSchema": described,
                "thinkingConfig": {"thinkingBudget": 2048, "includeThoughts": true},
            },
        })
    );
}

#[test]
fn a_request_that_asks_nothing_special_is_nothing_but_its_contents() {
    let request =
        Request { model: "gemini-2.5-pro".into(), entries: vec![said("Hi.")], ..Request::default() };
    assert_eq!(write(&request).unwrap(), json!({"contents": [{"role": "user", "parts": [{"text": "Hi."}]}]}));
}

#[test]
fn instructions_alone_are_asked_as_a_users_words() {
    let request =
        Request { entries: vec![Entry::Instruction(vec![Part::text("Tell a joke.")])], ..Request::default() };
    assert_eq!(
        write(&request).unwrap(),
        json!({"contents": [{"role": "user", "parts": [{"text": "Tell a joke."}]}]})
    );
}

#[test]
fn results_of_a_step_stand_in_one_content_in_the_order_of_the_calls_and_bear_their_names() {
    let entries = vec![
        said("Weather in Rome and Oslo?"),
        model(vec![
            Part::text("I look."),
            call("a", "weather", r#"{"city":"Rome"}"#, None),
            call("b", "time of day", "", None),
            call("c", "weather", "[1]", None),
        ]),
        result("b", vec![Part::text("noon")]),
        result("c", vec![Part::text("cold")]),
        said("Hurry."),
        result("a", vec![Part::text(r#"{"sun": true}"#)]),
    ];
    assert_eq!(
        contents("gemini-2.5-flash", entries),
        json!([
            {"role": "user", "parts": [{"text": "Weather in Rome and Oslo?"}]},
            {"role": "model", "parts": [
                {"text": "I look."},
                {"functionCall": {"name": "weather", "args": {"city": "Rome"}}},
                {"functionCall": {"name": "time_of_day", "args": {}}},
                {"functionCall": {"name": "weather", "args": {"input": [1]}}},
            ]},
            {"role": "user", "parts": [
                {"functionResponse": {"name": "weather", "response": {"sun": true}}},
                {"functionResponse": {"name": "time_of_day", "response": {"result": "noon"}}},
                {"functionResponse": {"name": "weather", "response": {"result": "cold"}}},
                {"text": "Hurry."},
            ]},
        ])
    );
}

#[test]
fn a_call_of_a_custom_tool_and_a_failed_result_are_told_as_objects() {
    let custom = ToolCall {
        id: "x".into(),
        name: "shell".into(),
        arguments: "ls -l".into(),
        custom: true,
        sealed: None,
    };
    let failed = ToolResult {
        call_id: "x".into(),
        content: vec![Part::text("no"), Part::text("such file")],
        custom: true,
        is_error: true,
    };
    let entries = vec![
        said("List."),
        model(vec![PartKind::ToolCall(custom).into()]),
        sent(Message::new(Role::Tool, vec![PartKind::ToolResult(failed).into()]), "messages[2]"),
    ];
    let written = contents("gemini-2.5-pro", entries);
    assert_eq!(written[1]["parts"], json!([{"functionCall": {"name": "shell", "args": {"input": "ls -l"}}}]));
    assert_eq!(
        written[2]["parts"],
        json!([{"functionResponse": {"name": "shell", "response": {"error": "no\nsuch file"}}}])
    );
}

#[test]
fn a_result_without_its_call_is_refused_by_place_and_a_stored_one_left_out() {
    let orphan = result("gone", vec![Part::text("42")]);
    let request = |orphan: Entry| Request { entries: vec![said("Hi."), orphan], ..Request::default() };
    assert_eq!(blamed(&request(orphan.clone())), "messages[2]");
    let Entry::Message { message, .. } = orphan else { panic!() };
    let written = write(&request(Entry::Message { message, place: None })).unwrap();
    assert_eq!(written["contents"], json!([{"role": "user", "parts": [{"text": "Hi."}]}]));
}

fn signatures(contents: &Value) -> Vec<Vec<Option<&str>>> {
    let parts = |content: &'_ Value| content["parts"].as_array().unwrap().len();
    contents
        .as_array()
        .unwrap()
        .iter()
        .filter(|content| content["role"] == "model")
        .map(|content| {
            (0..parts(content)).map(|at| content["parts"][at]["thoughtSignature"].as_str()).collect()
        })
        .collect()
}

const SKIP: Option<&str> = Some("skip_thought_signature_validator");

#[test]
fn gemini_3_gets_a_signature_on_the_first_call_of_each_step_of_the_current_turn() {
    let entries = || {
        vec![
            said("First."),
            model(vec![call("old", "f", "{}", None)]),
            result("old", vec![]),
            model(vec![Part::text("Done.")]),
            said("Second."),
            model(vec![Part::text("I try."), call("a", "f", "{}", None), call("b", "f", "{}", None)]),
            result("a", vec![]),
            result("b", vec![]),
            kept(vec![call("c", "f", "{}", Some("real")), call("d", "f", "{}", None)]),
            result("c", vec![]),
            result("d", vec![]),
            model(vec![call("e", "f", "{}", Some("mgw1:google:google:c2Vh+bA/="))]),
            result("e", vec![]),
            model(vec![call("g", "f", "{}", Some("mgw1:vertex:google:another"))]),
            result("g", vec![]),
        ]
    };
    let third = vec![
        vec![None],
        vec![None],
        vec![None, SKIP, None],
        vec![Some("real"), None],
        vec![Some("c2Vh+bA/=")],
        vec![SKIP],
    ];
    for model in ["gemini-3-pro-preview", "models/gemini-3.8-flash", "gemini-flash-latest"] {
        assert_eq!(signatures(&contents(model, entries())), third, "{model}");
    }
    let second = vec![
        vec![None],
        vec![None],
        vec![None, None, None],
        vec![Some("real"), None],
        vec![Some("c2Vh+bA/=")],
        vec![None],
    ];
    for model in ["gemini-2.5-pro", "gemma-3-27b-it"] {
        assert_eq!(signatures(&contents(model, entries())), second, "{model}");
    }
}

#[test]
fn ids_go_back_only_where_gemini_gave_them() {
    let entries = vec![
        said("Go."),
        model(vec![call("toolu_1", "f", "{}", None)]),
        result("toolu_1", vec![]),
        kept(vec![call("g1", "f", "{}", None)]),
        result("g1", vec![]),
    ];
    let written = contents("gemini-2.5-flash", entries);
    assert_eq!(written[1]["parts"][0]["functionCall"], json!({"name": "f", "args": {}}));
    assert_eq!(written[2]["parts"][0]["functionResponse"], json!({"name": "f", "response": {"result": ""}}));
    assert_eq!(written[3]["parts"][0]["functionCall"], json!({"id": "g1", "name": "f", "args": {}}));
    assert_eq!(
        written[4]["parts"][0]["functionResponse"],
        json!({"id": "g1", "name": "f", "response": {"result": ""}})
    );
}

#[test]
fn thoughts_and_signed_texts_go_back_to_their_maker_only() {
    let thought = |sealed: Option<&str>| -> Part {
        let sealed = sealed.map(str::to_owned);
        PartKind::Reasoning(Reasoning { text: "Hm.".into(), sealed, id: None }).into()
    };
    let mut signed = Part::text("");
    signed.extra.insert("thoughtSignature".into(), "sig".into());
    signed.extra.insert("annotations".into(), json!([{"type": "url_citation"}]));
    let parts = vec![thought(Some("seal")), thought(None), Part::text("So."), signed];
    assert_eq!(
        contents("gemini-3-flash-preview", vec![said("?"), kept(parts.clone())])[1]["parts"],
        json!([
            {"text": "Hm.", "thought": true, "thoughtSignature": "seal"},
            {"text": "Hm.", "thought": true},
            {"text": "So."},
            {"text": "", "thoughtSignature": "sig"},
        ])
    );
    assert_eq!(
        contents("gemini-3-flash-preview", vec![said("?"), model(parts)])[1]["parts"],
        json!([{"text": "So."}])
    );
    let carried = vec![thought(Some("mgw1:google:google:seal")), Part::text("So.")];
    assert_eq!(
        contents("gemini-3-flash-preview", vec![said("?"), model(carried)])[1]["parts"],
        json!([{"text": "Hm.", "thought": true, "thoughtSignature": "seal"}, {"text": "So."}])
    );
}

fn media(source: Source, media_type: Option<&str>) -> Media {
    Media {
        source,
        media_type: media_type.map(str::to_owned),
        name: Some("n".into()),
        detail: Some("low".into()),
    }
}

fn data(media_type: Option<&str>) -> Media {
    media(Source::Data("AAAA".into()), media_type)
}

fn url(url: &str) -> Media {
    media(Source::Url(url.into()), None)
}

#[test]
fn pictures_sounds_and_documents_go_inline_or_by_address_with_a_type() {
    let parts: Vec<Part> = vec![
        PartKind::Image(data(Some("image/webp"))).into(),
        PartKind::Audio(data(Some("wav"))).into(),
        PartKind::Audio(data(Some("pcm16"))).into(),
        PartKind::File(data(None)).into(),
        PartKind::Image(url("https://example.com/a.b/Cat.PNG?size=1#x")).into(),
        PartKind::Image(url("https://example.com/cat")).into(),
        PartKind::File(url("https://example.com/paper.pdf")).into(),
    ];
    assert_eq!(
        contents("gemini-2.5-flash", vec![user(parts)])[0]["parts"],
        json!([
            {"inlineData": {"mimeType": "image/webp", "data": "AAAA"}},
            {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}},
            {"inlineData": {"mimeType": "audio/pcm", "data": "AAAA"}},
            {"inlineData": {"mimeType": "application/pdf", "data": "AAAA"}},
            {"fileData": {"mimeType": "image/png", "fileUri": "https://example.com/a.b/Cat.PNG?size=1#x"}},
            {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://example.com/cat"}},
            {"fileData": {"mimeType": "application/pdf", "fileUri": "https://example.com/paper.pdf"}},
        ])
    );
}

#[test]
fn a_picture_that_a_tool_returned_stands_in_its_result_or_behind_all_results() {
    let entries = || {
        vec![
            said("Look."),
            model(vec![call("a", "shot", "{}", Some("mgw1:google:google:s")), call("b", "f", "{}", None)]),
            result("a", vec![Part::text("Here."), PartKind::Image(data(Some("image/png"))).into()]),
            result("b", vec![Part::text("ok")]),
        ]
    };
    let picture = json!({"inlineData": {"mimeType": "image/png", "data": "AAAA"}});
    let other = json!({"functionResponse": {"name": "f", "response": {"result": "ok"}}});
    assert_eq!(
        contents("gemini-3-pro-preview", entries())[2]["parts"],
        json!([
            {"functionResponse": {"name": "shot", "response": {"result": "Here."}, "parts": [picture]}},
            other,
        ])
    );
    assert_eq!(
        contents("gemini-2.5-pro", entries())[2]["parts"],
        json!([{"functionResponse": {"name": "shot", "response": {"result": "Here."}}}, other, picture])
    );
}

#[test]
fn what_gemini_does_not_take_is_refused_by_field() {
    let stops = Request { stop: vec!["x".into(); 6], entries: vec![said("Hi.")], ..Request::default() };
    assert_eq!(blamed(&stops), "stop");
    for name in ["", "9lives", "-x", "a b", "a/b", &"x".repeat(65)] {
        let tools = vec![function("ok", None), function(name, None)];
        let request = Request { tools, entries: vec![said("Hi.")], ..Request::default() };
        assert_eq!(blamed(&request), "tools[1]", "{name}");
    }
    for name in ["_", "a.b:c-d_9", &"x".repeat(64)] {
        let request =
            Request { tools: vec![function(name, None)], entries: vec![said("Hi.")], ..Request::default() };
        assert!(write(&request).is_ok(), "{name}");
    }
}

#[test]
fn the_choice_of_tools_is_said_by_mode_and_names() {
    let choice = |choice: ToolChoice, tools: Vec<Tool>| {
        let request =
            Request { tool_choice: Some(choice), tools, entries: vec![said("Hi.")], ..Request::default() };
        write(&request).unwrap()["toolConfig"]["functionCallingConfig"].take()
    };
    let tools = || vec![function("f", None), function("g", None)];
    let names = || vec!["f".to_owned(), "g".to_owned()];
    for (wanted, config) in [
        (ToolChoice::Auto, json!({"mode": "AUTO"})),
        (ToolChoice::None, json!({"mode": "NONE"})),
        (ToolChoice::Required, json!({"mode": "ANY"})),
        (ToolChoice::Named("f".into()), json!({"mode": "ANY", "allowedFunctionNames": ["f"]})),
        (
            ToolChoice::Allowed { required: true, names: names() },
            json!({"mode": "ANY", "allowedFunctionNames": ["f", "g"]}),
        ),
        (
            ToolChoice::Allowed { required: false, names: names() },
            json!({"mode": "VALIDATED", "allowedFunctionNames": ["f", "g"]}),
        ),
    ] {
        assert_eq!(choice(wanted, tools()), config);
    }
    assert_eq!(choice(ToolChoice::Auto, vec![]), Value::Null, "without functions there is no choice");
}

#[test]
fn a_request_that_is_written_reads_back_the_same() {
    let native = |role, parts| {
        let message = Message { origin: Some(target()), ..Message::new(role, parts) };
        sent(message, "contents[0]")
    };
    let named = |name: &str, result: ToolResult| {
        let mut part: Part = PartKind::ToolResult(result).into();
        part.extra.insert("name".into(), name.into());
        part
    };
    let returned = |call_id: &str, text: &str, is_error| ToolResult {
        call_id: call_id.into(),
        content: vec![Part::text(text)],
        custom: false,
        is_error,
    };
    let mut signed = Part::text("");
    signed.extra.insert("thoughtSignature".into(), "sig".into());
    let request = Request {
        model: "gemini-3-flash-preview".into(),
        entries: vec![
            Entry::Instruction(vec![Part::text("s")]),
            native(Role::User, vec![Part::text("q")]),
            native(
                Role::Assistant,
                vec![
                    PartKind::Reasoning(Reasoning { text: "Hm.".into(), sealed: Some("r".into()), id: None })
                        .into(),
                    call("a", "f", r#"{"x":1}"#, Some("s")),
                    call("b", "g", "{}", None),
                    signed,
                ],
            ),
            native(Role::Tool, vec![named("f", returned("a", "text", false))]),
            native(Role::Tool, vec![named("g", returned("b", "it broke", true))]),
            native(Role::User, vec![Part::text("more")]),
        ],
        tools: vec![function("f", Some(json!({"type": "object", "properties": {"x": {"type": "number"}}})))],
        tool_choice: Some(ToolChoice::Required),
        max_tokens: Some(9),
        temperature: Some(1.into()),
        top_p: Some(1.into()),
        top_k: Some(1),
        frequency_penalty: Some(1.into()),
        presence_penalty: Some(1.into()),
        seed: Some(1.into()),
        logprobs: Some(0),
        stop: vec!["x".into()],
        format: Some(Format::JsonObject),
        thinking: Thinking { effort: Some(Effort::High), shown: Some(false), ..Thinking::default() },
        ..Request::default()
    };
    let body = write(&request).unwrap();
    let mut read = read_request(&body).unwrap();
    // Both stand in the address.
    read.model = request.model.clone();
    // The contents are two, the messages five.
    for entry in &mut read.entries {
        if let Entry::Message { place, .. } = entry {
            *place = Some("contents[0]".into());
        }
    }
    assert_eq!(read, request);
}

#[test]
fn snake_case_is_read_and_fields_without_a_word_go_back() {
    let body = json!({
        "contents": [
            {"parts": [{"inline_data": {"mime_type": "image/png", "data": "AA"}}, {"file_data": {"file_uri": "u"}}]},
            {"role": "model", "parts": [
                {"function_call": {"name": "f", "args": {"snake_case": 1}}, "thought_signature": "s"},
                {"executable_code": {"language": "PYTHON", "code": "1"}}]},
            {"role": "function", "parts": [{"function_response": {"name": "f", "response": {"a_b": 1}}}]}],
        "system_instruction": "Be brief.",
        "safety_settings": [{"category": "c"}],
        "tool_config": {"include_server_side_tool_invocations": true},
        "tools": {"function_declarations": [{"name": "f", "parameters": {"type": "OBJECT"}}], "google_search": {}},
        "generation_config": {"response_modalities": ["TEXT"], "max_output_tokens": 5.0, "response_mime_type": "text/x.enum"},
    });
    let read = read_request(&body).unwrap();
    assert_eq!(
        write(&read).unwrap(),
        json!({
            "contents": [
                {"role": "user", "parts": [
                    {"inlineData": {"mimeType": "image/png", "data": "AA"}}, {"fileData": {"fileUri": "u"}}]},
                {"role": "model", "parts": [
                    {"functionCall": {"name": "f", "args": {"snake_case": 1}}, "thoughtSignature": "s"},
                    {"executableCode": {"language": "PYTHON", "code": "1"}}]},
                {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"a_b": 1}}}]}],
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "tools": [{"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT"}}]}, {"googleSearch": {}}],
            "generationConfig": {
                "maxOutputTokens": 5, "responseModalities": ["TEXT"], "responseMimeType": "text/x.enum"},
            "safetySettings": [{"category": "c"}],
            "toolConfig": {"includeServerSideToolInvocations": true},
        })
    );
}

#[test]
fn wrong_types_are_refused_by_field() {
    let hi = json!([{"parts": [{"text": "Hi."}]}]);
    for (body, param) in [
        (json!({}), "contents"),
        (json!({"contents": []}), "contents"),
        (json!({"contents": [{"role": "system"}]}), "contents[0].role"),
        (json!({"contents": hi, "tools": [1]}), "tools[0]"),
        (
            json!({"contents": hi, "tools": [{"functionDeclarations": [{}]}]}),
            "tools[0].functionDeclarations[0].name",
        ),
        (json!({"contents": hi, "generationConfig": 1}), "generationConfig"),
        (json!({"contents": hi, "generationConfig": {"temperature": "hot"}}), "generationConfig.temperature"),
        (json!({"contents": hi, "generationConfig": {"topK": 1.5}}), "generationConfig.topK"),
        (
            json!({"contents": hi, "generationConfig": {"stopSequences": "x"}}),
            "generationConfig.stopSequences",
        ),
        (
            json!({"contents": hi, "generationConfig": {"thinkingConfig": {"thinkingBudget": -2}}}),
            "generationConfig.thinkingConfig.thinkingBudget",
        ),
    ] {
        let error = read_request(&body).unwrap_err();
        assert_eq!(error.body()["error"]["param"], param, "{body}");
    }
}

#[test]
fn the_table_names_every_field_once_and_points_to_where_it_lands() {
    let kind = ToolKind::Function { name: "f".into(), description: None, parameters: None, strict: None };
    let full = |choice: ToolChoice, format: Format| Request {
        model: "gemini-2.5-flash".into(),
        entries: vec![said("Hi.")],
        tools: vec![Tool { kind: kind.clone(), extra: Map::new() }],
        tool_choice: Some(choice),
        max_tokens: Some(1),
        temperature: Some(1.into()),
        top_p: Some(1.into()),
        top_k: Some(1),
        frequency_penalty: Some(1.into()),
        presence_penalty: Some(1.into()),
        seed: Some(1.into()),
        logprobs: Some(1),
        stop: vec!["x".into()],
        format: Some(format),
        thinking: Thinking { budget: Some(1), ..Thinking::default() },
        ..Request::default()
    };
    let schema = Format::JsonSchema { name: None, description: None, schema: json!({}), strict: None };
    let plain = write(&full(ToolChoice::Auto, Format::JsonObject)).unwrap();
    let special =
        write(&full(ToolChoice::Allowed { required: true, names: vec!["f".into()] }, schema)).unwrap();
    for field in Field::ALL {
        assert_eq!(google::TABLE.iter().filter(|(known, _)| *known == field).count(), 1, "{field:?}");
        if let Handling::Mapped(pointer) = Dialect::Google.handling(field) {
            assert!(plain.pointer(pointer).or(special.pointer(pointer)).is_some(), "{field:?} at {pointer}");
        }
    }
}

#[test]
fn the_address_names_the_model_and_the_method() {
    for (model, stream, path) in [
        ("gemini-2.5-flash", false, "/models/gemini-2.5-flash:generateContent"),
        ("gemini-2.5-flash", true, "/models/gemini-2.5-flash:streamGenerateContent?alt=sse"),
        ("models/gemini-2.5-flash", false, "/models/gemini-2.5-flash:generateContent"),
        ("tunedModels/mine-1", false, "/tunedModels/mine-1:generateContent"),
        ("a/../b?c#d é:x", false, "/models/a%2F..%2Fb%3Fc%23d%20%C3%A9%3Ax:generateContent"),
    ] {
        assert_eq!(google::path(model, stream), path);
    }
}
