//! Takes credentials out of whatever is about to be written down: log lines, ledger rows, spans.
//!
//! Invariant: the one place that knows what a credential looks like. It goes by form alone, so it also finds those that
//! came from where none should be: a provider's error, a client's request id, a model's name.

use std::borrow::Cow;

use serde_json::Value;

/// What stands for a credential.
const MASK: &str = "***";

/// How the keys of known makers begin, and how long they are at least, the beginning included. Shorter ones are words.
const SHAPES: &[(&str, usize)] = &[
    ("msk_", 8),         // the gateway's own
    ("sk-", 12),         // OpenAI, Anthropic, OpenRouter, DeepSeek
    ("sk_", 12),         // ElevenLabs, Stripe
    ("rk-", 12),         // OpenAI, restricted
    ("gsk_", 12),        // Groq
    ("xai-", 12),        // xAI
    ("pplx-", 12),       // Perplexity
    ("csk-", 12),        // Cerebras
    ("fw_", 12),         // Fireworks
    ("tgp_", 12),        // Together
    ("hf_", 12),         // Hugging Face
    ("r8_", 12),         // Replicate
    ("nvapi-", 12),      // Nvidia
    ("AIza", 20),        // Google
    ("ya29.", 12),       // Google, OAuth
    ("ghp_", 12),        // GitHub
    ("gho_", 12),        // GitHub, OAuth
    ("github_pat_", 20), // GitHub, fine-grained
    ("AKIA", 16),        // Amazon
    ("eyJ", 20),         // a JSON Web Token
];

/// Words before a credential of any form, in lower case: schemes of HTTP, and names of headers and fields.
const BEFORE: &[&str] = &[
    "bearer",
    "basic",
    "authorization",
    "x-memory-gateway-authorization",
    "proxy-authorization",
    "x-api-key",
    "x-goog-api-key",
    "api-key",
    "api_key",
    "apikey",
    "cookie",
    "set-cookie",
    "password",
    "secret",
    "access_token",
    "refresh_token",
];

/// The text without credentials.
pub fn text(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut kept = 0;
    let mut before = Before::default();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let length = rest.find(|char: char| !is_of_word(char)).unwrap_or(rest.len());
        let Some(word) = rest.get(..length).filter(|word| !word.is_empty()) else {
            let next = rest.chars().next().map_or(1, char::len_utf8);
            before.pass(rest.get(..next).unwrap_or_default());
            at += next;
            continue;
        };
        let shown = shown_of(word);
        let hidden = match shown {
            Some(shown) => Some(shown),
            None => before.announces(word).then_some(0),
        };
        if let Some(shown) = hidden {
            out.push_str(text.get(kept..at + shown).unwrap_or_default());
            out.push_str(MASK);
            kept = at + length;
        }
        before.read(word, hidden.is_some());
        at += length;
    }
    if kept == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(text.get(kept..).unwrap_or_default());
    Cow::Owned(out)
}

