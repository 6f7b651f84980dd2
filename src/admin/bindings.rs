//! Credentials of providers: set, shown masked, deleted, sealed anew.
//!
//! Invariant: a credential comes in and never goes out but to its provider. Where that is, only the deployment's
//! configuration says.

use serde_json::{Value as Json, json};

use super::fields::Fields;
use super::{Answer, Owner, Request, Store, keys, projects};
use crate::bindings::hint;
use crate::config::Config;
use crate::error::Error;
use crate::keys::{KEY_PREFIX, Secret};
use crate::ledger::write::Statement;
use crate::memory::database::Row;
use crate::time::iso;
use crate::vault::{NONCE_BYTES, Place, key_of};

const COLUMNS: &str = "provider, hint, sealed, created_at, updated_at";

/// The name of the provider that a path means. Errors: 404 that lists the providers.
pub fn provider<'a>(config: &'a Config, named: &str) -> Result<&'a str, Error> {
    config.provider(named).map(|provider| provider.name.as_str()).ok_or_else(|| {
        let all: Vec<&str> = config.providers.iter().map(|provider| provider.name.as_str()).collect();
        Error::not_found(format!("The gateway has no provider of that name. It has: {}.", all.join(", ")))
    })
}

/// `GET …/bindings`.
pub async fn list(store: &impl Store, owner: &Owner) -> Result<Answer, Error> {
    check(store, owner).await?;
    let select =
        format!("SELECT {COLUMNS} FROM bindings WHERE project_id = ?1 AND key_id = ?2 ORDER BY provider");
    let values = vec![owner.project.as_str().into(), owner.key.as_str().into()];
    let rows = store.rows(Statement::new(select, values)).await?;
    Ok(Answer::ok(json!({ "bindings": rows.iter().map(shown).collect::<Vec<_>>() })))
}

/// `GET …/bindings/{provider}`.
pub async fn one(store: &impl Store, owner: &Owner, provider: &str) -> Result<Answer, Error> {
    check(store, owner).await?;
    let select =
        format!("SELECT {COLUMNS} FROM bindings WHERE project_id = ?1 AND key_id = ?2 AND provider = ?3");
    let rows = store.rows(Statement::new(select, place(owner, provider))).await?;
    Ok(Answer::ok(json!({ "binding": shown(rows.first().ok_or_else(not_found)?) })))
}

/// `PUT …/bindings/{provider}`: `{credential}`.
pub async fn put(
    store: &impl Store,
    config: &Config,
    request: Request<'_>,
    owner: &Owner,
    provider: &str,
) -> Result<Answer, Error> {
    let fields = Fields::read(request.body, &["credential"])?;
    let credential = fields.value("credential", credential)?.ok_or_else(|| {
        Error::invalid("credential", "The field `credential` is missing: the provider's key or token.")
    })?;
    check(store, owner).await?;
    let nonce = nonce((request.random)());
    let at = Place { project: &owner.project, key_id: &owner.key, provider };
    let sealed = config.master_keys.seal(&credential, at, nonce)?;
    let upsert = format!(
        "INSERT INTO bindings (project_id, key_id, provider, sealed, hint, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)
         ON CONFLICT DO UPDATE SET sealed = excluded.sealed, hint = excluded.hint, updated_at = excluded.updated_at
         RETURNING {COLUMNS}"
    );
    let mut values = place(owner, provider);
    values.extend([sealed.into(), hint(&credential).into(), request.now.into()]);
    match store.rows(Statement::new(upsert, values)).await?.first() {
        Some(row) => Ok(Answer::ok(json!({ "binding": shown(row) }))),
        None => Err(Error::internal()),
    }
}

/// `DELETE …/bindings/{provider}`.
pub async fn delete(store: &impl Store, owner: &Owner, provider: &str) -> Result<Answer, Error> {
    check(store, owner).await?;
    let delete =
        "DELETE FROM bindings WHERE project_id = ?1 AND key_id = ?2 AND provider = ?3 RETURNING provider";
    match store.rows(Statement::new(delete, place(owner, provider))).await?.first() {
        Some(_) => Ok(Answer::ok(json!({ "ok": true, "provider": provider }))),
        None => Err(not_found()),
    }
}

/// `POST /bindings/reseal`: everything that is sealed under an older master key is sealed under the current one. What
/// cannot be opened is left as it is, and told of.
pub async fn reseal(store: &impl Store, config: &Config, request: Request<'_>) -> Result<Answer, Error> {
    Fields::read(request.body, &[])?;
    let Some(current) = config.master_keys.current() else {
        return Err(Error::bad_request("There is no master key. Set the secret MASTER_KEYS.")
            .with_code("no_master_key"));
    };
    let select = "SELECT project_id, key_id, provider, sealed FROM bindings";
    let (mut updates, mut failed, mut kept) = (Vec::new(), Vec::new(), 0u32);
    for row in store.rows(Statement::new(select, vec![])).await? {
        let [project, key_id, provider, sealed] = [0, 1, 2, 3].map(|column| row.text(column));
        if key_of(&sealed) == Some(current) {
            kept += 1;
            continue;
        }
        let at = Place { project: &project, key_id: &key_id, provider: &provider };
        let again = config
            .master_keys
            .open(&sealed, at)
            .and_then(|credential| config.master_keys.seal(&credential, at, nonce((request.random)())));
        match again {
            // Only over what was read: a credential that was set meanwhile stays.
            Ok(again) => updates.push(Statement::new(
                "UPDATE bindings SET sealed = ?5
                 WHERE project_id = ?1 AND key_id = ?2 AND provider = ?3 AND sealed = ?4",
                [project, key_id, provider, sealed, again].map(Into::into).into(),
            )),
            Err(error) => failed.push(json!({
                "project_id": project,
                "key_id": if key_id.is_empty() { Json::Null } else { key_id.into() },
                "provider": provider,
                "error": error.message(),
            })),
        }
    }
    let resealed = updates.len();
    if resealed > 0 {
        store.run(updates).await?;
    }
    Ok(Answer::ok(json!({ "master_key": current, "resealed": resealed, "kept": kept, "failed": failed })))
}

/// Checks that the owner exists. Errors: 404.
async fn check(store: &impl Store, owner: &Owner) -> Result<(), Error> {
    match owner.key.as_str() {
        "" => projects::check(store, &owner.project).await,
        key => keys::check(store, &owner.project, key).await,
    }
}

fn place(owner: &Owner, provider: &str) -> Vec<crate::memory::database::Value> {
    vec![owner.project.as_str().into(), owner.key.as_str().into(), provider.into()]
}

fn not_found() -> Error {
    Error::not_found("There is no credential for this provider here. PUT sets one.")
}

fn nonce(random: [u8; 32]) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    nonce.iter_mut().zip(random).for_each(|(byte, drawn)| *byte = drawn);
    nonce
}

/// A credential that a header can carry.
fn credential(value: &Json) -> Result<Secret, String> {
    match value.as_str().map(str::trim) {
        Some(text) if text.starts_with(KEY_PREFIX) => {
            Err("is a key of this gateway; it must be one of the provider".to_owned())
        }
        Some(text)
            if (1..=8_192).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            Ok(Secret::new(text))
        }
        _ => Err("must be the provider's key or token: a text without blanks".to_owned()),
    }
}

fn shown(row: &Row) -> Json {
    json!({
        "provider": row.text(0),
        "credential": row.text(1),
        "master_key": key_of(&row.text(2)),
        "created_at": iso(row.unsigned(3)),
        "updated_at": iso(row.unsigned(4)),
    })
}
