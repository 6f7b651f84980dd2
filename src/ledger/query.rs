//! The questions that the ledger answers: what a project used over time, and its requests one by one.
//!
//! Invariant: a question names the project first and sees nothing of another; what callers choose reaches SQLite as a
//! value, never as a part of the text.

use serde_json::{Map, Value as Json, json};

use super::prices::dollars;
use super::write::{SUMS, Statement, hour_of};
use crate::api::percent_decoded;
use crate::error::Error;
use crate::memory::database::{Row, Value};
use crate::time::{from_rfc3339, iso};

const LIMIT: u32 = 50;
const LIMIT_MAX: u32 = 200;
/// How many periods a question about activity answers at most.
const PERIODS_MAX: u32 = 1_000;

/// How long the periods are into which activity is summed. All begin in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granularity {
    /// Hours.
    Hour,
    /// Days.
    Day,
    /// Weeks, from Monday.
    Week,
    /// Calendar months.
    Month,
}

impl Granularity {
    /// Reads `1h`, `daily`, `weekly` or `monthly`. Errors: 400.
    fn read(text: &str) -> Result<Self, Error> {
        match text {
            "1h" => Ok(Granularity::Hour),
            "daily" => Ok(Granularity::Day),
            "weekly" => Ok(Granularity::Week),
            "monthly" => Ok(Granularity::Month),
            _ => Err(Error::invalid("granularity", "granularity must be 1h, daily, weekly or monthly.")),
        }
    }

    /// The first millisecond of the period that `at` is in, as SQL.
    fn period(self) -> &'static str {
        match self {
            Granularity::Hour => "at - at % 3600000",
            Granularity::Day => "at - at % 86400000",
            // The first of January 1970 was a Thursday.
            Granularity::Week => "at - (at + 259200000) % 604800000",
            Granularity::Month => "unixepoch(at / 1000, 'unixepoch', 'start of month') * 1000",
        }
    }
}

/// By what activity is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupBy {
    /// The model, with its provider.
    Model,
    /// The provider.
    Provider,
    /// The key.
    Key,
    /// What memory called a model for.
    Operation,
}

impl GroupBy {
    fn read(text: &str) -> Result<Self, Error> {
        match text {
            "model" => Ok(GroupBy::Model),
            "provider" => Ok(GroupBy::Provider),
            "key" => Ok(GroupBy::Key),
            "operation" => Ok(GroupBy::Operation),
            _ => Err(Error::invalid("group_by", "group_by must be model, provider or key.")),
        }
    }

    fn column(self) -> &'static str {
        match self {
            GroupBy::Model => "provider || '/' || model",
            GroupBy::Provider => "provider",
            GroupBy::Key => "key_id",
            GroupBy::Operation => "operation",
        }
    }

    /// The field's name in the answer.
    fn name(self) -> &'static str {
        match self {
            GroupBy::Model => "model",
            GroupBy::Provider => "provider",
            GroupBy::Key => "api_key_id",
            GroupBy::Operation => "operation",
        }
    }
}

/// A question about activity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    /// The length of the periods.
    pub granularity: Granularity,
    /// The split, if there is to be one.
    pub group_by: Option<GroupBy>,
    /// From this time on, Unix milliseconds; a whole hour.
    pub from: u64,
    /// Before this time, Unix milliseconds.
    pub to: u64,
    /// About memory's own calls instead of clients' requests.
    pub memory: bool,
}

impl Activity {
    /// Reads a URL's query: `granularity` (default `daily`), `group_by`, `from` and `to` (RFC 3339, or Unix milliseconds;
    /// default the last 30 days). Errors: 400 that names the parameter.
    pub fn read(query: &str, memory: bool, now: u64) -> Result<Self, Error> {
        const THIRTY_DAYS_MS: u64 = 30 * 24 * 60 * 60 * 1000;
        let granularity = parameter(query, "granularity");
        let to = time(query, "to")?.unwrap_or(now + 1);
        Ok(Activity {
            granularity: granularity.map_or(Ok(Granularity::Day), |text| Granularity::read(&text))?,
            group_by: parameter(query, "group_by").map(|text| GroupBy::read(&text)).transpose()?,
            from: hour_of(time(query, "from")?.unwrap_or(to.saturating_sub(THIRTY_DAYS_MS))),
            to,
            memory,
        })
    }

