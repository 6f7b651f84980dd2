//! What is measured of one request: its account, and where the account goes when the end is known.
//!
//! Invariant: an account is settled once, by whoever learns of the end first; from then on the meter is deaf.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use wasm_bindgen_futures::spawn_local;
use worker::Env;

use super::border::{now, random_id, within};
use super::budgets::{self, Promise};
use super::gateway_worker::Incoming;
use super::{ledger, log, spans};
use crate::body::Body;
use crate::budget::{Owner, Use};
use crate::carriage::Stopped;
use crate::config::Config;
use crate::error::Error;
use crate::keys::Principal;
use crate::ledger::account::{Account, Opening};
use crate::ledger::estimate;
use crate::ledger::row::Row;
use crate::operation::Operation;
use crate::route::Route;
use crate::trace::TraceParent;

/// The meter of one request; clones are the same meter.
#[derive(Clone)]
pub struct Meter(Rc<Inner>);

struct Inner {
    env: Env,
    config: Rc<Config>,
    parent: Option<TraceParent>,
    principal: Principal,
    account: RefCell<Option<Account>>,
    promises: RefCell<Vec<Promise>>,
}

impl Meter {
    /// The meter of a request that came at `started`, of a key that is known. Tells `metered` that the request's line in
    /// the log is the meter's to write.
    pub fn open(
        incoming: &Incoming,
        principal: &Principal,
        operation: Operation,
        started: u64,
        metered: &Cell<bool>,
    ) -> Self {
        metered.set(true);
        let parent = incoming.headers().get("traceparent").and_then(TraceParent::read);
        let account = Account::open(Opening {
            id: random_id(""),
            request_id: incoming.request_id.clone(),
            project: principal.project.clone(),
            key_id: principal.key_id.clone(),
            started_at: started,
            operation,
            trace_id: parent.as_ref().map(|parent| parent.trace_id.clone()),
        });
        Meter(Rc::new(Inner {
            env: incoming.env.clone(),
            config: incoming.config.clone(),
            parent,
            principal: principal.clone(),
            account: RefCell::new(Some(account)),
            promises: RefCell::default(),
        }))
    }

    /// True when answers are watched for what they use.
    pub fn counts(&self) -> bool {
        self.0.config.ledger
    }

    /// Adds to the account, until it is settled.
    pub fn note(&self, add: impl FnOnce(&mut Account)) {
        if let Some(account) = self.0.account.borrow_mut().as_mut() {
            add(account);
        }
    }

    /// Asks the budgets of the key and of its project for what the request may use. Errors: 402.
    pub async fn admit(&self, route: &Route<'_>, operation: Operation, bytes: &[u8]) -> Result<(), Error> {
        let Inner { env, config, principal, promises, .. } = &*self.0;
        let budgets = [
            (Owner::Key(&principal.key_id), principal.grant.budget.or(config.key_budget)),
            (Owner::Project(&principal.project), principal.budget.or(config.project_budget)),
        ];
        if budgets.iter().all(|(_, budget)| budget.is_none()) {
            return Ok(());
        }
        let body = Body::parse(bytes)?;
        let usage = estimate::usage_of(operation, &body, bytes);
        let wanted = Use {
            model: &route.model,
            tokens: usage.input.saturating_add(usage.output),
            cost: config.prices.cost(&route.provider.name, &route.model, &usage),
        };
        for (owner, budget) in budgets {
            let Some(budget) = budget else { continue };
            let promise = budgets::admit(env, owner, budget, wanted).await?;
            let (env, object) = (env.clone(), promise.object().to_owned());
            spawn_local(async move { budgets::watch(&env, &object, budget).await });
            promises.borrow_mut().push(promise);
        }
        Ok(())
    }

    /// The request goes to the provider now. A request that is still under way a moment later has its open row written.
    pub fn send(&self, body: &[u8]) {
        if !self.counts() {
            return;
        }
        self.note(|account| account.send(body.to_vec()));
        let meter = self.clone();
        spawn_local(async move {
            within(ledger::GATHER_MS, std::future::pending::<()>()).await;
            let Inner { env, config, account, .. } = &*meter.0;
            let draft = account.borrow().as_ref().map(|account| account.draft(&config.prices));
            if let Some(draft) = draft {
                ledger::record(env, draft, 0).await;
            }
        });
    }

    /// The client was told of an error in the place of an answer.
    pub async fn refuse(&self, error: &Error) {
        self.settle(|account, config| account.refused(error, now(), &config.prices)).await;
    }

    /// The answer began with this status and stopped like this.
    pub async fn end(&self, status: u16, stopped: Stopped) {
        self.settle(|account, config| account.ended(status, stopped, now(), &config.prices)).await;
    }

    /// The answer goes to the client unseen.
    pub async fn pass(&self, status: u16) {
        self.settle(|account, _| account.passed(status, now())).await;
    }

    async fn settle(&self, row: impl FnOnce(Account, &Config) -> Row) {
        let Some(account) = self.0.account.take() else { return };
        let Inner { env, config, parent, promises, .. } = &*self.0;
        let row = row(account, config);
        log::event("request", row.log_line());
        let exported = spans::record(config, &row, parent.as_ref());
        let recorded = async {
            if config.ledger {
                ledger::record(env, row.clone(), ledger::GATHER_MS).await;
                ledger::keep_up(env).await;
            }
        };
        let tokens = row.usage.input.saturating_add(row.usage.output);
        let kept = promises.take().into_iter().map(|promise| budgets::settle(env, promise, tokens, row.cost));
        futures::future::join3(exported, recorded, futures::future::join_all(kept)).await;
    }
}
