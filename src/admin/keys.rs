//! Gateway keys: made, listed, changed, rotated, revoked.
//!
//! Invariant: a key's text is in the answer that makes it and nowhere else; what is stored is its hash.

use serde_json::{Value as Json, json};

use super::fields::{Fields, flag, text};
use super::{Answer, Request, Store, bounds, new_id, projects};
use crate::budget::Budget;
use crate::error::Error;
use crate::grant::{Part, Pattern};
use crate::keys::PlainKey;
use crate::ledger::write::Statement;
use crate::limits::LimitChanges;
use crate::memory::database::{Row, Value};
use crate::time::{from_rfc3339, iso};

const COLUMNS: &str = "id, label, prefix, disabled, expires_at, models, endpoints, limits, budget, created_at, updated_at, previous_until";

const FIELDS: &[&str] = &["label", "disabled", "expires_at", "models", "endpoints", "limits", "budget"];

/// For how long the secret of before a rotation may stay valid: a week is enough to bring the new one everywhere.
const MAX_OVERLAP_SECONDS: u64 = 7 * 24 * 60 * 60;

/// The most patterns of models that a key may have.
const MAX_PATTERNS: usize = 100;

/// `GET …/keys`.
pub async fn list(store: &impl Store, request: Request<'_>, project: &str) -> Result<Answer, Error> {
    let (limit, offset) = bounds(request.query)?;
    projects::check(store, project).await?;
    let page = format!(
        "SELECT {COLUMNS} FROM api_keys WHERE project_id = ?1 AND revoked_at IS NULL
         ORDER BY created_at, id LIMIT ?2 OFFSET ?3"
    );
    let rows = store.rows(Statement::new(page, vec![project.into(), limit.into(), offset.into()])).await?;
    let count = "SELECT count(*) FROM api_keys WHERE project_id = ?1 AND revoked_at IS NULL";
    let counted = store.rows(Statement::new(count, vec![project.into()])).await?;
    let total = counted.first().map_or(0, |row| row.unsigned(0));
    Ok(Answer::ok(json!({ "keys": rows.iter().map(shown).collect::<Vec<_>>(), "total": total })))
}

/// `POST …/keys`: the key's fields, all optional. The answer has the key itself, in `secret`.
pub async fn create(store: &impl Store, request: Request<'_>, project: &str) -> Result<Answer, Error> {
    let changes = changes(&Fields::read(request.body, FIELDS)?)?;
    projects::check(store, project).await?;
    let key = PlainKey::from_random((request.random)());
    let mut columns = vec![
        ("project_id", Value::from(project)),
        ("id", new_id("key_", (request.random)()).into()),
        ("hash", key.hash().as_str().into()),
        ("prefix", key.prefix().into()),
        ("created_at", request.now.into()),
    ];
    if !changes.iter().any(|(column, _)| *column == "label") {
        columns.push(("label", "".into()));
    }
    columns.extend(changes);
    let names: Vec<&str> = columns.iter().map(|(column, _)| *column).collect();
    let places: Vec<String> = (1..=columns.len()).map(|at| format!("?{at}")).collect();
    let insert = format!(
        "INSERT INTO api_keys ({}) VALUES ({}) RETURNING {COLUMNS}",
        names.join(", "),
        places.join(", ")
    );
    let values = columns.into_iter().map(|(_, value)| value).collect();
    match store.rows(Statement::new(insert, values)).await?.first() {
        Some(row) => Ok(Answer::created(json!({ "key": shown(row), "secret": key.reveal() }))),
        None => Err(Error::internal()),
    }
}

/// `GET …/keys/{id}`.
pub async fn one(store: &impl Store, project: &str, key: &str) -> Result<Answer, Error> {
    let select =
        format!("SELECT {COLUMNS} FROM api_keys WHERE project_id = ?1 AND id = ?2 AND revoked_at IS NULL");
    let rows = store.rows(Statement::new(select, vec![project.into(), key.into()])).await?;
    let row = rows.first().ok_or_else(not_found)?;
    Ok(Answer::ok(json!({ "key": shown(row) })))
}

/// Checks that a project has a key. Errors: 404.
pub async fn check(store: &impl Store, project: &str, key: &str) -> Result<(), Error> {
    one(store, project, key).await.map(drop)
}

/// `PATCH …/keys/{id}`: the key's fields; null takes a rule back.
pub async fn change(
    store: &impl Store,
    request: Request<'_>,
    project: &str,
    key: &str,
) -> Result<Answer, Error> {
    let changes = changes(&Fields::read(request.body, FIELDS)?)?;
    let row = update(store, request.now, project, key, changes).await?;
    Ok(Answer::ok(json!({ "key": shown(&row) })))
}

/// `POST …/keys/{id}/rotate`: `{overlap_seconds?}`; a new key with the same id and rules in place of the old one, which is
/// good for so long yet (0 where nothing is said), unless the key is rotated again. The answer has the new one in `secret`.
pub async fn rotate(
    store: &impl Store,
    request: Request<'_>,
    project: &str,
    key: &str,
) -> Result<Answer, Error> {
    let fields = Fields::read(request.body, &["overlap_seconds"])?;
    let overlap = fields.value("overlap_seconds", overlap)?.unwrap_or(0);
    let new = PlainKey::from_random((request.random)());
    let rotated = format!(
        "UPDATE api_keys SET hash = ?4, prefix = ?5, updated_at = ?3, previous_until = ?6,
           previous_hash = CASE WHEN ?6 IS NOT NULL THEN hash END
         WHERE project_id = ?1 AND id = ?2 AND revoked_at IS NULL RETURNING {COLUMNS}"
    );
    let until = (overlap > 0).then(|| request.now.saturating_add(overlap * 1_000));
    let values = vec![
        project.into(),
        key.into(),
        request.now.into(),
        new.hash().as_str().into(),
        new.prefix().into(),
        until.into(),
    ];
    let row = store.rows(Statement::new(rotated, values)).await?.into_iter().next().ok_or_else(not_found)?;
    Ok(Answer::ok(json!({ "key": shown(&row), "secret": new.reveal() })))
}

