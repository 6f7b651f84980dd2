//! Dialogues with questions and the turns that answer them, and their way through a thread.
//!
//! A file of dialogues is JSON:
//! `[{"name": "…", "turns": [{"id": "1", "role": "user", "name": "Ann", "at": 1700000000000, "text": "…"}],
//!    "questions": [{"text": "…", "evidence": ["1"]}]}]`.
//! `role` is `user` or `assistant`, `name` may be left out, `at` is Unix milliseconds and never falls, `questions` may be left
//! out. LoCoMo's form (`conversation`, `qa`) is read as well: its first speaker is the user, and a shared photo is what its
//! caption says.
#![allow(dead_code, clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use chrono::NaiveDateTime;
use memory_gateway::turn::{Message, Part, Role};
use serde::Deserialize;
use serde_json::Value;

/// A dialogue.
#[derive(Debug, Deserialize)]
pub struct Dialogue {
    pub name: String,
    pub turns: Vec<Said>,
    #[serde(default)]
    pub questions: Vec<Asked>,
}

/// What somebody said.
#[derive(Clone, Debug, Deserialize)]
pub struct Said {
    pub id: String,
    pub role: Role,
    #[serde(default)]
    pub name: Option<String>,
    pub at: u64,
    pub text: String,
}

impl Said {
    pub fn message(&self) -> Message {
        let mut message = Message::new(self.role, vec![Part::text(&self.text)]);
        message.name = self.name.clone();
        message
    }
}

/// A question, and the ids of the turns that answer it.
#[derive(Clone, Debug, Deserialize)]
pub struct Asked {
    pub text: String,
    pub evidence: BTreeSet<String>,
}

/// What the user says and what is answered: either may be missing.
#[derive(Debug, Default)]
pub struct Exchange {
    pub said: Vec<Said>,
    pub answer: Option<Said>,
}

impl Dialogue {
    /// The dialogue as requests and answers.
    pub fn exchanges(&self) -> Vec<Exchange> {
        let mut exchanges = vec![Exchange::default()];
        for said in &self.turns {
            if exchanges.last().unwrap().answer.is_some() {
                exchanges.push(Exchange::default());
            }
            let last = exchanges.last_mut().unwrap();
            match said.role {
                Role::Assistant => last.answer = Some(said.clone()),
                Role::User | Role::Tool => last.said.push(said.clone()),
            }
        }
        exchanges
    }

    /// The place of each turn in a thread that the dialogue's exchanges went through one by one.
    pub fn places(&self) -> BTreeMap<String, i64> {
        let mut places = BTreeMap::new();
        for (turn, exchange) in (1..).zip(self.exchanges()) {
            let first = memory_gateway::memory::store::first_seq(turn);
            places.extend(exchange.said.into_iter().chain(exchange.answer).map(|said| said.id).zip(first..));
        }
        places
    }
}

/// The recorded dialogues beside the project; `None`, and a line that says so, where they are not at hand.
pub fn recorded() -> Option<Vec<Dialogue>> {
    let folder = std::env::var("MEMORY_GATEWAY_FIXTURES")
        .map_or_else(|_| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures"), PathBuf::from);
    let file = folder.join("dialogues/locomo-conv-26-30.json");
    if !file.is_file() {
        println!("No dialogues in {}: nothing measured.", folder.display());
        return None;
    }
    Some(read(&file))
}

/// The dialogues of a file.
pub fn read(path: &Path) -> Vec<Dialogue> {
    let text = std::fs::read_to_string(path).unwrap();
    let all: Vec<Value> = serde_json::from_str(&text).unwrap();
    all.into_iter()
        .map(|value| match value.get("conversation") {
            Some(_) => locomo(&value),
            None => serde_json::from_value(value).unwrap(),
        })
        .collect()
}

fn locomo(value: &Value) -> Dialogue {
    let conversation = &value["conversation"];
    let mut turns = Vec::new();
    for session in 1.. {
        let Some(said) = conversation[format!("session_{session}")].as_array() else { break };
        let at = conversation[format!("session_{session}_date_time")].as_str().unwrap();
        let at = NaiveDateTime::parse_from_str(at, "%I:%M %p on %d %B, %Y").unwrap().and_utc();
        for (minute, said) in (0..).zip(said) {
            let text = |name: &str| said[name].as_str().map(str::to_owned);
            let photo = text("blip_caption").map(|caption| format!(" [photo: {caption}]"));
            turns.push(Said {
                id: text("dia_id").unwrap(),
                role: if said["speaker"] == conversation["speaker_a"] { Role::User } else { Role::Assistant },
                name: text("speaker"),
                at: u64::try_from(at.timestamp_millis()).unwrap() + 60_000 * minute,
                text: text("text").unwrap() + &photo.unwrap_or_default(),
            });
        }
    }
    let known: BTreeSet<&str> = turns.iter().map(|said| said.id.as_str()).collect();
    let questions = value["qa"].as_array().unwrap().iter().map(|asked| {
        let evidence = asked["evidence"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let ids = evidence.flat_map(|ids| ids.split([';', ',', ' '])).filter(|id| known.contains(id));
        Asked {
            text: asked["question"].as_str().unwrap().to_owned(),
            evidence: ids.map(str::to_owned).collect(),
        }
    });
    let questions = questions.filter(|asked| !asked.evidence.is_empty()).collect();
    Dialogue { name: value["sample_id"].as_str().unwrap().to_owned(), turns, questions }
}
