//! The index of threads: which threads and resources a project has, for lists; D1 runs its statements.
//!
//! Invariant: an index, not the truth: rows can be written again from the threads' objects at any time. Of two tellings of
//! a thread the one that is newer holds, in whatever order they come. Each statement names the project.

use serde_json::{Value, json};

use super::database::Row;
use super::public;
use super::store::Thread;
use crate::ledger::write::Statement;

/// Tells the index of a thread.
pub fn record(thread: &Thread) -> Vec<Statement> {
    vec![
        Statement::new(
            "INSERT INTO resources (project_id, id, created_at, updated_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET updated_at = max(updated_at, excluded.updated_at)",
            vec![
                thread.project.as_str().into(),
                thread.resource.as_str().into(),
                thread.created_at.into(),
                thread.updated_at.into(),
            ],
        ),
        Statement::new(
            "INSERT INTO threads (project_id, id, resource_id, created_at, updated_at, title, metadata)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT DO UPDATE SET resource_id = excluded.resource_id, created_at = excluded.created_at,
                 updated_at = excluded.updated_at, title = excluded.title, metadata = excluded.metadata
             WHERE excluded.updated_at >= threads.updated_at",
            vec![
                thread.project.as_str().into(),
                thread.id.as_str().into(),
                thread.resource.as_str().into(),
                thread.created_at.into(),
                thread.updated_at.into(),
                thread.title.clone().into(),
                thread.metadata.clone().into(),
            ],
        ),
    ]
}

/// A page of a project's threads, or of one of its resources', the one used last first; and how many there are.
pub fn list(project: &str, resource: Option<&str>, limit: u32, offset: u32) -> [Statement; 2] {
    let mut values = vec![project.into()];
    let mut which = "project_id = ?1".to_owned();
    if let Some(resource) = resource {
        values.push(resource.into());
        which.push_str(" AND resource_id = ?2");
    }
    let count = Statement::new(format!("SELECT count(*) FROM threads WHERE {which}"), values.clone());
    let page = Statement::new(
        format!(
            "SELECT project_id, id, resource_id, created_at, updated_at, title, metadata FROM threads
             WHERE {which} ORDER BY updated_at DESC, id LIMIT {limit} OFFSET {offset}"
        ),
        values,
    );
    [page, count]
}

/// `{threads, total}`.
pub fn listed(page: &[Row], count: &[Row]) -> Value {
    let threads = page.iter().map(|row| {
        public::thread_fields(&Thread {
            project: row.text(0),
            id: row.text(1),
            resource: row.text(2),
            created_at: row.unsigned(3),
            updated_at: row.unsigned(4),
            title: row.optional(5).map(|value| value.text()),
            metadata: row.optional(6).map(|value| value.text()),
            indexed_at: None,
            index_retry_at: None,
        })
    });
    json!({ "threads": threads.collect::<Vec<_>>(), "total": count.first().map_or(0, |row| row.unsigned(0)) })
}
