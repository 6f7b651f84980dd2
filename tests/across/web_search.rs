//! Searches of the web that the provider runs.

use memory_gateway::dialect::Dialect;
use serde_json::{Value, json};

use super::{ask, events, hear, messages_stream, param, target};

/// The same search as each client asks for it, as far as each can.
fn asked(client: Dialect) -> Value {
    let place = json!({"country": "DE", "city": "Bonn"});
    let near = json!({"type": "approximate", "country": "DE", "city": "Bonn"});
    match client {
        Dialect::Chat => json!({"web_search_options": {"search_context_size": "low",
            "user_location": {"type": "approximate", "approximate": place}}}),
        Dialect::Responses => {
            json!({"max_tool_calls": 3, "tools": [{"type": "web_search", "search_context_size": "low",
            "user_location": near, "filters": {"allowed_domains": []}, "external_web_access": true}]})
        }
        _ => {
            json!({"max_tokens": 9, "tools": [{"type": "web_search_20260209", "name": "web_search", "max_uses": 3,
            "user_location": near, "cache_control": {"type": "ephemeral"}}]})
        }
    }
}

#[test]
fn a_search_is_asked_for_in_the_targets_form_and_what_it_lacks_is_named() {
    let near = json!({"type": "approximate", "country": "DE", "city": "Bonn"});
    let responses = json!([{"type": "web_search", "user_location": near, "search_context_size": "low"}]);
    let messages = json!([{"type": "web_search_20250305", "name": "web_search", "user_location": near}]);
    let gemini = json!([{"googleSearch": {}}]);
    let told = |client, dialect| ask(client, asked(client), &target(dialect), "m").unwrap();
    for (client, dialect, tools, ignored) in [
        (Dialect::Chat, Dialect::Responses, &responses, vec![]),
        (Dialect::Chat, Dialect::Messages, &messages, vec!["web_search_options.search_context_size"]),
        (
            Dialect::Chat,
            Dialect::Google,
            &gemini,
            vec!["web_search_options.search_context_size", "web_search_options.user_location"],
        ),
        (
            Dialect::Responses,
            Dialect::Google,
            &gemini,
            vec!["tools[0].search_context_size", "tools[0].user_location", "max_tool_calls"],
        ),
        (Dialect::Messages, Dialect::Google, &gemini, vec!["tools[0].user_location", "tools[0].max_uses"]),
    ] {
        let told = told(client, dialect);
        assert_eq!(
            (&told.body["tools"], told.ignored),
            (tools, ignored.iter().map(|name| (*name).to_owned()).collect())
        );
    }
    let limited = told(Dialect::Responses, Dialect::Messages);
    assert_eq!(limited.body["tools"][0]["max_uses"], 3);
    let limited = told(Dialect::Messages, Dialect::Responses);
    assert_eq!((&limited.body["max_tool_calls"], limited.ignored), (&3.into(), vec![]));
    for client in [Dialect::Responses, Dialect::Messages] {
        let body = told(client, Dialect::Chat).body;
        let options = &body["web_search_options"];
        assert_eq!(options["user_location"], asked(Dialect::Chat)["web_search_options"]["user_location"]);
        assert_eq!(body.get("tools"), None);
    }
}

#[test]
fn domains_are_kept_or_refused_by_name() {
    let responses = json!({"tools": [{"type": "function", "name": "f"},
        {"type": "web_search_preview", "filters": {"allowed_domains": ["a.test"]}}]});
    let messages = |field: &str| json!({"max_tokens": 9, "tools": [{"type": "web_search_20250305", "name": "web_search", field: ["a.test"]}]});
    let body = ask(Dialect::Responses, responses.clone(), &target(Dialect::Messages), "m").unwrap().body;
    assert_eq!(body["tools"][1]["allowed_domains"], json!(["a.test"]));
    let body =
        ask(Dialect::Messages, messages("allowed_domains"), &target(Dialect::Responses), "m").unwrap().body;
    assert_eq!(body["tools"][0]["filters"], json!({"allowed_domains": ["a.test"]}));
    for (client, fields, dialect, field) in [
        (Dialect::Responses, responses.clone(), Dialect::Google, "tools[1].filters.allowed_domains"),
        (Dialect::Responses, responses, Dialect::Chat, "tools[1].filters.allowed_domains"),
        (Dialect::Messages, messages("blocked_domains"), Dialect::Responses, "tools[0].blocked_domains"),
        (Dialect::Messages, messages("blocked_domains"), Dialect::Google, "tools[0].blocked_domains"),
    ] {
        let error = ask(client, fields, &target(dialect), "m").unwrap_err();
        assert_eq!(param(&error), (400, "unsupported_field", field.to_owned()));
    }
}

