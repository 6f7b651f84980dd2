//! A thread's life, over SQLite itself: turns that begin and end in every order, clients of every kind.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use memory_gateway::memory::store::{Store, Thread as ThreadRow, TurnStatus};
use memory_gateway::protocol::{Commit, Committed, Messages, Prepare, Prepared, ReadMessages, ThreadKey};
use memory_gateway::thread::{self, INDEX_INTERVAL_MS};
use memory_gateway::turn::{Message, Part, PartKind, Role, ToolCall};
use support::{Sqlite, Thread, around, assistant, calls, prompt, result, user};

/// Five turns of a client that sends only what is new.
fn five_turns() -> Thread {
    let mut thread = Thread::new();
    for at in 1..=5 {
        thread.turn(&[user(&format!("u{at}"))], assistant(&format!("answer number {at}")));
    }
    thread
}

/// The first `turns` turns of that conversation as a client with the whole history has them.
fn history(turns: usize) -> Vec<Message> {
    (1..=turns).flat_map(|at| [user(&format!("u{at}")), assistant(&format!("answer number {at}"))]).collect()
}

#[test]
fn a_client_that_sends_only_what_is_new_gets_the_history_put_before_it() {
    let mut thread = Thread::new();
    assert_eq!(thread.turn(&[user("My name is Alex")], assistant("Hello Alex")), ["=u:My name is Alex"]);
    assert_eq!(
        thread.turn(&[user("What is my name?")], assistant("Alex")),
        ["u:My name is Alex", "a:Hello Alex", "=u:What is my name?"]
    );
    assert_eq!(thread.stored(), ["u:My name is Alex", "a:Hello Alex", "u:What is my name?", "a:Alex"]);
}

#[test]
fn five_turns_and_the_replay_of_all_eleven_messages_leave_twelve() {
    let mut thread = five_turns();
    let mut replay = history(5);
    replay.push(user("u6"));
    let prompt = thread.turn(&replay, assistant("answer number 6"));
    assert_eq!(prompt.len(), 11);
    assert!(prompt.iter().all(|message| message.starts_with('=')), "nothing had to be changed: {prompt:?}");
    assert_eq!(thread.stored().len(), 12);
}

#[test]
fn the_stored_answer_is_true_where_the_clients_copy_is_cut_or_reformatted() {
    let mut thread = five_turns();
    let mut replay = history(5);
    replay[1] = assistant("answer  number\n1");
    replay[3] = assistant("answer n…");
    replay[5] = assistant("");
    replay.push(user("u6"));
    let prompt = thread.turn(&replay, assistant("answer number 6"));
    assert_eq!(
        prompt[..7],
        ["=u:u1", "a:answer number 1", "=u:u2", "a:answer number 2", "=u:u3", "a:answer number 3", "=u:u4"]
    );
    assert_eq!((prompt.len(), thread.stored().len()), (11, 12));
}

#[test]
fn a_client_that_sends_the_tail_of_the_history_gets_the_rest_put_before_it() {
    let mut thread = five_turns();
    let mut window = history(5).split_off(5);
    window.push(user("u6"));
    let prompt = thread.turn(&window, assistant("answer number 6"));
    let expected: Vec<String> = (1..=5)
        .flat_map(|at| {
            let kept = |client: bool| if client { "=" } else { "" };
            [format!("{}u:u{at}", kept(at > 3)), format!("{}a:answer number {at}", kept(at > 3))]
        })
        .chain(["=u:u6".to_owned()])
        .collect();
    // The window begins with the third answer, whose place is known but whose question is not sent.
    assert_eq!(prompt.len(), expected.len(), "{prompt:?}");
    assert_eq!(
        prompt.iter().map(|one| one.trim_start_matches('=')).collect::<Vec<_>>(),
        expected.iter().map(|one| one.trim_start_matches('=')).collect::<Vec<_>>()
    );
    assert_eq!(thread.stored().len(), 12);
}

