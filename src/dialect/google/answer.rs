//! Answers, whole and streamed.
//!
//! Invariant: a streamed answer reads like the same answer whole: a stream is nothing but answers that each hold a piece,
//! and a whole answer, or an array of pieces (a stream without `alt=sse`), is put together in the same way. The first
//! candidate is the answer. A text with a signature stays a part of its own, so that the signature goes back where it
//! stood.

use serde_json::{Map, Value};

use super::{call_piece, camel_names, grounding, part};
use crate::dialect::fields::{failure_text, number_at, take_array, take_object};
use crate::dialect::{Delta, Growth};
use crate::gather::Gathered;
use crate::sse::Event;
use crate::turn::{Answer, Ending, Message, Origin, Part, PartKind, Role, Stop, Usage};

/// Reads a whole answer; `None` when it is not one.
pub fn read_answer(json: &[u8], origin: &Origin) -> Option<Answer> {
    let value: Value = serde_json::from_slice(json).ok()?;
    let (pieces, streamed) = match value {
        Value::Array(pieces) => (pieces, true),
        whole => (vec![whole], false),
    };
    let known = |piece: &Value| {
        ["candidates", "promptFeedback", "usageMetadata", "error"]
            .iter()
            .any(|name| piece.get(name).is_some())
    };
    if !pieces.iter().any(known) {
        return None;
    }
    let mut gathered = Gathered::default();
    for piece in pieces {
        read_piece(piece, &mut |delta| gathered.add(delta));
    }
    let ending = match () {
        () if gathered.failure.is_some() => Ending::Failed,
        () if streamed && gathered.stop.is_none() => Ending::Truncated,
        () => Ending::Complete,
    };
    let parts = gathered.settle();
    let message = (!parts.is_empty())
        .then(|| Message { origin: Some(origin.clone()), ..Message::new(Role::Assistant, parts) });
    Some(Answer { message, usage: gathered.usage, stop: gathered.stop, ending })
}

/// Reads one event of a streamed answer.
pub fn read_event(event: Event<'_>, on_delta: &mut dyn FnMut(Delta)) {
    match serde_json::from_str(event.data) {
        Ok(Value::Array(pieces)) => pieces.into_iter().for_each(|piece| read_piece(piece, on_delta)),
        Ok(piece) => read_piece(piece, on_delta),
        Err(_) => {}
    }
}

fn read_piece(piece: Value, on_delta: &mut dyn FnMut(Delta)) {
    let Value::Object(object) = piece else { return };
    let mut object = camel_names(object);
    if let Some(error) = object.get("error").filter(|error| !error.is_null()) {
        on_delta(Delta::Failure(failure_text(error)));
        return;
    }
    let candidates = take_array(&mut object, "candidates").unwrap_or_default();
    let first = candidates.into_iter().find(|one| one.get("index").and_then(Value::as_u64).unwrap_or(0) == 0);
    if let Some(Value::Object(candidate)) = first {
        read_candidate(camel_names(candidate), on_delta);
    }
    let blocked = object.get("promptFeedback").and_then(|feedback| feedback.get("blockReason"));
    if blocked.is_some_and(|reason| !reason.is_null() && reason != "BLOCK_REASON_UNSPECIFIED") {
        on_delta(Delta::Stop(Stop::ContentFilter));
    }
    if let Some(usage) = object.get("usageMetadata").and_then(read_usage) {
        on_delta(Delta::Usage(usage));
    }
}

fn read_candidate(mut candidate: Map<String, Value>, on_delta: &mut dyn FnMut(Delta)) {
    let mut content = take_object(&mut candidate, "content").unwrap_or_default();
    let annotations = grounding::annotations(&candidate);
    let mut extras: Vec<(&str, Value)> = Vec::new();
    if !annotations.is_empty() {
        extras.push(("annotations", annotations.into()));
    }
    extras.extend(grounding::logprobs(&candidate).map(|tokens| ("logprobs", tokens)));
    for value in take_array(&mut content, "parts").unwrap_or_default() {
        let Err(value) = call_piece::read(value, on_delta) else { continue };
        let Part { kind, extra } = part::read(value);
        match kind {
            PartKind::Text(text) if extra.is_empty() => on_delta(Delta::Text(text)),
            PartKind::Reasoning(reasoning) => on_delta(Delta::Reasoning { reasoning, extra }),
            PartKind::Text(text) if text.is_empty() => {
                // What is told of the text belongs to the words before this mere signature.
                tell(&mut extras, on_delta);
                on_delta(Delta::Part(Part { kind: PartKind::Text(text), extra }));
            }
            PartKind::Text(text) => {
                on_delta(Delta::Open { slot: 0, part: Part { kind: PartKind::Text(String::new()), extra } });
                on_delta(Delta::Grow { slot: 0, growth: Growth::Text(text) });
                tell(&mut extras, on_delta);
                on_delta(Delta::Close { slot: 0 });
            }
            kind => on_delta(Delta::Part(Part { kind, extra })),
        }
    }
    tell(&mut extras, on_delta);
    if let Some(stop) = candidate.get("finishReason").and_then(read_stop) {
        on_delta(Delta::Stop(stop));
    }
}

fn tell(extras: &mut Vec<(&str, Value)>, on_delta: &mut dyn FnMut(Delta)) {
    for (name, value) in extras.drain(..) {
        on_delta(Delta::TextExtra(name.to_owned(), value));
    }
}

/// Google counts thoughts beside the answer, and what its own tools put into the prompt beside the prompt.
pub fn read_usage(usage: &Value) -> Option<Usage> {
    let usage = Value::Object(camel_names(usage.as_object()?.clone()));
    let count = |name: &str| number_at(&usage, &[name]);
    let reasoning = count("thoughtsTokenCount");
    let usage = Usage {
        input: count("promptTokenCount").saturating_add(count("toolUsePromptTokenCount")),
        output: count("candidatesTokenCount").saturating_add(reasoning),
        cached: count("cachedContentTokenCount"),
        cache_write: 0,
        cache_write_1h: 0,
        reasoning,
    };
    (usage != Usage::default()).then_some(usage)
}

/// <https://ai.google.dev/api/generate-content#FinishReason>. A call that Google could not read or did not allow
/// (`MALFORMED_FUNCTION_CALL`, `UNEXPECTED_TOOL_CALL`, `TOO_MANY_TOOL_CALLS`) keeps its word: the answer is over, but the
/// model meant to go on, and asking again may help. Clients whose format has no such word are told a plain end.
fn read_stop(reason: &Value) -> Option<Stop> {
    let word = match (reason.as_str(), reason.as_u64()) {
        (Some(word), _) => word,
        // Some of Vertex's clients write the enumeration's numbers.
        (_, Some(0)) => "FINISH_REASON_UNSPECIFIED",
        (_, Some(1)) => "STOP",
        (_, Some(2)) => "MAX_TOKENS",
        (_, Some(3)) => "SAFETY",
        (_, Some(4)) => "RECITATION",
        (_, Some(_)) => "OTHER",
        _ => return None,
    };
    Some(match word {
        "" | "FINISH_REASON_UNSPECIFIED" => return None,
        "STOP" => Stop::End,
        "MAX_TOKENS" => Stop::Length,
        "SAFETY"
        | "RECITATION"
        | "LANGUAGE"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "MODEL_ARMOR"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION" => Stop::ContentFilter,
        other => Stop::Other(other.to_owned()),
    })
}
