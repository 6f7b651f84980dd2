//! Making a script's edits, one after the other, each only if it keeps what must be kept.
//!
//! Invariant: a note leaves by an edit that names it or its parent, and by one edit at most; a note that replaces others has
//! all of their sources, and all hard anchors, days and keys of those that matter most.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::Edit;
use crate::memory::anchors;
use crate::memory::note::{Days, Note, Priority, Speaker};
use crate::tokens;

/// What a note costs besides its text, in tokens: its date, its mark, the line.
const LINE_TOKENS: u64 = 8;
/// The notes must get smaller by one part in so many to be called smaller.
const SMALLER_BY: u64 = 20;

/// What is left of a script when its edits were checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The notes that go, details included, each with the note that replaces it.
    pub drop: Vec<(i64, Option<i64>)>,
    /// The notes that others take the place of.
    pub replace: Vec<Replacement>,
    /// The edits that were not made.
    pub rejected: Vec<Rejected>,
}

/// One note in the place of others. Details of theirs that are not among them are its details from now on, as is a
/// replacement whose parent is among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// The notes that go.
    pub ids: Vec<i64>,
    /// The note that comes.
    pub note: NewNote,
}

/// A note that has no number yet: see [`Note`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewNote {
    /// The note that it is a detail of, by its number before the script.
    pub parent: Option<i64>,
    /// How much it matters.
    pub priority: Priority,
    /// Whose words it rests on.
    pub speaker: Speaker,
    /// When the newest of its sources was said, in Unix milliseconds.
    pub said_at: u64,
    /// The days it refers to.
    pub refers: Option<Days>,
    /// What the fact is about.
    pub key: Option<String>,
    /// What is noted.
    pub text: String,
    /// All that the notes rested on whose place it takes, in order.
    pub sources: Vec<i64>,
}

/// An edit that was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Its place in the script, counted from 0.
    pub edit: usize,
    /// Why.
    pub why: Objection,
}

/// Why an edit is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objection {
    /// It names a note that is not active: never known, or gone meanwhile.
    NotActive,
    /// It changes a note that its owner has put right.
    OwnersWord,
    /// It touches a note that an earlier edit of the script touches.
    UsedBefore,
    /// It merges fewer than two notes.
    TooFew,
    /// It takes out a note of high priority and names none that replaces it.
    HighWithoutSuccessor,
    /// The note that is to replace another is not newer, or goes with it.
    SuccessorNotNewer,
    /// The text lacks a hard anchor of a note of high priority.
    LostAnchor,
    /// The days lack some that a note of high priority refers to.
    LostDays,
    /// The key is not the one of the notes, or they have several and one of high priority would lose its own.
    LostKey,
    /// A note of high priority would get a lower one.
    LostPriority,
    /// It reports as done what no note reports so.
    UnfoundedDone,
    /// It would put an assistant's or a tool's words into a fact about the user.
    MixedSpeakers,
}

impl Objection {
    /// One word for logs.
    pub fn word(self) -> &'static str {
        match self {
            Objection::NotActive => "not_active",
            Objection::OwnersWord => "owners_word",
            Objection::UsedBefore => "used_before",
            Objection::TooFew => "too_few",
            Objection::HighWithoutSuccessor => "high_without_successor",
            Objection::SuccessorNotNewer => "successor_not_newer",
            Objection::LostAnchor => "lost_anchor",
            Objection::LostDays => "lost_days",
            Objection::LostKey => "lost_key",
            Objection::LostPriority => "lost_priority",
            Objection::UnfoundedDone => "unfounded_done",
            Objection::MixedSpeakers => "mixed_speakers",
        }
    }
}

/// Checks the edits of a script against the notes that are active now, in order.
pub fn apply(edits: &[Edit], active: &[Note]) -> Outcome {
    apply_beside(edits, active, &[])
}

/// The same, where some of the notes are their owner's word: no edit changes them.
pub fn apply_beside(edits: &[Edit], active: &[Note], corrected: &[i64]) -> Outcome {
    let mut application = Application::new(active, corrected);
    for (edit, asked) in edits.iter().enumerate() {
        if let Err(why) = application.make(asked) {
            application.outcome.rejected.push(Rejected { edit, why });
        }
    }
    application.outcome
}

