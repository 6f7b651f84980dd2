//! A cycle: what an observer or a reflector is asked, and what becomes of its answer.
//!
//! Invariant: an answer counts once, for the try that asked for it, and only if what it is about still stands; the notes and
//! the segment that they make ready are written in one transaction. Whatever else happens, no message leaves a prompt: it is
//! asked again, later each time, in smaller pieces, and given up only piece by piece with a note that says so.

use super::database::Database;
use super::fault::Fault;
use super::hygiene::{Hygiene, detail, noted};
use super::note::{Note, Priority, Speaker};
use super::observer::{self, Asked, Observed};
use super::plan::{Outline, batches, middle};
use super::reflector;
use super::render;
use super::secrets;
use super::settings::Settings;
use super::state::State;
use super::store::{
    Kind, NewNote, NoteStatus, Segment, SegmentState, Store, StoredMessage, Thread, Weights, first_seq,
};
use super::transcript::{self, Said};
use crate::time::{Zone, local};
use crate::tokens;
use crate::turn::{Message, Part, PartKind, Stop, Usage};

/// How many messages are looked at to plan at once, and how many bytes of them: what an object has been given long ago must
/// not fill its memory at once. The rest is planned the next time.
const MAX_PLANNED: u32 = 5_000;
const MAX_PLANNED_BYTES: u64 = 8 * 1024 * 1024;
/// What an observer is shown of the important notes that exist, in tokens.
const SHOWN_HIGH_TOKENS: u64 = 4_000;
/// What it is shown of the others, newest first.
const SHOWN_TOKENS: u64 = 2_000;
/// How long a try may outlast its deadline before another takes its place, in milliseconds.
const LEASE_MARGIN_MS: u64 = 30_000;
/// Between tries, in milliseconds; twice as long each time.
const RETRY_MS: u64 = 1_000;
/// The highest pressure on a reflector.
const MAX_LEVEL: u8 = 4;

/// One question to a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// The try's id.
    pub cycle: String,
    /// What it is for.
    pub kind: Kind,
    /// Which segment it is about.
    pub segment: i64,
    /// Whose thread.
    pub thread: Thread,
    /// The first and the last place of the conversation that it is about; zeros for a rewrite of the log.
    pub range: (i64, i64),
    /// How many messages, or notes, it is about.
    pub messages: usize,
    /// The texts.
    pub asked: Asked,
    /// The models to ask, in order: the next one only where there is no way to the one before.
    pub models: Vec<String>,
    /// The most tokens of the answer.
    pub answer_tokens: u64,
    /// How long it may take, in milliseconds.
    pub deadline_ms: u64,
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// The model answered.
    Answer {
        /// Its words; `None` where it declined or said nothing.
        text: Option<String>,
        /// Why it stopped; `None` when the answer broke off.
        stop: Option<Stop>,
    },
    /// The provider will not take this question, however often it is asked.
    Refused(String),
    /// Nobody could be asked, or nobody answered in time.
    Unreachable(String),
}

/// A question's cost and outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// What came of it.
    pub heard: Heard,
    /// The provider that was asked.
    pub provider: String,
    /// The model that was asked.
    pub model: String,
    /// Token counts as reported, or estimated.
    pub usage: Usage,
    /// True where the provider gave no counts.
    pub estimated: bool,
    /// The provider's status; `None` where it gave none.
    pub status: Option<u16>,
}

/// What was made of a reply, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The try is another's by now, or what it was about is gone; nothing was written.
    Late,
    /// So many notes, or edits, are ready.
    Ready(usize),
    /// It will be asked again.
    Retry(String),
    /// It will be asked in two pieces.
    Split(String),
    /// The messages were given up, with a note that says so.
    Skipped(String),
    /// It will be asked again when the latch closes.
    Waiting(String),
    /// A rewrite was given up until the log has grown.
    GivenUp(String),
}

impl Verdict {
    /// One word for the log, and what more there is to say.
    pub fn words(&self) -> (&'static str, Option<String>) {
        match self {
            Verdict::Late => ("late", None),
            Verdict::Ready(count) => ("ready", Some(count.to_string())),
            Verdict::Retry(why) => ("retry", Some(why.clone())),
            Verdict::Split(why) => ("split", Some(why.clone())),
            Verdict::Skipped(why) => ("skipped", Some(why.clone())),
            Verdict::Waiting(why) => ("waiting", Some(why.clone())),
            Verdict::GivenUp(why) => ("given_up", Some(why.clone())),
        }
    }
}

