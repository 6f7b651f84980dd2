//! What a gateway key may do: until when, which models, which parts of the API, how often, for how much.
//!
//! Invariant: a rule that is stored and cannot be read refuses; it is never taken for no rule.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::auth::unauthenticated;
use crate::budget::Budget;
use crate::error::Error;
use crate::limits::LimitChanges;

/// A part of the API, as rules name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Chat Completions.
    Chat,
    /// Responses, kept ones too.
    Responses,
    /// Messages and the counting of their tokens.
    Messages,
    /// Embeddings.
    Embeddings,
    /// The list of models.
    Models,
    /// What is remembered.
    Memory,
}

impl Part {
    /// All of them.
    pub const ALL: [Part; 6] =
        [Part::Chat, Part::Responses, Part::Messages, Part::Embeddings, Part::Models, Part::Memory];

    /// The word for it in rules.
    pub fn as_str(self) -> &'static str {
        match self {
            Part::Chat => "chat",
            Part::Responses => "responses",
            Part::Messages => "messages",
            Part::Embeddings => "embeddings",
            Part::Models => "models",
            Part::Memory => "memory",
        }
    }
}

/// A pattern of model ids: `*` stands for any characters, also none; all else for itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pattern(String);

impl Pattern {
    /// Takes the pattern's text. `None` for one that is empty, longer than 200 characters, or holds blanks.
    pub fn parse(text: &str) -> Option<Self> {
        let sane = !text.is_empty()
            && text.chars().count() <= 200
            && !text.chars().any(|char| char.is_whitespace() || char.is_control());
        sane.then(|| Pattern(text.to_owned()))
    }

