//! What goes wrong with observers, and what may not go wrong with it.

use memory_gateway::memory::cycle::{Heard, Verdict};
use memory_gateway::memory::store::{NoteStatus, SegmentState};
use memory_gateway::turn::Stop;

use crate::support::{assistant, user};
use crate::world::{World, answered, observe, small};

/// A thread with a planned segment and nothing else to do.
fn with_a_job() -> World {
    let mut world = World::new(small());
    world.turn(&[user("My name is Alex and I live in Lisbon.")], assistant("Nice to meet you, Alex."));
    world.turn(&[user("I prefer tea over coffee.")], assistant("Tea it is, then, from now on."));
    assert_eq!(world.segments(SegmentState::Planned).len(), 1);
    world
}

fn faulty_answers() -> Vec<(&'static str, Heard)> {
    let cut = |text: &str, stop| Heard::Answer { text: Some(text.to_owned()), stop };
    vec![
        ("empty", answered("")),
        ("silent", Heard::Answer { text: None, stop: Some(Stop::End) }),
        ("refused", cut("I cannot help with that.", Some(Stop::ContentFilter))),
        ("refused by status", Heard::Refused("400".into())),
        ("truncated by the limit", cut("H #1 | The user said", Some(Stop::Length))),
        ("truncated in silence", cut("H #1 | The user said: a\nH #3 | The us", Some(Stop::End))),
        ("broken off", cut("H #1 | x\nEND", None)),
        ("malformed", answered("Here are some notes:\n* Alex lives in Lisbon\nEND")),
        ("a source that does not exist", answered("H #77 | x\nEND")),
        ("degenerate", answered(&format!("{}END", "H #1 | The user said: a\n".repeat(400)))),
        ("unreachable", Heard::Unreachable("connect".into())),
    ]
}

#[test]
fn an_answer_that_cannot_be_used_changes_nothing_and_is_asked_for_again() {
    for (name, heard) in faulty_answers() {
        let mut world = with_a_job();
        let untouched = with_a_job();
        let job = world.take().unwrap();
        let verdict = world.settle(&job, heard.clone());
        assert!(
            !matches!(verdict, Verdict::Ready(_) | Verdict::Late | Verdict::Skipped(_)),
            "{name}: {verdict:?}"
        );
        assert_eq!(world.notes(NoteStatus::Buffered), [], "{name}");
        // The prompt is what it would have been.
        let mut untouched = untouched;
        untouched.thread.now = world.thread.now;
        let shown = world.turn(&[user("and now?")], assistant("now"));
        assert_eq!(shown, untouched.turn(&[user("and now?")], assistant("now")), "{name}");
        // A better answer is taken, later.
        world.quiet();
        assert_eq!(world.notes(NoteStatus::Buffered).len(), 2, "{name}");
    }
}

#[test]
fn the_same_answer_counts_once_and_a_late_one_not_at_all() {
    let mut world = with_a_job();
    let job = world.take().unwrap();
    let text = observe(&job);
    assert_eq!(world.settle(&job, answered(&text)), Verdict::Ready(2));
    assert_eq!(world.settle(&job, answered(&text)), Verdict::Late);
    assert_eq!(world.notes(NoteStatus::Buffered).len(), 2);

    // The process dies between the answer and its commit: the lease runs out, the job is asked again, and the answer of
    // the first try comes too late.
    let mut world = with_a_job();
    let first = world.take().unwrap();
    assert_eq!(world.take(), None);
    world.thread.now = world.due().expect("the lease runs out");
    let second = world.take().expect("the job is there again");
    assert_ne!(first.cycle, second.cycle);
    assert_eq!(first.asked, second.asked);
    assert_eq!(world.settle(&first, answered(&text)), Verdict::Late);
    assert_eq!(world.settle(&second, answered(&text)), Verdict::Ready(2));
    assert_eq!(world.notes(NoteStatus::Buffered).len(), 2);
}

#[test]
fn a_message_that_no_model_can_note_is_isolated_and_given_up_alone() {
    let mut world = World::new(small());
    for at in 0..6 {
        let text = if at == 3 { "POISON in this one".to_owned() } else { format!("fact {at} is harmless") };
        world.turn(&[user(&text)], assistant("I have heard you, thank you."));
    }
    let mut verdicts = Vec::new();
    for _ in 0..400 {
        if let Some(job) = world.take() {
            let is_poisoned = job.asked.user.contains("| POISON");
            let heard = if is_poisoned { answered("nonsense") } else { answered(&observe(&job)) };
            verdicts.push(world.settle(&job, heard));
        } else if let Some(due) = world.due() {
            world.thread.now = world.thread.now.max(due);
        } else {
            break;
        }
    }
    assert_eq!(
        verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Skipped(_))).count(),
        1,
        "{verdicts:?}"
    );
    let notes = world.notes(NoteStatus::Buffered);
    let given_up: Vec<_> = notes.iter().filter(|note| note.text.contains("could not be noted")).collect();
    assert_eq!((given_up.len(), given_up[0].sources.len()), (1, 1));
    for at in [0, 1, 2, 4, 5] {
        assert!(notes.iter().any(|note| note.text.ends_with(&format!("fact {at} is harmless"))), "fact {at}");
    }
}

#[test]
fn an_observer_that_never_answers_well_gives_nothing_up_and_is_asked_ever_less() {
    for heard in [answered("nonsense"), Heard::Unreachable("connect".into())] {
        let mut world = with_a_job();
        let mut asked = Vec::new();
        for _ in 0..60 {
            match world.take() {
                Some(job) => {
                    asked.push(world.thread.now);
                    let verdict = world.settle(&job, heard.clone());
                    assert!(!matches!(verdict, Verdict::Skipped(_) | Verdict::Ready(_)), "{verdict:?}");
                }
                None => world.thread.now = world.thread.now.max(world.due().expect("it is tried again")),
            }
        }
        let waits: Vec<u64> = asked.windows(2).map(|pair| (pair[1] - pair[0]) / 60_000).collect();
        assert!(waits.iter().max().is_some_and(|longest| *longest >= 30), "{waits:?}");
        assert_eq!(world.notes(NoteStatus::Buffered), []);
        let shown = world.turn(&[user("still here?")], assistant("yes"));
        assert_eq!(shown.messages.len(), 5, "all is shown as it was said");
    }
}

#[test]
fn on_the_last_try_an_answer_is_taken_without_the_few_lines_that_are_no_notes() {
    let mut world = with_a_job();
    let sloppy = "Sure:\nH #1 | The user's name is Alex.\nH #1 | The user lives in Lisbon.\nM #3 | The user prefers tea.\nEND";
    for _ in 0..2 {
        let job = world.take().unwrap();
        assert!(matches!(world.settle(&job, answered(sloppy)), Verdict::Retry(_)));
        world.thread.now = world.due().unwrap();
    }
    let job = world.take().unwrap();
    assert_eq!(world.settle(&job, answered(sloppy)), Verdict::Ready(3));
    assert_eq!(world.thread.store.state().unwrap().junk.malformed, 1);
}

#[test]
fn nothing_to_note_covers_the_messages_all_the_same() {
    let mut world = with_a_job();
    let job = world.take().unwrap();
    assert_eq!(world.settle(&job, answered("NOTHING TO NOTE\nEND")), Verdict::Ready(0));
    assert_eq!(world.segments(SegmentState::Ready).len(), 1);
    assert_eq!(world.thread.store.state().unwrap().junk.empty, 1);
}
