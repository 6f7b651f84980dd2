//! What the model did with the gateway's tools, for a client that asks to see it: `gateway_steps`, a field of the answer
//! beside what was said.
//!
//! Invariant: no message holds the steps, so that nothing of them comes back with a conversation; nothing else of an answer
//! changes with them.

use serde_json::{Value, json};

use super::outcome::ToolOutcome;
use crate::dialect::Dialect;
use crate::error::Error;
use crate::turn::ToolCall;

/// The header that asks for them.
pub const HEADER: &str = "x-gateway-tools-show";
/// The field that holds them.
const FIELD: &str = "gateway_steps";

/// True where a request asks for them. Errors: 400 for another word.
pub fn are_wanted(header: Option<&str>) -> Result<bool, Error> {
    match header.map(str::trim) {
        None | Some("" | "none") => Ok(false),
        Some("steps") => Ok(true),
        Some(other) => Err(Error::invalid(
            HEADER,
            format!("{HEADER} is `{other}`. Send `steps` to see what was looked up, or leave it out."),
        )),
    }
}

/// One step: the tool, what it was asked, what it found.
pub(super) fn step(call: &ToolCall, outcome: &ToolOutcome, result: &str) -> Value {
    let arguments: Value =
        serde_json::from_str(call.written_arguments()).unwrap_or_else(|_| call.arguments.as_str().into());
    let sources: Vec<Value> = outcome
        .citations
        .iter()
        .map(|source| json!({"title": source.title, "url": source.url, "date": source.date}))
        .collect();
    json!({
        "tool": call.name,
        "arguments": arguments,
        "result": result,
        "is_error": outcome.is_error,
        "sources": sources,
    })
}

/// A whole answer with the steps; as it is where nobody wants any.
pub fn beside(mut answer: Value, steps: Option<&[Value]>) -> Value {
    if let (Some(steps), Value::Object(fields)) = (steps, &mut answer) {
        fields.insert(FIELD.to_owned(), steps.into());
    }
    answer
}

/// The last events of a stream with the steps in the one that says why the answer ended.
pub fn in_last_event(client: Dialect, events: &str, steps: Option<&[Value]>) -> String {
    if steps.is_none() {
        return events.to_owned();
    }
    let line = |line: &str| {
        let event = line.strip_prefix("data: ").and_then(|data| serde_json::from_str::<Value>(data).ok());
        event.and_then(|event| shown_in(client, event, steps)).unwrap_or_else(|| line.to_owned())
    };
    events.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

fn shown_in(client: Dialect, mut event: Value, steps: Option<&[Value]>) -> Option<String> {
    let event = match client {
        Dialect::Chat | Dialect::Google => {
            event.pointer("/choices/0/finish_reason").filter(|reason| !reason.is_null())?;
            beside(event, steps)
        }
        Dialect::Messages => {
            event.get("type").filter(|kind| *kind == "message_delta")?;
            beside(event, steps)
        }
        Dialect::Responses => {
            let response = event.get_mut("response")?;
            *response = beside(response.take(), steps);
            event
        }
    };
    Some(format!("data: {event}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_stand_beside_what_was_said_in_the_event_that_ends_it() {
        let steps = [json!({"tool": "recall"})];
        for (client, events, with_steps) in [
            (
                Dialect::Chat,
                "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[]}\n\ndata: [DONE]\n\n",
                "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"gateway_steps\":[{\"tool\":\"recall\"}]}\n\ndata: {\"choices\":[]}\n\ndata: [DONE]\n\n",
            ),
            (
                Dialect::Messages,
                "event: message_delta\ndata: {\"type\":\"message_delta\"}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
                "event: message_delta\ndata: {\"type\":\"message_delta\",\"gateway_steps\":[{\"tool\":\"recall\"}]}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
            ),
            (
                Dialect::Responses,
                "event: response.output_item.done\ndata: {\"item\":{}}\n\nevent: response.completed\ndata: {\"response\":{\"id\":\"r\"}}\n\n",
                "event: response.output_item.done\ndata: {\"item\":{}}\n\nevent: response.completed\ndata: {\"response\":{\"id\":\"r\",\"gateway_steps\":[{\"tool\":\"recall\"}]}}\n\n",
            ),
        ] {
            assert_eq!(in_last_event(client, events, Some(&steps)), with_steps);
            assert_eq!(in_last_event(client, events, None), events);
        }
        assert_eq!(beside(json!({"id": "x"}), Some(&steps)), json!({"id": "x", "gateway_steps": steps}));
        assert_eq!(beside(json!({"id": "x"}), None), json!({"id": "x"}));
    }

    #[test]
    fn a_step_tells_what_was_asked_and_found() {
        let call =
            ToolCall { name: "recall".into(), arguments: "{\"query\":\"x\"}".into(), ..ToolCall::default() };
        let step = step(&call, &ToolOutcome::failed("No."), "No.");
        let told = json!({"tool": "recall", "arguments": {"query": "x"}, "result": "No.", "is_error": true, "sources": []});
        assert_eq!(step, told);
        let call = ToolCall { arguments: "{".into(), ..call };
        assert_eq!(super::step(&call, &ToolOutcome::failed("No."), "No.")["arguments"], "{");
    }

    #[test]
    fn only_the_word_that_is_known_asks_for_them() {
        assert_eq!((are_wanted(None).unwrap(), are_wanted(Some(" steps ")).unwrap()), (false, true));
        assert!(!are_wanted(Some("none")).unwrap());
        assert_eq!(are_wanted(Some("all")).unwrap_err().status(), 400);
    }
}
