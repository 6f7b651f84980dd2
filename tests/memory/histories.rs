//! Clients with the whole history, edits, and retries, once notes stand for part of it.

use memory_gateway::memory::store::{NoteStatus, SegmentState, TurnStatus};
use memory_gateway::turn::Message;

use crate::support::{assistant, user};
use crate::world::{World, small};

fn question(at: usize) -> Message {
    user(&format!("question {at} about this and that"))
}

fn answer(at: usize) -> Message {
    assistant(&format!("answer {at} about this and that"))
}

fn history(turns: usize) -> Vec<Message> {
    (0..turns).flat_map(|at| [question(at), answer(at)]).collect()
}

#[test]
fn clients_that_send_all_or_only_what_is_new_leave_the_same_store_and_see_the_same_prompt() {
    let mut delta = World::new(small());
    let mut full = World::new(small());
    for at in 0..25 {
        let shown = delta.turn(&[question(at)], answer(at));
        let mut sent = history(at);
        sent.push(question(at));
        let from_full = full.turn(&sent, answer(at));
        assert_eq!(from_full.texts(), shown.texts(), "turn {at}");
        assert_eq!(from_full.stable, shown.stable, "turn {at}");
        delta.quiet();
        full.quiet();
        // Waiting for jobs moves the two clocks alike.
        assert_eq!(delta.thread.now, full.thread.now);
    }
    assert_eq!(delta.thread.stored(), full.thread.stored());
    assert_eq!(full.thread.stored().len(), 50);
    assert!(full.segments(SegmentState::Active).len() > 3);
}

#[test]
fn a_window_that_begins_with_answers_loses_the_covered_ones_too() {
    let mut world = World::new(small());
    for at in 0..20 {
        world.turn(&[question(at)], answer(at));
        world.quiet();
    }
    let by_delta: Vec<String> = {
        let request = world.thread.request(&[question(20)]);
        world.begin(&request).texts().into_iter().map(str::to_owned).collect()
    };
    for start in [1, 3, 11, 21] {
        let mut window = history(20).split_off(start);
        window.push(question(20));
        let mut request = world.thread.request(&window);
        request.store = false;
        assert_eq!(world.begin(&request).texts(), by_delta, "window from {start}");
    }
}

#[test]
fn an_edit_takes_back_the_notes_of_what_it_replaces_and_no_others() {
    let mut world = World::new(small());
    for at in 0..20 {
        world.turn(&[question(at)], answer(at));
        world.quiet();
    }
    let live = world.live();
    assert!(live.len() > 8, "{live:?}");
    let mut edited = history(7);
    edited.push(user("no, I meant something else entirely"));
    let shown = world.turn(&edited, assistant("oh, that"));
    for at in 0..20 {
        let noted = shown.log().iter().any(|line| line.contains(&format!("question {at} ")));
        let raw = shown.texts().iter().any(|text| text.contains(&format!("question {at} ")));
        assert_eq!(noted || raw, at < 7, "question {at}");
    }
    assert_eq!(shown.texts().last(), Some(&"u:no, I meant something else entirely"));
    // It goes on from there.
    for at in 30..45 {
        world.turn(&[question(at)], answer(at));
        world.quiet();
    }
    let live = world.live();
    assert!(live.iter().any(|text| text.contains("something else entirely")), "{live:?}");
    assert!(!live.iter().any(|text| text.contains("question 15 ")), "{live:?}");
}

#[test]
fn an_edit_while_an_observer_is_at_work_makes_its_answer_late() {
    let mut world = World::new(small());
    for at in 0..4 {
        world.turn(&[question(at)], answer(at));
    }
    let job = world.take().unwrap();
    let mut edited = history(1);
    edited.push(user("something else"));
    world.turn(&edited, assistant("yes"));
    let heard = crate::world::answered(&crate::world::observe(&job));
    assert_eq!(world.settle(&job, heard), memory_gateway::memory::cycle::Verdict::Late);
    assert_eq!(world.notes(NoteStatus::Buffered), []);
}

#[test]
fn a_turn_that_is_prepared_twice_is_shown_the_same() {
    let mut world = World::new(small());
    for at in 0..15 {
        let request = world.thread.request(&[question(at)]);
        let first = world.begin(&request);
        assert_eq!(world.begin(&request), first, "turn {at}");
        world.thread.end(&request, TurnStatus::Complete, Some(answer(at)));
        world.quiet();
    }
    assert_eq!(world.thread.stored().len(), 30);
    // An edit, too: what it replaces is gone the first time and the second.
    let mut edited = history(5);
    edited.push(user("something else"));
    let request = world.thread.request(&edited);
    let first = world.begin(&request);
    assert_eq!(world.begin(&request), first);
}
