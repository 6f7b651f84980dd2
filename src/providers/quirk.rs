//! What single providers want otherwise than the dialect they speak says.
//!
//! Invariant: a quirk changes a field's name, or leaves a field out, or adds what the provider cannot do without; it
//! never touches the conversation's content. Each is backed by a public page, named where the row has it.

use serde_json::{Map, Value, json};

use crate::dialect::Dialect;

/// One deviation of a provider from its dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quirk {
    /// Answers as a stream only: whoever wants a whole answer gathers it.
    AlwaysStreams,
    /// Keeps no responses and says so: `store` must be there and false.
    NoStore,
    /// Refuses a Responses request without `instructions`.
    NeedsInstructions,
    /// Takes the `input` of Responses as a list only.
    ListInput,
    /// Refuses `stream_options` of Chat Completions; usage comes unasked.
    NoStreamOptions,
    /// Knows the limit of an answer as `max_tokens` only: another name is refused or, worse, not heeded.
    OnlyMaxTokens,
    /// Knows both names of that limit, but its newer models refuse `max_tokens`.
    PrefersMaxCompletionTokens,
    /// Calls the seed this.
    SeedName(&'static str),
    /// Refuses these fields, which an answer can do without.
    Lacks(&'static [&'static str]),
    /// Keeps the state of Responses itself: `previous_response_id` and `conversation` mean something to it.
    KeepsResponses,
}

impl Quirk {
    /// Makes a request fit. `body` is a request in `dialect`. Gives the names of the fields that were left out.
    fn apply(self, dialect: Dialect, body: &mut Map<String, Value>) -> Vec<&'static str> {
        match (self, dialect) {
            (Quirk::AlwaysStreams, Dialect::Chat | Dialect::Responses | Dialect::Messages) => {
                body.insert("stream".to_owned(), Value::Bool(true));
            }
            (Quirk::NoStore, Dialect::Responses) => {
                body.insert("store".to_owned(), Value::Bool(false));
            }
            (Quirk::NeedsInstructions, Dialect::Responses)
                if body.get("instructions").and_then(Value::as_str).is_none_or(str::is_empty) =>
            {
                body.insert("instructions".to_owned(), INSTRUCTIONS.into());
            }
            (Quirk::ListInput, Dialect::Responses) => {
                if let Some(text) = body.get("input").and_then(Value::as_str) {
                    let list = json!([{ "role": "user", "content": text }]);
                    body.insert("input".to_owned(), list);
                }
            }
            (Quirk::NoStreamOptions, Dialect::Chat) => {
                body.shift_remove("stream_options");
            }
            (Quirk::OnlyMaxTokens, Dialect::Chat) => rename(body, "max_completion_tokens", "max_tokens"),
            (Quirk::PrefersMaxCompletionTokens, Dialect::Chat) => {
                rename(body, "max_tokens", "max_completion_tokens");
            }
            (Quirk::SeedName(name), Dialect::Chat) => rename(body, "seed", name),
            (Quirk::Lacks(names), Dialect::Chat | Dialect::Responses) => {
                return names.iter().copied().filter(|name| body.shift_remove(*name).is_some()).collect();
            }
            _ => {}
        }
        Vec::new()
    }

    /// True when a request that a client wrote in `dialect` itself would fail without [`Quirk::apply`]. `has` tells
    /// whether the request has a field.
    fn concerns(self, dialect: Dialect, has: &dyn Fn(&str) -> bool) -> bool {
        match (self, dialect) {
            (Quirk::AlwaysStreams, _) => true,
            (Quirk::NoStore | Quirk::NeedsInstructions | Quirk::ListInput, Dialect::Responses) => true,
            (Quirk::NoStreamOptions, Dialect::Chat) => has("stream_options"),
            (Quirk::OnlyMaxTokens, Dialect::Chat) => has("max_completion_tokens"),
            (Quirk::SeedName(_), Dialect::Chat) => has("seed"),
            (Quirk::Lacks(names), Dialect::Chat | Dialect::Responses) => names.iter().any(|name| has(name)),
            // A client that writes `max_tokens` to OpenAI knows what its model takes.
            _ => false,
        }
    }
}

/// What stands in where a provider insists on instructions and nobody gave any.
const INSTRUCTIONS: &str = "You are a helpful assistant.";

