//! Requests of Messages: read from clients, and what the tests below share.

mod written;

use memory_gateway::body::Body;
use memory_gateway::dialect::{Content, Dialect};
use memory_gateway::error::Error;
use memory_gateway::request::{Effort, Entry, Format, Request, Thinking, Tool, ToolChoice, ToolKind};
use memory_gateway::translate;
use memory_gateway::turn::{Message, Part, PartKind, Role, ToolResult};
use serde_json::{Map, Value, json};

use super::{origin, said};

fn asked(body: &Value) -> Result<Request, Error> {
    let text = body.to_string();
    let body = Body::parse(text.as_bytes()).unwrap();
    let conversation = Dialect::Messages.read_conversation(&body, &origin(Dialect::Messages)).unwrap();
    let entries = conversation.units.into_iter().map(|unit| match unit.content {
        Content::Instruction(parts) => Entry::Instruction(parts),
        Content::Message(message) => {
            Entry::Message { message, place: Some(format!("messages[{}]", unit.elements.start)) }
        }
    });
    Dialect::Messages.read_request(&body, entries.collect())
}

fn entry(message: Message) -> Entry {
    Entry::Message { message, place: Some("messages[7]".into()) }
}

fn instruction(text: &str) -> Entry {
    Entry::Instruction(vec![Part::text(text)])
}

fn request(model: &str, entries: Vec<Entry>) -> Request {
    Request { model: model.into(), entries, ..Request::default() }
}

fn question(model: &str) -> Request {
    request(model, vec![entry(said(Role::User, "q"))])
}

fn written(request: &Request) -> Value {
    Dialect::Messages.write_request(request, "anthropic").unwrap().body
}

fn refusal(request: &Request) -> Value {
    Dialect::Messages.write_request(request, "anthropic").unwrap_err().body()["error"]["param"].clone()
}

fn function(name: &str, parameters: Option<Value>, strict: Option<bool>) -> Tool {
    let kind = ToolKind::Function { name: name.into(), description: Some("d".into()), parameters, strict };
    Tool { kind, extra: Map::new() }
}

fn result(id: &str, text: &str) -> Message {
    let content = vec![Part::text(text)];
    let result = ToolResult { call_id: id.into(), content, custom: false, is_error: false };
    Message::new(Role::Tool, vec![PartKind::ToolResult(result).into()])
}

