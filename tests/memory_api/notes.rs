//! Notes for their owner: seen, put right, forgotten; and the log as it was.

use memory_gateway::memory::address::Scope;
use memory_gateway::memory::cycle::{Job, Verdict};
use memory_gateway::memory::news::News;
use memory_gateway::memory::note::{Priority, Speaker};
use memory_gateway::memory::settings::Settings;
use memory_gateway::memory::store::{Kind, NoteStatus};
use memory_gateway::protocol::{
    Correct, Corrected, Forget, Forgotten, Found, History, Notes, PublicNote, ReadHistory, ReadNotes, Search,
    ThreadKey,
};
use memory_gateway::thread;

use crate::support::{Thread, around, assistant, user};
use crate::world::{World, answered, observe, small};

fn key(resource: &str) -> ThreadKey {
    ThreadKey { project: "p".into(), thread: "t".into(), resource: Some(resource.into()) }
}

/// A thread whose log has at least so many notes, nothing to do, and rewrites that are swapped in at once.
fn with_notes(count: usize) -> World {
    let settings = Settings { reflect_tokens: 1_000_000, swap_tokens: 1_000_000, ..small() };
    let mut world = World::new(Settings { scope: Scope::Resource, ..settings });
    for at in 0..200 {
        if world.live().len() >= count {
            break;
        }
        world.turn(&[user(&format!("fact {at} is `value-{at}`"))], assistant("I will keep that in mind."));
        world.quiet();
    }
    world
}

/// The question to a reflector; observers that are asked before it do their work.
fn reflection(world: &mut World) -> Job {
    loop {
        let job = world.take().expect("a rewrite is due");
        if job.kind == Kind::Reflect {
            return job;
        }
        let notes = observe(&job);
        world.settle(&job, answered(&notes));
    }
}

/// Has a reflector rewrite the log by a script.
fn rewrite(world: &mut World, script: &str) {
    let before = world.thread.settings.clone();
    world.thread.settings = Settings { reflect_tokens: 10, swap_tokens: 10, ..before.clone() };
    world.turn(&[user("and so on")], assistant("indeed"));
    let job = reflection(world);
    assert!(matches!(world.settle(&job, answered(script)), Verdict::Ready(_)), "{script}");
    world.turn(&[user("and so on")], assistant("indeed"));
    world.thread.settings = before;
}

fn notes(world: &World, statuses: &[NoteStatus]) -> Vec<PublicNote> {
    let request =
        ReadNotes { key: key("r"), statuses: statuses.to_vec(), limit: 200, offset: 0, descending: false };
    match thread::notes(&world.thread.store, &request).unwrap() {
        Notes::Page { notes, total } => {
            assert_eq!(notes.len() as u64, total);
            notes
        }
        Notes::NotFound => panic!("no thread"),
    }
}

fn correct(world: &World, note: i64, text: &str) -> Corrected {
    let request = Correct { key: key("r"), note, text: Some(text.into()), priority: None };
    thread::correct(&world.thread.store, &request, world.thread.now, around(&world.thread.settings)).unwrap()
}

fn forget(world: &World, note: i64) -> Forgotten {
    let request = Forget { key: key("r"), note };
    thread::forget(&world.thread.store, &request, world.thread.now, around(&world.thread.settings)).unwrap()
}

fn news(world: &World) -> Vec<News> {
    world.thread.store.outbox(100).unwrap().into_iter().filter_map(|(_, news)| news).collect()
}

fn history(
    world: &World,
    limit: u32,
    offset: u32,
    (from, to): (u64, u64),
) -> Vec<(u64, u64, Option<String>)> {
    let request = ReadHistory { key: key("r"), limit, offset, from, to };
    let Thread { store, now, settings, .. } = &world.thread;
    match thread::history(store, &request, *now, around(settings)).unwrap() {
        History::Records { records, .. } => {
            records.into_iter().map(|one| (one.reflections, one.created_at, one.log)).collect()
        }
        History::NotFound => panic!("no thread"),
    }
}

