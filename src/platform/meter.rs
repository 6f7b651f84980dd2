//! What is measured of one request: its account, and where the account goes when the end is known.
//!
//! Invariant: an account is settled once, by whoever learns of the end first; from then on the meter is deaf.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::channel::oneshot::{self, Receiver};
use futures::future::{FutureExt, LocalBoxFuture, join_all, join3};
use futures::stream::StreamExt;
use worker::Env;

use super::border::{now, random_id, within};
use super::budgets::{self, Promise};
use super::gateway_worker::Incoming;
use super::unwind::caught;
use super::{ledger, log, spans};
use crate::body::Body;
use crate::budget::{Budget, Owner, Use};
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
use crate::turn::Usage;

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
    /// What the promises were made for.
    expected: Cell<Usage>,
    /// The ids of the messages that the turn stores, once they are known.
    message_ids: RefCell<Option<Receiver<Vec<String>>>>,
    /// Goes to [`Beside`].
    beside: UnboundedSender<LocalBoxFuture<'static, ()>>,
    /// Dropped when the account is settled.
    open: RefCell<Vec<oneshot::Sender<()>>>,
}

/// What a meter has to do beside the request. It belongs to the request's own work: when that ends the runtime wakes nothing
/// any more that the request waited for, and what then still waits is never let go.
pub struct Beside(UnboundedReceiver<LocalBoxFuture<'static, ()>>);

impl Beside {
    /// Does all of it; until it is done, and nobody has the meter any more.
    pub async fn run(self) {
        self.0.for_each_concurrent(None, |work| caught(work).map(drop)).await;
    }
}

impl Meter {
    /// The meter of a request that came at `started`, of a key that is known, and what is to be run beside the request. Tells
    /// `metered` that the request's line in the log is the meter's to write.
    pub fn open(
        incoming: &Incoming,
        principal: &Principal,
        operation: Operation,
        started: u64,
        metered: &Cell<bool>,
    ) -> (Self, Beside) {
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
        let (beside, work) = unbounded();
        let meter = Meter(Rc::new(Inner {
            env: incoming.env.clone(),
            config: incoming.config.clone(),
            parent,
            principal: principal.clone(),
            account: RefCell::new(Some(account)),
            promises: RefCell::default(),
            expected: Cell::default(),
            message_ids: RefCell::default(),
            beside,
            open: RefCell::default(),
        }));
        (meter, Beside(work))
    }

    /// True when answers are watched for what they use: for the ledger, or for a budget that would never be spent otherwise.
    pub fn counts(&self) -> bool {
        self.0.config.ledger || self.budgets().next().is_some()
    }

    /// Adds to the account, until it is settled.
    pub fn note(&self, add: impl FnOnce(&mut Account)) {
        if let Some(account) = self.0.account.borrow_mut().as_mut() {
            add(account);
        }
    }

    /// Asks the budgets of the key and of its project for what the request may use. Errors: 402.
    pub async fn admit(&self, route: &Route<'_>, operation: Operation, bytes: &[u8]) -> Result<(), Error> {
        let Inner { env, promises, expected, .. } = &*self.0;
        if self.budgets().next().is_none() {
            return Ok(());
        }
        let body = Body::parse(bytes)?;
        let usage = estimate::usage_of(operation, &body, bytes);
        expected.set(usage);
        let wanted = self.share(route, &usage);
        for (owner, budget) in self.budgets() {
            let promise = budgets::admit(env, owner, budget, wanted).await?;
            let (env, object) = (env.clone(), promise.object().to_owned());
            self.beside(async move { budgets::watch(&env, &object, budget).await });
            promises.borrow_mut().push(promise);
        }
        Ok(())
    }

    /// Asks them for what is missing, once it is known what goes to the provider: what is remembered, and the responses
    /// that a request builds on, make a prompt longer than its request. Errors: 402.
    pub async fn admit_prompt(&self, route: &Route<'_>, bytes: &[u8]) -> Result<(), Error> {
        let Inner { env, promises, expected, .. } = &*self.0;
        let mut held = promises.take();
        if held.is_empty() {
            return Ok(());
        }
        let usage = Usage { input: estimate::input_of(bytes), ..expected.get() };
        let wanted = self.share(route, &usage);
        let mut outcome = Ok(());
        for (promise, (owner, _)) in held.iter_mut().zip(self.budgets()) {
            outcome = budgets::raise(env, owner, promise, wanted).await;
            if outcome.is_err() {
                break;
            }
        }
        promises.replace(held);
        outcome
    }

    /// The budgets that the request is under, in the order in which they are asked.
    fn budgets(&self) -> impl Iterator<Item = (Owner<'_>, Budget)> {
        let Inner { config, principal, .. } = &*self.0;
        [
            (Owner::Key(&principal.key_id), principal.grant.budget.or(config.key_budget)),
            (Owner::Project(&principal.project), principal.budget.or(config.project_budget)),
        ]
        .into_iter()
        .filter_map(|(owner, budget)| Some((owner, budget?)))
    }

    fn share<'a>(&self, route: &'a Route<'_>, usage: &Usage) -> Use<'a> {
        Use {
            model: &route.model,
            tokens: usage.input.saturating_add(usage.output),
            cost: self.0.config.prices.cost(&route.provider.name, &route.model, usage),
        }
    }

    /// The request goes to the provider now. A request that is still under way a moment later has its open row written.
    pub fn send(&self, body: &[u8]) {
        if !self.counts() {
            return;
        }
        self.note(|account| account.send(body.to_vec()));
        if !self.0.config.ledger {
            return;
        }
        let meter = self.clone();
        let (open, settled) = oneshot::channel();
        self.0.open.borrow_mut().push(open);
        self.beside(async move {
            if within(ledger::GATHER_MS, settled).await.is_some() {
                return;
            }
            let Inner { env, config, account, .. } = &*meter.0;
            let draft = account.borrow().as_ref().map(|account| account.draft(&config.prices));
            if let Some(draft) = draft {
                ledger::record(env, draft, 0).await;
            }
        });
    }

    /// The turn's messages are being stored; their ids will come from there.
    pub fn expect_messages(&self, message_ids: Receiver<Vec<String>>) {
        self.0.message_ids.replace(Some(message_ids));
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
        self.settle(|account, config| account.passed(status, now(), &config.prices)).await;
    }

    fn beside(&self, work: impl Future<Output = ()> + 'static) {
        // Nobody is there to do it only where the request's own work has ended.
        let _ = self.0.beside.unbounded_send(Box::pin(work));
    }

    async fn settle(&self, row: impl FnOnce(Account, &Config) -> Row) {
        if let Some(account) = self.0.account.take() {
            self.0.open.take();
            self.book(row(account, &self.0.config)).await;
        }
    }

    /// Sends a row wherever rows go.
    fn book(&self, row: Row) -> LocalBoxFuture<'_, ()> {
        Box::pin(async move {
            let Inner { env, config, parent, promises, .. } = &*self.0;
            log::event("request", row.log_line());
            let exported = spans::record(config, &row, parent.as_ref());
            let recorded = async {
                if config.ledger {
                    let row = Row { message_ids: self.message_ids().await, ..row.clone() };
                    ledger::record(env, row, ledger::GATHER_MS).await;
                    ledger::keep_up(env).await;
                }
            };
            let tokens = row.usage.input.saturating_add(row.usage.output).saturating_add(row.failed_tokens);
            let settle = |promise| budgets::settle(env, promise, tokens, row.cost);
            let kept = join_all(promises.take().into_iter().map(settle));
            join3(exported, recorded, kept).await;
        })
    }

    /// The ids of the messages that the turn stored; none where the store takes longer than it may to begin a turn.
    async fn message_ids(&self) -> Vec<String> {
        let Some(expected) = self.0.message_ids.take() else { return Vec::new() };
        within(self.0.config.memory_deadline_ms, expected).await.and_then(Result::ok).unwrap_or_default()
    }
}
