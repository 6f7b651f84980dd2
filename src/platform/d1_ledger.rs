//! The ledger in D1: runs the core's statements.
//!
//! Invariant: what belongs together goes in one batch, which is one transaction.

use serde_json::Value as Json;
use wasm_bindgen::JsValue;
use worker::{D1Database, D1PreparedStatement, Env};

use crate::ledger::query::{self, Activity, Logs, one_log};
use crate::ledger::write::Statement;
use crate::memory::database::{Row, Value};

/// What a project used over time: `{activity: […]}`. `question` may be about clients' requests or memory's own calls.
pub async fn activity(env: &Env, project: &str, question: &Activity) -> worker::Result<Json> {
    let rows = read(&env.d1("DB")?, &question.statement(project)).await?;
    Ok(question.answer(&rows))
}

/// A page of a project's requests: `{logs: […], total}`.
pub async fn logs(env: &Env, project: &str, question: &Logs) -> worker::Result<Json> {
    let database = env.d1("DB")?;
    let [page, count] = question.statements(project);
    let (page, count) = futures::future::try_join(read(&database, &page), read(&database, &count)).await?;
    Ok(Logs::answer(&page, &count))
}

/// One request by the id that its answer carried; `None` where the project has none of that id.
pub async fn log(env: &Env, project: &str, request_id: &str) -> worker::Result<Option<Json>> {
    let rows = read(&env.d1("DB")?, &one_log(project, request_id)).await?;
    Ok(rows.first().map(query::log))
}

/// Runs statements that write, all or none.
pub async fn run(env: &Env, statements: Vec<Statement>) -> worker::Result<()> {
    let database = env.d1("DB")?;
    let prepared: Vec<D1PreparedStatement> =
        statements.iter().map(|statement| prepared(&database, statement)).collect::<worker::Result<_>>()?;
    for result in database.batch(prepared).await? {
        if let Some(error) = result.error() {
            return Err(error.into());
        }
    }
    Ok(())
}

/// Runs a statement and gives its rows.
pub async fn read(database: &D1Database, statement: &Statement) -> worker::Result<Vec<Row>> {
    let rows: Vec<Vec<Value>> = prepared(database, statement)?.raw().await?;
    Ok(rows.into_iter().map(Row).collect())
}

fn prepared(database: &D1Database, statement: &Statement) -> worker::Result<D1PreparedStatement> {
    let values: Vec<JsValue> = statement
        .values
        .iter()
        .map(|value| match value {
            Value::Null => JsValue::NULL,
            // D1's own integer type has 32 bits; a double is exact up to 2^53.
            Value::Integer(number) => JsValue::from_f64(*number as f64),
            Value::Text(text) => JsValue::from_str(text),
        })
        .collect();
    database.prepare(&statement.sql).bind(&values)
}
