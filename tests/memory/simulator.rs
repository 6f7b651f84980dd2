//! A seeded simulator: turns, answers that break off, jobs, wrong answers, late ones, crashes, edits, deletions, in any order.
//!
//! After each step every message that stands is raw or covered by notes that stand, and the other promises hold; the seed
//! that breaks one is named.

use std::collections::{BTreeMap, BTreeSet};

use memory_gateway::memory::cycle::{Heard, Job, Verdict};
use memory_gateway::memory::database::Database;
use memory_gateway::memory::settings::Settings;
use memory_gateway::memory::store::{Kind, NoteStatus, TurnStatus};
use memory_gateway::protocol::{
    Committed, Delete, DeleteMessages, Messages, MessagesDeleted, Prepare, ReadMessages, ThreadKey,
};
use memory_gateway::thread;
use memory_gateway::turn::{Message, Role, Stop};

use crate::support::{around, assistant, calls, result, user};
use crate::world::{Shown, World, answered, observe, small};

struct Chance(u64);

impl Chance {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// How the simulated client and the world stand.
struct Run {
    seed: u64,
    chance: Chance,
    world: World,
    said: u64,
    /// Turns whose end is still to come.
    open: Vec<(Prepare, Message)>,
    /// Jobs that somebody is working on, some of them given up by the thread long ago.
    running: Vec<Job>,
    /// A call that waits for its result.
    waiting: Option<String>,
    covered: BTreeSet<i64>,
    /// What deleted messages said.
    erased: BTreeSet<String>,
    last: Option<(u64, Shown)>,
}

/// One row of the messages' table.
struct Row {
    seq: i64,
    covered: bool,
    superseded: bool,
    segment: Option<i64>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let settings = Settings {
            observe_tokens: 60 + 40 * chance.roll(5),
            buffer_tokens: 10 + 10 * chance.roll(4),
            keep_tokens: 10 * chance.roll(6),
            window_tokens: 30 + 30 * chance.roll(4),
            reflect_tokens: 80,
            swap_tokens: 120 + 60 * chance.roll(4),
            idle_activation: chance.roll(2) == 0,
            ..small()
        };
        Run {
            seed,
            chance,
            world: World::new(settings),
            said: 0,
            open: Vec::new(),
            running: Vec::new(),
            waiting: None,
            covered: BTreeSet::new(),
            erased: BTreeSet::new(),
            last: None,
        }
    }

    fn step(&mut self) {
        if self.chance.roll(80) == 0 {
            self.delete();
        }
        if self.chance.roll(12) == 0 {
            self.delete_messages();
        }
        match self.chance.roll(20) {
            0..=6 => self.speak(),
            7..=9 => self.end_a_turn(),
            10..=12 => self.take_a_job(),
            13..=15 => self.settle_a_job(),
            16 => self.pass_time(),
            17 => self.edit(),
            18 => self.replay(),
            _ => self.world.quiet_for(3),
        }
        self.check();
    }

    fn speak(&mut self) {
        self.said += 1;
        let message = match self.waiting.take() {
            Some(call) if self.chance.roll(4) != 0 => result(&call, &format!("result of {call} is in")),
            _ => user(&format!("statement {} of the user", self.said)),
        };
        let answer = match self.chance.roll(4) {
            0 => {
                let call = format!("call{}", self.said);
                self.waiting = Some(call.clone());
                calls(&[&call])
            }
            _ => assistant(&format!("reply {} of the model", self.said)),
        };
        let request = self.world.thread.request(&[message]);
        let shown = self.world.begin(&request);
        self.see(shown);
        if self.chance.roll(4) == 0 {
            self.open.push((request, answer));
        } else {
            let status = if self.chance.roll(8) == 0 { TurnStatus::Incomplete } else { TurnStatus::Complete };
            self.world.thread.end(&request, status, Some(answer));
        }
    }

    fn end_a_turn(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let at = self.chance.roll(self.open.len() as u64) as usize;
        let (request, answer) = self.open.remove(at);
        match self.chance.roll(5) {
            0 => {
                self.world.thread.end(&request, TurnStatus::Failed, None);
            }
            1 => {
                // Lost first, and heard of after all.
                let thread = &self.world.thread;
                thread::close_lost_turns(&thread.store, thread.now + 1_000, 1, around(&thread.settings))
                    .unwrap();
                self.world.thread.end(&request, TurnStatus::Complete, Some(answer));
            }
            _ => {
                self.world.thread.end(&request, TurnStatus::Complete, Some(answer));
            }
        }
    }

