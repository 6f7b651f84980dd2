//! The Durable Object of a budget: keeps its books.
//!
//! Invariant: an answer leaves only when what it grants is on disk; the platform holds it back until then.

use worker::{DurableObject, Env, Request, Response, State, durable_object};

use super::border::now;
use super::sql_database::SqlDatabase;
use super::transaction::transaction;
use super::unanswered;
use crate::budget::books::{Books, DRAW, Draw};
use crate::memory::database::Database;

/// One budget.
#[durable_object]
pub struct BudgetObject {
    state: State,
}

impl DurableObject for BudgetObject {
    fn new(state: State, _: Env) -> Self {
        BudgetObject { state }
    }

    async fn fetch(&self, request: Request) -> worker::Result<Response> {
        unanswered::or_told(request.inner().into(), Box::pin(self.answer(request))).await
    }
}

impl BudgetObject {
    async fn answer(&self, mut request: Request) -> worker::Result<Response> {
        #[cfg(feature = "fault-injection")]
        super::fault::strike("object", request.headers().get("x-fault")?.as_deref()).await;
        if request.path() != DRAW {
            return Response::error("unknown message", 404);
        }
        let draw: Draw = serde_json::from_slice(&request.bytes().await?)?;
        let database = SqlDatabase::of(&self.state)?;
        let grant = transaction(&self.state, || {
            database.run(
                "CREATE TABLE IF NOT EXISTS books (id INTEGER PRIMARY KEY, state TEXT NOT NULL) STRICT",
            )?;
            let found = database.query("SELECT state FROM books", &[])?;
            // Books of another version than this one begin anew: refusing everybody would be worse.
            let mut books: Books =
                found.first().and_then(|row| serde_json::from_str(&row.text(0)).ok()).unwrap_or_default();
            let grant = books.draw(&draw, now());
            let state = serde_json::to_string(&books)?;
            database.query("INSERT OR REPLACE INTO books (id, state) VALUES (1, ?1)", &[state.into()])?;
            Ok(grant)
        })?;
        Response::from_bytes(serde_json::to_vec(&grant)?)
    }
}
