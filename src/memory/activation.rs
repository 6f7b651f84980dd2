//! Notes take the place of the messages that they were made from.
//!
//! Invariant: in one transaction the notes of a segment come into the log and its messages leave the prompt, oldest segments
//! first and none before its turn; what must stay as it was said stays. Nothing is deleted.

use super::database::Database;
use super::news::{News, facts};
use super::note::Note;
use super::plan::{Kept, kept};
use super::record::{self, Record};
use super::reflector;
use super::render;
use super::secrets;
use super::settings::Settings;
use super::state::State;
use super::store::{Kind, NewNote, NoteStatus, Segment, SegmentState, Store};
use crate::memory::address::Scope;
use crate::time::Zone;
use crate::tokens;
use crate::turn::Stop;

/// What may happen to a thread's prompt now.
pub struct Moment<'a> {
    /// The settings in force.
    pub settings: &'a Settings,
    /// Unix milliseconds.
    pub now: u64,
    /// The provider has forgotten the prompt, so that changing it costs nothing.
    pub is_idle: bool,
    /// The thread's id, for what its resource is told.
    pub thread: &'a str,
    /// The user's time zone.
    pub zone: Zone<'a>,
}

/// Puts what is ready to use, where a threshold is crossed or the change is free. True when the log changed.
pub fn activate<D: Database>(
    store: &Store<D>,
    state: &mut State,
    moment: &Moment<'_>,
) -> Result<bool, D::Error> {
    let ready = store.segments(SegmentState::Ready)?;
    if ready.is_empty() {
        return Ok(false);
    }
    let mut changed = false;
    let settings = moment.settings;
    if let Some(rewrite) = ready.iter().find(|segment| segment.kind == Kind::Reflect)
        && (moment.is_idle || store.note_extent(NoteStatus::Active)?.tokens >= settings.swap_tokens)
    {
        changed |= rewrite_log(store, state, moment, rewrite.clone())?;
    }
    let raw = state.corrected(store.raw_extent()?.tokens);
    if moment.is_idle || raw >= settings.observe_tokens {
        let kept = kept(&store.raw_places()?, settings.keep_tokens, settings.observe_tokens / 2);
        for segment in store.segments_in_order()? {
            if segment.state != SegmentState::Ready || !cover(store, segment.id, kept)? {
                break;
            }
            put_to_use(store, state, moment, segment)?;
            changed = true;
        }
        if changed {
            cover_leftovers(store, kept)?;
        }
    }
    if changed {
        state.log_version += 1;
        state.prefix_changed = true;
        // The prompt changes anyway, so it may as well take up what the resource's profile says by now.
        state.profile = None;
    }
    Ok(changed)
}

/// Covers a segment's messages, if none of them has to stay; the user's newest message may stay by itself.
fn cover<D: Database>(store: &Store<D>, segment: i64, kept: Kept) -> Result<bool, D::Error> {
    let claimed = store.claimed_places(segment)?;
    let stays = |seq: i64| Some(seq) == kept.user;
    if claimed.iter().any(|seq| *seq >= kept.from && !stays(*seq)) {
        return Ok(false);
    }
    let leaving: Vec<i64> = claimed.into_iter().filter(|seq| !stays(*seq)).collect();
    store.cover(&leaving, true)?;
    Ok(true)
}

/// Covers messages that stayed behind when their segment came into use, and need not any more.
fn cover_leftovers<D: Database>(store: &Store<D>, kept: Kept) -> Result<(), D::Error> {
    let leaving: Vec<i64> =
        store.left_behind()?.into_iter().filter(|seq| *seq < kept.from && Some(*seq) != kept.user).collect();
    store.cover(&leaving, true)
}

fn put_to_use<D: Database>(
    store: &Store<D>,
    state: &mut State,
    moment: &Moment<'_>,
    mut segment: Segment,
) -> Result<(), D::Error> {
    let notes = store.notes_of(segment.id)?;
    let ids: Vec<i64> = notes.iter().map(|note| note.id).collect();
    store.mark_notes(&ids, NoteStatus::Active, None)?;
    let last_day = store.rendered()?.last().and_then(|stretch| stretch.last_day);
    store.append_render(&render::stretch(segment.id, &notes, last_day, moment.zone))?;
    store.freeze_notes_of(segment.id)?;
    tell_resource(store, moment, &notes)?;
    state.tokens_observed += segment.tokens;
    segment.state = SegmentState::Active;
    segment.activated_at = Some(moment.now);
    store.save_segment(&segment)
}

