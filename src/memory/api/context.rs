//! `POST /v1/memory/threads/{id}/context`: what memory would make of a request, without making it.
//!
//! Invariant: the request that is shown is written by what writes real ones, from what the thread would say to it.

use serde_json::{Value, json};

use crate::api::query_parameter;
use crate::body::Body;
use crate::dialect::{Conversation, Dialect};
use crate::error::Error;
use crate::headers::Headers;
use crate::memory::context::Item;
use crate::prompt::{self, Target};
use crate::protocol::{Injection, Prepared};
use crate::tokens;
use crate::turn::{Message, Origin};

/// How the block of notes begins, and that of the profile.
const NOTES: &str = "<conversation_notes>";
const PROFILE: &str = "<conversation_profile>";

/// The dialect of the request in the body: what `dialect` in the query says, or else what the request looks like. Errors:
/// 400 for a word that is no dialect.
pub fn dialect(query: &str, headers: Headers<'_>, body: &Body<'_>) -> Result<Dialect, Error> {
    match query_parameter(query, "dialect").as_deref() {
        Some("chat") => Ok(Dialect::Chat),
        Some("responses") => Ok(Dialect::Responses),
        Some("messages") => Ok(Dialect::Messages),
        None | Some("") if body.has("input") => Ok(Dialect::Responses),
        None | Some("") if headers.get("anthropic-version").is_some() || body.has("system") => {
            Ok(Dialect::Messages)
        }
        None | Some("") => Ok(Dialect::Chat),
        Some(_) => Err(Error::invalid("dialect", "`dialect` must be chat, responses or messages.")),
    }
}

/// The refusal of a request that the thread cannot take.
pub fn refused(prepared: &Prepared) -> Error {
    match prepared {
        Prepared::TooManyMessages => {
            Error::bad_request("The request holds too many messages to be remembered. Send fewer.")
        }
        Prepared::NotFound | Prepared::Deleted | Prepared::Ready { .. } => Error::thread_not_found(),
    }
}

/// A request that nobody is asked with.
pub struct Asked<'a> {
    /// Its dialect.
    dialect: Dialect,
    /// Its body.
    body: Body<'a>,
    /// What it says.
    conversation: Conversation<'a>,
    /// The provider that its model names, or the dialect's own.
    provider: String,
    /// The model's name there.
    model: String,
}

/// What the thread would say to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// The prompt's messages.
    pub items: Vec<Item>,
    /// What is told beside them.
    pub injection: Injection,
}

impl<'a> Asked<'a> {
    /// Reads a request. Errors: 400 that names the field, and for malformed JSON with the position.
    pub fn read(query: &str, headers: Headers<'_>, bytes: &'a [u8]) -> Result<Self, Error> {
        let body = Body::parse(bytes)?;
        let dialect = dialect(query, headers, &body)?;
        let model = body.string("model")?.unwrap_or_default();
        let (provider, model) = match model.split_once('/') {
            Some((provider, model)) => (provider.to_owned(), model.to_owned()),
            None if dialect == Dialect::Messages => ("anthropic".to_owned(), model.to_string()),
            None => ("openai".to_owned(), model.to_string()),
        };
        let origin = Origin { dialect, provider: provider.clone() };
        let conversation = dialect.read_conversation(&body, &origin)?;
        Ok(Asked { dialect, body, conversation, provider, model })
    }

    /// Its messages, system texts left out.
    pub fn messages(&self) -> Vec<Message> {
        prompt::messages(&self.conversation)
    }

    /// The answer: the request as it would go to a provider of its dialect, what of it comes from where, and why.
    pub fn answer(&self, told: &Told) -> Value {
        let Told { items, injection } = told;
        let target = Target { provider: &self.provider, model: &self.model };
        let edits = prompt::edit(self.dialect, &self.body, &self.conversation, items, injection, target);
        let bytes = prompt::with_cache_hints(self.dialect, self.body.edited(edits), injection, target);
        let request: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let sent = self.messages();
        let messages: Vec<Value> = items.iter().filter_map(|item| described(item, &sent)).collect();
        let sum = |source: &str| -> u64 {
            let of = messages.iter().filter(|message| message["source"] == source);
            of.filter_map(|message| message["tokens"].as_u64()).sum()
        };
        let block =
            |tag: &str| injection.stable.iter().find(|text| text.starts_with(tag)).map(String::as_str);
        let (profile, notes) = (block(PROFILE), block(NOTES));
        let cost = |text: Option<&str>| text.map_or(0, tokens::of_text);
        let injected = [profile, notes, injection.volatile.as_deref()].map(cost);
        let [profile_tokens, notes_tokens, now_tokens] = injected;
        let (thread, request_tokens) = (sum("thread"), sum("request"));
        let outside = prompt::outside_tokens(&self.conversation, &self.body);
        let added = injected.iter().sum::<u64>() + thread;
        json!({
            "status": if added == 0 { "empty" } else { "hit" },
            "request": request,
            "injected": { "profile": profile, "notes": notes, "now": injection.volatile },
            "messages": messages,
            "tokens": {
                "profile": profile_tokens,
                "notes": notes_tokens,
                "now": now_tokens,
                "thread": thread,
                "request": request_tokens,
                "instructions": outside,
                "added": added,
                "total": added + request_tokens + outside,
            },
        })
    }
}

