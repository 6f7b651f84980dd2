//! Estimated tokens beside counted ones: of texts, as a tokenizer cuts them, and of prompts, as providers counted them.
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
use memory_gateway::turn::{Message, Origin, Part, PartKind, Source};
use serde::Deserialize;
use serde_json::value::RawValue;

/// A kind of text, how many tokens of the vocabulary `o200k_base` it is, and the text.
#[rustfmt::skip]
const TEXTS: &[(&str, u64, &str)] = &[
    ("English", 27, "We moved the meeting to Thursday afternoon because Priya is still travelling, so please send her the notes and book the small room instead."),
    ("German", 29, "Ich habe gestern mit der Hausverwaltung telefoniert, und sie hat mir versprochen, dass die Heizung bis Ende der Woche repariert wird."),
    ("Spanish", 25, "Mi hermana vive en Sevilla desde hace tres años y trabaja en un hospital, aunque antes estudiaba para ser profesora de música."),
    ("French", 27, "Nous cherchons un appartement plus grand près de la gare, car notre fils commence l’école en septembre et le bureau est trop loin."),
    ("Portuguese", 31, "Ontem fui ao mercado com a minha avó e comprámos peixe fresco, mas esquecemo-nos de trazer o azeite para o jantar de domingo."),
    ("Polish", 40, "Wczoraj spotkałem się z lekarzem, który powiedział, że powinienem więcej chodzić i unikać słodyczy przynajmniej do końca miesiąca."),
    ("Turkish", 33, "Kardeşim geçen hafta İstanbul'a taşındı ve yeni işine başladı, ama hâlâ oturacak bir ev arıyor çünkü kiralar çok yüksek."),
    ("Indonesian", 28, "Kemarin saya pergi ke pasar dengan teman saya untuk membeli buah dan sayuran, lalu kami pulang dan memasak makan malam bersama keluarga."),
    ("Swahili", 41, "Jana nilikwenda sokoni pamoja na rafiki yangu kununua matunda na mboga, kisha tulirudi nyumbani na kupika chakula cha jioni kwa ajili ya familia."),
    ("Hungarian", 47, "Tegnap a barátommal elmentünk a piacra, vettünk gyümölcsöt és zöldséget, aztán hazamentünk, és vacsorát főztünk a családnak."),
    ("Vietnamese", 31, "Hôm qua tôi đi chợ với bạn, mua một ít trái cây và rau, rồi về nhà nấu bữa tối cho cả gia đình."),
    ("Russian", 38, "Вчера мы с братом ездили на дачу, чинили крышу и сажали помидоры, а вечером долго сидели у костра и разговаривали."),
    ("Ukrainian", 37, "Минулого тижня я нарешті закінчила курс програмування і тепер шукаю першу роботу в невеликій компанії у Львові."),
    ("Greek", 33, "Χθες πήγαμε με τα παιδιά στη θάλασσα, αλλά το νερό ήταν ακόμα κρύο και μείναμε μόνο μία ώρα."),
    ("Arabic", 34, "ذهبت أمس مع صديقي إلى السوق واشترينا بعض الفواكه والخضروات، ثم عدنا إلى البيت لنحضر العشاء للعائلة."),
    ("Hebrew", 36, "אתמול נסעתי עם אחותי לחיפה לבקר את ההורים, ובדרך חזרה עצרנו לאכול במסעדה קטנה ליד הים."),
    ("Hindi", 31, "कल मैं अपने दोस्त के साथ बाज़ार गया था, जहाँ हमने फल और सब्ज़ियाँ खरीदीं और फिर घर लौटकर खाना बनाया।"),
    ("Tamil", 26, "நேற்று நான் என் நண்பருடன் சந்தைக்குச் சென்று பழங்களும் காய்கறிகளும் வாங்கினேன்."),
    ("Thai", 26, "เมื่อวานนี้ฉันไปตลาดกับเพื่อนและซื้อผลไม้กับผักมาทำอาหารเย็นที่บ้าน"),
    ("Chinese", 28, "昨天我和朋友一起去了市场，买了一些水果和蔬菜，然后回家给家人做了一顿晚饭。"),
    ("Japanese", 37, "昨日は友達と市場へ行って、果物と野菜を買ってから、家に帰って家族のために晩ご飯を作りました。"),
    ("Korean", 29, "어제 친구와 함께 시장에 가서 과일과 채소를 사고 집에 돌아와 가족을 위해 저녁을 만들었습니다."),
    ("emoji", 24, "Great news 🎉🎉 the tests are green ✅ and the demo went well 🚀 thank you all 🙏😊"),
    ("Rust", 46, "fn mean(values: &[f64]) -> Option<f64> {\n    if values.is_empty() {\n        return None;\n    }\n    Some(values.iter().sum::<f64>() / values.len() as f64)\n}\n"),
    ("Python", 46, "def read_config(path):\n    with open(path, encoding=\"utf-8\") as file:\n        config = json.load(file)\n    return {key: value for key, value in config.items() if value is not None}\n"),
    ("JSON", 55, "{\"order\":{\"id\":48213,\"customer\":\"Dana Whitfield\",\"items\":[{\"sku\":\"TX-90\",\"quantity\":2,\"price\":19.95},{\"sku\":\"QB-7\",\"quantity\":1,\"price\":240.0}],\"shipped\":false}}"),
    ("log", 70, "2026-03-14T09:26:53.589Z ERROR worker-3 request 7f3a failed after 1250 ms: status=503 retries=2\n2026-03-14T09:26:54.102Z INFO worker-3 request 7f3b done in 87 ms\n"),
    ("markdown", 52, "## Setup\n\n1. Install **Node 20** or newer.\n2. Run `npm ci`, then `npm start`.\n\n| name | default |\n|------|---------|\n| `PORT` | 8787 |\n| `HOST` | localhost |\n"),
    ("numbers", 49, "3.14159, 2.71828, 1.41421, 1000000, 42, 65536, 0.5772, 1618, 299792458, 6.02214"),
    ("base64", 88, "iVBORw0KGgoAAAANSUhEUgAAAMgAAADICAYAAACtWK6eAAAACXBIWXMAAA7EAAAOxAGVKw4bAAAgAElEQVR4nOy9d3gc1dX4/zkzs0VdsiTLkm3Zlo1tXCnGhY7pYHrvBAgBAiQh"),
    ("hex", 72, "9b74c9897bac770ffc029102a200c5de5d41402abc4b2a7ee64d8b5f0a9f0d7b3c1e6f8a2d4b5c7e9f0a1b2c3d4e5f60"),
];