    /// The statement that answers it: the period, the group, then the sums; the newest periods first.
    pub fn statement(&self, project: &str) -> Statement {
        let group = self.group_by.map_or("''", GroupBy::column);
        let names = SUMS.map(|(name, _)| name);
        let sql = format!(
            "WITH part AS (
               SELECT hour AS at, provider, model, key_id, operation, requests, {}
               FROM ledger_hours WHERE project_id = ?1 AND kind = ?2 AND hour >= ?3 AND hour < ?4
                 AND hour < (SELECT rolled_until FROM ledger_state)
               UNION ALL
               SELECT l.started_at, l.provider, l.model, l.key_id, l.operation, 1, {}
               FROM ledger l WHERE l.project_id = ?1 AND l.kind = ?2 AND l.outcome <> 'pending' AND l.started_at < ?4
                 AND l.started_at >= max(?3, (SELECT rolled_until FROM ledger_state)))
             SELECT {} AS period, {group} AS name, sum(requests), {}
             FROM part GROUP BY 1, 2 ORDER BY 1 DESC, 2 LIMIT {PERIODS_MAX}",
            names.join(", "),
            SUMS.map(|(_, summand)| summand).join(", "),
            self.granularity.period(),
            names.map(|name| format!("sum({name})")).join(", "),
        );
        let kind = if self.memory { "memory" } else { "inference" };
        Statement::new(sql, vec![project.into(), kind.into(), self.from.into(), self.to.into()])
    }

    /// The answer, from the statement's rows: `{activity: […]}`. `cost_usd` sums the requests whose price is known, and
    /// `unpriced` counts the others; it is null where there are only those.
    pub fn answer(&self, rows: &[Row]) -> Json {
        let activity: Vec<Json> = rows
            .iter()
            .map(|row| {
                let mut entry = Map::new();
                entry.insert("period".to_owned(), iso(row.unsigned(0)).into());
                if let Some(group) = self.group_by {
                    entry.insert(group.name().to_owned(), row.text(1).into());
                }
                let requests = row.unsigned(2);
                entry.insert("requests".to_owned(), requests.into());
                let unpriced = (3..).zip(SUMS).find(|(_, (name, _))| *name == "unpriced");
                let is_priced = unpriced.is_none_or(|(at, _)| row.unsigned(at) < requests);
                for (at, (name, _)) in (3..).zip(SUMS) {
                    match name {
                        "cost_nano_usd" => {
                            let cost = is_priced.then(|| dollars(row.unsigned(at)));
                            entry.insert("cost_usd".to_owned(), cost.into());
                        }
                        "latency_ms" => {
                            let mean = row.unsigned(at).checked_div(requests).unwrap_or(0);
                            entry.insert("mean_latency_ms".to_owned(), mean.into());
                        }
                        name => {
                            entry.insert(name.to_owned(), row.unsigned(at).into());
                        }
                    }
                }
                Json::Object(entry)
            })
            .collect();
        json!({ "activity": activity })
    }
}

/// A question about single requests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Logs {
    /// At most so many.
    pub limit: u32,
    /// After so many, newest first.
    pub offset: u32,
    /// From this time on, Unix milliseconds.
    pub from: Option<u64>,
    /// Before this time, Unix milliseconds.
    pub to: Option<u64>,
    /// Memory's own calls instead of clients' requests.
    pub memory: bool,
    /// Columns that must have these values.
    pub equal: Vec<(&'static str, Value)>,
}

/// The filters of a question about logs: the parameter, and its column.
const FILTERS: [(&str, &str); 10] = [
    ("model", "model"),
    ("provider", "provider"),
    ("api_key_id", "key_id"),
    ("source", "source"),
    ("endpoint", "endpoint"),
    ("outcome", "outcome"),
    ("status_code", "status_code"),
    ("thread_id", "thread_id"),
    ("resource_id", "resource_id"),
    ("operation", "operation"),
];

impl Logs {
    /// Reads a URL's query: `limit` (50, at most 200), `offset`, `from`, `to`, and a filter for each of `model`,
    /// `provider`, `api_key_id`, `source`, `endpoint`, `outcome`, `status_code`, `thread_id`, `resource_id`, `operation`;
    /// `kind=memory` for memory's own calls. Errors: 400 that names the parameter.
    pub fn read(query: &str) -> Result<Self, Error> {
        let whole = |name: &str| {
            parameter(query, name)
                .map(|text| {
                    text.parse::<u32>().map_err(|_| {
                        Error::invalid(name, format!("{name} must be a whole number from 0 on."))
                    })
                })
                .transpose()
        };
        let memory = match parameter(query, "kind").as_deref() {
            None | Some("inference") => false,
            Some("memory") => true,
            Some(_) => return Err(Error::invalid("kind", "kind must be inference or memory.")),
        };
        let mut equal = Vec::new();
        for (name, column) in FILTERS {
            let Some(text) = parameter(query, name) else { continue };
            let value = match name {
                "status_code" => Value::from(i64::from(whole(name)?.unwrap_or(0))),
                _ => Value::from(text),
            };
            equal.push((column, value));
        }
        Ok(Logs {
            limit: whole("limit")?.unwrap_or(LIMIT).clamp(1, LIMIT_MAX),
            offset: whole("offset")?.unwrap_or(0),
            from: time(query, "from")?,
            to: time(query, "to")?,
            memory,
            equal,
        })
    }

