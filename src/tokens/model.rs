//! What surrounds the text in a prompt, by the family of models: frames of messages, how tools are written out, pictures;
//! and how the family's vocabulary compares with the one that [`super::text`] is measured with.
//!
//! Invariant: a model of no known family is counted as OpenAI's are; nothing here is known of any single deployment
//! (that is [`super::calibration`]'s).
//!
//! Texts and frames are fitted to prompts whose counts the providers reported.

use serde_json::Value;

use super::media;
use super::picture::{self, Detail, Formula};
use super::text;
use crate::dialect::Dialect;
use crate::request::{Effort, Entry, Format, Request, Tool, ToolKind};
use crate::turn::{Media, Message, Part, PartKind, Reasoning, Source, ToolCall};

/// How a family of models counts. Numbers are tokens unless said otherwise.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// Words that a model's name has one of.
    names: &'static [&'static str],
    /// The vocabulary: thousandths of what a text is estimated at.
    text: u64,
    /// For any request.
    request: u64,
    /// For a message, or a system text.
    message: u64,
    /// For a tool call, and for its result.
    call: u64,
    /// For there being tools at all: the instructions that go with them.
    tools: u64,
    /// For there being tools in a request of Chat Completions, on top.
    tools_of_chat: u64,
    /// For each tool.
    tool: u64,
    /// For each property of a tool's schema, beside its words.
    property: u64,
    /// For an answer that must follow a schema, and the schema's JSON in thousandths.
    format: (u64, u64),
    /// For being asked to think.
    thinking: u64,
    /// For each character of sealed reasoning that belongs to a tool call, in thousandths: what was thought for it goes
    /// before the model again.
    sealed: u64,
    /// Pictures.
    picture: Formula,
    /// A page of a PDF, which most providers send as text and as a picture.
    page: u64,
    /// A second of sound, and of film.
    second: (u64, u64),
}

const OPENAI: Family = Family {
    names: &["gpt", "chatgpt"],
    text: 1000,
    request: 3,
    message: 4,
    call: 4,
    tools: 14,
    tools_of_chat: 0,
    tool: 6,
    property: 6,
    format: (10, 890),
    thinking: 0,
    sealed: 0,
    picture: Formula::Tiles { base: 85, tile: 170 },
    page: 450,
    second: (10, 300),
};

/// OpenAI's models that count pictures by patches; the factors are those of the guide that [`Formula`] names.
const fn patched(names: &'static [&'static str], permille: u64, base: Family) -> Family {
    Family { names, picture: Formula::Patches { side: 32, most: 1536, permille }, ..base }
}

const GPT_5: Family = Family {
    names: &["gpt-5"],
    request: 2,
    call: 5,
    tools: 10,
    tools_of_chat: 82,
    tool: 8,
    property: 8,
    sealed: 100,
    picture: Formula::Tiles { base: 70, tile: 140 },
    ..OPENAI
};

const CLAUDE: Family = Family {
    names: &["claude"],
    text: 1110,
    call: 13,
    tools: 450,
    tool: 42,
    property: 42,
    format: (90, 2080),
    thinking: 29,
    picture: Formula::Area { longest_edge: 1568, most: 1600 },
    page: 2000,
    second: (25, 300),
    ..OPENAI
};

const GEMINI: Family = Family {
    names: &["gemini", "gemma"],
    text: 1010,
    request: 0,
    message: 0,
    call: 2,
    tools: 0,
    tools_of_chat: 0,
    tool: 21,
    property: 11,
    format: (0, 0),
    thinking: 0,
    sealed: 30,
    picture: Formula::Fixed { low: 66, auto: 258, high: 258 },
    page: 258,
    second: (32, 290),
};

/// Llama, whose template has its own instructions once there are tools.
const LLAMA: Family =
    Family { names: &["llama"], request: 4, message: 5, tools: 620, tool: 30, property: 15, ..OPENAI };

const MISTRAL: Family = Family {
    names: &["mistral", "mixtral", "ministral", "magistral", "codestral", "devstral"],
    text: 1060,
    message: 1,
    tools: 2,
    tool: 34,
    property: 12,
    picture: Formula::Patches { side: 28, most: 3025, permille: 1000 },
    ..OPENAI
};

