//! The index across threads in D1: which threads and resources a project has.
//!
//! Invariant: an index, not the truth. Rows are written over by later ones of the same thread and can always be written
//! again from the objects.

use worker::{D1Type, Env};

use crate::memory::store::Thread;

/// Tells the index of a thread.
pub async fn record(env: &Env, thread: &Thread) -> worker::Result<()> {
    let database = env.d1("DB")?;
    // Numbers cross as doubles: D1's own integer type has 32 bits.
    let (created, updated) = (D1Type::Real(thread.created_at as f64), D1Type::Real(thread.updated_at as f64));
    let (project, id) = (D1Type::Text(&thread.project), D1Type::Text(&thread.id));
    let resource = D1Type::Text(&thread.resource);
    database
        .batch(vec![
            database
                .prepare(
                    "INSERT INTO resources (project_id, id, created_at, updated_at) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT DO UPDATE SET updated_at = max(updated_at, excluded.updated_at)",
                )
                .bind_refs(&[project, resource, created, updated])?,
            database
                .prepare(
                    "INSERT INTO threads (project_id, id, resource_id, created_at, updated_at)
                     VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT DO UPDATE SET updated_at = max(updated_at, excluded.updated_at)",
                )
                .bind_refs(&[
                    D1Type::Text(&thread.project),
                    id,
                    D1Type::Text(&thread.resource),
                    D1Type::Real(thread.created_at as f64),
                    D1Type::Real(thread.updated_at as f64),
                ])?,
        ])
        .await?;
    Ok(())
}
