//! The ledger's way from a request to D1: rows wait in the isolate's memory, and whoever is alive writes them.
//!
//! Invariant: no request waits for the ledger; a row is in the outbox until D1 has taken it, whichever request carries it
//! there, because a request that ends early takes only its own work with it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use serde_json::json;
use worker::Env;

use super::border::{now, within};
use super::budgets::{self, Promise};
use super::{d1_ledger, gateway_worker, log, spans};
use crate::budget::{Owner, Use};
use crate::error::Error;
use crate::ledger::MemoryCost;
use crate::ledger::row::Row;
use crate::ledger::write;
use crate::outbox::{Batch, Outbox};
use crate::turn::Usage;

/// Some two megabytes of an isolate's 128.
const CAPACITY: usize = 2_000;
/// Rows in one statement; some hundred kilobytes of the two megabytes that a value may have.
const BATCH: usize = 200;
/// Longer than the platform lets a request's work go on behind its answer.
const LEASE_MS: u64 = 35_000;
/// How long a row waits for others to be written with it, in milliseconds: a call of D1 costs as much as the rest of a
/// short request. A request that ends sooner has one row written instead of two; what an isolate that dies takes with it
/// is no older.
pub const GATHER_MS: u32 = 100;
/// How long a request tries to get its row written: the platform ends its work 30 s after the answer.
const PATIENCE_MS: u64 = 25_000;
/// Between two tries.
const LONGEST_WAIT_MS: u32 = 1_000;
/// How often an isolate looks for lost rows, hours to sum and rows that are too old.
const UPKEEP_EVERY_MS: u64 = 60_000;

thread_local! {
    static OUTBOX: RefCell<Outbox<Row>> = const { RefCell::new(Outbox::new(CAPACITY, BATCH, LEASE_MS)) };
    /// What the memory's budget promised to calls that are being made, by their ids.
    static MEMORY_PROMISES: RefCell<HashMap<String, Promise>> = RefCell::new(HashMap::new());
    static UPKEEP_AT: Cell<u64> = const { Cell::new(0) };
}

/// Asks the budget of a project's memory for a call of a model, which [`record_memory`] is told of afterwards by the same
/// `id`. Errors: 402; then the call must not be made.
pub async fn admit_memory(
    env: &Env,
    id: &str,
    project: &str,
    provider: &str,
    model: &str,
    estimate: &Usage,
) -> Result<(), Error> {
    let config = gateway_worker::config(env)?;
    let Some(budget) = config.memory_budget else { return Ok(()) };
    let wanted = Use {
        model,
        tokens: estimate.input.saturating_add(estimate.output),
        cost: config.prices.cost(provider, model, estimate),
    };
    let promise = budgets::admit(env, Owner::Memory(project), budget, wanted).await?;
    MEMORY_PROMISES.with_borrow_mut(|promises| promises.insert(id.to_owned(), promise));
    Ok(())
}

/// Records a call of a model that memory made for itself. Waits until it is written, or for [`PATIENCE_MS`]: it stays
/// in the isolate's memory then, and the next request or alarm writes it.
pub async fn record_memory(env: &Env, cost: MemoryCost) {
    let Ok(config) = gateway_worker::config(env) else { return };
    let row = Row::of_memory(cost, &config.prices);
    let exported = spans::record(&config, &row, None);
    let recorded = async {
        if config.ledger {
            record(env, row.clone(), 0).await;
            keep_up(env).await;
        }
    };
    let promise = MEMORY_PROMISES.with_borrow_mut(|promises| promises.remove(&row.id));
    let tokens = row.usage.input.saturating_add(row.usage.output);
    let kept = async {
        if let Some(promise) = promise {
            budgets::settle(env, promise, tokens, row.cost).await;
        }
    };
    futures::future::join3(exported, recorded, kept).await;
}

/// Records a row after `wait` milliseconds, in which others may come to be written with it; waits until it is written, or
/// somebody else is to write it.
pub async fn record(env: &Env, row: Row, mut wait: u32) {
    let id = row.id.clone();
    let is_writer = OUTBOX.with_borrow_mut(|outbox| {
        outbox.push(row);
        wait == 0 || outbox.gather(now(), u64::from(wait))
    });
    if !is_writer {
        return;
    }
    let until = now() + PATIENCE_MS;
    let mut failed = false;
    loop {
        if wait > 0 {
            within(wait, std::future::pending::<()>()).await;
        }
        // Whoever has taken a batch sees to it that it is written.
        while let Some(batch) = OUTBOX.with_borrow_mut(|outbox| outbox.take(now())) {
            failed = !write_batch(env, batch).await;
            if failed {
                break;
            }
        }
        // What came meanwhile has a writer of its own, but for a failure's.
        let is_left =
            OUTBOX.with_borrow(|outbox| if failed { outbox.has_waiting() } else { outbox.waits(&id) });
        if !is_left || now() >= until {
            return;
        }
        // Work of another request cannot wake this one: the runtime ties every promise to the request that made it.
        wait = (wait * 2).clamp(GATHER_MS, LONGEST_WAIT_MS);
    }
}

/// Closes lost rows, sums hours that are over, deletes what is too old; at most once a minute in an isolate.
pub async fn keep_up(env: &Env) {
    let Ok(config) = gateway_worker::config(env) else { return };
    let at = now();
    if !config.ledger || UPKEEP_AT.get() > at {
        return;
    }
    UPKEEP_AT.set(at + UPKEEP_EVERY_MS);
    let mut statements = vec![write::sweep(at.saturating_sub(config.pending_turn_ttl_ms))];
    statements.extend(write::sums(at));
    statements.push(write::expire(at, config.ledger_retention_ms));
    if let Err(error) = d1_ledger::run(env, statements).await {
        log::event("ledger_upkeep_failed", json!({ "error": error.to_string() }));
    }
}

async fn write_batch(env: &Env, batch: Batch<Row>) -> bool {
    let written = d1_ledger::run(env, write::rows(&batch.entries)).await;
    let (waiting, dropped) = OUTBOX.with_borrow_mut(|outbox| {
        outbox.settle(batch.number, written.is_ok());
        (outbox.len(), outbox.take_dropped())
    });
    if let Err(error) = &written {
        log::event("ledger_write_failed", json!({ "error": error.to_string(), "waiting": waiting }));
    }
    if dropped > 0 {
        log::event("ledger_rows_dropped", json!({ "rows": dropped }));
    }
    written.is_ok()
}