impl Outcome {
    /// True when it changes anything.
    pub fn is_change(&self) -> bool {
        !self.drop.is_empty() || !self.replace.is_empty()
    }

    /// Estimated tokens of the notes before and after.
    pub fn tokens(&self, active: &[Note]) -> (u64, u64) {
        let gone: HashSet<i64> = self.gone().collect();
        let cost = |text: &str| tokens::of_text(text) + LINE_TOKENS;
        let before = active.iter().map(|note| cost(&note.text)).sum();
        let stays = active.iter().filter(|note| !gone.contains(&note.id));
        let after = stays.map(|note| cost(&note.text)).sum::<u64>()
            + self.replace.iter().map(|replacement| cost(&replacement.note.text)).sum::<u64>();
        (before, after)
    }

    /// True when the notes get smaller by a twentieth at least; if not, more pressure is called for.
    pub fn is_smaller(&self, active: &[Note]) -> bool {
        let (before, after) = self.tokens(active);
        after + before.div_ceil(SMALLER_BY) <= before
    }

    /// The notes that are active no more.
    fn gone(&self) -> impl Iterator<Item = i64> {
        let replaced = self.replace.iter().flat_map(|replacement| replacement.ids.iter().copied());
        self.drop.iter().map(|(id, _)| *id).chain(replaced)
    }
}

/// A script under way.
struct Application<'a> {
    notes: HashMap<i64, &'a Note>,
    details: HashMap<i64, Vec<i64>>,
    /// Notes that are their owner's word.
    corrected: HashSet<i64>,
    /// Notes that an edit changes.
    changed: HashSet<i64>,
    /// Notes that take the place of dropped ones, and so have to stay as they are.
    successors: HashSet<i64>,
    outcome: Outcome,
}

impl<'a> Application<'a> {
    fn new(active: &'a [Note], corrected: &[i64]) -> Self {
        let mut details: HashMap<i64, Vec<i64>> = HashMap::new();
        for note in active {
            if let Some(parent) = note.parent {
                details.entry(parent).or_default().push(note.id);
            }
        }
        Application {
            notes: active.iter().map(|note| (note.id, note)).collect(),
            details,
            corrected: corrected.iter().copied().collect(),
            changed: HashSet::new(),
            successors: HashSet::new(),
            outcome: Outcome::default(),
        }
    }

    fn make(&mut self, edit: &Edit) -> Result<(), Objection> {
        match edit {
            Edit::Drop { id, by } => self.drop(*id, *by),
            Edit::Merge { ids, priority, refers, key, text } => {
                let ids: Vec<i64> = ids.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
                let notes = ids.iter().map(|id| self.free(*id)).collect::<Result<Vec<_>, _>>()?;
                if notes.len() < 2 {
                    return Err(Objection::TooFew);
                }
                let key = joined_key(&notes, key.as_deref())?;
                let refers = refers.or_else(|| only(notes.iter().filter_map(|note| note.refers)));
                self.replace(&notes, *priority, refers, key, text)
            }
            Edit::Reword { id, priority, text } => {
                let note = self.free(*id)?;
                self.replace(&[note], *priority, note.refers, note.key.clone(), text)
            }
        }
    }