/// Applies a reflector's edits to the notes that are active now, and writes the log anew. False when nothing of them could
/// be applied.
fn rewrite_log<D: Database>(
    store: &Store<D>,
    state: &mut State,
    moment: &Moment<'_>,
    mut segment: Segment,
) -> Result<bool, D::Error> {
    let active = store.notes(NoteStatus::Active)?;
    let edits = reflector::read(segment.script.take().as_deref(), Some(&Stop::End)).unwrap_or_default();
    let outcome = reflector::apply_beside(&edits, &active, &store.corrected_notes()?);
    segment.state = if outcome.is_change() { SegmentState::Active } else { SegmentState::Failed };
    segment.activated_at = Some(moment.now);
    store.save_segment(&segment)?;
    if !outcome.is_change() {
        return Ok(false);
    }
    keep_generation(store, state, moment)?;
    for (id, by) in &outcome.drop {
        store.mark_notes(&[*id], NoteStatus::Dropped, *by)?;
    }
    let mut replaced = Vec::new();
    for replacement in &outcome.replace {
        let new = replacement.note.clone();
        let note = Note {
            id: 0,
            segment: segment.id,
            parent: new.parent,
            priority: new.priority,
            speaker: new.speaker,
            said_at: new.said_at,
            refers: new.refers,
            key: new.key,
            text: secrets::mask(&new.text).into_owned(),
            sources: new.sources,
        };
        let tokens = tokens::of_text(&render::line(&note, moment.zone));
        let new = NewNote { note, status: NoteStatus::Active, tokens, created_at: moment.now };
        let id = store.add_note(&new)?;
        store.mark_notes(&replacement.ids, NoteStatus::Superseded, Some(id))?;
        replaced.extend(replacement.ids.iter().map(|old| (*old, id)));
    }
    // Only now are all of them there: a detail may have been replaced as well as its note.
    for (old, new) in replaced {
        store.adopt(old, new)?;
    }
    render_anew(store, segment.id, moment.zone)?;
    if moment.settings.scope == Scope::Resource && !outcome.drop.is_empty() {
        // What was taken back in this thread must not live on in the profile.
        let notes = outcome.drop.iter().map(|(id, _)| *id).collect();
        store.post(&News::Forget { notes, at: moment.now })?;
    }
    tell_resource(store, moment, &store.notes(NoteStatus::Active)?)?;
    state.reflections += 1;
    Ok(true)
}

/// Keeps the log as it stands, which ends now.
fn keep_generation<D: Database>(
    store: &Store<D>,
    state: &State,
    moment: &Moment<'_>,
) -> Result<(), D::Error> {
    let Some(thread) = store.thread()? else { return Ok(()) };
    let record = record::record(store, thread, state, moment.settings, moment.now)?;
    store.add_generation(&Record {
        created_at: store.last_generation_ended()?.unwrap_or(record.created_at),
        updated_at: moment.now,
        is_observing: false,
        is_reflecting: false,
        ..record
    })
}

/// Writes the frozen log anew from the active notes, in the order in which it was said.
pub fn render_anew<D: Database>(store: &Store<D>, segment: i64, zone: Zone<'_>) -> Result<(), D::Error> {
    let mut notes = store.notes(NoteStatus::Active)?;
    notes.sort_by_key(|note| (note.said_at, note.id));
    store.clear_render()?;
    store.freeze_notes()?;
    if notes.is_empty() {
        return Ok(());
    }
    store.append_render(&render::stretch(segment, &notes, None, zone))
}

/// Tells the resource's profile what notes say of its user, where threads share that.
fn tell_resource<D: Database>(store: &Store<D>, moment: &Moment<'_>, notes: &[Note]) -> Result<(), D::Error> {
    if moment.settings.scope != Scope::Resource {
        return Ok(());
    }
    let facts = facts(notes, moment.thread, moment.zone);
    if facts.is_empty() { Ok(()) } else { store.post(&News::Promote(facts)) }
}
