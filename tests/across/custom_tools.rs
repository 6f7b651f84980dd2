//! Custom tools, which take free text, at providers that have functions only.

use memory_gateway::dialect::Dialect;
use memory_gateway::turn::{PartKind, ToolCall};
use serde_json::{Value, json};

use super::{ask, chat_stream, events, hear, messages_stream, target};

const TEXT: &str = "*** Begin \"x\"\n\té\u{1F600}";

fn asked(client: Dialect) -> Value {
    let grammar = json!({"syntax": "lark", "definition": "start: /.+/"});
    match client {
        Dialect::Responses => {
            json!({"tools": [{"type": "custom", "name": "patch", "description": "Edits files.",
            "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}}],
            "tool_choice": {"type": "custom", "name": "patch"}})
        }
        _ => json!({"tools": [{"type": "custom", "custom": {"name": "patch", "description": "Edits files.",
            "format": {"type": "grammar", "grammar": grammar}}}],
            "tool_choice": {"type": "custom", "custom": {"name": "patch"}}}),
    }
}

#[test]
fn a_function_with_one_text_stands_in_for_one() {
    let grammar = "It follows this lark grammar:\nstart: /.+/";
    let about = format!("Edits files.\n\n{grammar}");
    let schema = |described: Value| {
        let mut schema = json!({"type": "object", "properties": {"input": {"type": "string",
            "description": format!("The whole input of the tool, as plain text. {grammar}")}}, "required": ["input"]});
        schema.as_object_mut().unwrap().extend(described.as_object().unwrap().clone());
        schema
    };
    let closed = schema(json!({"additionalProperties": false}));
    for (client, dialect, tool, choice) in [
        (
            Dialect::Responses,
            Dialect::Messages,
            json!({"name": "patch", "description": about, "input_schema": closed}),
            json!({"type": "tool", "name": "patch"}),
        ),
        (
            Dialect::Responses,
            Dialect::Chat,
            json!({"type": "function", "function": {"name": "patch", "description": about, "parameters": closed}}),
            json!({"type": "function", "function": {"name": "patch"}}),
        ),
        (
            Dialect::Chat,
            Dialect::Google,
            json!({"functionDeclarations": [{"name": "patch", "description": about, "parametersJsonSchema": closed}]}),
            json!({"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["patch"]}}),
        ),
    ] {
        let told = ask(client, asked(client), &target(dialect), "claude-sonnet-4-5").unwrap();
        let place = if dialect == Dialect::Google { "toolConfig" } else { "tool_choice" };
        assert_eq!(told.body["tools"], json!([tool]), "{dialect:?}");
        assert_eq!(told.body[place], choice, "{dialect:?}");
        assert_eq!((told.custom_tools, told.ignored), (vec!["patch".to_owned()], vec![]));
    }
    // OpenAI has custom tools in both of its formats.
    let mut openai = target(Dialect::Chat);
    openai.provider = "openai".into();
    let told = ask(Dialect::Responses, asked(Dialect::Responses), &openai, "m").unwrap();
    assert_eq!(told.body["tools"], asked(Dialect::Chat)["tools"]);
    assert_eq!(told.custom_tools, Vec::<String>::new());
}

/// What a client hears of a call: its kind, id, name and text, put together from the events if it streams.
fn call_in(client: Dialect, sent: &[Value]) -> (String, String, String) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if client == Dialect::Responses {
        let object = match sent.last().unwrap() {
            event if event["type"] == "response.completed" => &event["response"],
            whole => whole,
        };
        let items = object["output"].as_array().unwrap();
        let item = items.iter().find(|item| item["type"] == "custom_tool_call").unwrap();
        let streamed: String = sent
            .iter()
            .filter(|event| event["type"] == "response.custom_tool_call_input.delta")
            .map(|event| text(&event["delta"]))
            .collect();
        assert!(sent.len() == 1 || streamed == text(&item["input"]), "{streamed}");
        return (text(&item["call_id"]), text(&item["name"]), text(&item["input"]));
    }
    if let [whole] = sent {
        let call = &whole["choices"][0]["message"]["tool_calls"][0];
        assert_eq!(call["type"], "custom");
        return (text(&call["id"]), text(&call["custom"]["name"]), text(&call["custom"]["input"]));
    }
    let pieces: Vec<&Value> = sent
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"].as_array())
        .flatten()
        .collect();
    assert_eq!(pieces[0]["type"], "custom");
    let input = pieces.iter().map(|piece| text(&piece["custom"]["input"])).collect();
    (text(&pieces[0]["id"]), text(&pieces[0]["custom"]["name"]), input)
}

#[test]
fn its_calls_come_back_as_the_custom_tools_whole_and_streamed() {
    let arguments = json!({"input": TEXT}).to_string();
    let (head, tail) = arguments.split_at(14);
    let function = |arguments: &str| json!({"id": "a", "type": "function", "function": {"name": "patch", "arguments": arguments}});
    let mut begun = function(head);
    begun["index"] = 0.into();
    let rest = json!({"index": 0, "function": {"arguments": tail}});
    let block = |input: Value| json!({"type": "tool_use", "id": "a", "name": "patch", "input": input});
    let piece = |json: &str| json!({"type": "input_json_delta", "partial_json": json});
    let gemini = |call: Value| json!({"candidates": [{"content": {"parts": [{"functionCall": call}]}, "finishReason": "STOP"}]});
    for (dialect, answers) in [
        (
            Dialect::Chat,
            vec![
                json!({"choices": [{"message": {"tool_calls": [function(&arguments)]}, "finish_reason": "tool_calls"}]})
                    .to_string(),
                chat_stream(&[
                    json!({"index": 0, "delta": {"tool_calls": [begun]}}),
                    json!({"index": 0, "delta": {"tool_calls": [rest]}}),
                ]),
            ],
        ),
        (
            Dialect::Messages,
            vec![
                json!({"content": [block(json!({"input": TEXT}))], "stop_reason": "tool_use"}).to_string(),
                messages_stream(&[(block(json!({})), vec![piece(head), piece(tail)])]),
                messages_stream(&[(block(json!({"input": TEXT})), vec![])]),
            ],
        ),
        (
            Dialect::Google,
            vec![
                gemini(json!({"name": "patch", "id": "a", "args": {"input": TEXT}})).to_string(),
                events(&[gemini(json!({"name": "patch", "id": "a", "args": {"input": TEXT}}))]),
                events(&[gemini(json!({"name": "patch", "id": "a", "partialArgs": [{"jsonPath": "$.input", "stringValue": TEXT}]}))]),
            ],
        ),
    ] {
        for client in [Dialect::Responses, Dialect::Chat].into_iter().filter(|client| *client != dialect) {
            for answer in &answers {
                let (sent, known) = hear(client, &target(dialect), &["patch"], answer);
                let expected = ("a".to_owned(), "patch".to_owned(), TEXT.to_owned());
                assert_eq!(call_in(client, &sent), expected, "{dialect:?} to {client:?}: {answer}");
                let call = ToolCall {
                    id: "a".into(),
                    name: "patch".into(),
                    arguments: TEXT.into(),
                    custom: true,
                    sealed: None,
                };
                assert_eq!(known.message.unwrap().parts[0].kind, PartKind::ToolCall(call));
            }
        }
    }
}

#[test]
fn a_function_of_the_same_answer_stays_a_function() {
    let answer = json!({"content": [
        {"type": "tool_use", "id": "a", "name": "find", "input": {"input": "x"}},
        {"type": "tool_use", "id": "b", "name": "patch", "input": {}}], "stop_reason": "tool_use"});
    let (sent, _) = hear(Dialect::Chat, &target(Dialect::Messages), &["patch"], &answer.to_string());
    assert_eq!(
        sent[0]["choices"][0]["message"]["tool_calls"],
        json!([
            {"id": "a", "type": "function", "function": {"name": "find", "arguments": "{\"input\":\"x\"}"}},
            {"id": "b", "type": "custom", "custom": {"name": "patch", "input": ""}},
        ])
    );
}

#[test]
fn earlier_calls_and_their_results_go_along_as_the_functions() {
    let input = json!([
        {"role": "user", "content": "hi"},
        {"type": "custom_tool_call", "call_id": "a", "name": "patch", "input": TEXT},
        {"type": "custom_tool_call_output", "call_id": "a", "output": "done"}]);
    let mut fields = asked(Dialect::Responses);
    fields["input"] = input;
    let body = |dialect| ask(Dialect::Responses, fields.clone(), &target(dialect), "m").unwrap().body;
    let arguments = json!({"input": TEXT});
    assert_eq!(
        body(Dialect::Chat)["messages"][1]["tool_calls"],
        json!([{"id": "a", "type": "function", "function": {"name": "patch", "arguments": arguments.to_string()}}])
    );
    assert_eq!(
        body(Dialect::Messages)["messages"][1]["content"],
        json!([{"type": "tool_use", "id": "a", "name": "patch", "input": arguments}])
    );
    let contents = body(Dialect::Google)["contents"].take();
    assert_eq!(contents[1]["parts"], json!([{"functionCall": {"name": "patch", "args": arguments}}]));
    assert_eq!(contents[2]["parts"][0]["functionResponse"]["response"], json!({"result": "done"}));
}

#[test]
fn pieces_of_a_custom_call_of_chats_own_are_read() {
    let begun = json!({"index": 0, "id": "a", "type": "custom", "custom": {"name": "patch", "input": ""}});
    let piece =
        |text: &str| json!({"index": 0, "delta": {"tool_calls": [{"index": 0, "custom": {"input": text}}]}});
    let stream =
        chat_stream(&[json!({"index": 0, "delta": {"tool_calls": [begun]}}), piece("{} "), piece("{}")]);
    let mut openai = target(Dialect::Chat);
    openai.provider = "openai".into();
    let (sent, _) = hear(Dialect::Responses, &openai, &[], &stream);
    assert_eq!(call_in(Dialect::Responses, &sent), ("a".into(), "patch".into(), "{} {}".into()));
}