#[test]
fn a_summary_that_a_client_puts_before_its_window_is_sent_on_and_not_stored() {
    let mut thread = five_turns();
    let window =
        [user("(summary of earlier messages)"), user("u5"), assistant("answer number 5"), user("u6")];
    let prompt = thread.turn(&window, assistant("answer number 6"));
    assert!(prompt.contains(&"=u:(summary of earlier messages)".to_owned()));
    assert_eq!(prompt.len(), 12);
    assert_eq!(thread.stored().len(), 12);
}

#[test]
fn two_equal_messages_in_a_row_are_two_messages() {
    let mut thread = Thread::new();
    for _ in 0..3 {
        thread.turn(&[user("again")], assistant("ok"));
    }
    assert_eq!(thread.stored(), ["u:again", "a:ok", "u:again", "a:ok", "u:again", "a:ok"]);
    let replay: Vec<Message> =
        (0..3).flat_map(|_| [user("again"), assistant("ok")]).chain([user("again")]).collect();
    assert_eq!(thread.turn(&replay, assistant("ok")).len(), 7);
    assert_eq!(thread.stored().len(), 8);
}

#[test]
fn an_edited_message_begins_a_branch_and_what_followed_it_is_left_out() {
    let mut thread = five_turns();
    let edited = [user("u1"), assistant("answer number 1"), user("u2, no: u2b")];
    assert_eq!(thread.turn(&edited, assistant("b")), ["=u:u1", "=a:answer number 1", "=u:u2, no: u2b"]);
    assert_eq!(thread.stored(), ["u:u1", "a:answer number 1", "u:u2, no: u2b", "a:b"]);
    // The branch goes on, for a client of either kind.
    assert_eq!(thread.turn(&[user("u3b")], assistant("c")).len(), 5);
    let mut replay = edited.to_vec();
    replay.extend([assistant("b"), user("u3b"), assistant("c"), user("u4b")]);
    assert_eq!(thread.turn(&replay, assistant("d")).len(), 7);
    assert_eq!(thread.stored().len(), 8);
}

#[test]
fn an_edit_inside_a_window_begins_a_branch_too() {
    let mut thread = five_turns();
    let window = [user("u3"), assistant("answer number 3"), user("u4b")];
    assert_eq!(thread.turn(&window, assistant("b")).last().map(String::as_str), Some("=u:u4b"));
    assert_eq!(thread.stored()[4..], ["u:u3", "a:answer number 3", "u:u4b", "a:b"]);
}

#[test]
fn a_regenerated_answer_takes_the_place_of_the_old_one() {
    let mut thread = five_turns();
    let mut again = history(5);
    again.pop();
    assert_eq!(thread.turn(&again, assistant("better")).len(), 9);
    assert_eq!(thread.stored()[8..], ["u:u5", "a:better"]);
    assert_eq!(thread.turn(&[user("u6")], assistant("x"))[8..], ["u:u5", "a:better", "=u:u6"]);
}

#[test]
fn a_retry_after_a_failure_stores_the_message_once() {
    let mut thread = Thread::new();
    thread.turn(&[user("u1")], assistant("a1"));
    let failed = thread.request(&[user("u2")]);
    thread.begin(&failed);
    thread.end(&failed, TurnStatus::Failed, None);
    assert_eq!(thread.stored(), ["u:u1", "a:a1", "u:u2"]);
    assert_eq!(thread.turn(&[user("u2")], assistant("a2")), ["u:u1", "a:a1", "=u:u2"]);
    assert_eq!(thread.stored(), ["u:u1", "a:a1", "u:u2", "a:a2"]);
}

#[test]
fn a_retry_that_the_client_marks_replaces_an_answer_that_never_arrived() {
    let mut thread = Thread::new();
    thread.turn(&[user("u1")], assistant("unseen"));
    let mut retry = thread.request(&[user("u1")]);
    retry.repeated = true;
    assert_eq!(thread.begin(&retry), ["=u:u1"]);
    thread.end(&retry, TurnStatus::Complete, Some(assistant("seen")));
    assert_eq!(thread.stored(), ["u:u1", "a:seen"]);
}