    fn take_a_job(&mut self) {
        if let Some(job) = self.world.take() {
            self.running.push(job);
        }
    }

    fn settle_a_job(&mut self) {
        if self.running.is_empty() {
            return;
        }
        let at = self.chance.roll(self.running.len() as u64) as usize;
        // Some answers come twice.
        let job = if self.chance.roll(5) == 0 { self.running[at].clone() } else { self.running.remove(at) };
        let good = answered(&self.good_answer(&job));
        let heard = match self.chance.roll(12) {
            0 => answered("nonsense"),
            1 => Heard::Unreachable("connect".into()),
            2 => Heard::Answer { text: Some("H #1 | cut of".into()), stop: Some(Stop::Length) },
            3 => answered(""),
            4 => Heard::Refused("400".into()),
            5 => answered("NOTHING TO NOTE\nEND"),
            // The process dies between the answer and its commit.
            6 => return,
            _ => good,
        };
        self.world.settle(&job, heard);
    }

    fn good_answer(&mut self, job: &Job) -> String {
        if job.kind == Kind::Observe {
            return observe(job);
        }
        // A reflector that merges the first two notes it is shown, and drops a third.
        let ids: Vec<&str> = job
            .asked
            .user
            .lines()
            .filter_map(|line| line.trim_start().strip_prefix('[')?.split(']').next())
            .collect();
        match ids.as_slice() {
            [first, second, third, ..] => {
                let texts: Vec<&str> =
                    job.asked.user.lines().filter_map(|line| Some(line.split_once(" | ")?.1)).collect();
                format!("MERGE {first},{second} H | {} / {}\nDROP {third}\nEND", texts[0], texts[1])
            }
            _ => "NOTHING TO CHANGE\nEND".to_owned(),
        }
    }

    fn pass_time(&mut self) {
        self.world.thread.now += [1_000, 60_000, 700_000, 7_200_000][self.chance.roll(4) as usize];
    }

    /// The thread is deleted, whatever is under way; what comes of that later must change nothing.
    fn delete(&mut self) {
        let key = ThreadKey { project: "p".into(), thread: "t".into(), resource: None };
        thread::delete(&self.world.thread.store, &Delete::at_any_age(key), self.world.thread.now).unwrap();
        self.world.thread.now += 1;
        let store = &self.world.thread.store;
        assert!(thread::deletion::departed(store).unwrap());
        self.covered.clear();
        self.last = None;
        self.waiting = None;
        for (request, answer) in self.open.drain(..) {
            let committed = self.world.thread.end(&request, TurnStatus::Complete, Some(answer));
            assert_eq!(committed, Committed::Deleted, "seed {}: a turn came back", self.seed);
        }
        for job in self.running.drain(..) {
            let heard = answered(&observe(&job));
            assert_eq!(self.world.settle(&job, heard), Verdict::Late, "seed {}: a job came back", self.seed);
        }
        assert_eq!(self.rows().len(), 0, "seed {}: something is left", self.seed);
        assert_eq!(self.world.notes(NoteStatus::Active), [], "seed {}: something is left", self.seed);
    }

    /// Some messages are deleted, whatever is under way; nothing of them may be anywhere, now or later.
    fn delete_messages(&mut self) {
        let key = ThreadKey { project: "p".into(), thread: "t".into(), resource: None };
        let all = ReadMessages { key: key.clone(), limit: 1_000_000, offset: 0, descending: false };
        let Messages::Page { messages, .. } = thread::messages(&self.world.thread.store, &all).unwrap()
        else {
            return;
        };
        let some: Vec<_> = messages.into_iter().filter(|_| self.chance.roll(6) == 0).collect();
        let ids = some.iter().map(|stored| stored.id.clone()).collect();
        let thread = &self.world.thread;
        let asked = DeleteMessages { key, ids };
        let deleted =
            thread::delete_messages(&thread.store, &asked, thread.now, around(&thread.settings)).unwrap();
        let MessagesDeleted::Deleted { messages, .. } = deleted else {
            panic!("seed {}: {deleted:?}", self.seed);
        };
        assert_eq!(messages, some.len() as u64, "seed {}", self.seed);
        // What was said a second time, and not deleted there, still stands.
        let left: BTreeSet<String> = self.stored().iter().map(Message::text).collect();
        let texts = some.iter().map(|stored| stored.message.text());
        self.erased.extend(texts.filter(|text| text.contains("statement ") && !left.contains(text)));
        if messages > 0 {
            self.covered.clear();
            self.last = None;
        }
    }