/// In order: the first whose word a name has counts.
const FAMILIES: &[Family] = &[
    Family {
        names: &["gpt-oss"],
        request: 63,
        tools: 20,
        tool: 25,
        property: 12,
        format: (30, 1000),
        ..OPENAI
    },
    patched(&["gpt-5-nano", "gpt-5.4-nano"], 1500, GPT_5),
    patched(&["gpt-5-mini", "gpt-5.1-mini", "gpt-5.4-mini"], 1200, GPT_5),
    patched(&["gpt-5.2", "gpt-5.3", "gpt-5.4", "gpt-5.5", "gpt-5.6"], 1200, GPT_5),
    GPT_5,
    patched(&["gpt-4.1-mini"], 1620, OPENAI),
    patched(&["gpt-4.1-nano"], 2460, OPENAI),
    patched(&["o4-mini"], 1720, OPENAI),
    Family { names: &["gpt-4o-mini"], picture: Formula::Tiles { base: 2833, tile: 5667 }, ..OPENAI },
    Family { names: &["o1", "o3"], picture: Formula::Tiles { base: 75, tile: 150 }, ..OPENAI },
    Family {
        names: &["claude-opus-4-7", "claude-opus-4-8", "claude-opus-5", "claude-sonnet-5", "claude-fable"],
        text: 1400,
        picture: Formula::Area { longest_edge: 2576, most: 4784 },
        ..CLAUDE
    },
    Family { names: &["claude-3", "claude-2"], text: 1130, tools: 260, tool: 10, property: 55, ..CLAUDE },
    CLAUDE,
    Family {
        names: &["gemini-3"],
        sealed: 210,
        picture: Formula::Fixed { low: 280, auto: 1100, high: 1100 },
        page: 560,
        second: (25, 100),
        ..GEMINI
    },
    Family { names: &["gemini-2.0", "gemini-1"], tool: 1, property: 0, picture: Formula::Crops, ..GEMINI },
    GEMINI,
    Family {
        names: &["pixtral"],
        picture: Formula::Patches { side: 16, most: 4096, permille: 1030 },
        ..MISTRAL
    },
    MISTRAL,
    // The template of these says the date.
    Family { names: &["llama-3.1", "llama-3.2", "llama-3.3", "llama3.1", "llama3.3"], request: 30, ..LLAMA },
    LLAMA,
    Family {
        names: &["qwen"],
        picture: Formula::Patches { side: 28, most: 1280, permille: 1000 },
        message: 5,
        tools: 190,
        tool: 30,
        property: 15,
        ..OPENAI
    },
    Family { names: &["deepseek"], message: 1, tools: 260, tool: 30, property: 15, ..OPENAI },
    OPENAI,
];