#[test]
fn a_request_as_claude_code_sends_it_is_understood_whole() {
    let schema = json!({"type": "object", "properties": {"command": {"type": "string"}}});
    let request = asked(&json!({
        "model": "openai/gpt-5.4", "max_tokens": 32000, "temperature": 1, "stream": true,
        "system": [{"type": "text", "text": "You are an agent."},
                   {"type": "text", "text": "Rules.", "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]}],
        "tools": [{"name": "Bash", "description": "d", "input_schema": schema, "cache_control": {"type": "ephemeral"}}],
        "thinking": {"type": "adaptive", "display": "omitted"},
        "output_config": {"effort": "high"},
        "metadata": {"user_id": "user_1_session_2"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "betas": ["claude-code-20250219"], "mcp_servers": [], "container": null, "speed": "standard",
    }))
    .unwrap();
    let hint: Map<String, Value> =
        [("cache_control".to_owned(), json!({"type": "ephemeral"}))].into_iter().collect();
    let Entry::Message { message, .. } = &request.entries[1] else { panic!("a message") };
    assert_eq!(message.parts, [Part { kind: PartKind::Text("hi".into()), extra: hint.clone() }]);
    assert_eq!(
        request.entries[0],
        Entry::Instruction(vec![
            Part::text("You are an agent."),
            Part { kind: PartKind::Text("Rules.".into()), extra: hint.clone() }
        ])
    );
    assert_eq!(
        Request { entries: Vec::new(), ..request.clone() },
        Request {
            model: "openai/gpt-5.4".into(),
            stream: true,
            stream_usage: true,
            max_tokens: Some(32000),
            temperature: Some(1.into()),
            tools: vec![Tool { extra: hint, ..function("Bash", Some(schema), None) }],
            thinking: Thinking {
                effort: Some(Effort::High),
                adaptive: true,
                shown: Some(false),
                ..Thinking::default()
            },
            user: Some("user_1_session_2".into()),
            rest:
                json!({"context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
                         "betas": ["claude-code-20250219"]})
                .as_object()
                .cloned()
                .unwrap(),
            ..Request::default()
        }
    );
    let hints = Dialect::Messages.hints();
    assert!(request.rest.keys().all(|name| hints.contains(&name.as_str())), "all of it can be done without");
}

#[test]
fn a_thread_that_a_provider_keeps_is_refused_by_providers_of_other_dialects() {
    let thread = json!({"type": "continue", "id": "thread_1"});
    for messages in [json!([]), json!([{"role": "user", "content": "q"}])] {
        let body = json!({"model": "m", "max_tokens": 9, "messages": messages, "thread": thread});
        for dialect in [Dialect::Chat, Dialect::Responses, Dialect::Google] {
            let request = asked(&body).unwrap();
            assert_eq!(request.rest["thread"], thread);
            let error = translate::request(request, Dialect::Messages, &origin(dialect)).unwrap_err();
            assert_eq!((error.status(), &error.body()["error"]["param"]), (400, &json!("thread")));
        }
    }
}

#[test]
fn every_field_has_its_word() {
    let server = json!({"type": "web_fetch_20250910", "name": "web_fetch", "max_uses": 3});
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false});
    let request = asked(&json!({
        "model": "m", "max_tokens": 9, "system": "s", "messages": [{"role": "user", "content": "q"}],
        "temperature": 0.5, "top_p": 0.9, "top_k": 40, "stop_sequences": ["a", "b"],
        "tools": [server, {"type": "custom", "name": "f", "strict": true, "description": "d", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": true},
        "thinking": {"type": "enabled", "budget_tokens": 2048, "display": "summarized"},
        "output_config": {"format": {"type": "json_schema", "schema": schema}, "task_budget": {"total": 9}},
        "metadata": {"user_id": "u", "trace": 1}, "service_tier": "standard_only", "models": ["x"],
        "inference_geo": "eu", "mcp_servers": [{"name": "x"}],
    }))
    .unwrap();
    assert_eq!(request.entries[0], instruction("s"));
    let number = |text: &str| serde_json::from_str(text).unwrap();
    assert_eq!(
        Request { entries: Vec::new(), ..request },
        Request {
            model: "m".into(),
            max_tokens: Some(9),
            temperature: Some(number("0.5")),
            top_p: Some(number("0.9")),
            top_k: Some(40),
            stop: vec!["a".into(), "b".into()],
            tools: vec![
                Tool { kind: ToolKind::Server(server), extra: Map::new() },
                function("f", Some(json!({"type": "object"})), Some(true)),
            ],
            tool_choice: Some(ToolChoice::Named("f".into())),
            parallel_tool_calls: Some(false),
            thinking: Thinking { budget: Some(2048), shown: Some(true), ..Thinking::default() },
            format: Some(Format::JsonSchema { name: None, description: None, schema, strict: Some(true) }),
            user: Some("u".into()),
            metadata: json!({"trace": 1}).as_object().cloned(),
            service_tier: Some("default".into()),
            rest: json!({"output_config.task_budget": {"total": 9}, "inference_geo": "eu", "mcp_servers": [{"name": "x"}]})
                .as_object()
                .cloned()
                .unwrap(),
            ..Request::default()
        }
    );
}

#[test]
fn thinking_is_read_in_all_its_forms() {
    let of = |fields: Value| {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "q"}]});
        body.as_object_mut().unwrap().extend(fields.as_object().cloned().unwrap());
        asked(&body).unwrap().thinking
    };
    let effort = |effort| Thinking { effort: Some(effort), ..Thinking::default() };
    for (fields, thinking) in [
        (json!({}), Thinking::default()),
        (json!({"thinking": null, "output_config": {"effort": null, "format": null}}), Thinking::default()),
        (json!({"thinking": {"type": "disabled"}}), effort(Effort::None)),
        (json!({"thinking": {"type": "disabled"}, "output_config": {"effort": "max"}}), effort(Effort::None)),
        (json!({"output_config": {"effort": "max"}, "thinking": {"type": "disabled"}}), effort(Effort::None)),
        (json!({"thinking": {"type": "between_tools"}}), effort(Effort::Minimal)),
        (json!({"thinking": {"type": "adaptive"}}), Thinking { adaptive: true, ..Thinking::default() }),
        (json!({"output_config": {"effort": "xhigh"}}), effort(Effort::XHigh)),
    ] {
        assert_eq!(of(fields.clone()), thinking, "{fields}");
    }
}