#[test]
fn a_retry_while_the_first_attempt_still_runs_leaves_one_answer() {
    let mut thread = Thread::new();
    let first = thread.request(&[user("u1")]);
    thread.begin(&first);
    let mut retry = thread.request(&[user("u1")]);
    retry.repeated = true;
    thread.begin(&retry);
    thread.end(&retry, TurnStatus::Complete, Some(assistant("of the retry")));
    thread.end(&first, TurnStatus::Complete, Some(assistant("too late")));
    assert_eq!(thread.stored(), ["u:u1", "a:of the retry"]);
}

#[test]
fn a_failed_turn_is_history_for_a_client_that_goes_on() {
    let mut thread = Thread::new();
    let failed = thread.request(&[user("u1")]);
    thread.begin(&failed);
    thread.end(&failed, TurnStatus::Failed, None);
    assert_eq!(thread.turn(&[user("u1"), user("u2")], assistant("a2")), ["=u:u1", "=u:u2"]);
    assert_eq!(thread.stored(), ["u:u1", "u:u2", "a:a2"]);
}

#[test]
fn parallel_turns_keep_the_order_of_arrival_whatever_the_order_of_answers() {
    let mut thread = Thread::new();
    let requests: Vec<Prepare> = (0..20).map(|at| thread.request(&[user(&format!("u{at}"))])).collect();
    for request in &requests {
        thread.begin(request);
    }
    for (at, request) in requests.iter().enumerate().rev() {
        thread.end(request, TurnStatus::Complete, Some(assistant(&format!("a{at}"))));
    }
    let expected: Vec<String> = (0..20).flat_map(|at| [format!("u:u{at}"), format!("a:a{at}")]).collect();
    assert_eq!(thread.stored(), expected);
}

#[test]
fn equal_messages_sent_in_parallel_are_all_kept() {
    let mut thread = Thread::new();
    let requests: Vec<Prepare> = (0..3).map(|_| thread.request(&[user("hi")])).collect();
    for request in &requests {
        thread.begin(request);
    }
    for request in &requests {
        thread.end(request, TurnStatus::Complete, Some(assistant("ho")));
    }
    assert_eq!(thread.stored(), ["u:hi", "a:ho", "u:hi", "a:ho", "u:hi", "a:ho"]);
}

#[test]
fn prepare_and_commit_may_come_twice_and_in_any_order() {
    let mut thread = five_turns();
    let request = thread.request(&[user("u6")]);
    let first = thread.begin(&request);
    assert_eq!(thread.begin(&request), first);
    for _ in 0..2 {
        thread.end(&request, TurnStatus::Complete, Some(assistant("a6")));
    }
    assert_eq!(thread.begin(&request), first, "a late copy sees what the first one saw");
    assert_eq!(thread.stored().len(), 12);

    let unheard = thread.request(&[user("u7")]);
    let lost = thread.end_known(&unheard, None, TurnStatus::Complete, Some(assistant("a7")));
    assert_eq!((lost, thread.stored().len()), (Committed::UnknownTurn, 12));
    thread.end(&unheard, TurnStatus::Complete, Some(assistant("a7")));
    thread.begin(&unheard);
    assert_eq!(thread.stored()[12..], ["u:u7", "a:a7"]);
}

#[test]
fn a_late_copy_of_a_branching_request_sees_the_same_prompt() {
    let mut thread = five_turns();
    let request = thread.request(&[user("u1"), assistant("answer number 1"), user("edit")]);
    let first = thread.begin(&request);
    assert_eq!(thread.begin(&request), first);
    thread.end(&request, TurnStatus::Complete, Some(assistant("b")));
    assert_eq!(thread.stored(), ["u:u1", "a:answer number 1", "u:edit", "a:b"]);
}

