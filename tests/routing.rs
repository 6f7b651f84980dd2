//! Which provider, URL, model name and credential a model id leads to.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

use memory_gateway::bindings::Bindings;
use memory_gateway::config::Config;
use memory_gateway::dialect::Dialect::{self, Chat, Google, Messages, Responses};
use memory_gateway::headers::{Headers, for_upstream};
use memory_gateway::keys::Secret;
use memory_gateway::operation::Operation::{self, Answer, CountTokens, Embeddings};
use memory_gateway::providers::quirk::Quirk;
use memory_gateway::providers::rows::ROWS;
use memory_gateway::route::route;

const OPENAI: (&str, &str) = ("OPENAI_API_KEY", "key-openai");
const ANTHROPIC: (&str, &str) = ("ANTHROPIC_API_KEY", "sk-ant-api03-k");
const GOOGLE: (&str, &str) = ("GOOGLE_API_KEY", "key-google");
const OPENROUTER: (&str, &str) = ("OPENROUTER_API_KEY", "key-openrouter");
const GROQ: (&str, &str) = (
    "PROVIDERS",
    r#"{"groq":{"base_url":"https://groq.test/v1","api_key_secret":"GROQ_API_KEY"},
        "local":{"base_url":"http://127.0.0.1:1/v1"}}"#,
);

fn config(vars: &[(&str, &str)]) -> Config {
    Config::read(|name| vars.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string()))
        .unwrap()
}

/// `provider model credential source`, or `status: message`.
fn found(vars: &[(&str, &str)], dialect: Dialect, model: &str, own: Option<&str>) -> String {
    found_for(vars, Answer(dialect), model, own)
}

fn found_for(vars: &[(&str, &str)], operation: Operation, model: &str, own: Option<&str>) -> String {
    let own = own.map(Secret::new);
    match route(&config(vars), operation, model, own.as_ref(), &Bindings::default()) {
        Ok(to) => format!(
            "{} {} {} {}",
            to.provider.name,
            to.model,
            to.credential.as_ref().map_or("-", Secret::reveal),
            to.source.as_str()
        ),
        Err(error) => {
            assert_eq!(error.body()["error"]["param"], "model");
            format!("{}: {}", error.status(), error.message())
        }
    }
}

#[test]
fn a_prefix_names_the_provider_and_is_stripped() {
    let all = [OPENAI, GOOGLE, OPENROUTER];
    assert_eq!(found(&all, Chat, "openai/gpt-5.4-mini", None), "openai gpt-5.4-mini key-openai deployment");
    assert_eq!(
        found(&all, Chat, "gemini/gemini-2.5-flash", None),
        "google gemini-2.5-flash key-google deployment"
    );
    assert_eq!(found(&all, Chat, "openai/ft:gpt/x", None), "openai ft:gpt/x key-openai deployment");
}

#[test]
fn a_declared_provider_routes_like_a_built_in_one() {
    assert_eq!(
        found(&[GROQ, ("GROQ_API_KEY", "key-groq")], Chat, "groq/llama", None),
        "groq llama key-groq deployment"
    );
    assert_eq!(found(&[GROQ], Chat, "local/qwen", None), "local qwen - none");
}

#[test]
fn openrouter_takes_whatever_has_no_credential_of_its_own_with_the_id_unchanged() {
    assert_eq!(
        found(&[OPENROUTER], Chat, "openai/gpt-5.4-mini", None),
        "openrouter openai/gpt-5.4-mini key-openrouter deployment"
    );
    assert_eq!(
        found(&[OPENROUTER, OPENAI], Chat, "meta-llama/llama-4", None),
        "openrouter meta-llama/llama-4 key-openrouter deployment"
    );
    assert_eq!(
        found(&[OPENROUTER, OPENAI], Chat, "gpt-5", None),
        "openrouter gpt-5 key-openrouter deployment"
    );
    assert_eq!(
        found(&[OPENROUTER, OPENAI], Responses, "google/gemini-2.5-flash", None),
        "openrouter google/gemini-2.5-flash key-openrouter deployment"
    );
    assert_eq!(
        found(&[OPENROUTER], Chat, "x-ai/grok-5", None),
        "openrouter x-ai/grok-5 key-openrouter deployment",
        "an alias changes nothing in the id"
    );
}

