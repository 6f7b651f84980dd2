//! Whose credential a request goes with: the five levels of a route, each alone and against the next.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use memory_gateway::bindings::{Binding, Bindings};
use memory_gateway::body::Body;
use memory_gateway::config::Config;
use memory_gateway::dialect::Dialect;
use memory_gateway::grant::Grant;
use memory_gateway::keys::Secret;
use memory_gateway::operation::Operation;
use memory_gateway::route::{canonical, check_models, route};
use memory_gateway::vault::Place;

const MASTER: (&str, &str) = ("MASTER_KEYS", "k1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=");
const OPENAI: (&str, &str) = ("OPENAI_API_KEY", "of-the-deployment");
const OPENROUTER: (&str, &str) = ("OPENROUTER_API_KEY", "of-openrouter");

/// The levels that a request may find a credential at, the first of which wins.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Level {
    Caller,
    Key,
    Project,
    Deployment,
    OpenRouter,
}

const LEVELS: [Level; 5] = [Level::Caller, Level::Key, Level::Project, Level::Deployment, Level::OpenRouter];

fn config(vars: &[(&str, &str)]) -> Config {
    Config::read(|name| vars.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
        .unwrap()
}

/// A binding of the project `p`, or of its key where one is named.
fn bound(key_id: &str, provider: &str, credential: &str) -> Binding {
    let place = Place { project: "p", key_id, provider };
    let sealed = config(&[MASTER]).master_keys.seal(&Secret::new(credential), place, [7; 12]).unwrap();
    Binding { key_id: key_id.into(), provider: provider.into(), sealed }
}

/// `provider model credential source`, or the error's code and message.
fn found(vars: &[(&str, &str)], bindings: Vec<Binding>, own: Option<&str>, model: &str) -> String {
    let own = own.map(Secret::new);
    let operation = Operation::Answer(Dialect::Chat);
    match route(&config(vars), operation, model, own.as_ref(), &Bindings::new("p", bindings)) {
        Ok(to) => format!(
            "{} {} {} {}",
            to.provider.name,
            to.model,
            to.credential.as_ref().map_or("-", Secret::reveal),
            to.source.as_str()
        ),
        Err(error) => format!("{} {}: {}", error.status(), error.code().unwrap_or("-"), error.message()),
    }
}

fn with(levels: &[Level]) -> String {
    let mut vars = vec![MASTER];
    let mut bindings = Vec::new();
    let mut own = None;
    for level in levels {
        match level {
            Level::Caller => own = Some("of-the-caller"),
            Level::Key => bindings.push(bound("k", "openai", "of-the-key")),
            Level::Project => bindings.push(bound("", "openai", "of-the-project")),
            Level::Deployment => vars.push(OPENAI),
            Level::OpenRouter => vars.push(OPENROUTER),
        }
    }
    found(&vars, bindings, own, "openai/gpt-5")
}

fn expected(level: Level) -> &'static str {
    match level {
        Level::Caller => "openai gpt-5 of-the-caller caller",
        Level::Key => "openai gpt-5 of-the-key key",
        Level::Project => "openai gpt-5 of-the-project project",
        Level::Deployment => "openai gpt-5 of-the-deployment deployment",
        Level::OpenRouter => "openrouter openai/gpt-5 of-openrouter deployment",
    }
}

#[test]
fn of_any_set_of_levels_the_first_wins() {
    for set in 1u32..32 {
        let levels: Vec<Level> = LEVELS
            .into_iter()
            .enumerate()
            .filter(|(at, _)| set & (1 << at) != 0)
            .map(|(_, level)| level)
            .collect();
        // In whatever order they are stored.
        for levels in [levels.clone(), levels.iter().rev().copied().collect()] {
            let first = LEVELS.into_iter().find(|level| levels.contains(level)).unwrap();
            assert_eq!(with(&levels), expected(first), "{levels:?}");
        }
    }
}

#[test]
fn without_any_level_the_error_names_the_secret_and_the_binding() {
    let told = with(&[]);
    assert!(told.starts_with("400 no_route: No route to `openai/gpt-5`"), "{told}");
    assert!(told.contains("the secret OPENAI_API_KEY (or OPENROUTER_API_KEY"), "{told}");
    assert!(told.contains("bind a credential for `openai` to the project"), "{told}");
}

#[test]
fn at_openrouter_the_same_order_holds() {
    let all = || vec![bound("", "openrouter", "of-the-project"), bound("k", "openrouter", "of-the-key")];
    let sent = |bindings, own| found(&[MASTER, OPENROUTER], bindings, own, "meta/llama");
    assert_eq!(sent(all(), Some("own")), "openrouter meta/llama own caller");
    assert_eq!(sent(all(), None), "openrouter meta/llama of-the-key key");
    assert_eq!(sent(all()[..1].to_vec(), None), "openrouter meta/llama of-the-project project");
    assert_eq!(sent(vec![], None), "openrouter meta/llama of-openrouter deployment");
    let told = found(&[MASTER], vec![], None, "openrouter/auto");
    assert!(told.contains("bind a credential for `openrouter` to the project"), "{told}");
}