#[test]
fn an_answer_that_arrives_after_its_question_was_edited_away_stays_out_of_sight() {
    let mut thread = Thread::new();
    thread.turn(&[user("u1")], assistant("a1"));
    let slow = thread.request(&[user("u1"), assistant("a1"), user("u2")]);
    thread.begin(&slow);
    thread.turn(&[user("u1"), assistant("a1"), user("u2 edited")], assistant("a2 edited"));
    thread.end(&slow, TurnStatus::Complete, Some(assistant("a2")));
    assert_eq!(thread.stored(), ["u:u1", "a:a1", "u:u2 edited", "a:a2 edited"]);
}

#[test]
fn a_broken_answer_is_kept_and_shown_to_the_next_turn() {
    let mut thread = Thread::new();
    let request = thread.request(&[user("u1")]);
    thread.begin(&request);
    thread.end(&request, TurnStatus::Incomplete, Some(assistant("half an ans")));
    assert_eq!(thread.turn(&[user("go on")], assistant("ok")), ["u:u1", "a:half an ans", "=u:go on"]);
}

#[test]
fn torn_tool_calls_of_a_broken_answer_are_not_shown() {
    let mut thread = Thread::new();
    let request = thread.request(&[user("u1")]);
    thread.begin(&request);
    let torn =
        ToolCall { id: "id-x".into(), name: "x".into(), arguments: "{\"a\":".into(), ..ToolCall::default() };
    let answer =
        Message::new(Role::Assistant, vec![Part::text("Let me see"), PartKind::ToolCall(torn).into()]);
    thread.end(&request, TurnStatus::Incomplete, Some(answer));
    assert_eq!(thread.turn(&[user("u2")], assistant("ok")), ["u:u1", "a:Let me see", "=u:u2"]);
}

#[test]
fn a_tool_result_alone_continues_the_call() {
    let mut thread = Thread::new();
    thread.turn(&[user("weather?")], calls(&["paris", "rome"]));
    assert_eq!(
        thread.turn(&[result("paris", "sun"), result("rome", "rain")], assistant("sun and rain")),
        ["u:weather?", "a:[paris](id-paris)[rome](id-rome)", "=t:id-paris:sun", "=t:id-rome:rain"]
    );
    assert_eq!(thread.turn(&[user("thanks")], assistant("!")).len(), 6);
}

#[test]
fn a_client_that_repeats_the_running_turn_adds_only_the_result() {
    let mut thread = five_turns();
    thread.turn(&[user("weather?")], calls(&["paris"]));
    let step = [user("weather?"), calls(&["paris"]), result("paris", "sun")];
    let prompt = thread.turn(&step, assistant("sun"));
    assert_eq!(prompt[10..], ["=u:weather?", "=a:[paris](id-paris)", "=t:id-paris:sun"]);
    assert_eq!(thread.stored()[10..], ["u:weather?", "a:[paris](id-paris)", "t:id-paris:sun", "a:sun"]);
}

/// A question, answered with two rounds of tools, of a client that keeps all of it.
fn tool_rounds() -> Thread {
    let mut thread = Thread::new();
    thread.turn(&[user("weather?")], calls(&["paris"]));
    thread.turn(&[result("paris", "sun")], calls(&["rome"]));
    thread.turn(&[result("rome", "rain")], assistant("sun and rain"));
    thread
}

const ROUNDS: [&str; 6] = [
    "u:weather?",
    "a:[paris](id-paris)",
    "t:id-paris:sun",
    "a:[rome](id-rome)",
    "t:id-rome:rain",
    "a:sun and rain",
];

fn without_marks(prompt: &[String]) -> Vec<&str> {
    prompt.iter().map(|message| message.trim_start_matches('=')).collect()
}

