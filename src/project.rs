//! What a project may set for itself: a JSON document with a fixed schema.
//!
//! Invariant: what is stored was checked when it came in; a field that nobody reads is refused by its name, so that a
//! typing error is never taken for a setting.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::attempts::routes::MOST_MODELS;
use crate::error::Error;
use crate::memory::address::Scope;
use crate::memory::settings::Overrides;

/// A project's settings. What is absent follows the deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How its threads are remembered.
    #[serde(default, skip_serializing_if = "MemorySettings::is_empty")]
    pub memory: MemorySettings,
    /// The gateway's own tools that its requests have; `x-gateway-tools` overrules it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<Tool>>,
    /// Names of its own for models: each stands for the models that are tried in turn, as `provider/model`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub aliases: BTreeMap<String, Vec<String>>,
    /// How long its data is kept.
    #[serde(default, skip_serializing_if = "Retention::is_empty")]
    pub retention: Retention,
}

/// How a project's threads are remembered. Tokens are estimated ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemorySettings {
    /// Raw tokens that no active note covers, from which on ready notes take their place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observe_tokens: Option<u32>,
    /// Raw tokens after which the observer is called in the background.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffer_tokens: Option<u32>,
    /// Raw tokens that stay in the prompt when notes take the place of the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_tokens: Option<u32>,
    /// Tokens of notes from which on the reflector is called in the background.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reflect_tokens: Option<u32>,
    /// Tokens of notes from which on the reflector's result takes their place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap_tokens: Option<u32>,
    /// Whether notes take the messages' place early once the provider's prompt cache has expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_activation: Option<bool>,
    /// The model that takes notes, as `provider/model`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observer_model: Option<String>,
    /// The model that condenses notes, as `provider/model`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reflector_model: Option<String>,
    /// What is injected where the request does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// The users' time zone, as the IANA database names it (`Europe/Berlin`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
}

/// A tool that the gateway itself carries out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tool {
    /// Searches the web.
    WebSearch,
    /// Searches what the gateway remembers.
    Recall,
}

/// How long a project's data is kept, in days.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Threads, after their last turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads_days: Option<u32>,
    /// Rows of the log of requests, but for their sums by the hour, which stay; absent: as long as the deployment says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs_days: Option<u32>,
}

/// More raw tokens than any model's window.
const MAX_TOKENS: u32 = 10_000_000;
/// How many names of its own a project may have.
const MOST_ALIASES: usize = 64;
/// A hundred years, as everywhere.
const MAX_DAYS: u32 = 36_500;

impl Settings {
    /// Reads a document that a client sent. Errors: 400 that names the field by its path, as in
    /// `settings.memory.observe_tokens`.
    pub fn read(document: &Value) -> Result<Self, Error> {
        let sections = object(document, "settings")?;
        let settings = Settings {
            memory: section(sections, "memory")?,
            retention: section(sections, "retention")?,
            ..fields(sections, "settings", |name| !matches!(name, "memory" | "retention"))?
        };
        settings.memory.check()?;
        settings.retention.check()?;
        check_aliases(&settings.aliases)?;
        Ok(settings)
    }

    /// These settings with a JSON merge patch (RFC 7396) applied: `null` takes a field back. Errors: as of
    /// [`Settings::read`].
    pub fn patched(&self, patch: &Value) -> Result<Self, Error> {
        object(patch, "settings")?;
        let mut document = self.document();
        merge(&mut document, patch);
        Settings::read(&document)
    }

    /// What was stored. A document that an older or newer version wrote keeps what is understood of it: a request must
    /// not fail for a setting.
    pub fn stored(text: &str) -> Self {
        let Ok(Value::Object(sections)) = serde_json::from_str(text) else { return Settings::default() };
        let inner = |name: &str| sections.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
        Settings {
            memory: understood(&inner("memory")),
            retention: understood(&inner("retention")),
            ..understood(&sections)
        }
    }

    /// The document.
    pub fn document(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

impl MemorySettings {
    /// What they say otherwise than the deployment, as threads take it.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            observe_tokens: self.observe_tokens.map(u64::from),
            buffer_tokens: self.buffer_tokens.map(u64::from),
            keep_tokens: self.keep_tokens.map(u64::from),
            reflect_tokens: self.reflect_tokens.map(u64::from),
            swap_tokens: self.swap_tokens.map(u64::from),
            idle_activation: self.idle_activation,
            observer_model: self.observer_model.clone(),
            reflector_model: self.reflector_model.clone(),
            scope: self.scope,
            time_zone: self.timezone.clone(),
        }
    }

    fn is_empty(&self) -> bool {
        *self == MemorySettings::default()
    }

