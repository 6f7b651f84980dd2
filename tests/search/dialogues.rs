//! How much of what answers a question is found, over recorded dialogues of hundreds of messages each.

use memory_gateway::memory::store::TurnStatus;
use memory_gateway::protocol::{Found, Search};
use memory_gateway::thread;

use crate::recorded_dialogues::{Dialogue, recorded};
use crate::support::Thread;

fn replayed(dialogue: &Dialogue) -> Thread {
    let mut thread = Thread::new();
    for exchange in dialogue.exchanges() {
        let said: Vec<_> = exchange.said.iter().map(|said| said.message()).collect();
        let request = thread.request(&said);
        thread.begin(&request);
        let answer = exchange.answer.map(|said| said.message());
        thread.end(&request, TurnStatus::Complete, answer);
    }
    thread
}

/// Over all questions: the share of the evidence among the first `limit` hits, and the share of questions for which at
/// least one piece of it is there.
fn recall(threads: &[(&Dialogue, Thread)], limit: usize) -> (f64, f64) {
    let (mut found, mut any, mut questions) = (0.0, 0.0, 0.0);
    for (dialogue, thread) in threads {
        let places = dialogue.places();
        for asked in &dialogue.questions {
            let key = super::key();
            let request = Search { key, query: asked.text.clone(), limit: u32::try_from(limit).unwrap() };
            let Found::Hits { hits, .. } = thread::search(&thread.store, &request).unwrap() else {
                panic!("no thread")
            };
            let hit = |id: &String| hits.iter().any(|hit| hit.seqs.contains(&places[id]));
            let count = asked.evidence.iter().filter(|id| hit(id)).count();
            found += count as f64 / asked.evidence.len() as f64;
            any += f64::from(u8::from(count > 0));
            questions += 1.0;
        }
    }
    (found / questions, any / questions)
}

#[test]
fn three_quarters_of_what_answers_a_question_are_among_the_first_ten_hits() {
    let Some(dialogues) = recorded() else { return };
    let threads: Vec<_> = dialogues.iter().map(|dialogue| (dialogue, replayed(dialogue))).collect();
    for (limit, least, least_any) in [(5, 0.64, 0.67), (10, 0.76, 0.80), (20, 0.80, 0.84)] {
        let (share, any) = recall(&threads, limit);
        println!("at {limit}: {share:.3} of the evidence, any of it for {any:.3} of the questions");
        assert!(share >= least && any >= least_any, "at {limit}: {share:.3}, {any:.3}");
    }
}
