//! Kept responses, over SQLite itself: chains with branches, conversations, ids of every kind, deletion and expiry.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice, dead_code)]

mod support;

use std::collections::HashMap;

use memory_gateway::keys::Principal;
use memory_gateway::memory::database::Database;
use memory_gateway::memory::schema::exists;
use memory_gateway::responses::chain::{self, DELETED_TTL_MS};
use memory_gateway::responses::id::ChainId;
use memory_gateway::responses::protocol::{
    Asked, Delete, Found, History, Items, Keep, Kept, Past, Place, Point, ReadHistory, ReadItems,
    ReadResponse,
};
use memory_gateway::responses::store::Store;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use support::Sqlite;

const DAY: u64 = 24 * 60 * 60 * 1000;
const TTL: u64 = 30 * DAY;
const START: u64 = 1_800_000_000_000;

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

/// A question of the core about one response.
type Question<Q, A> = fn(&Store<Sqlite>, &Asked<Q>) -> Result<Found<A>, rusqlite::Error>;

/// The objects of one project, and the Worker's way to them.
struct Objects {
    project: &'static str,
    stores: HashMap<String, Store<Sqlite>>,
    now: u64,
    ids: u64,
    /// How many objects the last question needed.
    hops: usize,
}

impl Objects {
    fn new() -> Self {
        Objects { project: "p", stores: HashMap::new(), now: START, ids: 0, hops: 0 }
    }

    fn place(&self, chain: &ChainId) -> Place {
        Place { project: self.project.into(), chain: chain.clone() }
    }

    fn store(&mut self, chain: &ChainId) -> &Store<Sqlite> {
        self.stores.entry(chain.as_str().to_owned()).or_insert_with(|| Store::open(Sqlite::new()).unwrap())
    }

    fn asked<Q>(&self, chain: &ChainId, ask: Q) -> Asked<Q> {
        Asked { place: self.place(chain), ask }
    }

    fn find<Q: Clone, A>(&mut self, id: &str, ask: &Q, work: Question<Q, A>) -> Option<(ChainId, A)> {
        let mut chain = ChainId::home(self.project, id);
        for hop in 1..=2 {
            self.hops = hop;
            let asked = self.asked(&chain, ask.clone());
            match work(self.store(&chain), &asked).unwrap() {
                Found::Here(found) => return Some((chain, found)),
                Found::Elsewhere(there) => chain = there,
                Found::Nowhere => return None,
            }
        }
        panic!("a pointer that points to a pointer");
    }

    fn history(&mut self, id: &str) -> Option<(ChainId, History)> {
        self.find(id, &ReadHistory { from: Past::Response(id.into()) }, chain::history)
    }

    /// The texts that were said up to a response.
    fn said(&mut self, id: &str) -> Vec<String> {
        self.history(id)
            .unwrap_or_else(|| panic!("{id} is not kept"))
            .1
            .items
            .iter()
            .map(|item| text(item))
            .collect()
    }

    fn conversation(&mut self, id: &str) -> (ChainId, Vec<String>) {
        let chain = ChainId::of_conversation(self.project, id);
        let asked = self.asked(&chain, ReadHistory { from: Past::Conversation(id.into()) });
        let items = match chain::history(self.store(&chain), &asked).unwrap() {
            Found::Here(history) => history.items,
            Found::Elsewhere(chain) => panic!("{chain:?}"),
            Found::Nowhere => Vec::new(),
        };
        (chain, items.iter().map(|item| text(item)).collect())
    }

    fn new_id(&mut self, chain: &ChainId) -> String {
        self.ids += 1;
        chain.response_id(self.ids.to_be_bytes())
    }

    fn new_chain(&mut self) -> ChainId {
        self.ids += 1;
        ChainId::new(u128::from(self.ids).to_be_bytes())
    }

    fn keep_in(&mut self, chain: &ChainId, keep: &Keep) -> Kept {
        let asked = self.asked(chain, keep.clone());
        let kept = chain::keep(self.store(chain), &asked).unwrap();
        let home = ChainId::home(self.project, &keep.id);
        if home != *chain {
            let point = Point { id: keep.id.clone(), chain: chain.clone(), created_at: keep.created_at };
            let asked = self.asked(&home, point);
            assert_eq!(chain::point(self.store(&home), &asked).unwrap(), Kept::Kept);
        }
        kept
    }

