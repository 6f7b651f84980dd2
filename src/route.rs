//! From a model id to a provider, an upstream model name and a credential.
//!
//! Invariant: a credential goes only to the provider it belongs to: the caller's own to the provider that the model id
//! names, a stored one to the base URL it was configured with; and in the header in which that provider takes it.

use crate::auth::without_scheme;
use crate::config::Config;
use crate::dialect::Dialect;
use crate::error::Error;
use crate::headers::Headers;
use crate::keys::Secret;
use crate::providers::{ANTHROPIC_VERSION, KeyHeader, OPENROUTER, Provider, of_bare_name};

/// Whose credential a request uses upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialSource {
    /// The request carried it: a refusal by the provider is the caller's to see.
    Caller,
    /// The deployment's secret: a refusal by the provider is the operator's to mend.
    Deployment,
    /// The provider wants none.
    None,
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Route<'a> {
    /// The provider.
    pub provider: &'a Provider,
    /// The model name to send.
    pub model: String,
    /// The credential to send.
    pub credential: Option<Secret>,
    /// Whose it is.
    pub source: CredentialSource,
}

impl Route<'_> {
    /// The headers that carry the credential to the provider, and the version of its API where that must be named.
    /// `client` are the headers of the client's request: they say in which form its own credential came.
    pub fn credential_headers(&self, dialect: Dialect, client: Headers<'_>) -> Vec<(&'static str, String)> {
        let native = dialect == Dialect::Messages && self.provider.messages_key == KeyHeader::XApiKey;
        let mut headers = Vec::new();
        if let Some(credential) = &self.credential {
            let text = credential.reveal();
            headers.push(if native && !self.is_token(text, client) {
                ("x-api-key", text.to_owned())
            } else {
                ("authorization", format!("Bearer {text}"))
            });
        }
        let (name, version) = ANTHROPIC_VERSION;
        if native && client.get(name).is_none() {
            headers.push((name, version.to_owned()));
        }
        headers
    }

    /// True for an OAuth token. Anthropic's own say what they are; of others, the caller's header does. A key is one even
    /// as a bearer: it is what OpenAI's SDKs make of every key.
    fn is_token(&self, credential: &str, client: Headers<'_>) -> bool {
        if credential.starts_with("sk-ant-") {
            return credential.starts_with("sk-ant-oat");
        }
        let bearer = client.get("authorization").map(without_scheme);
        self.source == CredentialSource::Caller && bearer == Some(credential)
    }
}

/// Finds the route. The first hit wins: the caller's own credential, the deployment's secret for the provider,
/// OpenRouter with the id unchanged. Errors: 400 that says which secret is missing or how to write the id.
pub fn route<'a>(
    config: &'a Config,
    dialect: Dialect,
    model: &str,
    own: Option<&Secret>,
) -> Result<Route<'a>, Error> {
    let named = match model.split_once('/') {
        Some(("", _) | (_, "")) => return Err(bad_form(model)),
        // `openrouter/auto` is an id of OpenRouter itself; `openrouter/openai/gpt-…` only names the way.
        Some((OPENROUTER, rest)) if !rest.contains('/') => {
            config.provider(OPENROUTER).map(|found| (found, model))
        }
        Some((prefix, rest)) => config.provider(prefix).map(|provider| (provider, rest)),
        None if model.is_empty() => return Err(bad_form(model)),
        None if own.is_some() => {
            let owner = of_bare_name(model).ok_or_else(|| {
                Error::invalid(
                    "model",
                    format!("Cannot tell whose model `{}` is. Write it as `provider/model`.", shown(model)),
                )
            })?;
            config.provider(owner).map(|provider| (provider, model))
        }
        None => None,
    };
    if let Some((provider, name)) = named {
        let fits = provider.speaks(dialect);
        if let Some(own) = own {
            if !fits {
                return Err(unsupported(provider, dialect));
            }
            return Ok(to(provider, name, Some(own.clone()), CredentialSource::Caller));
        }
        if fits && let Some(key) = &provider.key {
            return Ok(to(provider, name, Some(key.clone()), CredentialSource::Deployment));
        }
        if fits && provider.keyless {
            return Ok(to(provider, name, None, CredentialSource::None));
        }
    }
    let Some(default) = config.provider(OPENROUTER).filter(|found| found.speaks(dialect)) else {
        return Err(bad_form(model));
    };
    if let Some(own) = own {
        return Ok(to(default, model, Some(own.clone()), CredentialSource::Caller));
    }
    if let Some(key) = &default.key {
        return Ok(to(default, model, Some(key.clone()), CredentialSource::Deployment));
    }
    Err(match named {
        Some((provider, _)) if !provider.speaks(dialect) => unsupported(provider, dialect),
        Some((provider, _)) if provider.name != OPENROUTER => no_credential(
            model,
            &format!(
                "Set the secret {} (or OPENROUTER_API_KEY, to reach it through OpenRouter)",
                provider.key_var
            ),
        ),
        Some(_) => no_credential(model, "Set the secret OPENROUTER_API_KEY"),
        None if !model.contains('/') => no_credential(
            model,
            &match of_bare_name(model) {
                Some(owner) => {
                    format!("Write it as `{owner}/{}`, or set the secret OPENROUTER_API_KEY", shown(model))
                }
                None => "Write it as `provider/model`, or set the secret OPENROUTER_API_KEY".to_owned(),
            },
        ),
        None => {
            no_credential(model, "Set the secret OPENROUTER_API_KEY, or declare the provider in PROVIDERS")
        }
    })
}

fn to<'a>(
    provider: &'a Provider,
    model: &str,
    credential: Option<Secret>,
    source: CredentialSource,
) -> Route<'a> {
    Route { provider, model: model.to_owned(), credential, source }
}

fn bad_form(model: &str) -> Error {
    Error::invalid(
        "model",
        format!(
            "`{}` is not a model id. Write it as `provider/model`, for example `openai/gpt-5.4-mini`.",
            shown(model)
        ),
    )
}

fn unsupported(provider: &Provider, dialect: Dialect) -> Error {
    Error::invalid(
        "model",
        format!(
            "The provider `{}` does not speak {}. Use {}, or a model of another provider.",
            provider.name,
            dialect.title(),
            provider.dialects.iter().map(|other| other.path()).collect::<Vec<_>>().join(" or "),
        ),
    )
    .with_code("unsupported_dialect")
}

fn no_credential(model: &str, cure: &str) -> Error {
    Error::invalid(
        "model",
        format!(
            "No route to `{}`: the gateway has no credential for it. {cure}, or send your own provider key in \
             `Authorization` and the gateway key in `X-Memory-Gateway-Authorization`.",
            shown(model)
        ),
    )
    .with_code("no_route")
}

/// A model id as far as it belongs into a message.
fn shown(model: &str) -> String {
    model.chars().take(100).collect()
}
