//! Arbitrary and mutated input, and generated conversations: nothing panics, nothing depends on how bytes were cut, and
//! what was said survives every translation.
//!
//! Each of the three tests plays for a second, and for twenty where `CI` is set: a minute of work. `FUZZ_SECONDS` gives
//! each another time, `FUZZ_SEED` names another beginning. A failure tells the seed of its round: with it as `FUZZ_SEED`
//! the round is the first one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

mod conversations;
mod documents;
#[path = "../support/steps.rs"]
mod steps;
mod streams;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use memory_gateway::body::Body;
use memory_gateway::dialect::Dialect;
use memory_gateway::error::Error;
use memory_gateway::frame::Frame;
use memory_gateway::memory::context::Item;
use memory_gateway::prompt;
use memory_gateway::request::Request;
use memory_gateway::turn::Origin;
use serde_json::{Map, Value, json};

/// Who is asked, and in which dialect.
const UPSTREAMS: &[(Dialect, &str, &str)] = &[
    (Dialect::Chat, "openai", "gpt-5.4"),
    (Dialect::Messages, "anthropic", "claude-sonnet-4-5"),
    (Dialect::Google, "google", "gemini-2.5-flash"),
    (Dialect::Responses, "openai", "gpt-5.4"),
];
/// Who asks.
const CLIENTS: &[Dialect] = &[Dialect::Chat, Dialect::Messages, Dialect::Responses];

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next()).unwrap() % end.max(1)
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// Plays rounds until the time is over; a failing one is told by its seed.
fn rounds(play: impl Fn(&mut Random)) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("FUZZ_SEED").unwrap_or(0x5eed);
    let usual = if std::env::var_os("CI").is_some() { 20 } else { 1 };
    let until = Instant::now() + Duration::from_secs(number("FUZZ_SECONDS").unwrap_or(usual));
    let mut played = 0;
    while Instant::now() < until {
        let seed = first + played;
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        if let Err(cause) = catch_unwind(AssertUnwindSafe(|| play(&mut random))) {
            println!("FUZZ_SEED={seed}");
            std::panic::resume_unwind(cause);
        }
        played += 1;
    }
    println!("{played} rounds");
}

fn origin(dialect: Dialect, provider: &str) -> Origin {
    Origin { dialect, provider: provider.to_owned() }
}

fn frame(origin: Origin) -> Frame {
    let (id, model) = ("5eed".to_owned(), "m".to_owned());
    let (created_at, input_estimate, stream_usage) = (1_700_000_000_000, 7, true);
    Frame {
        id,
        model,
        created_at,
        input_estimate,
        stream_usage,
        echo: Map::new(),
        custom_tools: Vec::new(),
        origin,
    }
}

/// Changes a document at some places.
fn mutate(value: &mut Value, random: &mut Random) {
    const WORDS: [&str; 20] = [
        "",
        "text",
        "tool_use",
        "tool_result",
        "image",
        "thinking",
        "function",
        "assistant",
        "user",
        "system",
        "tool",
        "é𝄞\u{0}",
        "{",
        "{}",
        "[1",
        "https://a/b.png",
        "data:image/png;base64,AA==",
        "data:",
        "mgw1:openai:chat:x",
        "-1",
    ];
    match value {
        Value::Object(fields) if !fields.is_empty() && !random.one_in(6) => {
            let name = fields.keys().nth(random.below(fields.len())).unwrap().clone();
            match random.below(8) {
                0 => drop(fields.shift_remove(&name)),
                1 => {
                    let moved = fields.shift_remove(&name).unwrap();
                    fields.insert((*random.pick(&WORDS)).to_owned(), moved);
                }
                _ => mutate(&mut fields[&name], random),
            }
        }
        Value::Array(items) if !items.is_empty() && !random.one_in(6) => {
            let at = random.below(items.len());
            match random.below(8) {
                0 => drop(items.remove(at)),
                1 => items.push(items[at].clone()),
                2 => items.reverse(),
                _ => mutate(&mut items[at], random),
            }
        }
        other => {
            *other = match random.below(9) {
                0 => Value::Null,
                1 => random.one_in(2).into(),
                2 => serde_json::from_str(
                    random.pick::<&str>(&["0", "-1", "1.5", "1e400", "18446744073709551616", "3"][..]),
                )
                .unwrap(),
                3 => json!([]),
                4 => json!({}),
                5 => json!([other.clone(), other.clone()]),
                6 => json!({ "type": "text", "text": other.clone() }),
                _ => (*random.pick(&WORDS)).into(),
            };
        }
    }
}

/// Reads a request as the gateway does.
fn read(origin: &Origin, bytes: &[u8]) -> Result<Request, Error> {
    let body = Body::parse(bytes)?;
    origin.dialect.check(&body)?;
    let conversation = origin.dialect.read_conversation(&body, origin)?;
    let items = (0..prompt::count_messages(&conversation)).map(Item::Keep).collect();
    origin.dialect.read_request(&body, prompt::entries(origin.dialect, conversation, items))
}
