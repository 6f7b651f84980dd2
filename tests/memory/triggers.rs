//! When notes are made, when they take the place of messages, and what stays.

use memory_gateway::memory::database::Database;
use memory_gateway::memory::settings::Settings;
use memory_gateway::memory::store::{NoteStatus, SegmentState};
use memory_gateway::turn::Message;

use crate::support::{assistant, calls, result, user};
use crate::world::{World, answered, observe, small};

/// A text of exactly so many estimated tokens as a message.
fn words(tokens: u64) -> String {
    let mut text = String::new();
    while memory_gateway::tokens::of_message(&user(&text)) < tokens {
        text.push_str(if text.is_empty() { "a" } else { " a" });
    }
    assert_eq!(memory_gateway::tokens::of_message(&user(&text)), tokens);
    text
}

fn settings(observe: u64, buffer: u64, keep: u64) -> Settings {
    Settings {
        observe_tokens: observe,
        buffer_tokens: buffer,
        keep_tokens: keep,
        window_tokens: 10_000,
        ..Settings::default()
    }
}

#[test]
fn a_small_thread_never_calls_the_observer() {
    let mut world = World::new(settings(1_000, 100, 0));
    world.turn(&[user(&words(50))], assistant(&words(49)));
    assert_eq!(world.take(), None);
    assert_eq!(world.due(), None);
}

#[test]
fn the_observer_is_called_when_the_interval_is_full_and_once_for_a_range() {
    let mut world = World::new(settings(1_000, 100, 0));
    world.turn(&[user(&words(50))], assistant(&words(49)));
    world.turn(&[user(&words(10))], assistant(&words(10)));
    let job = world.take().expect("100 tokens are reached");
    assert_eq!(job.asked.user.matches("\n#").count(), 4);
    // While it runs, and until the next interval is full, nothing else is asked.
    assert_eq!(world.take(), None);
    world.turn(&[user(&words(50))], assistant(&words(49)));
    assert_eq!(world.segments(SegmentState::Planned).len(), 0);
    world.turn(&[user(&words(10))], assistant(&words(10)));
    let planned = world.segments(SegmentState::Planned);
    let running = world.segments(SegmentState::Running);
    assert_eq!((planned.len(), running.len()), (1, 1));
    assert!(planned[0].seq_from > running[0].seq_to, "the ranges do not meet");
    let heard = answered(&observe(&job));
    world.settle(&job, heard);
    assert!(world.work());
    assert_eq!(world.take(), None);
}

#[test]
fn near_the_threshold_the_interval_is_half_as_long() {
    let mut world = World::new(settings(1_000, 200, 0));
    for _ in 0..4 {
        world.turn(&[user(&words(100))], assistant(&words(100)));
        world.quiet();
    }
    assert_eq!(world.segments(SegmentState::Ready).len(), 4);
    world.turn(&[user(&words(50))], assistant(&words(50)));
    assert_eq!(world.segments(SegmentState::Planned).len(), 1);
}

#[test]
fn notes_take_the_place_of_messages_at_the_threshold_and_not_a_token_before() {
    for (last, activates) in [(99, false), (100, true)] {
        let mut world = World::new(settings(500, 100, 0));
        for at in 0..4 {
            world.turn(&[user(&words(50))], assistant(&words(50)));
            assert_eq!(world.segments(SegmentState::Planned).len(), 1, "turn {at}");
            world.quiet();
        }
        let shown = world.turn(&[user(&words(last))], assistant("ok"));
        assert_eq!(!world.segments(SegmentState::Active).is_empty(), activates, "{last}");
        // The last question with its answer stays as it was said.
        assert_eq!(shown.messages.len(), if activates { 3 } else { 9 }, "{last}");
        assert_eq!(shown.log().len(), if activates { 1 } else { 0 }, "equal notes are one");
    }
}

#[test]
fn buffered_notes_leave_the_prompt_as_it_was() {
    let mut busy = World::new(small());
    let mut idle = World::new(small());
    for at in 0..4 {
        let question = user(&format!("question {at} about something or other"));
        let answer = assistant(&format!("answer {at} about something or other"));
        busy.quiet();
        assert_eq!(
            busy.turn(std::slice::from_ref(&question), answer.clone()),
            idle.turn(std::slice::from_ref(&question), answer)
        );
    }
    assert!(!busy.notes(NoteStatus::Buffered).is_empty());
}

#[test]
fn covered_messages_go_and_their_notes_come_in_the_same_request() {
    let mut world = World::new(small());
    let mut before = Vec::new();
    for at in 0..30 {
        let shown = world.turn(
            &[user(&format!("fact {at} is worth knowing"))],
            assistant(&format!("I have taken note of fact {at}.")),
        );
        world.quiet();
        let texts: Vec<String> = shown.texts().into_iter().map(str::to_owned).collect();
        for fact in 0..=at {
            let said = format!("u:fact {fact} is worth knowing");
            let noted = format!("The user said: fact {fact} is worth knowing");
            let is_raw = texts.contains(&said);
            let is_noted = shown.log().iter().any(|line| line.ends_with(&noted));
            assert!(is_raw || is_noted, "fact {fact} is nowhere in turn {at}");
        }
        before.push(texts.len());
    }
    assert!(before.iter().all(|count| *count < 30), "raw messages do not pile up: {before:?}");
    assert!(world.live().len() >= 20);
}

