//! What becomes of a thread's memory when messages are deleted for good.
//!
//! Invariant: afterwards no note, no stretch of the log, no script of a reflector and no news to the resource rests on a deleted
//! message, or was written by a model that was shown it among others; what else those models were shown is raw again, and
//! noted anew. The conversation's hashes are those of one in which the deleted messages were never said.

use std::collections::BTreeSet;

use super::activation::render_anew;
use super::database::Database;
use super::news::News;
use super::state::State;
use super::store::{Counts, Kind, NoteStatus, SegmentState, Store, TurnStatus, turn_of};
use crate::time::Zone;
use crate::turn::chain_hash;

/// Deletes the messages at these places, with all that was made of them. Gives what was deleted.
pub fn erase<D: Database>(
    store: &Store<D>,
    state: &mut State,
    places: &[i64],
    now: u64,
    zone: Zone<'_>,
) -> Result<Counts, D::Error> {
    let Some(first) = places.iter().copied().min() else { return Ok(Counts::default()) };
    let claimed: BTreeSet<i64> = store.segments_claiming(places)?.into_iter().collect();
    let jobs = free_segments(store, &claimed, places)?;
    let fallen = fallen_notes(store, &claimed, places)?;
    let gone: Vec<i64> = fallen.iter().copied().collect();
    let mut returning = BTreeSet::new();
    for id in &gone {
        let before = store.predecessors(*id)?;
        returning.extend(before.iter().map(|note| note.id).filter(|id| !fallen.contains(id)));
    }
    let returning: Vec<i64> = returning.into_iter().collect();
    store.mark_notes(&returning, NoteStatus::Active, None)?;
    store.erase_notes(&gone)?;
    store.erase_messages(places)?;
    rechain(store, first)?;
    close_turns(store, places, now)?;
    if !gone.is_empty() {
        store.erase_generations()?;
        render_anew(store, 0, zone)?;
        take_back(store, &fallen)?;
        store.post(&News::Forget { notes: gone.clone(), at: now })?;
    }
    // The profile that the thread was told can hold a fact of its own; it is told again.
    state.profile = None;
    state.log_version += 1;
    state.prefix_changed = true;
    state.incompressible_at = 0;
    Ok(Counts { messages: places.len() as u64, notes: gone.len() as u64, jobs })
}

/// Ends what is under way or ready about the places, and makes everything else that it is about raw again. Gives the number
/// of jobs that were waiting or under way.
pub fn free_segments<D: Database>(
    store: &Store<D>,
    claimed: &BTreeSet<i64>,
    places: &[i64],
) -> Result<u64, D::Error> {
    let mut jobs = 0;
    for state in [SegmentState::Running, SegmentState::Planned, SegmentState::Ready, SegmentState::Active] {
        for mut segment in store.segments(state)? {
            let is_open = matches!(state, SegmentState::Running | SegmentState::Planned);
            // A rewrite was made of the log as it was, whatever it is about.
            let is_rewrite = segment.kind == Kind::Reflect && state != SegmentState::Active;
            if claimed.contains(&segment.id) || is_rewrite {
                let mut left = store.claimed_places(segment.id)?;
                left.retain(|place| !places.contains(place));
                store.cover(&left, false)?;
                store.claim(&left, None)?;
                segment.state = SegmentState::Superseded;
                jobs += u64::from(is_open);
            } else if state == SegmentState::Running {
                // Whoever is at it was shown the log as it was: it is asked again.
                segment.state = SegmentState::Planned;
                segment.attempt = segment.attempt.saturating_sub(1);
            } else {
                continue;
            }
            segment.cycle = None;
            segment.lease_until = None;
            segment.error = None;
            segment.script = None;
            store.save_segment(&segment)?;
        }
    }
    Ok(jobs)
}

/// The notes that rest on the places or were made in one go with such a note, and those that took the place of any of them.
fn fallen_notes<D: Database>(
    store: &Store<D>,
    claimed: &BTreeSet<i64>,
    places: &[i64],
) -> Result<BTreeSet<i64>, D::Error> {
    let mut fallen: BTreeSet<i64> = store.notes_resting_on(places)?.into_iter().collect();
    for segment in claimed {
        fallen.extend(store.notes_of(*segment)?.iter().map(|note| note.id));
    }
    let mut rising: Vec<i64> = fallen.iter().copied().collect();
    while let Some(id) = rising.pop() {
        if let Some(successor) = store.rewritten_as(id)?
            && fallen.insert(successor)
        {
            rising.push(successor);
        }
    }
    Ok(fallen)
}

/// Takes facts that rest on fallen notes out of what the resource is still to be told.
pub fn take_back<D: Database>(store: &Store<D>, fallen: &BTreeSet<i64>) -> Result<(), D::Error> {
    for (id, news) in store.outbox(u32::MAX)? {
        match news {
            Some(News::Promote(mut facts)) if facts.iter().any(|fact| fallen.contains(&fact.note)) => {
                facts.retain(|fact| !fallen.contains(&fact.note));
                store.repost(id, &News::Promote(facts))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Writes the hashes of the inputs from `first` on anew, as those of what is left.
fn rechain<D: Database>(store: &Store<D>, first: i64) -> Result<(), D::Error> {
    let mut chain = store.chain_before(first)?;
    let mut chains = Vec::new();
    for (seq, content_hash) in store.standing_inputs_from(first)? {
        let next = chain_hash(chain.as_deref(), &content_hash);
        chains.push((seq, next.clone()));
        chain = Some(next);
    }
    store.save_chains(first, &chains)
}

/// An answer that is still to come to a deleted message is not stored.
fn close_turns<D: Database>(store: &Store<D>, places: &[i64], now: u64) -> Result<(), D::Error> {
    let turns: BTreeSet<i64> = places.iter().map(|place| turn_of(*place)).collect();
    for turn in turns {
        if let Some(mut turn) = store.turn_at(turn)?
            && matches!(turn.status, TurnStatus::Pending | TurnStatus::Lost)
        {
            turn.status = TurnStatus::Failed;
            turn.finished_at = Some(now);
            store.save_turn(&turn)?;
        }
    }
    Ok(())
}