#[test]
fn an_explicit_openrouter_prefix_only_names_the_way() {
    assert_eq!(
        found(&[OPENROUTER, OPENAI], Chat, "openrouter/openai/gpt-5", None),
        "openrouter openai/gpt-5 key-openrouter deployment"
    );
    assert_eq!(
        found(&[OPENROUTER], Chat, "openrouter/auto", None),
        "openrouter openrouter/auto key-openrouter deployment"
    );
    assert_eq!(
        found(&[OPENROUTER], Chat, "openrouter/meta-llama/llama-4:free", Some("own")),
        "openrouter meta-llama/llama-4:free own caller"
    );
    assert_eq!(
        found(&[OPENROUTER, OPENAI], Chat, "openrouter/groq/compound", None),
        "openrouter groq/compound key-openrouter deployment"
    );
}

#[test]
fn the_callers_own_credential_beats_the_deployments() {
    assert_eq!(found(&[OPENAI, OPENROUTER], Chat, "openai/gpt-5", Some("own")), "openai gpt-5 own caller");
    assert_eq!(found(&[], Chat, "some/model", Some("own")), "openrouter some/model own caller");
}

#[test]
fn bare_names_are_inferred_only_with_the_callers_own_credential() {
    for (model, provider) in [
        ("gpt-5.4-mini", "openai"),
        ("o1", "openai"),
        ("o3-mini", "openai"),
        ("o4-mini", "openai"),
        ("chatgpt-4o-latest", "openai"),
        ("codex-mini", "openai"),
        ("gemini-2.5-flash", "google"),
        ("claude-sonnet-5", "anthropic"),
    ] {
        assert_eq!(found(&[], Chat, model, Some("own")), format!("{provider} {model} own caller"));
    }
    assert!(found(&[], Chat, "llama", Some("own")).starts_with("400: Cannot tell whose model"));
}

#[test]
fn an_own_credential_never_reaches_another_provider() {
    for row in ROWS {
        for operation in [Answer(Chat), Answer(Messages), Embeddings] {
            let answer = found_for(&[OPENROUTER], operation, &format!("{}/a/m", row.name), Some("own"));
            let refused = answer.starts_with("400: The provider `")
                || answer.starts_with("400: The gateway does not know where");
            assert!(refused || answer == format!("{} a/m own caller", row.name), "{answer}");
        }
    }
}

