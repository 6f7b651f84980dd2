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

/// Over all questions of a dialogue: the share of the evidence that is among the first `limit` hits itself, and the share that
/// they show, as a hit or around one.
fn recall(dialogue: &Dialogue, thread: &Thread, limit: u32) -> (f64, f64) {
    let (mut itself, mut shown) = (0.0, 0.0);
    let places = dialogue.places();
    for asked in &dialogue.questions {
        let request = Search { key: super::key(), query: asked.text.clone(), limit };
        let Found::Hits { hits, .. } = thread::search(&thread.store, &request).unwrap() else {
            panic!("no thread")
        };
        let is_hit = |place: &i64| hits.iter().any(|hit| hit.seqs.contains(place));
        let is_around =
            |place: &i64| hits.iter().any(|hit| hit.context.iter().any(|beside| beside.seq == *place));
        let evidence: Vec<i64> = asked.evidence.iter().map(|id| places[id]).collect();
        let share = |count: usize| count as f64 / evidence.len() as f64;
        itself += share(evidence.iter().filter(|place| is_hit(place)).count());
        shown += share(evidence.iter().filter(|place| is_hit(place) || is_around(place)).count());
    }
    let questions = dialogue.questions.len() as f64;
    (itself / questions, shown / questions)
}

#[test]
fn nine_tenths_of_what_answers_a_question_are_shown_with_the_first_ten_hits() {
    let Some(dialogues) = recorded() else { return };
    for dialogue in &dialogues {
        let thread = replayed(dialogue);
        for (limit, least) in [(5, 0.82), (10, 0.89), (20, 0.93)] {
            let (itself, shown) = recall(dialogue, &thread, limit);
            println!(
                "{} at {limit}: {shown:.3} of the evidence is shown, {itself:.3} as hits",
                dialogue.name
            );
            assert!(shown >= least, "{} at {limit}: {shown:.3}", dialogue.name);
        }
    }
}