#[test]
fn notes_are_listed_with_the_messages_that_they_rest_on() {
    let world = with_notes(3);
    let all = notes(&world, &NoteStatus::ALL);
    let first = &all[0];
    assert_eq!(
        first,
        &PublicNote {
            id: 1,
            text: "The user said: fact 0 is `value-0`".into(),
            priority: Priority::High,
            speaker: Speaker::User,
            said_at: 1_001_000,
            refers: None,
            key: None,
            status: NoteStatus::Active,
            parent: None,
            superseded_by: None,
            messages: vec!["msg_1_0".into()],
            tokens: first.tokens,
            created_at: first.created_at,
            corrected_at: None,
        }
    );
    let page = ReadNotes {
        key: key("r"),
        statuses: vec![NoteStatus::Active],
        limit: 1,
        offset: 1,
        descending: true,
    };
    match thread::notes(&world.thread.store, &page).unwrap() {
        Notes::Page { notes, total } => {
            let live = world.live();
            assert_eq!((notes[0].text.as_str(), total), (live[live.len() - 2].as_str(), live.len() as u64));
        }
        Notes::NotFound => panic!("no thread"),
    }
    let foreign = thread::notes(&world.thread.store, &ReadNotes { key: key("s"), ..page }).unwrap();
    assert_eq!(foreign, Notes::NotFound);
}

#[test]
fn a_corrected_note_is_in_the_next_prompt_and_no_rewrite_changes_it() {
    let mut world = with_notes(6);
    world.thread.store.posted(i64::MAX).unwrap();
    let Corrected::Note(note) =
        correct(&world, 1, "fact 0 is `right`, key sk-proj-abcdefghijklmnopqrstuvwxyz0123456789AB")
    else {
        panic!("the note is there")
    };
    assert!(
        note.text.starts_with("fact 0 is `right`, key ") && !note.text.contains("klmnop"),
        "{}",
        note.text
    );
    assert_eq!((note.id, note.speaker, note.corrected_at), (1, Speaker::User, Some(world.thread.now)));
    let forgotten = News::Forget { notes: vec![1], at: world.thread.now - 1 };
    assert_eq!(news(&world)[0], forgotten, "the profile gives up what it said");
    let log = world.turn(&[user("What is fact 0?")], assistant("right")).stable.concat();
    assert!(log.contains("fact 0 is `right`") && !log.contains("`value-0`"), "{log}");
    rewrite(
        &mut world,
        "REWORD 1 H | fact 0 is `value-0`\nMERGE 1,2 H | fact 0 is `right`, fact 1 is `value-1`\n\
         MERGE 2,3 H | fact 1: `value-1`, fact 2: `value-2`\nMERGE 4,5 H | 3: `value-3`, 4: `value-4`\nEND",
    );
    assert!(world.live().iter().any(|text| text.starts_with("fact 0 is `right`")), "{:?}", world.live());
    assert!(world.live().contains(&"fact 1: `value-1`, fact 2: `value-2`".to_owned()), "{:?}", world.live());
    // A search finds what it says, and not what it said.
    let found = |query: &str| {
        let search = Search { key: key("r"), query: query.into(), limit: 100 };
        match thread::search(&world.thread.store, &search).unwrap() {
            Found::Hits { hits, .. } => hits.iter().any(|hit| hit.id == "1" && hit.seqs == [1 << 20]),
            Found::NotFound => panic!("no thread"),
        }
    };
    assert!(found("right") && !found("said"));
    let superseded = notes(&world, &[NoteStatus::Superseded]);
    let by = superseded.iter().find(|note| note.id == 2).unwrap().superseded_by;
    assert_eq!(correct(&world, 2, "late"), Corrected::Gone(by));
    assert_eq!(correct(&world, 999, "nobody"), Corrected::NotFound);
}

