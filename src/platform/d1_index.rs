//! The index across threads in D1: which threads and resources a project has.
//!
//! Invariant: an index, not the truth. Rows are written over by later ones of the same thread and can always be written
//! again from the objects.

use serde::Deserialize;
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

/// Takes a deleted thread out of the index, and its resource once it has no other.
pub async fn remove(env: &Env, project: &str, thread: &str) -> worker::Result<()> {
    let database = env.d1("DB")?;
    let key = [D1Type::Text(project), D1Type::Text(thread)];
    database
        .batch(vec![
            database
                .prepare(
                    "DELETE FROM resources WHERE project_id = ?1
                     AND id = (SELECT resource_id FROM threads WHERE project_id = ?1 AND id = ?2)
                     AND (SELECT count(*) FROM threads WHERE project_id = ?1 AND resource_id = resources.id) = 1",
                )
                .bind_refs(&key)?,
            database
                .prepare("DELETE FROM threads WHERE project_id = ?1 AND id = ?2")
                .bind_refs(&key)?,
        ])
        .await?;
    Ok(())
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
