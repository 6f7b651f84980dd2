//! The Worker's side of the counting of requests: an isolate's leases, and the asking of the objects that give them.
//!
//! Invariant: a request waits for the object only where the lease has nothing left; the object's failure is never the
//! request's.

use std::cell::RefCell;

use serde_json::json;
use wasm_bindgen::JsValue;
use worker::{Context, Env, Method, Request, RequestInit};

use super::border::{now, random_id, within};
use super::key_object::ASK;
use super::log;
use crate::error::Error;
use crate::keys::Principal;
use crate::limits::leases::{ASK_MS, Leases, Taken};
use crate::limits::{Answer, Ask, Limits, Refusal, Scope, Standing};

thread_local! {
    /// Made with the first request: an isolate has no randomness before.
    static LEASES: RefCell<Option<Leases>> = const { RefCell::new(None) };
}

/// Why a request is not let in.
pub enum Stopped {
    /// Over the limit.
    Over(Refusal),
    /// Nobody can count, and what may go without is used up.
    Uncounted(Error),
}

/// Lets a request of a key in, or not. `fault` makes the object misbehave, where the build allows it.
pub async fn admit(
    env: &Env,
    context: &Context,
    principal: &Principal,
    scope: Scope,
    limits: Limits,
    fault: Option<String>,
) -> Result<Standing, Stopped> {
    let key = principal.key_id.as_str();
    match leases(|leases| leases.take(key, scope, limits, now())) {
        Taken::Refused(refusal) => Err(Stopped::Over(refusal)),
        Taken::Uncounted(error) => Err(Stopped::Uncounted(error)),
        Taken::Admitted(standing, None) => Ok(standing),
        Taken::Admitted(standing, Some(ask)) => {
            let (env, principal) = (env.clone(), principal.clone());
            context.wait_until(async move {
                drop(asked(&env, &principal, &ask, fault).await);
            });
            Ok(standing)
        }
        Taken::Asking(ask) => asked(env, principal, &ask, fault).await,
    }
}

async fn asked(
    env: &Env,
    principal: &Principal,
    ask: &Ask,
    fault: Option<String>,
) -> Result<Standing, Stopped> {
    let key = principal.key_id.as_str();
    let asked_at = now();
    let ask_ms = u32::try_from(ASK_MS).unwrap_or(u32::MAX);
    let reason = match within(ask_ms, call(env, principal, ask, fault)).await {
        Some(Ok(answer)) => {
            let known = leases(|leases| leases.answered(key, ask, answer, asked_at, now()));
            return known.map_err(Stopped::Over);
        }
        Some(Err(error)) => error.to_string(),
        None => format!("no answer within {ask_ms} ms"),
    };
    log::event("limits_unreachable", json!({ "key": key, "reason": reason }));
    leases(|leases| leases.unanswered(key, ask, now())).map_err(Stopped::Uncounted)
}

fn leases<T>(work: impl FnOnce(&mut Leases) -> T) -> T {
    LEASES.with_borrow_mut(|leases| work(leases.get_or_insert_with(|| Leases::new(random_id("")))))
}

async fn call(env: &Env, principal: &Principal, ask: &Ask, fault: Option<String>) -> worker::Result<Answer> {
    let mut init = RequestInit::new();
    init.with_method(Method::Post).with_body(Some(JsValue::from_str(&serde_json::to_string(ask)?)));
    let message = Request::new_with_init(&format!("https://key{ASK}"), &init)?;
    if let Some(fault) = fault {
        message.headers().set("x-fault", &fault)?;
    }
    let stub = env.durable_object("KEYS")?.get_by_name(&principal.key_object_name())?;
    let mut answer = stub.fetch_with_request(message).await?;
    if answer.status_code() != 200 {
        return Err(format!("the key's object answered {}", answer.status_code()).into());
    }
    Ok(serde_json::from_slice(&answer.bytes().await?)?)
}