    /// The pattern's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for an id that the pattern stands for.
    pub fn matches(&self, id: &str) -> bool {
        let mut pieces = self.0.split('*');
        // `split` gives at least one piece.
        let Some(mut rest) = pieces.next().and_then(|first| id.strip_prefix(first)) else { return false };
        let Some(last) = pieces.next_back() else { return rest.is_empty() };
        for piece in pieces {
            match rest.split_once(piece) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

/// The rules of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// Switched off for now.
    pub disabled: bool,
    /// From when on it is no longer valid, in Unix milliseconds.
    pub expires_at: Option<u64>,
    /// The models it may ask; `None`: all.
    pub models: Option<Vec<Pattern>>,
    /// The parts of the API it may use; `None`: all.
    pub parts: Option<Vec<Part>>,
    /// Where its limits differ from the deployment's.
    pub limits: LimitChanges,
    /// What it may use; `None`: what the deployment says of keys.
    pub budget: Option<Budget>,
}

impl Grant {
    /// Reads stored lists of patterns and of parts' names, JSON both. What cannot be read lets nothing through.
    pub fn with_lists(mut self, models: Option<&str>, parts: Option<&str>) -> Self {
        self.models = stored_list(models);
        self.parts = stored_list(parts);
        self
    }

    /// Checks that the key is valid at `now`. Errors: 401 that says why not; only who has the key can see it.
    pub fn check_valid(&self, now: u64) -> Result<(), Error> {
        if self.disabled {
            return Err(unauthenticated(
                "This gateway key is switched off. Ask the gateway's operator to switch it on, or use another.",
                "key_disabled",
            ));
        }
        if self.expires_at.is_some_and(|expires_at| expires_at <= now) {
            return Err(unauthenticated(
                "This gateway key has expired. Ask the gateway's operator for a new one.",
                "key_expired",
            ));
        }
        Ok(())
    }

    /// Checks that the key may use a part of the API. Errors: 403 that names those it may use.
    pub fn check_part(&self, part: Part) -> Result<(), Error> {
        match &self.parts {
            Some(allowed) if !allowed.contains(&part) => {
                let allowed: Vec<&str> = allowed.iter().map(|part| part.as_str()).collect();
                Err(Error::forbidden(format!(
                    "This gateway key may not use the endpoint `{}`; it may use: {}. Use another key, or ask the \
                     gateway's operator to allow it.",
                    part.as_str(),
                    listed(&allowed)
                ))
                .with_code("endpoint_not_allowed"))
            }
            _ => Ok(()),
        }
    }

    /// True when the key may ask a model, by its canonical id.
    pub fn allows_model(&self, id: &str) -> bool {
        self.models.as_ref().is_none_or(|allowed| allowed.iter().any(|pattern| pattern.matches(id)))
    }

    /// Checks that the key may ask a model, by its canonical id. Errors: 403 that names those it may ask.
    pub fn check_model(&self, id: &str) -> Result<(), Error> {
        if self.allows_model(id) {
            return Ok(());
        }
        let allowed: Vec<&str> = self.models.iter().flatten().map(Pattern::as_str).collect();
        Err(Error::forbidden(format!(
            "This gateway key may not ask `{}`; it may ask: {}. Use another model or key, or ask the gateway's operator \
             to allow it.",
            id.chars().take(100).collect::<String>(),
            listed(&allowed)
        ))
        .with_param("model")
        .with_code("model_not_allowed"))
    }
}

fn stored_list<T: for<'de> Deserialize<'de>>(text: Option<&str>) -> Option<Vec<T>> {
    let entries: Vec<Value> = serde_json::from_str(text?).unwrap_or_default();
    Some(entries.into_iter().filter_map(|entry| serde_json::from_value(entry).ok()).collect())
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters_and_all_else_for_itself() {
        for (pattern, id, matches) in [
            ("openai/gpt-5", "openai/gpt-5", true),
            ("openai/gpt-5", "openai/gpt-5-mini", false),
            ("openai/gpt-5", "xopenai/gpt-5", false),
            ("openai/*", "openai/gpt-5", true),
            ("openai/*", "openrouter/openai/gpt-5", false),
            ("*", "", true),
            ("*/gpt-*", "azure/gpt-5", true),
            ("*-mini", "openai/gpt-5-mini", true),
            ("*-mini", "openai/gpt-5-mini-x", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("openai/gpt-?", "openai/gpt-5", false),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(id), matches, "{pattern} {id}");
        }
        for text in ["", "a b", "a\n", &"a".repeat(201)] {
            assert_eq!(Pattern::parse(text), None);
        }
    }

    #[test]
    fn a_key_is_valid_until_it_expires_or_is_switched_off() {
        let grant = Grant { expires_at: Some(1_000), ..Grant::default() };
        assert_eq!(grant.check_valid(999), Ok(()));
        let code =
            |grant: &Grant, now| grant.check_valid(now).map_err(|error| (error.status(), error.code()));
        assert_eq!(code(&grant, 1_000), Err((401, Some("key_expired"))));
        assert_eq!(code(&Grant { disabled: true, ..grant }, 0), Err((401, Some("key_disabled"))));
        assert_eq!(Grant::default().check_valid(u64::MAX), Ok(()));
    }

    #[test]
    fn what_is_not_allowed_is_refused_with_what_is() {
        let grant = Grant {
            models: Some(vec![Pattern("openai/*".into()), Pattern("google/x".into())]),
            parts: Some(vec![Part::Chat, Part::Memory]),
            ..Grant::default()
        };
        assert_eq!((grant.check_model("openai/gpt-5"), grant.check_part(Part::Chat)), (Ok(()), Ok(())));
        let error = grant.check_model("anthropic/claude").unwrap_err();
        assert_eq!(
            (error.status(), error.type_name(), error.code()),
            (403, "permission_error", Some("model_not_allowed"))
        );
        assert!(error.message().contains("it may ask: openai/*, google/x."), "{}", error.message());
        let error = grant.check_part(Part::Embeddings).unwrap_err();
        assert_eq!((error.status(), error.code()), (403, Some("endpoint_not_allowed")));
        assert!(error.message().contains("it may use: chat, memory."), "{}", error.message());
    }

    #[test]
    fn stored_rules_that_cannot_be_read_let_nothing_through() {
        let stored = |models: &str, parts: &str| Grant::default().with_lists(Some(models), Some(parts));
        let grant = stored(r#"["openai/*"]"#, r#"["chat","later"]"#);
        assert_eq!((grant.allows_model("openai/x"), &grant.parts), (true, &Some(vec![Part::Chat])));
        let grant = stored("{", "[");
        assert!(!grant.allows_model("openai/x") && grant.check_part(Part::Chat).is_err());
        assert_eq!(Grant::default().with_lists(None, None), Grant::default());
    }

    #[test]
    fn parts_have_one_word_in_rules_and_messages() {
        for part in Part::ALL {
            assert_eq!(serde_json::to_value(part).unwrap(), part.as_str());
        }
    }
}