#[test]
fn a_deployments_own_secret_for_the_provider_goes_before_a_binding_of_openrouter() {
    let bindings = || vec![bound("k", "openrouter", "of-the-key")];
    assert_eq!(found(&[MASTER, OPENAI], bindings(), None, "openai/gpt-5"), expected(Level::Deployment));
    assert_eq!(found(&[MASTER], bindings(), None, "openai/gpt-5"), "openrouter openai/gpt-5 of-the-key key");
}

#[test]
fn a_binding_goes_to_its_own_provider_only_under_each_of_its_names() {
    let bindings = || vec![bound("k", "google", "of-the-key")];
    assert_eq!(found(&[MASTER], bindings(), None, "gemini/x"), "google x of-the-key key");
    for model in ["openai/gpt-5", "groq/x", "meta/llama", "gpt-5", "openrouter/google/x"] {
        let told = found(&[MASTER], bindings(), None, model);
        assert!(told.starts_with("400 no_route"), "{model}: {told}");
    }
}

#[test]
fn a_binding_gives_a_keyless_provider_its_credential_and_cannot_say_where_one_is() {
    let local = ("PROVIDERS", r#"{"local":{"base_url":"http://127.0.0.1:1/v1"}}"#);
    assert_eq!(found(&[MASTER, local], vec![], None, "local/m"), "local m - none");
    assert_eq!(found(&[MASTER, local], vec![bound("", "local", "b")], None, "local/m"), "local m b project");
    let told = found(&[MASTER], vec![bound("", "azure", "b")], None, "azure/m");
    assert!(told.contains("Set the variable AZURE_OPENAI_ENDPOINT"), "{told}");
}

#[test]
fn a_binding_that_cannot_be_opened_is_not_passed_over() {
    let elsewhere = Binding { key_id: "k".into(), ..bound("", "openai", "moved") };
    for (vars, binding) in
        [(vec![OPENAI, OPENROUTER], bound("k", "openai", "b")), (vec![MASTER, OPENAI], elsewhere)]
    {
        let told = found(&vars, vec![binding], None, "openai/gpt-5");
        assert!(told.starts_with("500 binding_shut: The stored credential for `openai`"), "{told}");
    }
    // And is in nobody's way who has one of his own.
    assert_eq!(found(&[], vec![bound("k", "openai", "b")], Some("own"), "openai/x"), "openai x own caller");
}

#[test]
fn rules_about_models_see_through_other_names_of_a_provider_and_not_through_another_way() {
    let config = config(&[OPENAI]);
    for (model, own, id) in [
        ("openai/gpt-5", false, "openai/gpt-5"),
        ("gemini/x", false, "google/x"),
        ("gpt-5", true, "openai/gpt-5"),
        ("gpt-5", false, "gpt-5"),
        ("meta/llama", false, "meta/llama"),
        ("openrouter/openai/gpt-5", false, "openrouter/openai/gpt-5"),
        ("openrouter/auto", false, "openrouter/auto"),
        ("/", false, "/"),
    ] {
        assert_eq!(canonical(&config, model, own), id, "{model}");
    }
}

#[test]
fn every_model_that_a_request_names_must_be_allowed() {
    let config = config(&[OPENAI]);
    let grant = Grant::default().with_lists(Some(r#"["openai/*"]"#), None);
    let asked = |grant: &Grant, text: &str| {
        let body = Body::parse(text.as_bytes()).unwrap();
        let model = body.string("model").unwrap().unwrap();
        check_models(grant, &config, &model, &body, false).map_err(|error| (error.status(), error.code()))
    };
    for (text, outcome) in [
        (r#"{"model":"openai/a"}"#, Ok(())),
        (r#"{"model":"openai/a","models":["openai/b"]}"#, Ok(())),
        (r#"{"model":"google/a"}"#, Err((403, Some("model_not_allowed")))),
        (r#"{"model":"openai/a","models":["openai/b","google/b"]}"#, Err((403, Some("model_not_allowed")))),
        (r#"{"model":"openai/a","models":[{"id":"google/b"}]}"#, Err((400, None))),
        (r#"{"model":"openai/a","models":"google/b"}"#, Err((400, None))),
    ] {
        assert_eq!(asked(&grant, text), outcome, "{text}");
        assert_eq!(asked(&Grant::default(), text), Ok(()), "{text}");
    }
    let google = Grant::default().with_lists(Some(r#"["google/*"]"#), None);
    assert_eq!(asked(&google, r#"{"model":"gemini/a","models":["google-ai-studio/b"]}"#), Ok(()));
}
