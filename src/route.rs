//! From a model id to a provider, an upstream model name and a credential.
//!
//! Invariant: a credential goes only to the provider it belongs to: the caller's own to the provider that the model id
//! names, a stored one to the base URL it was configured with; and in the header in which that provider takes it.

use crate::auth::without_scheme;
use crate::bindings::Bindings;
use crate::body::Body;
use crate::config::Config;
use crate::dialect::Dialect;
use crate::error::Error;
use crate::grant::Grant;
use crate::headers::Headers;
use crate::keys::Secret;
use crate::operation::Operation;
use crate::providers::{ANTHROPIC_VERSION, KeyHeader, OPENROUTER, Provider, of_bare_name};

/// The longest model id, in bytes. What is kept of a request names its model: a row of the ledger, which the database takes up
/// to two megabytes or never, a circuit, the answer's headers.
const MOST_MODEL_BYTES: usize = 512;

/// Whose credential a request uses upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialSource {
    /// The request carried it: a refusal by the provider is the caller's to see.
    Caller,
    /// It is bound to the gateway key: a refusal by the provider is for who set it to mend, as below.
    Key,
    /// It is bound to the project.
    Project,
    /// The deployment's secret: a refusal by the provider is the operator's to mend.
    Deployment,
    /// The provider wants none.
    None,
}

impl CredentialSource {
    /// The word for it, as the ledger has it.
    pub fn as_str(self) -> &'static str {
        match self {
            CredentialSource::Caller => "caller",
            CredentialSource::Key => "key",
            CredentialSource::Project => "project",
            CredentialSource::Deployment => "deployment",
            CredentialSource::None => "none",
        }
    }

    /// True when the gateway chose the credential: a provider that refuses it does not refuse the caller.
    pub fn is_stored(self) -> bool {
        matches!(self, CredentialSource::Key | CredentialSource::Project | CredentialSource::Deployment)
    }
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Route<'a> {
    /// The provider.
    pub provider: &'a Provider,
    /// The model name to send.
    pub model: String,
    /// The dialect to speak with the provider: the client's, or the one that the provider prefers.
    pub dialect: Dialect,
    /// The credential to send.
    pub credential: Option<Secret>,
    /// Whose it is.
    pub source: CredentialSource,
}

impl Route<'_> {
    /// The URL to send the request to; `stream` says whether it asks for a stream.
    pub fn url(&self, operation: Operation, stream: bool) -> String {
        self.provider.url(operation, self.dialect, &self.model, stream)
    }

    /// The headers that carry the credential to the provider, and the version of its API where that must be named.
    /// `client` are the headers of the client's request: they say in which form its own credential came.
    pub fn credential_headers(&self, client: Headers<'_>) -> Vec<(&'static str, String)> {
        let header = self.provider.key_header(self.dialect);
        let mut headers = Vec::new();
        if let Some(credential) = &self.credential {
            let text = credential.reveal();
            headers
                .push(header.carry(text, header.is_token(text) || self.came_as_token(header, text, client)));
        }
        let (name, version) = ANTHROPIC_VERSION;
        if header == KeyHeader::XApiKey && client.get(name).is_none() {
            headers.push((name, version.to_owned()));
        }
        headers
    }

    /// True for the caller's own token of Anthropic that does not say by its form what it is: then the header in which
    /// it came does. A key is one even as a bearer: it is what OpenAI's SDKs make of every key.
    fn came_as_token(&self, header: KeyHeader, credential: &str, client: Headers<'_>) -> bool {
        header == KeyHeader::XApiKey
            && !credential.starts_with("sk-ant-")
            && self.source == CredentialSource::Caller
            && client.get("authorization").map(without_scheme) == Some(credential)
    }
}