#[test]
fn a_forgotten_note_goes_with_all_that_says_the_same_and_what_it_hid_comes_back() {
    let mut world = with_notes(6);
    let before = world.live();
    rewrite(
        &mut world,
        "MERGE 1,2 H | both: fact 0 is `value-0`, fact 1 is `value-1`\nMERGE 3,4 H | 2: `value-2`, 3: `value-3`\nEND",
    );
    assert!(history(&world, 10, 0, (0, u64::MAX))[1].2.as_ref().unwrap().contains("`value-0`"));
    world.thread.store.posted(i64::MAX).unwrap();
    let merged = notes(&world, &[NoteStatus::Superseded])[0].superseded_by.unwrap();
    assert_eq!(
        forget(&world, 1),
        Forgotten::Forgotten { deleted_at: world.thread.now, notes: 2, restored: 1 }
    );
    assert_eq!(news(&world)[0], News::Forget { notes: vec![1, merged], at: world.thread.now });
    assert!(world.live().contains(&before[1]), "the note that was merged with it stands for itself again");
    let everything = notes(&world, &NoteStatus::ALL);
    assert!(everything.iter().all(|note| !note.text.contains("`value-0`")), "{everything:?}");
    let log = world.turn(&[user("What do you know?")], assistant("Less.")).stable.concat();
    assert!(!log.contains("`value-0`") && log.contains("`value-1`"), "{log}");
    let past = history(&world, 10, 0, (0, u64::MAX));
    assert_eq!(past[1].2, None, "the log as it was says it no more");
    assert_eq!(forget(&world, 1), Forgotten::NotFound);
    assert_eq!(
        forget(&world, 6),
        Forgotten::Forgotten { deleted_at: world.thread.now, notes: 1, restored: 0 }
    );
    let foreign = Forget { key: key("s"), note: 5 };
    let settings = &world.thread.settings;
    assert_eq!(
        thread::forget(&world.thread.store, &foreign, 1, around(settings)).unwrap(),
        Forgotten::NotFound
    );
}

#[test]
fn a_rewrite_that_was_asked_for_before_something_was_forgotten_writes_nothing() {
    let mut world = with_notes(6);
    world.thread.settings = Settings { reflect_tokens: 10, swap_tokens: 10, ..world.thread.settings.clone() };
    world.turn(&[user("and so on")], assistant("indeed"));
    let job = reflection(&mut world);
    forget(&world, 1);
    let script = "MERGE 2,3 H | fact 0 is `value-0`, 1: `value-1`, 2: `value-2`\nEND";
    assert_eq!(world.settle(&job, answered(script)), Verdict::Late);
}

#[test]
fn each_rewrite_leaves_the_log_as_it_was_newest_first_and_in_pages() {
    let mut world = with_notes(8);
    let first = world.turn(&[user("now")], assistant("yes")).stable.concat();
    assert_eq!(history(&world, 10, 0, (0, u64::MAX)).len(), 1, "only the one in force");
    rewrite(
        &mut world,
        "MERGE 1,2 H | 0: `value-0`, 1: `value-1`\nMERGE 5,6 H | 4: `value-4`, 5: `value-5`\nEND",
    );
    rewrite(
        &mut world,
        "MERGE 3,4 H | 2: `value-2`, 3: `value-3`\nMERGE 7,8 H | 6: `value-6`, 7: `value-7`\nEND",
    );
    let all = history(&world, 10, 0, (0, u64::MAX));
    assert_eq!(all.iter().map(|one| one.0).collect::<Vec<_>>(), [2, 1, 0]);
    assert!(all[2].2.as_ref().unwrap().starts_with(first.trim_end_matches("</conversation_notes>")));
    assert!(all[0].1 > all[1].1 && all[1].1 > all[2].1, "{all:?}");
    assert_eq!(history(&world, 1, 1, (0, u64::MAX)), all[1..2]);
    assert_eq!(history(&world, 2, 0, (0, u64::MAX)), all[..2]);
    assert_eq!(history(&world, 10, 0, (all[1].1, u64::MAX)), all[..2]);
    assert_eq!(history(&world, 10, 0, (0, all[1].1)), all[1..]);
}
