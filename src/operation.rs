//! What a request wants of a model: an answer in some dialect, or one of the small services beside.
//!
//! Invariant: only an answer can have memory; the others are forwarded, or computed here.

use crate::body::Body;
use crate::dialect::{Content, Dialect};
use crate::error::Error;
use crate::request::{Entry, Request};
use crate::tokens;
use crate::turn::Origin;

/// An operation of the inference API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// An answer to a conversation.
    Answer(Dialect),
    /// How many tokens a request of Messages has.
    CountTokens,
    /// Vectors of texts.
    Embeddings,
}

impl Operation {
    /// The wire format of the client's request and of its errors.
    pub fn dialect(self) -> Dialect {
        match self {
            Operation::Answer(dialect) => dialect,
            Operation::CountTokens => Dialect::Messages,
            Operation::Embeddings => Dialect::Chat,
        }
    }

    /// The endpoint's path.
    pub fn path(self) -> &'static str {
        match self {
            Operation::Answer(dialect) => dialect.path(),
            Operation::CountTokens => "/v1/messages/count_tokens",
            Operation::Embeddings => "/v1/embeddings",
        }
    }

    /// Checks what every such request must have. Errors: 400 that names the field.
    pub fn check(self, body: &Body<'_>) -> Result<(), Error> {
        match self {
            Operation::Answer(_) | Operation::CountTokens => self.dialect().check(body),
            Operation::Embeddings if body.has("input") => Ok(()),
            Operation::Embeddings => Err(Error::invalid("input", "The field `input` is missing.")),
        }
    }
}

/// Our own count of a Messages request's tokens, for models whose provider counts none. A request that cannot be read is
/// estimated as the text that it is.
pub fn estimated_tokens(body: &Body<'_>) -> u64 {
    read(body).map_or_else(
        |_| {
            let fields = ["system", "messages", "tools"].into_iter();
            fields.filter_map(|field| body.raw(field)).map(|raw| tokens::of_text(raw.get())).sum()
        },
        |request| tokens::of_request(&request, Dialect::Messages),
    )
}

fn read(body: &Body<'_>) -> Result<Request, Error> {
    let origin = Origin { dialect: Dialect::Messages, provider: String::new() };
    let units = Dialect::Messages.read_conversation(body, &origin)?.units;
    let entries = units
        .into_iter()
        .map(|unit| match unit.content {
            Content::Instruction(parts) => Entry::Instruction(parts),
            Content::Message(message) => Entry::Message { message, place: None },
        })
        .collect();
    Dialect::Messages.read_request(body, entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_grows_with_each_field_that_costs_tokens() {
        let count = |text: &str| estimated_tokens(&Body::parse(text.as_bytes()).unwrap());
        let plain = count(r#"{"messages":[{"role":"user","content":"hi"}],"model":"a/b","max_tokens":99}"#);
        assert_eq!(plain, 8);
        let picture = format!(
            r#"{{"messages":[{{"role":"user","content":[{{"type":"image","source":{{"type":"base64","media_type":"image/png","data":"{}"}}}}]}}]}}"#,
            "A".repeat(400_000)
        );
        assert!(count(&picture) < 2_000, "a picture is no text");
        assert_eq!(count(r#"{"messages":"some words that are no conversation"}"#), 7, "by its text");
        assert!(count(r#"{"messages":[{"role":"user","content":"hi"}],"system":"be brief"}"#) > plain);
        assert!(count(r#"{"messages":[{"role":"user","content":"hi"}],"tools":[{"name":"t"}]}"#) > plain);
    }
}
