//! Erasing what belongs to a person or a project: the list of what is to be erased, and the statements that keep it.
//!
//! Invariant: an erasure is written down before anything is deleted, and is over only when the index has no thread of it left,
//! so whoever carries it on can die at any point. That of a person reaches what was first used until it was asked for, and nothing younger.
//! A finished one still says so for [`REMEMBERED_MS`] to threads that the index had not heard of.

use serde_json::{Value as Json, json};

use crate::keys::digest;
use crate::ledger::write::Statement;
use crate::memory::database::{Row, Value};
use crate::protocol::Deleted;
use crate::time::iso;
use crate::turn::hex;

/// How long a finished erasure is remembered, in milliseconds: far longer than the index can be behind.
pub const REMEMBERED_MS: u64 = 7 * DAY_MS;
/// How long to wait before an erasure that failed is carried on, in milliseconds.
pub const RETRY_MS: u64 = 60_000;
/// How many threads are deleted at a time.
pub const AT_A_TIME: u32 = 8;
/// How many threads one request or one run of the schedule deletes: a fifth of the calls that the platform lets a run make.
/// <https://developers.cloudflare.com/workers/platform/limits/#subrequests>
pub const AT_ONCE: u32 = 200;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

const COLUMNS: &str =
    "project_id, digest, resource_id, requested_at, finished_at, threads, messages, notes, jobs, responses";

/// What is to be erased, or was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// The project.
    pub project: String,
    /// The digest of the resource's id; `None`: all of the project.
    pub digest: Option<String>,
    /// The resource's id, as long as there is work to do.
    pub resource: Option<String>,
    /// When it was asked for, in Unix milliseconds.
    pub requested_at: u64,
    /// When it was done.
    pub finished_at: Option<u64>,
    /// What was deleted so far.
    pub counts: Counts,
}

/// How much was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Threads.
    pub threads: u64,
    /// Messages.
    pub messages: u64,
    /// Notes.
    pub notes: u64,
    /// Jobs that were waiting or under way.
    pub jobs: u64,
    /// Stored responses.
    pub responses: u64,
}

impl Counts {
    /// Counts a thread that was deleted.
    pub fn add(&mut self, deleted: &Deleted) {
        if let Deleted::Deleted { messages, notes, jobs, responses, .. } = deleted {
            self.threads += 1;
            self.messages += messages;
            self.notes += notes;
            self.jobs += jobs;
            self.responses += responses;
        }
    }

    /// As receipts show it.
    pub fn document(&self) -> Json {
        let Counts { threads, messages, notes, jobs, responses } = self;
        json!({ "threads": threads, "messages": messages, "notes": notes, "jobs": jobs, "responses": responses })
    }
}

impl Erasure {
    /// The erasure of a resource, asked for at `now`.
    pub fn of_resource(project: &str, resource: &str, now: u64) -> Self {
        Erasure {
            project: project.to_owned(),
            digest: Some(digest_of(project, resource)),
            resource: Some(resource.to_owned()),
            requested_at: now,
            finished_at: None,
            counts: Counts::default(),
        }
    }

    /// The erasure of all that a project remembers, asked for at `now`.
    pub fn of_project(project: &str, now: u64) -> Self {
        Erasure {
            project: project.to_owned(),
            digest: None,
            resource: None,
            requested_at: now,
            finished_at: None,
            counts: Counts::default(),
        }
    }

    /// What was first used later stays, in Unix milliseconds; `None`: nothing does, as nobody may use a deleted project.
    pub fn until(&self) -> Option<u64> {
        self.digest.is_some().then_some(self.requested_at)
    }

    /// Writes it down. One of the same resource that is over begins anew; one that is under way reaches further.
    pub fn begin(&self) -> Statement {
        let mut values = self.key();
        values.extend([self.resource.clone().into(), self.requested_at.into()]);
        Statement::new(
            "INSERT INTO erasures (project_id, scope, digest, resource_id, requested_at, retry_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?5)
             ON CONFLICT DO UPDATE SET resource_id = excluded.resource_id, finished_at = NULL,
               requested_at = excluded.requested_at, retry_at = excluded.retry_at,
               threads = iif(finished_at IS NULL, threads, 0), messages = iif(finished_at IS NULL, messages, 0),
               notes = iif(finished_at IS NULL, notes, 0), jobs = iif(finished_at IS NULL, jobs, 0),
               responses = iif(finished_at IS NULL, responses, 0)",
            values,
        )
    }

