//! The providers: what each is called, where it is, which dialects it speaks, how it takes a credential.
//!
//! Invariant: a provider is a row. Base URLs and credentials come from the deployment's configuration only, never
//! from a request.

pub mod quirk;
pub mod rows;

use serde::Deserialize;
use serde_json::{Map, Value};

use self::quirk::Quirk;
use crate::dialect::{Dialect, google};
use crate::keys::Secret;
use crate::operation::Operation;

/// How a provider takes its credential.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyHeader {
    /// `Authorization: Bearer KEY`.
    #[default]
    Bearer,
    /// Anthropic's way: a key as `x-api-key: KEY`, an OAuth token as `Authorization: Bearer TOKEN`, and the version of
    /// the API beside either.
    XApiKey,
    /// Google's way: a key as `x-goog-api-key: KEY`, an OAuth token as a bearer.
    GoogApiKey,
    /// Azure's way: a key as `api-key: KEY`, a token of Entra as a bearer.
    ApiKey,
}

/// The version of Anthropic's API that a request without one means.
pub const ANTHROPIC_VERSION: (&str, &str) = ("anthropic-version", "2023-06-01");

/// The default route: takes every model id as it is, prefix included.
pub const OPENROUTER: &str = "openrouter";

/// A provider as configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Provider {
    /// The prefix of its model ids.
    pub name: String,
    /// Other prefixes that mean the same provider.
    pub aliases: Vec<String>,
    /// The dialects it speaks and where; the first is the one into which others are translated.
    pub endpoints: Vec<Endpoint>,
    /// The variable without which nobody knows where it is, if that is missing.
    pub missing: Option<&'static str>,
    /// The version of the API that Azure's older URLs name.
    pub api_version: Option<String>,
    /// The name of the secret that holds the key, for messages.
    pub key_var: String,
    /// The deployment's own credential.
    pub key: Option<Secret>,
    /// True for a provider that takes requests without a credential (a model server on one's own machine).
    pub keyless: bool,
    /// True when it has embeddings.
    pub embeddings: bool,
    /// True when it has a list of models.
    pub lists: bool,
    /// True when its models belong into everybody's list of models, once the deployment reaches it.
    pub listed: bool,
    /// What it wants otherwise than its dialect says.
    pub quirks: &'static [Quirk],
}

/// One dialect of a provider.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// The dialect.
    pub dialect: Dialect,
    /// Absolute URL without a trailing slash; an endpoint's path is appended.
    pub base_url: String,
    /// How a credential is sent there.
    pub key: KeyHeader,
}

impl Provider {
    /// True when `prefix` of a model id means this provider.
    pub fn answers_to(&self, prefix: &str) -> bool {
        self.name == prefix || self.aliases.iter().any(|alias| alias == prefix)
    }

    /// True when the gateway itself can call it: where it is is known, and with what credential.
    pub fn is_reached(&self) -> bool {
        self.missing.is_none() && (self.key.is_some() || self.keyless)
    }

