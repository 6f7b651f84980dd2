//! A request to a model, whatever dialect it came in: what is asked of the model beside the conversation.
//!
//! Invariant: a field is either a word of the hub or stands in `rest` under its wire name; between dialects nothing is
//! dropped in silence. What becomes of a field is said by the target's table ([`Handling`]), and nowhere else.

use serde_json::{Map, Number, Value};

use crate::turn::{Message, Part};

/// A request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// The model's name at the provider.
    pub model: String,
    /// Stream the answer.
    pub stream: bool,
    /// A stream is to end with token counts. Only Chat Completions has to be asked for them.
    pub stream_usage: bool,
    /// Instructions and messages, in order.
    pub entries: Vec<Entry>,
    /// The tools that the model may call.
    pub tools: Vec<Tool>,
    /// Whether and which tool it must call.
    pub tool_choice: Option<ToolChoice>,
    /// False forbids more than one call at a time.
    pub parallel_tool_calls: Option<bool>,
    /// The most tokens of the answer, reasoning included.
    pub max_tokens: Option<u64>,
    /// Randomness.
    pub temperature: Option<Number>,
    /// Nucleus sampling.
    pub top_p: Option<Number>,
    /// Sampling from the likeliest `k` tokens.
    pub top_k: Option<u64>,
    /// Penalty on tokens by how often they came.
    pub frequency_penalty: Option<Number>,
    /// Penalty on tokens that came at all.
    pub presence_penalty: Option<Number>,
    /// Seed of the sampling.
    pub seed: Option<Number>,
    /// Bias by token id.
    pub logit_bias: Option<Value>,
    /// Log probabilities of the answer's tokens, each with so many alternatives.
    pub logprobs: Option<u64>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// How many answers; one if it is not said.
    pub n: Option<u64>,
    /// The answer's form.
    pub format: Option<Format>,
    /// How wordy the answer is to be: `low`, `medium`, `high`.
    pub verbosity: Option<String>,
    /// How much the model is to think.
    pub thinking: Thinking,
    /// The end user, as an opaque id.
    pub user: Option<String>,
    /// The caller's own notes on the request.
    pub metadata: Option<Map<String, Value>>,
    /// The provider's service tier.
    pub service_tier: Option<String>,
    /// Fields without a word here, by their wire names.
    pub rest: Map<String, Value>,
}

/// One piece of the prompt.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// The caller's instructions (system or developer text).
    Instruction(Vec<Part>),
    /// A message of the conversation.
    Message {
        /// The message.
        message: Message,
        /// Where in the client's request it stands (`messages[3]`); `None` for a stored one, which the client cannot
        /// mend.
        place: Option<String>,
    },
}

/// A tool that the model may call.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    /// What kind of tool.
    pub kind: ToolKind,
    /// Fields of the wire tool without a word here (cache hints).
    pub extra: Map<String, Value>,
}

/// What kind of tool.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolKind {
    /// A function with a JSON schema.
    Function {
        /// Its name.
        name: String,
        /// What it does.
        description: Option<String>,
        /// JSON schema of its arguments, an object; `None` where it takes none.
        parameters: Option<Value>,
        /// The arguments must follow the schema.
        strict: Option<bool>,
    },
    /// A tool that takes free text.
    Custom {
        /// Its name.
        name: String,
        /// What it does.
        description: Option<String>,
        /// The grammar of the text, in the form of Responses (`{"type":"grammar","syntax","definition"}`).
        format: Option<Value>,
    },
    /// The provider looks into the web.
    WebSearch(WebSearch),
    /// Another tool that the provider itself runs, kept whole.
    Server(Value),
}

/// A search of the web that the provider runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WebSearch {
    /// How much of what is found goes before the model: `low`, `medium`, `high`.
    pub context_size: Option<String>,
    /// About where the user is: `country`, `region`, `city`, `timezone`.
    pub location: Option<Map<String, Value>>,
    /// Only these domains.
    pub allowed_domains: Vec<String>,
    /// All but these domains.
    pub blocked_domains: Vec<String>,
    /// The most searches of one answer.
    pub max_uses: Option<u64>,
}

/// Whether and which tool the model must call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice {
    /// As it likes.
    Auto,
    /// None.
    None,
    /// Any one.
    Required,
    /// This one.
    Named(String),
    /// Some of the tools only.
    Allowed {
        /// It must call one of them.
        required: bool,
        /// Their names.
        names: Vec<String>,
    },
}

