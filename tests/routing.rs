//! Which provider, model name and credential a model id leads to.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

use memory_gateway::config::Config;
use memory_gateway::dialect::Dialect::{self, Chat, Messages, Responses};
use memory_gateway::headers::Headers;
use memory_gateway::keys::Secret;
use memory_gateway::route::{CredentialSource, route};

const OPENAI: (&str, &str) = ("OPENAI_API_KEY", "key-openai");
const ANTHROPIC: (&str, &str) = ("ANTHROPIC_API_KEY", "sk-ant-api03-k");
const GOOGLE: (&str, &str) = ("GOOGLE_API_KEY", "key-google");
const OPENROUTER: (&str, &str) = ("OPENROUTER_API_KEY", "key-openrouter");
const GROQ: (&str, &str) = (
    "PROVIDERS",
    r#"{"groq":{"base_url":"https://groq.test/v1","api_key_secret":"GROQ_API_KEY"},
        "local":{"base_url":"http://127.0.0.1:1/v1"}}"#,
);

/// `provider model credential source`, or `status: message`.
fn found(vars: &[(&str, &str)], dialect: Dialect, model: &str, own: Option<&str>) -> String {
    let config = Config::read(|name| {
        vars.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string())
    })
    .unwrap();
    let own = own.map(Secret::new);
    match route(&config, dialect, model, own.as_ref()) {
        Ok(to) => format!(
            "{} {} {} {}",
            to.provider.name,
            to.model,
            to.credential.as_ref().map_or("-", Secret::reveal),
            match to.source {
                CredentialSource::Caller => "caller",
                CredentialSource::Deployment => "deployment",
                CredentialSource::None => "none",
            }
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
        found(&[OPENROUTER, GOOGLE], Responses, "google/gemini-2.5-flash", None),
        "openrouter google/gemini-2.5-flash key-openrouter deployment"
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
    // Google speaks no Responses; with its own key in hand the caller is told, not sent to OpenRouter.
    assert_eq!(
        found(&[OPENROUTER], Responses, "google/gemini-2.5-flash", Some("own")),
        "400: The provider `google` does not speak the Responses API. Use /v1/chat/completions, or a model of another \
         provider."
    );
}

#[test]
fn without_a_route_the_error_names_the_missing_secret() {
    for (model, cure) in [
        ("openai/gpt-5", "Set the secret OPENAI_API_KEY (or OPENROUTER_API_KEY"),
        ("gpt-5", "Write it as `openai/gpt-5`, or set the secret OPENROUTER_API_KEY"),
        ("llama", "Write it as `provider/model`, or set"),
        ("meta/llama", "Set the secret OPENROUTER_API_KEY, or declare the provider in PROVIDERS"),
        ("openrouter/auto", "Set the secret OPENROUTER_API_KEY, or send"),
    ] {
        let answer = found(&[], Chat, model, None);
        assert!(answer.starts_with("400: No route to") && answer.contains(cure), "{model}: {answer}");
    }
    assert!(found(&[GROQ], Chat, "groq/llama", None).contains("GROQ_API_KEY"));
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
    let config = Config::read(|name| {
        vars.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string())
    })
    .unwrap();
    let own = own.map(Secret::new);
    let to = route(&config, dialect, model, own.as_ref()).unwrap();
    to.credential_headers(dialect, Headers::from_lines(client))
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
    let config =
        Config::read(|name| (name == "ANTHROPIC_BASE_URL").then(|| "http://a.test/".to_owned())).unwrap();
    let url = |dialect: Dialect| {
        format!("{}{}", config.provider("anthropic").unwrap().base_url, dialect.upstream_path())
    };
    assert_eq!(url(Messages), "http://a.test/v1/messages");
    assert_eq!(url(Chat), "http://a.test/v1/chat/completions");
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
        sent(&[ANTHROPIC], Chat, model, None, ""),
        [("authorization", "Bearer sk-ant-api03-k".to_owned())],
        "its OpenAI-compatible API takes a bearer"
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