    fn turn(&mut self, id: &str, previous: Option<&str>, question: &str) -> Keep {
        self.now += 1_000;
        Keep {
            id: id.into(),
            previous: previous.map(str::to_owned),
            conversation: None,
            created_at: self.now,
            input: vec![raw(&json!({ "role": "user", "content": question }).to_string())],
            response: raw(
                &json!({ "id": id, "output": [{ "type": "message", "content": format!("re {question}") }] })
                    .to_string(),
            ),
            maker: None,
        }
    }

    /// A turn under an id of our own.
    fn own(&mut self, previous: Option<&str>, question: &str) -> String {
        let chain = match previous {
            Some(id) => self.history(id).unwrap().0,
            None => self.new_chain(),
        };
        let id = self.new_id(&chain);
        let keep = self.turn(&id, previous, question);
        assert_eq!(self.keep_in(&chain, &keep), Kept::Kept);
        id
    }

    /// A turn under an id that a provider made.
    fn foreign(&mut self, id: &str, previous: Option<&str>, question: &str) -> Keep {
        let chain = match previous {
            Some(id) => self.history(id).unwrap().0,
            None => ChainId::home(self.project, id),
        };
        let keep = self.turn(id, previous, question);
        assert_eq!(self.keep_in(&chain, &keep), Kept::Kept);
        keep
    }

    fn converse(&mut self, conversation: &str, id: Option<&str>, question: &str) -> String {
        let (chain, _) = self.conversation(conversation);
        let id = id.map_or_else(|| self.new_id(&chain), str::to_owned);
        let keep = Keep { conversation: Some(conversation.into()), ..self.turn(&id, None, question) };
        assert_eq!(self.keep_in(&chain, &keep), Kept::Kept);
        id
    }

    fn read(&mut self, id: &str) -> Option<String> {
        self.find(id, &ReadResponse { id: id.into() }, chain::read).map(|(_, text)| text.get().to_owned())
    }

    fn delete(&mut self, id: &str) -> bool {
        self.now += 1_000;
        let at = self.now;
        self.delete_at(id, at)
    }

    fn delete_at(&mut self, id: &str, at: u64) -> bool {
        self.find(id, &Delete { id: id.into(), at }, chain::delete).is_some()
    }

    fn list(&mut self, id: &str, limit: u32, descending: bool, after: Option<&str>) -> Option<Value> {
        let ask = ReadItems { id: id.into(), limit, descending, after: after.map(str::to_owned) };
        match self.find(id, &ask, chain::input_items)?.1 {
            Items::Page(list) => Some(serde_json::from_str(list.get()).unwrap()),
            Items::UnknownAfter => Some(json!("unknown after")),
        }
    }

    fn expire(&mut self, now: u64) {
        self.stores.retain(|_, store| !chain::expire(store, now, TTL).unwrap());
    }
}

/// What an item says.
fn text(item: &RawValue) -> String {
    let item: Value = serde_json::from_str(item.get()).unwrap();
    match item.get("content").or(item.get("output")).or(item.get("arguments")) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        other => panic!("{other:?}"),
    }
}

fn turns(range: std::ops::RangeInclusive<usize>) -> Vec<String> {
    range.flat_map(|at| [format!("q{at}"), format!("re q{at}")]).collect()
}

/// A chain of so many turns; the ids in order.
fn chain_of(objects: &mut Objects, length: usize) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    for at in 1..=length {
        ids.push(objects.own(ids.last().cloned().as_deref(), &format!("q{at}")));
    }
    ids
}

#[test]
fn a_chain_of_120_turns_is_one_question_to_one_object_and_in_order() {
    let mut objects = Objects::new();
    let ids = chain_of(&mut objects, 120);
    assert_eq!(objects.said(&ids[119]), turns(1..=120));
    assert_eq!((objects.hops, objects.stores.len()), (1, 1));
    assert_eq!(objects.said(&ids[59]), turns(1..=60));
    assert!(objects.history(&ids[119]).unwrap().1.whole);
}