    /// Nothing that a deleted message said is in any row.
    fn check_erased(&self) {
        let store = &self.world.thread.store;
        let tables = [
            ("message", "SELECT body FROM messages"),
            ("state", "SELECT body FROM state"),
            ("rest of a message", "SELECT body FROM message_rest"),
            ("note", "SELECT text || coalesce(key, '') FROM notes"),
            ("log", "SELECT bytes FROM render"),
            ("segment", "SELECT coalesce(script, '') || coalesce(error, '') FROM segments"),
            ("piece of news", "SELECT body FROM outbox"),
            ("generation", "SELECT text FROM generation_log UNION ALL SELECT body FROM generations"),
        ];
        let there = if store.has_grown().unwrap() { tables.len() } else { 2 };
        for (what, sql) in tables.into_iter().take(there) {
            for row in store.database().query(sql, &[]).unwrap() {
                let row = row.text(0);
                for text in &self.erased {
                    assert!(!row.contains(text.as_str()), "seed {}: a {what} has {text}: {row}", self.seed);
                }
            }
        }
    }

    /// A client with the history goes back to an earlier question and asks another.
    fn edit(&mut self) {
        if !self.open.is_empty() {
            return;
        }
        let stored = self.stored();
        let questions: Vec<usize> = (0..stored.len()).filter(|at| stored[*at].role == Role::User).collect();
        if questions.len() < 3 {
            return;
        }
        let at = questions[self.chance.roll(questions.len() as u64) as usize];
        self.said += 1;
        let mut sent = stored[..at].to_vec();
        sent.push(user(&format!("edited statement {}", self.said)));
        self.waiting = None;
        let request = self.world.thread.request(&sent);
        let shown = self.world.begin(&request);
        self.covered.clear();
        self.last = None;
        drop(shown);
        self.world.thread.end(&request, TurnStatus::Complete, Some(assistant("a reply to the edit")));
    }

    /// A client with the history says something new.
    fn replay(&mut self) {
        if !self.open.is_empty() || self.waiting.is_some() {
            return;
        }
        let mut sent = self.stored();
        self.said += 1;
        sent.push(user(&format!("statement {} with the history", self.said)));
        let request = self.world.thread.request(&sent);
        let shown = self.world.begin(&request);
        self.see(shown);
        self.world.thread.end(&request, TurnStatus::Complete, Some(assistant("a reply to the replay")));
    }

    fn stored(&self) -> Vec<Message> {
        let key = ThreadKey { project: "p".into(), thread: "t".into(), resource: None };
        let all = ReadMessages { key, limit: 1_000_000, offset: 0, descending: false };
        match thread::messages(&self.world.thread.store, &all).unwrap() {
            Messages::Page { messages, .. } => messages.into_iter().map(|stored| stored.message).collect(),
            Messages::NotFound => Vec::new(),
        }
    }

    /// The prompt goes on from the one before, as long as the log is the same and no answer came late.
    fn see(&mut self, shown: Shown) {
        let texts = shown.stable.iter().chain(&shown.volatile).chain(&shown.messages);
        for text in texts {
            assert!(
                !self.erased.iter().any(|erased| text.contains(erased)),
                "seed {}: shown {text}",
                self.seed
            );
        }
        let version = self.world.thread.store.state().unwrap().log_version;
        if let Some((known, last)) = &self.last
            && *known == version
        {
            assert_eq!(shown.stable, last.stable, "seed {}: the log changed in silence", self.seed);
        }
        self.last = Some((version, shown));
    }

    fn rows(&self) -> Vec<Row> {
        let store = &self.world.thread.store;
        let rows = store
            .database()
            .query("SELECT seq, covered, superseded_by IS NOT NULL, segment FROM messages ORDER BY seq", &[])
            .unwrap();
        rows.iter()
            .map(|row| Row {
                seq: row.integer(0),
                covered: row.integer(1) == 1,
                superseded: row.integer(2) == 1,
                segment: row.optional(3).map(|value| value.integer()),
            })
            .collect()
    }