#[test]
fn a_client_that_keeps_only_texts_loses_no_tool_results() {
    for copy in ["sun and rain", "sun and", "quite another text", ""] {
        let mut thread = tool_rounds();
        let mut sent = vec![user("weather?"), assistant(copy), user("thanks")];
        let prompt = thread.turn(&sent, assistant("!"));
        assert_eq!(without_marks(&prompt), [&ROUNDS[..], &["u:thanks"]].concat(), "{copy}");
        assert_eq!(prompt[5].starts_with('='), copy == "sun and rain");
        assert_eq!(thread.stored(), [&ROUNDS[..], &["u:thanks", "a:!"]].concat());
        // And so on, with the whole history or its tail.
        sent.extend([assistant("!"), user("next")]);
        let prompt = thread.turn(&sent, assistant("?"));
        assert_eq!(without_marks(&prompt), [&ROUNDS[..], &["u:thanks", "a:!", "u:next"]].concat());
        let window = [assistant("x"), assistant(copy), user("thanks"), assistant("!"), user("next")];
        let window = [&window[..], &[assistant("?"), user("last")]].concat();
        let prompt = thread.turn(&window, assistant("."));
        assert_eq!(
            without_marks(&prompt),
            [&ROUNDS[..], &["u:thanks", "a:!", "u:next", "a:?", "u:last"]].concat()
        );
        assert_eq!(thread.stored().len(), 12);
    }
}

#[test]
fn a_client_of_texts_may_keep_what_was_said_with_a_call_or_an_empty_copy_of_it() {
    for copies in [1, 2, 3] {
        let mut thread = tool_rounds();
        let mut sent = vec![user("weather?")];
        sent.extend((1..copies).map(|_| assistant("")));
        sent.extend([assistant("sun and rain"), user("thanks")]);
        let prompt = thread.turn(&sent, assistant("!"));
        assert_eq!(without_marks(&prompt), [&ROUNDS[..], &["u:thanks"]].concat(), "{copies} copies");
        assert_eq!(thread.stored().len(), 8);
    }
}

#[test]
fn an_edit_by_a_client_of_texts_begins_a_branch_behind_the_tool_results() {
    let mut thread = tool_rounds();
    thread.turn(&[user("thanks")], assistant("!"));
    let edited = [user("weather?"), assistant("sun and rain"), user("thanks, no: why?")];
    let prompt = thread.turn(&edited, assistant("b"));
    assert_eq!(without_marks(&prompt), [&ROUNDS[..], &["u:thanks, no: why?"]].concat());
    assert_eq!(thread.stored(), [&ROUNDS[..], &["u:thanks, no: why?", "a:b"]].concat());

    let mut thread = Thread::new();
    thread.turn(&[user("hi")], assistant("ho"));
    thread.turn(&[user("weather?")], calls(&["paris"]));
    thread.turn(&[result("paris", "sun")], assistant("sun"));
    let edited = [user("hi"), assistant("ho"), user("weather in Rome?")];
    assert_eq!(thread.turn(&edited, assistant("b")), ["=u:hi", "=a:ho", "=u:weather in Rome?"]);
    assert_eq!(thread.stored(), ["u:hi", "a:ho", "u:weather in Rome?", "a:b"]);
}

#[test]
fn a_client_of_texts_that_asks_again_gets_a_new_answer_to_the_same_results() {
    let mut thread = tool_rounds();
    let again = [user("weather?")];
    let mut retry = thread.request(&again);
    retry.repeated = true;
    assert_eq!(without_marks(&thread.begin(&retry)), ROUNDS[..5]);
    thread.end(&retry, TurnStatus::Complete, Some(assistant("better")));
    assert_eq!(thread.stored(), [&ROUNDS[..5], &["a:better"]].concat());
}

