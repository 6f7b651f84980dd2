//! Where the provider can search the web by itself.
//!
//! Invariant: what is said here was published by the provider. A model that is not known to search is served by the
//! gateway's own tool.

use serde_json::{Value, json};

use crate::dialect::Dialect;

/// How a request asks a provider for its own search.
#[derive(Clone, Debug, PartialEq)]
pub struct NativeWebSearch {
    /// The list of the request's body that [`entry`](Self::entry) joins.
    pub field: &'static str,
    /// What joins it.
    pub entry: Value,
    /// The provider refuses it beside the client's own functions.
    pub is_alone: bool,
    /// The answer names its sources in the provider's own form.
    pub cites: bool,
}

/// How many searches one answer of a Messages model may make.
const MAX_USES: u32 = 5;

/// Models by the beginnings of their names.
struct Models {
    search: &'static [&'static str],
    except: &'static [&'static str],
}

impl Models {
    fn holds(&self, model: &str) -> bool {
        let begins = |names: &[&str]| names.iter().any(|name| model.starts_with(name));
        begins(self.search) && !begins(self.except)
    }
}

/// <https://platform.openai.com/docs/guides/tools-web-search>
const OPENAI: Models = Models {
    search: &["gpt-4o", "gpt-4.1", "gpt-5", "o3", "o4-mini"],
    except: &["gpt-4.1-nano", "gpt-4o-audio", "gpt-4o-realtime", "gpt-4o-transcribe", "gpt-4o-mini-t"],
};
/// <https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/web-search-tool>
const ANTHROPIC: Models = Models {
    search: &[
        "claude-3-5-haiku-latest",
        "claude-3-7-sonnet",
        "claude-sonnet-4",
        "claude-opus-4",
        "claude-haiku-4",
    ],
    except: &[],
};
/// <https://ai.google.dev/gemini-api/docs/google-search>
const GOOGLE: Models = Models {
    search: &["gemini-2", "gemini-3"],
    except: &["gemini-2.0-flash-lite", "gemini-2.5-flash-image", "gemini-2.5-flash-preview-tts"],
};

/// How a model of a provider (by its name in the table of providers), asked in a dialect, is told to search the web by
/// itself; `None` where it cannot.
pub fn native_web_search(provider: &str, dialect: Dialect, model: &str) -> Option<NativeWebSearch> {
    let native = |field, entry| NativeWebSearch { field, entry, is_alone: false, cites: true };
    match (provider, dialect) {
        ("openai", Dialect::Responses) if OPENAI.holds(model) => {
            Some(native("tools", json!({"type": "web_search"})))
        }
        ("anthropic", Dialect::Messages) if ANTHROPIC.holds(model) => Some(native(
            "tools",
            json!({"type": "web_search_20250305", "name": "web_search", "max_uses": MAX_USES}),
        )),
        ("google", Dialect::Google) if GOOGLE.holds(model) => Some(NativeWebSearch {
            // "Built-in tools and function calling cannot be combined in this request", say those before 3.
            is_alone: model.starts_with("gemini-2"),
            ..native("tools", json!({"googleSearch": {}}))
        }),
        // A plug-in of OpenRouter's own, whatever the model: <https://openrouter.ai/docs/features/web-search>.
        ("openrouter", Dialect::Chat) => Some(native("plugins", json!({"id": "web"}))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_asked_for_its_own_search_in_its_own_form() {
        for (provider, dialect, model, field, entry, is_alone) in [
            ("openai", Dialect::Responses, "gpt-5-mini", "tools", json!({"type": "web_search"}), false),
            (
                "anthropic",
                Dialect::Messages,
                "claude-sonnet-4-5",
                "tools",
                json!({"type": "web_search_20250305", "name": "web_search", "max_uses": 5}),
                false,
            ),
            ("google", Dialect::Google, "gemini-2.5-flash", "tools", json!({"googleSearch": {}}), true),
            ("google", Dialect::Google, "gemini-3-pro", "tools", json!({"googleSearch": {}}), false),
            ("openrouter", Dialect::Chat, "meta/llama-4", "plugins", json!({"id": "web"}), false),
        ] {
            assert_eq!(
                native_web_search(provider, dialect, model),
                Some(NativeWebSearch { field, entry, is_alone, cites: true }),
                "{model}"
            );
        }
    }

    #[test]
    fn who_is_not_known_to_search_is_not_asked() {
        for (provider, dialect, model) in [
            ("openai", Dialect::Chat, "gpt-5"),
            ("openai", Dialect::Responses, "gpt-4.1-nano"),
            ("openai", Dialect::Responses, "gpt-3.5-turbo"),
            ("anthropic", Dialect::Messages, "claude-3-haiku-20240307"),
            ("google", Dialect::Chat, "gemini-2.5-flash"),
            ("google", Dialect::Google, "gemini-1.5-pro"),
            ("openrouter", Dialect::Responses, "openai/gpt-5"),
            ("groq", Dialect::Chat, "llama-4"),
        ] {
            assert_eq!(native_web_search(provider, dialect, model), None, "{provider} {model}");
        }
    }
}