/// `DELETE …/keys/{id}`: revoked for good, its bindings with it.
pub async fn delete(
    store: &impl Store,
    request: Request<'_>,
    project: &str,
    key: &str,
) -> Result<Answer, Error> {
    check(store, project, key).await?;
    store
        .run(vec![
            Statement::new(
                "UPDATE api_keys SET revoked_at = ?3 WHERE project_id = ?1 AND id = ?2 AND revoked_at IS NULL",
                vec![project.into(), key.into(), request.now.into()],
            ),
            Statement::new(
                "DELETE FROM bindings WHERE project_id = ?1 AND key_id = ?2",
                vec![project.into(), key.into()],
            ),
        ])
        .await?;
    Ok(Answer::ok(json!({ "ok": true, "id": key, "revoked_at": iso(request.now) })))
}

/// Changes columns of a key and gives its row. Errors: 404.
async fn update(
    store: &impl Store,
    now: u64,
    project: &str,
    key: &str,
    changes: Vec<(&'static str, Value)>,
) -> Result<Row, Error> {
    let mut sets = vec!["updated_at = ?3".to_owned()];
    let mut values = vec![project.into(), key.into(), now.into()];
    for (column, value) in changes {
        values.push(value);
        sets.push(format!("{column} = ?{}", values.len()));
    }
    let update = format!(
        "UPDATE api_keys SET {} WHERE project_id = ?1 AND id = ?2 AND revoked_at IS NULL RETURNING {COLUMNS}",
        sets.join(", ")
    );
    store.rows(Statement::new(update, values)).await?.into_iter().next().ok_or_else(not_found)
}

fn not_found() -> Error {
    Error::not_found("No such key in this project. GET /v1/gateway/projects/{project}/keys lists them.")
}

/// The columns that a body changes. Errors: 400 that names the field.
fn changes(fields: &Fields) -> Result<Vec<(&'static str, Value)>, Error> {
    let mut changes: Vec<(&'static str, Value)> = Vec::new();
    if let Some(label) = fields.value("label", text(200))? {
        changes.push(("label", label.into()));
    }
    if let Some(disabled) = fields.value("disabled", flag)? {
        changes.push(("disabled", i64::from(disabled).into()));
    }
    if let Some(expires_at) = fields.change("expires_at", time)? {
        changes.push(("expires_at", expires_at.into()));
    }
    if let Some(models) = fields.change("models", patterns)? {
        changes.push(("models", models.map(json_text).into()));
    }
    if let Some(parts) = fields.change("endpoints", parts)? {
        changes.push(("endpoints", parts.map(json_text).into()));
    }
    if let Some(limits) = fields.change("limits", LimitChanges::read)? {
        changes.push(("limits", json_text(limits.unwrap_or_default()).into()));
    }
    if let Some(budget) = fields.change("budget", Budget::read)? {
        changes.push(("budget", budget.map(|budget| budget.document().to_string()).into()));
    }
    Ok(changes)
}

fn json_text(value: impl serde::Serialize) -> String {
    serde_json::to_string(&value).unwrap_or_default()
}

fn time(value: &Json) -> Result<u64, String> {
    value.as_str().and_then(from_rfc3339).ok_or_else(|| {
        "must be a time in ISO 8601 with its zone, as `2027-01-31T00:00:00Z`, or null".to_owned()
    })
}

fn overlap(value: &Json) -> Result<u64, String> {
    value
        .as_u64()
        .filter(|seconds| *seconds <= MAX_OVERLAP_SECONDS)
        .ok_or_else(|| format!("must be a whole number of seconds from 0 to {MAX_OVERLAP_SECONDS}, a week"))
}

fn patterns(value: &Json) -> Result<Vec<Pattern>, String> {
    let wrong = || {
        format!(
            "must be a list of at most {MAX_PATTERNS} model ids, in which `*` stands for any characters, as \
             `[\"openai/*\"]`, or null for all"
        )
    };
    let entries = value.as_array().filter(|entries| entries.len() <= MAX_PATTERNS).ok_or_else(wrong)?;
    entries
        .iter()
        .map(|entry| entry.as_str().and_then(Pattern::parse))
        .collect::<Option<_>>()
        .ok_or_else(wrong)
}

fn parts(value: &Json) -> Result<Vec<Part>, String> {
    serde_json::from_value(value.clone()).map_err(|_| {
        let all: Vec<&str> = Part::ALL.iter().map(|part| part.as_str()).collect();
        format!("must be a list of some of {}, or null for all", all.join(", "))
    })
}

fn shown(row: &Row) -> Json {
    let json =
        |column: usize| row.optional(column).and_then(|text| serde_json::from_str::<Json>(&text.text()).ok());
    json!({
        "id": row.text(0),
        "label": row.text(1),
        "prefix": row.text(2),
        "disabled": row.integer(3) != 0,
        "expires_at": row.optional(4).map(|at| iso(at.unsigned())),
        "models": json(5),
        "endpoints": json(6),
        "limits": json(7),
        "budget": json(8),
        "created_at": iso(row.unsigned(9)),
        "updated_at": iso(row.unsigned(10).max(row.unsigned(9))),
        "previous_valid_until": row.optional(11).map(|at| iso(at.unsigned())),
    })
}