    fn check(&self) -> Result<(), Error> {
        for (name, value) in [
            ("observe_tokens", self.observe_tokens),
            ("buffer_tokens", self.buffer_tokens),
            ("keep_tokens", self.keep_tokens),
            ("reflect_tokens", self.reflect_tokens),
            ("swap_tokens", self.swap_tokens),
        ] {
            in_range(&format!("settings.memory.{name}"), value, MAX_TOKENS)?;
        }
        for (low, high, what) in [
            (
                ("buffer_tokens", self.buffer_tokens),
                ("observe_tokens", self.observe_tokens),
                "notes are ready",
            ),
            (("keep_tokens", self.keep_tokens), ("observe_tokens", self.observe_tokens), "something can go"),
            (
                ("reflect_tokens", self.reflect_tokens),
                ("swap_tokens", self.swap_tokens),
                "its result is ready",
            ),
        ] {
            if let (Some(less), Some(more)) = (low.1, high.1)
                && less > more
            {
                return Err(invalid(
                    &format!("settings.memory.{}", low.0),
                    &format!("must not be more than `{}` ({more}), so that {what} by then", high.0),
                ));
            }
        }
        for (name, model) in
            [("observer_model", &self.observer_model), ("reflector_model", &self.reflector_model)]
        {
            if let Some(model) = model
                && model
                    .split_once('/')
                    .is_none_or(|(provider, model)| provider.is_empty() || model.is_empty())
            {
                return Err(invalid(
                    &format!("settings.memory.{name}"),
                    "must name a model as `provider/model`, for example `google/gemini-2.5-flash`",
                ));
            }
        }
        if let Some(zone) = &self.timezone
            && !is_zone(zone)
        {
            return Err(invalid(
                "settings.memory.timezone",
                "must be a name of the IANA time zone database, for example `Europe/Berlin` or `UTC`",
            ));
        }
        Ok(())
    }
}

impl Retention {
    fn is_empty(&self) -> bool {
        *self == Retention::default()
    }

    fn check(&self) -> Result<(), Error> {
        in_range("settings.retention.threads_days", self.threads_days, MAX_DAYS)?;
        in_range("settings.retention.logs_days", self.logs_days, MAX_DAYS)
    }
}

fn check_aliases(aliases: &BTreeMap<String, Vec<String>>) -> Result<(), Error> {
    if aliases.len() > MOST_ALIASES {
        return Err(invalid("settings.aliases", &format!("must not hold more than {MOST_ALIASES} names")));
    }
    for (name, models) in aliases {
        let is_name = (1..=64).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte));
        if !is_name {
            return Err(invalid(
                "settings.aliases",
                "must have names of up to 64 letters, digits and `_.:-`, without a slash, which is for `provider/model`",
            ));
        }
        let is_model = |id: &String| {
            id.split_once('/').is_some_and(|(provider, model)| !provider.is_empty() && !model.is_empty())
        };
        if !(1..=MOST_MODELS).contains(&models.len()) || !models.iter().all(is_model) {
            return Err(invalid(
                &format!("settings.aliases.{name}"),
                &format!(
                    "must list 1 to {MOST_MODELS} models as `provider/model`, in the order in which they are tried"
                ),
            ));
        }
    }
    Ok(())
}

/// The form of a zone's name; which zones there are is the database's to say.
fn is_zone(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+-/".contains(&byte))
}

fn in_range(path: &str, value: Option<u32>, most: u32) -> Result<(), Error> {
    match value {
        Some(value) if !(1..=most).contains(&value) => {
            Err(invalid(path, &format!("must be a whole number from 1 to {most}")))
        }
        _ => Ok(()),
    }
}

fn section<T: DeserializeOwned + Default>(sections: &Map<String, Value>, name: &str) -> Result<T, Error> {
    match sections.get(name) {
        None | Some(Value::Null) => Ok(T::default()),
        Some(value) => {
            let path = format!("settings.{name}");
            fields(object(value, &path)?, &path, |_| true)
        }
    }
}

/// Reads those fields of an object that `wanted` says, one by one first, so that an error can name the one at fault.
fn fields<T: DeserializeOwned>(
    object: &Map<String, Value>,
    path: &str,
    wanted: impl Fn(&str) -> bool,
) -> Result<T, Error> {
    let wanted: Map<String, Value> = object
        .iter()
        .filter(|(name, _)| wanted(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    for (name, value) in &wanted {
        let alone = Map::from_iter([(name.clone(), value.clone())]);
        if let Err(error) = serde_json::from_value::<T>(Value::Object(alone)) {
            return Err(invalid(&format!("{path}.{name}"), &format!("cannot be taken: {error}")));
        }
    }
    serde_json::from_value(Value::Object(wanted)).map_err(|error| invalid(path, &error.to_string()))
}

/// Those fields that can be read.
fn understood<T: DeserializeOwned + Default>(object: &Map<String, Value>) -> T {
    let readable = |name: &String, value: &Value| {
        serde_json::from_value::<T>(Value::Object(Map::from_iter([(name.clone(), value.clone())]))).is_ok()
    };
    let kept = object.iter().filter(|(name, value)| readable(name, value));
    let kept = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
    serde_json::from_value(Value::Object(kept)).unwrap_or_default()
}

fn object<'a>(value: &'a Value, path: &str) -> Result<&'a Map<String, Value>, Error> {
    value.as_object().ok_or_else(|| invalid(path, "must be an object"))
}

fn invalid(path: &str, what: &str) -> Error {
    Error::invalid(path, format!("The field `{path}` {what}."))
}