/// Finds the route. The first hit wins: the caller's own credential, one bound to the gateway key, one bound to the
/// project, the deployment's secret for the provider, OpenRouter with the id unchanged (and there the same order). Any
/// provider does for an answer in any dialect. Errors: 400 that says which secret, binding or variable is missing, how to
/// write the id, that it is too long, or that the provider cannot do what is wanted; 500 for a binding that cannot be opened.
pub fn route<'a>(
    config: &'a Config,
    operation: Operation,
    model: &str,
    own: Option<&Secret>,
    bindings: &Bindings,
) -> Result<Route<'a>, Error> {
    let to = |provider: &'a Provider, model: &str, credential: Option<Secret>, source| Route {
        provider,
        model: model.to_owned(),
        dialect: provider.dialect_for(operation.dialect()),
        credential,
        source,
    };
    if model.len() > MOST_MODEL_BYTES {
        return Err(Error::invalid(
            "model",
            format!("The model's id has {} bytes; {MOST_MODEL_BYTES} is the most.", model.len()),
        ));
    }
    let named = named(config, model, own.is_some())?;
    if let Some((provider, name)) = named {
        let fits = provider.serves(operation);
        if let Some(own) = own {
            if !fits {
                return Err(no_embeddings(provider));
            }
            if let Some(variable) = provider.missing {
                return Err(no_address(provider, variable));
            }
            return Ok(to(provider, name, Some(own.clone()), CredentialSource::Caller));
        }
        if fits
            && provider.missing.is_none()
            && let Some((credential, source)) = stored(config, provider, bindings)?
        {
            return Ok(to(provider, name, credential, source));
        }
    }
    let Some(default) = config.provider(OPENROUTER) else {
        return Err(bad_form(model));
    };
    if let Some(own) = own {
        return Ok(to(default, model, Some(own.clone()), CredentialSource::Caller));
    }
    if let Some((credential, source)) = stored(config, default, bindings)? {
        return Ok(to(default, model, credential, source));
    }
    Err(match named {
        Some((provider, _)) if !provider.serves(operation) => no_embeddings(provider),
        Some((Provider { missing: Some(variable), key_var, .. }, _)) => {
            no_credential(model, &format!("Set the variable {variable} and the secret {key_var}"))
        }
        Some((provider, _)) if provider.name != OPENROUTER => no_credential(
            model,
            &format!(
                "Set the secret {} (or OPENROUTER_API_KEY, to reach it through OpenRouter), bind a credential for `{}` \
                 to the project",
                provider.key_var, provider.name
            ),
        ),
        Some(_) => no_credential(
            model,
            "Set the secret OPENROUTER_API_KEY, bind a credential for `openrouter` to the project",
        ),
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

/// A model's id with its provider's own name in front, as rules about models have it: an alias changes nothing in what a
/// key may ask for. What has no provider of its own stays as it is.
pub fn canonical(config: &Config, model: &str, own: bool) -> String {
    match named(config, model, own) {
        Ok(Some((provider, _))) if provider.name == OPENROUTER => model.to_owned(),
        Ok(Some((provider, name))) => format!("{}/{name}", provider.name),
        Ok(None) | Err(_) => model.to_owned(),
    }
}

/// Checks that a key may ask every model that a request names: `model`, and those to fall back on (`models`, as OpenRouter
/// has them). Errors: 403, and 400 for a list that cannot be read.
pub fn check_models(
    grant: &Grant,
    config: &Config,
    model: &str,
    body: &Body<'_>,
    own: bool,
) -> Result<(), Error> {
    if grant.models.is_none() {
        return Ok(());
    }
    grant.check_model(&canonical(config, model, own))?;
    for entry in body.array("models")?.unwrap_or_default() {
        let model: String = serde_json::from_str(entry.get())
            .map_err(|_| Error::invalid("models", "The field `models` must be a list of model ids."))?;
        grant.check_model(&canonical(config, &model, own))?;
    }
    Ok(())
}

/// The provider that a model id names, and the model's name there. `own` says that the request carries its own credential.
fn named<'a, 'm>(
    config: &'a Config,
    model: &'m str,
    own: bool,
) -> Result<Option<(&'a Provider, &'m str)>, Error> {
    Ok(match model.split_once('/') {
        Some(("", _) | (_, "")) => return Err(bad_form(model)),
        // `openrouter/auto` is an id of OpenRouter itself; `openrouter/openai/gpt-…` only names the way.
        Some((OPENROUTER, rest)) if !rest.contains('/') => {
            config.provider(OPENROUTER).map(|found| (found, model))
        }
        Some((prefix, rest)) => config.provider(prefix).map(|provider| (provider, rest)),
        None if model.is_empty() => return Err(bad_form(model)),
        None if own => {
            let owner = of_bare_name(model).ok_or_else(|| {
                Error::invalid(
                    "model",
                    format!("Cannot tell whose model `{}` is. Write it as `provider/model`.", shown(model)),
                )
            })?;
            config.provider(owner).map(|provider| (provider, model))
        }
        None => None,
    })
}

/// The first credential that the gateway itself has for a provider, and whose it is.
///
/// Errors: 500 for a binding that cannot be opened.
pub fn stored(
    config: &Config,
    provider: &Provider,
    bindings: &Bindings,
) -> Result<Option<(Option<Secret>, CredentialSource)>, Error> {
    if let Some((credential, source)) = bindings.credential(&provider.name, &config.master_keys)? {
        return Ok(Some((Some(credential), source)));
    }
    Ok(match &provider.key {
        Some(key) => Some((Some(key.clone()), CredentialSource::Deployment)),
        None => provider.keyless.then_some((None, CredentialSource::None)),
    })
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

fn no_embeddings(provider: &Provider) -> Error {
    Error::invalid(
        "model",
        format!("The provider `{}` has no embeddings. Use a model of another provider.", provider.name),
    )
    .with_code("unsupported_operation")
}

fn no_address(provider: &Provider, variable: &str) -> Error {
    Error::invalid(
        "model",
        format!(
            "The gateway does not know where the provider `{}` is. Its operator has to set the variable {variable}.",
            provider.name
        ),
    )
    .with_code("no_route")
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
