//! What a search found in several threads, as one list.
//!
//! Invariant: a hit keeps its thread, and whoever reads the list is told when it may lack something.

use crate::protocol::Hit;

/// What was found in the threads that a search went through.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    /// Best first.
    pub hits: Vec<Located>,
    /// False where a later search may find more: a thread's index is behind, a thread did not answer, or there were more
    /// threads than a search goes through.
    pub complete: bool,
    /// How many threads were searched.
    pub searched: u64,
    /// How many there are to search.
    pub threads: u64,
}

/// A hit and its thread.
#[derive(Clone, Debug, PartialEq)]
pub struct Located {
    /// The thread's id.
    pub thread: String,
    /// What was found in it.
    pub hit: Hit,
}

impl Results {
    /// Of `threads` threads, nothing searched yet.
    pub fn among(threads: u64) -> Self {
        Results { threads, complete: true, ..Results::default() }
    }

    /// Adds what was found in a thread; `complete` is what the thread says of its index.
    pub fn add(&mut self, thread: &str, hits: Vec<Hit>, complete: bool) {
        self.searched += 1;
        self.complete &= complete;
        self.hits.extend(hits.into_iter().map(|hit| Located { thread: thread.to_owned(), hit }));
    }

    /// The best `limit` of all; of equals the newest first.
    pub fn best(mut self, limit: u32) -> Self {
        self.complete &= self.searched == self.threads;
        self.hits.sort_by(|one, other| {
            other.hit.score.total_cmp(&one.hit.score).then_with(|| other.hit.at.cmp(&one.hit.at))
        });
        self.hits.truncate(limit as usize);
        self
    }
}
