//! Gateway keys in D1, behind what the isolate remembers of them.
//!
//! Invariant: a database that cannot be reached is never mistaken for an unknown key.

use std::cell::RefCell;

use serde_json::json;
use worker::Env;

use super::border::{now, within};
use super::{d1_ledger, log};
use crate::auth::unknown_key;
use crate::bindings::Bindings;
use crate::error::{Error, Kind};
use crate::key_cache::{KeyCache, Known};
use crate::key_lookup;
use crate::keys::{KeyHash, PlainKey, Principal};

/// How long a request waits for the database: less than clients wait for a connection.
const DEADLINE_MS: u32 = 5_000;

thread_local! {
    static KEYS: RefCell<KeyCache> = RefCell::default();
}

/// Whom a key speaks for. Errors: 401 for an unknown key, 503 when the database cannot say and nobody remembers.
pub async fn principal(env: &Env, key: &PlainKey) -> Result<Principal, Error> {
    let hash = key.hash();
    if let Known::Fresh(found) = KEYS.with_borrow(|keys| keys.look(&hash, now())) {
        return found.ok_or_else(unknown_key);
    }
    let reason = match within(DEADLINE_MS, look_up(env, &hash)).await {
        Some(Ok(found)) => {
            KEYS.with_borrow_mut(|keys| keys.learned(hash, found.clone(), now()));
            return found.ok_or_else(unknown_key);
        }
        Some(Err(reason)) => reason,
        None => format!("no answer within {DEADLINE_MS} ms"),
    };
    log::event("key_lookup_failed", json!({ "error": reason }));
    KEYS.with_borrow_mut(|keys| keys.unanswered(&hash, now())).ok_or_else(|| {
        Error::new(
            Kind::Overloaded,
            "The gateway cannot check keys at the moment: its database does not answer. Try again in a few seconds.",
        )
    })
}

/// Something was changed: this isolate asks for every key again. The others do so within half a minute.
pub fn forget() {
    KEYS.with_borrow_mut(KeyCache::clear);
}

async fn look_up(env: &Env, hash: &KeyHash) -> Result<Option<Principal>, String> {
    let database = env.d1("DB").map_err(|error| error.to_string())?;
    let rows =
        d1_ledger::read(&database, &key_lookup::statement(hash)).await.map_err(|error| error.to_string())?;
    rows.first().map(key_lookup::principal).transpose()
}

/// The project's own bindings, for memory's calls of models. Errors: the database does not answer; then nothing may be
/// asked on the deployment's account instead.
pub async fn project_bindings(env: &Env, project: &str) -> Result<Bindings, String> {
    let database = env.d1("DB").map_err(|error| error.to_string())?;
    let statement = key_lookup::project_bindings_statement(project);
    let rows = within(DEADLINE_MS, d1_ledger::read(&database, &statement))
        .await
        .ok_or_else(|| format!("no answer within {DEADLINE_MS} ms"))?
        .map_err(|error| error.to_string())?;
    Ok(key_lookup::project_bindings(project, &rows))
}
