//! Segments: stretches of the conversation on their way to becoming notes, and rewrites of the notes.
//!
//! Invariant: a segment's row is both the job and what came of it, so that neither can exist without the other; a cycle id
//! names one try at it and is never used twice.

use super::Store;
use crate::memory::database::{Database, Row};

/// What a segment is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Messages become notes.
    Observe,
    /// Notes become fewer.
    Reflect,
}

impl Kind {
    /// The word in storage, in logs and in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Observe => "observe",
            Kind::Reflect => "reflect",
        }
    }
}

/// How far a segment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentState {
    /// Waits for a model.
    Planned,
    /// A model is working on it.
    Running,
    /// Its outcome waits to be put to use.
    Ready,
    /// Its outcome is in use.
    Active,
    /// A branch replaced what it is about.
    Superseded,
    /// Given up; its messages are free, or others' by now.
    Failed,
}

impl SegmentState {
    const ALL: [SegmentState; 6] =
        [Self::Planned, Self::Running, Self::Ready, Self::Active, Self::Superseded, Self::Failed];

    /// The word in storage.
    pub fn as_str(self) -> &'static str {
        match self {
            SegmentState::Planned => "planned",
            SegmentState::Running => "running",
            SegmentState::Ready => "ready",
            SegmentState::Active => "active",
            SegmentState::Superseded => "superseded",
            SegmentState::Failed => "failed",
        }
    }

    fn from_word(word: &str) -> Self {
        Self::ALL.into_iter().find(|state| state.as_str() == word).unwrap_or(SegmentState::Failed)
    }
}

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its number in the thread, never used again.
    pub id: i64,
    /// What it is for.
    pub kind: Kind,
    /// How far it has come.
    pub state: SegmentState,
    /// The try that is running or was the last.
    pub cycle: Option<String>,
    /// The first place that it is about.
    pub seq_from: i64,
    /// The last one.
    pub seq_to: i64,
    /// Estimated tokens of what it is about.
    pub tokens: u64,
    /// How often a model was asked.
    pub attempt: u32,
    /// How hard a reflector is pressed, from 1.
    pub level: u8,
    /// Not to be tried before, in Unix milliseconds.
    pub not_before: u64,
    /// Until when a running try is left alone.
    pub lease_until: Option<u64>,
    /// When it was planned.
    pub planned_at: u64,
    /// When its outcome was there.
    pub ready_at: Option<u64>,
    /// When its outcome was put to use.
    pub activated_at: Option<u64>,
    /// The provider that was asked last.
    pub provider: Option<String>,
    /// The model that was asked last.
    pub model: Option<String>,
    /// Prompt tokens of all tries.
    pub tokens_in: u64,
    /// Completion tokens of all tries.
    pub tokens_out: u64,
    /// What was wrong the last time.
    pub error: Option<String>,
    /// A reflector's edits, until they are applied.
    pub script: Option<String>,
}

const SEGMENT: &str =
    "id, kind, state, cycle, seq_from, seq_to, tokens, attempt, level, not_before, lease_until,
     planned_at, ready_at, activated_at, provider, model, tokens_in, tokens_out, error, script";

