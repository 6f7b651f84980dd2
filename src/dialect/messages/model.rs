//! What the models behind Messages can do, told by their names.
//!
//! Invariant: a name is read once, here; a model that is not known counts as the newest of Claude's if it is one of them,
//! and as one of the first form of the API if it is not (other providers copied that one).
//! Facts: <https://platform.claude.com/docs/en/about-claude/models/overview>, the models' pages "What's new", and
//! <https://platform.claude.com/docs/en/build-with-claude/thinking#configuring-thinking>.

/// What a model can do, as far as requests differ by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Model {
    /// What `max_tokens` is where the client does not say; the API must be told. For those before 4.5, which refuse a
    /// request whose prompt and limit together exceed the context, less than what they can.
    pub max_tokens: u64,
    /// How it is asked to think.
    pub thinking: Asking,
    /// How it is asked not to think.
    pub off: Off,
    /// It knows the effort `xhigh`.
    pub xhigh: bool,
    /// It takes `temperature`, `top_p` and `top_k`.
    pub sampling: bool,
    /// It takes `temperature` and `top_p` together.
    pub both_samplings: bool,
    /// It takes `output_config.format` and strict tools.
    pub formats: bool,
    /// It goes on from an unfinished answer at the end of the conversation.
    pub prefill: bool,
}

/// How a model is asked to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// It cannot think.
    Not,
    /// By a budget in tokens.
    Budget,
    /// By an effort; it chooses how much.
    Effort,
}

/// How a model is asked not to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Off {
    /// It does not unless asked to.
    Unasked,
    /// By a `thinking` of this type.
    Said(&'static str),
    /// It cannot be; the least effort comes nearest.
    Never,
}

impl Model {
    /// What the model of a name can do.
    pub fn named(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        let words: Vec<&str> = name.split(|char: char| !char.is_ascii_alphanumeric()).collect();
        let has = |family: &str| words.contains(&family);
        if !has("claude") {
            return Model { max_tokens: 16_384, both_samplings: true, ..Model::FIRST };
        }
        let version = version(&words).unwrap_or((5, 5));
        let max_tokens = match version {
            (..3, _) | (3, ..5) => 4_096,
            (3, 5 | 6) => 8_192,
            (3, _) | (4, ..5) => 32_000,
            (4, ..=5) => 64_000,
            (4, _) if !has("opus") => 64_000,
            _ => 128_000,
        };
        Model {
            max_tokens,
            thinking: match version {
                (..3, _) | (3, ..7) => Asking::Not,
                (3, _) | (4, ..6) => Asking::Budget,
                _ => Asking::Effort,
            },
            off: match version {
                (..5, _) => Off::Unasked,
                (5, 0) if has("opus") || has("sonnet") || has("haiku") => Off::Said("disabled"),
                (5, 5) if has("haiku") => Off::Said("disabled"),
                (5, 5) if has("sonnet") => Off::Said("between_tools"),
                _ => Off::Never,
            },
            xhigh: version >= (4, 7),
            sampling: version < (4, 7),
            both_samplings: version < (4, 1),
            formats: version >= (4, 5) || (version == (4, 1) && has("opus")),
            prefill: version < (4, 6),
        }
    }

    const FIRST: Model = Model {
        max_tokens: 4_096,
        thinking: Asking::Budget,
        off: Off::Unasked,
        xhigh: false,
        sampling: true,
        both_samplings: true,
        formats: false,
        prefill: true,
    };

    /// True when it can be made to call a tool. Models that cannot be kept from thinking refuse that.
    pub fn can_be_forced(&self) -> bool {
        matches!(self.off, Off::Unasked | Off::Said("disabled"))
    }
}

/// Major and minor version: the first numbers in the name that are no date (`claude-3-5-sonnet-20240620`,
/// `claude-sonnet-4.5`, `claude-opus-4-20250514`).
fn version(words: &[&str]) -> Option<(u8, u8)> {
    let number = |word: &&str| if word.len() <= 2 { word.parse::<u8>().ok() } else { None };
    let at = words.iter().position(|word| number(word).is_some())?;
    let major = number(words.get(at)?)?;
    Some((major, words.get(at + 1).and_then(number).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_the_version_in_all_its_spellings() {
        for (name, expected) in [
            ("claude-3-5-sonnet-20240620", Some((3, 5))),
            ("claude-3-haiku-20240307", Some((3, 0))),
            ("anthropic/claude-3.7-sonnet", Some((3, 7))),
            ("claude-opus-4-20250514", Some((4, 0))),
            ("claude-sonnet-4-0", Some((4, 0))),
            ("claude-sonnet-4-5@20250929", Some((4, 5))),
            ("anthropic/claude-opus-4.6", Some((4, 6))),
            ("claude-fable-5", Some((5, 0))),
            ("claude-2.1", Some((2, 1))),
            ("claude-mythos-preview", None),
        ] {
            let words: Vec<&str> = name.split(|char: char| !char.is_ascii_alphanumeric()).collect();
            assert_eq!(version(&words), expected, "{name}");
        }
    }

    #[test]
    fn each_generation_is_asked_in_its_own_way() {
        let of = |name: &str| {
            let model = Model::named(name);
            (model.max_tokens, model.thinking, model.off, model.sampling, model.formats)
        };
        let disabled = Off::Said("disabled");
        for (name, expected) in [
            ("claude-3-haiku-20240307", (4_096, Asking::Not, Off::Unasked, true, false)),
            ("claude-3-5-haiku-latest", (8_192, Asking::Not, Off::Unasked, true, false)),
            ("claude-3-7-sonnet-20250219", (32_000, Asking::Budget, Off::Unasked, true, false)),
            ("claude-opus-4-1", (32_000, Asking::Budget, Off::Unasked, true, true)),
            ("claude-haiku-4-5-20251001", (64_000, Asking::Budget, Off::Unasked, true, true)),
            ("claude-sonnet-4-6", (64_000, Asking::Effort, Off::Unasked, true, true)),
            ("claude-opus-4-8", (128_000, Asking::Effort, Off::Unasked, false, true)),
            ("claude-opus-5", (128_000, Asking::Effort, disabled, false, true)),
            ("claude-sonnet-5-5", (128_000, Asking::Effort, Off::Said("between_tools"), false, true)),
            ("claude-opus-5-5", (128_000, Asking::Effort, Off::Never, false, true)),
            ("claude-fable-5", (128_000, Asking::Effort, Off::Never, false, true)),
            ("glm-4.6", (16_384, Asking::Budget, Off::Unasked, true, false)),
        ] {
            assert_eq!(of(name), expected, "{name}");
        }
    }
}
