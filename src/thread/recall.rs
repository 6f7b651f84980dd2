//! Finding again what a thread holds: by words, and by the note that was made of it.
//!
//! Invariant: what is found stands in the thread now; what a branch replaced or a reflector took out of the log is not found,
//! and a note's sources are the very messages that it rests on, however often it was rewritten.

use std::collections::BTreeMap;

use super::owns;
use crate::memory::database::Database;
use crate::memory::note::Note;
use crate::memory::search::{CANDIDATES, Place, Question, Ranked, rank, snippet, text_of};
use crate::memory::store::{FoundMessage, Store};
use crate::protocol::{Found, Hit, HitKind, PublicMessage, ReadAround, ReadSources, Search, Sources};

/// How many steps a search takes the index further by itself, so that it stays well below a second.
const INDEX_STEPS_PER_SEARCH: usize = 4;
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
        return Ok(Found::Hits { hits: Vec::new(), complete });
    };
    let mut ranked = rank(&store.matching(&question.expression, CANDIDATES)?);
    ranked.truncate(request.limit.min(MAX_HITS) as usize);
    Ok(Found::Hits { hits: hits(store, &ranked, &question)?, complete })
}

fn hits<D: Database>(store: &Store<D>, ranked: &[Ranked], question: &Question) -> Result<Vec<Hit>, D::Error> {
    let seqs = ranked.iter().filter_map(|hit| match hit.place {
        Place::Message(seq) => Some(seq),
        Place::Note(_) => None,
    });
    let ids = ranked.iter().filter_map(|hit| match hit.place {
        Place::Message(_) => None,
        Place::Note(id) => Some(id),
    });
    let messages: BTreeMap<i64, FoundMessage> = store
        .messages_at(&seqs.collect::<Vec<_>>())?
        .into_iter()
        .map(|message| (message.seq, message))
        .collect();
    let notes: BTreeMap<i64, Note> =
        store.notes_at(&ids.collect::<Vec<_>>())?.into_iter().map(|note| (note.id, note)).collect();
    let hit = |ranked: &Ranked| match ranked.place {
        Place::Message(seq) => messages.get(&seq).map(|found| Hit {
            kind: HitKind::Message,
            id: found.id.clone(),
            seqs: vec![seq],
            speaker: found.message.role.as_str().to_owned(),
            priority: None,
            at: found.created_at,
            snippet: snippet(&text_of(&found.message), &question.words),
            score: ranked.score,
            is_beside: ranked.is_beside,
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
            is_beside: false,
        }),
    };
    Ok(ranked.iter().filter_map(hit).collect())
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

/// Takes the index of words a step further, for the alarm; [`next_alarm`](super::next_alarm) rings again at once while more is left.
pub fn index_words<D: Database>(store: &Store<D>) -> Result<(), D::Error> {
    store.index_words().map(drop)
}