#[test]
fn a_response_may_be_continued_several_times() {
    let mut objects = Objects::new();
    let ids = chain_of(&mut objects, 5);
    let left = objects.own(Some(&ids[2]), "left");
    let right = objects.own(Some(&ids[2]), "right");
    let left = objects.own(Some(&left), "left again");
    let expected =
        |texts: &[&str]| [turns(1..=3), texts.iter().map(|text| (*text).to_owned()).collect()].concat();
    assert_eq!(objects.said(&left), expected(&["left", "re left", "left again", "re left again"]));
    assert_eq!(objects.said(&right), expected(&["right", "re right"]));
    assert_eq!(objects.said(&ids[4]), turns(1..=5));
}

#[test]
fn a_turn_deleted_from_the_middle_is_gone_and_the_chain_goes_on() {
    let mut objects = Objects::new();
    let ids = chain_of(&mut objects, 5);
    assert!(objects.delete(&ids[2]));
    assert_eq!(objects.read(&ids[2]), None);
    assert_eq!(objects.history(&ids[2]).map(|(_, history)| history.items.len()), None);
    assert_eq!(objects.list(&ids[2], 20, true, None), None);
    assert!(!objects.delete(&ids[2]), "the second time there is nothing to delete");
    assert_eq!(objects.said(&ids[4]), [turns(1..=2), turns(4..=5)].concat());
    assert!(objects.history(&ids[4]).unwrap().1.whole);
    // A request that was on its way when its previous response was deleted.
    let chain = ChainId::home("p", &ids[2]);
    let id = objects.new_id(&chain);
    let keep = objects.turn(&id, Some(&ids[2]), "late");
    assert_eq!(objects.keep_in(&chain, &keep), Kept::Kept);
    assert_eq!(objects.said(&id), [turns(1..=2), vec!["late".into(), "re late".into()]].concat());
    // No text of the deleted turn is left anywhere.
    let store = objects.store(&chain);
    let rows = store.database().query("SELECT count(*) FROM bodies WHERE body LIKE '%q3%'", &[]).unwrap();
    assert_eq!(rows[0].integer(0), 0);
}

#[test]
fn a_late_message_does_not_bring_a_deleted_response_back() {
    let mut objects = Objects::new();
    let first = objects.own(None, "q1");
    let foreign = objects.foreign("gen-1", Some(&first), "q2");
    let chain = ChainId::home("p", &first);
    let own = objects.new_id(&chain);
    let own = objects.turn(&own, Some(&first), "q3");
    assert_eq!(objects.keep_in(&chain, &own), Kept::Kept);
    for keep in [&foreign, &own] {
        assert!(objects.delete(&keep.id));
        assert_eq!(objects.keep_in(&chain, keep), Kept::Deleted);
        assert_eq!(objects.read(&keep.id), None);
        let attempt = Keep { created_at: keep.created_at + 1, ..keep.clone() };
        assert_eq!(objects.keep_in(&chain, &attempt), Kept::Deleted);
    }
}

#[test]
fn the_same_deletion_twice_is_one_deletion() {
    let mut objects = Objects::new();
    let id = objects.own(None, "q1");
    assert!(objects.delete_at(&id, START + DAY));
    assert!(objects.delete_at(&id, START + DAY));
    assert!(!objects.delete_at(&id, START + DAY + 1));
}

#[test]
fn the_same_response_twice_is_one_response() {
    let mut objects = Objects::new();
    let first = objects.own(None, "q1");
    let chain = ChainId::home("p", &first);
    let id = objects.new_id(&chain);
    let own = objects.turn(&id, Some(&first), "q2");
    let foreign = objects.turn("gen-1", Some(&first), "q2");
    for keep in [own, foreign] {
        for _ in 0..3 {
            assert_eq!(objects.keep_in(&chain, &keep), Kept::Kept);
        }
        assert_eq!(objects.said(&keep.id), turns(1..=2));
    }
    assert_eq!(objects.store(&chain).all().unwrap().len(), 3);
}

#[test]
fn an_id_of_our_own_means_one_response_for_ever() {
    let mut objects = Objects::new();
    let chain = objects.new_chain();
    let id = objects.new_id(&chain);
    let first = objects.turn(&id, None, "q1");
    let second = objects.turn(&id, None, "q2");
    assert_eq!(objects.keep_in(&chain, &first), Kept::Kept);
    assert_eq!(objects.keep_in(&chain, &second), Kept::Kept);
    assert_eq!(objects.said(&id), turns(1..=1));
    assert!(objects.delete(&id));
    let third = objects.turn(&id, None, "q3");
    assert_eq!(objects.keep_in(&chain, &third), Kept::Deleted);
    assert_eq!(objects.read(&id), None);
}