/// The answer's form.
#[derive(Clone, Debug, PartialEq)]
pub enum Format {
    /// Text.
    Text,
    /// Some JSON object.
    JsonObject,
    /// JSON by a schema.
    JsonSchema {
        /// The schema's name.
        name: Option<String>,
        /// What it is for.
        description: Option<String>,
        /// The schema.
        schema: Value,
        /// The answer must follow it.
        strict: Option<bool>,
    },
}

/// How much the model is to think, and what is shown of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thinking {
    /// In words.
    pub effort: Option<Effort>,
    /// In tokens. Zero switches it off.
    pub budget: Option<u64>,
    /// The model chooses how much (Messages' `adaptive`, Gemini's `-1`).
    pub adaptive: bool,
    /// Show it: a summary, or the thoughts themselves where the provider gives them; `None` leaves it to the provider.
    pub shown: Option<bool>,
    /// How the summary is to be (`auto`, `concise`, `detailed`).
    pub summary: Option<String>,
}

/// Effort in words, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// No thinking.
    None,
    /// As little as can be.
    Minimal,
    /// Little.
    Low,
    /// The usual.
    Medium,
    /// Much.
    High,
    /// More.
    XHigh,
    /// As much as can be.
    Max,
}

impl Effort {
    const WORDS: [(Effort, &'static str); 7] = [
        (Effort::None, "none"),
        (Effort::Minimal, "minimal"),
        (Effort::Low, "low"),
        (Effort::Medium, "medium"),
        (Effort::High, "high"),
        (Effort::XHigh, "xhigh"),
        (Effort::Max, "max"),
    ];

    /// The effort behind a wire word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(_, known)| *known == word).map(|(effort, _)| *effort)
    }

    /// The wire word.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(effort, _)| *effort == self).map_or("medium", |(_, word)| word)
    }

    /// A budget in tokens that stands for it, where a provider takes only numbers. The steps are those that
    /// OpenAI-compatible APIs of such providers use.
    pub fn budget(self) -> u64 {
        match self {
            Effort::None => 0,
            Effort::Minimal => 1_024,
            Effort::Low => 2_048,
            Effort::Medium => 8_192,
            Effort::High => 24_576,
            Effort::XHigh | Effort::Max => 32_768,
        }
    }

    /// The effort that a budget stands for, where a provider takes only words.
    pub fn of_budget(tokens: u64) -> Self {
        match tokens {
            0 => Effort::None,
            1..=1_024 => Effort::Minimal,
            1_025..=4_096 => Effort::Low,
            4_097..=16_384 => Effort::Medium,
            _ => Effort::High,
        }
    }
}

impl Thinking {
    /// True when the request says anything about it.
    pub fn is_set(&self) -> bool {
        *self != Thinking::default()
    }

    /// True when it is switched off.
    pub fn is_off(&self) -> bool {
        self.effort == Some(Effort::None) || (self.budget == Some(0) && self.effort.is_none())
    }

    /// The effort in words, from the budget if need be.
    pub fn in_words(&self) -> Option<Effort> {
        self.effort.or_else(|| self.budget.map(Effort::of_budget))
    }

    /// The budget in tokens, from the effort if need be.
    pub fn in_tokens(&self) -> Option<u64> {
        self.budget.or_else(|| self.effort.map(Effort::budget))
    }
}

impl Request {
    /// The searches of the web that it allows.
    pub fn searches(&self) -> impl Iterator<Item = &WebSearch> {
        self.tools.iter().filter_map(|tool| match &tool.kind {
            ToolKind::WebSearch(search) => Some(search),
            _ => None,
        })
    }
}

/// What a request can ask beside the conversation: the rows of the dialects' tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Field {
    MaxTokens,
    Temperature,
    TopP,
    TopK,
    FrequencyPenalty,
    PresencePenalty,
    Seed,
    LogitBias,
    Logprobs,
    Stop,
    N,
    JsonObject,
    JsonSchema,
    Verbosity,
    Thinking,
    Tools,
    CustomTools,
    WebSearch,
    SearchContextSize,
    SearchLocation,
    SearchAllowedDomains,
    SearchBlockedDomains,
    SearchLimit,
    ServerTools,
    ToolChoice,
    AllowedTools,
    ParallelToolCalls,
    User,
    Metadata,
    ServiceTier,
}

