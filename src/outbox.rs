//! What waits in an isolate's memory to be written somewhere slower, many at a time.
//!
//! Invariant: an entry leaves only when it was written, when the outbox is full, or when it is known that it can never be written;
//! what was dropped is counted. One that cannot be written keeps no other. One batch is on its way at a time; an entry that is
//! named again while it waits replaces what waited. While entries wait, either somebody has been told to write them or the next
//! one to come is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Who was to write what waits, and has not by so many milliseconds after the time, is taken to be dead.
const OVERDUE_MS: u64 = 1_000;

/// How often an entry fails by itself, while others are written in between, before it is given up.
const MOST_STRIKES: u32 = 5;

/// Something that waits.
pub trait Entry: Clone {
    /// What names it.
    fn id(&self) -> &str;

    /// True when this takes the place of `waiting`, an entry of the same name; else `waiting` stays.
    fn replaces(&self, waiting: &Self) -> bool;

    /// True when it can be done without more easily than others.
    fn is_expendable(&self) -> bool;
}

/// Entries that wait, and those that are being written.
#[derive(Debug)]
pub struct Outbox<T> {
    capacity: usize,
    batch: usize,
    /// How long a batch may be on its way, in milliseconds, before it is taken to be lost with the request that wrote it.
    lease_ms: u64,
    waiting: VecDeque<T>,
    /// The names of those that wait.
    names: BTreeSet<String>,
    /// Until when somebody is about to write what waits.
    gathering_until: u64,
    sent: Option<Sent<T>>,
    /// How many go at a time: fewer after each failure, down to one, so that what cannot be written is found.
    at_a_time: usize,
    /// Those that failed by themselves, by their names.
    suspects: BTreeMap<String, Suspect>,
    /// How many batches were written.
    written: u64,
    /// Tells batches apart.
    batches: u64,
    dropped: u64,
}

#[derive(Debug)]
struct Sent<T> {
    number: u64,
    until: u64,
    entries: Vec<T>,
}

/// An entry that failed by itself.
#[derive(Clone, Copy, Debug, Default)]
struct Suspect {
    /// How often; a failure counts only where something else was written since the last one.
    strikes: u32,
    /// How many batches were written when it failed last.
    written: u64,
}

/// Entries to write now.
#[derive(Debug)]
pub struct Batch<T> {
    /// To be given back with the outcome.
    pub number: u64,
    /// The entries, oldest first.
    pub entries: Vec<T>,
}

impl<T: Entry> Outbox<T> {
    /// An outbox of at most `capacity` entries, written at most `batch` at a time.
    pub const fn new(capacity: usize, batch: usize, lease_ms: u64) -> Self {
        Outbox {
            capacity,
            batch,
            lease_ms,
            waiting: VecDeque::new(),
            names: BTreeSet::new(),
            gathering_until: 0,
            sent: None,
            at_a_time: batch,
            suspects: BTreeMap::new(),
            written: 0,
            batches: 0,
            dropped: 0,
        }
    }

    /// Adds an entry. A full outbox drops its oldest expendable entry, else its oldest.
    pub fn push(&mut self, entry: T) {
        if let Some(waiting) = self.waiting_mut(entry.id()) {
            if entry.replaces(waiting) {
                *waiting = entry;
            }
            return;
        }
        if self.len() >= self.capacity {
            let at = self.waiting.iter().position(Entry::is_expendable).unwrap_or(0);
            // Where all of it is on its way, the new one has no place.
            self.dropped += 1;
            let Some(dropped) = self.waiting.remove(at) else { return };
            self.names.remove(dropped.id());
            self.suspects.remove(dropped.id());
        }
        self.names.insert(entry.id().to_owned());
        self.waiting.push_back(entry);
    }

    /// True for who is to write what waits, once others had `ms` milliseconds to join; false where somebody else is about to.
    pub fn gather(&mut self, now: u64, ms: u64) -> bool {
        let is_first = self.gathering_until <= now;
        if is_first {
            self.gathering_until = now + ms + OVERDUE_MS;
        }
        is_first
    }

    /// The next batch, unless one is on its way or nothing waits.
    pub fn take(&mut self, now: u64) -> Option<Batch<T>> {
        if self.sent.as_ref().is_some_and(|sent| sent.until > now) {
            return None;
        }
        if let Some(lost) = self.sent.take() {
            self.give_back(lost.entries);
        }
        self.gathering_until = 0;
        let count = self.waiting.len().min(self.at_a_time);
        if count == 0 {
            return None;
        }
        let entries: Vec<T> = self.waiting.drain(..count).collect();
        for entry in &entries {
            self.names.remove(entry.id());
        }
        self.batches += 1;
        let number = self.batches;
        self.sent = Some(Sent { number, until: now + self.lease_ms, entries: entries.clone() });
        Some(Batch { number, entries })
    }

