//! The log is made shorter: prepared in the background, swapped in late, and never at the price of what must be kept.

use memory_gateway::memory::cycle::Verdict;
use memory_gateway::memory::settings::Settings;
use memory_gateway::memory::store::{Kind, NoteStatus, SegmentState};
use memory_gateway::protocol::{ReadSources, Sources, ThreadKey};
use memory_gateway::thread;

use crate::support::{assistant, user};
use crate::world::{World, answered, observe, small};

/// A thread whose log has so many notes, and nothing to do.
fn with_notes(count: usize, settings: Settings) -> World {
    let mut world =
        World::new(Settings { reflect_tokens: 1_000_000, swap_tokens: 1_000_000, ..settings.clone() });
    for at in 0.. {
        if world.live().len() >= count {
            break;
        }
        world.turn(&[user(&format!("fact {at} is `value-{at}`"))], assistant("I will keep that in mind."));
        world.quiet();
        assert!(at < 500);
    }
    world.thread.settings.reflect_tokens = settings.reflect_tokens;
    world.thread.settings.swap_tokens = settings.swap_tokens;
    world
}

fn ids(world: &World) -> Vec<i64> {
    world.notes(NoteStatus::Active).iter().map(|note| note.id).collect()
}

/// A turn that lets a rewrite be planned, or swapped in.
fn a_turn(world: &mut World) -> Vec<String> {
    let shown = world.turn(&[user("and so on")], assistant("indeed"));
    shown.log().into_iter().map(str::to_owned).collect()
}

#[test]
fn a_rewrite_is_prepared_at_one_threshold_and_swapped_in_at_the_other() {
    let mut world = with_notes(10, Settings { reflect_tokens: 100, swap_tokens: 1_000_000, ..small() });
    a_turn(&mut world);
    let job = world.take().expect("a rewrite is due");
    assert_eq!(job.kind, Kind::Reflect);
    let old = ids(&world);
    let script = format!(
        "MERGE {},{} H | fact 0 is `value-0` and fact 1 is `value-1`\nREWORD {} H | fact 2: `value-2`\nEND",
        old[0], old[1], old[2]
    );
    assert_eq!(world.settle(&job, answered(&script)), Verdict::Ready(2));
    // Prepared, and not in the prompt yet.
    let before = a_turn(&mut world);
    assert!(before.iter().any(|line| line.ends_with("The user said: fact 0 is `value-0`")), "{before:?}");
    assert_eq!(world.segments(SegmentState::Ready).iter().filter(|one| one.kind == Kind::Reflect).count(), 1);
    // A note that came meanwhile is safe.
    world.thread.settings.swap_tokens = 10;
    let after = a_turn(&mut world);
    assert_eq!(after.len(), before.len() - 1);
    assert!(
        after.iter().any(|line| line.ends_with("fact 0 is `value-0` and fact 1 is `value-1`")),
        "{after:?}"
    );
    for at in 3..9 {
        assert!(
            after.iter().any(|line| line.ends_with(&format!("fact {at} is `value-{at}`"))),
            "fact {at}: {after:?}"
        );
    }
    assert_eq!(world.thread.store.state().unwrap().reflections, 1);
}

#[test]
fn edits_that_lose_something_are_left_out_alone() {
    let mut world = with_notes(10, Settings { reflect_tokens: 100, swap_tokens: 10, ..small() });
    a_turn(&mut world);
    let job = world.take().unwrap();
    let old = ids(&world);
    let script = format!(
        "MERGE {a},{b} H | two facts with some value\nDROP {c}\nDROP 99999\nREWORD {d} H | fact `value-3`\nDROP {d}\n\
         MERGE {e},{f} H | `value-4` is fact 4, `value-5` is fact 5\nEND",
        a = old[0],
        b = old[1],
        c = old[2],
        d = old[3],
        e = old[4],
        f = old[5]
    );
    // The anchors `value-0`, `value-1` and the number 3 would be lost, a note of high priority dropped, an id is unknown.
    assert!(matches!(world.settle(&job, answered(&script)), Verdict::Ready(_) | Verdict::Retry(_)));
    world.quiet();
    let log = a_turn(&mut world);
    for at in 0..10 {
        assert!(log.iter().any(|line| line.contains(&format!("`value-{at}`"))), "value {at}: {log:?}");
    }
}

