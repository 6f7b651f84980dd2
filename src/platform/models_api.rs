//! The models API: asks every provider that the gateway has a credential for on the caller's behalf, and keeps the answer
//! for a while.
//!
//! Invariant: one provider that does not answer hides its own models and no other's.

use std::cell::RefCell;

use futures::future::join_all;
use serde_json::json;
use wasm_bindgen::{JsCast, JsValue};

use super::border::{Sent, now, send, settled, whole_body};
use super::gateway_worker::{Incoming, json_answer};
use super::log;
use super::upstream::{USER_AGENT, client_gone};
use crate::bindings::Bindings;
use crate::cache::ExpiringCache;
use crate::error::{Error, Kind};
use crate::headers::Headers;
use crate::keys::{Principal, Secret};
use crate::models::{
    Model, anthropic_list, anthropic_model, merged, named_by_project, openai_list, openai_model, read_list,
};
use crate::providers::{OPENROUTER, Provider};
use crate::reply::Lines;
use crate::route::{CredentialSource, stored};

/// How long a list is good for.
const KEPT_MS: u64 = 300_000;
/// How long a list is good for that lacks a provider's.
const KEPT_INCOMPLETE_MS: u64 = 10_000;
/// How long a provider has to give its list.
const TIMEOUT_MS: u32 = 5_000;
/// The longest list of one provider, in bytes: the longest there is has a thousand models in one megabyte.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// A list has some hundred models; together they are a few megabytes of an isolate's 128.
const CAPACITY: usize = 32;

thread_local! {
    /// By the bindings that the list is made with.
    static LISTS: RefCell<ExpiringCache<[u8; 32], Vec<Model>>> = RefCell::new(ExpiringCache::new(CAPACITY));
}

/// `GET /v1/models`, in the shape of OpenAI's API, or of Anthropic's for its clients.
pub async fn list(incoming: &Incoming) -> Result<web_sys::Response, Error> {
    let models = models(incoming).await?;
    json_answer(
        incoming,
        &if is_anthropic(incoming) { anthropic_list(&models) } else { openai_list(&models) },
    )
}

/// `GET /v1/models/{id}`.
pub async fn one(incoming: &Incoming, id: &str) -> Result<web_sys::Response, Error> {
    let named = named(&incoming.caller()?.principal).into_iter().find(|model| model.id == id);
    let model = match named {
        Some(model) => model,
        None => models(incoming).await?.into_iter().find(|model| model.id == id).ok_or_else(|| {
            Error::not_found("No such model among those that the gateway reaches. GET /v1/models lists them.")
        })?,
    };
    json_answer(
        incoming,
        &if is_anthropic(incoming) { anthropic_model(&model) } else { openai_model(&model) },
    )
}

fn is_anthropic(incoming: &Incoming) -> bool {
    incoming.headers().get("anthropic-version").is_some()
}

/// The models that the caller's key may ask: its project's own names first.
async fn models(incoming: &Incoming) -> Result<Vec<Model>, Error> {
    let principal = &incoming.caller()?.principal;
    let mut models = named(principal);
    let reached = reached_models(incoming, &principal.bindings).await?;
    models.extend(reached.into_iter().filter(|model| principal.grant.allows_model(&model.id)));
    Ok(models)
}

/// The project's own names that the caller's key may ask.
fn named(principal: &Principal) -> Vec<Model> {
    named_by_project(&principal.settings.aliases, |model| principal.grant.allows_model(model)).collect()
}

/// The models that the deployment's credentials and these bindings reach.
async fn reached_models(incoming: &Incoming, bindings: &Bindings) -> Result<Vec<Model>, Error> {
    let config = &incoming.config;
    let key = bindings.digest();
    if let Some(known) = LISTS.with_borrow(|lists| lists.get(&key, now()).cloned()) {
        return Ok(known);
    }
    let is_bound = |provider: &Provider| provider.missing.is_none() && bindings.has(&provider.name);
    let mut reached: Vec<(&Provider, Option<Secret>)> = Vec::new();
    for provider in &config.providers {
        if (provider.listed && provider.is_reached()) || (provider.lists && is_bound(provider)) {
            let (credential, _) =
                stored(config, provider, bindings)?.unwrap_or((None, CredentialSource::None));
            reached.push((provider, credential));
        }
    }
    let client = incoming.request.signal();
    let answers = join_all(reached.iter().map(|(provider, key)| ask(provider, key.as_ref(), &client))).await;
    if client.aborted() {
        // What a provider had no time to say is not missing: nobody else is to be told so.
        return Err(client_gone());
    }
    let (mut direct, mut routed, mut missing) = (Vec::new(), Vec::new(), 0);
    for ((provider, _), answer) in reached.iter().zip(answers) {
        match answer.map(|json| read_list(&provider.name, &json)) {
            Some(list) if provider.name == OPENROUTER => routed = list,
            Some(list) => direct.push(list),
            None => {
                missing += 1;
                log::event("models_unavailable", json!({ "provider": provider.name }));
            }
        }
    }
    if missing > 0 && missing == reached.len() {
        return Err(Error::new(
            Kind::Upstream,
            "No provider gave its list of models. Try again in a few seconds.",
        ));
    }
    let is_direct = |prefix: &str| {
        let found = config.provider(prefix);
        found.is_some_and(|provider| {
            provider.name != OPENROUTER && (provider.is_reached() || is_bound(provider))
        })
    };
    let models = merged(direct, routed, is_direct);
    let kept = if missing == 0 { KEPT_MS } else { KEPT_INCOMPLETE_MS };
    LISTS.with_borrow_mut(|lists| lists.put(key, models.clone(), now(), kept));
    Ok(models)
}

async fn ask(
    provider: &Provider,
    credential: Option<&Secret>,
    client: &web_sys::AbortSignal,
) -> Option<Vec<u8>> {
    let mut lines = Lines::default();
    lines.add("user-agent", USER_AGENT);
    for (name, value) in provider.list_headers(credential) {
        lines.add(name, &value);
    }
    let url = provider.list_url();
    let sent =
        settled(Ok(send("GET", &url, lines.as_str(), &JsValue::UNDEFINED, client, TIMEOUT_MS))).await.ok()?;
    if sent.is_string() {
        return None;
    }
    let sent: Sent = sent.unchecked_into();
    if sent.status() != 200 {
        sent.controller().abort();
        return None;
    }
    let Ok(bytes) =
        whole_body(&sent.answer(), Headers::from_lines(&sent.lines()), MOST_BYTES, TIMEOUT_MS).await
    else {
        sent.controller().abort();
        return None;
    };
    Some(bytes.to_vec())
}
