//! The deployment's configuration, read once per isolate from variables and secrets.
//!
//! Invariant: a value that cannot be used is an error that names the variable; nothing is silently replaced.

use serde::Deserialize;
use std::collections::BTreeMap;

use crate::dialect::Dialect;
use crate::error::{Error, Kind};
use crate::keys::Secret;
use crate::providers::{KeyHeader, Provider, ROWS};

/// After this long, in milliseconds, a turn whose end was never reported is closed as lost: the longest that the platform
/// lets a Worker's work go on behind an answer is far below.
pub const PENDING_TURN_TTL_MS: u64 = 15 * 60 * 1000;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// How long a response is kept, in milliseconds: as long as OpenAI keeps one.
/// <https://platform.openai.com/docs/guides/conversation-state>
pub const RESPONSES_TTL_MS: u64 = 30 * DAY_MS;

/// A hundred years; times stay far below 2^53 milliseconds, which is all that the platform's border lets through.
const RESPONSES_TTL_MAX_DAYS: u64 = 36_500;

/// Everything that a deployment can set.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Built-in providers and those declared in `PROVIDERS`.
    pub providers: Vec<Provider>,
    /// `MEMORY_DEADLINE_MS`: how long a turn waits for its thread before it goes on without memory.
    pub memory_deadline_ms: u32,
    /// `MAX_BODY_BYTES`: the largest request body taken.
    pub max_body_bytes: usize,
    /// `UPSTREAM_TIMEOUT_MS`: the longest wait for a provider's status line, and the longest silence inside an
    /// observed answer.
    pub upstream_timeout_ms: u32,
    /// `PENDING_TURN_TTL_MS`: after this long, a turn whose end was never reported is closed as lost.
    pub pending_turn_ttl_ms: u64,
    /// `RESPONSES_TTL_DAYS`: after this long, a kept response that no younger one goes on from is deleted.
    pub responses_ttl_ms: u64,
    /// `CORS_ORIGINS`: the browser origins let in; `*` for all; empty switches CORS off.
    pub cors_origins: Vec<String>,
}

/// One entry of the `PROVIDERS` variable, which is a JSON object of name to entry.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    base_url: String,
    /// Name of the secret with the key; without it the provider is called without a credential.
    #[serde(default)]
    api_key_secret: Option<String>,
    #[serde(default)]
    dialects: Option<Vec<Dialect>>,
    /// How it takes its credential where it speaks Messages: `bearer` or `x-api-key`.
    #[serde(default)]
    messages_key: KeyHeader,
    #[serde(default)]
    aliases: Vec<String>,
}

