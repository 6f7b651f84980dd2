//! Requests that come twice under one idempotency key: which is the first, and what the others get.
//!
//! Invariant: of all requests with one key at most one runs at a time, and at most one turn of theirs is answered.

use super::owns;
use crate::idempotency::{
    Claim, Claimed, KEY_TTL_MS, KeepAnswer, KeptAnswer, LONGEST_ANSWER, MOST_KEYS, UNBEGUN_MS,
};
use crate::memory::database::Database;
use crate::memory::store::{IdempotencyKey, Store, TurnStatus};

/// A request with a key has come: says what it is. The first claims the key.
pub fn claim<D: Database>(store: &Store<D>, claim: &Claim) -> Result<Claimed, D::Error> {
    if store.thread()?.is_some_and(|thread| !owns(&thread, &claim.thread)) {
        return Ok(Claimed::NotFound);
    }
    let since = claim.at.saturating_sub(KEY_TTL_MS);
    let known = store.idempotency_key(&claim.key, since)?;
    let repeated = known.is_some();
    if let Some(known) = known {
        if known.fingerprint != claim.fingerprint {
            return Ok(Claimed::Conflict);
        }
        let kept = known.answer.as_deref().and_then(|answer| serde_json::from_str::<KeptAnswer>(answer).ok());
        if let Some(kept) = kept {
            return Ok(Claimed::Finished(kept));
        }
        match store.turn(&known.turn)?.map(|turn| turn.status) {
            // Asked again by the one that was told so, if it is asked twice.
            Some(TurnStatus::Complete) => return Ok(Claimed::Again { turn: known.turn }),
            Some(TurnStatus::Pending) => return Ok(Claimed::Running),
            None if claim.at.saturating_sub(known.claimed_at) < UNBEGUN_MS => return Ok(Claimed::Running),
            None | Some(TurnStatus::Incomplete | TurnStatus::Failed | TurnStatus::Lost) => {}
        }
    }
    let claimed = IdempotencyKey {
        fingerprint: claim.fingerprint.clone(),
        turn: claim.turn.clone(),
        claimed_at: claim.at,
        answer: None,
    };
    store.claim_idempotency_key(&claim.key, &claimed, since, MOST_KEYS)?;
    Ok(Claimed::First { repeated })
}

/// A request with a key was answered: the answer is kept for those that come after.
pub fn keep_answer<D: Database>(store: &Store<D>, keep: &KeepAnswer) -> Result<(), D::Error> {
    match serde_json::to_string(&keep.answer) {
        Ok(answer) if answer.len() <= LONGEST_ANSWER => {
            store.keep_idempotent_answer(&keep.key, &keep.turn, &answer)
        }
        _ => Ok(()),
    }
}
