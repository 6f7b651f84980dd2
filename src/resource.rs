//! What the object of a resource does: it takes facts from the resource's threads, forgets them, and tells the profile.
//!
//! Invariant: every message may come twice and late, in any order; what was forgotten stays forgotten, while what is said
//! afterwards is taken. Each function is one transaction of the caller's.

pub mod protocol;
pub mod store;

use self::protocol::{Delete, Done, Facts, Forget, Profile, Promote, ReadProfile, ResourceKey};
use self::store::{Forgotten, Store};
use crate::keys::digest;
use crate::memory::database::Database;
use crate::memory::observer::canonical_key;
use crate::memory::profile::{self, Fact};
use crate::turn::hex;

/// How long it is known what was forgotten, in milliseconds: far longer than a message can be late.
pub const FORGOTTEN_TTL_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// Alarms ring on the hour, so that what expires at about the same time takes one.
const ALARM_STEP_MS: u64 = 60 * 60 * 1000;

/// How many hexadecimal digits of the text's digest tell one text from another.
const VERSION_DIGITS: usize = 16;

/// Takes facts. One that was taken before, that is forgotten, or whose key has no canonical spelling changes nothing.
pub fn promote<D: Database>(store: &Store<D>, asked: &Promote) -> Result<Done, D::Error> {
    if !claim(store, &asked.key)? {
        return Ok(Done::NotFound);
    }
    let forgotten = store.forgotten()?;
    let mut is_new = false;
    for fact in &asked.facts {
        let Some(key) = canonical_key(&fact.key) else { continue };
        if !is_forgotten(&forgotten, fact) {
            is_new |= store.add(&Fact { key, ..fact.clone() })?;
        }
    }
    if is_new {
        let facts = store.facts()?;
        for fact in profile::superfluous(&facts) {
            store.remove(&fact.thread, fact.note)?;
        }
        write_profile(store)?;
    }
    Ok(Done::Done)
}

/// Forgets the facts of a thread, or of some of its notes.
pub fn forget<D: Database>(store: &Store<D>, asked: &Forget) -> Result<Done, D::Error> {
    if !claim(store, &asked.key)? {
        return Ok(Done::NotFound);
    }
    let notes: Vec<Option<i64>> = match &asked.notes {
        Some(notes) => notes.iter().copied().map(Some).collect(),
        None => vec![None],
    };
    for note in notes {
        store.remember_forgotten(&Forgotten {
            thread: Some(thread_digest(&asked.thread)),
            note,
            at: asked.at,
        })?;
    }
    let forgotten = store.forgotten()?;
    for fact in store.facts()?.iter().filter(|fact| is_forgotten(&forgotten, fact)) {
        store.remove(&fact.thread, fact.note)?;
    }
    write_profile(store)?;
    Ok(Done::Done)
}

/// Forgets all that was said until then.
pub fn delete<D: Database>(store: &Store<D>, asked: &Delete) -> Result<Done, D::Error> {
    if !claim(store, &asked.key)? {
        return Ok(Done::NotFound);
    }
    let all = Forgotten { thread: None, note: None, at: asked.at };
    // It goes without saying from now on.
    store.remove_forgotten(asked.at)?;
    store.remember_forgotten(&all)?;
    for fact in store.facts()?.iter().filter(|fact| is_forgotten(std::slice::from_ref(&all), fact)) {
        store.remove(&fact.thread, fact.note)?;
    }
    write_profile(store)?;
    Ok(Done::Done)
}

/// The profile as it is to be shown to a model. Of a resource that was never used, or is another one's, there is none.
pub fn read<D: Database>(store: &Store<D>, asked: &ReadProfile) -> Result<Profile, D::Error> {
    if store.owner()?.as_deref() != Some(&owner_digest(&asked.key)) {
        return Ok(Profile::default());
    }
    let text = match store.profile()? {
        Some((format, text)) if format == profile::FORMAT => text,
        // A version of the Worker that writes it otherwise, or one before the first fact.
        _ => write_profile(store)?,
    };
    Ok(match text {
        Some(text) => Profile { version: version(&text), text: Some(text) },
        None => Profile::default(),
    })
}

/// All facts, for moving them. Of a resource that was never used, or is another one's, there are none.
pub fn facts<D: Database>(store: &Store<D>, asked: &ReadProfile) -> Result<Facts, D::Error> {
    if store.owner()?.as_deref() != Some(&owner_digest(&asked.key)) {
        return Ok(Facts::default());
    }
    Ok(Facts { facts: store.facts()? })
}

/// Lets go of what needs not be known any more; true when nothing is left, and the storage may go as a whole.
pub fn expire<D: Database>(store: &Store<D>, now: u64) -> Result<bool, D::Error> {
    if let Some(until) = now.checked_sub(FORGOTTEN_TTL_MS) {
        store.remove_forgotten(until)?;
    }
    Ok(store.forgotten()?.is_empty() && store.facts()?.is_empty())
}

/// When to call [`expire`] next; `None` when there is nothing to wait for.
pub fn next_alarm<D: Database>(store: &Store<D>) -> Result<Option<u64>, D::Error> {
    let oldest = store.forgotten()?.iter().map(|forgotten| forgotten.at).min();
    Ok(oldest.map(|at| (at + FORGOTTEN_TTL_MS + 1).div_ceil(ALARM_STEP_MS).saturating_mul(ALARM_STEP_MS)))
}

/// Writes the profile anew, if it changed.
fn write_profile<D: Database>(store: &Store<D>) -> Result<Option<String>, D::Error> {
    let text = profile::render(&store.facts()?);
    if store.profile()? != Some((profile::FORMAT, text.clone())) {
        store.save_profile(profile::FORMAT, text.as_deref())?;
    }
    Ok(text)
}

fn is_forgotten(forgotten: &[Forgotten], fact: &Fact) -> bool {
    let thread = thread_digest(&fact.thread);
    forgotten.iter().any(|forgotten| {
        forgotten.thread.as_ref().is_none_or(|forgotten| *forgotten == thread)
            && forgotten.note.is_none_or(|note| note == fact.note)
            && fact.said_at <= forgotten.at
    })
}

/// Takes the object for a resource, if it is nobody's yet; false when it is another one's.
fn claim<D: Database>(store: &Store<D>, key: &ResourceKey) -> Result<bool, D::Error> {
    let digest = owner_digest(key);
    match store.owner()? {
        Some(owner) => Ok(owner == digest),
        None => store.save_owner(&digest).map(|()| true),
    }
}

/// Stands for project and resource, whose ids may be personal data and so must not outlive what is deleted.
fn owner_digest(key: &ResourceKey) -> String {
    hex(&digest(&[&key.project, &key.resource]))
}

/// Stands for a thread where it is remembered only that it was forgotten.
fn thread_digest(thread: &str) -> String {
    hex(&digest(&[thread]))
}

fn version(text: &str) -> String {
    let mut digits = hex(&digest(&[text]));
    digits.truncate(VERSION_DIGITS);
    digits
}