#[test]
fn a_search_that_asks_for_more_than_others_know_is_refused_by_name() {
    for (client, fields, field) in [
        (Dialect::Chat, json!({"web_search_options": {"unheard_of": 1}}), "web_search_options"),
        (
            Dialect::Responses,
            json!({"tools": [{"type": "web_search", "external_web_access": false}]}),
            "tools[0]",
        ),
        (Dialect::Responses, json!({"tools": [{"type": "code_interpreter"}]}), "tools[0]"),
        (
            Dialect::Messages,
            json!({"max_tokens": 9, "tools": [{"type": "web_search_20250305", "name": "web_search", "defer_loading": true}]}),
            "tools[0]",
        ),
        // To be made to search is more, too.
        (
            Dialect::Messages,
            json!({"max_tokens": 9, "tools": [{"type": "web_search_20250305", "name": "web_search"}],
                "tool_choice": {"type": "tool", "name": "web_search"}}),
            "tool_choice",
        ),
        (
            Dialect::Responses,
            json!({"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}}),
            "tool_choice",
        ),
    ] {
        let error = ask(client, fields, &target(Dialect::Google), "m").unwrap_err();
        assert_eq!(param(&error), (400, "unsupported_field", field.to_owned()));
    }
}

#[test]
fn gemini_searches_beside_functions_from_the_third_generation_on() {
    let both = json!({"tools": [{"type": "function", "name": "f"}, {"type": "web_search"}]});
    let google = target(Dialect::Google);
    let error = ask(Dialect::Responses, both.clone(), &google, "gemini-2.5-pro").unwrap_err();
    assert_eq!(param(&error), (400, "unsupported_field", "tools[1]".into()));
    let body = ask(Dialect::Responses, both, &google, "gemini-3-pro-preview").unwrap().body;
    assert_eq!(body["tools"], json!([{"functionDeclarations": [{"name": "f"}]}, {"googleSearch": {}}]));
    assert_eq!(body["toolConfig"], json!({"includeServerSideToolInvocations": true}));
}

/// An answer of Anthropic's with a search and a source, whole and streamed.
fn searched() -> [String; 2] {
    let source = json!({"type": "web_search_result_location", "url": "https://a.test", "title": "A", "cited_text": "q",
        "encrypted_index": "x"});
    let call =
        |input: Value| json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": input});
    let found = json!({"type": "web_search_tool_result", "tool_use_id": "s", "content": []});
    let text = |text: &str| json!({"type": "text", "text": text});
    let mut cited = text("Yes.");
    cited["citations"] = json!([source]);
    let content = json!([text("Let me see."), call(json!({"query": "rain in Bonn"})), found, cited]);
    let whole = json!({"content": content, "stop_reason": "end_turn"}).to_string();
    let words = |words: &str| json!({"type": "text_delta", "text": words});
    let stream = messages_stream(&[
        (text(""), vec![words("Let me see.")]),
        (
            call(json!({})),
            vec![json!({"type": "input_json_delta", "partial_json": "{\"query\":\"rain in Bonn\"}"})],
        ),
        (found, vec![]),
        (text(""), vec![json!({"type": "citations_delta", "citation": source}), words("Yes.")]),
    ]);
    [whole, stream]
}

#[test]
fn a_client_of_responses_sees_the_search_and_its_sources() {
    let [whole, stream] = searched();
    let annotation = json!({"type": "url_citation", "url": "https://a.test", "title": "A", "start_index": 0, "end_index": 0});
    let said = |text: &str, annotations: Value, at: usize| {
        json!({"id": format!("msg_5eed{at}"), "type": "message", "status": "completed", "role": "assistant",
            "content": [{"type": "output_text", "annotations": annotations, "logprobs": [], "text": text}]})
    };
    let output = json!([
        said("Let me see.", json!([]), 0),
        {"id": "ws_5eed1", "type": "web_search_call", "status": "completed",
         "action": {"type": "search", "query": "rain in Bonn"}},
        said("Yes.", json!([annotation]), 2),
    ]);
    let (sent, _) = hear(Dialect::Responses, &target(Dialect::Messages), &[], &whole);
    assert_eq!(sent[0]["output"], output);
    let (sent, _) = hear(Dialect::Responses, &target(Dialect::Messages), &[], &stream);
    assert_eq!(sent.last().unwrap()["response"]["output"], output);
    let done: Vec<&Value> = sent
        .iter()
        .filter(|event| event["type"] == "response.output_item.done")
        .map(|event| &event["item"])
        .collect();
    assert_eq!(json!(done), output);
}

#[test]
fn a_client_of_chat_gets_the_sources_of_every_providers_search() {
    let [whole, stream] = searched();
    let grounded = json!({"candidates": [{"content": {"parts": [{"text": "Let me see.Yes."}]}, "finishReason": "STOP",
        "groundingMetadata": {"groundingChunks": [{"web": {"uri": "https://a.test", "title": "A"}}],
            "groundingSupports": [{"segment": {"startIndex": 11, "endIndex": 15}, "groundingChunkIndices": [0]}]}}]});
    let annotated = json!({"type": "url_citation", "url": "https://a.test", "title": "A", "start_index": 11, "end_index": 15});
    let part = json!({"type": "output_text", "text": "Let me see.Yes.", "annotations": [annotated]});
    let response = json!({"status": "completed", "output": [{"type": "web_search_call", "id": "ws", "status": "completed"},
        {"type": "message", "role": "assistant", "content": [part]}]});
    let place = json!({"url": "https://a.test", "title": "A", "start_index": 11, "end_index": 15});
    let expected = json!([{"type": "url_citation", "url_citation": place}]);
    for (dialect, whole, stream) in [
        (Dialect::Messages, whole, stream),
        (Dialect::Google, grounded.to_string(), events(&[grounded])),
        (
            Dialect::Responses,
            response.to_string(),
            events(&[
                json!({"type": "response.output_text.delta", "delta": "Let me see.Yes."}),
                json!({"type": "response.output_text.annotation.added", "annotation": annotated}),
                json!({"type": "response.completed", "response": response}),
            ]),
        ),
    ] {
        let (sent, _) = hear(Dialect::Chat, &target(dialect), &[], &whole);
        let message = &sent[0]["choices"][0]["message"];
        assert_eq!(
            (&message["content"], &message["annotations"]),
            (&"Let me see.Yes.".into(), &expected),
            "{dialect:?}"
        );
        let (sent, _) = hear(Dialect::Chat, &target(dialect), &[], &stream);
        let streamed: Vec<&Value> =
            sent.iter().filter_map(|chunk| chunk["choices"][0]["delta"].get("annotations")).collect();
        assert_eq!(streamed, [&expected], "{dialect:?}");
    }
}
