//! The index across threads in D1: which threads and resources a project has.
//!
//! Invariant: an index, not the truth. Rows are written over by later ones of the same thread and can always be written
//! again from the objects.

use futures::future::try_join;
use serde_json::Value;
use worker::Env;

use super::d1_ledger;
use crate::memory::index;
use crate::memory::store::Thread;

/// Tells the index of a thread.
pub async fn record(env: &Env, thread: &Thread) -> worker::Result<()> {
    d1_ledger::run(env, index::record(thread)).await
}

/// A page of threads: `{threads, total}`.
pub async fn list(
    env: &Env,
    project: &str,
    resource: Option<&str>,
    (limit, offset): (u32, u32),
) -> worker::Result<Value> {
    let database = env.d1("DB")?;
    let [page, count] = index::list(project, resource, limit, offset);
    let (page, count) =
        try_join(d1_ledger::read(&database, &page), d1_ledger::read(&database, &count)).await?;
    Ok(index::listed(&page, &count))
}