    /// A batch was written, or was not and waits again.
    pub fn settle(&mut self, number: u64, written: bool) {
        let Some(Sent { entries, .. }) = self.sent.take_if(|sent| sent.number == number) else { return };
        if written {
            self.written += 1;
            self.at_a_time = self.at_a_time.saturating_mul(2).min(self.batch);
            for entry in entries {
                self.suspects.remove(entry.id());
            }
            return;
        }
        self.at_a_time = (entries.len() / 2).max(1);
        if entries.len() == 1 {
            entries.into_iter().for_each(|alone| self.suspect(alone));
        } else {
            self.give_back(entries);
        }
    }

    /// An entry failed by itself: others go before it. Where others are written and it is not, it is given up.
    fn suspect(&mut self, entry: T) {
        let Suspect { strikes, written } = self.suspects.get(entry.id()).copied().unwrap_or_default();
        let strikes = if strikes == 0 || self.written > written { strikes + 1 } else { strikes };
        if strikes >= MOST_STRIKES {
            self.suspects.remove(entry.id());
            self.dropped += 1;
            return;
        }
        self.suspects.insert(entry.id().to_owned(), Suspect { strikes, written: self.written });
        if !self.waits(entry.id()) {
            self.names.insert(entry.id().to_owned());
            self.waiting.push_back(entry);
        } else {
            self.give_back(vec![entry]);
        }
    }

    /// True while an entry of this name waits or is on its way.
    pub fn holds(&self, id: &str) -> bool {
        self.waits(id)
            || self.sent.as_ref().is_some_and(|sent| sent.entries.iter().any(|entry| entry.id() == id))
    }

    /// True while an entry of this name waits and is not on its way.
    pub fn waits(&self, id: &str) -> bool {
        self.names.contains(id)
    }

    /// True while any entry waits and is not on its way.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// How many entries were dropped since the last time that this was asked.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.sent.as_ref().map_or(0, |sent| sent.entries.len())
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn give_back(&mut self, entries: Vec<T>) {
        for entry in entries.into_iter().rev() {
            match self.waiting_mut(entry.id()) {
                Some(waiting) if entry.replaces(waiting) => *waiting = entry,
                Some(_) => {}
                None => {
                    self.names.insert(entry.id().to_owned());
                    self.waiting.push_front(entry);
                }
            }
        }
    }

