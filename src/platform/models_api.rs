//! The models API: asks every provider that the deployment has a credential for, and keeps the answer for a while.
//!
//! Invariant: one provider that does not answer hides its own models and no other's.

use std::cell::RefCell;

use futures::future::join_all;
use serde_json::json;
use wasm_bindgen::{JsCast, JsValue};

use super::border::{Sent, now, send, settled, within};
use super::gateway_worker::{Incoming, json_answer};
use super::inference::authenticate;
use super::log;
use super::upstream::USER_AGENT;
use crate::cache::ExpiringCache;
use crate::error::{Error, Kind};
use crate::models::{Model, anthropic_list, anthropic_model, merged, openai_list, openai_model, read_list};
use crate::providers::{OPENROUTER, Provider};
use crate::reply::Lines;

/// How long a list is good for.
const KEPT_MS: u64 = 300_000;
/// How long a list is good for that lacks a provider's.
const KEPT_INCOMPLETE_MS: u64 = 10_000;
/// How long a provider has to give its list.
const TIMEOUT_MS: u32 = 5_000;

thread_local! {
    static LIST: RefCell<ExpiringCache<(), Vec<Model>>> = RefCell::new(ExpiringCache::new(1));
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
    let models = models(incoming).await?;
    let model = models.iter().find(|model| model.id == id).ok_or_else(|| {
        Error::not_found("No such model among those that the gateway reaches. GET /v1/models lists them.")
    })?;
    json_answer(incoming, &if is_anthropic(incoming) { anthropic_model(model) } else { openai_model(model) })
}

fn is_anthropic(incoming: &Incoming) -> bool {
    incoming.headers().get("anthropic-version").is_some()
}

async fn models(incoming: &Incoming) -> Result<Vec<Model>, Error> {
    authenticate(incoming).await?;
    if let Some(known) = LIST.with_borrow(|list| list.get(&(), now()).cloned()) {
        return Ok(known);
    }
    let reached: Vec<&Provider> = incoming
        .config
        .providers
        .iter()
        .filter(|provider| provider.is_reached() && provider.listed)
        .collect();
    let client = incoming.request.signal();
    let answers = join_all(reached.iter().map(|provider| ask(provider, &client))).await;
    let (mut direct, mut routed, mut missing) = (Vec::new(), Vec::new(), 0);
    for (provider, answer) in reached.iter().zip(answers) {
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
        let found = incoming.config.provider(prefix);
        found.is_some_and(|provider| provider.name != OPENROUTER && provider.is_reached())
    };
    let models = merged(direct, routed, is_direct);
    let kept = if missing == 0 { KEPT_MS } else { KEPT_INCOMPLETE_MS };
    LIST.with_borrow_mut(|list| list.put((), models.clone(), now(), kept));
    Ok(models)
}

async fn ask(provider: &Provider, client: &web_sys::AbortSignal) -> Option<Vec<u8>> {
    let mut lines = Lines::default();
    lines.add("user-agent", USER_AGENT);
    for (name, value) in provider.list_headers() {
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
    let Some(Ok(buffer)) = within(TIMEOUT_MS, settled(sent.answer().array_buffer())).await else {
        sent.controller().abort();
        return None;
    };
    Some(js_sys::Uint8Array::new(&buffer).to_vec())
}
