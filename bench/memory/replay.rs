//! Dialogues through a thread, and what is left of them.

use std::collections::BTreeSet;

use memory_gateway::memory::database::Database;
use memory_gateway::memory::settings::Settings;
use memory_gateway::memory::store::{NoteStatus, TurnStatus};
use memory_gateway::protocol::{Found, Prepared, Search, ThreadKey};
use memory_gateway::{thread, tokens};

use crate::dialogues::Dialogue;
use crate::support::{around, prompt};
use crate::world::World;

/// Thresholds that a dialogue of some hundred messages crosses several times.
fn settings() -> Settings {
    Settings {
        observe_tokens: 3_000,
        buffer_tokens: 600,
        keep_tokens: 600,
        window_tokens: 2_000,
        // Notes that are taken word for word cannot be made fewer without loss.
        reflect_tokens: u64::MAX / 4,
        swap_tokens: u64::MAX / 4,
        ..Settings::default()
    }
}

/// What a dialogue showed.
#[derive(Default)]
struct Measured {
    requests: u64,
    left_tokens: u64,
    note_tokens: u64,
    prompt_bytes: usize,
    same_bytes: usize,
    sent_tokens: u64,
    history_tokens: u64,
}

/// Where the evidence of questions is, counted in turns.
#[derive(Default)]
struct Evidence {
    all: usize,
    raw: usize,
    noted: usize,
    found: usize,
    kept: usize,
}

/// Replays the dialogues and prints a line for each.
pub fn report(dialogues: &[Dialogue]) {
    println!(
        "{:<12} {:>8} {:>11} {:>7} {:>21} {:>7} {:>7} {:>7} {:>7}",
        "dialogue", "requests", "compression", "prefix", "sent (of history)", "raw", "noted", "found", "kept"
    );
    for dialogue in dialogues {
        let (world, measured) = replay(dialogue);
        let evidence = evidence(&world, dialogue);
        let share = |part: usize| match evidence.all {
            0 => "-".to_owned(),
            all => format!("{:.3}", part as f64 / all as f64),
        };
        println!(
            "{:<12} {:>8} {:>11} {:>7} {:>21} {:>7} {:>7} {:>7} {:>7}",
            dialogue.name,
            measured.requests,
            format!("{:.2}", measured.left_tokens as f64 / measured.note_tokens.max(1) as f64),
            format!("{:.3}", measured.same_bytes as f64 / measured.prompt_bytes.max(1) as f64),
            format!(
                "{} ({:.0} %)",
                measured.sent_tokens,
                100.0 * measured.sent_tokens as f64 / measured.history_tokens.max(1) as f64
            ),
            share(evidence.raw),
            share(evidence.noted),
            share(evidence.found),
            share(evidence.kept),
        );
    }
    println!();
}

fn replay(dialogue: &Dialogue) -> (World, Measured) {
    let mut world = World::new(settings());
    let mut measured = Measured::default();
    let mut history = 0;
    let mut last = String::new();
    for exchange in dialogue.exchanges() {
        let said: Vec<_> = exchange.said.iter().map(|said| said.message()).collect();
        if let Some(first) = exchange.said.first().or(exchange.answer.as_ref()) {
            world.thread.now = world.thread.now.max(first.at);
        }
        let request = world.thread.request(&said);
        let around = around(&world.thread.settings);
        let Prepared::Ready { items, injection, prompt_tokens, .. } =
            thread::prepare(&world.thread.store, &request, around).unwrap()
        else {
            panic!("the thread takes no turn")
        };
        history += said.iter().map(tokens::of_message).sum::<u64>();
        measured.requests += 1;
        measured.sent_tokens += prompt_tokens.unwrap_or(0);
        measured.history_tokens += history;
        let mut bytes: String = injection.texts().collect();
        for message in prompt(&items, &said) {
            bytes.push_str(message.trim_start_matches('='));
        }
        if measured.requests > 1 {
            measured.prompt_bytes += bytes.len();
            measured.same_bytes +=
                bytes.bytes().zip(last.bytes()).take_while(|(now, then)| now == then).count();
        }
        last = bytes;
        let answer = exchange.answer.map(|said| said.message());
        history += answer.as_ref().map_or(0, tokens::of_message);
        world.thread.end(&request, TurnStatus::Complete, answer);
        while world.work() {}
    }
    let database = world.thread.store.database();
    let sql = "SELECT coalesce(sum(tokens), 0) FROM messages WHERE covered = 1";
    measured.left_tokens = database.query(sql, &[]).unwrap()[0].unsigned(0);
    measured.note_tokens = world.thread.store.note_extent(NoteStatus::Active).unwrap().tokens;
    (world, measured)
}

fn evidence(world: &World, dialogue: &Dialogue) -> Evidence {
    let store = &world.thread.store;
    let places = dialogue.places();
    let raw: BTreeSet<i64> = store.raw_places().unwrap().into_iter().map(|(seq, ..)| seq).collect();
    let noted: BTreeSet<i64> =
        world.notes(NoteStatus::Active).into_iter().flat_map(|note| note.sources).collect();
    let mut evidence = Evidence::default();
    for asked in &dialogue.questions {
        let key = ThreadKey { project: "p".into(), thread: "t".into(), resource: None };
        let request = Search { key, query: asked.text.clone(), limit: 10 };
        let Found::Hits { hits, .. } = thread::search(store, &request).unwrap() else { panic!("no thread") };
        let found: BTreeSet<i64> = hits
            .into_iter()
            .flat_map(|hit| hit.seqs.into_iter().chain(hit.context.into_iter().map(|beside| beside.seq)))
            .collect();
        for seq in asked.evidence.iter().filter_map(|id| places.get(id)) {
            evidence.all += 1;
            evidence.raw += usize::from(raw.contains(seq));
            evidence.noted += usize::from(noted.contains(seq));
            evidence.found += usize::from(found.contains(seq));
            evidence.kept += usize::from([&raw, &noted, &found].iter().any(|set| set.contains(seq)));
        }
    }
    evidence
}