#[test]
fn what_stays_raw_is_the_floor_and_the_last_question_with_its_answer() {
    let mut world = World::new(settings(300, 50, 100));
    for at in 0..12 {
        world.turn(&[user(&format!("q{at} {}", words(20)))], assistant(&words(24)));
        world.quiet();
    }
    let shown = world.turn(&[user("the last one")], assistant("ok"));
    let raw: u64 = world.thread.store.raw_extent().unwrap().tokens;
    assert!((100..300).contains(&raw), "{raw}");
    assert!(shown.texts().iter().any(|text| text.starts_with("u:q11")));
}

#[test]
fn a_call_is_never_parted_from_its_result_parallel_ones_included() {
    let mut world = World::new(Settings { window_tokens: 40, ..small() });
    for at in 0..12 {
        let (one, two) = (format!("one{at}"), format!("two{at}"));
        world.turn(&[user(&format!("please do both of {at}"))], calls(&[&one, &two]));
        world.quiet();
        world.turn(
            &[result(&two, "the second is done"), result(&one, "the first is done")],
            assistant("done"),
        );
        world.quiet();
        for segment in world.segments(SegmentState::Ready).iter().chain(&world.segments(SegmentState::Active))
        {
            let messages = world.thread.store.claimed_by(segment.id).unwrap();
            let ids = |of: fn(&Message) -> Vec<String>| -> Vec<String> {
                let mut ids: Vec<String> = messages.iter().flat_map(|stored| of(&stored.message)).collect();
                ids.sort();
                ids
            };
            let asked = ids(|message| message.tool_calls().map(|call| call.id.clone()).collect());
            let got = ids(|message| message.tool_results().map(|result| result.call_id.clone()).collect());
            assert_eq!(asked, got);
        }
    }
    assert!(world.segments(SegmentState::Active).len() > 2);
}

#[test]
fn a_model_that_calls_tools_for_very_long_keeps_its_question_and_loses_its_first_rounds() {
    let mut world = World::new(small());
    world.turn(&[user("THE QUESTION")], calls(&["c0"]));
    for at in 0..40 {
        let (known, next) = (format!("c{at}"), format!("c{}", at + 1));
        let shown = world.turn(&[result(&known, "some result of a tool that says a lot")], calls(&[&next]));
        world.quiet();
        assert_eq!(shown.texts()[0], "u:THE QUESTION");
        assert!(shown.messages.len() < 30, "{}", shown.messages.len());
    }
}

#[test]
fn a_result_that_comes_after_its_call_has_left_brings_the_call_back() {
    let mut world = World::new(small());
    world.turn(&[user("look it up")], calls(&["slow"]));
    for at in 0..30 {
        world.turn(&[user(&format!("never mind, what about {at}"))], assistant("that is a good question"));
        world.quiet();
    }
    let shown = world.turn(&[user("never mind")], assistant("ok"));
    assert!(!shown.texts().iter().any(|text| text.contains("[slow]")), "the call is covered by now");
    let shown = world.turn(&[result("slow", "here it is")], assistant("thank you"));
    let at = shown.texts().iter().position(|text| *text == "a:[slow](id-slow)").expect("the call is back");
    assert_eq!(shown.texts()[at + 1], "t:id-slow:here it is");
}

#[test]
fn a_backlog_of_twenty_windows_is_worked_off_in_bounded_batches() {
    let mut world = World::new(Settings { window_tokens: 100, ..small() });
    let long: Vec<Message> = (0..200)
        .flat_map(|at| [user(&format!("imported message {at}")), assistant(&format!("imported answer {at}"))])
        .chain([user("and now?")])
        .collect();
    world.turn(&long, assistant("now we go on"));
    let mut last = i64::MIN;
    for segment in world.segments(SegmentState::Planned) {
        assert!(segment.tokens <= 100, "{segment:?}");
        assert!(segment.seq_from > last);
        last = segment.seq_to;
    }
    world.quiet();
    let shown = world.turn(&[user("what do you know?")], assistant("all of it"));
    assert_eq!(
        world.live().len(),
        200 - shown.texts().iter().filter(|text| text.starts_with("u:imported")).count()
    );
    assert!(shown.messages.len() < 20);
}

#[test]
fn what_is_planned_at_once_is_bounded_in_bytes_and_leaves_nothing_out() {
    let mut world = World::new(small());
    for at in 0..6 {
        world.turn(&[user(&format!("{at} {}", "x".repeat(3_000)))], assistant("I see."));
    }
    let store = &world.thread.store;
    store.database().query("UPDATE messages SET segment = NULL", &[]).unwrap();
    let seen = |rows, bytes| store.unclaimed(i64::MAX, rows, bytes).unwrap().len();
    assert_eq!((seen(100, u64::MAX), seen(5, u64::MAX)), (12, 5));
    // A question of some three kilobytes and its answer, and the next question.
    assert_eq!((seen(100, 7_000), seen(100, 4_000), seen(100, 1)), (4, 2, 1));
}

#[test]
fn notes_that_are_ready_are_used_early_once_the_provider_has_forgotten_the_prompt() {
    for (minutes, idle_activation, used) in [(4, true, false), (6, true, true), (6, false, false)] {
        let mut world = World::new(Settings { idle_activation, gap_ms: 0, ..settings(10_000, 100, 0) });
        for _ in 0..4 {
            world.turn(&[user(&words(50))], assistant(&words(50)));
            world.quiet();
        }
        world.thread.now += minutes * 60_000;
        let shown = world.turn(&[user("back again")], assistant("welcome"));
        assert_eq!(!shown.log().is_empty(), used, "{minutes} {idle_activation}");
    }
}
