//! How an answer is to travel: passed on untouched, passed on and watched, or translated.
//!
//! Invariant: where client and provider speak the same dialect nothing is rewritten that need not be; only a request that
//! nobody has to look at twice goes by without being watched.

use crate::body::{Body, Edit};
use crate::dialect::Dialect;
use crate::error::Error;
use crate::seal;

/// What a request's way is, as far as its body says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The client's dialect.
    pub client: Dialect,
    /// The provider's dialect for this request.
    pub upstream: Dialect,
    /// The client wants a stream.
    pub streams: bool,
    /// The body carries sealed thoughts in the form in which they pass through clients of other dialects.
    pub has_wrapped_seals: bool,
}

impl Plan {
    /// Reads a request's plan. Errors: 400 for a `stream` that is neither true nor false.
    pub fn of(client: Dialect, upstream: Dialect, body: &Body<'_>, bytes: &[u8]) -> Result<Self, Error> {
        Ok(Plan {
            client,
            upstream,
            streams: body.flag("stream")?.unwrap_or(false),
            has_wrapped_seals: contains(bytes, format!("\"{}:", seal::MARK).as_bytes()),
        })
    }

    /// True when the request has to be written in another dialect.
    pub fn translates(&self) -> bool {
        self.client != self.upstream
    }

    /// True when the conversation must be read to be written.
    pub fn must_be_read(&self) -> bool {
        self.translates() || self.has_wrapped_seals
    }
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    let Some((first, rest)) = needle.split_first() else { return true };
    let mut from = bytes;
    while let Some(at) = from.iter().position(|byte| byte == first) {
        from = from.get(at + 1..).unwrap_or_default();
        if from.starts_with(rest) {
            return true;
        }
    }
    false
}

/// The edit that asks a chat provider for token counts at the end of a stream; `None` where the client did.
pub fn ask_for_usage(body: &Body<'_>) -> Option<Edit> {
    let asked = body.raw("stream_options").map_or("null", |raw| raw.get());
    let mut options: serde_json::Map<String, serde_json::Value> = match asked {
        "null" => serde_json::Map::new(),
        // What is no object is the provider's to refuse.
        text => serde_json::from_str(text).ok()?,
    };
    if options.get("include_usage") == Some(&true.into()) {
        return None;
    }
    options.insert("include_usage".to_owned(), true.into());
    Some(body.set("stream_options", serde_json::Value::from(options).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_asked_for_beside_what_the_client_asked() {
        let asked = |text: &str| {
            let body = Body::parse(text.as_bytes()).unwrap();
            ask_for_usage(&body).map(|edit| String::from_utf8(body.edited(vec![edit])).unwrap())
        };
        assert_eq!(asked("{}").unwrap(), r#"{"stream_options":{"include_usage":true}}"#);
        assert_eq!(
            asked(r#"{"stream_options":{"include_usage":false,"x":1}}"#).unwrap(),
            r#"{"stream_options":{"include_usage":true,"x":1}}"#
        );
        assert_eq!(asked(r#"{"stream_options":{"include_usage":true}}"#), None);
        assert_eq!(asked(r#"{"stream_options":7}"#), None);
    }

    #[test]
    fn wrapped_seals_are_found_in_the_bytes() {
        for (text, found) in [
            (r#"{"encrypted_content":"mgw1:google:google:x"}"#, true),
            (r#"{"content":"mgw1 \"x\" mgw2:"}"#, false),
        ] {
            let body = Body::parse(text.as_bytes()).unwrap();
            let plan = Plan::of(Dialect::Chat, Dialect::Chat, &body, text.as_bytes()).unwrap();
            assert_eq!((plan.has_wrapped_seals, plan.translates(), plan.streams), (found, false, false));
        }
    }
}