#[test]
fn ids_of_providers_are_found_in_two_steps_at_most() {
    let mut objects = Objects::new();
    // One of them looks like ours.
    let ours = format!("resp_{}", "67cb71b3".repeat(6));
    objects.foreign("resp_68af", None, "q1");
    objects.foreign("gen-1/é", Some("resp_68af"), "q2");
    objects.foreign(&ours, Some("gen-1/é"), "q3");
    let last = objects.own(Some(&ours), "q4");
    for (id, length, hops) in [("resp_68af", 1, 1), ("gen-1/é", 2, 2), (ours.as_str(), 3, 2), (&last, 4, 1)]
    {
        assert_eq!(objects.said(id), turns(1..=length), "{id}");
        assert_eq!(objects.hops, hops, "{id}");
        assert!(objects.read(id).unwrap().contains(&format!("re q{length}")), "{id}");
    }
    assert!(objects.delete("gen-1/é"));
    assert_eq!(objects.said(&last), [turns(1..=1), turns(3..=4)].concat());
}

#[test]
fn an_id_that_a_provider_gives_again_means_its_newest_response() {
    let mut objects = Objects::new();
    objects.foreign("resp_1", None, "q1");
    let old = objects.own(Some("resp_1"), "q2");
    // As the beginning of another chain, and then inside one.
    objects.foreign("resp_1", None, "new");
    assert_eq!(objects.said("resp_1"), ["new", "re new"]);
    assert_eq!(objects.said(&old), turns(1..=2));
    let other = objects.own(None, "other");
    let newest = objects.foreign("resp_1", Some(&other), "newest");
    assert_eq!(objects.said("resp_1"), ["other", "re other", "newest", "re newest"]);
    assert!(objects.delete("resp_1"));
    assert_eq!(objects.read("resp_1"), None);
    assert_eq!(objects.said(&old), ["q2", "re q2"]);
    let chain = ChainId::home("p", &other);
    assert_eq!(objects.keep_in(&chain, &newest), Kept::Deleted);
    // Given once more after the deletion, it is another response.
    objects.foreign("resp_1", None, "again");
    assert_eq!(objects.said("resp_1"), ["again", "re again"]);
}

#[test]
fn a_conversation_is_its_responses_in_order_of_arrival() {
    let mut objects = Objects::new();
    assert_eq!(objects.conversation("conv_1").1, Vec::<String>::new());
    let first = objects.converse("conv_1", None, "q1");
    let second = objects.converse("conv_1", Some("gen-2"), "q2");
    let third = objects.converse("conv_1", None, "q3");
    assert_eq!(objects.conversation("conv_1").1, turns(1..=3));
    assert_eq!(objects.conversation("conv_2").1, Vec::<String>::new());
    assert_eq!(objects.said(&first), turns(1..=1));
    assert_eq!(objects.said(&second), turns(1..=2));
    assert_eq!(objects.hops, 2);
    // What goes on from a response of the conversation is not part of it.
    let aside = objects.own(Some(&second), "aside");
    assert_eq!(objects.said(&aside), [turns(1..=2), vec!["aside".into(), "re aside".into()]].concat());
    assert_eq!(objects.conversation("conv_1").1, turns(1..=3));
    assert!(objects.delete(&third));
    objects.converse("conv_1", None, "q4");
    assert_eq!(objects.conversation("conv_1").1, [turns(1..=2), turns(4..=4)].concat());
}

#[test]
fn projects_do_not_see_each_other() {
    let principal = |project: &str| Principal::new(project, "");
    let chain = ChainId::new([7; 16]);
    assert_ne!(principal("p").response_object_name(&chain), principal("q").response_object_name(&chain));
    assert_ne!(
        principal("p").response_object_name(&chain),
        principal("p").response_object_name(&ChainId::new([8; 16]))
    );
    assert!(
        !principal("p").response_object_name(&chain).contains(chain.as_str()),
        "names are in the platform's logs"
    );

    // Even an object that is reached by mistake answers only to its own project.
    let mut objects = Objects::new();
    let id = objects.own(None, "q1");
    objects.project = "q";
    assert_eq!(objects.read(&id), None);
    assert!(objects.history(&id).is_none());
    assert!(!objects.delete(&id));
    let chain = ChainId::home("q", &id);
    let keep = objects.turn("gen-1", None, "q2");
    let asked = objects.asked(&chain, keep);
    assert_eq!(chain::keep(objects.store(&chain), &asked).unwrap(), Kept::NotFound);
    objects.project = "p";
    assert_eq!(objects.said(&id), turns(1..=1));
}

