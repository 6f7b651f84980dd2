//! Finding again what a thread holds: by words, and by the note that was made of it.
//!
//! Invariant: what is found stands in the thread now; what a branch replaced or a reflector took out of the log is not found,
//! and a note's sources are the very messages that it rests on, however often it was rewritten.

use std::collections::{BTreeMap, BTreeSet};

use super::owns;
use crate::memory::database::Database;
use crate::memory::note::Note;
use crate::memory::search::{CANDIDATES, Place, Question, Ranked, Rarity, rank, snippet, text_of};
use crate::memory::store::{FoundMessage, Store};
use crate::protocol::{Beside, Found, Hit, HitKind, PublicMessage, ReadAround, ReadSources, Search, Sources};

/// How many steps a search takes the index further by itself, so that it stays well below a second.
const INDEX_STEPS_PER_SEARCH: usize = 4;
/// How many messages before a hit and behind it are shown with it: what answers a question often stands beside what has its
/// words.
const AROUND: u32 = 2;
/// Messages that were said so much earlier or later are of another conversation.
const AROUND_MS: u64 = 6 * 3_600_000;
/// The most hits of one search.
const MAX_HITS: u32 = 100;

/// Finds what messages and notes have to do with a question, best first. What was said since the last search is indexed
/// first.
pub fn search<D: Database>(store: &Store<D>, request: &Search) -> Result<Found, D::Error> {
    if store.thread()?.is_none_or(|thread| !owns(&thread, &request.key)) {
        return Ok(Found::NotFound);
    }
    let mut complete = false;
    for _ in 0..INDEX_STEPS_PER_SEARCH {
        complete = !store.index_words()?;
        if complete {
            break;
        }
    }
    let Some(question) = Question::read(&request.query) else {
        return Ok(Found::Hits { hits: Vec::new(), complete, rarity: Rarity::default() });
    };
    let rarity = store.rarity(&question.terms)?;
    let candidates = store.matching(&question.terms, &rarity, CANDIDATES)?;
    let ranked = rank(&candidates, &rarity, &question.dates);
    let hits = hits(store, &ranked, request.limit.min(MAX_HITS) as usize, &question)?;
    Ok(Found::Hits { hits, complete, rarity })
}

/// The first `limit` hits, each message with those around it; a message is shown once.
fn hits<D: Database>(
    store: &Store<D>,
    ranked: &[Ranked],
    limit: usize,
    question: &Question,
) -> Result<Vec<Hit>, D::Error> {
    let matching: BTreeSet<i64> = ranked.iter().filter(|hit| !hit.is_beside).filter_map(seq_of).collect();
    let mut shown: BTreeSet<i64> = BTreeSet::new();
    let mut chosen: Vec<(&Ranked, Vec<i64>)> = Vec::new();
    for hit in ranked {
        if chosen.len() >= limit {
            break;
        }
        match hit.place {
            Place::Note(_) => chosen.push((hit, Vec::new())),
            Place::Message(seq) if shown.insert(seq) => {
                let around = store.around(seq, AROUND, AROUND_MS)?;
                chosen.push((hit, around.into_iter().filter(|seq| shown.insert(*seq)).collect()));
            }
            Place::Message(_) => {}
        }
    }
    let messages: BTreeMap<i64, FoundMessage> = store
        .messages_at(&shown.into_iter().collect::<Vec<_>>())?
        .into_iter()
        .map(|message| (message.seq, message))
        .collect();
    let ids = chosen.iter().filter_map(|(hit, _)| match hit.place {
        Place::Message(_) => None,
        Place::Note(id) => Some(id),
    });
    let notes: BTreeMap<i64, Note> =
        store.notes_at(&ids.collect::<Vec<_>>())?.into_iter().map(|note| (note.id, note)).collect();
    let beside = |seq: &i64| {
        messages.get(seq).map(|found| Beside {
            id: found.id.clone(),
            seq: found.seq,
            speaker: found.message.role.as_str().to_owned(),
            at: found.created_at,
            snippet: snippet(&text_of(&found.message), &question.words),
            is_beside: !matching.contains(seq),
        })
    };
    let hit = |(ranked, around): &(&Ranked, Vec<i64>)| match ranked.place {
        Place::Message(seq) => messages.get(&seq).map(|found| Hit {
            kind: HitKind::Message,
            id: found.id.clone(),
            seqs: vec![seq],
            speaker: found.message.role.as_str().to_owned(),
            priority: None,
            at: found.created_at,
            snippet: snippet(&text_of(&found.message), &question.words),
            score: ranked.score,
            shares: ranked.shares.clone(),
            fit: ranked.fit,
            is_beside: ranked.is_beside,
            context: around.iter().filter_map(beside).collect(),
        }),
        Place::Note(id) => notes.get(&id).map(|note| Hit {
            kind: HitKind::Note,
            id: id.to_string(),
            seqs: note.sources.clone(),
            speaker: note.speaker.as_str().to_owned(),
            priority: Some(note.priority.letter().to_owned()),
            at: note.said_at,
            snippet: snippet(&note.text, &question.words),
            score: ranked.score,
            shares: ranked.shares.clone(),
            fit: ranked.fit,
            is_beside: false,
            context: Vec::new(),
        }),
    };
    Ok(chosen.iter().filter_map(hit).collect())
}

fn seq_of(hit: &Ranked) -> Option<i64> {
    match hit.place {
        Place::Message(seq) => Some(seq),
        Place::Note(_) => None,
    }
}

/// The messages that a note rests on.
pub fn sources<D: Database>(store: &Store<D>, request: &ReadSources) -> Result<Sources, D::Error> {
    if store.thread()?.is_none_or(|thread| !owns(&thread, &request.key)) {
        return Ok(Sources::NotFound);
    }
    let Some(note) = store.notes_at(&[request.note])?.pop() else { return Ok(Sources::NotFound) };
    Ok(Sources::Messages(public(store.messages_at(&note.sources)?)))
}

/// A message with those that stand before and behind it.
pub fn around<D: Database>(store: &Store<D>, request: &ReadAround) -> Result<Sources, D::Error> {
    if store.thread()?.is_none_or(|thread| !owns(&thread, &request.key)) {
        return Ok(Sources::NotFound);
    }
    let seqs = store.seqs_around(&request.id, request.before, request.behind)?;
    if seqs.is_empty() {
        return Ok(Sources::NotFound);
    }
    Ok(Sources::Messages(public(store.messages_at(&seqs)?)))
}

fn public(messages: Vec<FoundMessage>) -> Vec<PublicMessage> {
    let public = messages.into_iter().map(|found| PublicMessage {
        id: found.id,
        created_at: found.created_at,
        incomplete: found.incomplete,
        message: found.message,
    });
    public.collect()
}

/// Takes the index of words, where there is one, a step further, for the alarm; [`next_alarm`](super::next_alarm) rings again at once while more is left.
pub fn index_words<D: Database>(store: &Store<D>) -> Result<(), D::Error> {
    if store.has_grown()? {
        store.index_words()?;
    }
    Ok(())
}
