//! The providers: what each is called, where it is, which dialects it speaks.
//!
//! Invariant: a provider is a row. Base URLs and credentials come from the deployment's configuration only, never
//! from a request.

use serde::Deserialize;

use crate::dialect::Dialect;
use crate::keys::Secret;

/// How a provider takes its credential on its own, native API. On an OpenAI-compatible one it is always a bearer token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyHeader {
    /// `Authorization: Bearer KEY`.
    #[default]
    Bearer,
    /// Anthropic's way: a key as `x-api-key: KEY`, an OAuth token as `Authorization: Bearer TOKEN`, and the version of
    /// the API beside either.
    XApiKey,
}

/// A built-in provider, before configuration.
#[derive(Debug)]
pub struct Row {
    /// The prefix of its model ids.
    pub name: &'static str,
    /// Other prefixes that mean the same provider.
    pub aliases: &'static [&'static str],
    /// The variable that overrides `base_url`.
    pub base_url_var: &'static str,
    /// Where it is, in the form that its own SDK takes.
    pub base_url: &'static str,
    /// What lies between the base URL and the endpoint's path.
    pub path: &'static str,
    /// The secret that holds the deployment's own key.
    pub key_var: &'static str,
    /// The dialects it speaks natively.
    pub dialects: &'static [Dialect],
    /// How it takes its credential where it speaks Messages.
    pub messages_key: KeyHeader,
}

/// The version of Anthropic's API that a request without one means.
pub const ANTHROPIC_VERSION: (&str, &str) = ("anthropic-version", "2023-06-01");

/// The default route: takes every model id as it is, prefix included.
pub const OPENROUTER: &str = "openrouter";

/// The built-in providers. Paths are of each provider's OpenAI-compatible API; Anthropic has Messages beside it.
pub const ROWS: &[Row] = &[
    Row {
        name: "openai",
        aliases: &[],
        base_url_var: "OPENAI_BASE_URL",
        base_url: "https://api.openai.com/v1",
        path: "",
        key_var: "OPENAI_API_KEY",
        dialects: &[Dialect::Chat, Dialect::Responses],
        messages_key: KeyHeader::Bearer,
    },
    Row {
        name: "anthropic",
        aliases: &[],
        base_url_var: "ANTHROPIC_BASE_URL",
        base_url: "https://api.anthropic.com",
        path: "/v1",
        key_var: "ANTHROPIC_API_KEY",
        dialects: &[Dialect::Chat, Dialect::Messages],
        messages_key: KeyHeader::XApiKey,
    },
    Row {
        name: "google",
        aliases: &["gemini", "google-ai-studio"],
        base_url_var: "GOOGLE_BASE_URL",
        base_url: "https://generativelanguage.googleapis.com",
        path: "/v1beta/openai",
        key_var: "GOOGLE_API_KEY",
        dialects: &[Dialect::Chat],
        messages_key: KeyHeader::Bearer,
    },
    Row {
        name: OPENROUTER,
        aliases: &[],
        base_url_var: "OPENROUTER_BASE_URL",
        base_url: "https://openrouter.ai/api/v1",
        path: "",
        key_var: "OPENROUTER_API_KEY",
        dialects: &[Dialect::Chat, Dialect::Responses, Dialect::Messages],
        messages_key: KeyHeader::Bearer,
    },
];

/// A provider as configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Provider {
    /// The prefix of its model ids.
    pub name: String,
    /// Other prefixes that mean the same provider.
    pub aliases: Vec<String>,
    /// Absolute URL without a trailing slash; an endpoint's path is appended.
    pub base_url: String,
    /// The name of the secret that holds the key, for messages.
    pub key_var: String,
    /// The deployment's own credential.
    pub key: Option<Secret>,
    /// True for a provider that takes requests without a credential (a model server on one's own machine).
    pub keyless: bool,
    /// The dialects it speaks natively.
    pub dialects: Vec<Dialect>,
    /// How it takes its credential where it speaks Messages.
    pub messages_key: KeyHeader,
}

impl Provider {
    /// True when `prefix` of a model id means this provider.
    pub fn answers_to(&self, prefix: &str) -> bool {
        self.name == prefix || self.aliases.iter().any(|alias| alias == prefix)
    }

    /// The path of its list of models below the base URL, whole where it would come in pages.
    pub fn list_path(&self) -> &'static str {
        match self.messages_key {
            KeyHeader::XApiKey => "/models?limit=1000",
            KeyHeader::Bearer => "/models",
        }
    }

    /// The headers with which the deployment asks it for its list of models.
    pub fn list_headers(&self) -> Vec<(&'static str, String)> {
        let Some(key) = &self.key else { return Vec::new() };
        match self.messages_key {
            KeyHeader::XApiKey => {
                let (name, version) = ANTHROPIC_VERSION;
                vec![("x-api-key", key.reveal().to_owned()), (name, version.to_owned())]
            }
            KeyHeader::Bearer => vec![("authorization", format!("Bearer {}", key.reveal()))],
        }
    }

    /// True when it counts the tokens of a Messages request itself: the maker of that API does.
    pub fn counts_tokens(&self) -> bool {
        self.messages_key == KeyHeader::XApiKey
    }

    /// True when it speaks `dialect` natively.
    pub fn speaks(&self, dialect: Dialect) -> bool {
        self.dialects.contains(&dialect)
    }
}

/// The provider that a bare model name belongs to, by its maker's naming. Used only with the caller's own credential,
/// which says that the caller has one provider in mind.
pub fn of_bare_name(model: &str) -> Option<&'static str> {
    const OWNERS: &[(&str, &str)] = &[
        ("claude-", "anthropic"),
        ("gpt-", "openai"),
        ("o1", "openai"),
        ("o3", "openai"),
        ("o4-", "openai"),
        ("chatgpt-", "openai"),
        ("codex-", "openai"),
        ("gemini-", "google"),
    ];
    OWNERS.iter().find(|(start, _)| model.starts_with(start)).map(|(_, owner)| *owner)
}