    /// The statements that answer it: the page, and how many there are in all. Requests that are still being served are
    /// only in it where `outcome=pending` asks for them.
    pub fn statements(&self, project: &str) -> [Statement; 2] {
        let mut values: Vec<Value> =
            vec![project.into(), if self.memory { "memory" } else { "inference" }.into()];
        let mut wanted = "l.project_id = ?1 AND l.kind = ?2".to_owned();
        let mut and = |condition: &str, value: Value| {
            values.push(value);
            wanted.push_str(&format!(" AND l.{condition} ?{}", values.len()));
        };
        if let Some(from) = self.from {
            and("started_at >=", from.into());
        }
        if let Some(to) = self.to {
            and("started_at <", to.into());
        }
        for (column, value) in &self.equal {
            and(&format!("{column} ="), value.clone());
        }
        if !self.equal.iter().any(|(column, _)| *column == "outcome") {
            and("outcome <>", "pending".into());
        }
        let count = Statement::new(format!("SELECT count(*) FROM ledger l WHERE {wanted}"), values.clone());
        let at = values.len();
        values.extend([u64::from(self.limit).into(), u64::from(self.offset).into()]);
        let page = format!(
            "{SELECT_LOG} WHERE {wanted} ORDER BY l.started_at DESC, l.id DESC LIMIT ?{} OFFSET ?{}",
            at + 1,
            at + 2
        );
        [Statement::new(page, values), count]
    }

    /// The answer, from the statements' rows: `{logs: […], total}`.
    pub fn answer(page: &[Row], count: &[Row]) -> Json {
        let logs: Vec<Json> = page.iter().map(log).collect();
        json!({ "logs": logs, "total": count.first().map_or(0, |row| row.unsigned(0)) })
    }
}

/// The statement that finds one request by the id that its answer carried; of several with one id the latest.
pub fn one_log(project: &str, request_id: &str) -> Statement {
    Statement::new(
        format!(
            "{SELECT_LOG} WHERE l.project_id = ?1 AND l.request_id = ?2 AND l.kind = 'inference'
             ORDER BY l.started_at DESC, l.id DESC LIMIT 1"
        ),
        vec![project.into(), request_id.into()],
    )
}

const SELECT_LOG: &str = "SELECT l.started_at, l.kind, l.request_id, l.key_id, k.label, k.prefix, l.source, l.endpoint, \
   l.dialect, l.provider, l.model, l.operation, l.is_stream, l.outcome, l.status_code, l.prompt_tokens, \
   l.completion_tokens, l.reasoning_tokens, l.cached_tokens, l.cache_write_tokens, l.estimated, l.cost_nano_usd, \
   l.latency_ms, l.ttft_ms, l.attempts, l.error, l.thread_id, l.resource_id, l.message_ids, l.memory_tokens, l.trace_id, \
   l.failed_attempts \
   FROM ledger l LEFT JOIN api_keys k ON k.id = l.key_id";

/// One row of the answer.
pub fn log(row: &Row) -> Json {
    let text = |at| row.optional(at).map(|_| row.text(at));
    let number = |at| row.optional(at).map(|_| row.unsigned(at));
    let message_ids: Vec<String> =
        text(28).and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let failed_attempts: Json =
        text(31).and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_else(|| json!([]));
    let mut log = json!({
        "request_id": row.text(2),
        "api_key_id": row.text(3),
        "api_key_label": text(4),
        "api_key_prefix": text(5),
        "model": row.text(10),
        "provider": row.text(9),
        "source": row.text(6),
        "endpoint": row.text(7),
        "dialect": row.text(8),
        "outcome": row.text(13),
        "status_code": number(14),
        "prompt_tokens": row.unsigned(15),
        "completion_tokens": row.unsigned(16),
        "total_tokens": row.unsigned(15).saturating_add(row.unsigned(16)),
        "reasoning_tokens": row.unsigned(17),
        "cached_tokens": row.unsigned(18),
        "cache_write_tokens": row.unsigned(19),
        "estimated": row.integer(20) != 0,
        "cost_usd": number(21).map(dollars),
        "latency_ms": number(22),
        "ttft_ms": number(23),
        "is_stream": row.integer(12) != 0,
        "attempts": row.unsigned(24),
        "failed_attempts": failed_attempts,
        "error": text(25),
        "thread_id": text(26),
        "resource_id": text(27),
        "message_ids": message_ids,
        "memory_tokens": row.unsigned(29),
        "trace_id": text(30),
        "timestamp": iso(row.unsigned(0)),
    });
    if row.text(1) == "memory"
        && let Json::Object(fields) = &mut log
    {
        fields.insert("operation".to_owned(), row.text(11).into());
    }
    log
}

/// A parameter of a URL's query, decoded; `None` where it is absent or empty.
fn parameter(query: &str, name: &str) -> Option<String> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| percent_decoded(&value.replace('+', " ")))
        .filter(|value| !value.is_empty())
}

/// A time: RFC 3339, or Unix milliseconds. Errors: 400.
fn time(query: &str, name: &str) -> Result<Option<u64>, Error> {
    let Some(text) = parameter(query, name) else { return Ok(None) };
    // The plus of an offset, written as it is, reads as a blank.
    from_rfc3339(&text)
        .or_else(|| from_rfc3339(&text.replace(' ', "+")))
        .or_else(|| text.parse().ok())
        .map(Some)
        .ok_or_else(|| {
            Error::invalid(
                name,
                format!("{name} must be a time like 2026-11-25T00:00:00Z, or Unix milliseconds."),
            )
        })
}
