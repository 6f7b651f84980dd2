//! The list of models: the providers' own lists, put together under the ids that the gateway takes.
//!
//! Invariant: every listed id is one that a request may name; a model that can be reached directly and through
//! OpenRouter is listed once.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value, json};

use crate::providers::OPENROUTER;
use crate::time::{from_rfc3339, iso};

/// One model.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The id to send.
    pub id: String,
    /// When it came out, in Unix seconds; 0 where the provider does not say.
    pub created: u64,
    /// Who made it, in the provider's words.
    pub owner: String,
    /// Its name for people.
    pub name: String,
}

/// Reads a provider's list; anything that is no model is passed over.
pub fn read_list(provider: &str, json: &[u8]) -> Vec<Model> {
    let entries = match serde_json::from_slice::<Value>(json) {
        Ok(Value::Object(mut list)) => list.get_mut("data").map(Value::take),
        // Together's is a bare array: https://docs.together.ai/reference/models-1.
        list => list.ok(),
    };
    let Some(Value::Array(entries)) = entries else { return Vec::new() };
    entries.iter().filter_map(Value::as_object).filter_map(|entry| read_entry(provider, entry)).collect()
}

fn read_entry(provider: &str, entry: &Map<String, Value>) -> Option<Model> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    let given = text("id")?;
    // Google lists resource names.
    let own = given.strip_prefix("models/").unwrap_or(given);
    let id = if provider == OPENROUTER { own.to_owned() } else { format!("{provider}/{own}") };
    Some(Model {
        created: entry
            .get("created")
            .and_then(Value::as_u64)
            .or(text("created_at").and_then(from_rfc3339).map(|ms| ms / 1_000))
            .unwrap_or(0),
        owner: text("owned_by").unwrap_or(provider).to_owned(),
        name: text("display_name").or(text("name")).unwrap_or(own).to_owned(),
        id,
    })
}

/// Puts the direct providers' lists and OpenRouter's together, sorted by id. A model that both have is the direct
/// provider's. `is_direct` says which prefixes lead to a provider of their own: under such a one OpenRouter's further
/// models would not be found there, so they name their way.
pub fn merged(direct: Vec<Vec<Model>>, routed: Vec<Model>, is_direct: impl Fn(&str) -> bool) -> Vec<Model> {
    let mut all: Vec<Model> = direct.into_iter().flatten().collect();
    let known: HashSet<String> = all.iter().map(|model| model.id.clone()).collect();
    for mut model in routed {
        if known.contains(&model.id) {
            continue;
        }
        if model.id.split_once('/').is_some_and(|(prefix, _)| is_direct(prefix)) {
            model.id = format!("{OPENROUTER}/{}", model.id);
        }
        all.push(model);
    }
    all.sort_by(|one, other| one.id.cmp(&other.id));
    all.dedup_by(|later, first| later.id == first.id);
    all
}

/// A project's own names, which stand for models in the order in which they are asked, as models. Those of which the caller may
/// not ask each model are left out.
pub fn named_by_project(
    aliases: &BTreeMap<String, Vec<String>>,
    may_ask: impl Fn(&str) -> bool,
) -> impl Iterator<Item = Model> {
    aliases.iter().filter(move |(_, models)| models.iter().all(|model| may_ask(model))).map(|(name, _)| {
        Model { id: name.clone(), created: 0, owner: "project".to_owned(), name: name.clone() }
    })
}

/// The list as OpenAI's API gives it.
pub fn openai_list(models: &[Model]) -> Value {
    json!({ "object": "list", "data": models.iter().map(openai_model).collect::<Vec<_>>() })
}

/// One model as OpenAI's API gives it.
pub fn openai_model(model: &Model) -> Value {
    json!({ "id": model.id, "object": "model", "created": model.created, "owned_by": model.owner })
}

/// The list as Anthropic's API gives it, in one page.
pub fn anthropic_list(models: &[Model]) -> Value {
    json!({
        "data": models.iter().map(anthropic_model).collect::<Vec<_>>(),
        "has_more": false,
        "first_id": models.first().map(|model| &model.id),
        "last_id": models.last().map(|model| &model.id),
    })
}

/// One model as Anthropic's API gives it.
pub fn anthropic_model(model: &Model) -> Value {
    json!({
        "type": "model",
        "id": model.id,
        "display_name": model.name,
        "created_at": iso(model.created.saturating_mul(1_000)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_together_under_the_ids_that_requests_name() {
        let list = |provider: &str, json: Value| read_list(provider, json.to_string().as_bytes());
        let openai = list("openai", json!({"data": [{"id": "gpt-5", "created": 7, "owned_by": "openai"}]}));
        let google = list(
            "google",
            json!({"data": [{"id": "models/gemini-2.5-flash", "display_name": "Flash",
                                                     "created_at": "2025-06-17T00:00:01Z"}]}),
        );
        let router = list(
            OPENROUTER,
            json!({"data": [{"id": "openai/gpt-5", "created": 9}, {"id": "openai/gpt-5:free"}, {"id": "x/y"}, {"no": "id"}, 1]}),
        );
        let models = merged(vec![openai, google], router, |prefix| matches!(prefix, "openai" | "google"));
        assert_eq!(
            openai_list(&models),
            json!({"object": "list", "data": [
                {"id": "google/gemini-2.5-flash", "object": "model", "created": 1_750_118_401, "owned_by": "google"},
                {"id": "openai/gpt-5", "object": "model", "created": 7, "owned_by": "openai"},
                {"id": "openrouter/openai/gpt-5:free", "object": "model", "created": 0, "owned_by": "openrouter"},
                {"id": "x/y", "object": "model", "created": 0, "owned_by": "openrouter"},
            ]})
        );
        assert_eq!(
            anthropic_list(&models[..1]),
            json!({"data": [{"type": "model", "id": "google/gemini-2.5-flash", "display_name": "Flash",
                             "created_at": "2025-06-17T00:00:01.000Z"}],
                   "has_more": false, "first_id": "google/gemini-2.5-flash", "last_id": "google/gemini-2.5-flash"})
        );
    }

    #[test]
    fn a_projects_own_names_are_listed_where_each_of_their_models_may_be_asked() {
        let aliases = BTreeMap::from([
            ("fast".to_owned(), vec!["a/small".to_owned(), "b/small".to_owned()]),
            ("strong".to_owned(), vec!["a/large".to_owned(), "c/large".to_owned()]),
        ]);
        let listed: Vec<Model> = named_by_project(&aliases, |model| model != "c/large").collect();
        let text = |text: &str| text.to_owned();
        assert_eq!(
            listed,
            [Model { id: text("fast"), created: 0, owner: text("project"), name: text("fast") }]
        );
        assert_eq!(named_by_project(&aliases, |_| true).count(), 2);
    }

    #[test]
    fn a_bare_array_is_a_list_too() {
        let models =
            read_list("together", br#"[{"id":"meta-llama/Llama-4","created":3},{"object":"model"}]"#);
        assert_eq!(
            models.iter().map(|model| model.id.as_str()).collect::<Vec<_>>(),
            ["together/meta-llama/Llama-4"]
        );
    }

    #[test]
    fn what_is_no_list_is_an_empty_one() {
        for json in ["", "[]", "{\"data\":{}}", "{\"error\":{}}"] {
            assert_eq!(read_list("openai", json.as_bytes()), []);
        }
    }
}
