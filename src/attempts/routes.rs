//! The routes of a request, in the order in which they are asked.
//!
//! Invariant: the caller's own credential is never replaced by a stored one, and what is bound to a project never by the
//! deployment's own: nobody pays for another's request because a provider failed.

use std::collections::BTreeMap;

use crate::bindings::Bindings;
use crate::body::Body;
use crate::config::Config;
use crate::error::Error;
use crate::keys::Secret;
use crate::operation::Operation;
use crate::route::{CredentialSource, Route, route};

/// How many models a request may name.
pub const MOST_MODELS: usize = 8;

/// The models that a request names, each once: `model`, and those to fall back on in `models`, as OpenRouter has them:
/// <https://openrouter.ai/docs/guides/routing/model-fallbacks>. A name among the project's `aliases` stands for those behind
/// it. Errors: 400.
pub fn models(body: &Body<'_>, aliases: &BTreeMap<String, Vec<String>>) -> Result<Vec<String>, Error> {
    let mut models: Vec<String> = Vec::new();
    let mut add = |named: String| {
        let meant = aliases.get(&named).cloned().unwrap_or_else(|| vec![named]);
        for model in meant {
            if !models.contains(&model) {
                models.push(model);
            }
        }
    };
    body.string("model")?.into_iter().map(Into::into).for_each(&mut add);
    for entry in body.array("models")?.unwrap_or_default() {
        let model: String = serde_json::from_str(entry.get())
            .map_err(|_| Error::invalid("models", "The field `models` must be a list of model ids."))?;
        add(model);
    }
    if models.is_empty() {
        return Err(Error::invalid("model", "The field `model` is missing. Write it as `provider/model`."));
    }
    if models.len() > MOST_MODELS {
        return Err(Error::invalid(
            "models",
            format!(
                "The request names {} models, those behind aliases included; {MOST_MODELS} is the most. Name fewer.",
                models.len()
            ),
        ));
    }
    Ok(models)
}

/// The routes to these models. The first must exist; a model to fall back on that nobody can reach is passed over, and so
/// is one of another provider where the caller's own credential is used: it belongs to one provider. Errors: as for one
/// route.
pub fn routes<'a>(
    config: &'a Config,
    operation: Operation,
    models: &[String],
    own: Option<&Secret>,
    bindings: &Bindings,
) -> Result<Vec<Route<'a>>, Error> {
    let mut routes: Vec<Route<'a>> = Vec::new();
    for model in models {
        let found = match route(config, operation, model, own, bindings) {
            Ok(found) => found,
            Err(error) if routes.is_empty() => return Err(error),
            Err(_) => continue,
        };
        let is_foreign =
            own.is_some() && routes.first().is_some_and(|first| first.provider.name != found.provider.name);
        if is_foreign {
            continue;
        }
        routes.extend(with_next_binding(config, found, bindings)?);
    }
    Ok(routes)
}

/// A route, and behind it the same with the project's credential where it goes with the gateway key's own. Errors: 500 for
/// a binding that cannot be opened.
pub fn with_next_binding<'a>(
    config: &Config,
    first: Route<'a>,
    bindings: &Bindings,
) -> Result<Vec<Route<'a>>, Error> {
    let next = match first.source {
        CredentialSource::Key => bindings.of_project(&first.provider.name, &config.master_keys)?,
        _ => None,
    };
    let next = next.map(|credential| Route {
        credential: Some(credential),
        source: CredentialSource::Project,
        ..first.clone()
    });
    Ok(std::iter::once(first).chain(next).collect())
}
