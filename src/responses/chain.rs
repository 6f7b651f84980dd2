//! A chain's life: responses are kept, read, continued, deleted, and expire.
//!
//! Invariant: every message may come twice and late; what was deleted stays deleted. Each function is one transaction of
//! the caller's.

use std::collections::HashSet;

use serde_json::value::RawValue;

use super::id::is_own;
use super::items::{self, Placed, of_output};
use super::protocol::{
    Asked, Delete, Found, History, Items, Keep, Kept, Past, Place, Point, ReadHistory, ReadItems,
    ReadResponse,
};
use super::store::{Known, Store, Texts};
use crate::memory::database::Database;

/// How long the row of a deleted response stays, in milliseconds: far longer than a message can be late.
pub const DELETED_TTL_MS: u64 = 24 * 60 * 60 * 1000;

/// Alarms ring on the hour, so that what expires at about the same time takes one.
const ALARM_STEP_MS: u64 = 60 * 60 * 1000;

/// Keeps a response. An id of our own form means one response for ever; a provider may give its own ones again (some count
/// from 1 at each start), and the newest is meant then.
pub fn keep<D: Database>(store: &Store<D>, asked: &Asked<Keep>) -> Result<Kept, D::Error> {
    let keep = &asked.ask;
    if !claim(store, &asked.place)? {
        return Ok(Kept::NotFound);
    }
    let same = |known: &&Known| {
        is_own(&keep.id)
            || known.created_at == keep.created_at
            || known.deleted_at.is_some_and(|at| keep.created_at <= at)
    };
    if let Some(known) = store.with_id(&keep.id)?.iter().find(same) {
        return Ok(if known.deleted_at.is_some() { Kept::Deleted } else { Kept::Kept });
    }
    let parent = match (&keep.conversation, &keep.previous) {
        (Some(_), _) => store.last_of_conversation()?,
        // Deleted or not: what it went on from is still there.
        (None, Some(previous)) => store.with_id(previous)?.first().map(|known| known.seq),
        (None, None) => None,
    };
    store.add(keep, parent)?;
    Ok(Kept::Kept)
}

/// Remembers which other chain holds a response whose id has its home here.
pub fn point<D: Database>(store: &Store<D>, asked: &Asked<Point>) -> Result<Kept, D::Error> {
    if !claim(store, &asked.place)? {
        return Ok(Kept::NotFound);
    }
    let known = store.pointer(&asked.ask.id)?;
    if known.is_none_or(|(_, created_at)| created_at < asked.ask.created_at) {
        store.save_pointer(&asked.ask)?;
    }
    Ok(Kept::Kept)
}

/// Everything that was said up to a response, with it, or in a conversation.
pub fn history<D: Database>(
    store: &Store<D>,
    asked: &Asked<ReadHistory>,
) -> Result<Found<History>, D::Error> {
    let last = match &asked.ask.from {
        Past::Response(id) => find(store, &asked.place, id)?,
        Past::Conversation(_) if !owns(store, &asked.place)? => Found::Nowhere,
        Past::Conversation(_) => store.last_of_conversation()?.map_or(Found::Nowhere, Found::Here),
    };
    last.try_map(|seq| {
        let line = store.texts_of_line(seq)?;
        let maker = line.last().filter(|last| last.seq == seq).and_then(|last| last.maker.clone());
        let items =
            line.iter().flat_map(|texts| said(texts).map(|placed| travelling(placed, texts))).collect();
        Ok(History { items, whole: store.is_whole(seq)?, maker })
    })
}

/// A response object, as the client got it.
pub fn read<D: Database>(
    store: &Store<D>,
    asked: &Asked<ReadResponse>,
) -> Result<Found<Box<RawValue>>, D::Error> {
    let found = find(store, &asked.place, &asked.ask.id)?.try_map(|seq| store.response(seq))?;
    Ok(match found {
        Found::Here(text) => {
            text.and_then(|text| RawValue::from_string(text).ok()).map_or(Found::Nowhere, Found::Here)
        }
        Found::Elsewhere(chain) => Found::Elsewhere(chain),
        Found::Nowhere => Found::Nowhere,
    })
}

/// A page of the items that a response was made from: OpenAI's list holds the "items used to generate this response", and
/// those of a conversation are "prepended to `input_items`"; so what was said before is in it, and only the response's own
/// output is not.
pub fn input_items<D: Database>(
    store: &Store<D>,
    asked: &Asked<ReadItems>,
) -> Result<Found<Items>, D::Error> {
    find(store, &asked.place, &asked.ask.id)?.try_map(|seq| {
        let mut line = store.texts_of_line(seq)?;
        if let Some(own) = line.last_mut() {
            own.response.clear();
        }
        let placed = line.iter().flat_map(said).collect();
        Ok(items::page(placed, &asked.ask).unwrap_or(Items::UnknownAfter))
    })
}

