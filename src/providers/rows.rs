//! The providers that come with the gateway, one row each.
//!
//! Invariant: a row says only what the provider's own pages say; its base URL has the form that the provider's SDK
//! takes.

use super::KeyHeader::{ApiKey, Bearer, GoogApiKey, XApiKey};
use super::quirk::Quirk;
use super::{KeyHeader, OPENROUTER};
use crate::dialect::Dialect;

/// A shipped provider, before configuration.
#[derive(Debug)]
pub struct Row {
    /// The prefix of its model ids.
    pub name: &'static str,
    /// Other prefixes that mean the same provider.
    pub aliases: &'static [&'static str],
    /// The variable that overrides `base_url`.
    pub base_url_var: &'static str,
    /// Where it is; empty where only the variable can say. `{account}` stands for the value of `account_var`.
    pub base_url: &'static str,
    /// The variable with the account that the base URL names.
    pub account_var: Option<&'static str>,
    /// The variable with the version of its API, which selects the form of its URLs.
    pub version_var: Option<&'static str>,
    /// The secret that holds the deployment's own key.
    pub key_var: &'static str,
    /// The dialects it speaks; the first is the one into which others are translated.
    pub speaks: &'static [Speaks],
    /// True when it has embeddings.
    pub embeddings: bool,
    /// True when it takes requests without a credential.
    pub keyless: bool,
    /// True when it has a list of models whose ids can be asked for.
    pub lists: bool,
    /// True when `PROVIDERS` may say anew where it is: an OpenAI-compatible provider like any other.
    pub declarable: bool,
    /// What it wants otherwise.
    pub quirks: &'static [Quirk],
}

/// One dialect of a provider.
#[derive(Debug)]
pub struct Speaks {
    /// The dialect.
    pub dialect: Dialect,
    /// What lies between the base URL and the endpoint's path.
    pub path: &'static str,
    /// How a credential is sent there.
    pub key: KeyHeader,
}

const CHAT: Speaks = Speaks { dialect: Dialect::Chat, path: "", key: Bearer };
const RESPONSES: Speaks = Speaks { dialect: Dialect::Responses, path: "", key: Bearer };
const MESSAGES: Speaks = Speaks { dialect: Dialect::Messages, path: "", key: Bearer };

/// An OpenAI-compatible provider, which the rows below fill in.
const COMPATIBLE: Row = Row {
    name: "",
    aliases: &[],
    base_url_var: "",
    base_url: "",
    account_var: None,
    version_var: None,
    key_var: "",
    speaks: &[CHAT],
    embeddings: true,
    keyless: false,
    lists: true,
    declarable: true,
    quirks: &[],
};