    /// An active note that no edit touched.
    fn free(&self, id: i64) -> Result<&'a Note, Objection> {
        let note = self.notes.get(&id).copied().ok_or(Objection::NotActive)?;
        if self.corrected.contains(&id) {
            return Err(Objection::OwnersWord);
        }
        if self.changed.contains(&id) || self.successors.contains(&id) {
            return Err(Objection::UsedBefore);
        }
        Ok(note)
    }

    fn drop(&mut self, id: i64, by: Option<i64>) -> Result<(), Objection> {
        let details = self.details.get(&id).map(Vec::as_slice).unwrap_or_default();
        let going = [&[id], details].concat();
        let notes = going.iter().map(|id| self.free(*id)).collect::<Result<Vec<_>, _>>()?;
        match by {
            Some(by) => {
                let successor = self.notes.get(&by).ok_or(Objection::NotActive)?;
                if self.changed.contains(&by) {
                    return Err(Objection::UsedBefore);
                }
                let age = |note: &Note| (note.said_at, note.id);
                // It is not newer than itself, so it is none of those that go.
                if notes.iter().any(|note| age(note) >= age(successor)) {
                    return Err(Objection::SuccessorNotNewer);
                }
                self.successors.insert(by);
            }
            None if notes.iter().any(|note| note.priority == Priority::High) => {
                return Err(Objection::HighWithoutSuccessor);
            }
            None => {}
        }
        self.changed.extend(&going);
        self.outcome.drop.extend(going.iter().map(|id| (*id, by)));
        Ok(())
    }

    fn replace(
        &mut self,
        notes: &[&Note],
        priority: Priority,
        refers: Option<Days>,
        key: Option<String>,
        text: &str,
    ) -> Result<(), Objection> {
        let is_users = |note: &&Note| note.speaker == Speaker::User;
        if key.is_some() && notes.iter().any(is_users) && !notes.iter().all(is_users) {
            return Err(Objection::MixedSpeakers);
        }
        if anchors::is_done(text) && !notes.iter().any(|note| anchors::is_done(&note.text)) {
            return Err(Objection::UnfoundedDone);
        }
        for note in notes.iter().filter(|note| note.priority == Priority::High) {
            if priority != Priority::High {
                return Err(Objection::LostPriority);
            }
            if anchors::lost(&note.text, text).is_some() {
                return Err(Objection::LostAnchor);
            }
            if !note.refers.is_none_or(|days| holds_days(days, refers, text)) {
                return Err(Objection::LostDays);
            }
        }
        let note = NewNote {
            parent: self.common_parent(notes),
            priority,
            speaker: Speaker::joined(notes.iter().map(|note| note.speaker)),
            said_at: notes.iter().map(|note| note.said_at).max().unwrap_or(0),
            refers,
            key,
            text: text.to_owned(),
            sources: notes
                .iter()
                .flat_map(|note| note.sources.iter().copied())
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
        };
        let ids: Vec<i64> = notes.iter().map(|note| note.id).collect();
        self.changed.extend(&ids);
        self.outcome.replace.push(Replacement { ids, note });
        Ok(())
    }

    /// The note that all of these are details of. Details have no details, so a note that keeps some is none.
    fn common_parent(&self, notes: &[&Note]) -> Option<i64> {
        if notes.iter().any(|note| self.details.contains_key(&note.id)) {
            return None;
        }
        let parents: HashSet<Option<i64>> = notes.iter().map(|note| note.parent).collect();
        only(parents.into_iter()).flatten()
    }
}

/// The one value of all; `None` where there are several or none.
fn only<T: PartialEq>(mut values: impl Iterator<Item = T>) -> Option<T> {
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}

/// The key of a note that takes the place of these.
fn joined_key(notes: &[&Note], asked: Option<&str>) -> Result<Option<String>, Objection> {
    let keys = || notes.iter().filter_map(|note| note.key.as_deref());
    let key = asked.or_else(|| only(keys()));
    let is_foreign = asked.is_some_and(|asked| keys().next().is_some() && keys().all(|key| key != asked));
    let loses =
        |note: &&Note| note.priority == Priority::High && note.key.is_some() && note.key.as_deref() != key;
    if is_foreign || notes.iter().any(loses) {
        return Err(Objection::LostKey);
    }
    Ok(key.map(str::to_owned))
}

/// True when these days are told by a note: among the days that it refers to, or by its text.
fn holds_days(days: Days, refers: Option<Days>, text: &str) -> bool {
    refers.is_some_and(|held| held.from <= days.from && days.to <= held.to)
        || anchors::lost(&format!("{} {}", days.from.format("%Y-%m-%d"), days.to.format("%Y-%m-%d")), text)
            .is_none()
}