    /// Asks how it stands.
    pub fn standing(&self) -> Statement {
        Statement::new(
            format!("SELECT {COLUMNS} FROM erasures WHERE project_id = ?1 AND scope = ?2 AND digest = ?3"),
            self.key(),
        )
    }

    /// The threads that are to be deleted next: id and owner, at most `limit`.
    pub fn threads(&self, limit: u32) -> Statement {
        Statement::new(
            "SELECT id, resource_id FROM threads
             WHERE project_id = ?1 AND (?2 IS NULL OR resource_id = ?2) AND (?3 IS NULL OR created_at <= ?3) LIMIT ?4",
            vec![
                self.project.as_str().into(),
                self.resource.clone().into(),
                self.until().into(),
                u64::from(limit).into(),
            ],
        )
    }

    /// The resources that are to be forgotten next, at most `limit`.
    pub fn resources(&self, limit: u32) -> Statement {
        Statement::new(
            "SELECT id FROM resources WHERE project_id = ?1 AND (?2 IS NULL OR id = ?2) AND (?3 IS NULL OR created_at <= ?3) LIMIT ?4",
            vec![
                self.project.as_str().into(),
                self.resource.clone().into(),
                self.until().into(),
                u64::from(limit).into(),
            ],
        )
    }

    /// Takes a resource out of the index that has no thread in it.
    pub fn remove_resource(&self, resource: &str) -> Statement {
        Statement::new(
            "DELETE FROM resources WHERE project_id = ?1 AND id = ?2
             AND NOT EXISTS (SELECT 1 FROM threads WHERE project_id = ?1 AND resource_id = ?2)",
            vec![self.project.as_str().into(), resource.into()],
        )
    }

    /// Counts what was deleted.
    pub fn progress(&self, done: &Counts, retry_at: u64) -> Statement {
        let mut values = self.key();
        values.extend([
            done.threads.into(),
            done.messages.into(),
            done.notes.into(),
            done.jobs.into(),
            done.responses.into(),
            retry_at.into(),
        ]);
        Statement::new(
            "UPDATE erasures SET threads = threads + ?4, messages = messages + ?5, notes = notes + ?6, jobs = jobs + ?7,
               responses = responses + ?8, retry_at = ?9
             WHERE project_id = ?1 AND scope = ?2 AND digest = ?3",
            values,
        )
    }

    /// Everything is deleted: the requests of whom it was about lose their names, and so does this row.
    pub fn finish(&self, now: u64) -> Vec<Statement> {
        let mut values = self.key();
        values.extend([now.into(), self.requested_at.into()]);
        let over = Statement::new(
            "UPDATE erasures SET finished_at = ?4, resource_id = NULL
             WHERE project_id = ?1 AND scope = ?2 AND digest = ?3 AND requested_at = ?5",
            values,
        );
        vec![nameless(&self.project, "resource_id", self.resource.as_deref()), over]
    }

    /// `{state, …counts, requested_at, finished_at}`.
    pub fn document(&self) -> Json {
        json!({
            "state": if self.finished_at.is_some() { "done" } else { "running" },
            "counts": self.counts.document(),
            "requested_at": iso(self.requested_at),
            "finished_at": self.finished_at.map(iso),
        })
    }

    /// One that a statement found.
    pub fn found(row: &Row) -> Self {
        Erasure {
            project: row.text(0),
            digest: Some(row.text(1)).filter(|digest| !digest.is_empty()),
            resource: row.optional(2).map(Value::text),
            requested_at: row.unsigned(3),
            finished_at: row.optional(4).map(Value::unsigned),
            counts: Counts {
                threads: row.unsigned(5),
                messages: row.unsigned(6),
                notes: row.unsigned(7),
                jobs: row.unsigned(8),
                responses: row.unsigned(9),
            },
        }
    }

    fn key(&self) -> Vec<Value> {
        let scope = if self.digest.is_some() { "resource" } else { "project" };
        let digest = self.digest.clone().unwrap_or_default();
        vec![self.project.as_str().into(), scope.into(), digest.into()]
    }
}

/// The erasures that are to be carried on now, the one that waits longest first.
pub fn under_way(now: u64) -> Statement {
    Statement::new(
        format!(
            "SELECT {COLUMNS} FROM erasures WHERE finished_at IS NULL AND retry_at <= ?1 ORDER BY retry_at LIMIT 10"
        ),
        vec![now.into()],
    )
}

/// Forgets that resources were forgotten, once nobody can be late any more. A project's erasure is remembered with it.
pub fn expire(now: u64) -> Statement {
    Statement::new(
        "DELETE FROM erasures WHERE scope = 'resource' AND finished_at < ?1",
        vec![now.saturating_sub(REMEMBERED_MS).into()],
    )
}