#[test]
fn a_call_that_was_never_answered_gets_a_result_in_the_prompt_alone() {
    let mut thread = Thread::new();
    thread.turn(&[user("weather?")], calls(&["paris", "rome"]));
    let request = thread.request(&[result("paris", "sun"), user("forget Rome")]);
    assert_eq!(
        thread.begin(&request),
        [
            "u:weather?",
            "a:[paris](id-paris)[rome](id-rome)",
            "=t:id-paris:sun",
            "t:id-rome:No result was recorded for this call.",
            "=u:forget Rome",
        ]
    );
    assert_eq!(thread.stored().len(), 4);
}

#[test]
fn a_result_stands_behind_its_call_even_when_another_turn_came_between() {
    let mut thread = Thread::new();
    thread.turn(&[user("weather?")], calls(&["paris"]));
    thread.turn(&[user("and who are you?")], assistant("a model"));
    assert_eq!(
        thread.turn(&[result("paris", "sun")], assistant("sun")),
        ["u:weather?", "a:[paris](id-paris)", "=t:id-paris:sun", "u:and who are you?", "a:a model"]
    );
    assert_eq!(
        thread.turn(&[user("next")], assistant("ok"))[..3],
        ["u:weather?", "a:[paris](id-paris)", "t:id-paris:sun"]
    );
}

#[test]
fn a_history_that_begins_elsewhere_is_stored_whole() {
    let mut thread = Thread::new();
    let mut imported = history(3);
    imported.push(user("u4"));
    thread.turn(&imported, assistant("answer number 4"));
    assert_eq!(thread.stored().len(), 8);
    // An unrelated history on a thread that has one is added, not lost.
    let other = [user("x1"), assistant("y1"), user("x2")];
    assert_eq!(thread.turn(&other, assistant("y2")).len(), 11);
    assert_eq!(thread.stored().len(), 12);
}

#[test]
fn an_answer_that_only_the_client_has_is_stored_with_its_next_message() {
    let mut thread = Thread::new();
    let lost = thread.request(&[user("u1")]);
    thread.begin(&lost);
    let replay = [user("u1"), assistant("seen by the client"), user("u2")];
    assert_eq!(thread.turn(&replay, assistant("a2")), ["=u:u1", "=a:seen by the client", "=u:u2"]);
    assert_eq!(thread.stored(), ["u:u1", "a:seen by the client", "u:u2", "a:a2"]);
}

#[test]
fn another_resource_sees_no_thread_and_changes_nothing() {
    let mut thread = five_turns();
    let mut request = thread.request(&[user("spy")]);
    request.key.resource = Some("other".into());
    assert_eq!(
        thread::prepare(&thread.store, &request, around(&thread.settings)).unwrap(),
        Prepared::NotFound
    );
    assert_eq!(thread.end(&request, TurnStatus::Complete, Some(assistant("spied"))), Committed::NotFound);
    let key = ThreadKey { project: "other".into(), thread: "t".into(), resource: None };
    let page = ReadMessages { key, limit: 10, offset: 0, descending: false };
    assert_eq!(thread::messages(&thread.store, &page).unwrap(), Messages::NotFound);
    assert_eq!(thread.stored().len(), 10);
}

#[test]
fn the_end_of_a_turn_names_its_own_messages_where_it_is_asked_and_every_time() {
    let mut thread = Thread::new();
    thread.turn(&[user("u1")], assistant("a1"));
    let request = thread.request(&[user("u1"), assistant("a1"), user("u2"), user("u3")]);
    thread.begin(&request);
    let mut commit = Commit {
        turn: request.turn.clone(),
        prepare: None,
        finished_at: thread.now,
        status: TurnStatus::Complete,
        answer: Some(assistant("a2")),
        usage: None,
        stop: None,
        provider: "openai".into(),
        model: "gpt".into(),
        profile: None,
        prompt_tokens: None,
        names_messages: true,
    };
    let end = |commit: &Commit| thread::commit(&thread.store, commit, around(&thread.settings)).unwrap();
    let named =
        Committed::StoredAs { message_ids: ["msg_2_0", "msg_2_1", "msg_2_2"].map(String::from).into() };
    assert_eq!((end(&commit), end(&commit)), (named.clone(), named));
    commit.names_messages = false;
    assert_eq!(end(&commit), Committed::Stored);
    let page = ReadMessages { key: request.key, limit: 10, offset: 2, descending: false };
    let Messages::Page { messages, .. } = thread::messages(&thread.store, &page).unwrap() else {
        panic!("the thread is there")
    };
    let ids: Vec<String> = messages.into_iter().map(|message| message.id).collect();
    assert_eq!(ids, ["msg_2_0", "msg_2_1", "msg_2_2"]);
}

