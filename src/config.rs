//! The deployment's configuration, read once per isolate from variables and secrets.
//!
//! Invariant: a value that cannot be used is an error that names the variable; nothing is silently replaced.

mod memory;
mod tools;

use serde::Deserialize;
use std::collections::BTreeMap;

use crate::admin::token::AdminToken;
use crate::api::percent_decoded;
use crate::budget::Budget;
use crate::dialect::Dialect;
use crate::error::{Error, Kind};
use crate::keys::Secret;
use crate::ledger::prices::Prices;
use crate::limits::{LimitChanges, Limits};
use crate::memory::settings::Settings;
use crate::providers::rows::{ROWS, Row};
use crate::providers::{Endpoint, KeyHeader, Provider};
use crate::tools::web_search::back_end::BackEnd;
use crate::vault::MasterKeys;

/// After this long, in milliseconds, a turn whose end was never reported is closed as lost: the longest that the platform
/// lets a Worker's work go on behind an answer is far below.
pub const PENDING_TURN_TTL_MS: u64 = 15 * 60 * 1000;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// How long a response is kept, in milliseconds: as long as OpenAI keeps one.
/// <https://platform.openai.com/docs/guides/conversation-state>
pub const RESPONSES_TTL_MS: u64 = 30 * DAY_MS;

/// A hundred years; times stay far below 2^53 milliseconds, which is all that the platform's border lets through.
const MAX_DAYS: u64 = 36_500;

/// How often a route can be asked at most, whatever is set.
const MOST_ATTEMPTS: u32 = 10;

/// How long a request's row is kept in the ledger, in milliseconds.
const LEDGER_RETENTION_MS: u64 = 90 * DAY_MS;