impl Field {
    /// All of them.
    pub const ALL: [Field; 30] = [
        Field::MaxTokens,
        Field::Temperature,
        Field::TopP,
        Field::TopK,
        Field::FrequencyPenalty,
        Field::PresencePenalty,
        Field::Seed,
        Field::LogitBias,
        Field::Logprobs,
        Field::Stop,
        Field::N,
        Field::JsonObject,
        Field::JsonSchema,
        Field::Verbosity,
        Field::Thinking,
        Field::Tools,
        Field::CustomTools,
        Field::WebSearch,
        Field::SearchContextSize,
        Field::SearchLocation,
        Field::SearchAllowedDomains,
        Field::SearchBlockedDomains,
        Field::SearchLimit,
        Field::ServerTools,
        Field::ToolChoice,
        Field::AllowedTools,
        Field::ParallelToolCalls,
        Field::User,
        Field::Metadata,
        Field::ServiceTier,
    ];

    /// True when a request makes use of it. What asks for no more than every provider's default does not count.
    pub fn is_set(self, request: &Request) -> bool {
        let has_tool = |wanted: fn(&ToolKind) -> bool| request.tools.iter().any(|tool| wanted(&tool.kind));
        let searches = |wanted: fn(&WebSearch) -> bool| request.searches().any(wanted);
        match self {
            Field::MaxTokens => request.max_tokens.is_some(),
            Field::Temperature => request.temperature.is_some(),
            Field::TopP => request.top_p.is_some(),
            Field::TopK => request.top_k.is_some(),
            Field::FrequencyPenalty => is_nonzero(request.frequency_penalty.as_ref()),
            Field::PresencePenalty => is_nonzero(request.presence_penalty.as_ref()),
            Field::Seed => request.seed.is_some(),
            Field::LogitBias => request.logit_bias.as_ref().is_some_and(|bias| !is_empty(bias)),
            Field::Logprobs => request.logprobs.is_some(),
            Field::Stop => !request.stop.is_empty(),
            Field::N => request.n.is_some_and(|n| n != 1),
            Field::JsonObject => request.format == Some(Format::JsonObject),
            Field::JsonSchema => matches!(request.format, Some(Format::JsonSchema { .. })),
            Field::Verbosity => request.verbosity.is_some(),
            Field::Thinking => request.thinking.is_set(),
            Field::Tools => has_tool(|kind| matches!(kind, ToolKind::Function { .. })),
            Field::CustomTools => has_tool(|kind| matches!(kind, ToolKind::Custom { .. })),
            Field::WebSearch => searches(|_| true),
            Field::SearchContextSize => searches(|search| search.context_size.is_some()),
            Field::SearchLocation => searches(|search| search.location.is_some()),
            Field::SearchAllowedDomains => searches(|search| !search.allowed_domains.is_empty()),
            Field::SearchBlockedDomains => searches(|search| !search.blocked_domains.is_empty()),
            Field::SearchLimit => searches(|search| search.max_uses.is_some()),
            Field::ServerTools => has_tool(|kind| matches!(kind, ToolKind::Server(_))),
            Field::ToolChoice => {
                matches!(request.tool_choice, Some(ref choice) if !matches!(choice, ToolChoice::Allowed { .. }))
            }
            Field::AllowedTools => matches!(request.tool_choice, Some(ToolChoice::Allowed { .. })),
            Field::ParallelToolCalls => request.parallel_tool_calls == Some(false),
            Field::User => request.user.is_some(),
            Field::Metadata => request.metadata.as_ref().is_some_and(|fields| !fields.is_empty()),
            Field::ServiceTier => request.service_tier.as_ref().is_some_and(|tier| tier != "auto"),
        }
    }
}

fn is_nonzero(number: Option<&Number>) -> bool {
    number.is_some_and(|number| number.as_f64() != Some(0.0))
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty) || value.is_null()
}

/// What a target dialect makes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handling {
    /// It has the same; where in its request, as a JSON pointer.
    Mapped(&'static str),
    /// It has not the same, and is brought to do it; how.
    Emulated(&'static str),
    /// It has not the same, and the answer is as good without; why. The client is told in `x-gateway-ignored`.
    Ignored(&'static str),
    /// It cannot do it; why. The request is refused with a 400 that names the field.
    Refused(&'static str),
}

/// A request as a provider is to get it.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// Its body.
    pub body: Value,
    /// Fields that the table has a place for and this model takes none of; the answer is as good without. The client is
    /// told in `x-gateway-ignored`.
    pub left_out: Vec<Field>,
}

impl Written {
    /// A request with all that it asks for.
    pub fn whole(body: Value) -> Self {
        Written { body, left_out: Vec::new() }
    }
}