#[test]
fn vectors_are_asked_only_of_providers_that_have_them() {
    let all = [OPENAI, ANTHROPIC];
    let refusal = "400: The provider `anthropic` has no embeddings. Use a model of another provider.";
    assert_eq!(found_for(&all, Embeddings, "anthropic/claude-x", None), refusal);
    assert_eq!(found_for(&all, Embeddings, "anthropic/claude-x", Some("own")), refusal);
    assert_eq!(
        found_for(&[ANTHROPIC, OPENROUTER], Embeddings, "anthropic/claude-x", None),
        "openrouter anthropic/claude-x key-openrouter deployment"
    );
    assert_eq!(
        found_for(&all, Embeddings, "openai/text-embedding-3-small", None),
        "openai text-embedding-3-small key-openai deployment"
    );
    let declared = ("PROVIDERS", r#"{"own":{"base_url":"https://own.test","dialects":["messages"]}}"#);
    assert!(found_for(&[declared], Embeddings, "own/m", None).contains("has no embeddings"));
}

#[test]
fn tokens_are_counted_by_the_maker_of_messages_alone() {
    let config = config(&[ANTHROPIC, OPENAI, OPENROUTER]);
    let counts = |model: &str| {
        let to = route(&config, CountTokens, model, None, &Bindings::default()).unwrap();
        to.provider.counts_tokens().then(|| to.url(CountTokens, false))
    };
    assert_eq!(
        counts("anthropic/claude-x").as_deref(),
        Some("https://api.anthropic.com/v1/messages/count_tokens")
    );
    assert_eq!(counts("openai/gpt-5"), None);
    assert_eq!(counts("meta/llama"), None);
}

#[test]
fn without_a_route_the_error_names_the_missing_secret() {
    for (model, cure) in [
        ("openai/gpt-5", "Set the secret OPENAI_API_KEY (or OPENROUTER_API_KEY"),
        ("gpt-5", "Write it as `openai/gpt-5`, or set the secret OPENROUTER_API_KEY"),
        ("llama", "Write it as `provider/model`, or set"),
        ("meta/llama", "Set the secret OPENROUTER_API_KEY, or declare the provider in PROVIDERS"),
        ("openrouter/auto", "Set the secret OPENROUTER_API_KEY, bind a credential for `openrouter`"),
    ] {
        let answer = found(&[], Chat, model, None);
        assert!(answer.starts_with("400: No route to") && answer.contains(cure), "{model}: {answer}");
    }
    assert!(found(&[GROQ], Chat, "groq/llama", None).contains("GROQ_API_KEY"));
    assert!(
        found(&[], Chat, "azure/my-gpt", None)
            .contains("Set the variable AZURE_OPENAI_ENDPOINT and the secret AZURE_OPENAI_API_KEY")
    );
    assert!(
        found(&[("WORKERS_AI_API_KEY", "k")], Chat, "workers-ai/@cf/m", None)
            .contains("Set the variable WORKERS_AI_ACCOUNT_ID")
    );
    assert_eq!(
        found(&[], Chat, "azure/my-gpt", Some("own")),
        "400: The gateway does not know where the provider `azure` is. Its operator has to set the variable \
         AZURE_OPENAI_ENDPOINT."
    );
}

#[test]
fn an_id_that_is_too_long_to_be_kept_is_refused_whoever_is_asked() {
    let id = |bytes: usize| format!("openai/{}", "x".repeat(bytes - "openai/".len()));
    let refused = "400: The model's id has 513 bytes; 512 is the most.";
    for own in [None, Some("sk-own")] {
        assert_eq!(found(&[OPENAI], Chat, &id(513), own), refused);
        assert!(found(&[OPENAI], Chat, &id(512), own).starts_with("openai xxx"));
    }
    assert_eq!(found(&[OPENROUTER], Chat, &"x".repeat(513), None), refused);
}

#[test]
fn what_is_no_model_id_is_refused() {
    for model in ["", "/", "openai/", "/gpt"] {
        assert!(found(&[OPENAI], Chat, model, None).contains("is not a model id"), "{model}");
    }
}

/// The headers that carry the credential to the provider.
fn sent(
    vars: &[(&str, &str)],
    dialect: Dialect,
    model: &str,
    own: Option<&str>,
    client: &str,
) -> Vec<(&'static str, String)> {
    let config = config(vars);
    let own = own.map(Secret::new);
    let to = route(&config, Answer(dialect), model, own.as_ref(), &Bindings::default()).unwrap();
    to.credential_headers(Headers::from_lines(client))
}

/// `dialect url header` of a request with the deployment's own credential.
fn asked(vars: &[(&str, &str)], operation: Operation, model: &str, stream: bool) -> String {
    let config = config(vars);
    let to = route(&config, operation, model, None, &Bindings::default()).unwrap();
    let headers = to.credential_headers(Headers::from_lines(""));
    let header = headers.first().map_or("-".to_owned(), |(name, value)| format!("{name}: {value}"));
    format!("{:?} {} {header}", to.dialect, to.url(operation, stream))
}

#[test]
fn messages_goes_to_anthropic_and_openrouter() {
    let all = [ANTHROPIC, OPENROUTER];
    assert_eq!(
        found(&all, Messages, "anthropic/claude-sonnet-5", None),
        "anthropic claude-sonnet-5 sk-ant-api03-k deployment"
    );
    assert_eq!(
        found(&[OPENROUTER], Messages, "anthropic/claude-sonnet-5", None),
        "openrouter anthropic/claude-sonnet-5 key-openrouter deployment"
    );
    let elsewhere = [ANTHROPIC, ("ANTHROPIC_BASE_URL", "http://a.test/")];
    let asked = |dialect: Dialect| asked(&elsewhere, Answer(dialect), "anthropic/claude-x", false);
    let messages = "Messages http://a.test/v1/messages x-api-key: sk-ant-api03-k";
    assert_eq!(asked(Messages), messages);
    assert_eq!(asked(Chat), messages, "never its OpenAI-compatible layer");
}

#[test]
fn a_key_goes_to_anthropics_own_api_as_x_api_key_with_a_version() {
    let version = ("anthropic-version", "2023-06-01".to_owned());
    let key = ("x-api-key", "sk-ant-api03-k".to_owned());
    let model = "anthropic/claude-sonnet-5";
    assert_eq!(sent(&[ANTHROPIC], Messages, model, None, ""), [key.clone(), version.clone()]);
    assert_eq!(
        sent(&[ANTHROPIC], Messages, model, None, "anthropic-version: 2024-01-01"),
        [key],
        "the client's version stands"
    );
    assert_eq!(
        sent(&[("ANTHROPIC_API_KEY", "sk-ant-oat01-t")], Messages, model, None, ""),
        [("authorization", "Bearer sk-ant-oat01-t".to_owned()), version]
    );
}

#[test]
fn the_callers_credential_goes_to_anthropic_in_the_form_in_which_it_came() {
    let model = "claude-sonnet-5";
    let name = |own: &str, client: &str| sent(&[], Messages, model, Some(own), client)[0].clone();
    let bearer = |text: &str| ("authorization", format!("Bearer {text}"));
    let key = |text: &str| ("x-api-key", text.to_owned());
    assert_eq!(name("tok", "authorization: Bearer tok"), bearer("tok"));
    assert_eq!(name("tok", "x-api-key: tok"), key("tok"));
    assert_eq!(name("sk-ant-oat01-t", "x-api-key: sk-ant-oat01-t"), bearer("sk-ant-oat01-t"));
    assert_eq!(name("sk-ant-api03-k", "authorization: Bearer sk-ant-api03-k"), key("sk-ant-api03-k"));
}

#[test]
fn every_other_provider_takes_a_bearer_unless_it_is_declared_otherwise() {
    let bearer = [("authorization", "Bearer key-openrouter".to_owned())];
    assert_eq!(sent(&[OPENROUTER], Messages, "anthropic/claude", None, ""), bearer);
    assert_eq!(sent(&[OPENAI], Responses, "openai/gpt-5", None, "")[0].0, "authorization");
    assert_eq!(sent(&[GROQ], Chat, "local/qwen", None, ""), []);
    let declared = (
        "PROVIDERS",
        r#"{"own":{"base_url":"https://own.test/v1","api_key_secret":"OWN_KEY","dialects":["messages"],
                   "messages_key":"x-api-key"}}"#,
    );
    let headers = sent(&[declared, ("OWN_KEY", "k")], Messages, "own/model", None, "");
    assert_eq!(headers, [("x-api-key", "k".to_owned()), ("anthropic-version", "2023-06-01".to_owned())]);
}