    fn waiting_mut(&mut self, id: &str) -> Option<&mut T> {
        // Hardly any is named twice, and there may be thousands.
        if !self.waits(id) {
            return None;
        }
        self.waiting.iter_mut().find(|waiting| waiting.id() == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Note(String, bool);

    impl Entry for Note {
        fn id(&self) -> &str {
            &self.0
        }

        fn replaces(&self, waiting: &Self) -> bool {
            self.1 || !waiting.1
        }

        fn is_expendable(&self) -> bool {
            !self.1
        }
    }

    fn draft(id: &str) -> Note {
        Note(id.to_owned(), false)
    }

    fn last(id: &str) -> Note {
        Note(id.to_owned(), true)
    }

    fn names(batch: Option<Batch<Note>>) -> Vec<Note> {
        batch.map(|batch| batch.entries).unwrap_or_default()
    }

    #[test]
    fn what_waits_while_a_batch_is_on_its_way_goes_with_the_next_one() {
        let mut outbox = Outbox::new(10, 3, 1_000);
        outbox.push(draft("a"));
        let first = outbox.take(0).unwrap();
        for id in ["b", "c", "d", "e"] {
            outbox.push(draft(id));
        }
        assert!(outbox.take(999).is_none() && outbox.holds("a") && outbox.holds("e"));
        outbox.settle(first.number, true);
        assert!(!outbox.holds("a"));
        assert_eq!(names(outbox.take(5)), [draft("b"), draft("c"), draft("d")]);
        outbox.settle(2, true);
        assert_eq!(names(outbox.take(5)), [draft("e")]);
        outbox.settle(3, true);
        assert!(outbox.take(5).is_none() && outbox.is_empty());
    }

    #[test]
    fn the_last_word_replaces_a_draft_and_a_late_draft_replaces_nothing() {
        let mut outbox = Outbox::new(10, 10, 1_000);
        outbox.push(draft("a"));
        outbox.push(last("a"));
        outbox.push(draft("a"));
        assert_eq!(names(outbox.take(0)), [last("a")]);
        // The draft is on its way when the last word comes; it fails and must not come back over it.
        let mut outbox = Outbox::new(10, 10, 1_000);
        outbox.push(draft("b"));
        let batch = outbox.take(0).unwrap();
        outbox.push(last("b"));
        outbox.settle(batch.number, false);
        assert_eq!(names(outbox.take(1)), [last("b")]);
    }

    #[test]
    fn a_batch_that_failed_or_whose_writer_died_is_written_again_in_order() {
        let mut outbox = Outbox::new(10, 2, 1_000);
        for id in ["a", "b", "c"] {
            outbox.push(last(id));
        }
        // Nobody tells what became of it; after the lease it counts as lost.
        assert_eq!(names(outbox.take(1)), [last("a"), last("b")]);
        assert!(outbox.take(1_000).is_none());
        assert_eq!(names(outbox.take(1_001)), [last("a"), last("b")]);
        // The dead one's late word about its own batch changes nothing.
        outbox.settle(1, true);
        assert!(outbox.holds("a"));
        outbox.settle(2, true);
        assert_eq!((outbox.holds("a"), outbox.len()), (false, 1));
        let failed = outbox.take(2_000).unwrap();
        outbox.settle(failed.number, false);
        assert_eq!(names(outbox.take(2_000)), [last("c")]);
    }

    /// Writes all that can be written, but for those of the name `bad`; gives how many batches that took.
    fn write_all(outbox: &mut Outbox<Note>, bad: &str) -> usize {
        let mut batches = 0;
        while let Some(batch) = outbox.take(0) {
            batches += 1;
            let good = batch.entries.iter().all(|entry| entry.id() != bad);
            outbox.settle(batch.number, good);
            if outbox.len() == 1 && outbox.holds(bad) {
                break;
            }
        }
        batches
    }

    #[test]
    fn what_can_never_be_written_keeps_no_other_and_is_given_up_at_last() {
        let mut outbox = Outbox::new(1_000, 64, 1_000);
        let fill = |outbox: &mut Outbox<Note>, round: usize| {
            for at in 0..100 {
                outbox.push(last(&format!("{round}-{at}")));
            }
        };
        outbox.push(last("bad"));
        let mut round = 0;
        while outbox.holds("bad") || round == 0 {
            fill(&mut outbox, round);
            assert!(write_all(&mut outbox, "bad") < 40);
            // While nothing else is written, that it fails says nothing of it.
            for _ in 0..20 {
                assert!(outbox.len() <= 1);
                let Some(batch) = outbox.take(0) else { break };
                outbox.settle(batch.number, false);
            }
            round += 1;
            assert!(round < 5);
        }
        assert_eq!((outbox.len(), outbox.take_dropped(), outbox.suspects.len()), (0, 1, 0));
        // With nothing that fails, as many go at a time as may.
        fill(&mut outbox, round);
        write_all(&mut outbox, "bad");
        fill(&mut outbox, round + 1);
        assert_eq!(write_all(&mut outbox, "bad"), 2);
    }

    #[test]
    fn while_nothing_can_be_written_nothing_is_given_up() {
        let mut outbox = Outbox::new(10, 4, 1_000);
        for id in ["a", "b", "c", "d", "e"] {
            outbox.push(last(id));
        }
        for _ in 0..100 {
            let batch = outbox.take(0).unwrap();
            outbox.settle(batch.number, false);
        }
        outbox.push(last("f"));
        assert_eq!((outbox.len(), outbox.take_dropped()), (6, 0));
        assert!(write_all(&mut outbox, "") <= 4);
        assert!(outbox.is_empty() && outbox.suspects.is_empty());
    }

    #[test]
    fn a_full_outbox_drops_drafts_first_and_counts_what_it_drops() {
        let mut outbox = Outbox::new(3, 1, 1_000);
        for note in [last("a"), draft("b"), last("c"), last("d"), last("e")] {
            outbox.push(note);
        }
        assert_eq!((outbox.len(), outbox.take_dropped(), outbox.take_dropped()), (3, 2, 0));
        assert!(!outbox.holds("a") && !outbox.holds("b") && outbox.holds("e"));
        for at in 0..10_000 {
            outbox.push(last(&format!("n{at}")));
            assert!(outbox.len() <= 3);
        }
        assert_eq!(outbox.take_dropped(), 10_000);
    }

    #[test]
    fn one_writes_for_all_that_come_while_it_gathers_and_another_where_it_died() {
        let mut outbox = Outbox::new(10, 10, 1_000);
        outbox.push(last("a"));
        assert!(outbox.gather(0, 100));
        outbox.push(last("b"));
        assert!(!outbox.gather(99, 100));
        assert_eq!(names(outbox.take(100)), [last("a"), last("b")]);
        // What comes while a batch is on its way is gathered anew.
        outbox.push(last("c"));
        assert!(outbox.gather(101, 100) && !outbox.gather(102, 100));
        outbox.settle(1, true);
        assert!(outbox.has_waiting() && outbox.waits("c") && !outbox.waits("b"));
        // Nobody came to write it.
        outbox.push(last("d"));
        assert!(!outbox.gather(1_200, 100));
        assert!(outbox.gather(1_201, 100));
        assert_eq!(names(outbox.take(1_301)), [last("c"), last("d")]);
        assert!(!outbox.has_waiting());
    }
}
