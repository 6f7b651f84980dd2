//! Many reflections with scripts made at random: none loses what must be kept.

use std::collections::{BTreeMap, BTreeSet};

use memory_gateway::memory::note::{Days, Note, Priority, Speaker};
use memory_gateway::memory::reflector::{self, NewNote, Outcome, apply};
use memory_gateway::turn::Stop;

use Priority::High;

use super::{HOUR, START, note};

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound.max(1)
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }
}

/// The notes of a thread over many reflections, and what must be true of them.
struct Thread {
    random: Random,
    active: Vec<Note>,
    next_id: i64,
    /// Every number that was ever given.
    ever: BTreeSet<i64>,
    /// Of each note of high priority, what was planted in it; it leaves only by a newer note that replaces it.
    planted: BTreeMap<String, i64>,
}

/// Words without an anchor.
const PROSE: [&str; 8] = ["likes", "the", "long", "walk", "home", "with", "friends", "and"];

impl Thread {
    fn observe(&mut self) {
        for _ in 0..1 + self.random.below(4) {
            let id = self.next_id;
            self.next_id += 1;
            let priority = Priority::ALL[self.random.below(3)];
            let anchor = [
                format!("{id}0{id}"),
                format!("TP-{id}x"),
                format!("2026-{:02}-{:02}", 1 + id % 12, 1 + id % 28),
                format!("\"Title {id}\""),
                format!("a[{id}].b"),
            ][self.random.below(5)]
            .clone();
            let mut text = format!("{} {anchor}.", self.prose());
            if self.random.one_in(6) {
                text = format!("DONE: {text}");
            }
            let parents: Vec<i64> =
                self.active.iter().filter(|note| note.parent.is_none()).map(|note| note.id).collect();
            let parent = (self.random.one_in(4) && !parents.is_empty())
                .then(|| parents[self.random.below(parents.len())]);
            let note = Note {
                parent,
                speaker: [Speaker::User, Speaker::Assistant, Speaker::Tool][self.random.below(3)],
                said_at: START + u64::try_from(id / 3).unwrap() * HOUR,
                key: self.random.one_in(5).then(|| format!("user.k{}", id % 3)),
                refers: self.random.one_in(5).then(|| Days::read("2026-12-03").unwrap()),
                sources: vec![id * 10, id * 10 + 1],
                ..note(id, priority, &text)
            };
            if priority == High {
                self.planted.insert(anchor, id);
            }
            self.ever.insert(id);
            self.active.push(note);
        }
    }

    fn prose(&mut self) -> String {
        (0..1 + self.random.below(5)).map(|_| PROSE[self.random.below(8)]).collect::<Vec<_>>().join(" ")
    }

    /// Some number: of an active note, of one that is gone, or of none.
    fn id(&mut self) -> i64 {
        if self.random.one_in(8) || self.active.is_empty() {
            return i64::try_from(self.random.below(usize::try_from(self.next_id).unwrap() + 5)).unwrap();
        }
        self.active[self.random.below(self.active.len())].id
    }

    /// A text that may keep what the notes say, may lose some of it, or all.
    fn text_of(&mut self, ids: &[i64]) -> String {
        let texts: Vec<String> =
            self.active.iter().filter(|note| ids.contains(&note.id)).map(|note| note.text.clone()).collect();
        let mut text = texts.join(" ");
        if texts.iter().any(|text| text.starts_with("DONE: ")) && !self.random.one_in(4) {
            text = format!("DONE: {}", text.replace("DONE: ", ""));
        }
        match self.random.below(6) {
            0 => self.prose(),
            1 => text.replace(char::is_numeric, "7"),
            2 => text.replace(['"', '[', ']', '-'], ""),
            3 => format!("{text} {}", self.prose()),
            _ => text,
        }
    }

    fn script(&mut self) -> String {
        let mut lines = Vec::new();
        for _ in 0..1 + self.random.below(8) {
            let letter = Priority::ALL[self.random.below(3)].letter();
            let letter = if self.random.one_in(2) { "H" } else { letter };
            lines.push(match self.random.below(4) {
                0 => format!("DROP {}", self.id()),
                1 => format!("DROP {} BY {}", self.id(), self.id()),
                2 => {
                    let id = self.id();
                    format!("REWORD {id} {letter} | {}", self.text_of(&[id]))
                }
                _ => {
                    let ids: Vec<i64> = (0..2 + self.random.below(3)).map(|_| self.id()).collect();
                    let key = if self.random.one_in(4) { " =user.k1" } else { "" };
                    let days = if self.random.one_in(4) { " @2026-12-01..2026-12-09" } else { "" };
                    let names: Vec<String> = ids.iter().map(i64::to_string).collect();
                    format!("MERGE {} {letter}{key}{days} | {}", names.join(","), self.text_of(&ids))
                }
            });
        }
        lines.push("END".into());
        lines.join("\n")
    }