/// Makes a request in `dialect` fit. Gives the names of the fields that were left out.
pub fn apply(quirks: &[Quirk], dialect: Dialect, body: &mut Map<String, Value>) -> Vec<&'static str> {
    quirks.iter().flat_map(|quirk| quirk.apply(dialect, body)).collect()
}

/// True when a client's own request in `dialect` must go through [`apply`] before it is sent on.
pub fn concern(quirks: &[Quirk], dialect: Dialect, has: &dyn Fn(&str) -> bool) -> bool {
    quirks.iter().any(|quirk| quirk.concerns(dialect, has))
}

/// Gives a field another name in its place; one that has the new name already stands.
fn rename(body: &mut Map<String, Value>, from: &str, to: &str) {
    let Some(at) = body.keys().position(|name| name == from) else { return };
    let Some(value) = body.shift_remove(from) else { return };
    if !value.is_null() && body.get(to).is_none_or(Value::is_null) {
        body.shift_remove(to);
        body.shift_insert(at.min(body.len()), to.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(quirks: &[Quirk], dialect: Dialect, body: Value) -> (Vec<&'static str>, String) {
        let Value::Object(mut body) = body else { panic!("no object") };
        let dropped = apply(quirks, dialect, &mut body);
        (dropped, Value::Object(body).to_string())
    }

    #[test]
    fn a_field_is_renamed_in_its_place() {
        let mistral = [Quirk::OnlyMaxTokens, Quirk::SeedName("random_seed")];
        assert_eq!(
            applied(
                &mistral,
                Dialect::Chat,
                json!({"model": "m", "max_completion_tokens": 5, "seed": 7, "n": 1})
            ),
            (vec![], r#"{"model":"m","max_tokens":5,"random_seed":7,"n":1}"#.to_owned())
        );
        assert_eq!(
            applied(&mistral, Dialect::Chat, json!({"max_tokens": 1, "max_completion_tokens": 5})).1,
            r#"{"max_tokens":1}"#,
            "what the client called by the right name stands"
        );
        assert_eq!(
            applied(&[Quirk::PrefersMaxCompletionTokens], Dialect::Chat, json!({"max_tokens": 5, "n": 1})).1,
            r#"{"max_completion_tokens":5,"n":1}"#
        );
        assert_eq!(
            applied(&mistral, Dialect::Responses, json!({"seed": 7})).1,
            r#"{"seed":7}"#,
            "other dialects have other names"
        );
    }

    #[test]
    fn what_a_provider_refuses_is_left_out_and_named() {
        let quirks = [Quirk::NoStreamOptions, Quirk::Lacks(&["user", "store"])];
        assert_eq!(
            applied(
                &quirks,
                Dialect::Chat,
                json!({"user": "u", "stream_options": {"include_usage": true}, "model": "m"})
            ),
            (vec!["user"], r#"{"model":"m"}"#.to_owned())
        );
    }

    #[test]
    fn a_stream_without_storage_is_asked_of_a_provider_that_has_nothing_else() {
        let quirks = [Quirk::AlwaysStreams, Quirk::NoStore, Quirk::NeedsInstructions, Quirk::ListInput];
        assert_eq!(
            applied(&quirks, Dialect::Responses, json!({"input": "hi", "store": true})).1,
            r#"{"input":[{"role":"user","content":"hi"}],"store":false,"stream":true,"instructions":"You are a helpful assistant."}"#
        );
        assert_eq!(
            applied(&quirks, Dialect::Responses, json!({"instructions": "Be brief.", "input": []})).1,
            r#"{"instructions":"Be brief.","input":[],"stream":true,"store":false}"#
        );
    }

    #[test]
    fn only_a_request_that_would_fail_is_touched() {
        let asks = |quirks: &[Quirk], field: &str| concern(quirks, Dialect::Chat, &|name| name == field);
        assert!(!asks(&[Quirk::PrefersMaxCompletionTokens, Quirk::KeepsResponses], "max_tokens"));
        assert!(asks(&[Quirk::OnlyMaxTokens], "max_completion_tokens"));
        assert!(!asks(&[Quirk::OnlyMaxTokens, Quirk::SeedName("s"), Quirk::NoStreamOptions], "max_tokens"));
        assert!(asks(&[Quirk::Lacks(&["user"])], "user"));
        assert!(concern(&[Quirk::NoStore], Dialect::Responses, &|_| false));
    }
}
