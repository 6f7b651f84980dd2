//! The statements that write the ledger: rows, the sweep of lost ones, the sums by the hour, the end of old ones.
//!
//! Invariant: each may run any number of times, in any order and from any number of isolates, and the outcome is that of
//! running it once; a row that was settled is never changed again.

use std::fmt::Write;

use serde_json::Value as Json;

use super::row::{COLUMNS, KEY, Outcome, Row};
use crate::memory::database::Value;

const HOUR_MS: u64 = 60 * 60 * 1000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// So long after its end, in milliseconds, an hour is summed: by then its rows are settled, but for the longest streams.
const SUMMED_AFTER_MS: u64 = 2 * HOUR_MS;

/// How many rows a statement deletes at most: one is over in 30 s on the platform, or not at all.
/// <https://developers.cloudflare.com/d1/platform/limits/>
const DELETED_AT_ONCE: u64 = 5_000;

/// One statement of SQLite, with values for `?1`, `?2`, ….
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// The text.
    pub sql: String,
    /// The values.
    pub values: Vec<Value>,
}

impl Statement {
    /// A statement.
    pub fn new(sql: impl Into<String>, values: Vec<Value>) -> Self {
        Statement { sql: sql.into(), values }
    }
}

/// Writes rows, as many as there are, in one statement. An open row does not replace what is there; a settled one replaces
/// an open one and one that the sweep had to close.
pub fn rows(rows: &[Row]) -> Vec<Statement> {
    let cells: Vec<Json> = rows.iter().map(|row| Json::from(row.cells().to_vec())).collect();
    let mut sql = format!("INSERT INTO ledger ({}, swept) SELECT ", COLUMNS.join(", "));
    for at in 0..COLUMNS.len() {
        let _ = write!(sql, "value ->> {at}, ");
    }
    // Without the WHERE, SQLite reads ON CONFLICT as a part of a join.
    let _ = write!(sql, "0 FROM json_each(?1) WHERE true ON CONFLICT ({}) DO UPDATE SET ", KEY.join(", "));
    for column in COLUMNS.iter().filter(|column| !KEY.contains(column)) {
        let _ = write!(sql, "{column} = excluded.{column}, ");
    }
    sql.push_str(
        "swept = 0 WHERE excluded.outcome <> 'pending' AND (ledger.outcome = 'pending' OR ledger.swept = 1)",
    );
    let mut statements = vec![Statement::new(sql, vec![Json::Array(cells).to_string().into()])];
    // What ends so late that its hour may be summed already has the hour summed again.
    let settled = rows.iter().filter(|row| row.outcome != Outcome::Pending);
    if let Some(late) =
        settled.filter(|row| row.latency_ms.is_some_and(|ms| ms >= HOUR_MS)).map(|row| row.started_at).min()
    {
        statements.push(Statement::new(
            "UPDATE ledger_state SET rolled_until = min(rolled_until, ?1)",
            vec![hour_of(late).into()],
        ));
    }
    statements
}

/// Closes the rows that were opened before a time (Unix milliseconds) and never settled: what was asked is charged as
/// estimated when it was sent.
pub fn sweep(opened_before: u64) -> Statement {
    Statement::new(
        "UPDATE ledger SET outcome = 'aborted', swept = 1, estimated = 1,
           error = 'The gateway did not live to see the end of the answer; the counts are an estimate of the request alone.'
         WHERE outcome = 'pending' AND started_at < ?1",
        vec![opened_before.into()],
    )
}

/// Sums the hours that are over and not summed yet.
pub fn sums(now: u64) -> Vec<Statement> {
    let until = hour_of(now.saturating_sub(SUMMED_AFTER_MS));
    let sql = format!(
        "INSERT INTO ledger_hours ({GROUPED}, {SUMMED})
         SELECT l.project_id, l.kind, l.started_at - l.started_at % {HOUR_MS}, l.provider, l.model, l.key_id, l.operation,
           count(*), {}
         FROM projects p CROSS JOIN ledger l ON l.project_id = p.id
           AND l.started_at >= (SELECT rolled_until FROM ledger_state) AND l.started_at < ?1
         WHERE l.outcome <> 'pending'
         GROUP BY 1, 2, 3, 4, 5, 6, 7
         ON CONFLICT DO UPDATE SET {}",
        SUMS.map(|(_, sum)| format!("sum({sum})")).join(", "),
        SUMMED.split(", ").map(|column| format!("{column} = excluded.{column}")).collect::<Vec<_>>().join(", "),
    );
    vec![
        Statement::new(sql, vec![until.into()]),
        Statement::new(
            "UPDATE ledger_state SET rolled_until = ?1 WHERE rolled_until < ?1",
            vec![until.into()],
        ),
    ]
}

/// Deletes rows that are older than their project keeps them (`settings.retention.logs_days`), or where it does not say
/// than `kept_ms` milliseconds, and in the sums, which stay.
pub fn expire(now: u64, kept_ms: u64) -> Statement {
    Statement::new(
        format!(
            "DELETE FROM ledger WHERE (project_id, started_at, id) IN (
               SELECT l.project_id, l.started_at, l.id FROM projects p CROSS JOIN ledger l ON l.project_id = p.id
                 AND l.started_at < min((SELECT rolled_until FROM ledger_state), ?1 - coalesce(
                   CASE WHEN json_valid(p.settings) THEN json_extract(p.settings, '$.retention.logs_days') END * {DAY_MS},
                   ?2))
               LIMIT {DELETED_AT_ONCE})"
        ),
        vec![now.into(), kept_ms.into()],
    )
}

/// Everything that the ledger has of a project, sums included.
pub fn forget_project(project: &str) -> Vec<Statement> {
    ["DELETE FROM ledger WHERE project_id = ?1", "DELETE FROM ledger_hours WHERE project_id = ?1"]
        .into_iter()
        .map(|sql| Statement::new(sql, vec![project.into()]))
        .collect()
}

const GROUPED: &str = "project_id, kind, hour, provider, model, key_id, operation";

const SUMMED: &str = "requests, unsuccessful, estimated, unpriced, prompt_tokens, completion_tokens, reasoning_tokens, \
                      cached_tokens, cache_write_tokens, memory_tokens, cost_nano_usd, latency_ms";

/// What is summed of each row, but for the count of rows: the name of the sum, and the summand in terms of the table `l`.
pub const SUMS: [(&str, &str); 11] = [
    ("unsuccessful", "l.outcome <> 'complete'"),
    ("estimated", "l.estimated"),
    ("unpriced", "l.cost_nano_usd IS NULL"),
    ("prompt_tokens", "l.prompt_tokens"),
    ("completion_tokens", "l.completion_tokens"),
    ("reasoning_tokens", "l.reasoning_tokens"),
    ("cached_tokens", "l.cached_tokens"),
    ("cache_write_tokens", "l.cache_write_tokens"),
    ("memory_tokens", "l.memory_tokens"),
    ("cost_nano_usd", "coalesce(l.cost_nano_usd, 0)"),
    ("latency_ms", "coalesce(l.latency_ms, 0)"),
];

/// The hour's first millisecond.
pub fn hour_of(at: u64) -> u64 {
    at - at % HOUR_MS
}
