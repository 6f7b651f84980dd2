//! Projects: made, listed, changed, deleted.
//!
//! Invariant: the id of a deleted project is never given again, because its conversations' objects are named after it and
//! a new project of that name would find them.

use serde_json::{Value as Json, json};

use super::fields::{Fields, text};
use super::{Answer, Request, Store, bounds, new_id};
use crate::budget::Budget;
use crate::erasure::Erasure;
use crate::error::Error;
use crate::ledger::write::Statement;
use crate::memory::database::{Row, Value};
use crate::project::Settings;
use crate::time::iso;

const COLUMNS: &str = "id, name, settings, budget, created_at, updated_at";

/// `GET /projects`.
pub async fn list(store: &impl Store, request: Request<'_>) -> Result<Answer, Error> {
    let (limit, offset) = bounds(request.query)?;
    let page = format!(
        "SELECT {COLUMNS} FROM projects WHERE deleted_at IS NULL ORDER BY created_at, id LIMIT ?1 OFFSET ?2"
    );
    let rows = store.rows(Statement::new(page, vec![limit.into(), offset.into()])).await?;
    let count = Statement::new("SELECT count(*) FROM projects WHERE deleted_at IS NULL", vec![]);
    let total = store.rows(count).await?.first().map_or(0, |row| row.unsigned(0));
    Ok(Answer::ok(json!({ "projects": rows.iter().map(shown).collect::<Vec<_>>(), "total": total })))
}

/// `POST /projects`: `{id?, name?, settings?, budget?}`.
pub async fn create(store: &impl Store, request: Request<'_>) -> Result<Answer, Error> {
    let fields = Fields::read(request.body, &["id", "name", "settings", "budget"])?;
    let id = fields.value("id", id)?.unwrap_or_else(|| new_id("proj_", (request.random)()));
    let name = fields.value("name", text(200))?.unwrap_or_else(|| id.clone());
    let settings = match fields.get("settings") {
        None | Some(Json::Null) => Settings::default(),
        Some(document) => Settings::read(document)?,
    };
    let budget = fields.change("budget", Budget::read)?.flatten();
    let insert = format!(
        "INSERT INTO projects (id, name, settings, budget, created_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO NOTHING RETURNING {COLUMNS}"
    );
    let values = vec![
        id.as_str().into(),
        name.into(),
        settings.document().to_string().into(),
        budget.map(|budget| budget.document().to_string()).into(),
        request.now.into(),
    ];
    match store.rows(Statement::new(insert, values)).await?.first() {
        Some(row) => Ok(Answer::created(json!({ "project": shown(row) }))),
        None => Err(Error::conflict(format!(
            "There is a project `{id}`, or there was one: an id is never used twice. Choose another."
        ))
        .with_param("id")),
    }
}

/// `GET /projects/{id}`.
pub async fn one(store: &impl Store, project: &str) -> Result<Answer, Error> {
    Ok(Answer::ok(json!({ "project": shown(&row(store, project).await?) })))
}

/// `PATCH /projects/{id}`: `{name?, settings?, budget?}`; settings are merged, where null takes a field back.
pub async fn change(store: &impl Store, request: Request<'_>, project: &str) -> Result<Answer, Error> {
    let fields = Fields::read(request.body, &["name", "settings", "budget"])?;
    let known = row(store, project).await?;
    let stored = known.text(2);
    let settings = match fields.get("settings") {
        None => stored.clone(),
        Some(Json::Null) => Settings::default().document().to_string(),
        Some(patch) => Settings::stored(&stored).patched(patch)?.document().to_string(),
    };
    let name = fields.value("name", text(200))?.unwrap_or_else(|| known.text(1));
    let budget = match fields.change("budget", Budget::read)? {
        None => known.optional(3).cloned().unwrap_or(Value::Null),
        Some(budget) => budget.map(|budget| budget.document().to_string()).into(),
    };
    // Only over what was read: two that change settings at once do not undo each other's.
    let update = format!(
        "UPDATE projects SET name = ?2, settings = ?3, budget = ?4, updated_at = ?5
         WHERE id = ?1 AND deleted_at IS NULL AND settings = ?6 RETURNING {COLUMNS}"
    );
    let values =
        vec![project.into(), name.into(), settings.into(), budget, request.now.into(), stored.into()];
    match store.rows(Statement::new(update, values)).await?.first() {
        Some(row) => Ok(Answer::ok(json!({ "project": shown(row) }))),
        None => {
            Err(Error::conflict("The project was changed by somebody else at the same time. Send it again."))
        }
    }
}

/// `DELETE /projects/{id}`: its keys and bindings go with it; what it remembers can no longer be reached, and is erased in the
/// background. Asked again, the answer says how far that has come.
pub async fn delete(store: &impl Store, request: Request<'_>, project: &str) -> Result<Answer, Error> {
    let erasure = Erasure::of_project(project, request.now);
    if let Some(known) = store.rows(erasure.standing()).await?.first() {
        return Ok(deleted(&Erasure::found(known)));
    }
    row(store, project).await?;
    let own = |sql: &str| Statement::new(sql, vec![project.into(), request.now.into()]);
    store
        .run(vec![
            own("UPDATE projects SET deleted_at = ?2 WHERE id = ?1"),
            own("UPDATE api_keys SET revoked_at = ?2 WHERE project_id = ?1 AND revoked_at IS NULL"),
            Statement::new("DELETE FROM bindings WHERE project_id = ?1", vec![project.into()]),
            erasure.begin(),
        ])
        .await?;
    Ok(deleted(&erasure))
}

fn deleted(erasure: &Erasure) -> Answer {
    Answer::ok(json!({
        "ok": true,
        "id": erasure.project,
        "deleted_at": iso(erasure.requested_at),
        "erasure": erasure.document(),
    }))
}

/// The row of a project. Errors: 404.
async fn row(store: &impl Store, project: &str) -> Result<Row, Error> {
    let select = format!("SELECT {COLUMNS} FROM projects WHERE id = ?1 AND deleted_at IS NULL");
    let rows = store.rows(Statement::new(select, vec![project.into()])).await?;
    rows.into_iter().next().ok_or_else(not_found)
}

/// Checks that there is a project. Errors: 404.
pub async fn check(store: &impl Store, project: &str) -> Result<(), Error> {
    row(store, project).await.map(drop)
}

fn not_found() -> Error {
    Error::not_found("No such project. GET /v1/gateway/projects lists them.")
}

fn shown(row: &Row) -> Json {
    let budget = row.optional(3).and_then(|budget| serde_json::from_str::<Json>(&budget.text()).ok());
    json!({
        "id": row.text(0),
        "name": row.text(1),
        "settings": Settings::stored(&row.text(2)).document(),
        "budget": budget,
        "created_at": iso(row.unsigned(4)),
        "updated_at": iso(row.unsigned(5).max(row.unsigned(4))),
    })
}

fn id(value: &Json) -> Result<String, String> {
    match value.as_str() {
        Some(id)
            if (1..=64).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) =>
        {
            Ok(id.to_owned())
        }
        _ => Err("must be 1 to 64 letters, digits, `_` or `-`".to_owned()),
    }
}