/// Deletes what a response was asked and answered, for good. Responses that go on from it stay as they are, only that
/// their history lacks this turn.
pub fn delete<D: Database>(store: &Store<D>, asked: &Asked<Delete>) -> Result<Found<()>, D::Error> {
    let Delete { id, at } = &asked.ask;
    if !owns(store, &asked.place)? {
        return Ok(Found::Nowhere);
    }
    let mut deleted = false;
    for known in store.with_id(id)? {
        match known.deleted_at {
            None => store.erase(known.seq, *at)?,
            // The same message again.
            Some(before) if before == *at => {}
            Some(_) => continue,
        }
        deleted = true;
    }
    Ok(match store.pointer(id)? {
        Some((chain, _)) => Found::Elsewhere(chain),
        None if deleted => Found::Here(()),
        None => Found::Nowhere,
    })
}

/// Deletes a response wherever this chain knows of it; one that is still to come will not be kept.
pub fn erase<D: Database>(store: &Store<D>, asked: &Asked<Delete>) -> Result<Kept, D::Error> {
    let Delete { id, at } = &asked.ask;
    if !claim(store, &asked.place)? {
        return Ok(Kept::NotFound);
    }
    let known = store.with_id(id)?;
    for known in known.iter().filter(|known| known.deleted_at.is_none()) {
        store.erase(known.seq, *at)?;
    }
    if known.is_empty() {
        store.add_erased(id, *at)?;
    }
    store.remove_pointer(id)?;
    Ok(Kept::Deleted)
}

/// Removes what is older than `ttl` milliseconds, except what a younger response goes on from. True when nothing is left.
pub fn expire<D: Database>(store: &Store<D>, now: u64, ttl: u64) -> Result<bool, D::Error> {
    let mut needed = HashSet::new();
    for known in store.all()? {
        let due = match known.deleted_at {
            Some(at) => at.saturating_add(DELETED_TTL_MS),
            None => known.created_at.saturating_add(ttl),
        };
        if due > now || needed.contains(&known.seq) {
            needed.extend(known.parent);
        } else {
            store.remove(known.seq)?;
        }
    }
    if let Some(until) = now.checked_sub(ttl) {
        store.remove_pointers(until)?;
    }
    store.is_empty()
}

/// When to call [`expire`] next; `None` when there is nothing to wait for.
pub fn next_alarm<D: Database>(store: &Store<D>, now: u64, ttl: u64) -> Result<Option<u64>, D::Error> {
    let due = match store.next_due(now, ttl, DELETED_TTL_MS)? {
        Some(due) => due,
        None if store.is_empty()? => return Ok(None),
        // All of it is due already: an alarm was missed.
        None => now + 1,
    };
    Ok(Some(due.div_ceil(ALARM_STEP_MS).saturating_mul(ALARM_STEP_MS)))
}

/// The `seq` of the newest response with this id, or where to look for it.
fn find<D: Database>(store: &Store<D>, place: &Place, id: &str) -> Result<Found<i64>, D::Error> {
    if !owns(store, place)? {
        return Ok(Found::Nowhere);
    }
    let known = store.with_id(id)?.into_iter().next();
    let made_here = known.as_ref().map(|known| known.created_at);
    if let Some((chain, made_there)) = store.pointer(id)?
        && made_here.is_none_or(|here| here < made_there)
    {
        return Ok(Found::Elsewhere(chain));
    }
    Ok(match known {
        Some(Known { seq, deleted_at: None, .. }) => Found::Here(seq),
        _ => Found::Nowhere,
    })
}

fn owns<D: Database>(store: &Store<D>, place: &Place) -> Result<bool, D::Error> {
    Ok(store
        .place()?
        .is_some_and(|(project, chain)| project == place.project && chain == place.chain.as_str()))
}

/// Takes the object for a chain, if it is nobody's yet.
fn claim<D: Database>(store: &Store<D>, place: &Place) -> Result<bool, D::Error> {
    if store.place()?.is_none() {
        store.save_place(place)?;
    }
    owns(store, place)
}

/// An item as it goes into another request, perhaps to another provider: what the maker sealed carries the maker's name.
fn travelling(placed: Placed, texts: &Texts) -> Box<RawValue> {
    match &texts.maker {
        Some(maker) if placed.output => items::wrapped(placed.item, maker),
        _ => placed.item,
    }
}

/// The items of a response: its input, then its output.
fn said(texts: &Texts) -> impl Iterator<Item = Placed> {
    // What this version cannot read (written by a newer one) is left out, not a dead chain.
    let input: Vec<Box<RawValue>> = serde_json::from_str(&texts.input).unwrap_or_default();
    let placed = |output| {
        let response = texts.id.clone();
        move |(at, item)| Placed { response: response.clone(), output, at, item }
    };
    let input = input.into_iter().enumerate().map(placed(false));
    input.chain(of_output(&texts.response).into_iter().enumerate().map(placed(true)))
}

impl<T> Found<T> {
    fn try_map<U, E>(self, work: impl FnOnce(T) -> Result<U, E>) -> Result<Found<U>, E> {
        Ok(match self {
            Found::Here(found) => Found::Here(work(found)?),
            Found::Elsewhere(chain) => Found::Elsewhere(chain),
            Found::Nowhere => Found::Nowhere,
        })
    }
}