    /// Makes the changes as a store does, and looks that nothing is lost by them.
    fn activate(&mut self, outcome: &Outcome) {
        let before = std::mem::take(&mut self.active);
        let by_id =
            |id: &i64| before.iter().find(|note| note.id == *id).expect("only active notes are changed");
        let mut heirs: BTreeMap<i64, i64> = BTreeMap::new();
        let mut gone: BTreeSet<i64> = BTreeSet::new();
        for (id, by) in &outcome.drop {
            let note = by_id(id);
            assert!(gone.insert(*id), "{id} goes twice");
            assert!(note.priority != High || by.is_some(), "{id} is dropped for nothing");
            if let Some(by) = by {
                let by = by_id(by);
                assert!((by.said_at, by.id) > (note.said_at, note.id));
                self.planted.retain(|_, holder| holder != id);
            }
        }
        for replacement in &outcome.replace {
            let id = self.next_id;
            self.next_id += 1;
            assert!(self.ever.insert(id));
            let NewNote { parent, priority, speaker, said_at, refers, key, text, sources } =
                replacement.note.clone();
            let old: Vec<&Note> = replacement.ids.iter().map(by_id).collect();
            for note in &old {
                assert!(gone.insert(note.id), "{} goes twice", note.id);
                assert!(note.sources.iter().all(|source| sources.contains(source)), "a source is lost");
                assert!(note.said_at <= said_at);
                if note.priority == High {
                    assert_eq!(priority, High);
                    assert!(!note.text.starts_with("DONE:") || text.starts_with("DONE:"));
                    assert!(note.key.is_none() || note.key == key, "a key is lost");
                    assert!(note.refers.is_none() || refers.is_some(), "the days are lost");
                }
                heirs.insert(note.id, id);
            }
            assert!(sources.is_sorted_by(|one, next| one < next));
            assert!(sources.iter().all(|source| old.iter().any(|note| note.sources.contains(source))));
            self.active.push(Note {
                id,
                segment: 2,
                parent,
                priority,
                speaker,
                said_at,
                refers,
                key,
                text,
                sources,
            });
        }
        for (dropped, by) in &outcome.drop {
            assert!(by.is_none_or(|by| !gone.contains(&by)), "{dropped} is replaced by a note that goes");
        }
        self.active.extend(before.iter().filter(|note| !gone.contains(&note.id)).cloned());
        for note in &mut self.active {
            note.parent = note.parent.map(|parent| *heirs.get(&parent).unwrap_or(&parent));
        }
        for holder in self.planted.values_mut() {
            *holder = *heirs.get(holder).unwrap_or(holder);
        }
        self.check();
    }

    fn check(&self) {
        for (anchor, holder) in &self.planted {
            let note = self.active.iter().find(|note| note.id == *holder);
            let note = note.unwrap_or_else(|| panic!("the note with {anchor} is gone"));
            assert!(note.text.contains(anchor.trim_matches('"')), "{anchor} is lost: {}", note.text);
            assert_eq!(note.priority, High);
        }
        for note in &self.active {
            if let Some(parent) = note.parent {
                let parent = self.active.iter().find(|other| other.id == parent);
                assert_eq!(parent.expect("a detail's note is active").parent, None, "a detail has details");
            }
        }
        let ids: BTreeSet<i64> = self.active.iter().map(|note| note.id).collect();
        assert_eq!(ids.len(), self.active.len());
    }
}

#[test]
fn no_script_loses_what_must_be_kept_over_many_reflections() {
    let (mut made, mut refused) = (0, 0);
    for seed in 0..600 {
        let mut thread = Thread {
            random: Random(seed),
            active: Vec::new(),
            next_id: 1,
            ever: BTreeSet::new(),
            planted: BTreeMap::new(),
        };
        thread.observe();
        for _ in 0..8 {
            let edits = reflector::read(Some(&thread.script()), Some(&Stop::End));
            // Notes come, and now and then another script is made, between the question and the answer.
            if thread.random.one_in(2) {
                thread.observe();
            }
            if thread.random.one_in(4) {
                let other = thread.script();
                if let Ok(other) = reflector::read(Some(&other), Some(&Stop::End)) {
                    let outcome = apply(&other, &thread.active);
                    thread.activate(&outcome);
                }
            }
            let Ok(edits) = edits else { continue };
            let outcome = apply(&edits, &thread.active);
            assert_eq!(outcome, apply(&edits, &thread.active));
            made += outcome.drop.len() + outcome.replace.len();
            refused += outcome.rejected.len();
            thread.activate(&outcome);
        }
    }
    assert!(made > 1_000 && refused > 1_000, "{made} made, {refused} refused");
}