/// A JSON merge patch: <https://www.rfc-editor.org/rfc/rfc7396>.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (name, value) in patch {
        if value.is_null() {
            target.shift_remove(name);
        } else {
            merge(target.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_document_comes_back_as_it_was_set() {
        let document = json!({
            "memory": {
                "observe_tokens": 30_000, "buffer_tokens": 6_000, "keep_tokens": 6_000, "reflect_tokens": 20_000,
                "swap_tokens": 40_000, "idle_activation": false, "observer_model": "google/gemini-2.5-flash",
                "reflector_model": "openai/gpt-5-mini", "scope": "resource", "timezone": "America/Argentina/Ushuaia",
            },
            "tools": ["web_search", "recall"],
            "aliases": {"fast": ["openai/gpt-5-mini", "openrouter/a/b"], "v1.2:x_y-z": ["google/gemini-2.5-flash"]},
            "retention": {"threads_days": 90, "logs_days": 30},
        });
        let settings = Settings::read(&document).unwrap();
        assert_eq!(settings.document(), document);
        assert_eq!(Settings::stored(&document.to_string()), settings);
        assert_eq!(Settings::read(&json!({})).unwrap().document(), json!({}));
    }

    #[test]
    fn what_cannot_be_taken_is_named_by_its_path() {
        let names =
            |count: u32| (0..count).map(|at| (format!("n{at}"), json!(["c/d"]))).collect::<Map<_, _>>();
        let models = |count: usize| json!({"aliases": {"a": vec!["c/d"; count]}});
        Settings::read(&json!({"aliases": names(64)})).unwrap();
        Settings::read(&models(8)).unwrap();
        for (document, param, says) in [
            (json!({"aliases": names(65)}), "settings.aliases", "not hold more than 64 names"),
            (models(9), "settings.aliases.a", "1 to 8 models"),
            (json!([]), "settings", "must be an object"),
            (json!({"memroy": {}}), "settings.memroy", "unknown field `memroy`"),
            (json!({"memory": 1}), "settings.memory", "must be an object"),
            (json!({"memory": {"observ_tokens": 1}}), "settings.memory.observ_tokens", "unknown field"),
            (json!({"memory": {"scope": "world"}}), "settings.memory.scope", "unknown variant `world`"),
            (json!({"memory": {"observe_tokens": 0}}), "settings.memory.observe_tokens", "from 1 to"),
            (json!({"memory": {"observe_tokens": -1}}), "settings.memory.observe_tokens", "invalid number"),
            (json!({"memory": {"observe_tokens": "9"}}), "settings.memory.observe_tokens", "invalid type"),
            (
                json!({"memory": {"keep_tokens": 9, "observe_tokens": 8}}),
                "settings.memory.keep_tokens",
                "not be more",
            ),
            (
                json!({"memory": {"observer_model": "gpt"}}),
                "settings.memory.observer_model",
                "`provider/model`",
            ),
            (json!({"memory": {"timezone": "../etc"}}), "settings.memory.timezone", "IANA"),
            (json!({"tools": ["shell"]}), "settings.tools", "unknown variant `shell`"),
            (json!({"aliases": {"a/b": ["c/d"]}}), "settings.aliases", "without a slash"),
            (json!({"aliases": {"": ["c/d"]}}), "settings.aliases", "up to 64 letters"),
            (json!({"aliases": {"a": "c/d"}}), "settings.aliases", "invalid type"),
            (json!({"aliases": {"a": []}}), "settings.aliases.a", "1 to 8 models"),
            (json!({"aliases": {"a": ["c"]}}), "settings.aliases.a", "as `provider/model`"),
            (json!({"aliases": {"a": ["c/"]}}), "settings.aliases.a", "as `provider/model`"),
            (json!({"retention": {"logs_days": 40_000}}), "settings.retention.logs_days", "from 1 to 36500"),
        ] {
            let error = Settings::read(&document).unwrap_err();
            assert_eq!(
                (error.status(), error.body()["error"]["param"].as_str()),
                (400, Some(param)),
                "{document}"
            );
            assert!(error.message().contains(says), "{document}: {}", error.message());
        }
    }

    #[test]
    fn a_patch_changes_what_it_names_and_null_takes_back() {
        let settings =
            Settings::read(&json!({"memory": {"keep_tokens": 5, "scope": "thread"}, "tools": []})).unwrap();
        let patched =
            settings.patched(&json!({"memory": {"keep_tokens": null, "buffer_tokens": 7}, "tools": null}));
        assert_eq!(patched.unwrap().document(), json!({"memory": {"scope": "thread", "buffer_tokens": 7}}));
        assert_eq!(settings.patched(&json!({"x": 1})).unwrap_err().status(), 400);
    }

    #[test]
    fn a_stored_document_of_another_version_keeps_what_is_understood() {
        let text = r#"{"memory":{"keep_tokens":5,"later":1},"tools":["later"],"else":{},"retention":3}"#;
        assert_eq!(Settings::stored(text).document(), json!({"memory": {"keep_tokens": 5}}));
        assert_eq!(Settings::stored("not JSON"), Settings::default());
    }
}