#[test]
fn each_provider_is_asked_in_a_dialect_it_speaks_at_its_own_address_with_its_own_key() {
    let vars: Vec<(&str, &str)> = ROWS
        .iter()
        .map(|row| (row.key_var, row.name))
        .chain([("AZURE_OPENAI_ENDPOINT", "https://mine.openai.azure.com"), ("WORKERS_AI_ACCOUNT_ID", "abc")])
        .collect();
    let all: Vec<String> = ROWS
        .iter()
        .flat_map(|row| [Chat, Responses, Messages].map(|dialect| (row.name, dialect)))
        .map(|(name, dialect)| {
            format!("{name}: {}", asked(&vars, Answer(dialect), &format!("{name}/m/x"), false))
        })
        .collect();
    let bearer = |name: &str, base: &str, spoken: [&str; 3]| {
        spoken.map(|spoken| {
            let path = match spoken {
                "Chat" => "/chat/completions",
                "Responses" => "/responses",
                _ => "/messages",
            };
            format!("{name}: {spoken} {base}{path} authorization: Bearer {name}")
        })
    };
    const CHAT: [&str; 3] = ["Chat"; 3];
    const RESPONSES: [&str; 3] = ["Responses"; 3];
    const OPENAIS: [&str; 3] = ["Chat", "Responses", "Responses"];
    let google = "https://generativelanguage.googleapis.com/v1beta";
    let native = format!("google: Google {google}/models/m%2Fx:generateContent x-goog-api-key: google");
    let claude = "anthropic: Messages https://api.anthropic.com/v1/messages x-api-key: anthropic".to_owned();
    let azure = |dialect: &str, path: &str| {
        format!("azure: {dialect} https://mine.openai.azure.com/openai/v1{path} api-key: azure")
    };
    let expected: Vec<String> = [
        bearer("openai", "https://api.openai.com/v1", OPENAIS),
        [claude.clone(), claude.clone(), claude],
        [
            format!("google: Chat {google}/openai/chat/completions authorization: Bearer google"),
            native.clone(),
            native,
        ],
        bearer("codex", "https://chatgpt.com/backend-api/codex", RESPONSES),
        bearer("openrouter", "https://openrouter.ai/api/v1", ["Chat", "Responses", "Messages"]),
        [
            azure("Chat", "/chat/completions"),
            azure("Responses", "/responses"),
            azure("Responses", "/responses"),
        ],
        bearer("workers-ai", "https://api.cloudflare.com/client/v4/accounts/abc/ai/v1", CHAT),
        bearer("groq", "https://api.groq.com/openai/v1", ["Chat", "Responses", "Chat"]),
        bearer("mistral", "https://api.mistral.ai/v1", CHAT),
        bearer("deepseek", "https://api.deepseek.com", CHAT),
        bearer("xai", "https://api.x.ai/v1", OPENAIS),
        bearer("together", "https://api.together.xyz/v1", CHAT),
        bearer("fireworks", "https://api.fireworks.ai/inference/v1", CHAT),
        bearer("cerebras", "https://api.cerebras.ai/v1", CHAT),
        bearer("perplexity", "https://api.perplexity.ai/v1", RESPONSES),
        bearer("ollama", "http://127.0.0.1:11434/v1", CHAT),
        bearer("lmstudio", "http://127.0.0.1:1234/v1", CHAT),
        bearer("vllm", "http://127.0.0.1:8000/v1", CHAT),
    ]
    .concat();
    assert_eq!(all, expected);
}

