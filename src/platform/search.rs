//! Search over one thread, or over the threads of a resource: each thread's object searches its own, and the best of all are
//! one list.
//!
//! The objects are asked and no index is kept across threads: a message stays in one place only, which is what makes its
//! deletion final, and it is found the moment that it is stored. What that costs is a question to each thread; the latest used
//! ones are asked, a bounded number, so many at a time.
//!
//! Invariant: only threads of the caller's project are asked, each on behalf of the resource that the caller names.

use futures::future::join_all;
use serde_json::json;
use worker::Env;

use super::thread_client::ThreadClient;
use super::{d1_index, log};
use crate::error::{Error, Kind};
use crate::keys::Principal;
use crate::memory::address::check_id;
use crate::memory::search::results::Results;
use crate::protocol::{Found, Search, ThreadKey};

/// The most threads that a search goes through.
const MAX_THREADS: u32 = 200;
/// How many are asked at once; each may have to be woken.
const AT_ONCE: usize = 20;

/// Finds what has to do with a question: in a thread, or in all threads of a resource; a thread with a resource must be the
/// resource's. A resource that nothing is known of has no threads. Errors: 400 for ids that cannot be, or none; 404 for a
/// thread that is not there; 503 where storage does not answer.
pub async fn search(
    env: &Env,
    principal: &Principal,
    resource: Option<&str>,
    thread: Option<&str>,
    query: &str,
    limit: u32,
) -> Result<Results, Error> {
    if let Some(resource) = resource {
        check_id("resourceId", resource)?;
    }
    let (threads, total) = match (thread, resource) {
        (Some(thread), _) => {
            check_id("threadId", thread)?;
            (vec![thread.to_owned()], 1)
        }
        (None, Some(resource)) => d1_index::threads_of(env, &principal.project, resource, MAX_THREADS)
            .await
            .map_err(|error| failed(&error))?,
        (None, None) => return Err(Error::invalid("threadId", "Name a thread or a resource to search.")),
    };
    let mut results = Results::among(total);
    for some in threads.chunks(AT_ONCE) {
        let answers = join_all(some.iter().map(|thread| ask(env, principal, resource, thread, query, limit)));
        for (id, answer) in some.iter().zip(answers.await) {
            match answer {
                Ok(Found::Hits { hits, complete }) => results.add(id, hits, complete),
                Ok(Found::NotFound) if thread.is_some() => return Err(Error::thread_not_found()),
                // Deleted since it was listed.
                Ok(Found::NotFound) => results.threads = results.threads.saturating_sub(1),
                Err(error) if thread.is_some() => return Err(failed(&error)),
                Err(error) => log::event("thread_not_searched", json!({ "error": error.to_string() })),
            }
        }
    }
    Ok(results.best(limit))
}

async fn ask(
    env: &Env,
    principal: &Principal,
    resource: Option<&str>,
    thread: &str,
    query: &str,
    limit: u32,
) -> worker::Result<Found> {
    let key = ThreadKey {
        project: principal.project.clone(),
        thread: thread.to_owned(),
        resource: resource.map(str::to_owned),
    };
    let search = Search { key, query: query.to_owned(), limit };
    ThreadClient::new(env.clone(), principal, thread).search(&search).await
}

fn failed(error: &worker::Error) -> Error {
    log::event("search_failed", json!({ "error": error.to_string() }));
    Error::new(Kind::Overloaded, "The memory's storage does not answer. Try again in a few seconds.")
}