    /// True when it speaks `dialect` natively.
    pub fn speaks(&self, dialect: Dialect) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.dialect == dialect)
    }

    /// The dialect in which it is asked for a client that speaks `client`: the same, or the one it prefers.
    pub fn dialect_for(&self, client: Dialect) -> Dialect {
        match self.endpoints.first() {
            Some(preferred) if !self.speaks(client) => preferred.dialect,
            _ => client,
        }
    }

    /// True when it can do what is wanted. Answers can be translated, and tokens estimated; vectors cannot be made up.
    pub fn serves(&self, operation: Operation) -> bool {
        operation != Operation::Embeddings || self.embeddings
    }

    /// True when it counts the tokens of a Messages request itself: the maker of that API does.
    pub fn counts_tokens(&self) -> bool {
        self.key_header(Dialect::Messages) == KeyHeader::XApiKey
    }

    /// True when `stream_options.include_usage` may be asked for in Chat Completions.
    pub fn usage_option(&self) -> bool {
        !self.has(Quirk::NoStreamOptions)
    }

    /// True when it has the quirk.
    pub fn has(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }

    /// Makes a request in `dialect` fit for it. Gives the names of the fields that were left out.
    pub fn adapt(&self, dialect: Dialect, body: &mut Map<String, Value>) -> Vec<&'static str> {
        quirk::apply(self.quirks, dialect, body)
    }

    /// True when a request that the client wrote in `dialect` itself must be adapted, too; else its bytes may go as they
    /// are. `has` tells whether the request has a field.
    pub fn must_adapt(&self, dialect: Dialect, has: impl Fn(&str) -> bool) -> bool {
        quirk::concern(self.quirks, dialect, &has)
    }

    /// How it takes its credential where it speaks `dialect`.
    pub fn key_header(&self, dialect: Dialect) -> KeyHeader {
        self.endpoint(dialect).map_or(KeyHeader::Bearer, |endpoint| endpoint.key)
    }

    /// Where it speaks `dialect`; the endpoint's path is appended.
    pub fn base_url_for(&self, dialect: Dialect) -> &str {
        self.endpoint(dialect).map_or("", |endpoint| &endpoint.base_url)
    }

    /// The URL to which a request goes that is written in `dialect`. Some have the model in the path, and Google another
    /// path for streams.
    pub fn url(&self, operation: Operation, dialect: Dialect, model: &str, stream: bool) -> String {
        let path = match operation {
            Operation::Answer(_) if dialect == Dialect::Google => google::path(model, stream),
            Operation::Answer(_) => dialect.upstream_path().to_owned(),
            Operation::CountTokens => "/messages/count_tokens".to_owned(),
            Operation::Embeddings => "/embeddings".to_owned(),
        };
        let base = self.base_url_for(dialect);
        match &self.api_version {
            // https://learn.microsoft.com/en-us/azure/ai-services/openai/reference: all but Responses is below the
            // deployment.
            Some(version) if path == Dialect::Responses.upstream_path() => {
                format!("{base}{path}?api-version={version}")
            }
            Some(version) => format!("{base}/deployments/{}{path}?api-version={version}", segment(model)),
            None => format!("{base}{path}"),
        }
    }

    /// The URL of its list of models, whole where it would come in pages.
    pub fn list_url(&self) -> String {
        let dialect = self.list_dialect();
        let page = if self.key_header(dialect) == KeyHeader::XApiKey { "?limit=1000" } else { "" };
        format!("{}/models{page}", self.base_url_for(dialect))
    }

    /// The headers with which it is asked for its list of models.
    pub fn list_headers(&self, credential: Option<&Secret>) -> Vec<(&'static str, String)> {
        let Some(key) = credential else { return Vec::new() };
        let header = self.key_header(self.list_dialect());
        let mut headers = vec![header.carry(key.reveal(), header.is_token(key.reveal()))];
        if header == KeyHeader::XApiKey {
            let (name, version) = ANTHROPIC_VERSION;
            headers.push((name, version.to_owned()));
        }
        headers
    }

    /// The dialect with which the list of models goes: OpenAI's form is read everywhere.
    fn list_dialect(&self) -> Dialect {
        self.dialect_for(Dialect::Chat)
    }

    fn endpoint(&self, dialect: Dialect) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.dialect == dialect)
    }
}

impl KeyHeader {
    /// True for a credential that says by its form that it is no key but a token, which goes as a bearer.
    pub fn is_token(self, credential: &str) -> bool {
        match self {
            KeyHeader::Bearer => true,
            KeyHeader::XApiKey => credential.starts_with("sk-ant-oat"),
            // https://cloud.google.com/docs/authentication/token-types
            KeyHeader::GoogApiKey => credential.starts_with("ya29."),
            // Entra's are JSON Web Tokens, which begin with `{"` in Base64.
            KeyHeader::ApiKey => credential.starts_with("eyJ"),
        }
    }

    /// The header with the credential.
    pub fn carry(self, credential: &str, is_token: bool) -> (&'static str, String) {
        match self {
            KeyHeader::Bearer => ("authorization", format!("Bearer {credential}")),
            _ if is_token => ("authorization", format!("Bearer {credential}")),
            KeyHeader::XApiKey => ("x-api-key", credential.to_owned()),
            KeyHeader::GoogApiKey => ("x-goog-api-key", credential.to_owned()),
            KeyHeader::ApiKey => ("api-key", credential.to_owned()),
        }
    }
}

/// A name as one segment of a path, whatever is in it.
fn segment(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'@' | b':' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
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