#[test]
fn every_row_moves_with_its_variable_and_takes_its_key_along_to_nowhere_else() {
    for row in ROWS {
        let vars = [(row.base_url_var, "http://moved.test:9"), (row.key_var, "its-key")];
        for operation in [Answer(Chat), Answer(Messages), Answer(Responses), Embeddings] {
            if operation == Embeddings && !row.embeddings {
                continue;
            }
            let asked = asked(&vars, operation, &format!("{}/m", row.name), true);
            assert!(asked.contains(" http://moved.test:9/") && asked.contains("its-key"), "{asked}");
        }
        for other in ROWS.iter().filter(|other| other.name != row.name) {
            let answer = found(&[(row.key_var, "its-key")], Chat, &format!("{}/m", other.name), None);
            let through = row.name == "openrouter" && answer.starts_with("openrouter ");
            assert!(through || !answer.contains("its-key"), "{} for {}: {answer}", row.name, other.name);
        }
    }
}

#[test]
fn googles_own_api_has_the_model_in_its_path_and_another_path_for_streams() {
    let asked = |model: &str, stream: bool| asked(&[GOOGLE], Answer(Messages), model, stream);
    let host = "https://generativelanguage.googleapis.com/v1beta";
    let key = "x-goog-api-key: key-google";
    assert_eq!(
        asked("google/gemini-2.5-flash", false),
        format!("Google {host}/models/gemini-2.5-flash:generateContent {key}")
    );
    assert_eq!(
        asked("gemini/gemini-2.5-flash", true),
        format!("Google {host}/models/gemini-2.5-flash:streamGenerateContent?alt=sse {key}")
    );
    assert_eq!(
        asked("google/tunedModels/mine", false),
        format!("Google {host}/tunedModels/mine:generateContent {key}")
    );
    assert_eq!(
        asked("google/../x?key=y#", false),
        format!("Google {host}/models/..%2Fx%3Fkey%3Dy%23:generateContent {key}")
    );
}

#[test]
fn googles_keys_and_tokens_go_in_the_header_that_its_api_reads() {
    let sent = |dialect: Dialect, own: &str| {
        sent(&[], dialect, "google/gemini-2.5-flash", Some(own), &format!("authorization: Bearer {own}"))
    };
    assert_eq!(sent(Messages, "AIzaKey"), [("x-goog-api-key", "AIzaKey".to_owned())]);
    assert_eq!(sent(Messages, "ya29.token"), [("authorization", "Bearer ya29.token".to_owned())]);
    assert_eq!(sent(Chat, "AIzaKey"), [("authorization", "Bearer AIzaKey".to_owned())]);
}

#[test]
fn azure_has_newer_urls_and_with_a_version_of_its_api_the_older_ones() {
    let key = ("AZURE_OPENAI_API_KEY", "k");
    let version = ("AZURE_OPENAI_API_VERSION", "2024-10-21");
    for endpoint in
        ["https://a.test", "https://a.test/", "https://a.test/openai/v1/", "https://a.test/openai"]
    {
        let endpoint = ("AZURE_OPENAI_ENDPOINT", endpoint);
        assert_eq!(
            asked(&[key, endpoint], Answer(Chat), "azure/my gpt", false),
            "Chat https://a.test/openai/v1/chat/completions api-key: k"
        );
        let older = |operation| asked(&[key, endpoint, version], operation, "azure/my gpt", true);
        assert_eq!(
            older(Answer(Chat)),
            "Chat https://a.test/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21 api-key: k"
        );
        assert_eq!(
            older(Answer(Messages)),
            "Responses https://a.test/openai/responses?api-version=2024-10-21 api-key: k"
        );
        assert_eq!(
            older(Embeddings),
            "Chat https://a.test/openai/deployments/my%20gpt/embeddings?api-version=2024-10-21 api-key: k"
        );
    }
    let own = |own: &str| {
        sent(&[("AZURE_OPENAI_ENDPOINT", "https://a.test")], Chat, "azure/m", Some(own), "")[0].clone()
    };
    assert_eq!(own("key"), ("api-key", "key".to_owned()));
    assert_eq!(own("eyJ0eXAi.a.b"), ("authorization", "Bearer eyJ0eXAi.a.b".to_owned()));
}

