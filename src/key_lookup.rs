//! From a key's hash to whom it speaks for, in one question to the database.
//!
//! Invariant: a key that was revoked, or whose project was deleted, is nobody's; a rule that is stored and cannot be read
//! is an error, not the absence of a rule.

use std::rc::Rc;

use crate::bindings::{Binding, Bindings};
use crate::budget::Budget;
use crate::grant::Grant;
use crate::keys::{KeyHash, Principal};
use crate::ledger::write::Statement;
use crate::memory::database::Row;
use crate::project::Settings;

/// The statement whose row [`principal`] reads; no row: no such key. The secret that a key had before it was rotated is good
/// until the overlap ends, then it is an expired one.
pub fn statement(hash: &KeyHash) -> Statement {
    Statement::new(
        "SELECT k.id, k.project_id, k.label, k.prefix, k.disabled,
                CASE WHEN k.hash = ?1 THEN k.expires_at
                     ELSE min(k.previous_until, coalesce(k.expires_at, k.previous_until)) END,
                k.models, k.endpoints, k.limits,
                k.budget, p.settings, p.budget,
                (SELECT json_group_array(json_array(b.key_id, b.provider, b.sealed)) FROM bindings AS b
                 WHERE b.project_id = k.project_id AND b.key_id IN ('', k.id))
         FROM api_keys AS k JOIN projects AS p ON p.id = k.project_id
         WHERE (k.hash = ?1 OR k.previous_hash = ?1) AND k.revoked_at IS NULL AND p.deleted_at IS NULL",
        vec![hash.as_str().into()],
    )
}

/// Whom the row's key speaks for. Errors: what is stored in it that cannot be read.
pub fn principal(row: &Row) -> Result<Principal, String> {
    let optional = |column: usize| row.optional(column).map(|value| value.text());
    let bindings: Vec<(String, String, String)> =
        serde_json::from_str(&row.text(12)).map_err(|error| format!("bindings: {error}"))?;
    let bindings =
        bindings.into_iter().map(|(key_id, provider, sealed)| Binding { key_id, provider, sealed }).collect();
    let grant = Grant {
        disabled: row.integer(4) != 0,
        expires_at: row.optional(5).map(|at| at.unsigned()),
        limits: serde_json::from_str(&row.text(8)).map_err(|error| format!("limits: {error}"))?,
        budget: budget(optional(9)).map_err(|what| format!("the key's budget {what}"))?,
        ..Grant::default()
    };
    let project = row.text(1);
    Ok(Principal {
        key_id: row.text(0),
        label: row.text(2),
        prefix: row.text(3),
        settings: Rc::new(Settings::stored(&row.text(10))),
        budget: budget(optional(11)).map_err(|what| format!("the project's budget {what}"))?,
        grant: Rc::new(grant.with_lists(optional(6).as_deref(), optional(7).as_deref())),
        bindings: Rc::new(Bindings::new(project.as_str(), bindings)),
        project,
    })
}

/// The statement whose rows [`project_bindings`] reads.
pub fn project_bindings_statement(project: &str) -> Statement {
    Statement::new(
        "SELECT provider, sealed FROM bindings WHERE project_id = ?1 AND key_id = ''",
        vec![project.into()],
    )
}

/// The project's own bindings, for what is done on its account without a key.
pub fn project_bindings(project: &str, rows: &[Row]) -> Bindings {
    let all = rows
        .iter()
        .map(|row| Binding { key_id: String::new(), provider: row.text(0), sealed: row.text(1) })
        .collect();
    Bindings::new(project, all)
}

fn budget(stored: Option<String>) -> Result<Option<Budget>, String> {
    let Some(text) = stored else { return Ok(None) };
    let document = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    Budget::read(&document).map(Some)
}