impl Family {
    /// The family of a model, by its name with or without a provider in front.
    pub fn of(model: &str) -> &'static Family {
        let name = model.to_ascii_lowercase();
        FAMILIES.iter().find(|family| family.names.iter().any(|word| name.contains(word))).unwrap_or(&OPENAI)
    }

    /// Tokens of a whole prompt: instructions, messages, tools, the schema of the answer. `dialect` is the one in which
    /// the provider gets it.
    pub fn request(&self, request: &Request, dialect: Dialect) -> u64 {
        let entries: u64 = request
            .entries
            .iter()
            .map(|entry| match entry {
                Entry::Instruction(parts) => self.message + self.parts(parts),
                Entry::Message { message, .. } => self.message(message),
            })
            .sum();
        let format = match &request.format {
            Some(Format::JsonSchema { schema, .. }) => {
                self.format.0 + thousandths(json(schema), self.format.1)
            }
            Some(Format::Text | Format::JsonObject) | None => 0,
        };
        let thinks = request.thinking.budget.is_some_and(|budget| budget > 0)
            || request.thinking.adaptive
            || request.thinking.effort.is_some_and(|effort| effort > Effort::None);
        let thinking = if thinks { self.thinking } else { 0 };
        self.request + entries + self.tools(&request.tools, dialect) + format + thinking
    }

    /// Tokens of a message, its frame included.
    pub fn message(&self, message: &Message) -> u64 {
        let name = message.name.as_deref().map_or(0, |name| 1 + self.text(name));
        let sealed = if message.tool_calls().next().is_some() { self.sealed(message) } else { 0 };
        self.message + name + self.parts(&message.parts) + sealed
    }

    /// Tokens of a text.
    pub fn text(&self, text: &str) -> u64 {
        thousandths(text::tokens(text), self.text)
    }

    fn tools(&self, tools: &[Tool], dialect: Dialect) -> u64 {
        if tools.is_empty() {
            return 0;
        }
        let of_tool = |tool: &Tool| match &tool.kind {
            ToolKind::Function { name, description, parameters: schema, .. }
            | ToolKind::Custom { name, description, format: schema } => {
                self.tool
                    + self.text(name)
                    + description.as_deref().map_or(0, |words| self.text(words))
                    + schema.as_ref().map_or(0, |schema| self.schema(schema))
            }
            // A provider's own search stands in its own words before the model; its settings are no part of them.
            ToolKind::WebSearch(_) => self.tool,
            ToolKind::Server(tool) => self.tool + json(tool),
        };
        let of_dialect = if dialect == Dialect::Chat { self.tools_of_chat } else { 0 };
        self.tools + of_dialect + tools.iter().map(of_tool).sum::<u64>()
    }

    /// A tool's schema. Makers write it out each in their own way before a model reads it, so what is counted is what
    /// none can leave out: names, descriptions and choices, and a price for each property.
    fn schema(&self, schema: &Value) -> u64 {
        match schema {
            Value::Object(fields) => fields
                .iter()
                .map(|(name, value)| match (name.as_str(), value) {
                    ("properties", Value::Object(properties)) => properties
                        .iter()
                        .map(|(name, value)| self.property + self.text(name) + self.schema(value))
                        .sum(),
                    ("description", Value::String(words)) => 2 + self.text(words),
                    ("enum", Value::Array(choices)) => choices.iter().map(json).sum(),
                    _ => self.schema(value),
                })
                .sum(),
            Value::Array(schemas) => schemas.iter().map(|schema| self.schema(schema)).sum(),
            _ => 0,
        }
    }

    fn sealed(&self, message: &Message) -> u64 {
        let of_part = |part: &Part| match &part.kind {
            PartKind::ToolCall(ToolCall { sealed: Some(sealed), .. })
            | PartKind::Reasoning(Reasoning { sealed: Some(sealed), .. }) => sealed.len() as u64,
            _ => 0,
        };
        thousandths(message.parts.iter().map(of_part).sum(), self.sealed)
    }

    fn parts(&self, parts: &[Part]) -> u64 {
        parts.iter().map(|part| self.part(part)).sum()
    }

    fn part(&self, part: &Part) -> u64 {
        match &part.kind {
            PartKind::Text(text) | PartKind::Refusal(text) => self.text(text),
            PartKind::Image(media) => self.picture(media),
            PartKind::Audio(media) => self.sound(media),
            PartKind::File(media) => self.file(media),
            PartKind::ToolCall(call) => self.call + self.text(&call.name) + self.text(&call.arguments),
            PartKind::ToolResult(result) => self.call + self.parts(&result.content),
            // What can be read of a sealed thought is a summary, which does not go before the model.
            PartKind::Reasoning(Reasoning { sealed: Some(_), .. }) => 0,
            PartKind::Reasoning(reasoning) => self.text(&reasoning.text),
            PartKind::Other(value) => thousandths(json(value), self.text),
        }
    }

    fn picture(&self, media: &Media) -> u64 {
        let size = match &media.source {
            Source::Data(data) => picture::size_of(data),
            Source::Url(_) | Source::FileId(_) => None,
        };
        self.picture.tokens(size.unwrap_or(picture::UNKNOWN), Detail::of(media.detail.as_deref()))
    }

    fn sound(&self, media: &Media) -> u64 {
        let kind = media.media_type.as_deref().unwrap_or_default();
        let seconds = match &media.source {
            Source::Data(data) => media::seconds_of_sound(data, kind),
            Source::Url(_) | Source::FileId(_) => media::UNKNOWN_SECONDS,
        };
        seconds * self.second.0
    }

    fn film(&self, media: &Media) -> u64 {
        let seconds = match &media.source {
            Source::Data(data) => media::seconds_of_film(data),
            Source::Url(_) | Source::FileId(_) => media::UNKNOWN_SECONDS,
        };
        seconds * self.second.1
    }

    fn file(&self, media: &Media) -> u64 {
        let kind = media.media_type.as_deref().unwrap_or_default();
        match kind.split('/').next() {
            Some("image") => return self.picture(media),
            Some("audio") => return self.sound(media),
            Some("video") => return self.film(media),
            _ => {}
        }
        let Source::Data(data) = &media.source else { return media::UNKNOWN_PAGES * self.page };
        let is_pdf = data.starts_with(PDF) || kind == "application/pdf";
        let text = if is_pdf { None } else { media::measured(data, |text| self.text(text)) };
        text.unwrap_or_else(|| media::pages(data) * self.page)
    }
}