/// Everything that a deployment can set.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The shipped providers and those declared in `PROVIDERS`.
    pub providers: Vec<Provider>,
    /// `MEMORY_DEADLINE_MS`: how long a turn waits for its thread before it goes on without memory.
    pub memory_deadline_ms: u32,
    /// `MAX_BODY_BYTES`: the largest request body taken.
    pub max_body_bytes: usize,
    /// `MAX_ANSWER_BYTES`: the largest answer of a provider that is held in memory as a whole.
    pub max_answer_bytes: usize,
    /// `BODY_TIMEOUT_MS`: how long a client may take to send its body, in milliseconds.
    pub body_timeout_ms: u32,
    /// `UPSTREAM_TIMEOUT_MS`: the longest wait for a provider's status line, and the longest silence inside an
    /// observed answer.
    pub upstream_timeout_ms: u32,
    /// `FIRST_TOKEN_TIMEOUT_MS`: the longest wait for the first byte of a streamed answer.
    pub first_token_timeout_ms: u32,
    /// `UPSTREAM_ATTEMPTS`: how often a route is asked at most.
    pub upstream_attempts: u32,
    /// `CIRCUIT_FAILURES`: after so many failures in a row a route is not asked for a while.
    pub circuit_failures: u32,
    /// `CIRCUIT_OPEN_MS`: for how long not, the first time.
    pub circuit_open_ms: u64,
    /// `PENDING_TURN_TTL_MS`: after this long, a turn whose end was never reported is closed as lost.
    pub pending_turn_ttl_ms: u64,
    /// `RESPONSES_TTL_DAYS`: after this long, a kept response that no younger one goes on from is deleted.
    pub responses_ttl_ms: u64,
    /// `LEDGER`: requests are counted, each in a row. Off, answers pass by unseen wherever nothing else must see them,
    /// as a budget must.
    pub ledger: bool,
    /// `LEDGER_RETENTION_DAYS`: after this long, in milliseconds, a request's row is deleted; the sums by the hour stay.
    pub ledger_retention_ms: u64,
    /// `PRICES`: the deployment's own prices, before those that come with the gateway.
    pub prices: Prices,
    /// `KEY_BUDGET`: what a key may use, where it has no budget of its own.
    pub key_budget: Option<Budget>,
    /// `PROJECT_BUDGET`: what a project may use, where it has no budget of its own.
    pub project_budget: Option<Budget>,
    /// `MEMORY_BUDGET`: what a project's memory may use for its own calls of models.
    pub memory_budget: Option<Budget>,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT` and its siblings: who collects spans.
    pub otlp: Option<Otlp>,
    /// `CORS_ORIGINS`: the browser origins let in; `*` for all; empty switches CORS off.
    pub cors_origins: Vec<String>,
    /// `OBSERVER_MODEL`, `MEMORY_OBSERVE_TOKENS` and their like: how threads are remembered.
    pub memory: Settings,
    /// `MASTER_KEYS`: what stored credentials are sealed under.
    pub master_keys: MasterKeys,
    /// `ADMIN_TOKEN`: opens the management API; without it that is off.
    pub admin_token: Option<AdminToken>,
    /// `LIMITS`: how many requests a key may make where its own limits do not say.
    pub limits: Limits,
    /// `WEB_SEARCH` and its siblings: who searches the web where a model's provider does not.
    pub web_search: Option<BackEnd>,
    /// `TOOLS_ROUNDS` and its siblings: how much a model may do with the gateway's tools for one answer.
    pub tool_limits: tools::Limits,
}

/// A collector of spans, as OpenTelemetry's own variables name it:
/// <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>.
#[derive(Clone, Debug, PartialEq)]
pub struct Otlp {
    /// Where spans go: `OTEL_EXPORTER_OTLP_ENDPOINT` and the path of traces.
    pub url: String,
    /// `OTEL_EXPORTER_OTLP_HEADERS`: headers to send along, mostly a credential.
    pub headers: Vec<(String, Secret)>,
    /// `OTEL_SERVICE_NAME`: what this gateway is called.
    pub service: String,
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
        let mut providers = ROWS.iter().map(|row| shipped(row, &set)).collect::<Result<Vec<_>, _>>()?;
        if let Some(text) = set("PROVIDERS") {
            let entries: BTreeMap<String, Declared> = serde_json::from_str(&text).map_err(|error| {
                misconfigured("PROVIDERS", &format!("is not a JSON object of providers: {error}"))
            })?;
            for (name, entry) in entries {
                let row = ROWS.iter().find(|row| row.name == name && row.declarable);
                if row.is_some() {
                    providers.retain(|known| known.name != name);
                }
                let taken = |name: &str| providers.iter().any(|known| known.answers_to(name));
                if let Some(bad) = std::iter::once(&name)
                    .chain(&entry.aliases)
                    .find(|name| name.is_empty() || name.contains('/') || taken(name))
                {
                    return Err(misconfigured("PROVIDERS", &format!("cannot declare the name `{bad}`")));
                }
                providers.push(declared(name, entry, row, &set)?);
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
        let days = |name: &str, default_ms: u64| match number(name, default_ms / DAY_MS)? {
            days if days > MAX_DAYS => {
                Err(misconfigured(name, &format!("must be at most {MAX_DAYS}, not `{days}`")))
            }
            days => Ok(days * DAY_MS),
        };
        let number32 = |name: &str, default: u32| {
            number(name, u64::from(default)).map(|value| u32::try_from(value).unwrap_or(u32::MAX))
        };
        Ok(Config {
            memory_deadline_ms: number32("MEMORY_DEADLINE_MS", 250)?,
            max_body_bytes: number("MAX_BODY_BYTES", 20 * 1024 * 1024)? as usize,
            max_answer_bytes: number("MAX_ANSWER_BYTES", 64 * 1024 * 1024)? as usize,
            body_timeout_ms: number32("BODY_TIMEOUT_MS", 60_000)?,
            upstream_timeout_ms: number32("UPSTREAM_TIMEOUT_MS", 600_000)?,
            first_token_timeout_ms: number32("FIRST_TOKEN_TIMEOUT_MS", 600_000)?,
            upstream_attempts: number32("UPSTREAM_ATTEMPTS", 2)?.min(MOST_ATTEMPTS),
            circuit_failures: number32("CIRCUIT_FAILURES", 10)?,
            circuit_open_ms: number("CIRCUIT_OPEN_MS", 10_000)?,
            pending_turn_ttl_ms: number("PENDING_TURN_TTL_MS", PENDING_TURN_TTL_MS)?,
            responses_ttl_ms: days("RESPONSES_TTL_DAYS", RESPONSES_TTL_MS)?,
            ledger: match set("LEDGER").as_deref() {
                None | Some("on") => true,
                Some("off") => false,
                Some(text) => {
                    return Err(misconfigured("LEDGER", &format!("must be on or off, not `{text}`")));
                }
            },
            ledger_retention_ms: days("LEDGER_RETENTION_DAYS", LEDGER_RETENTION_MS)?,
            key_budget: budget("KEY_BUDGET", &set)?,
            project_budget: budget("PROJECT_BUDGET", &set)?,
            memory_budget: budget("MEMORY_BUDGET", &set)?,
            otlp: otlp(&set)?,
            prices: set("PRICES")
                .map(|text| Prices::read(&text).map_err(|what| misconfigured("PRICES", &what)))
                .transpose()?
                .unwrap_or_default(),
            cors_origins: set("CORS_ORIGINS")
                .map(|list| list.split(',').map(|origin| origin.trim().to_owned()).collect())
                .unwrap_or_default(),
            memory: memory::settings(&set, &number)?,
            master_keys: MasterKeys::read(&set("MASTER_KEYS").unwrap_or_default())
                .map_err(|what| misconfigured("MASTER_KEYS", &what))?,
            admin_token: set("ADMIN_TOKEN")
                .map(|text| AdminToken::read(&text).map_err(|what| misconfigured("ADMIN_TOKEN", &what)))
                .transpose()?,
            limits: match set("LIMITS") {
                None => Limits::default(),
                Some(text) => serde_json::from_str(&text)
                    .map_err(|error| error.to_string())
                    .and_then(|document| LimitChanges::read(&document))
                    .map(|changes| Limits::default().changed(&changes))
                    .map_err(|what| {
                        misconfigured("LIMITS", &format!("is no JSON object of limits: {what}"))
                    })?,
            },
            web_search: BackEnd::read(&set).map_err(|(name, what)| misconfigured(name, &what))?,
            tool_limits: tools::limits(&set, &number)?,
            providers,
        })
    }

    /// The provider that a model id's prefix means.
    pub fn provider(&self, prefix: &str) -> Option<&Provider> {
        self.providers.iter().find(|provider| provider.answers_to(prefix))
    }
}

fn budget(name: &str, set: &impl Fn(&str) -> Option<String>) -> Result<Option<Budget>, Error> {
    let Some(text) = set(name) else { return Ok(None) };
    serde_json::from_str(&text)
        .map_err(|_| "is not JSON".to_owned())
        .and_then(|document| Budget::read(&document))
        .map(Some)
        .map_err(|what| misconfigured(name, &what))
}

fn otlp(set: &impl Fn(&str) -> Option<String>) -> Result<Option<Otlp>, Error> {
    const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
    let Some(endpoint) = set(ENDPOINT) else { return Ok(None) };
    let mut headers = Vec::new();
    for pair in set(HEADERS).unwrap_or_default().split(',').filter(|pair| !pair.trim().is_empty()) {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| misconfigured(HEADERS, "must be a list of name=value pairs"))?;
        headers.push((name.trim().to_ascii_lowercase(), Secret::new(percent_decoded(value.trim()))));
    }
    Ok(Some(Otlp {
        url: format!("{}/v1/traces", base_url(ENDPOINT, &endpoint)?),
        headers,
        service: set("OTEL_SERVICE_NAME").unwrap_or_else(|| env!("CARGO_PKG_NAME").to_owned()),
    }))
}

/// A shipped provider as the variables have it.
fn shipped(row: &Row, set: &impl Fn(&str) -> Option<String>) -> Result<Provider, Error> {
    let own_base = set(row.base_url_var).map(|text| base_url(row.base_url_var, &text)).transpose()?;
    let api_version = row.version_var.map(|name| plain(name, set)).transpose()?.flatten();
    let account = row.account_var.map(|name| plain(name, set)).transpose()?.flatten();
    let (base, missing) = match (&own_base, row.account_var, account) {
        (Some(base), _, _) => (base.clone(), None),
        (None, None, _) => (row.base_url.to_owned(), row.base_url.is_empty().then_some(row.base_url_var)),
        (None, Some(_), Some(account)) => (row.base_url.replace("{account}", &account), None),
        (None, Some(name), None) => (String::new(), Some(name)),
    };
    let base = match row.version_var {
        Some(_) => azure_root(&base),
        None => base.as_str(),
    };
    // Azure's newer URLs name no version of the API but this one, once for all.
    let version = if row.version_var.is_some() && api_version.is_none() { "/v1" } else { "" };
    let key = set(row.key_var).map(Secret::new);
    Ok(Provider {
        name: row.name.to_owned(),
        aliases: row.aliases.iter().map(|alias| (*alias).to_owned()).collect(),
        endpoints: row
            .speaks
            .iter()
            .map(|speaks| Endpoint {
                dialect: speaks.dialect,
                base_url: format!("{base}{}{version}", speaks.path),
                key: speaks.key,
            })
            .collect(),
        // A model server at its usual address may well not be there: asking it for its list would cost time.
        lists: row.lists,
        listed: row.lists && (key.is_some() || own_base.is_some()),
        missing,
        api_version,
        key_var: row.key_var.to_owned(),
        key,
        keyless: row.keyless,
        embeddings: row.embeddings,
        quirks: row.quirks,
    })
}

/// A provider of `PROVIDERS`; `row` is the shipped one of that name, if there is one.
fn declared(
    name: String,
    entry: Declared,
    row: Option<&Row>,
    set: &impl Fn(&str) -> Option<String>,
) -> Result<Provider, Error> {
    let base = base_url("PROVIDERS", &entry.base_url)?;
    let dialects = entry.dialects.unwrap_or_else(|| match row {
        Some(row) => row.speaks.iter().map(|speaks| speaks.dialect).collect(),
        None => vec![Dialect::Chat],
    });
    if dialects.is_empty() {
        return Err(misconfigured("PROVIDERS", &format!("gives `{name}` no dialect")));
    }
    let secret = entry.api_key_secret;
    Ok(Provider {
        endpoints: dialects
            .iter()
            .map(|dialect| Endpoint {
                dialect: *dialect,
                base_url: base.clone(),
                key: match dialect {
                    Dialect::Messages => entry.messages_key,
                    Dialect::Google => KeyHeader::GoogApiKey,
                    Dialect::Chat | Dialect::Responses => KeyHeader::Bearer,
                },
            })
            .collect(),
        missing: None,
        api_version: None,
        key: secret.as_deref().and_then(set).map(Secret::new),
        keyless: secret.is_none(),
        key_var: secret.unwrap_or_default(),
        embeddings: row.map_or(dialects.contains(&Dialect::Chat), |row| row.embeddings),
        lists: true,
        listed: true,
        quirks: row.map_or(&[], |row| row.quirks),
        aliases: entry.aliases,
        name,
    })
}

/// A variable whose text becomes part of a URL.
fn plain(name: &str, set: &impl Fn(&str) -> Option<String>) -> Result<Option<String>, Error> {
    match set(name) {
        Some(text) if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) => {
            Err(misconfigured(name, "may hold letters, digits and `-_.` only"))
        }
        text => Ok(text),
    }
}

/// The endpoint itself: Azure's pages show it with the path of the API, too.
fn azure_root(base: &str) -> &str {
    let base = base.strip_suffix("/v1").unwrap_or(base);
    base.strip_suffix("/openai").unwrap_or(base)
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
        assert_eq!((config.ledger, config.ledger_retention_ms), (true, 7_776_000_000));
        assert_eq!(
            config.provider("gemini").map(|found| found.base_url_for(Dialect::Chat)),
            Some("https://generativelanguage.googleapis.com/v1beta/openai")
        );
        assert_eq!(config.provider("openai").and_then(|found| found.key.clone()), None);
    }

    #[test]
    fn a_route_is_asked_ten_times_at_most() {
        for (said, holds) in
            [(None, 2), (Some("1"), 1), (Some("10"), 10), (Some("11"), 10), (Some("1000000"), 10)]
        {
            let vars: Vec<_> = said.map(|said| ("UPSTREAM_ATTEMPTS", said)).into_iter().collect();
            assert_eq!(read(&vars).unwrap().upstream_attempts, holds, "{said:?}");
        }
    }

    #[test]
    fn base_urls_take_the_form_of_the_providers_own_sdk() {
        let config = read(&[
            ("OPENAI_BASE_URL", "http://localhost:1/v1/"),
            ("GOOGLE_BASE_URL", "http://localhost:1"),
            ("OPENROUTER_BASE_URL", "http://localhost:1/api/v1"),
        ])
        .unwrap();
        let url =
            |name: &str| config.provider(name).map(|found| found.base_url_for(Dialect::Chat).to_owned());
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
            config.provider("local").map(|found| (found.keyless, found.base_url_for(Dialect::Chat))),
            Some((true, "http://127.0.0.1:11434/v1"))
        );
    }

    #[test]
    fn a_collector_of_spans_is_named_as_everywhere() {
        let read = |headers: &str| {
            read(&[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.test:4318/"),
                ("OTEL_EXPORTER_OTLP_HEADERS", headers),
            ])
        };
        assert_eq!(
            read("Authorization=Basic%20abc, x-team = a=b").unwrap().otlp,
            Some(Otlp {
                url: "https://collector.test:4318/v1/traces".into(),
                headers: vec![
                    ("authorization".into(), Secret::new("Basic abc")),
                    ("x-team".into(), Secret::new("a=b"))
                ],
                service: "memory-gateway".into(),
            })
        );
        assert!(read("nothing").unwrap_err().message().contains("OTEL_EXPORTER_OTLP_HEADERS"));
    }

    #[test]
    fn a_value_that_cannot_be_used_names_its_variable() {
        for (name, value) in [
            ("PROVIDERS", "{"),
            ("PROVIDERS", r#"{"openai":{"base_url":"https://elsewhere"}}"#),
            ("PROVIDERS", r#"{"x":{"base_url":"ftp://elsewhere"}}"#),
            ("PROVIDERS", r#"{"gemini":{"base_url":"https://elsewhere"}}"#),
            ("PROVIDERS", r#"{"azure":{"base_url":"https://elsewhere"}}"#),
            ("PROVIDERS", r#"{"x":{"base_url":"https://x","aliases":["openai"]}}"#),
            ("PROVIDERS", r#"{"x":{"base_url":"https://x","dialects":[]}}"#),
            ("AZURE_OPENAI_API_VERSION", "2024-10-21&x=y"),
            ("WORKERS_AI_ACCOUNT_ID", "../other"),
            ("PROVIDERS", r#"{"x":{"base_url":"https://x","typo":1}}"#),
            ("OPENAI_BASE_URL", "api.openai.com"),
            ("MEMORY_DEADLINE_MS", "soon"),
            ("MAX_BODY_BYTES", "0"),
            ("RESPONSES_TTL_DAYS", "0"),
            ("RESPONSES_TTL_DAYS", "36501"),
            ("OBSERVER_MODEL", "gemini-2.5-flash"),
            ("REFLECTOR_MODEL", "google/"),
            ("MEMORY_OBSERVE_TOKENS", "many"),
            ("MEMORY_IDLE_ACTIVATION", "yes"),
            ("MEMORY_SCOPE", "user"),
            ("MEMORY_TIME_ZONE", "Europe Berlin"),
            ("LEDGER", "no"),
            ("KEY_BUDGET", "5"),
            ("MEMORY_BUDGET", "{"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
            ("LEDGER_RETENTION_DAYS", "0"),
            ("PRICES", r#"{"openai/gpt-5":{"input":"much","output":1}}"#),
            ("MASTER_KEYS", "k1:dG9vIHNob3J0"),
            ("ADMIN_TOKEN", "too-short"),
            ("LIMITS", r#"{"llm_proxy":0}"#),
            ("LIMITS", r#"{"all":1}"#),
            ("WEB_SEARCH", "altavista"),
        ] {
            let error = read(&[(name, value)]).unwrap_err();
            assert_eq!((error.status(), error.message().contains(name)), (500, true), "{name}={value}");
        }
    }
}
