//! Thought signatures that a request must have: <https://ai.google.dev/gemini-api/docs/thought-signatures>.
//!
//! Invariant: from Gemini 3 on, the first call of every step of the current turn carries a signature, or the API refuses
//! the request. Where there is none to give back (the call was another model's, or the client dropped it), the word
//! stands there that the API documents for this case.

use serde_json::Value;

use super::model::Model;
use super::part::SIGNATURE;

/// Tells the API not to look for a signature.
const SKIP: &str = "skip_thought_signature_validator";

/// Gives each step of the current turn its signature, where one is missing. A turn begins with the last content of the
/// user that brings no results.
pub fn complete(contents: &mut [Value], model: Model) {
    if !model.is_third() {
        return;
    }
    let begin = contents
        .iter()
        .rposition(|content| {
            !is_models(content) && !parts(content).any(|part| part.get("functionResponse").is_some())
        })
        .map_or(0, |at| at + 1);
    for content in contents.iter_mut().skip(begin).filter(|content| is_models(content)) {
        let parts = content.get_mut("parts").and_then(Value::as_array_mut);
        let first = parts.into_iter().flatten().find(|part| part.get("functionCall").is_some());
        if let Some(Value::Object(part)) = first
            && !part.contains_key(SIGNATURE)
        {
            part.insert(SIGNATURE.to_owned(), SKIP.into());
        }
    }
}

fn is_models(content: &Value) -> bool {
    content.get("role").is_some_and(|role| role == "model")
}

fn parts(content: &Value) -> impl Iterator<Item = &Value> {
    content.get("parts").and_then(Value::as_array).into_iter().flatten()
}