/// What a cycle works with.
pub struct Desk<'a, D> {
    /// The thread's storage.
    pub store: &'a Store<D>,
    /// The settings in force.
    pub settings: &'a Settings,
    /// Unix milliseconds.
    pub now: u64,
    /// The user's time zone.
    pub zone: Zone<'a>,
}

impl<D: Database> Desk<'_, D> {
    /// Plans what there is to do: claims messages for observers, and a rewrite once the log is long.
    pub fn plan(&self, state: &State) -> Result<(), D::Error> {
        let Weights { raw, unclaimed, notes } = self.store.weights()?;
        let at_least = self.settings.buffer_at(state.corrected(raw));
        if state.corrected(unclaimed) >= at_least {
            // A turn that is still being answered has more to come.
            let until = self.store.first_pending()?.map_or(i64::MAX, first_seq);
            self.claim_messages(self.store.unclaimed(until, MAX_PLANNED, MAX_PLANNED_BYTES)?, at_least)?;
        }
        if notes >= self.settings.reflect_tokens
            && notes > state.incompressible_at
            && !self.store.is_reflecting()?
        {
            self.store.plan_segment(Kind::Reflect, (0, 0), notes, self.now)?;
        }
        Ok(())
    }

    fn claim_messages(&self, messages: Vec<StoredMessage>, at_least: u64) -> Result<(), D::Error> {
        let outlines = outlines(&messages);
        let tokens = |some: &[Outline]| some.iter().map(|message| message.tokens).sum::<u64>();
        for (nth, batch) in batches(&outlines, self.settings.window_tokens).into_iter().enumerate() {
            let some = outlines.get(batch).unwrap_or_default();
            // What is left over behind full batches waits for more, and so does a first one that a pending call keeps
            // small.
            if tokens(some) < at_least.div_ceil(2) && (nth > 0 || tokens(some) * 4 < at_least) {
                continue;
            }
            self.claim(some)?;
        }
        Ok(())
    }

    fn claim(&self, messages: &[Outline]) -> Result<(), D::Error> {
        let (Some(first), Some(last)) = (messages.first(), messages.last()) else { return Ok(()) };
        let tokens = messages.iter().map(|message| message.tokens).sum();
        let id = self.store.plan_segment(Kind::Observe, (first.seq, last.seq), tokens, self.now)?;
        let seqs: Vec<i64> = messages.iter().map(|message| message.seq).collect();
        self.store.claim(&seqs, Some(id))
    }

    /// Takes the next job whose time has come, as the try `cycle`.
    pub fn take(&self, state: &State, thread: &Thread, cycle: &str) -> Result<Option<Job>, D::Error> {
        for mut lost in self.store.segments(SegmentState::Running)? {
            if lost.lease_until.is_some_and(|until| until > self.now) {
                return Ok(None);
            }
            // Whoever was at it is gone; should it still answer, its try's id is no longer the segment's.
            lost.state = SegmentState::Planned;
            lost.cycle = None;
            lost.lease_until = None;
            lost.error = Some("lost".to_owned());
            self.store.save_segment(&lost)?;
        }
        if state.latch.is_open(self.now) {
            return Ok(None);
        }
        let planned = self.store.segments(SegmentState::Planned)?;
        let is_due = |segment: &&Segment| segment.not_before <= self.now;
        let observing = planned.iter().filter(is_due).find(|segment| segment.kind == Kind::Observe);
        let Some(segment) = observing.or_else(|| planned.iter().find(is_due)) else { return Ok(None) };
        let mut segment = segment.clone();
        let deadline_ms = self.settings.deadline_ms;
        segment.state = SegmentState::Running;
        segment.cycle = Some(cycle.to_owned());
        segment.attempt += 1;
        segment.lease_until = Some(self.now + deadline_ms + LEASE_MARGIN_MS);
        self.store.save_segment(&segment)?;
        let (asked, messages, model) = match segment.kind {
            Kind::Observe => {
                let messages = self.standing(segment.id)?;
                (self.ask_observer(&messages)?, messages.len(), &self.settings.observer_model)
            }
            Kind::Reflect => {
                let active = self.store.notes(NoteStatus::Active)?;
                let asked = reflector::ask(&active, segment.level, self.zone);
                (asked, active.len(), &self.settings.reflector_model)
            }
        };
        // Where the deployment has no way to the chosen model, the one that the thread itself talks to can take notes.
        let own = match (&state.provider, &state.model) {
            (Some(provider), Some(model)) => Some(format!("{provider}/{model}")),
            _ => None,
        };
        let models = std::iter::once(model.clone()).chain(own.filter(|own| own != model)).collect();
        Ok(Some(Job {
            cycle: cycle.to_owned(),
            kind: segment.kind,
            segment: segment.id,
            thread: thread.clone(),
            range: (segment.seq_from, segment.seq_to),
            messages,
            asked,
            models,
            answer_tokens: self.settings.answer_tokens,
            deadline_ms,
        }))
    }

    fn ask_observer(&self, messages: &[StoredMessage]) -> Result<Asked, D::Error> {
        let masked: Vec<Message> = messages.iter().map(|stored| without_secrets(&stored.message)).collect();
        let said: Vec<Said<'_>> = messages
            .iter()
            .zip(&masked)
            .map(|(stored, message)| Said { message, at: stored.created_at, incomplete: stored.incomplete })
            .collect();
        let log = render::log(&self.store.rendered()?).unwrap_or_default();
        let transcript = transcript::write(&said, &log, self.zone);
        Ok(observer::ask(&self.shown_notes()?, &transcript, self.zone))
    }

    fn standing(&self, segment: i64) -> Result<Vec<StoredMessage>, D::Error> {
        let mut messages = self.store.claimed_by(segment)?;
        messages.retain(|stored| stored.superseded_by.is_none());
        Ok(messages)
    }

    /// The notes that exist, as far as an observer is shown them so that it does not repeat them.
    fn shown_notes(&self) -> Result<Vec<Note>, D::Error> {
        let mut notes = self.store.notes(NoteStatus::Active)?;
        notes.extend(self.store.notes(NoteStatus::Buffered)?);
        let (mut high, mut rest) = (SHOWN_HIGH_TOKENS, SHOWN_TOKENS);
        let mut shown: Vec<Note> = notes
            .into_iter()
            .rev()
            .filter(|note| {
                let left = if note.priority == Priority::High { &mut high } else { &mut rest };
                let fits = tokens::of_text(&note.text) <= *left;
                *left = if fits { *left - tokens::of_text(&note.text) } else { 0 };
                fits
            })
            .collect();
        shown.reverse();
        Ok(shown)
    }

    /// Makes of a reply what it is worth. `jitter` is any number.
    pub fn settle(
        &self,
        state: &mut State,
        cycle: &str,
        reply: &Reply,
        jitter: u64,
    ) -> Result<Verdict, D::Error> {
        let Some(mut segment) = self.store.segment_by_cycle(cycle)? else { return Ok(Verdict::Late) };
        if segment.state != SegmentState::Running {
            return Ok(Verdict::Late);
        }
        segment.lease_until = None;
        segment.provider = Some(reply.provider.clone());
        segment.model = Some(reply.model.clone());
        segment.tokens_in += reply.usage.input;
        segment.tokens_out += reply.usage.output;
        let is_last = segment.attempt >= self.settings.attempts;
        match (&reply.heard, segment.kind) {
            (Heard::Unreachable(why), _) => self.wait(state, segment, why, is_last, jitter),
            (Heard::Refused(why), kind) => {
                let why = format!("refused: {why}");
                // The same question would be refused again.
                segment.attempt = segment.attempt.max(self.settings.attempts);
                self.faulty(state, segment, kind, why, true, jitter)
            }
            (Heard::Answer { text, stop }, Kind::Observe) => {
                let messages = self.standing(segment.id)?;
                match observer::read(text.as_deref(), stop.as_ref(), messages.len(), is_last) {
                    Ok((observed, left_out)) => {
                        state.junk.malformed += left_out as u64;
                        self.note(state, segment, &messages, observed)
                    }
                    Err(fault) => self.faulty(state, segment, Kind::Observe, said(&fault), is_last, jitter),
                }
            }
            (Heard::Answer { text, stop }, Kind::Reflect) => {
                match reflector::read(text.as_deref(), stop.as_ref()) {
                    Ok(edits) => self.edit(state, segment, text.as_deref().unwrap_or_default(), &edits),
                    Err(fault) => self.faulty(state, segment, Kind::Reflect, said(&fault), is_last, jitter),
                }
            }
        }
    }

    /// Nobody answered: asked again later, for as long as it takes.
    fn wait(
        &self,
        state: &mut State,
        mut segment: Segment,
        why: &str,
        is_last: bool,
        jitter: u64,
    ) -> Result<Verdict, D::Error> {
        segment.state = SegmentState::Planned;
        segment.error = Some(why.to_owned());
        segment.not_before = self.now + retry_after(segment.attempt, jitter);
        let verdict = if is_last {
            segment.attempt = 0;
            state.latch.failed(self.now, jitter);
            Verdict::Waiting(why.to_owned())
        } else {
            Verdict::Retry(why.to_owned())
        };
        self.store.save_segment(&segment)?;
        Ok(verdict)
    }

    /// The answer cannot be used: asked again, then in smaller pieces.
    fn faulty(
        &self,
        state: &mut State,
        mut segment: Segment,
        kind: Kind,
        why: String,
        is_last: bool,
        jitter: u64,
    ) -> Result<Verdict, D::Error> {
        segment.error = Some(why.clone());
        if !is_last {
            segment.state = SegmentState::Planned;
            segment.not_before = self.now + retry_after(segment.attempt, jitter);
            self.store.save_segment(&segment)?;
            return Ok(Verdict::Retry(why));
        }
        state.latch.failed(self.now, jitter);
        if kind == Kind::Reflect {
            segment.state = SegmentState::Failed;
            state.incompressible_at = grown(segment.tokens);
            self.store.save_segment(&segment)?;
            return Ok(Verdict::GivenUp(why));
        }
        let messages = self.standing(segment.id)?;
        let outlines = outlines(&messages);
        if let Some(at) = middle(&outlines) {
            segment.state = SegmentState::Failed;
            self.store.save_segment(&segment)?;
            let (first, second) = outlines.split_at(at);
            self.claim(first)?;
            self.claim(second)?;
            return Ok(Verdict::Split(why));
        }
        // A model that has not answered well since can be what is at fault: then there is nothing wrong with the messages.
        if state.last_observed_at.is_none_or(|last| last < segment.planned_at) {
            segment.state = SegmentState::Planned;
            segment.attempt = 0;
            segment.not_before = self.now + retry_after(8, jitter);
            self.store.save_segment(&segment)?;
            return Ok(Verdict::Waiting(why));
        }
        self.skip(state, segment, &messages)?;
        Ok(Verdict::Skipped(why))
    }

    fn skip(&self, state: &mut State, segment: Segment, messages: &[StoredMessage]) -> Result<(), D::Error> {
        let (Some(first), Some(last)) = (messages.first(), messages.last()) else {
            return self.ready(state, segment);
        };
        let when = |at: u64| local(at, self.zone).format("%Y-%m-%d %H:%M");
        let text = format!(
            "{} message(s) between {} and {} could not be noted; they are kept word for word outside this log.",
            messages.len(),
            when(first.created_at),
            when(last.created_at)
        );
        let note = Note {
            id: 0,
            segment: segment.id,
            parent: None,
            priority: Priority::Low,
            speaker: Speaker::Assistant,
            said_at: last.created_at,
            refers: None,
            key: None,
            text,
            sources: messages.iter().map(|stored| stored.seq).collect(),
        };
        self.add(note)?;
        self.ready(state, segment)
    }

    fn note(
        &self,
        state: &mut State,
        segment: Segment,
        messages: &[StoredMessage],
        observed: Observed,
    ) -> Result<Verdict, D::Error> {
        let drafts = match observed {
            Observed::Nothing => Vec::new(),
            Observed::Notes(drafts) => drafts,
        };
        if drafts.is_empty() {
            state.junk.empty += 1;
        }
        let mut known = self.store.notes(NoteStatus::Active)?;
        known.extend(self.store.notes(NoteStatus::Buffered)?);
        let mut hygiene = Hygiene::new(&known);
        let mut count = 0;
        for mut draft in drafts {
            draft.text = secrets::mask(&draft.text).into_owned();
            if !hygiene.admits(&draft.text) {
                continue;
            }
            let parent = self.add(noted(&draft, segment.id, messages))?;
            count += 1;
            for child in &draft.children {
                let text = secrets::mask(&child.text).into_owned();
                if hygiene.admits(&text) {
                    self.add(detail(&draft, child, text, (parent, segment.id), messages))?;
                    count += 1;
                }
            }
        }
        state.junk.duplicate += hygiene.duplicate;
        state.junk.self_reference += hygiene.self_reference;
        self.ready(state, segment)?;
        Ok(Verdict::Ready(count))
    }

    fn add(&self, note: Note) -> Result<i64, D::Error> {
        let tokens = tokens::of_text(&render::line(&note, self.zone));
        self.store.add_note(&NewNote { note, status: NoteStatus::Buffered, tokens, created_at: self.now })
    }

    fn ready(&self, state: &mut State, mut segment: Segment) -> Result<(), D::Error> {
        segment.state = SegmentState::Ready;
        segment.ready_at = Some(self.now);
        state.latch.succeeded();
        if segment.kind == Kind::Observe {
            state.last_observed_at = Some(self.now);
        }
        self.store.save_segment(&segment)
    }

    fn edit(
        &self,
        state: &mut State,
        mut segment: Segment,
        script: &str,
        edits: &[reflector::Edit],
    ) -> Result<Verdict, D::Error> {
        let active = self.store.notes(NoteStatus::Active)?;
        let outcome = reflector::apply_beside(edits, &active, &self.store.corrected_notes()?);
        if outcome.is_smaller(&active) {
            let count = outcome.drop.len() + outcome.replace.len();
            segment.script = Some(script.to_owned());
            self.ready(state, segment)?;
            return Ok(Verdict::Ready(count));
        }
        state.latch.succeeded();
        segment.error = Some("no smaller".to_owned());
        let verdict = if segment.level < MAX_LEVEL {
            segment.level += 1;
            segment.attempt = 0;
            segment.state = SegmentState::Planned;
            segment.not_before = self.now;
            Verdict::Retry("no smaller".to_owned())
        } else {
            segment.state = SegmentState::Failed;
            state.incompressible_at = grown(segment.tokens);
            Verdict::GivenUp("no smaller".to_owned())
        };
        self.store.save_segment(&segment)?;
        Ok(verdict)
    }
}