#[test]
fn a_response_expires_when_nothing_younger_goes_on_from_it() {
    let mut objects = Objects::new();
    let ids = chain_of(&mut objects, 3);
    objects.foreign("gen-1", Some(&ids[0]), "a branch");
    let chain = ChainId::home("p", &ids[0]);
    objects.now += 10 * DAY;
    let young = objects.own(Some(&ids[1]), "young");
    let old = START + TTL + DAY;
    objects.expire(old);
    assert_eq!(objects.said(&young), [turns(1..=2), vec!["young".into(), "re young".into()]].concat());
    assert_eq!((objects.read(&ids[2]), objects.read("gen-1")), (None, None));
    let due = chain::next_alarm(objects.store(&chain), old, TTL).unwrap().unwrap();
    assert!((objects.now + TTL..objects.now + TTL + 3_600_000).contains(&due), "{due}");
    let missed = chain::next_alarm(objects.store(&chain), due + DAY, TTL).unwrap();
    assert!(missed.is_some_and(|next| next > due + DAY && next <= due + DAY + 3_600_000));
    objects.expire(due);
    assert_eq!(objects.stores.len(), 0, "nothing is left");
    assert_eq!(chain::next_alarm(objects.store(&chain), due, TTL).unwrap(), None);
}

#[test]
fn a_conversation_in_use_keeps_all_of_its_responses() {
    let mut objects = Objects::new();
    objects.converse("conv_1", None, "q1");
    objects.now += 29 * DAY;
    objects.converse("conv_1", None, "q2");
    objects.expire(START + 40 * DAY);
    assert_eq!(objects.conversation("conv_1").1, turns(1..=2));
    objects.expire(START + 60 * DAY);
    assert_eq!(objects.stores.len(), 0);
}

#[test]
fn deleting_everything_leaves_no_row_after_a_day() {
    let mut objects = Objects::new();
    let ids = chain_of(&mut objects, 3);
    for id in &ids {
        assert!(objects.delete(id));
    }
    let chain = ChainId::home("p", &ids[0]);
    let now = objects.now;
    let store = objects.store(&chain);
    let rows = store.database().query("SELECT count(*) FROM bodies", &[]).unwrap();
    assert_eq!(rows[0].integer(0), 0, "the texts are gone at once");
    let due = chain::next_alarm(store, now, TTL).unwrap().unwrap();
    assert!(due <= now + DELETED_TTL_MS + 3_600_000);
    objects.expire(now + DELETED_TTL_MS);
    assert_eq!(objects.stores.len(), 0);
}

