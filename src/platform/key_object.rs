//! The Durable Object of a key: counts its requests for all isolates.
//!
//! Invariant: what an answer promises is stored before the answer goes; the platform holds it back until then.

use std::cell::RefCell;
use std::panic::RefUnwindSafe;

use worker::{DurableObject, Env, Request, Response, State, durable_object};

use super::border::now;
use super::sql_database::SqlDatabase;
use super::unanswered;
use crate::limits::Ask;
use crate::limits::windows::Windows;
use crate::memory::database::Database;

/// The path of an ask.
pub const ASK: &str = "/v1/ask";

/// When the alarm rings after it was set. It is set anew in the second half of that time, so that the last request was at
/// least half of it ago when it rings: longer than a lease and the longest window, after which nothing of it counts.
const IDLE_MS: u64 = 240_000;

/// One key.
#[durable_object]
pub struct KeyObject {
    state: State,
    open: RefCell<Option<Open>>,
}

/// A panic finds it whole: what was being counted with has been taken out, and is read again.
impl RefUnwindSafe for KeyObject {}

struct Open {
    database: SqlDatabase,
    windows: Windows,
    /// When the alarm rings that empties the storage.
    alarm_at: u64,
}

impl DurableObject for KeyObject {
    fn new(state: State, _env: Env) -> Self {
        KeyObject { state, open: RefCell::new(None) }
    }

    async fn fetch(&self, request: Request) -> worker::Result<Response> {
        unanswered::or_told(request.inner().into(), Box::pin(self.answer(request))).await
    }

    /// Nobody asked for long: what is stored says nothing any more, and would be billed.
    async fn alarm(&self) -> worker::Result<Response> {
        let busy = self.open.borrow().as_ref().is_some_and(|open| open.alarm_at > now());
        if !busy {
            self.open.replace(None);
            self.state.storage().delete_all().await?;
        }
        Response::empty()
    }
}

impl KeyObject {
    async fn answer(&self, mut request: Request) -> worker::Result<Response> {
        #[cfg(feature = "fault-injection")]
        super::fault::strike("key", request.headers().get("x-fault")?.as_deref()).await;
        if request.path() != ASK {
            return Response::error("unknown message", 404);
        }
        let ask: Ask = serde_json::from_slice(&request.bytes().await?)?;
        let now = now();
        let mut open = match self.open.take() {
            Some(open) => open,
            None => Open::read(&self.state)?,
        };
        let answer = open.windows.ask(&ask, now);
        let kept = open.keep();
        let rings_late = open.alarm_at < now + IDLE_MS / 2;
        if rings_late {
            open.alarm_at = now + IDLE_MS;
        }
        // What could not be stored is read again.
        self.open.replace(kept.is_ok().then_some(open));
        kept?;
        if rings_late {
            self.state.storage().set_alarm(i64::try_from(IDLE_MS).unwrap_or(i64::MAX)).await?;
        }
        Response::from_bytes(serde_json::to_vec(&answer)?)
    }
}

impl Open {
    fn read(state: &State) -> worker::Result<Self> {
        let database = SqlDatabase::of(state)?;
        database
            .run("CREATE TABLE IF NOT EXISTS windows (id INTEGER PRIMARY KEY, json TEXT NOT NULL) STRICT")?;
        let rows = database.query("SELECT json FROM windows", &[])?;
        let windows = rows.first().map(|row| serde_json::from_str(&row.text(0))).transpose()?;
        Ok(Open { database, windows: windows.unwrap_or_default(), alarm_at: 0 })
    }

    fn keep(&self) -> worker::Result<()> {
        let json = serde_json::to_string(&self.windows)?;
        self.database.query("INSERT OR REPLACE INTO windows VALUES (1, ?1)", &[json.into()]).map(drop)
    }
}