/// Asks whether an erasure reaches a thread; a row says so.
pub fn reaches(project: &str, resource: &str, created_at: u64) -> Statement {
    Statement::new(
        "SELECT 1 FROM erasures WHERE project_id = ?1
         AND ((scope = 'resource' AND digest = ?2 AND requested_at >= ?3) OR scope = 'project') LIMIT 1",
        vec![project.into(), digest_of(project, resource).into(), created_at.into()],
    )
}

/// Takes a thread that was first used until then out of the index, and its owner once it has no other; and the names out of
/// the ledger's rows of it.
pub fn forget_thread(project: &str, thread: &str, until: u64) -> Vec<Statement> {
    let key = || -> Vec<Value> { vec![project.into(), thread.into(), until.into()] };
    vec![
        Statement::new(
            "DELETE FROM resources WHERE project_id = ?1
             AND id = (SELECT resource_id FROM threads WHERE project_id = ?1 AND id = ?2 AND created_at <= ?3)
             AND (SELECT count(*) FROM threads WHERE project_id = ?1 AND resource_id = resources.id) = 1",
            key(),
        ),
        Statement::new("DELETE FROM threads WHERE project_id = ?1 AND id = ?2 AND created_at <= ?3", key()),
        nameless(project, "thread_id", Some(thread)),
    ]
}

/// Threads that projects do not keep any longer: project, id, last use as the index knows it, and since when a thread must
/// not have been used; at most `limit`.
pub fn idle_threads(now: u64, limit: u32) -> Statement {
    Statement::new(
        format!(
            "SELECT p.id, t.id, t.updated_at, ?1 - {DAY_MS} * (p.settings ->> '$.retention.threads_days')
             FROM projects p JOIN threads t ON t.project_id = p.id
               AND t.updated_at < ?1 - {DAY_MS} * (p.settings ->> '$.retention.threads_days')
             WHERE p.deleted_at IS NULL AND p.settings ->> '$.retention.threads_days' IS NOT NULL
             ORDER BY t.updated_at LIMIT ?2"
        ),
        vec![now.into(), u64::from(limit).into()],
    )
}

/// A page of a project's resources: id, first and last use, number of threads.
pub fn resources(project: &str, limit: u32, offset: u32) -> [Statement; 2] {
    [
        Statement::new(
            "SELECT id, created_at, updated_at,
               (SELECT count(*) FROM threads t WHERE t.project_id = ?1 AND t.resource_id = resources.id)
             FROM resources WHERE project_id = ?1 ORDER BY updated_at DESC, id LIMIT ?2 OFFSET ?3",
            vec![project.into(), u64::from(limit).into(), u64::from(offset).into()],
        ),
        Statement::new("SELECT count(*) FROM resources WHERE project_id = ?1", vec![project.into()]),
    ]
}

/// One resource of a project, as [`resources`] gives it.
pub fn resource(project: &str, resource: &str) -> Statement {
    Statement::new(
        "SELECT id, created_at, updated_at,
           (SELECT count(*) FROM threads t WHERE t.project_id = ?1 AND t.resource_id = resources.id)
         FROM resources WHERE project_id = ?1 AND id = ?2",
        vec![project.into(), resource.into()],
    )
}

/// A page of a resource's threads: id, first and last use; newest use first.
pub fn threads_of(project: &str, resource: &str, limit: u32, offset: u32) -> Statement {
    Statement::new(
        "SELECT id, created_at, updated_at FROM threads WHERE project_id = ?1 AND resource_id = ?2
         ORDER BY updated_at DESC, id LIMIT ?3 OFFSET ?4",
        vec![project.into(), resource.into(), u64::from(limit).into(), u64::from(offset).into()],
    )
}

/// The ledger's rows stay, for they are the bill; whom they name is taken out. `None`: all rows of the project.
fn nameless(project: &str, column: &str, id: Option<&str>) -> Statement {
    let set = "UPDATE ledger SET thread_id = NULL, resource_id = NULL, message_ids = NULL";
    match id {
        Some(id) => Statement::new(
            format!("{set} WHERE project_id = ?1 AND {column} = ?2"),
            vec![project.into(), id.into()],
        ),
        None => Statement::new(
            format!("{set} WHERE project_id = ?1 AND {column} IS NOT NULL"),
            vec![project.into()],
        ),
    }
}

fn digest_of(project: &str, resource: &str) -> String {
    hex(&digest(&[project, resource]))
}
