//! Messages that come into a thread without a model being asked.

use memory_gateway::memory::settings::Overrides;
use memory_gateway::memory::store::TurnStatus;
use memory_gateway::protocol::{Committed, Create, Post, Posted, Posting, ThreadKey};
use memory_gateway::thread;
use memory_gateway::turn::Message;

use crate::support::{Thread, around, assistant, calls, result, user};
use crate::world::{World, small};

fn key() -> ThreadKey {
    ThreadKey { project: "p".into(), thread: "t".into(), resource: None }
}

fn create(thread: &Thread) {
    let key = ThreadKey { resource: Some("r".into()), ..key() };
    thread::create(&thread.store, &Create { key, title: None, metadata: None }, thread.now).unwrap();
}

fn posting(thread: &mut Thread, messages: Vec<Posted>) -> Posting {
    thread.now += 1_000;
    let token = thread.now.to_string();
    let request = Post { key: key(), token, project: Overrides::default(), messages };
    thread::post(&thread.store, &request, thread.now, around(&thread.settings)).unwrap()
}

fn named(id: &str, message: Message) -> Posted {
    Posted { id: Some(id.into()), created_at: None, message }
}

fn post(thread: &mut Thread, messages: &[Message]) -> Vec<String> {
    let messages =
        messages.iter().map(|message| Posted { id: None, created_at: None, message: message.clone() });
    ids(posting(thread, messages.collect()))
}

fn ids(posting: Posting) -> Vec<String> {
    match posting {
        Posting::Stored(messages) => messages.into_iter().map(|message| message.id).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_posted_stands_in_the_prompt_like_what_was_said() {
    let mut thread = Thread::new();
    assert_eq!(posting(&mut thread, vec![named("a", user("Hello"))]), Posting::NotFound);
    create(&thread);
    assert_eq!(
        post(&mut thread, &[user("Add 2 and 3"), calls(&["add"]), result("add", "5"), assistant("5")]),
        ["msg_1002000_0", "msg_1002000_1", "msg_1002000_2", "msg_1002000_3"]
    );
    assert_eq!(
        thread.turn(&[user("And 4?")], assistant("9")),
        ["u:Add 2 and 3", "a:[add](id-add)", "t:id-add:5", "a:5", "=u:And 4?"]
    );
}

#[test]
fn a_message_is_stored_once_under_its_id_and_another_one_refuses_the_whole_posting() {
    let mut thread = Thread::new();
    create(&thread);
    let hello = || named("a", user("Hello"));
    assert_eq!(
        ids(posting(&mut thread, vec![hello(), named("b", assistant("Hi")), hello()])),
        ["a", "b", "a"]
    );
    assert_eq!(ids(posting(&mut thread, vec![hello(), named("c", user("More"))])), ["a", "c"]);
    for messages in [
        vec![named("d", user("New")), named("b", assistant("Other"))],
        vec![named("d", user("New")), named("d", user("Newer"))],
        vec![named("d", user("New")), named("a", assistant("Hello"))],
    ] {
        let last = messages[1].id.clone().unwrap();
        assert_eq!(posting(&mut thread, messages), Posting::Conflict(last));
    }
    assert_eq!(thread.stored(), ["u:Hello", "a:Hi", "u:More"]);
}

#[test]
fn a_client_with_the_whole_history_goes_on_from_what_was_imported() {
    let mut thread = Thread::new();
    create(&thread);
    let said = [user("One"), assistant("1"), user("Two"), assistant("2")];
    post(&mut thread, &said);
    let history: Vec<Message> = said.iter().cloned().chain([user("Three")]).collect();
    assert_eq!(thread.turn(&history, assistant("3")), ["=u:One", "=a:1", "=u:Two", "=a:2", "=u:Three"]);
    // An edit of an imported message is an edit.
    let edited = [user("One"), assistant("1"), user("Zwei")];
    assert_eq!(thread.turn(&edited, assistant("zwei")), ["=u:One", "=a:1", "=u:Zwei"]);
    assert_eq!(thread.stored(), ["u:One", "a:1", "u:Zwei", "a:zwei"]);
}

#[test]
fn what_is_posted_beside_a_client_that_keeps_the_history_itself_is_no_edit_of_it() {
    let mut thread = Thread::new();
    let mut history = vec![user("One")];
    let running = thread.request(&history);
    thread.begin(&running);
    post(&mut thread, &[user("Noted while the model answers"), assistant("Yes")]);
    assert_eq!(thread.end(&running, TurnStatus::Complete, Some(assistant("1"))), Committed::Stored);
    assert_eq!(thread.stored(), ["u:One", "a:1", "u:Noted while the model answers", "a:Yes"]);
    for (question, answer) in [("Two", "2"), ("Three", "3")] {
        history.extend([assistant(if history.len() == 1 { "1" } else { "2" }), user(question)]);
        thread.turn(&history.clone(), assistant(answer));
    }
    assert_eq!(
        thread.stored(),
        ["u:One", "a:1", "u:Noted while the model answers", "a:Yes", "u:Two", "a:2", "u:Three", "a:3"]
    );
    // Whereas one that goes back behind its own last question has changed its mind.
    thread.turn(&[user("One"), assistant("1"), user("Zwei")], assistant("zwei"));
    assert_eq!(thread.stored(), ["u:One", "a:1", "u:Zwei", "a:zwei"]);
}

#[test]
fn posted_messages_become_notes_dated_as_they_were_said() {
    let mut world = World::new(small());
    create(&world.thread);
    let day = 86_400_000;
    for at in 1..=12 {
        let fact = format!("Fact number {at} is that the house {at} on the hill is painted in colour {at}.");
        let messages = [user(&fact), assistant("Noted, thank you for telling me about that house.")];
        let messages = messages.map(|message| Posted { id: None, created_at: Some(day * at), message });
        posting(&mut world.thread, messages.to_vec());
    }
    world.quiet();
    let shown = world.turn(&[user("What do you know?")], assistant("Much."));
    assert!(!world.live().is_empty(), "notes came into use");
    assert_eq!(
        world.live()[0],
        "The user said: Fact number 1 is that the house 1 on the hill is painted in colour 1."
    );
    assert!(shown.stable[0].contains("## Friday 1970-01-02"), "{}", shown.stable[0]);
}