impl Config {
    /// Reads the configuration; `var` gives a variable or secret by name. Errors: 500 that names the variable.
    pub fn read(var: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let set = |name: &str| var(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let mut providers = Vec::new();
        for row in ROWS {
            let base = set(row.base_url_var).unwrap_or_else(|| row.base_url.to_owned());
            providers.push(Provider {
                name: row.name.to_owned(),
                aliases: row.aliases.iter().map(|alias| (*alias).to_owned()).collect(),
                base_url: format!("{}{}", base_url(row.base_url_var, &base)?, row.path),
                key_var: row.key_var.to_owned(),
                key: set(row.key_var).map(Secret::new),
                keyless: false,
                dialects: row.dialects.to_vec(),
                messages_key: row.messages_key,
            });
        }
        if let Some(text) = set("PROVIDERS") {
            let declared: BTreeMap<String, Declared> = serde_json::from_str(&text).map_err(|error| {
                misconfigured("PROVIDERS", &format!("is not a JSON object of providers: {error}"))
            })?;
            for (name, entry) in declared {
                if providers.iter().any(|known| known.answers_to(&name))
                    || name.is_empty()
                    || name.contains('/')
                {
                    return Err(misconfigured("PROVIDERS", &format!("cannot declare the name `{name}`")));
                }
                let secret = entry.api_key_secret;
                providers.push(Provider {
                    base_url: base_url("PROVIDERS", &entry.base_url)?,
                    key: secret.as_deref().and_then(&set).map(Secret::new),
                    keyless: secret.is_none(),
                    key_var: secret.unwrap_or_default(),
                    dialects: entry.dialects.unwrap_or_else(|| vec![Dialect::Chat]),
                    messages_key: entry.messages_key,
                    aliases: entry.aliases,
                    name,
                });
            }
        }
        let number = |name: &str, default: u64| match set(name) {
            None => Ok(default),
            Some(text) => {
                text.parse::<u64>().ok().filter(|value| (1..=u64::from(u32::MAX)).contains(value)).ok_or_else(
                    || misconfigured(name, &format!("must be a whole number of at least 1, not `{text}`")),
                )
            }
        };
        let days = number("RESPONSES_TTL_DAYS", RESPONSES_TTL_MS / DAY_MS)?;
        if days > RESPONSES_TTL_MAX_DAYS {
            return Err(misconfigured(
                "RESPONSES_TTL_DAYS",
                &format!("must be at most {RESPONSES_TTL_MAX_DAYS}, not `{days}`"),
            ));
        }
        let number32 = |name: &str, default: u32| {
            number(name, u64::from(default)).map(|value| u32::try_from(value).unwrap_or(u32::MAX))
        };
        Ok(Config {
            memory_deadline_ms: number32("MEMORY_DEADLINE_MS", 250)?,
            max_body_bytes: number("MAX_BODY_BYTES", 20 * 1024 * 1024)? as usize,
            upstream_timeout_ms: number32("UPSTREAM_TIMEOUT_MS", 600_000)?,
            pending_turn_ttl_ms: number("PENDING_TURN_TTL_MS", PENDING_TURN_TTL_MS)?,
            responses_ttl_ms: days * DAY_MS,
            cors_origins: set("CORS_ORIGINS")
                .map(|list| list.split(',').map(|origin| origin.trim().to_owned()).collect())
                .unwrap_or_default(),
            providers,
        })
    }

    /// The provider that a model id's prefix means.
    pub fn provider(&self, prefix: &str) -> Option<&Provider> {
        self.providers.iter().find(|provider| provider.answers_to(prefix))
    }
}

fn base_url(name: &str, text: &str) -> Result<String, Error> {
    let trimmed = text.trim_end_matches('/');
    if trimmed.starts_with("https://") || trimmed.starts_with("http://") {
        Ok(trimmed.to_owned())
    } else {
        Err(misconfigured(name, "must hold a URL that starts with https:// or http://"))
    }
}

fn misconfigured(name: &str, what: &str) -> Error {
    Error::new(Kind::Internal, format!("The gateway is misconfigured: the variable {name} {what}."))
        .with_code("misconfigured")
        .with_param(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)]) -> Result<Config, Error> {
        Config::read(|name| {
            vars.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn without_any_variable_the_defaults_hold() {
        let config = read(&[]).unwrap();
        assert_eq!(config.memory_deadline_ms, 250);
        assert_eq!(config.max_body_bytes, 20_971_520);
        assert_eq!(config.responses_ttl_ms, 2_592_000_000);
        assert_eq!(
            config.provider("gemini").map(|found| found.base_url.as_str()),
            Some("https://generativelanguage.googleapis.com/v1beta/openai")
        );
        assert_eq!(config.provider("openai").and_then(|found| found.key.clone()), None);
    }

    #[test]
    fn base_urls_take_the_form_of_the_providers_own_sdk() {
        let config = read(&[
            ("OPENAI_BASE_URL", "http://localhost:1/v1/"),
            ("GOOGLE_BASE_URL", "http://localhost:1"),
            ("OPENROUTER_BASE_URL", "http://localhost:1/api/v1"),
        ])
        .unwrap();
        let url = |name: &str| config.provider(name).map(|found| found.base_url.clone());
        assert_eq!(url("openai").as_deref(), Some("http://localhost:1/v1"));
        assert_eq!(url("google").as_deref(), Some("http://localhost:1/v1beta/openai"));
        assert_eq!(url("openrouter").as_deref(), Some("http://localhost:1/api/v1"));
    }

    #[test]
    fn an_openai_compatible_provider_is_one_entry() {
        let config = read(&[
            (
                "PROVIDERS",
                r#"{"groq":{"base_url":"https://api.groq.com/openai/v1","api_key_secret":"GROQ_API_KEY"},
                              "ollama":{"base_url":"http://127.0.0.1:11434/v1","aliases":["local"]}}"#,
            ),
            ("GROQ_API_KEY", "gsk-1"),
        ])
        .unwrap();
        assert_eq!(config.provider("groq").and_then(|found| found.key.clone()), Some(Secret::new("gsk-1")));
        assert_eq!(
            config.provider("local").map(|found| (found.keyless, found.dialects.clone())),
            Some((true, vec![Dialect::Chat]))
        );
    }

    #[test]
    fn a_value_that_cannot_be_used_names_its_variable() {
        for (name, value) in [
            ("PROVIDERS", "{"),
            ("PROVIDERS", r#"{"openai":{"base_url":"https://elsewhere"}}"#),
            ("PROVIDERS", r#"{"x":{"base_url":"ftp://elsewhere"}}"#),
            ("PROVIDERS", r#"{"x":{"base_url":"https://x","typo":1}}"#),
            ("OPENAI_BASE_URL", "api.openai.com"),
            ("MEMORY_DEADLINE_MS", "soon"),
            ("MAX_BODY_BYTES", "0"),
            ("RESPONSES_TTL_DAYS", "0"),
            ("RESPONSES_TTL_DAYS", "36501"),
        ] {
            let error = read(&[(name, value)]).unwrap_err();
            assert_eq!((error.status(), error.message().contains(name)), (500, true), "{name}={value}");
        }
    }
}