/// Where a rewrite is tried again after it has failed: a tenth more than there was.
fn grown(tokens: u64) -> u64 {
    tokens + tokens / 10
}

fn said(fault: &Fault) -> String {
    fault.to_string()
}

fn retry_after(attempt: u32, jitter: u64) -> u64 {
    let wait = RETRY_MS << attempt.saturating_sub(1).min(8);
    wait + jitter % wait
}

fn outlines(messages: &[StoredMessage]) -> Vec<Outline> {
    messages.iter().map(|stored| Outline::of(stored.seq, stored.tokens, &stored.message)).collect()
}

/// The message as an observer may see it: secrets in its texts, arguments and results are masked.
fn without_secrets(message: &Message) -> Message {
    fn mask(parts: &mut [Part]) {
        for part in parts {
            match &mut part.kind {
                PartKind::Text(text) | PartKind::Refusal(text) => *text = secrets::mask(text).into_owned(),
                PartKind::ToolCall(call) => call.arguments = secrets::mask(&call.arguments).into_owned(),
                PartKind::ToolResult(result) => mask(&mut result.content),
                PartKind::Image(_)
                | PartKind::Audio(_)
                | PartKind::File(_)
                | PartKind::Reasoning(_)
                | PartKind::Other(_) => {}
            }
        }
    }
    let mut message = message.clone();
    mask(&mut message.parts);
    message
}
