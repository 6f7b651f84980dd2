//! What an isolate remembers of gateway keys, so that the usual request asks no database.
//!
//! Invariant: while the database answers, a revoked key works for at most [`FRESH_MS`] longer and a new one after at most
//! [`UNKNOWN_MS`]. While it does not, a key that was valid goes on for [`STALE_MS`], in which nobody could have revoked it
//! either; a key that is not known is never taken for an unknown one.

use crate::cache::ExpiringCache;
use crate::keys::{KeyHash, Principal};

/// How long a known key is taken from memory.
pub const FRESH_MS: u64 = 30_000;
/// How long an unknown key is refused from memory.
pub const UNKNOWN_MS: u64 = 5_000;
/// How long a known key is good for while the database does not answer.
pub const STALE_MS: u64 = 15 * 60 * 1_000;
/// How long the database is not asked again for a key after it did not answer.
const PAUSE_MS: u64 = 5_000;
/// About 20 MB of an isolate's 128, at two kilobytes a key with its rules.
const CAPACITY: usize = 10_000;

/// Keys by their hashes.
#[derive(Debug)]
pub struct KeyCache(ExpiringCache<KeyHash, Entry>);

#[derive(Debug)]
struct Entry {
    principal: Option<Principal>,
    fresh_until: u64,
    stale_until: u64,
}

/// What is known of a key.
#[derive(Debug, PartialEq)]
pub enum Known {
    /// It is valid, or nobody's.
    Fresh(Option<Principal>),
    /// The database has to be asked.
    Ask,
}

impl Default for KeyCache {
    fn default() -> Self {
        KeyCache(ExpiringCache::new(CAPACITY))
    }
}

impl KeyCache {
    /// What is known of a key at `now`, in Unix milliseconds.
    pub fn look(&self, hash: &KeyHash, now: u64) -> Known {
        match self.0.get(hash, now) {
            Some(entry) if now < entry.fresh_until => Known::Fresh(entry.principal.clone()),
            _ => Known::Ask,
        }
    }

    /// The database told of a key.
    pub fn learned(&mut self, hash: KeyHash, principal: Option<Principal>, now: u64) {
        let (fresh, stale) =
            if principal.is_some() { (FRESH_MS, STALE_MS) } else { (UNKNOWN_MS, UNKNOWN_MS) };
        let entry = Entry { principal, fresh_until: now + fresh, stale_until: now + stale };
        self.0.put(hash, entry, now, stale);
    }

    /// The database did not answer: what was last known of the key, if it may still be used.
    pub fn unanswered(&mut self, hash: &KeyHash, now: u64) -> Option<Principal> {
        let entry = self.0.get(hash, now)?;
        let (principal, stale_until) = (entry.principal.clone()?, entry.stale_until);
        let entry = Entry { principal: Some(principal.clone()), fresh_until: now + PAUSE_MS, stale_until };
        self.0.put(hash.clone(), entry, now, stale_until.saturating_sub(now));
        Some(principal)
    }

    /// Forgets everything: something was changed.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::PlainKey;

    fn hash() -> KeyHash {
        PlainKey::parse("msk_a").unwrap().hash()
    }

    fn principal() -> Option<Principal> {
        Some(Principal::new("p", "k"))
    }

    #[test]
    fn a_known_key_is_asked_for_again_after_half_a_minute_and_an_unknown_one_after_seconds() {
        let mut cache = KeyCache::default();
        assert_eq!(cache.look(&hash(), 0), Known::Ask);
        cache.learned(hash(), principal(), 0);
        assert_eq!(cache.look(&hash(), FRESH_MS - 1), Known::Fresh(principal()));
        assert_eq!(cache.look(&hash(), FRESH_MS), Known::Ask);
        cache.learned(hash(), None, FRESH_MS);
        assert_eq!(cache.look(&hash(), FRESH_MS + UNKNOWN_MS - 1), Known::Fresh(None));
        assert_eq!(cache.look(&hash(), FRESH_MS + UNKNOWN_MS), Known::Ask);
        assert_eq!(cache.unanswered(&hash(), FRESH_MS + 1), None, "it was revoked");
    }

    #[test]
    fn while_the_database_is_silent_a_known_key_goes_on_for_a_quarter_of_an_hour() {
        let mut cache = KeyCache::default();
        assert_eq!(cache.unanswered(&hash(), 0), None);
        cache.learned(hash(), principal(), 0);
        let mut asked = 0;
        for now in (FRESH_MS..STALE_MS).step_by(1_000) {
            if cache.look(&hash(), now) == Known::Ask {
                asked += 1;
                assert_eq!(cache.unanswered(&hash(), now), principal());
            }
        }
        assert_eq!(asked, (STALE_MS - FRESH_MS) / PAUSE_MS);
        assert_eq!((cache.look(&hash(), STALE_MS), cache.unanswered(&hash(), STALE_MS)), (Known::Ask, None));
    }
}
