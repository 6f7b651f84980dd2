//! What is measured of one request: its account, and where the account goes when the end is known.
//!
//! Invariant: an account is settled once, by whoever learns of the end first; from then on the meter is deaf.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use wasm_bindgen_futures::spawn_local;
use worker::Env;

use super::border::{now, random_id};
use super::gateway_worker::Incoming;
use super::{ledger, log, spans};
use crate::carriage::Stopped;
use crate::config::Config;
use crate::error::Error;
use crate::keys::Principal;
use crate::ledger::account::{Account, Opening};
use crate::ledger::row::Row;
use crate::operation::Operation;
use crate::trace::TraceParent;

/// The meter of one request; clones are the same meter.
#[derive(Clone)]
pub struct Meter(Rc<Inner>);

struct Inner {
    env: Env,
    config: Rc<Config>,
    parent: Option<TraceParent>,
    account: RefCell<Option<Account>>,
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
            account: RefCell::new(Some(account)),
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

    /// The request goes to the provider now: opens its row, beside the call.
    pub async fn send(&self, body: &[u8]) {
        if !self.counts() {
            return;
        }
        let open =
            self.0.account.borrow_mut().as_mut().map(|account| account.send(body, &self.0.config.prices));
        if let Some(row) = open {
            let env = self.0.env.clone();
            spawn_local(async move { ledger::record(&env, row).await });
        }
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
        let Inner { env, config, parent, .. } = &*self.0;
        let row = row(account, config);
        log::event("request", row.log_line());
        let exported = spans::record(config, &row, parent.as_ref());
        let recorded = async {
            if config.ledger {
                ledger::record(env, row.clone()).await;
                ledger::keep_up(env).await;
            }
        };
        futures::future::join(exported, recorded).await;
    }
}