/// Kinds of text whose error is larger, in per cent: one sentence is little.
const ROUGH: &[(&str, f64)] = &[("Turkish", 33.0), ("Swahili", 25.0), ("hex", 25.0)];

#[test]
fn estimates_of_texts_are_near_what_a_tokenizer_counts() {
    let mut totals = [0, 0];
    for (kind, counted, text) in TEXTS {
        let estimated = tokens::of_text(text);
        let error = 100.0 * (estimated as f64 / *counted as f64 - 1.0);
        println!("{kind:<12} {counted:>4} {estimated:>4} {error:>+6.1}%");
        let allowed = ROUGH.iter().find(|(rough, _)| rough == kind).map_or(16.0, |(_, allowed)| *allowed);
        assert!(error.abs() <= allowed, "{kind}: {estimated} for {counted}");
        totals = [totals[0] + counted, totals[1] + estimated];
    }
    println!("{:<12} {:>4} {:>4}", "all", totals[0], totals[1]);
    assert!(totals[0].abs_diff(totals[1]) * 20 <= totals[0], "{totals:?}");
}

#[test]
fn no_text_is_too_odd_to_be_estimated() {
    assert_eq!(tokens::of_text(""), 0);
    let odd = [
        "\u{0}",
        "\u{fffd}",
        "\u{10ffff}",
        "\r\n",
        "\u{a0}",
        "\u{301}",
        "=",
        "É",
        "1",
        "👩\u{200d}💻",
        "Ⅻ",
        "ﬁ",
        "ß",
    ];
    for text in odd {
        assert!((1..=6).contains(&tokens::of_text(text)), "{text:?}: {}", tokens::of_text(text));
        let many = text.repeat(10_000);
        assert!(tokens::of_text(&many) >= 100, "{text:?} over and over: {}", tokens::of_text(&many));
    }
}