#[test]
fn a_chatgpt_login_reaches_codex_with_the_headers_that_name_its_account() {
    let client =
        "authorization: Bearer eyJ.a.b\nchatgpt-account-id: acc\noriginator: codex_cli_rs\nx-other: no";
    assert_eq!(
        sent(&[], Responses, "codex/gpt-5.4", Some("eyJ.a.b"), client),
        [("authorization", "Bearer eyJ.a.b".to_owned())]
    );
    assert_eq!(
        for_upstream(Headers::from_lines(client), Responses).collect::<Vec<_>>(),
        [("chatgpt-account-id", "acc"), ("originator", "codex_cli_rs")]
    );
    let config = config(&[]);
    let codex = config.provider("codex").unwrap();
    assert!(codex.has(Quirk::AlwaysStreams) && codex.has(Quirk::NoStore));
    assert!(codex.must_adapt(Responses, |_| false));
    assert!(!config.provider("openai").unwrap().must_adapt(Responses, |_| true));
    assert!(!config.provider("mistral").unwrap().usage_option());
}

#[test]
fn a_model_server_of_ones_own_is_used_by_its_name_and_listed_once_its_address_is_set() {
    assert_eq!(found(&[OPENROUTER], Chat, "ollama/qwen3:4b", None), "ollama qwen3:4b - none");
    assert_eq!(
        asked(&[], Answer(Messages), "vllm/Qwen/Qwen3", false),
        "Chat http://127.0.0.1:8000/v1/chat/completions -"
    );
    assert_eq!(
        found(&[("VLLM_API_KEY", "k")], Chat, "vllm/Qwen/Qwen3", None),
        "vllm Qwen/Qwen3 k deployment"
    );
    assert!(found(&[], Chat, "qwen3:4b", None).starts_with("400: No route"), "a bare name is nobody's");
    let listed = |vars: &[(&str, &str)]| {
        let config = config(vars);
        let reached = config.providers.iter().filter(|one| one.listed && one.is_reached());
        reached.map(|one| one.list_url()).collect::<Vec<_>>()
    };
    assert_eq!(listed(&[]), [""; 0]);
    assert_eq!(listed(&[("OLLAMA_BASE_URL", "http://box:11434/v1")]), ["http://box:11434/v1/models"]);
    assert_eq!(listed(&[("GROQ_BASE_URL", "http://groq.test")]), [""; 0], "but not without its key");
    assert_eq!(
        listed(&[GOOGLE, ANTHROPIC, ("CODEX_ACCESS_TOKEN", "t")]),
        [
            "https://api.anthropic.com/v1/models?limit=1000",
            "https://generativelanguage.googleapis.com/v1beta/openai/models"
        ]
    );
}

#[test]
fn a_declared_provider_replaces_the_shipped_one_of_its_name_and_keeps_what_is_peculiar_to_it() {
    let vars = [
        (
            "PROVIDERS",
            r#"{"mistral":{"base_url":"https://mine.test/v1","api_key_secret":"MINE"},
                "speaks-google":{"base_url":"https://g.test/v1beta","dialects":["google"]}}"#,
        ),
        ("MINE", "k"),
        ("MISTRAL_API_KEY", "shipped"),
        ("MISTRAL_BASE_URL", "https://other.test"),
    ];
    assert_eq!(
        asked(&vars, Answer(Chat), "mistral/m", false),
        "Chat https://mine.test/v1/chat/completions authorization: Bearer k"
    );
    assert!(!config(&vars).provider("mistral").unwrap().usage_option());
    assert_eq!(
        asked(&vars, Answer(Chat), "speaks-google/m", true),
        "Google https://g.test/v1beta/models/m:streamGenerateContent?alt=sse -"
    );
    assert!(!config(&vars).provider("speaks-google").unwrap().speaks(Chat));
    assert_eq!(config(&vars).provider("speaks-google").unwrap().dialect_for(Google), Google);
}
