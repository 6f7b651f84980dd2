//! A thread comes into being without a turn, and its owner names it.
//!
//! Invariant: each change makes the thread newer than it was, so that of two tellings to the index the later one holds.

use super::owns;
use crate::memory::database::Database;
use crate::memory::store::{Store, Thread};
use crate::protocol::{Create, Created, Details, ReadDetails, Update};

/// Brings a thread into being; one that is there stays as it is.
pub fn create<D: Database>(store: &Store<D>, request: &Create, now: u64) -> Result<Created, D::Error> {
    if let Some(thread) = store.thread()? {
        return Ok(if owns(&thread, &request.key) {
            Created::Existing(Box::new(thread))
        } else {
            Created::Conflict
        });
    }
    // What began before the deletion stays out; a thread that is made anew comes after it.
    let at = store.tombstone()?.map_or(now, |deleted_at| now.max(deleted_at + 1));
    let thread = Thread {
        project: request.key.project.clone(),
        id: request.key.thread.clone(),
        resource: request.key.resource.clone().unwrap_or_default(),
        title: request.title.clone(),
        metadata: request.metadata.clone(),
        created_at: at,
        updated_at: at,
        indexed_at: None,
        index_retry_at: None,
    };
    store.save_thread(&thread)?;
    Ok(Created::Created(Box::new(thread)))
}

/// What a thread is called, and what is kept with it.
pub fn details<D: Database>(store: &Store<D>, request: &ReadDetails) -> Result<Details, D::Error> {
    let thread = store.thread()?.filter(|thread| owns(thread, &request.key));
    Ok(thread.map_or(Details::NotFound, |thread| Details::Thread(Box::new(thread))))
}

/// Sets what a thread is called, what is kept with it, or both.
pub fn update<D: Database>(store: &Store<D>, request: &Update, now: u64) -> Result<Details, D::Error> {
    let Some(mut thread) = store.thread()?.filter(|thread| owns(thread, &request.key)) else {
        return Ok(Details::NotFound);
    };
    if let Some(title) = &request.title {
        thread.title.clone_from(title);
    }
    if let Some(metadata) = &request.metadata {
        thread.metadata.clone_from(metadata);
    }
    thread.updated_at = now.max(thread.updated_at + 1);
    store.save_thread(&thread)?;
    Ok(Details::Thread(Box::new(thread)))
}