#[test]
fn a_long_text_costs_as_much_as_its_pieces() {
    for (kind, _, text) in TEXTS {
        let whole = tokens::of_text(&format!("{text}\n").repeat(50));
        let pieces = 50 * (tokens::of_text(text) + 1);
        // The more of a language there is, the surer it is known.
        assert!(whole.abs_diff(pieces) * 5 <= pieces, "{kind}: {whole} in one, {pieces} in pieces");
    }
}

#[derive(Deserialize)]
struct Exchange {
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
    }
    println!("{:<34} {:>7} {:>9}   {:>17}   {:>17}", "", "", "", "error, estimated", "error, corrected");
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
    // What was reached: a change that makes it worse shows here.
    for (group, median, total) in [
        ("all", 5.0, 3.0),
        ("all, no media", 5.0, 3.0),
        ("content: text", 4.0, 3.0),
        ("content: tools", 7.0, 5.0),
        ("content: tool calls", 7.0, 5.0),
        ("content: schema", 5.0, 5.0),
        ("content: media", 8.0, 5.0),
        ("model: claude", 8.0, 5.0),
        ("model: gemini", 12.0, 5.0),
        ("model: gpt", 5.0, 5.0),
        ("model: gpt-5", 7.0, 10.0),
    ] {
        for which in [1, 2] {
            let (of_each, of_all) = errors(&groups[group], which);
            assert!(of_each <= median && of_all.abs() <= total, "{group}: {of_each:.1} %, {of_all:+.1} %");
        }
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
    let differs = dialect.continues_upstream(&body) || differs(&request, &exchange.provider);
    (reported > 0 && !differs).then(|| Prompt {
        provider: exchange.provider,
        estimated: tokens::of_request(&request, dialect),
        reported,
        request,
        model,
    })
}

/// True where the provider counts what is not in the request (results of its own tools, stored prompts, searches), or
/// leaves out what is.
fn differs(request: &Request, provider: &str) -> bool {
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
    request.tools.iter().any(|tool| matches!(tool.kind, ToolKind::Server(_) | ToolKind::WebSearch(_)))
        || fields.iter().any(|field| request.rest.contains_key(*field))
        // Vertex counts neither tools nor the thoughts behind calls.
        || (provider == "vertex" && !request.tools.is_empty())
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

/// True where a picture or a file is behind an address or an id, so that its size is anybody's guess.
fn refers_to_media(request: &Request) -> bool {
    fn any(parts: &[Part]) -> bool {
        parts.iter().any(|part| match &part.kind {
            PartKind::Image(media) | PartKind::Audio(media) | PartKind::File(media) => {
                !matches!(media.source, Source::Data(_))
            }
            PartKind::ToolResult(result) => any(&result.content),
            _ => false,
        })
    }
    messages(request).any(|message| any(&message.parts))
}

fn groups_of(prompt: &Prompt) -> Vec<String> {
    let request = &prompt.request;
    let calls = messages(request).any(|message| message.tool_calls().next().is_some());
    let content = match () {
        () if refers_to_media(request) => "media by reference",
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
        ..50 => "under 50",
        50..200 => "under 200",
        200..1000 => "under 1000",
        _ => "1000 and more",
    };
    let mut groups = vec!["all".to_owned(), format!("content: {content}")];
    if !refers_to_media(request) {
        groups.push(format!("model: {family}"));
        groups.push(format!("provider: {}", prompt.provider));
    }
    if !holds_media(request) {
        groups.push("all, no media".to_owned());
        groups.push(format!("length: {length}"));
        groups.push(format!("language: {}", language(request)));
    }
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
