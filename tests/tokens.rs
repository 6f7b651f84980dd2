//! Estimated tokens beside counted ones.
//!
//! The recordings are large and not part of this repository. `MEMORY_GATEWAY_FIXTURES` names their folder; without them
//! the test that needs them says so and passes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use memory_gateway::body::Body;
use memory_gateway::dialect::{Content, Dialect};
use memory_gateway::observe::Observer;
use memory_gateway::request::{Entry, Format, Request, ToolKind};
use memory_gateway::tokens::{self, Calibration};
use memory_gateway::turn::{Message, Origin, PartKind};
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Exchange {
    id: String,
    provider: String,
    endpoint: String,
    model: Option<String>,
    status: u16,
    kind: String,
    provenance: String,
    request: Option<Box<RawValue>>,
    #[serde(default)]
    response_text: String,
}

/// A recorded prompt.
struct Prompt {
    id: String,
    provider: String,
    model: String,
    request: Request,
    estimated: u64,
    reported: u64,
}

#[test]
fn estimates_of_recorded_prompts_are_near_what_providers_counted() {
    let folder = std::env::var("MEMORY_GATEWAY_FIXTURES")
        .map_or_else(|_| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures"), PathBuf::from);
    let Ok(packed) = std::fs::File::open(folder.join("exchanges.jsonl.xz")) else {
        println!("No recordings in {}: nothing measured.", folder.display());
        return;
    };
    let mut text = Vec::new();
    lzma_rs::xz_decompress(&mut std::io::BufReader::new(packed), &mut text).unwrap();
    let prompts: Vec<Prompt> = text
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .filter_map(|line| prompt(serde_json::from_slice(line).unwrap()))
        .collect();

    let mut calibration = Calibration::default();
    let mut groups: BTreeMap<String, Vec<[f64; 3]>> = BTreeMap::new();
    for prompt in &prompts {
        let key = format!("{}/{}", prompt.provider, prompt.model);
        let corrected = calibration.corrected(&key, prompt.estimated);
        if !holds_media(&prompt.request) {
            calibration.learn(&key, prompt.estimated, prompt.reported);
        }
        let numbers = [prompt.reported, prompt.estimated, corrected].map(|tokens| tokens as f64);
        for group in groups_of(prompt) {
            groups.entry(group).or_default().push(numbers);
        }
        if std::env::var("SHOW_FAR").is_ok() && (numbers[1] / numbers[0]).ln().abs() > 0.4 {
            println!(
                "{} {key}: {} for {} ({:?})",
                prompt.id,
                prompt.estimated,
                prompt.reported,
                groups_of(prompt)
            );
        }
    }
    println!("{:<34} {:>7} {:>9}   {:>17}   {:>17}", "", "prompts", "tokens", "estimated", "corrected");
    println!(
        "{:<34} {:>7} {:>9}   {:>8} {:>8}   {:>8} {:>8}",
        "", "", "", "median", "total", "median", "total"
    );
    for (group, all) in &groups {
        let [before, after] = [errors(all, 1), errors(all, 2)];
        let reported: f64 = all.iter().map(|numbers| numbers[0]).sum();
        println!(
            "{group:<34} {:>7} {reported:>9}   {:>7.1}% {:>+7.1}%   {:>7.1}% {:>+7.1}%",
            all.len(),
            before.0,
            before.1,
            after.0,
            after.1
        );
    }
}

/// The median of the absolute errors and the error of the total, in per cent.
fn errors(all: &[[f64; 3]], which: usize) -> (f64, f64) {
    let mut each: Vec<f64> = all.iter().map(|numbers| (numbers[which] / numbers[0] - 1.0).abs()).collect();
    each.sort_by(f64::total_cmp);
    let sum = |at: usize| all.iter().map(|numbers| numbers[at]).sum::<f64>();
    (each[each.len() / 2] * 100.0, (sum(which) / sum(0) - 1.0) * 100.0)
}

/// Reads a recording, if its prompt is all that the provider counted.
fn prompt(exchange: Exchange) -> Option<Prompt> {
    let dialect = match exchange.endpoint.as_str() {
        "chat_completions" => Dialect::Chat,
        "responses" => Dialect::Responses,
        "messages" => Dialect::Messages,
        "generate_content" => Dialect::Google,
        _ => return None,
    };
    // Others were shortened by hand, and their counts left as they were.
    if exchange.status != 200 || !exchange.provenance.starts_with("recorded") {
        return None;
    }
    let origin = Origin { dialect, provider: exchange.provider.clone() };
    let answer = if exchange.kind == "sse" {
        let mut observer = Observer::new(origin.clone());
        observer.push(exchange.response_text.as_bytes());
        Some(observer.finish(true))
    } else {
        dialect.read_answer(exchange.response_text.as_bytes(), &origin)
    };
    let reported = answer?.usage?.input;
    let raw = exchange.request?;
    let body = Body::parse(raw.get().as_bytes()).unwrap();
    let conversation = dialect.read_conversation(&body, &origin).unwrap();
    let entries = conversation
        .units
        .into_iter()
        .map(|unit| match unit.content {
            Content::Instruction(parts) => Entry::Instruction(parts),
            Content::Message(message) => Entry::Message { message, place: None },
        })
        .collect();
    let mut request = dialect.read_request(&body, entries).ok()?;
    let model = exchange.model.unwrap_or_default();
    let model = model.split(':').next().unwrap_or_default().to_owned();
    request.model.clone_from(&model);
    let added = dialect.continues_upstream(&body) || adds_to_prompts(&request);
    (reported > 0 && !added).then(|| Prompt {
        id: exchange.id,
        provider: exchange.provider,
        estimated: tokens::of_request(&request, dialect),
        reported,
        request,
        model,
    })
}

/// True where the provider puts in what is not in the request: results of its own tools, stored prompts, searches.
fn adds_to_prompts(request: &Request) -> bool {
    let fields = [
        "mcp_servers",
        "container",
        "prompt",
        "web_search_options",
        "plugins",
        "preset",
        "transforms",
        "cachedContent",
        "output_config.task_budget",
        "reasoning.mode",
    ];
    request.tools.iter().any(|tool| matches!(tool.kind, ToolKind::Server(_)))
        || fields.iter().any(|field| request.rest.contains_key(*field))
        || ["search", "compound"].iter().any(|word| request.model.contains(word))
        || messages(request)
            .any(|message| message.parts.iter().any(|part| matches!(part.kind, PartKind::Other(_))))
}

fn messages(request: &Request) -> impl Iterator<Item = &Message> {
    request.entries.iter().filter_map(|entry| match entry {
        Entry::Message { message, .. } => Some(message),
        Entry::Instruction(_) => None,
    })
}

fn holds_media(request: &Request) -> bool {
    messages(request).any(tokens::holds_media)
}

fn groups_of(prompt: &Prompt) -> Vec<String> {
    let request = &prompt.request;
    let calls = messages(request).any(|message| message.tool_calls().next().is_some());
    let content = match () {
        () if holds_media(request) => "media",
        () if calls => "tool calls",
        () if !request.tools.is_empty() => "tools",
        () if matches!(request.format, Some(Format::JsonSchema { .. })) => "schema",
        () => "text",
    };
    let family = [
        "claude", "gemini", "gpt-5", "gpt-oss", "gpt", "o1", "o3", "o4", "llama", "mistral", "qwen",
        "deepseek",
    ]
    .into_iter()
    .find(|word| prompt.model.to_lowercase().contains(word))
    .unwrap_or("other");
    let length = match prompt.reported {
        ..50 => "1 under 50",
        50..200 => "2 under 200",
        200..1000 => "3 under 1000",
        _ => "4 longer",
    };
    let mut groups = vec![
        "all".to_owned(),
        format!("content: {content}"),
        format!("length: {length}"),
        format!("language: {}", language(request)),
        format!("model: {family}"),
        format!("provider: {}", prompt.provider),
    ];
    groups.push(if content == "media" { "all, media" } else { "all, no media" }.to_owned());
    groups
}

/// The script that most letters outside ASCII are of; without such letters, English.
fn language(request: &Request) -> &'static str {
    let text: String = request
        .entries
        .iter()
        .flat_map(|entry| match entry {
            Entry::Instruction(parts) => parts,
            Entry::Message { message, .. } => &message.parts,
        })
        .filter_map(|part| match &part.kind {
            PartKind::Text(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    let letters = text.chars().filter(|char| char.is_alphabetic()).count().max(1);
    let of = |range: std::ops::RangeInclusive<char>| text.chars().filter(|char| range.contains(char)).count();
    let scripts = [
        ("Cyrillic", of('\u{400}'..='\u{52f}')),
        ("CJK", of('\u{3040}'..='\u{9fff}') + of('\u{ac00}'..='\u{d7af}')),
        ("Arabic, Hebrew", of('\u{590}'..='\u{77f}')),
        ("other Latin", of('\u{c0}'..='\u{24f}') * 10),
    ];
    scripts.into_iter().find(|(_, count)| count * 5 > letters).map_or("English, code", |(name, _)| name)
}
