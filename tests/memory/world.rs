//! A thread whose jobs are run by hand, and an observer that writes down every message of the user.

use memory_gateway::memory::cycle::{Heard, Job, Reply, Verdict};
use memory_gateway::memory::note::Note;
use memory_gateway::memory::settings::Settings;
use memory_gateway::memory::store::{Kind, NoteStatus, Segment, SegmentState, TurnStatus};
use memory_gateway::protocol::{Prepare, Prepared};
use memory_gateway::thread;
use memory_gateway::turn::{Message, Stop, Usage};

use crate::support::{Thread, around, prompt};

/// A thread and its jobs.
pub struct World {
    pub thread: Thread,
    cycles: u64,
}

/// What a model is shown: the texts beside the messages, and the messages in short form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub stable: Vec<String>,
    pub volatile: Option<String>,
    pub messages: Vec<String>,
}

impl Shown {
    /// The messages without the mark of what the client sent.
    pub fn texts(&self) -> Vec<&str> {
        self.messages.iter().map(|message| message.trim_start_matches('=')).collect()
    }

    /// The log's lines.
    pub fn log(&self) -> Vec<&str> {
        let text = self.stable.last().map_or("", String::as_str);
        text.lines().filter(|line| line.trim_start().starts_with("- ")).collect()
    }
}

/// Thresholds that a handful of short messages crosses.
pub fn small() -> Settings {
    Settings {
        observe_tokens: 200,
        buffer_tokens: 40,
        keep_tokens: 40,
        window_tokens: 80,
        reflect_tokens: 150,
        swap_tokens: 300,
        ..Settings::default()
    }
}

impl World {
    pub fn new(settings: Settings) -> Self {
        World { thread: Thread::with(settings.consistent()), cycles: 0 }
    }

    /// Begins a turn.
    pub fn begin(&mut self, request: &Prepare) -> Shown {
        let around = around(&self.thread.settings);
        match thread::prepare(&self.thread.store, request, around).unwrap() {
            Prepared::Ready { items, injection, .. } => Shown {
                stable: injection.stable,
                volatile: injection.volatile,
                messages: prompt(&items, &request.messages),
            },
            other => panic!("{other:?}"),
        }
    }

    /// A whole turn; gives what the model was shown.
    pub fn turn(&mut self, messages: &[Message], answer: Message) -> Shown {
        let request = self.thread.request(messages);
        let shown = self.begin(&request);
        self.thread.end(&request, TurnStatus::Complete, Some(answer));
        shown
    }

    /// The next job, if one is due.
    pub fn take(&mut self) -> Option<Job> {
        self.cycles += 1;
        let cycle = format!("cyc_{}", self.cycles);
        let Thread { store, now, settings, .. } = &self.thread;
        thread::take_job(store, *now, &cycle, around(settings)).unwrap()
    }

    pub fn settle(&mut self, job: &Job, heard: Heard) -> Verdict {
        let usage = Usage { input: 100, output: 10, ..Usage::default() };
        let (provider, model) = ("google".into(), "observer".into());
        let reply = Reply { heard, provider, model, usage, estimated: false, status: Some(200) };
        let Thread { store, now, settings, .. } = &self.thread;
        thread::settle_job(store, *now, &job.cycle, &reply, 7, around(settings)).unwrap()
    }

    /// Runs one job with an observer that does its work; false when none was due.
    pub fn work(&mut self) -> bool {
        let Some(job) = self.take() else { return false };
        let heard = match job.kind {
            Kind::Observe => answered(&observe(&job)),
            Kind::Reflect => answered("NOTHING TO CHANGE\nEND"),
        };
        self.settle(&job, heard);
        true
    }

    /// Runs jobs, and waits for those that are due later, until nothing is left to do.
    pub fn quiet(&mut self) {
        for _ in 0..1_000 {
            while self.work() {}
            match self.due() {
                Some(due) if due > self.thread.now => self.thread.now = due,
                Some(_) => {}
                None => return,
            }
        }
        let open = [SegmentState::Planned, SegmentState::Running].map(|state| self.segments(state));
        panic!("the jobs have no end at {}, due {:?}: {open:?}", self.thread.now, self.due());
    }

    /// When the object would wake up for a job.
    pub fn due(&self) -> Option<u64> {
        let Thread { store, .. } = &self.thread;
        // Nothing else is waited for: index and resource have been told, no turn is pending for long.
        let states = [SegmentState::Planned, SegmentState::Running];
        let open = states.iter().any(|state| !store.segments(*state).unwrap().is_empty());
        if !open {
            return None;
        }
        let told = store.thread().unwrap().unwrap().updated_at;
        thread::index_told(store, told, told, true).unwrap();
        store.posted(i64::MAX).unwrap();
        thread::next_alarm(store, self.thread.now, u64::MAX / 4).unwrap()
    }

    pub fn segments(&self, state: SegmentState) -> Vec<Segment> {
        self.thread.store.segments(state).unwrap()
    }

    pub fn notes(&self, status: NoteStatus) -> Vec<Note> {
        self.thread.store.notes(status).unwrap()
    }

    /// The texts of the live notes.
    pub fn live(&self) -> Vec<String> {
        self.notes(NoteStatus::Active).into_iter().map(|note| note.text).collect()
    }
}

/// A whole answer with these words.
pub fn answered(text: &str) -> Heard {
    Heard::Answer { text: Some(text.to_owned()), stop: Some(Stop::End) }
}

/// One note for each message of the user in a job's transcript, one for each result of a tool, none for the rest.
pub fn observe(job: &Job) -> String {
    let mut out = String::new();
    let mut number = "";
    let mut speaker = "";
    for line in job.asked.user.lines().skip_while(|line| *line != "<transcript>") {
        if let Some(head) = line.strip_prefix('#') {
            number = head.split(' ').next().unwrap();
            speaker = head[number.len() + 1..].split([',', ' ']).next().unwrap();
        } else if let Some(text) = line.strip_prefix("| ") {
            match speaker {
                "user" => out.push_str(&format!("H #{number} | The user said: {text}\n")),
                "tool" => out.push_str(&format!("L #{number} | A tool said: {text}\n")),
                _ => {}
            }
        }
    }
    if out.is_empty() { "NOTHING TO NOTE\nEND".to_owned() } else { out + "END" }
}