    fn segments(&self) -> BTreeMap<i64, String> {
        let store = &self.world.thread.store;
        if !store.has_grown().unwrap() {
            return BTreeMap::new();
        }
        let rows = store.database().query("SELECT id, state FROM segments", &[]).unwrap();
        rows.iter().map(|row| (row.integer(0), row.text(1))).collect()
    }

    fn check(&mut self) {
        self.check_erased();
        let seed = self.seed;
        let segments = self.segments();
        let rows = self.rows();
        let standing: Vec<&Row> = rows.iter().filter(|row| !row.superseded).collect();
        for row in &standing {
            let state = row.segment.and_then(|id| segments.get(&id)).map(String::as_str);
            match (row.covered, state) {
                (true, Some("active")) | (false, None | Some("planned" | "running" | "ready" | "active")) => {
                }
                other => panic!("seed {seed}: message {} is {other:?}", row.seq),
            }
        }
        // A message that has become notes stays so, until an edit.
        let covered: BTreeSet<i64> = standing.iter().filter(|row| row.covered).map(|row| row.seq).collect();
        assert!(self.covered.is_subset(&covered), "seed {seed}: messages came back");
        self.covered = covered;
        // A live note rests on messages that stand, and stands in the log once.
        let places: BTreeSet<i64> = standing.iter().map(|row| row.seq).collect();
        let live = self.world.notes(NoteStatus::Active);
        for note in &live {
            assert!(
                note.sources.iter().all(|seq| places.contains(seq)),
                "seed {seed}: {note:?} rests on nothing"
            );
        }
        let rendered = self.world.thread.store.rendered().unwrap();
        let log: String = rendered.iter().map(|stretch| stretch.text.as_str()).collect();
        let lines = log.lines().filter(|line| line.trim_start().starts_with("- ")).count();
        assert_eq!(lines, live.len(), "seed {seed}: the log is not the live notes:\n{log}");
        // A note that is no more in the log can be followed to what it became.
        self.trace(&segments);
        assert!(
            segments.values().filter(|state| *state == "running").count() <= 1,
            "seed {seed}: two questions at a time"
        );
    }

    /// Follows each note to what it has become: live, waiting, or dropped by an edit.
    fn trace(&self, segments: &BTreeMap<i64, String>) {
        let store = &self.world.thread.store;
        let rows =
            store.database().query("SELECT id, segment, status, superseded_by FROM notes", &[]).unwrap();
        let notes: BTreeMap<i64, (i64, String, Option<i64>)> = rows
            .iter()
            .map(|row| {
                (row.integer(0), (row.integer(1), row.text(2), row.optional(3).map(|next| next.integer())))
            })
            .collect();
        for (note, (segment, ..)) in &notes {
            if !segments.get(segment).is_some_and(|state| state == "active" || state == "ready") {
                continue;
            }
            let mut id = *note;
            for step in 0.. {
                assert!(step <= notes.len(), "seed {}: note {note} gives way in a circle", self.seed);
                match &notes[&id] {
                    (_, status, _) if status != "superseded" => break,
                    (_, _, Some(next)) => id = *next,
                    (segment, _, None) => {
                        // A rewrite's own note may fall with a branch; what it was made from is back then.
                        assert!(self.is_rewrite(*segment), "seed {}: note {note} is gone", self.seed);
                        break;
                    }
                }
            }
        }
    }

    fn is_rewrite(&self, segment: i64) -> bool {
        let store = &self.world.thread.store;
        let rows =
            store.database().query("SELECT kind FROM segments WHERE id = ?1", &[segment.into()]).unwrap();
        rows.first().is_some_and(|row| row.text(0) == "reflect")
    }
}

impl World {
    /// Runs up to so many jobs.
    fn quiet_for(&mut self, jobs: usize) {
        for _ in 0..jobs {
            if !self.work() {
                return;
            }
        }
    }
}

#[test]
fn whatever_happens_every_message_is_raw_or_noted_or_on_its_way() {
    let seeds = std::env::var("MEMORY_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(500);
    for seed in 1..=seeds {
        let mut run = Run::new(seed);
        for _ in 0..60 {
            run.step();
        }
    }
}