/// One message of the prompt: whose it is, and why it is there.
fn described(item: &Item, sent: &[Message]) -> Option<Value> {
    let (source, message, why) = match item {
        Item::Keep(at) => ("request", sent.get(*at)?, "The request's own message, as it was sent."),
        Item::Insert(message) => {
            ("thread", message, "Stored in the thread, not in the request, and no note stands for it.")
        }
        Item::Replace(_, message) => (
            "thread",
            message,
            "As the thread has it: the stored answer, or the message with the time that passed.",
        ),
    };
    Some(json!({
        "source": source,
        "role": message.role.as_str(),
        "tokens": tokens::of_message(message),
        "why": why,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str, lines: &str, body: &str) -> (Dialect, String, Value) {
        let read = Asked::read(query, Headers::from_lines(lines), body.as_bytes()).unwrap();
        let items = vec![Item::Insert(Message::new(
            crate::turn::Role::User,
            vec![crate::turn::Part::text("Before")],
        ))]
        .into_iter()
        .chain((0..read.messages().len()).map(Item::Keep))
        .collect();
        let injection = Injection {
            stable: vec![format!("{NOTES}\n- a note\n</conversation_notes>")],
            volatile: Some("<conversation_now>\n</conversation_now>".into()),
        };
        (read.dialect, read.provider.clone(), read.answer(&Told { items, injection }))
    }

    #[test]
    fn each_dialect_is_known_by_its_looks_and_shown_as_it_would_go() {
        let chat = r#"{"model":"openai/gpt","messages":[{"role":"user","content":"Hi"}]}"#;
        let (dialect, provider, answer) = asked("", "", chat);
        assert_eq!((dialect, provider.as_str()), (Dialect::Chat, "openai"));
        let messages = answer["request"]["messages"].as_array().unwrap();
        let roles: Vec<_> = messages.iter().map(|message| message["role"].as_str().unwrap()).collect();
        assert_eq!(roles, ["system", "user", "user"]);
        assert_eq!(answer["status"], "hit");
        assert!(answer["injected"]["notes"].as_str().unwrap().contains("- a note"));
        let sources: Vec<_> =
            answer["messages"].as_array().unwrap().iter().map(|message| &message["source"]).collect();
        assert_eq!(sources, ["thread", "request"]);
        let tokens = |name: &str| answer["tokens"][name].as_u64().unwrap();
        assert_eq!(tokens("added"), tokens("notes") + tokens("now") + tokens("thread"));
        assert_eq!(tokens("total"), tokens("added") + tokens("request"));

        let (dialect, _, answer) = asked("", "", r#"{"model":"m","input":"Hi"}"#);
        assert_eq!((dialect, answer["request"]["input"].as_array().unwrap().len()), (Dialect::Responses, 4));
        let anthropic = r#"{"model":"claude","messages":[{"role":"user","content":"Hi"}],"max_tokens":9}"#;
        let (dialect, provider, answer) = asked("", "anthropic-version: 2023-06-01", anthropic);
        assert_eq!((dialect, provider.as_str()), (Dialect::Messages, "anthropic"));
        assert_eq!(answer["request"]["system"].as_array().unwrap().len(), 2);
        assert_eq!(asked("dialect=messages", "", anthropic).0, Dialect::Messages);
        assert_eq!(asked("dialect=chat", "anthropic-version: x", chat).0, Dialect::Chat);
    }

    #[test]
    fn what_is_no_request_is_refused_by_its_field() {
        let read = |query: &str, body: &str| {
            let asked = Asked::read(query, Headers::from_lines(""), body.as_bytes());
            asked.err().map(|error| error.body()["error"]["param"].as_str().unwrap_or_default().to_owned())
        };
        assert_eq!(read("dialect=latin", r#"{"messages":[]}"#).as_deref(), Some("dialect"));
        assert_eq!(read("", "{}").as_deref(), Some("messages"));
        assert_eq!(read("", "{").as_deref(), Some(""));
        assert_eq!(read("", r#"{"messages":7}"#).as_deref(), Some("messages"));
    }
}
