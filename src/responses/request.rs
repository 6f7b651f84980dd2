//! What a request says about state: what it goes on from, and whether its response is to be kept.
//!
//! Invariant: a request goes on from one thing at most.

use super::protocol::Past;
use crate::body::Body;
use crate::error::Error;
use crate::memory::address::check_id;

/// What a request says about state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// `previous_response_id` or `conversation`.
    pub from: Option<Past>,
    /// `store`, true where it is not said.
    pub store: bool,
}

/// Reads `previous_response_id`, `conversation` (an id, or an object with one) and `store`. Errors: 400 that names the
/// field.
pub fn read(body: &Body<'_>) -> Result<State, Error> {
    let previous = body.string("previous_response_id")?.map(|id| id.into_owned()).filter(|id| !id.is_empty());
    let conversation = conversation(body)?;
    let from = match (previous, conversation) {
        (Some(_), Some(_)) => {
            return Err(Error::invalid(
                "previous_response_id",
                "The fields `previous_response_id` and `conversation` exclude each other. Send the one that the \
                 request goes on from.",
            ));
        }
        (Some(id), None) => {
            check_id("previous_response_id", &id)?;
            Some(Past::Response(id))
        }
        (None, Some(id)) => {
            check_id("conversation", &id)?;
            Some(Past::Conversation(id))
        }
        (None, None) => None,
    };
    Ok(State { from, store: body.flag("store")?.unwrap_or(true) })
}

fn conversation(body: &Body<'_>) -> Result<Option<String>, Error> {
    let Some(raw) = body.raw("conversation").filter(|_| body.has("conversation")) else { return Ok(None) };
    let id = match serde_json::from_str(raw.get()) {
        Ok(serde_json::Value::String(id)) => Some(id),
        Ok(serde_json::Value::Object(object)) => {
            object.get("id").and_then(|id| id.as_str()).map(str::to_owned)
        }
        _ => None,
    };
    id.filter(|id| !id.is_empty()).map(Some).ok_or_else(|| {
        Error::invalid(
            "conversation",
            "The field `conversation` must be the id of a conversation, or an object with an `id`.",
        )
    })
}

/// 404 for a `previous_response_id` that nothing is kept of for this caller, whoever else may have one of that name.
pub fn previous_not_found(id: &str) -> Error {
    Error::not_found(
        format!(
            "No response with the id {} is kept. It may have expired or been deleted, or been made with `store: false` \
             or under another key's project. Send the whole conversation in `input` instead.",
            shown(id)
        ),
    )
    .with_param("previous_response_id")
    .with_code("previous_response_not_found")
}

/// 400 for a response that goes on from one which only its provider has, asked of another provider.
pub fn begun_elsewhere(id: &str) -> Error {
    Error::invalid(
        "previous_response_id",
        format!(
            "The conversation before {} is kept by the provider that made it, not here. Go on with a model of that \
             provider, or send the whole conversation in `input`.",
            shown(id)
        ),
    )
    .with_code("previous_response_not_found")
}

/// 404 for a response that nothing is kept of for this caller.
pub fn response_not_found(id: &str) -> Error {
    Error::not_found(format!(
        "No response with the id {} is kept. It may have expired or been deleted, or been made with `store: false` or \
         under another key's project. Check the id; responses made with `store: true`, the default, can be read here.",
        shown(id)
    ))
    .with_param("response_id")
}

fn shown(id: &str) -> String {
    format!("`{}`", id.chars().take(200).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(json: &str) -> Result<State, String> {
        read(&Body::parse(json.as_bytes()).unwrap())
            .map_err(|error| error.body()["error"]["param"].as_str().unwrap_or_default().to_owned())
    }

    #[test]
    fn a_request_goes_on_from_a_response_or_a_conversation_and_is_stored_unless_it_says_no() {
        let state = |from, store| Ok(State { from, store });
        let (response, conversation) = (Past::Response("resp_1".into()), Past::Conversation("conv_1".into()));
        assert_eq!(from("{}"), state(None, true));
        assert_eq!(
            from(r#"{"previous_response_id":null,"conversation":null,"store":null}"#),
            state(None, true)
        );
        assert_eq!(from(r#"{"previous_response_id":""}"#), state(None, true));
        assert_eq!(from(r#"{"previous_response_id":"resp_1","store":false}"#), state(Some(response), false));
        assert_eq!(from(r#"{"conversation":"conv_1"}"#), state(Some(conversation.clone()), true));
        assert_eq!(from(r#"{"conversation":{"id":"conv_1","x":1e400}}"#), state(Some(conversation), true));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        for (json, param) in [
            (r#"{"previous_response_id":"resp_1","conversation":"c"}"#, "previous_response_id"),
            (r#"{"previous_response_id":7}"#, "previous_response_id"),
            (&format!(r#"{{"previous_response_id":"{}"}}"#, "r".repeat(513)), "previous_response_id"),
            (r#"{"conversation":{}}"#, "conversation"),
            (r#"{"conversation":""}"#, "conversation"),
            (r#"{"conversation":["c"]}"#, "conversation"),
            (r#"{"store":"no"}"#, "store"),
        ] {
            assert_eq!(from(json), Err(param.to_owned()), "{json}");
        }
    }
}
