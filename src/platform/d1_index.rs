//! The index across threads in D1: which threads and resources a project has.
//!
//! Invariant: an index, not the truth. Rows are written over by later ones of the same thread and can always be written
//! again from the objects.

use futures::future::try_join;
use serde::Deserialize;
use serde_json::Value;
use worker::{D1Type, Env};

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

/// The threads of a resource, the latest used first, at most `limit`; and how many there are.
pub async fn threads_of(
    env: &Env,
    project: &str,
    resource: &str,
    limit: u32,
) -> worker::Result<(Vec<String>, u64)> {
    #[derive(Deserialize)]
    struct Row {
        id: String,
        total: f64,
    }
    let key = [D1Type::Text(project), D1Type::Text(resource), D1Type::Real(f64::from(limit))];
    let rows: Vec<Row> = env
        .d1("DB")?
        .prepare(
            "SELECT id, count(*) OVER () AS total FROM threads WHERE project_id = ?1 AND resource_id = ?2
             ORDER BY updated_at DESC, id LIMIT ?3",
        )
        .bind_refs(&key)?
        .all()
        .await?
        .results()?;
    let total = rows.first().map_or(0, |row| row.total as u64);
    Ok((rows.into_iter().map(|row| row.id).collect(), total))
}
