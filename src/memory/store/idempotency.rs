//! The keys of requests that may come twice.
//!
//! Invariant: a key's row names the turn that it stands for; the number of rows is bounded.

use super::Store;
use crate::memory::database::Database;

/// A key as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The request's fingerprint.
    pub fingerprint: String,
    /// The id of its turn.
    pub turn: String,
    /// When the request came, in Unix milliseconds.
    pub claimed_at: u64,
    /// The answer that is kept for it, JSON.
    pub answer: Option<String>,
}

impl<D: Database> Store<D> {
    /// A key that was claimed at `since` or later.
    pub fn idempotency_key(&self, key: &str, since: u64) -> Result<Option<IdempotencyKey>, D::Error> {
        let rows = self.grown()?.query(
            "SELECT fingerprint, turn, claimed_at, answer FROM idempotency_keys WHERE key = ?1 AND claimed_at >= ?2",
            &[key.into(), since.into()],
        )?;
        Ok(rows.first().map(|row| IdempotencyKey {
            fingerprint: row.text(0),
            turn: row.text(1),
            claimed_at: row.unsigned(2),
            answer: row.optional(3).map(|answer| answer.text()),
        }))
    }

    /// Keeps a key in the place of what was kept of it. What was claimed before `since` goes, and of all others the oldest
    /// beyond `most`.
    pub fn claim_idempotency_key(
        &self,
        key: &str,
        claimed: &IdempotencyKey,
        since: u64,
        most: u32,
    ) -> Result<(), D::Error> {
        self.grown()?.query(
            "INSERT OR REPLACE INTO idempotency_keys (key, fingerprint, turn, claimed_at, answer)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            &[
                key.into(),
                claimed.fingerprint.as_str().into(),
                claimed.turn.as_str().into(),
                claimed.claimed_at.into(),
                claimed.answer.clone().into(),
            ],
        )?;
        self.grown()?.query("DELETE FROM idempotency_keys WHERE claimed_at < ?1", &[since.into()])?;
        self.grown()?.query(
            "DELETE FROM idempotency_keys WHERE key IN
                 (SELECT key FROM idempotency_keys ORDER BY claimed_at DESC, rowid DESC LIMIT -1 OFFSET ?1)",
            &[i64::from(most).into()],
        )?;
        Ok(())
    }

    /// Keeps the answer of a key's turn; nothing where the key stands for another turn by now.
    pub fn keep_idempotent_answer(&self, key: &str, turn: &str, answer: &str) -> Result<(), D::Error> {
        self.grown()?.query(
            "UPDATE idempotency_keys SET answer = ?3 WHERE key = ?1 AND turn = ?2",
            &[key.into(), turn.into(), answer.into()],
        )?;
        Ok(())
    }
}
