//! A small cache whose entries expire.
//!
//! Invariant: never larger than its capacity, and never answers with an entry past its time.

use std::collections::HashMap;
use std::hash::Hash;

/// Values by key, each with a time in Unix milliseconds after which it is gone.
#[derive(Debug)]
pub struct ExpiringCache<K, V> {
    capacity: usize,
    entries: HashMap<K, (u64, V)>,
}

impl<K: Hash + Eq, V> ExpiringCache<K, V> {
    /// An empty cache.
    pub fn new(capacity: usize) -> Self {
        ExpiringCache { capacity, entries: HashMap::new() }
    }

    /// The value, if it has not expired.
    pub fn get(&self, key: &K, now: u64) -> Option<&V> {
        self.entries.get(key).filter(|(expires, _)| now < *expires).map(|(_, value)| value)
    }

    /// Adds a value that expires `ttl` milliseconds from now. A full cache first drops what has expired, and if that is
    /// not enough, everything: simple, and rare enough not to matter.
    pub fn put(&mut self, key: K, value: V, now: u64, ttl: u64) {
        if self.entries.len() >= self.capacity && !self.entries.contains_key(&key) {
            self.entries.retain(|_, (expires, _)| now < *expires);
            if self.entries.len() >= self.capacity {
                self.entries.clear();
            }
        }
        self.entries.insert(key, (now + ttl, value));
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_gone_when_its_time_is_over() {
        let mut cache = ExpiringCache::new(2);
        cache.put("a", 1, 1_000, 500);
        assert_eq!(
            (cache.get(&"a", 1_499), cache.get(&"a", 1_500), cache.get(&"b", 0)),
            (Some(&1), None, None)
        );
    }

    #[test]
    fn a_flood_of_keys_does_not_grow_it() {
        let mut cache = ExpiringCache::new(100);
        for key in 0..10_000 {
            cache.put(key, (), key, 5_000);
            assert!(cache.entries.len() <= 100);
        }
        assert!(cache.get(&9_999, 9_999).is_some());
    }
}
