//! The isolate's purses, and their way to the objects that keep the books.
//!
//! Invariant: a request waits for a budget's object only when the isolate has drawn nothing ahead, and never for longer than
//! [`PATIENCE_MS`]; what was promised is settled with what was used, also where nobody could check it before.

use std::cell::RefCell;
use std::collections::HashMap;

use serde_json::json;
use wasm_bindgen::JsValue;
use worker::{Env, Method, Request, RequestInit};

use super::border::{now, random_id, within};
use super::log;
use crate::budget::books::{DRAW, Draw, Grant};
use crate::budget::purse::{Admission, Purse};
use crate::budget::{Budget, Owner, Unit, Use};
use crate::error::Error;

/// How long a request waits for a budget's object before it goes on unchecked.
const PATIENCE_MS: u64 = 2_000;
/// Between two looks at a purse for which another request asks.
const WAIT_MS: u32 = 5;
/// After a question that failed.
const RETRY_MS: u32 = 50;
/// Between two looks at whether there is something to tell, and for how long the platform lets a request look.
const TELL_EVERY_MS: u32 = 500;
const TELLING_MS: u64 = 20_000;
/// Purses beyond this number are dropped when they hold nothing.
const PURSES: usize = 1_000;

thread_local! {
    static PURSES_BY_OBJECT: RefCell<HashMap<String, Held>> = RefCell::new(HashMap::new());
    static ISOLATE: String = random_id("");
}

#[derive(Default)]
struct Held {
    purse: Purse,
    /// A request that settled tells the books of everybody's.
    is_told: bool,
}

/// A promise of a budget to a request.
pub struct Promise {
    object: String,
    budget: Budget,
    amount: u64,
}

/// Asks a budget for what a request may use. Errors: 402.
pub async fn admit(env: &Env, owner: Owner<'_>, budget: Budget, wanted: Use<'_>) -> Result<Promise, Error> {
    let amount = budget.share(owner, wanted)?;
    let object = owner.object_name();
    reserve(env, owner, budget, &object, amount).await?;
    Ok(Promise { object, budget, amount })
}

/// Asks a budget for what is missing of a promise, where a request turns out to need more than it was made for. Errors:
/// 402; then the promise is what it was, and is still to be settled.
pub async fn raise(env: &Env, owner: Owner<'_>, promise: &mut Promise, wanted: Use<'_>) -> Result<(), Error> {
    let amount = promise.budget.share(owner, wanted)?;
    let missing = amount.saturating_sub(promise.amount);
    if missing > 0 {
        reserve(env, owner, promise.budget, &promise.object, missing).await?;
        promise.amount = amount;
    }
    Ok(())
}

async fn reserve(
    env: &Env,
    owner: Owner<'_>,
    budget: Budget,
    object: &str,
    amount: u64,
) -> Result<(), Error> {
    with(object, |held| held.purse.queue(amount));
    let until = now() + PATIENCE_MS;
    let admitted = loop {
        match with(object, |held| held.purse.admit(amount, now())) {
            Admission::Promised => break Ok(()),
            Admission::Spent { left } => break Err(budget.exceeded(owner, left, now())),
            Admission::Unknown if now() >= until => {
                log::event("budget_unchecked", json!({ "object": object }));
                with(object, |held| held.purse.promise(amount, now()));
                break Ok(());
            }
            Admission::Unknown => match next_report(object, budget) {
                Some(draw) => {
                    let left = until.saturating_sub(now()).max(1);
                    let asked = within(u32::try_from(left).unwrap_or(u32::MAX), tell(env, object, draw));
                    if asked.await != Some(true) {
                        within(RETRY_MS, std::future::pending::<()>()).await;
                    }
                }
                None => drop(within(WAIT_MS, std::future::pending::<()>()).await),
            },
        }
    };
    with(object, |held| held.purse.unqueue(amount));
    admitted
}

/// Tells the books of what was promised, should the answer take long. Its work ends with the request, which then settles.
pub async fn watch(env: &Env, object: &str, budget: Budget) {
    tell_in_time(env, object, budget).await;
}

/// Keeps a promise: the request used this. A cost that is unknown by now uses nothing of a budget in money.
pub async fn settle(env: &Env, promise: Promise, tokens: u64, cost: Option<u64>) {
    let Promise { object, budget, amount } = promise;
    let used = match budget.unit {
        Unit::Tokens => tokens,
        Unit::Money => cost.unwrap_or(0),
    };
    // One that settles tells for all: its work goes on until the books know.
    let tells = with(&object, |held| {
        held.purse.settle(amount, used, now());
        !std::mem::replace(&mut held.is_told, true)
    });
    if tells {
        tell_in_time(env, &object, budget).await;
        with(&object, |held| held.is_told = false);
    }
}

impl Promise {
    /// The object of the budget.
    pub fn object(&self) -> &str {
        &self.object
    }
}

/// Tells the books until they know everything, a second after there is something to tell; for as long as [`TELLING_MS`].
async fn tell_in_time(env: &Env, object: &str, budget: Budget) {
    let until = now() + TELLING_MS;
    while with(object, |held| held.purse.has_untold()) && now() < until {
        within(TELL_EVERY_MS, std::future::pending::<()>()).await;
        if with(object, |held| held.purse.should_tell(now()))
            && let Some(draw) = next_report(object, budget)
        {
            tell(env, object, draw).await;
        }
    }
}

fn next_report(object: &str, budget: Budget) -> Option<Draw> {
    with(object, |held| ISOLATE.with(|isolate| held.purse.report(budget, isolate, now())))
}

async fn tell(env: &Env, object: &str, draw: Draw) -> bool {
    let answer = call(env, object, &draw).await;
    with(object, |held| match &answer {
        Ok(grant) => held.purse.answered(&draw, *grant, now()),
        Err(_) => held.purse.failed(&draw),
    });
    if let Err(error) = &answer {
        log::event("budget_unreachable", json!({ "object": object, "error": error.to_string() }));
    }
    answer.is_ok()
}

async fn call(env: &Env, object: &str, draw: &Draw) -> worker::Result<Grant> {
    let mut init = RequestInit::new();
    init.with_method(Method::Post).with_body(Some(JsValue::from_str(&serde_json::to_string(draw)?)));
    let message = Request::new_with_init(&format!("https://budget{DRAW}"), &init)?;
    let mut answer = env.durable_object("BUDGETS")?.get_by_name(object)?.fetch_with_request(message).await?;
    if answer.status_code() != 200 {
        return Err(format!("the budget's object answered {}", answer.status_code()).into());
    }
    Ok(serde_json::from_slice(&answer.bytes().await?)?)
}

fn with<T>(object: &str, work: impl FnOnce(&mut Held) -> T) -> T {
    PURSES_BY_OBJECT.with_borrow_mut(|purses| {
        if !purses.contains_key(object) && purses.len() >= PURSES {
            purses.retain(|_, held| !held.purse.is_idle(now()));
        }
        work(purses.entry(object.to_owned()).or_default())
    })
}
