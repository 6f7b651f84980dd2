//! What a search found in several threads, as one list.
//!
//! Invariant: a hit keeps its thread, and whoever reads the list is told when it may lack something.

use super::{Rarity, score};
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
    /// How rare the question's terms are in those that were.
    rarity: Rarity,
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
    pub fn add(&mut self, thread: &str, hits: Vec<Hit>, complete: bool, rarity: &Rarity) {
        self.searched += 1;
        self.complete &= complete;
        self.rarity.add(rarity);
        self.hits.extend(hits.into_iter().map(|hit| Located { thread: thread.to_owned(), hit }));
    }

    /// The best `limit` of all, by how rare a term is in all threads together: what is common in one thread may be the only
    /// mention elsewhere. Of equals the newest first.
    pub fn best(mut self, limit: u32) -> Self {
        self.complete &= self.searched == self.threads;
        if self.searched > 1 {
            let weights = self.rarity.weights();
            for Located { hit, .. } in &mut self.hits {
                hit.score = score(&weights, &hit.shares, hit.fit);
            }
        }
        self.hits.sort_by(|one, other| {
            other.hit.score.total_cmp(&one.hit.score).then_with(|| other.hit.at.cmp(&one.hit.at))
        });
        self.hits.truncate(limit as usize);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::HitKind;

    fn hit(id: &str, at: u64, shares: &[f64], score: f64) -> Hit {
        Hit {
            kind: HitKind::Message,
            id: id.into(),
            seqs: vec![1],
            speaker: "user".into(),
            priority: None,
            at,
            snippet: String::new(),
            score,
            shares: shares.to_vec(),
            fit: 1.0,
            is_beside: false,
            context: Vec::new(),
        }
    }

    fn rarity(total: u64, having: &[u64]) -> Rarity {
        Rarity { total, having: having.to_vec() }
    }

    #[test]
    fn hits_of_several_threads_are_ordered_by_what_is_rare_in_all_of_them() {
        let mut results = Results::among(2);
        // The first term is all that the first thread talks of, and it scores next to nothing there.
        results.add("small", vec![hit("a", 1, &[2.0, 0.0], 0.1)], true, &rarity(2, &[2, 0]));
        results.add("large", vec![hit("b", 2, &[0.0, 1.0], 9.0)], true, &rarity(100, &[0, 30]));
        let best = results.best(10);
        let order: Vec<(&str, &str)> =
            best.hits.iter().map(|found| (found.thread.as_str(), found.hit.id.as_str())).collect();
        assert_eq!((order, best.complete), (vec![("small", "a"), ("large", "b")], true));
    }

    #[test]
    fn what_may_be_lacking_is_said_and_of_equals_the_newest_comes_first() {
        let shares = [1.0];
        let of_one = |complete: bool, threads: u64| {
            let mut results = Results::among(threads);
            let hits = vec![hit("old", 1, &shares, 1.0), hit("new", 2, &shares, 1.0)];
            results.add("t", hits, complete, &rarity(9, &[2]));
            let best = results.best(1);
            (best.hits.into_iter().map(|found| found.hit.id).collect::<Vec<_>>(), best.complete)
        };
        assert_eq!(of_one(true, 1), (vec!["new".to_owned()], true));
        assert!(!of_one(false, 1).1);
        assert!(!of_one(true, 2).1);
        assert!(Results::among(0).best(5).complete);
    }
}
