//! What servers that call themselves OpenAI-compatible disagree on, as far as a request has to know it.
//!
//! Invariant: a provider without a line here gets what most servers take. Nothing else in this dialect looks at a
//! provider's name.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use crate::providers::OPENROUTER;
use crate::turn::hex;

/// The field for the most tokens of the answer. OpenAI's reasoning models refuse the old name, most other servers do not
/// know the new one: <https://platform.openai.com/docs/api-reference/chat/create>.
pub fn max_tokens_field(provider: &str) -> &'static str {
    match provider {
        "openai" | "azure" => "max_completion_tokens",
        _ => "max_tokens",
    }
}

/// True where a stream has to be asked for token counts. Mistral sends them unasked and refuses the field.
pub fn takes_stream_options(provider: &str) -> bool {
    provider != "mistral"
}

/// True where tools may take free text: <https://platform.openai.com/docs/guides/function-calling#custom-tools>.
pub fn has_custom_tools(provider: &str) -> bool {
    matches!(provider, "openai" | "azure")
}

/// True where `cache_control` may stand on parts and tools:
/// <https://openrouter.ai/docs/features/prompt-caching#anthropic-claude>.
pub fn takes_cache_hints(provider: &str) -> bool {
    provider == OPENROUTER
}

/// True where a file may be given by its address: <https://openrouter.ai/docs/features/multimodal/pdfs>.
pub fn takes_file_urls(provider: &str) -> bool {
    provider == OPENROUTER
}

/// True where a model that thinks between calls fails without the thoughts that led to them:
/// <https://api-docs.deepseek.com/guides/thinking_mode>.
pub fn wants_reasoning(provider: &str) -> bool {
    matches!(provider, "deepseek" | "moonshot" | "zai")
}

/// The id of a call as the provider takes it: at most 40 characters, at Mistral nine letters and digits. The same id gives
/// the same, so that calls and results stay pairs.
pub fn call_id<'a>(id: &'a str, provider: &str) -> Cow<'a, str> {
    let digest = || hex(&Sha256::digest(id.as_bytes()));
    match provider {
        "mistral" if id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            Cow::Borrowed(id)
        }
        "mistral" => Cow::Owned(digest().chars().take(9).collect()),
        _ if (1..=40).contains(&id.len()) => Cow::Borrowed(id),
        _ => Cow::Owned(format!("call_{}", digest().chars().take(32).collect::<String>())),
    }
}

/// True for a name that every server takes: `[a-zA-Z0-9_-]{1,64}`.
pub fn is_legal_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.chars().all(is_legal_in_name)
}

/// The name of a tool that was called earlier, in characters that every server takes.
pub fn legal_name(name: &str) -> Cow<'_, str> {
    if is_legal_name(name) {
        return Cow::Borrowed(name);
    }
    let legal: String =
        name.chars().map(|char| if is_legal_in_name(char) { char } else { '_' }).take(64).collect();
    Cow::Owned(if legal.is_empty() { "_".to_owned() } else { legal })
}

fn is_legal_in_name(char: char) -> bool {
    char.is_ascii_alphanumeric() || char == '_' || char == '-'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names_are_made_legal_and_stay_apart() {
        assert_eq!(call_id("call_1", "openai"), "call_1");
        let long = "x".repeat(41);
        assert_eq!(call_id(&long, "openai").len(), 37);
        assert_eq!(call_id(&long, "openai"), call_id(&long, "groq"));
        assert_ne!(call_id("", "openai"), "");
        assert_eq!(call_id("gSIMJiOkT", "mistral"), "gSIMJiOkT");
        assert_eq!(call_id("toolu_1", "mistral").len(), 9);
        assert_ne!(call_id("toolu_1", "mistral"), call_id("toolu_2", "mistral"));
        assert_eq!(legal_name("a.b:c/ü"), "a_b_c__");
        assert_eq!(legal_name(""), "_");
        assert_eq!(legal_name(&"n".repeat(70)).len(), 64);
    }
}