#[test]
fn reading_creates_nothing_and_writing_shows_nothing() {
    let mut thread = Thread::new();
    let mut read = thread.request(&[user("u1")]);
    read.store = false;
    assert_eq!(thread.begin(&read), ["=u:u1"]);
    assert_eq!(thread.store.thread().unwrap(), None);

    thread.turn(&[user("u2")], assistant("a2"));
    let mut write = thread.request(&[user("u3")]);
    write.inject = false;
    assert_eq!(thread.begin(&write), ["=u:u3"]);
    thread.end(&write, TurnStatus::Complete, Some(assistant("a3")));
    assert_eq!(thread.stored(), ["u:u2", "a:a2", "u:u3", "a:a3"]);
    let mut read = thread.request(&[user("u4")]);
    read.store = false;
    assert_eq!(thread.begin(&read).len(), 5);
    assert_eq!(thread.stored().len(), 4);
}

#[test]
fn a_turn_that_nobody_ended_is_closed_and_may_still_end_later() {
    let mut thread = Thread::new();
    let request = thread.request(&[user("u1")]);
    thread.begin(&request);
    let ttl = 900_000;
    assert_eq!(
        thread::close_lost_turns(&thread.store, thread.now + ttl - 1, ttl, around(&thread.settings)).unwrap(),
        Vec::<String>::new()
    );
    assert_eq!(
        thread::close_lost_turns(&thread.store, thread.now + ttl, ttl, around(&thread.settings)).unwrap(),
        ["turn_1"]
    );
    assert_eq!(thread.stored(), ["u:u1"]);
    thread.end(&request, TurnStatus::Complete, Some(assistant("at last")));
    assert_eq!(thread.stored(), ["u:u1", "a:at last"]);
    assert_eq!(thread.store.turn("turn_1").unwrap().map(|turn| turn.status), Some(TurnStatus::Complete));
}

#[test]
fn the_alarm_rings_for_the_index_at_once_and_then_once_a_minute_and_for_turns_left_open() {
    let mut thread = Thread::new();
    let ttl = 900_000;
    assert_eq!(thread::next_alarm(&thread.store, 5, ttl).unwrap(), None);
    let request = thread.request(&[user("u1")]);
    thread.begin(&request);
    let began = thread.now;
    assert_eq!(thread::next_alarm(&thread.store, began, ttl).unwrap(), Some(began));
    thread::index_told(&thread.store, began, began, true).unwrap();
    assert_eq!(thread::next_alarm(&thread.store, began, ttl).unwrap(), Some(began + ttl));
    thread.end(&request, TurnStatus::Complete, None);
    assert_eq!(thread::next_alarm(&thread.store, began, ttl).unwrap(), Some(began + INDEX_INTERVAL_MS));
    thread::index_told(&thread.store, thread.now, thread.now, true).unwrap();
    assert_eq!(thread::next_alarm(&thread.store, thread.now, ttl).unwrap(), None);
}

#[test]
fn an_index_that_cannot_be_told_is_tried_again_less_and_less_often() {
    let mut thread = Thread::new();
    thread.turn(&[user("u1")], assistant("a1"));
    let start = thread.now;
    let mut waits = Vec::new();
    let mut now = start;
    for _ in 0..12 {
        thread::index_told(&thread.store, start, now, false).unwrap();
        let next = thread::next_alarm(&thread.store, now, 900_000).unwrap().unwrap();
        waits.push(next - now);
        now = next;
    }
    assert_eq!(waits[..4], [1_000, 1_000, 2_000, 4_000]);
    let row: Option<ThreadRow> = thread.store.thread().unwrap();
    assert_eq!(row.and_then(|row| row.indexed_at), None);
}