/// The shipped providers.
pub const ROWS: &[Row] = &[
    // https://platform.openai.com/docs/api-reference. Chat's `max_tokens` is deprecated there and refused by reasoning
    // models; responses are kept for `previous_response_id`.
    Row {
        name: "openai",
        base_url_var: "OPENAI_BASE_URL",
        base_url: "https://api.openai.com/v1",
        key_var: "OPENAI_API_KEY",
        speaks: &[RESPONSES, CHAT],
        declarable: false,
        quirks: &[Quirk::PrefersMaxCompletionTokens, Quirk::KeepsResponses],
        ..COMPATIBLE
    },
    // https://docs.anthropic.com/en/api/messages. Its OpenAI-compatible layer is for trying out: it has no prompt
    // caching, hides thinking and does not heed `strict` (https://docs.anthropic.com/en/api/openai-sdk), so Chat
    // Completions are translated here instead. It has no embeddings
    // (https://docs.anthropic.com/en/docs/build-with-claude/embeddings).
    Row {
        name: "anthropic",
        base_url_var: "ANTHROPIC_BASE_URL",
        base_url: "https://api.anthropic.com",
        key_var: "ANTHROPIC_API_KEY",
        speaks: &[Speaks { dialect: Dialect::Messages, path: "/v1", key: XApiKey }],
        embeddings: false,
        declarable: false,
        ..COMPATIBLE
    },
    // https://ai.google.dev/api/generate-content, https://ai.google.dev/gemini-api/docs/openai.
    Row {
        name: "google",
        aliases: &["gemini", "google-ai-studio"],
        base_url_var: "GOOGLE_BASE_URL",
        base_url: "https://generativelanguage.googleapis.com",
        key_var: "GOOGLE_API_KEY",
        speaks: &[
            Speaks { dialect: Dialect::Google, path: "/v1beta", key: GoogApiKey },
            Speaks { dialect: Dialect::Chat, path: "/v1beta/openai", key: Bearer },
        ],
        declarable: false,
        ..COMPATIBLE
    },
    // The service behind the Codex CLI, with a ChatGPT login's token. Its request has the fields of
    // https://github.com/openai/codex/blob/main/codex-rs/codex-api/src/common.rs; what has no place there is answered
    // with "Unsupported parameter" (https://github.com/RayBytes/ChatMock/issues/103). Its list of models wants the
    // version of a Codex client.
    Row {
        name: "codex",
        base_url_var: "CODEX_BASE_URL",
        base_url: "https://chatgpt.com/backend-api/codex",
        key_var: "CODEX_ACCESS_TOKEN",
        speaks: &[RESPONSES],
        embeddings: false,
        lists: false,
        declarable: false,
        quirks: &[
            Quirk::AlwaysStreams,
            Quirk::NoStore,
            Quirk::NeedsInstructions,
            Quirk::ListInput,
            Quirk::Lacks(&[
                "max_output_tokens",
                "temperature",
                "top_p",
                "top_logprobs",
                "metadata",
                "user",
                "safety_identifier",
                "truncation",
            ]),
        ],
        ..COMPATIBLE
    },
    // https://openrouter.ai/docs/api-reference/overview; its Responses keeps no state
    // (https://openrouter.ai/docs/api-reference/responses-api/overview).
    Row {
        name: OPENROUTER,
        base_url_var: "OPENROUTER_BASE_URL",
        base_url: "https://openrouter.ai/api/v1",
        key_var: "OPENROUTER_API_KEY",
        speaks: &[CHAT, RESPONSES, MESSAGES],
        declarable: false,
        ..COMPATIBLE
    },
    // https://learn.microsoft.com/en-us/azure/ai-foundry/openai/latest: a model's name is the name of a deployment,
    // which its list of models does not tell.
    Row {
        name: "azure",
        base_url_var: "AZURE_OPENAI_ENDPOINT",
        key_var: "AZURE_OPENAI_API_KEY",
        version_var: Some("AZURE_OPENAI_API_VERSION"),
        speaks: &[
            Speaks { dialect: Dialect::Responses, path: "/openai", key: ApiKey },
            Speaks { dialect: Dialect::Chat, path: "/openai", key: ApiKey },
        ],
        lists: false,
        declarable: false,
        quirks: &[Quirk::PrefersMaxCompletionTokens, Quirk::KeepsResponses],
        ..COMPATIBLE
    },
    // https://developers.cloudflare.com/workers-ai/configuration/open-ai-compatibility: Responses for some models only,
    // and no list. The names of its variables are not those by which wrangler takes its own credentials.
    Row {
        name: "workers-ai",
        base_url_var: "WORKERS_AI_BASE_URL",
        base_url: "https://api.cloudflare.com/client/v4/accounts/{account}/ai/v1",
        account_var: Some("WORKERS_AI_ACCOUNT_ID"),
        key_var: "WORKERS_AI_API_KEY",
        lists: false,
        declarable: false,
        ..COMPATIBLE
    },
    // https://console.groq.com/docs/openai; its Responses keeps no state
    // (https://console.groq.com/docs/responses-api).
    Row {
        name: "groq",
        base_url_var: "GROQ_BASE_URL",
        base_url: "https://api.groq.com/openai/v1",
        key_var: "GROQ_API_KEY",
        speaks: &[CHAT, RESPONSES],
        embeddings: false,
        ..COMPATIBLE
    },
    // https://docs.mistral.ai/api: its schema forbids fields it does not list, `stream_options` among them
    // (https://github.com/dnakov/anon-kode/issues/53), and usage comes with the last chunk.
    Row {
        name: "mistral",
        base_url_var: "MISTRAL_BASE_URL",
        base_url: "https://api.mistral.ai/v1",
        key_var: "MISTRAL_API_KEY",
        quirks: &[
            Quirk::NoStreamOptions,
            Quirk::OnlyMaxTokens,
            Quirk::SeedName("random_seed"),
            Quirk::Lacks(&["user", "store", "service_tier", "safety_identifier"]),
        ],
        ..COMPATIBLE
    },
    // https://api-docs.deepseek.com/api/create-chat-completion.
    Row {
        name: "deepseek",
        base_url_var: "DEEPSEEK_BASE_URL",
        base_url: "https://api.deepseek.com",
        key_var: "DEEPSEEK_API_KEY",
        embeddings: false,
        quirks: &[Quirk::OnlyMaxTokens],
        ..COMPATIBLE
    },
    // https://docs.x.ai/developers/model-capabilities/text/comparison: Chat Completions is deprecated there and gives no
    // reasoning; responses are kept for 30 days.
    Row {
        name: "xai",
        aliases: &["x-ai"],
        base_url_var: "XAI_BASE_URL",
        base_url: "https://api.x.ai/v1",
        key_var: "XAI_API_KEY",
        speaks: &[RESPONSES, CHAT],
        quirks: &[Quirk::KeepsResponses],
        ..COMPATIBLE
    },
    // https://docs.together.ai/docs/openai-api-compatibility,
    // https://docs.together.ai/reference/chat-completions-1.
    Row {
        name: "together",
        base_url_var: "TOGETHER_BASE_URL",
        base_url: "https://api.together.xyz/v1",
        key_var: "TOGETHER_API_KEY",
        quirks: &[Quirk::OnlyMaxTokens],
        ..COMPATIBLE
    },
    // https://docs.fireworks.ai/tools-sdks/openai-compatibility.
    Row {
        name: "fireworks",
        base_url_var: "FIREWORKS_BASE_URL",
        base_url: "https://api.fireworks.ai/inference/v1",
        key_var: "FIREWORKS_API_KEY",
        ..COMPATIBLE
    },
    // https://inference-docs.cerebras.ai/resources/openai.
    Row {
        name: "cerebras",
        base_url_var: "CEREBRAS_BASE_URL",
        base_url: "https://api.cerebras.ai/v1",
        key_var: "CEREBRAS_API_KEY",
        embeddings: false,
        ..COMPATIBLE
    },
    // https://docs.perplexity.ai/docs/grounded-llm/openai-compatibility. Its Chat Completions ended in September 2026
    // (https://docs.perplexity.ai/docs/agent-api/migrate-from-sonar/overview).
    Row {
        name: "perplexity",
        base_url_var: "PERPLEXITY_BASE_URL",
        base_url: "https://api.perplexity.ai/v1",
        key_var: "PERPLEXITY_API_KEY",
        speaks: &[RESPONSES],
        ..COMPATIBLE
    },
    // https://docs.ollama.com/api/openai-compatibility.
    Row {
        name: "ollama",
        base_url_var: "OLLAMA_BASE_URL",
        base_url: "http://127.0.0.1:11434/v1",
        key_var: "OLLAMA_API_KEY",
        keyless: true,
        quirks: &[Quirk::OnlyMaxTokens],
        ..COMPATIBLE
    },
    // https://lmstudio.ai/docs/developer/openai-compat.
    Row {
        name: "lmstudio",
        base_url_var: "LMSTUDIO_BASE_URL",
        base_url: "http://127.0.0.1:1234/v1",
        key_var: "LMSTUDIO_API_KEY",
        keyless: true,
        quirks: &[Quirk::OnlyMaxTokens],
        ..COMPATIBLE
    },
    // https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html.
    Row {
        name: "vllm",
        base_url_var: "VLLM_BASE_URL",
        base_url: "http://127.0.0.1:8000/v1",
        key_var: "VLLM_API_KEY",
        keyless: true,
        ..COMPATIBLE
    },
];
