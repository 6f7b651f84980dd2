//! The prompt's bytes: what stays, what moves, and what the log says.

use memory_gateway::memory::settings::Settings;
use memory_gateway::protocol::Prepared;
use memory_gateway::thread::{self, Surroundings};

use crate::support::{assistant, user};
use crate::world::{Shown, World, small};

/// Everything a provider would cache of it, in order.
fn bytes(shown: &Shown) -> Vec<&str> {
    shown.stable.iter().map(String::as_str).chain(shown.texts()).collect()
}

#[test]
fn between_activations_every_prompt_begins_with_the_one_before_over_thirty_turns_and_days() {
    for minutes in [0, 3, 14, 600] {
        let mut world = World::new(Settings { idle_activation: false, ..small() });
        let mut before: Option<(u64, Shown)> = None;
        let mut kept = 0;
        for at in 0..30 {
            let shown = world.turn(
                &[user(&format!("question {at} about this"))],
                assistant(&format!("answer {at} about that")),
            );
            world.quiet();
            let version = world.thread.store.state().unwrap().log_version;
            if let Some((known, last)) = &before
                && *known == version
            {
                let (last, now) = (bytes(last), bytes(&shown));
                assert_eq!(now[..last.len()], last, "turn {at}, {minutes} minutes apart");
                kept += 1;
            }
            before = Some((version, shown));
            world.thread.now += minutes * 60_000;
        }
        assert!(kept >= 20, "{kept}");
    }
}

#[test]
fn moving_the_clock_changes_the_volatile_block_and_nothing_else() {
    let mut world = World::new(Settings { idle_activation: false, gap_ms: 0, ..small() });
    for at in 0..20 {
        world.turn(&[user(&format!("question {at} about this"))], assistant(&format!("answer {at}")));
        world.quiet();
    }
    let mut request = world.thread.request(&[user("the same")]);
    request.store = false;
    let today = world.begin(&request);
    request.started_at += 86_400_000;
    let tomorrow = world.begin(&request);
    assert_eq!((&today.stable, &today.messages), (&tomorrow.stable, &tomorrow.messages));
    assert_eq!(
        today.volatile.as_deref(),
        Some("<conversation_now>\nToday is Thursday 1970-01-01 (UTC).\n</conversation_now>")
    );
    assert_eq!(
        tomorrow.volatile.as_deref(),
        Some("<conversation_now>\nToday is Friday 1970-01-02 (UTC).\n</conversation_now>")
    );
}

#[test]
fn a_thread_without_notes_is_shown_its_messages_and_nothing_else() {
    let mut world = World::new(Settings::default());
    world.turn(&[user("My name is Alex")], assistant("Hello"));
    let shown = world.turn(&[user("What is my name?")], assistant("Alex"));
    assert_eq!((shown.stable.len(), shown.volatile), (0, None));
    assert_eq!(shown.messages, ["u:My name is Alex", "a:Hello", "=u:What is my name?"]);
}

#[test]
fn a_pause_is_marked_once_in_the_same_words_for_every_client() {
    let mut world = World::new(Settings::default());
    world.turn(&[user("good night")], assistant("sleep well"));
    world.thread.now = 36_000_000;
    let shown = world.turn(&[user("good morning")], assistant("hello"));
    let marked = "u:[Thursday 1970-01-01 10:00, 9 hours later]\ngood morning";
    assert_eq!(shown.texts(), ["u:good night", "a:sleep well", marked]);
    let shown = world.turn(&[user("breakfast?")], assistant("yes"));
    assert_eq!(shown.texts()[2], marked);
    let all = [
        user("good night"),
        assistant("sleep well"),
        user("good morning"),
        assistant("hello"),
        user("breakfast?"),
        assistant("yes"),
        user("coffee"),
    ];
    let shown = world.turn(&all, assistant("no"));
    assert_eq!(shown.texts()[2], marked);
    // What is stored is what was said.
    assert_eq!(world.thread.stored()[2], "u:good morning");
}

#[test]
fn dates_and_clock_times_are_the_users_own() {
    let mut world = World::new(Settings { idle_activation: false, ..small() });
    // Berlin, on the night in October 2026 when clocks go back: at 01:00 UTC 02:59 is followed by 02:00.
    let berlin = |zone: &str, at: u64| match zone {
        "Europe/Berlin" if at < 1_792_890_000_000 => 120,
        "Europe/Berlin" => 60,
        _ => 0,
    };
    world.thread.now = 1_792_890_000_000 - 20_000;
    let settings = world.thread.settings.clone();
    let mut log = String::new();
    let mut today = String::new();
    for at in 0..40 {
        let mut request = world.thread.request(&[user(&format!("fact {at} in the night"))]);
        request.time_zone = Some("Europe/Berlin".into());
        let around = Surroundings { settings: &settings, zones: &berlin };
        let Prepared::Ready { injection, .. } =
            thread::prepare(&world.thread.store, &request, around).unwrap()
        else {
            panic!("not ready")
        };
        if let Some(text) = injection.stable.first() {
            log.clone_from(text);
            today = injection.volatile.unwrap();
        }
        world.thread.end(
            &request,
            memory_gateway::memory::store::TurnStatus::Complete,
            Some(assistant("I have written it down")),
        );
        while world.work() {}
    }
    assert!(log.contains("## Sunday 2026-10-25\n- 02:59 The user said: fact 0 in the night\n"), "{log}");
    assert!(log.contains("- 02:00 The user said: fact"), "{log}");
    assert_eq!(log.matches("## ").count(), 1, "the day is named once: {log}");
    assert_eq!(today, "<conversation_now>\nToday is Sunday 2026-10-25 (Europe/Berlin).\n</conversation_now>");
}

#[test]
fn a_thousand_turns_with_the_log_echoed_by_the_model_add_no_note_about_it() {
    let mut world = World::new(Settings { swap_tokens: 1_000_000, reflect_tokens: 1_000_000, ..small() });
    let mut echo = String::from("I see no notes yet.");
    for at in 0..1_000 {
        let shown = world.turn(&[user(&format!("fact {at} to keep"))], assistant(&echo));
        while world.work() {}
        if let Some(log) = shown.stable.first() {
            // Whole, and in lines of its own.
            let lines: Vec<&str> = log.lines().rev().take(6).collect();
            echo = if at % 2 == 0 { log.clone() } else { lines.join("\n") };
            echo.truncate(400);
        }
    }
    let live = world.live();
    assert!(live.len() > 900, "{}", live.len());
    let mut sorted = live.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(sorted.len(), live.len(), "no note stands twice");
    assert!(live.iter().all(|text| text.starts_with("The user said: fact ")), "nothing else was noted");
}