impl<D: Database> Store<D> {
    /// Adds a planned segment; gives its number.
    pub fn plan_segment(
        &self,
        kind: Kind,
        (seq_from, seq_to): (i64, i64),
        tokens: u64,
        now: u64,
    ) -> Result<i64, D::Error> {
        let rows = self.grown()?.query(
            "INSERT INTO segments (kind, state, seq_from, seq_to, tokens, attempt, level, not_before, planned_at,
                 tokens_in, tokens_out)
             VALUES (?1, 'planned', ?2, ?3, ?4, 0, 1, ?5, ?5, 0, 0) RETURNING id",
            &[kind.as_str().into(), seq_from.into(), seq_to.into(), tokens.into(), now.into()],
        )?;
        Ok(rows.first().map_or(0, |row| row.integer(0)))
    }

    /// Writes a segment's row.
    pub fn save_segment(&self, segment: &Segment) -> Result<(), D::Error> {
        self.grown()?
            .query(
                &format!(
                    "INSERT OR REPLACE INTO segments ({SEGMENT}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11,
                         ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)"
                ),
                &[
                    segment.id.into(),
                    segment.kind.as_str().into(),
                    segment.state.as_str().into(),
                    segment.cycle.clone().into(),
                    segment.seq_from.into(),
                    segment.seq_to.into(),
                    segment.tokens.into(),
                    i64::from(segment.attempt).into(),
                    i64::from(segment.level).into(),
                    segment.not_before.into(),
                    segment.lease_until.into(),
                    segment.planned_at.into(),
                    segment.ready_at.into(),
                    segment.activated_at.into(),
                    segment.provider.clone().into(),
                    segment.model.clone().into(),
                    segment.tokens_in.into(),
                    segment.tokens_out.into(),
                    segment.error.clone().into(),
                    segment.script.clone().into(),
                ],
            )
            .map(drop)
    }

    /// The segments in a state, oldest first.
    pub fn segments(&self, state: SegmentState) -> Result<Vec<Segment>, D::Error> {
        if !self.has_grown()? {
            return Ok(Vec::new());
        }
        let rows = self.grown()?.query(
            &format!("SELECT {SEGMENT} FROM segments WHERE state = ?1 ORDER BY id"),
            &[state.as_str().into()],
        )?;
        Ok(rows.iter().map(read_segment).collect())
    }

    /// The segment that a try is at.
    pub fn segment_by_cycle(&self, cycle: &str) -> Result<Option<Segment>, D::Error> {
        let rows = self
            .grown()?
            .query(&format!("SELECT {SEGMENT} FROM segments WHERE cycle = ?1"), &[cycle.into()])?;
        Ok(rows.first().map(read_segment))
    }

    /// The observing segments that are about anything behind `seq` and not given up, oldest first.
    pub fn segments_reaching(&self, seq: i64) -> Result<Vec<Segment>, D::Error> {
        if !self.has_grown()? {
            return Ok(Vec::new());
        }
        let rows = self.grown()?.query(
            &format!(
                "SELECT {SEGMENT} FROM segments WHERE kind = 'observe' AND seq_to > ?1
                 AND state IN ('planned', 'running', 'ready', 'active') ORDER BY id"
            ),
            &[seq.into()],
        )?;
        Ok(rows.iter().map(read_segment).collect())
    }

    /// The observing segments on their way into use, in the order of the conversation.
    pub fn segments_in_order(&self) -> Result<Vec<Segment>, D::Error> {
        let rows = self.grown()?.query(
            &format!(
                "SELECT {SEGMENT} FROM segments WHERE kind = 'observe' AND state IN ('planned', 'running', 'ready')
                 ORDER BY seq_from, id"
            ),
            &[],
        )?;
        Ok(rows.iter().map(read_segment).collect())
    }

    /// True while a rewrite of the log is under way or waits to be used.
    pub fn is_reflecting(&self) -> Result<bool, D::Error> {
        let rows = self.grown()?.query(
            "SELECT count(*) FROM segments WHERE kind = 'reflect' AND state IN ('planned', 'running', 'ready')",
            &[],
        )?;
        Ok(rows.first().is_some_and(|row| row.integer(0) > 0))
    }

    /// The newest segment of a kind that is in use, for the record.
    pub fn last_active(&self, kind: Kind) -> Result<Option<Segment>, D::Error> {
        let rows = self.grown()?.query(
            &format!(
                "SELECT {SEGMENT} FROM segments WHERE state = 'active' AND kind = ?1 ORDER BY id DESC LIMIT 1"
            ),
            &[kind.as_str().into()],
        )?;
        Ok(rows.first().map(read_segment))
    }
}

fn read_segment(row: &Row) -> Segment {
    let text = |column| row.optional(column).map(|value| value.text());
    let time = |column| row.optional(column).map(|value| value.unsigned());
    Segment {
        id: row.integer(0),
        kind: if row.text(1) == Kind::Reflect.as_str() { Kind::Reflect } else { Kind::Observe },
        state: SegmentState::from_word(&row.text(2)),
        cycle: text(3),
        seq_from: row.integer(4),
        seq_to: row.integer(5),
        tokens: row.unsigned(6),
        attempt: u32::try_from(row.unsigned(7)).unwrap_or(u32::MAX),
        level: u8::try_from(row.unsigned(8)).unwrap_or(u8::MAX),
        not_before: row.unsigned(9),
        lease_until: time(10),
        planned_at: row.unsigned(11),
        ready_at: time(12),
        activated_at: time(13),
        provider: text(14),
        model: text(15),
        tokens_in: row.unsigned(16),
        tokens_out: row.unsigned(17),
        error: text(18),
        script: text(19),
    }
}