/// Takes credentials out of every text in a value, names of fields excepted; what stands in a field that is named as a
/// credential goes whole.
pub fn value(value: &mut Value) {
    match value {
        Value::String(found) => {
            if let Cow::Owned(clean) = text(found) {
                *found = clean;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(self::value),
        Value::Object(fields) => {
            for (name, inner) in fields {
                match inner {
                    Value::String(found) if BEFORE.contains(&name.to_ascii_lowercase().as_str()) => {
                        MASK.clone_into(found);
                    }
                    inner => self::value(inner),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// How much of a word may be shown, where it has the form of a credential or ends in one, as a model id or a URL may.
fn shown_of(word: &str) -> Option<usize> {
    let ends = word.match_indices(['/', '+', '.', '~']).map(|(at, _)| at + 1);
    std::iter::once(0).chain(ends).find_map(|at| {
        let rest = word.get(at..)?;
        SHAPES
            .iter()
            .find(|(beginning, least)| rest.len() >= *least && rest.starts_with(beginning))
            .map(|(beginning, _)| at + beginning.len())
    })
}

fn is_of_word(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '_' | '-' | '.' | '~' | '+' | '/')
}

/// What stood before a word: whether it said that a credential comes.
#[derive(Default)]
struct Before {
    /// The word before was one of [`BEFORE`].
    named: bool,
    /// A sign that ties a name to its value came behind it (`:`, `=`), or the name is a scheme, which ties with a blank.
    tied: bool,
    scheme: bool,
}

impl Before {
    fn announces(&self, word: &str) -> bool {
        // `Authorization: Bearer …`: the scheme is no secret, and announces one itself.
        let scheme = is_scheme(word);
        // `bearer of news`: a word of prose is not a token.
        let long_enough = word.len() >= 8 || !self.scheme;
        self.named && self.tied && !scheme && long_enough
    }

    fn pass(&mut self, char: &str) {
        match char {
            ":" | "=" => self.tied = self.named,
            " " | "\"" | "'" | "\\" => {}
            _ => *self = Before::default(),
        }
    }

    fn read(&mut self, word: &str, was_hidden: bool) {
        let lower = word.to_ascii_lowercase();
        let scheme = is_scheme(word);
        let named = !was_hidden && BEFORE.contains(&lower.as_str());
        *self = Before { named, tied: named && scheme, scheme };
    }
}

fn is_scheme(word: &str) -> bool {
    word.eq_ignore_ascii_case("bearer") || word.eq_ignore_ascii_case("basic")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn credentials_of_every_known_form_are_hidden_wherever_they_stand() {
        for (dirty, clean) in [
            ("msk_abcd1234", "msk_***"),
            ("openai/sk-proj-abc123DEF456", "openai/sk-***"),
            ("https://x.test/sk-proj-abc123DEF456/models", "https://x.test/sk-***"),
            ("Incorrect API key provided: sk-proj-abc123DEF456.", "Incorrect API key provided: sk-***"),
            ("key \"sk-ant-api03-abcdefgh\" refused", "key \"sk-***\" refused"),
            (
                "https://x.test/v1?key=AIzaSyA1234567890abcdefgh&alt=sse",
                "https://x.test/v1?key=AIza***&alt=sse",
            ),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc", "eyJ***"),
            ("Authorization: Bearer opaque-token-of-any-form", "Authorization: Bearer ***"),
            ("authorization=Basic dXNlcjpwYXNz", "authorization=Basic ***"),
            ("{\\\"x-api-key\\\":\\\"unusual\\\"}", "{\\\"x-api-key\\\":\\\"***\\\"}"),
            ("bearer abcdefgh12345678 and gsk_abcdefghijkl", "bearer *** and gsk_***"),
            ("password: hunter2", "password: ***"),
        ] {
            assert_eq!(text(dirty), clean);
        }
    }

    #[test]
    fn words_that_are_none_stay_as_they_are() {
        for clean in [
            "",
            "No such model: openai/gpt-5.4-mini. Ask for sk-… keys, or msk_….",
            "the bearer of news; task-force; eyJ; a secret is kept",
            "req_0123456789abcdef key_0123456789abcdef turn_0123 größer 👩‍👩‍👧",
            "Send it as `Authorization: Bearer msk_…` (the OpenAI SDK's apiKey) or as `x-api-key`.",
        ] {
            assert_eq!(text(clean), clean);
            assert!(matches!(text(clean), Cow::Borrowed(_)), "{clean}");
        }
    }

    #[test]
    fn a_value_is_clean_to_its_leaves() {
        let mut dirty = json!({
            "error": "sk-proj-abc123DEF456", "list": [{"deep": "xai-abcdefgh1234"}], "Authorization": "short", "n": 1,
        });
        value(&mut dirty);
        assert_eq!(
            dirty,
            json!({"error": "sk-***", "list": [{"deep": "xai-***"}], "Authorization": "***", "n": 1})
        );
    }
}
