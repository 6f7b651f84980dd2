//! Requests and answers with some of their values changed: read, stored, woven, translated and read again.

use memory_gateway::body::Body;
use memory_gateway::dialect::Dialect;
use memory_gateway::memory::context::Item;
use memory_gateway::prompt::{self, Target};
use memory_gateway::protocol::Injection;
use memory_gateway::request::Request;
use memory_gateway::translate;
use memory_gateway::way::Way;
use serde_json::{Value, json};

use super::{CLIENTS, UPSTREAMS, frame, mutate, origin, read, rounds};

const SCHEMA: &str = r##"{"type":"object","properties":{"q":{"type":["string","null"],"enum":["a",1]}},"$defs":{"x":{"$ref":"#/$defs/x"}}}"##;

/// A request that uses much of its dialect.
fn request(dialect: Dialect) -> Value {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    match dialect {
        Dialect::Chat => {
            json!({"model": "openai/m", "stream": true, "temperature": 1.5, "n": 1, "stop": ["a"], "max_tokens": 9,
            "reasoning_effort": "high", "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}},
            "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}},
                {"type": "custom", "custom": {"name": "g", "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "s"}}}}],
            "tool_choice": {"type": "function", "function": {"name": "f"}}, "metadata": {"a": "b"}, "user": "u",
            "messages": [{"role": "system", "content": "s"},
                {"role": "user", "name": "n", "content": [{"type": "text", "text": "q"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
                    {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}, {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA==", "filename": "a.pdf"}}]},
                {"role": "assistant", "content": "t", "refusal": "r", "reasoning_content": "hm", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                    {"id": "b", "type": "custom", "custom": {"name": "g", "input": "x"}}]},
                {"role": "tool", "tool_call_id": "a", "content": "r"}, {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "r"}]},
                {"role": "developer", "content": "d"}, {"role": "user", "content": "z"}]})
        }
        Dialect::Messages => {
            json!({"model": "anthropic/m", "max_tokens": 4000, "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
            "thinking": {"type": "enabled", "budget_tokens": 2000}, "stop_sequences": ["a"], "top_k": 3, "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": schema}},
            "tools": [{"name": "f", "input_schema": schema}, {"type": "web_search_20250305", "name": "web_search"}], "tool_choice": {"type": "auto", "disable_parallel_tool_use": true},
            "metadata": {"user_id": "u"}, "messages": [
                {"role": "user", "content": [{"type": "text", "text": "q"}, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
                    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}, "title": "t"}]},
                {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "Z"}, {"type": "redacted_thinking", "data": "Y"}, {"type": "text", "text": "t"},
                    {"type": "tool_use", "id": "a", "name": "f", "input": {"q": 1}}, {"type": "tool_use", "id": "b", "name": "f", "input": {}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "is_error": true, "content": [{"type": "text", "text": "r"}, {"type": "image", "source": {"type": "url", "url": "https://a"}}]},
                    {"type": "tool_result", "tool_use_id": "b", "content": "r"}, {"type": "text", "text": "z"}]}]})
        }
        Dialect::Google => {
            json!({"model": "m", "systemInstruction": {"parts": [{"text": "s"}]}, "generationConfig": {"temperature": 1, "thinkingConfig": {"thinkingBudget": 0}, "responseJsonSchema": schema},
            "tools": [{"functionDeclarations": [{"name": "f", "parameters": schema}]}, {"googleSearch": {}}], "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
            "contents": [{"role": "user", "parts": [{"text": "q"}, {"inlineData": {"mimeType": "image/png", "data": "AA=="}}]},
                {"role": "model", "parts": [{"text": "hm", "thought": true}, {"functionCall": {"name": "f", "args": {"q": 1}}, "thoughtSignature": "Z"}, {"functionCall": {"name": "f"}}]},
                {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"result": "r"}}}, {"functionResponse": {"name": "f", "response": {"a": 1}}}, {"text": "z"}]}]})
        }
        Dialect::Responses => Value::Null,
    }
}

/// A whole answer.
fn answer(dialect: Dialect) -> Value {
    match dialect {
        Dialect::Chat => {
            json!({"id": "c", "choices": [{"index": 0, "finish_reason": "stop", "message": request(dialect)["messages"][2],
            "logprobs": {"content": [{"token": "t", "logprob": -1}]}}], "usage": {"prompt_tokens": 1, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}}})
        }
        Dialect::Messages => {
            json!({"id": "m", "type": "message", "role": "assistant", "content": request(dialect)["messages"][1]["content"],
            "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 2}})
        }
        Dialect::Google => {
            json!({"candidates": [{"content": request(dialect)["contents"][1], "finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 1}})
        }
        Dialect::Responses => Value::Null,
    }
}

#[test]
fn no_document_makes_anything_panic() {
    rounds(|random| {
        let (dialect, provider, _) = *random.pick(UPSTREAMS);
        let from = origin(dialect, provider);
        let mut document = if random.one_in(3) { answer(dialect) } else { request(dialect) };
        (0..random.below(5)).for_each(|_| mutate(&mut document, random));
        let mut bytes = document.to_string().into_bytes();
        if random.one_in(8) {
            let at = random.below(bytes.len());
            bytes[at] = u8::try_from(random.below(256)).unwrap();
        }
        if let Some(answer) = dialect.read_answer(&bytes, &from) {
            for client in CLIENTS {
                let (_, written) = translate::answer(answer.clone(), *client, &frame(from.clone()));
                let again = client.read_answer(written.to_string().as_bytes(), &origin(*client, "gateway"));
                assert!(again.is_some(), "{dialect:?}'s {document} is written as {written}");
                for (is_stream, streams) in [(false, true), (false, false)] {
                    let way = Way {
                        client: *client,
                        target: from.clone(),
                        frame: Some(frame(from.clone())),
                        streams,
                        streams_upstream: is_stream,
                        hides_usage: false,
                    };
                    way.read_whole(200, is_stream, &bytes);
                }
            }
        }
        if let Ok(body) = Body::parse(&bytes)
            && let Ok(conversation) = dialect.read_conversation(&body, &from)
        {
            let messages = prompt::messages(&conversation);
            for message in &messages {
                message.content_hash();
                let mut twin = message.clone();
                twin.origin = None;
                for (target, provider, _) in UPSTREAMS {
                    target.write_message(message, provider);
                    target.write_message(&twin, provider);
                }
            }
            let kept = (0..messages.len()).map(Item::Keep);
            let items: Vec<Item> = messages.iter().cloned().map(Item::Insert).chain(kept).collect();
            let told = Injection { stable: vec!["told".into()], volatile: Some("now".into()) };
            let to = Target { provider, model: "anthropic/claude" };
            for injection in [Injection::default(), told] {
                let edited = body.edited(prompt::edit(dialect, &body, &conversation, &items, &injection, to));
                let hinted = prompt::with_cache_hints(dialect, edited, &injection, to);
                assert!(Body::parse(&hinted).is_ok(), "{}", String::from_utf8_lossy(&hinted));
            }
        }
        if let Ok(request) = read(&from, &bytes) {
            for (target, provider, model) in UPSTREAMS {
                let to = origin(*target, provider);
                let written =
                    translate::request(Request { model: (*model).into(), ..request.clone() }, dialect, &to);
                if let Ok(written) = written
                    && let Err(error) = read(&to, written.body.to_string().as_bytes())
                {
                    let empty =
                        error.message().contains("is empty") || error.message().contains("is missing");
                    assert!(
                        empty,
                        "{dialect:?}'s {document} is written for {to:?} as {}: {error}",
                        written.body
                    );
                }
            }
        }
    });
}