#[test]
fn messages_larger_than_a_row_come_back_whole() {
    let mut thread = Thread::new();
    let long = "äöü€𝄞 ".repeat(500_000);
    thread.turn(&[user(&long)], assistant("a1"));
    assert!(thread.stored()[0] == format!("u:{long}"));
    let (page, total) = thread.store.page(1, 1, true).unwrap();
    assert_eq!((page[0].message.text() == long, total), (true, 2));
}

#[test]
fn asking_for_a_thread_that_was_never_used_brings_nothing_into_being() {
    let file = std::env::temp_dir().join(format!("memory-gateway-{}.sqlite", std::process::id()));
    let connect = || Sqlite(rusqlite::Connection::open(&file).unwrap());
    assert!(Store::open_existing(connect()).unwrap().is_none());
    let tables: i64 =
        connect().0.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0)).unwrap();
    assert_eq!(tables, 0);
    std::fs::remove_file(&file).unwrap();
    let used = five_turns().store.into_database();
    assert_eq!(Store::open_existing(used).unwrap().unwrap().conversation(100).unwrap().len(), 10);
}

#[test]
fn storage_opens_again_on_what_an_earlier_version_left() {
    let thread = five_turns();
    let connection = thread.store.into_database().0;
    let store = Store::open(Sqlite(connection)).unwrap();
    assert_eq!(store.conversation(100).unwrap().len(), 10);
}

/// Clients of every kind, at random, on one thread: whatever they do, no message is lost, none doubled, and every prompt
/// ends with the new message.
#[test]
fn random_clients_lose_and_double_nothing() {
    for seed in 1..=300u64 {
        let mut random = seed;
        let mut roll = |sides: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % sides
        };
        let mut thread = Thread::new();
        let mut truth: Vec<Message> = Vec::new();
        for turn in 0..12 {
            let new = user(&format!("question {}", if roll(4) == 0 { 0 } else { turn }));
            let sent: Vec<Message> = match roll(3) {
                0 => vec![new.clone()],
                1 => truth.iter().cloned().chain([new.clone()]).collect(),
                _ => {
                    // A window needs to begin with a question, as clients cut between turns.
                    let from = truth.len() - 2 * (roll(3) as usize).min(truth.len() / 2);
                    truth[from..].iter().cloned().chain([new.clone()]).collect()
                }
            };
            let answer = assistant(&format!("answer {turn}"));
            let request = thread.request(&sent);
            let prompt = thread.begin(&request);
            let expected: Vec<String> = truth.iter().chain([&new]).map(support::short).collect();
            let seen: Vec<&str> = prompt.iter().map(|message| message.trim_start_matches('=')).collect();
            assert_eq!(seen, expected, "seed {seed}, turn {turn}");
            if roll(5) == 0 {
                thread.begin(&request);
            }
            thread.end(&request, TurnStatus::Complete, Some(answer.clone()));
            truth.extend([new, answer]);
            let stored: Vec<String> = truth.iter().map(support::short).collect();
            assert_eq!(thread.stored(), stored, "seed {seed}, turn {turn}");
        }
    }
}

#[test]
fn a_prompt_without_change_is_the_clients_own() {
    let mut thread = Thread::new();
    let request = thread.request(&[user("a"), user("b")]);
    let Prepared::Ready { items, tokens, remembered, .. } =
        thread::prepare(&thread.store, &request, around(&thread.settings)).unwrap()
    else {
        panic!("not ready")
    };
    assert_eq!(
        (prompt(&items, &request.messages), tokens, remembered),
        (vec!["=u:a".into(), "=u:b".into()], 0, 0)
    );
}