#[test]
fn a_field_of_a_wrong_type_is_named_to_the_last_letter() {
    let tool = |tool: Value| json!({"tools": [{"name": "ok", "input_schema": {}}, tool]});
    for (fields, param) in [
        (json!({"system": 1}), "system"),
        (json!({"system": [{"type": "text", "text": "a"}, {"type": "image"}]}), "system[1]"),
        (json!({"max_tokens": "9"}), "max_tokens"),
        (json!({"max_tokens": 0}), "max_tokens"),
        (json!({"max_tokens": -1}), "max_tokens"),
        (json!({"temperature": "hot"}), "temperature"),
        (json!({"top_k": 1.5}), "top_k"),
        (json!({"stop_sequences": "x"}), "stop_sequences"),
        (json!({"stop_sequences": ["x", 1]}), "stop_sequences[1]"),
        (json!({"tools": {}}), "tools"),
        (tool(json!(1)), "tools[1]"),
        (tool(json!({"input_schema": {}})), "tools[1].name"),
        (tool(json!({"name": "f", "description": 1})), "tools[1].description"),
        (tool(json!({"name": "f", "input_schema": []})), "tools[1].input_schema"),
        (tool(json!({"name": "f", "strict": "yes"})), "tools[1].strict"),
        (json!({"tool_choice": "auto"}), "tool_choice"),
        (json!({"tool_choice": {"type": "required"}}), "tool_choice.type"),
        (json!({"tool_choice": {"type": "tool"}}), "tool_choice.name"),
        (
            json!({"tool_choice": {"type": "auto", "disable_parallel_tool_use": 1}}),
            "tool_choice.disable_parallel_tool_use",
        ),
        (json!({"thinking": true}), "thinking"),
        (json!({"thinking": {"type": "deep"}}), "thinking.type"),
        (json!({"thinking": {"type": "enabled"}}), "thinking.budget_tokens"),
        (json!({"output_config": {"effort": "minimal effort"}}), "output_config.effort"),
        (json!({"output_config": {"format": {"type": "xml"}}}), "output_config.format.type"),
        (json!({"output_format": {"type": "json_schema"}}), "output_format.schema"),
        (json!({"metadata": "x"}), "metadata"),
        (json!({"metadata": {"user_id": 1}}), "metadata.user_id"),
        (json!({"service_tier": 1}), "service_tier"),
        (json!({"stream": "yes"}), "stream"),
    ] {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "q"}]});
        body.as_object_mut().unwrap().extend(fields.as_object().cloned().unwrap());
        assert_eq!(asked(&body).unwrap_err().body()["error"]["param"], param, "{fields}");
    }
}

#[test]
fn a_seal_in_front_of_a_call_belongs_to_the_call() {
    let request = asked(&json!({"model": "m", "messages": [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": [
            {"type": "redacted_thinking", "data": "theirs"},
            {"type": "redacted_thinking", "data": "mgw1:google:google:AbC="},
            {"type": "tool_use", "id": "c", "name": "f", "input": {}},
            {"type": "redacted_thinking", "data": "theirs"},
            {"type": "tool_use", "id": "d", "name": "f", "input": {}}]}]}))
    .unwrap();
    let Some(Entry::Message { message, .. }) = request.entries.last() else { panic!("a message") };
    let seals: Vec<Option<&str>> = message.tool_calls().map(|call| call.sealed.as_deref()).collect();
    assert_eq!((seals, message.parts.len()), (vec![Some("mgw1:google:google:AbC="), None], 4));
}
