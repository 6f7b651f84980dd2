//! Gateway keys in D1, behind a cache in the isolate's memory.
//!
//! Invariant: a revoked key works for at most [`KNOWN_MS`] longer, a new one after at most [`UNKNOWN_MS`]; a database that
//! cannot be reached is never mistaken for an unknown key.

use std::cell::RefCell;
use std::rc::Rc;

use serde::Deserialize;
use serde_json::json;
use worker::Env;

use super::{border::now, log};
use crate::auth::unknown_key;
use crate::cache::ExpiringCache;
use crate::error::{Error, Kind};
use crate::keys::{KeyHash, PlainKey, Principal};
use crate::project::Settings;

/// How long a known key is taken from memory.
const KNOWN_MS: u64 = 30_000;
/// How long an unknown key is refused from memory.
const UNKNOWN_MS: u64 = 5_000;
/// About 2 MB of an isolate's 128.
const CAPACITY: usize = 10_000;

thread_local! {
    static PRINCIPALS: RefCell<ExpiringCache<KeyHash, Option<Principal>>> =
        RefCell::new(ExpiringCache::new(CAPACITY));
}

#[derive(Deserialize)]
struct KeyRow {
    id: String,
    project_id: String,
    label: String,
    prefix: String,
    settings: String,
}

/// Whom a key speaks for. Errors: 401 for an unknown key, 503 when the database cannot say.
pub async fn principal(env: &Env, key: &PlainKey) -> Result<Principal, Error> {
    let hash = key.hash();
    let cached = PRINCIPALS.with_borrow(|cache| cache.get(&hash, now()).cloned());
    let found = match cached {
        Some(found) => found,
        None => {
            let found = look_up(env, &hash).await.map_err(|error| {
                log::event("key_lookup_failed", json!({ "error": error.to_string() }));
                Error::new(
                    Kind::Overloaded,
                    "The gateway cannot check keys at the moment: its database does not answer. Try again in a few \
                     seconds.",
                )
            })?;
            let ttl = if found.is_some() { KNOWN_MS } else { UNKNOWN_MS };
            PRINCIPALS.with_borrow_mut(|cache| cache.put(hash, found.clone(), now(), ttl));
            found
        }
    };
    found.ok_or_else(unknown_key)
}

async fn look_up(env: &Env, hash: &KeyHash) -> worker::Result<Option<Principal>> {
    let row = env
        .d1("DB")?
        .prepare(
            "SELECT k.id, k.project_id, k.label, k.prefix, p.settings
             FROM api_keys AS k JOIN projects AS p ON p.id = k.project_id
             WHERE k.hash = ?1 AND k.revoked_at IS NULL",
        )
        .bind(&[hash.as_str().into()])?
        .first::<KeyRow>(None)
        .await?;
    Ok(row.map(|row| Principal {
        project: row.project_id,
        key_id: row.id,
        label: row.label,
        prefix: row.prefix,
        settings: Rc::new(Settings::stored(&row.settings)),
    }))
}