/// `%PDF-` in base64.
const PDF: &str = "JVBERi";

fn thousandths(tokens: u64, permille: u64) -> u64 {
    (tokens.saturating_mul(permille) + 500) / 1000
}

/// Tokens of JSON as a text, without what no model reads: sealed and encoded strings.
fn json(value: &Value) -> u64 {
    /// No word is as long.
    const LONGEST_WORD: usize = 256;
    match value {
        Value::String(text) if text.len() > LONGEST_WORD && !text.contains(char::is_whitespace) => 0,
        // Quotation marks are merged with the signs beside them.
        Value::String(text) => 1 + text::tokens(text),
        Value::Array(items) => 1 + items.iter().map(json).sum::<u64>(),
        Value::Object(fields) => {
            1 + fields.iter().map(|(name, value)| 1 + text::tokens(name) + json(value)).sum::<u64>()
        }
        Value::Number(_) | Value::Bool(_) | Value::Null => text::tokens(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    use super::*;
    use crate::turn::{Role, ToolResult};

    fn request(model: &str, parts: Vec<Part>) -> Request {
        let message = Message::new(Role::User, parts);
        Request {
            model: model.to_owned(),
            entries: vec![Entry::Message { message, place: None }],
            ..Request::default()
        }
    }

    fn count(request: &Request) -> u64 {
        Family::of(&request.model).request(request, Dialect::Chat)
    }

    fn media(bytes: &[u8], kind: &str) -> Media {
        Media {
            source: Source::Data(STANDARD.encode(bytes)),
            media_type: Some(kind.to_owned()),
            name: None,
            detail: None,
        }
    }

    #[test]
    fn a_model_is_known_by_its_name_wherever_it_is_served() {
        for (model, like) in [
            ("anthropic/claude-sonnet-4.5", "claude-haiku-4-5"),
            ("us.anthropic.claude-3-5-sonnet-20241022-v2:0", "claude-3-opus-20240229"),
            ("openai/GPT-4o-mini", "gpt-4o-mini-2024-07-18"),
            ("google/gemini-2.5-flash", "models/gemini-2.5-pro"),
            ("@cf/meta/llama-3.3-70b-instruct-fp8-fast", "llama-3.3-70b-versatile"),
            ("somebody/unheard-of", "gpt-4o"),
        ] {
            assert!(
                std::ptr::eq(Family::of(model), Family::of(like)) || Family::of(model) == Family::of(like)
            );
        }
        assert_ne!(Family::of("claude-opus-5"), Family::of("claude-opus-4-5"));
        assert_ne!(Family::of("gpt-5-mini"), Family::of("gpt-5"));
    }

    #[test]
    fn frames_are_the_makers() {
        // As the providers count this prompt: 14, 13, 14.
        let words = "What is the capital of France?";
        for (model, counted) in [("gpt-4o", 14), ("gpt-5", 13), ("claude-sonnet-4-5", 14)] {
            let estimated = count(&request(model, vec![Part::text(words)]));
            assert!(estimated.abs_diff(counted) <= 1, "{model}: {estimated}");
        }
    }

    #[test]
    fn thinking_and_tools_bring_instructions_with_them_at_anthropic() {
        let plain = request("claude-sonnet-4-5", vec![Part::text("hi")]);
        let mut thinks = plain.clone();
        thinks.thinking.budget = Some(1024);
        assert_eq!(count(&thinks), count(&plain) + 29);
        thinks.thinking.budget = Some(0);
        assert_eq!(count(&thinks), count(&plain));
        let mut uses = plain.clone();
        uses.tools.push(tool(&json!({"type": "object", "properties": {}})));
        assert!((450..550).contains(&(count(&uses) - count(&plain))));
    }

    fn tool(parameters: &Value) -> Tool {
        let kind = ToolKind::Function {
            name: "get_weather".into(),
            description: Some("Tells the weather of a place.".into()),
            parameters: Some(parameters.clone()),
            strict: None,
        };
        Tool { kind, extra: serde_json::Map::new() }
    }

    #[test]
    fn a_schema_costs_by_what_it_says_at_any_depth() {
        let mut request = request("gpt-4o", vec![]);
        let mut last = 0;
        for parameters in [
            json!({"type": "object", "properties": {}}),
            json!({"type": "object", "properties": {"place": {"type": "string"}}}),
            json!({"type": "object", "properties": {"place": {"type": "string", "description": "A town."}}}),
            json!({"type": "object", "properties": {"places": {"type": "array", "items": {"type": "object",
                "properties": {"name": {"type": "string", "description": "A town."}}}}}}),
            json!({"type": "object", "properties": {"places": {"type": "array", "items": {"anyOf": [{"type": "object",
                "properties": {"name": {"type": "string", "description": "A town.", "enum": ["Bern", "Turin"]}}}]}}}}),
        ] {
            request.tools = vec![tool(&parameters)];
            assert!(count(&request) > last, "{parameters}");
            last = count(&request);
        }
    }

    #[test]
    fn pictures_sound_and_files_cost_by_their_size_and_not_by_their_bytes() {
        let png =
            [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x02\x80\0\0\x01\xe0".as_slice(), &[7; 500_000]].concat();
        let picture = PartKind::Image(media(&png, "image/png"));
        // 640 × 480, as the providers count it.
        for (model, tokens) in [
            ("gpt-4o", 425),
            ("gpt-4o-mini", 14_167),
            ("gpt-5", 350),
            ("gpt-5-mini", 360),
            ("gpt-5-nano", 450),
            ("o4-mini", 516),
            ("claude-haiku-4-5", 410),
            ("gemini-2.0-flash", 1290),
            ("gemini-2.5-flash", 258),
        ] {
            let alone = count(&request(model, vec![]));
            assert_eq!(count(&request(model, vec![picture.clone().into()])) - alone, tokens, "{model}");
        }
        let gpt = |kind: PartKind| count(&request("gpt-4o", vec![kind.into()])) - 7;
        assert_eq!(gpt(PartKind::File(media(&png, "image/png"))), 425, "a picture among the files");
        assert_eq!(gpt(PartKind::Audio(media(&[1; 80_000], "mp3"))), 50);
        assert_eq!(gpt(PartKind::File(media(&[1; 80_000], "audio/mp3"))), 50);
        assert_eq!(gpt(PartKind::File(media(b"%PDF-1.4 /Count 3 and so on", "application/pdf"))), 450);
        assert_eq!(gpt(PartKind::File(media(b"some plain words in a file", "text/plain"))), 6);
        assert_eq!(gpt(PartKind::File(media(&[1; 300_000], "video/mp4"))), 600);
        let address = Source::Url("https://example.com/a.pdf".into());
        let elsewhere = Media { source: address, media_type: None, name: None, detail: None };
        assert_eq!(gpt(PartKind::File(elsewhere.clone())), 3 * 450);
        assert_eq!(gpt(PartKind::Image(elsewhere.clone())), 765, "as one of 1024 × 768");
        assert_eq!(gpt(PartKind::Audio(elsewhere)), 300);
    }

    #[test]
    fn sealed_thoughts_count_where_they_go_before_the_model_again() {
        let sealed = Some("s".repeat(1000));
        let call = ToolCall { name: "f".into(), arguments: "{}".into(), sealed, ..ToolCall::default() };
        let open = ToolCall { sealed: None, ..call.clone() };
        let added = |model: &str| {
            let count = |call: &ToolCall| {
                Family::of(model)
                    .message(&Message::new(Role::Assistant, vec![PartKind::ToolCall(call.clone()).into()]))
            };
            count(&call) - count(&open)
        };
        assert_eq!(added("gemini-3-pro"), 210);
        assert_eq!(added("gpt-5"), 100);
        assert_eq!(added("claude-sonnet-4-5"), 0);
    }

    #[test]
    fn results_count_what_is_in_them_and_encoded_strings_nothing() {
        let message = |content| {
            let result =
                ToolResult { call_id: "c".into(), content: vec![content], custom: false, is_error: false };
            OPENAI.message(&Message::new(Role::Tool, vec![PartKind::ToolResult(result).into()]))
        };
        assert_eq!(message(Part::text("It rains.")), 4 + 4 + 2);
        let step = |text: String| message(PartKind::Other(json!({"type": "step", "content": text})).into());
        assert_eq!(step("x".repeat(100_000)), step(String::new()) - 1);
        assert!(step("so many words ".repeat(100)) > 300);
    }
}