#[test]
fn a_script_that_saves_nothing_is_asked_for_again_with_more_pressure_and_then_given_up() {
    let mut world = with_notes(10, Settings { reflect_tokens: 100, swap_tokens: 10, ..small() });
    a_turn(&mut world);
    let before = world.live();
    let mut systems = Vec::new();
    let mut verdicts = Vec::new();
    for _ in 0..4 {
        let job = world.take().expect("a rewrite is due");
        systems.push(job.asked.system.clone());
        verdicts.push(world.settle(&job, answered("NOTHING TO CHANGE\nEND")));
        world.thread.now += 10_000;
    }
    systems.dedup();
    assert_eq!(systems.len(), 4, "each level asks in other words");
    assert!(matches!(
        verdicts[..],
        [Verdict::Retry(_), Verdict::Retry(_), Verdict::Retry(_), Verdict::GivenUp(_)]
    ));
    assert_eq!(world.live(), before);
    // It is not asked again before the log has grown by a tenth.
    a_turn(&mut world);
    assert!(world.take().is_none_or(|job| job.kind == Kind::Observe));
}

#[test]
fn an_empty_or_degenerate_script_commits_nothing() {
    for text in ["", "I have nothing to say", "DROP 1\nDROP 1", &"DROP 1\n".repeat(500)] {
        let mut world = with_notes(10, Settings { reflect_tokens: 100, swap_tokens: 10, ..small() });
        a_turn(&mut world);
        let before = world.live();
        for _ in 0..3 {
            let job = world.take().expect("a rewrite is due");
            assert!(
                matches!(world.settle(&job, answered(text)), Verdict::Retry(_) | Verdict::GivenUp(_)),
                "{text:?}"
            );
            world.thread.now += 60_000;
        }
        a_turn(&mut world);
        assert_eq!(world.live(), before);
    }
}

#[test]
fn sources_are_found_through_two_rewrites() {
    let mut world = with_notes(8, Settings { reflect_tokens: 60, swap_tokens: 10, ..small() });
    let sources: Vec<Vec<i64>> =
        world.notes(NoteStatus::Active).into_iter().map(|note| note.sources).collect();
    for round in 0..2 {
        a_turn(&mut world);
        let job = loop {
            let job = world.take().expect("a rewrite is due");
            if job.kind == Kind::Reflect {
                break job;
            }
            let heard = answered(&observe(&job));
            world.settle(&job, heard);
        };
        let notes = world.notes(NoteStatus::Active);
        // The newest two of those with the first sources: what the round before has merged, and one more.
        let merged = notes.iter().rev().find(|note| note.sources.contains(&sources[0][0])).unwrap();
        let next = notes.iter().find(|note| note.sources == sources[round + 1]).unwrap();
        let script = format!("MERGE {},{} H | {} / {}\nEND", merged.id, next.id, merged.text, next.text);
        // The text says all of both, so it is smaller only by a line: the gateway asks for more, and takes a shorter one.
        if !matches!(world.settle(&job, answered(&script)), Verdict::Ready(_)) {
            world.thread.now += 60_000;
            let job = world.take().unwrap();
            let drops: Vec<String> = Vec::new();
            let short = format!(
                "{}MERGE {},{} H | `value-0` `value-1` `value-2` 0 1 2\nEND",
                drops.concat(),
                merged.id,
                next.id
            );
            assert!(matches!(world.settle(&job, answered(&short)), Verdict::Ready(_)), "round {round}");
        }
        a_turn(&mut world);
    }
    let notes = world.notes(NoteStatus::Active);
    let merged = notes.iter().find(|note| note.sources.contains(&sources[0][0])).unwrap();
    let expected: Vec<i64> = sources[..3].iter().flatten().copied().collect();
    assert_eq!(merged.sources, expected);
    // Whoever opens the note finds the very messages.
    let key = ThreadKey { project: "p".into(), thread: "t".into(), resource: None };
    let asked = ReadSources { key, note: merged.id };
    let Sources::Messages(messages) = thread::sources(&world.thread.store, &asked).unwrap() else {
        panic!("no sources")
    };
    let texts: Vec<String> = messages.iter().map(|message| message.message.text()).collect();
    assert_eq!(texts, (0..3).map(|at| format!("fact {at} is `value-{at}`")).collect::<Vec<_>>());
}
