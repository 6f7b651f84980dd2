//! How much a model is to think: <https://ai.google.dev/gemini-api/docs/thinking>.
//!
//! Invariant: a budget or a level, whichever the model takes, never both, and within the model's bounds. Where thinking
//! cannot be switched off, the least that the model takes stands for it.

use serde_json::{Map, Value};

use super::camel_names;
use super::model::{Control, Model};
use crate::error::Error;
use crate::request::{Effort, Thinking};

/// Writes `thinkingConfig`; `None` when there is nothing to say.
pub fn write(thinking: &Thinking, model: Model) -> Option<Value> {
    let off = thinking.is_off();
    let asked = thinking.effort.is_some() || thinking.budget.is_some() || thinking.adaptive;
    let mut config = Map::new();
    match model.control() {
        _ if off && model.is_off_by_default() => {}
        Control::Budget { least, off: can_be_off, .. } if off => {
            config.insert("thinkingBudget".into(), if can_be_off { 0 } else { least }.into());
        }
        Control::Budget { least, most, .. } => {
            if let Some(tokens) = thinking.in_tokens() {
                config.insert("thinkingBudget".into(), tokens.clamp(least, most).into());
            } else if thinking.adaptive {
                config.insert("thinkingBudget".into(), (-1).into());
            }
        }
        Control::Level { minimal, medium } => {
            if let Some(effort) = thinking.in_words() {
                config.insert("thinkingLevel".into(), level(effort, minimal, medium).into());
            }
        }
    }
    // The API refuses to show the thoughts of a model that has none.
    if !off && (asked || !model.is_off_by_default()) {
        let wanted = thinking.summary.is_some() || asked;
        let shown = thinking.shown.or(wanted.then_some(true));
        config.extend(shown.map(|shown| ("includeThoughts".to_owned(), shown.into())));
    }
    (!config.is_empty()).then(|| config.into())
}

fn level(effort: Effort, minimal: bool, medium: bool) -> &'static str {
    match effort {
        Effort::None | Effort::Minimal if minimal => "minimal",
        Effort::None | Effort::Minimal | Effort::Low => "low",
        Effort::Medium if medium => "medium",
        Effort::Medium | Effort::High | Effort::XHigh | Effort::Max => "high",
    }
}

/// Reads `thinkingConfig`. Errors: 400 that names the field.
pub fn read(config: Map<String, Value>) -> Result<Thinking, Error> {
    const PLACE: &str = "generationConfig.thinkingConfig";
    let mut thinking = Thinking::default();
    for (name, value) in camel_names(config) {
        let place = format!("{PLACE}.{name}");
        let wrong = |what: &str| Error::invalid(&place, format!("The field `{place}` must be {what}."));
        match (name.as_str(), &value) {
            (_, Value::Null) => {}
            ("includeThoughts", value) => {
                thinking.shown = Some(value.as_bool().ok_or_else(|| wrong("true or false"))?);
            }
            ("thinkingBudget", value) => match value.as_i64() {
                Some(-1) => thinking.adaptive = true,
                Some(tokens) if tokens >= 0 => thinking.budget = Some(tokens.unsigned_abs()),
                _ => return Err(wrong("a number of tokens, or -1")),
            },
            ("thinkingLevel", value) => {
                let word = value.as_str().unwrap_or_default().to_ascii_lowercase();
                thinking.effort = Some(
                    Effort::from_word(&word).ok_or_else(|| wrong("`minimal`, `low`, `medium` or `high`"))?,
                );
            }
            _ => return Err(Error::invalid(&place, format!("The field `{place}` is not known."))),
        }
    }
    Ok(thinking)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn thinking_is_said_in_the_models_own_terms() {
        let effort = |effort| Thinking { effort: Some(effort), ..Thinking::default() };
        let budget = |tokens| Thinking { budget: Some(tokens), ..Thinking::default() };
        let adaptive = Thinking { adaptive: true, ..Thinking::default() };
        let shown = |shown| Thinking { shown: Some(shown), ..Thinking::default() };
        let hidden = Thinking { shown: Some(false), ..effort(Effort::Low) };
        for (model, thinking, config) in [
            (
                "gemini-2.5-pro",
                effort(Effort::Medium),
                json!({"thinkingBudget": 8192, "includeThoughts": true}),
            ),
            ("gemini-2.5-pro", effort(Effort::None), json!({"thinkingBudget": 128})),
            ("gemini-2.5-flash", effort(Effort::None), json!({"thinkingBudget": 0})),
            ("gemini-2.5-flash", budget(99_999), json!({"thinkingBudget": 24_576, "includeThoughts": true})),
            ("gemini-2.5-flash-lite", budget(1), json!({"thinkingBudget": 512, "includeThoughts": true})),
            ("gemini-2.5-flash", adaptive.clone(), json!({"thinkingBudget": -1, "includeThoughts": true})),
            ("gemini-2.5-flash", shown(true), json!({"includeThoughts": true})),
            (
                "gemini-3-flash-preview",
                effort(Effort::Minimal),
                json!({"thinkingLevel": "minimal", "includeThoughts": true}),
            ),
            ("gemini-3-pro-preview", budget(0), json!({"thinkingLevel": "low"})),
            (
                "gemini-3-pro-preview",
                effort(Effort::Medium),
                json!({"thinkingLevel": "high", "includeThoughts": true}),
            ),
            (
                "gemini-3.1-pro-preview",
                effort(Effort::Max),
                json!({"thinkingLevel": "high", "includeThoughts": true}),
            ),
            ("gemini-3.8-flash", effort(Effort::None), json!({"thinkingLevel": "low"})),
            ("gemini-3.8-flash", hidden, json!({"thinkingLevel": "low", "includeThoughts": false})),
            ("gemini-3.8-flash", adaptive, json!({"includeThoughts": true})),
        ] {
            assert_eq!(write(&thinking, Model::of(model)), Some(config), "{model} {thinking:?}");
        }
        assert_eq!(write(&Thinking::default(), Model::of("gemini-2.5-pro")), None);
        assert_eq!(write(&effort(Effort::None), Model::of("gemini-2.0-flash")), None);
        assert_eq!(write(&shown(true), Model::of("gemini-2.5-flash-lite")), None);
    }
}