#[test]
fn items_come_back_byte_for_byte_whatever_their_size() {
    let mut objects = Objects::new();
    let chain = objects.new_chain();
    let id = objects.new_id(&chain);
    let call =
        r#"{"type":"function_call","call_id":"c","name":"f","arguments":"{\"n\": 1}","z":0.10,"a":1.0E400}"#;
    let result = r#"{"type":"function_call_output","call_id":"c","output":"\u00e9\n","big":123456789012345678901234567890}"#;
    let long = format!(r#"{{"role":"user","content":"{}"}}"#, "é👋 ".repeat(750_000));
    assert!(long.len() > 5_000_000);
    let response = format!(r#"{{ "output" : [ {call} , {long} ], "b": 1.50, "a": null, "id": "{id}" }}"#);
    let keep = Keep {
        input: vec![raw(result), raw(&long)],
        response: raw(&response),
        ..objects.turn(&id, None, "")
    };
    // As it crosses the border to the object.
    let asked: Asked<Keep> =
        serde_json::from_str(&serde_json::to_string(&objects.asked(&chain, keep)).unwrap()).unwrap();
    assert_eq!(objects.keep_in(&chain, &asked.ask), Kept::Kept);
    assert_eq!(objects.read(&id).as_deref(), Some(response.as_str()));
    let found = Found::Here(objects.history(&id).unwrap().1);
    let found: Found<History> = serde_json::from_str(&serde_json::to_string(&found).unwrap()).unwrap();
    let Found::Here(history) = found else { panic!("it is here") };
    let items: Vec<&str> = history.items.iter().map(|item| item.get()).collect();
    assert!(items == [result, long.as_str(), call, long.as_str()]);
    let longest = objects
        .store(&chain)
        .database()
        .query("SELECT max(length(CAST(body AS BLOB))), count(*) FROM bodies", &[])
        .unwrap();
    assert!(longest[0].integer(0) <= 1_000_000 && longest[0].integer(1) > 10);
}

#[test]
fn a_chain_whose_beginning_was_never_kept_says_so() {
    let mut objects = Objects::new();
    let chain = objects.new_chain();
    let id = objects.new_id(&chain);
    let keep = objects.turn(&id, Some("resp_at_the_provider"), "q1");
    assert_eq!(objects.keep_in(&chain, &keep), Kept::Kept);
    let id = objects.own(Some(&id), "q2");
    assert_eq!(objects.said(&id), turns(1..=2));
    assert!(!objects.history(&id).unwrap().1.whole);
}

#[test]
fn the_list_of_input_items_holds_what_was_said_before_and_not_the_answer() {
    let mut objects = Objects::new();
    let ids = chain_of(&mut objects, 3);
    let texts = |list: &Value| -> Vec<String> {
        let item = |item: &Value| item["content"][0]["text"].as_str().unwrap().to_owned();
        list["data"].as_array().unwrap().iter().map(item).collect()
    };
    let all = objects.list(&ids[2], 20, false, None).unwrap();
    let expected = ["q1", "re q1", "q2", "re q2", "q3"];
    assert_eq!(texts(&all), expected);
    assert_eq!(all["has_more"], false);
    assert_eq!(all["data"][0]["id"], all["first_id"]);
    assert_eq!(all["data"][4]["id"], all["last_id"]);
    assert_eq!(all["data"][0]["type"], "message");
    assert_eq!(all, objects.list(&ids[2], 20, false, None).unwrap(), "ids stay the same");

    let mut seen = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = objects.list(&ids[2], 2, true, after.as_deref()).unwrap();
        seen.extend(texts(&page));
        after = page["last_id"].as_str().map(str::to_owned);
        if page["has_more"] == false {
            break;
        }
    }
    assert_eq!(seen, expected.into_iter().rev().collect::<Vec<_>>());
    assert_eq!(objects.list(&ids[2], 2, true, Some("msg_none")), Some(json!("unknown after")));
    assert_eq!(
        objects.list(&ids[2], 2, false, all["last_id"].as_str()),
        Some(json!({"object": "list", "data": [], "first_id": null, "last_id": null, "has_more": false}))
    );
}

#[test]
fn looking_for_a_chain_that_was_never_used_makes_no_table() {
    let sqlite = Sqlite::new();
    assert!(!exists(&sqlite).unwrap());
    let tables = sqlite.query("SELECT count(*) FROM sqlite_master", &[]).unwrap();
    assert_eq!(tables[0].integer(0), 0);
    assert!(Store::open_existing(sqlite).unwrap().is_none());
}

#[test]
fn what_a_provider_sealed_travels_under_its_name() {
    let mut objects = Objects::new();
    let chain = ChainId::home(objects.project, "resp_1");
    let reasoning = r#"{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAA","n":1.50}"#;
    let keep = Keep {
        response: raw(&format!(r#"{{"id":"resp_1","output":[{reasoning}]}}"#)),
        maker: Some("openai".into()),
        ..objects.turn("resp_1", None, "hi")
    };
    assert_eq!(objects.keep_in(&chain, &keep), Kept::Kept);
    let history = objects.history("resp_1").unwrap().1;
    assert_eq!(history.maker.as_deref(), Some("openai"));
    let last = history.items.last().unwrap().get();
    assert_eq!(last, reasoning.replace("gAAA", "mgw1:openai:responses:gAAA"));
    let translated = Keep { maker: None, ..objects.turn("resp_2", Some("resp_1"), "and?") };
    assert_eq!(objects.keep_in(&chain, &translated), Kept::Kept);
    assert_eq!(objects.history("resp_2").unwrap().1.maker, None);
}
