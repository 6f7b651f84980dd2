//! What a model's name says of it: the generation, and how its thinking is steered.
//!
//! Invariant: all that depends on the model is decided here. A name without a generation is treated like the newest one
//! where Google keeps such aliases (`gemini-flash-latest`), and otherwise asked for nothing that only Gemini 3 knows.

/// A model, by its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Model {
    version: Version,
    size: Size,
    /// Its very name promises that it thinks.
    thinker: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Version {
    /// Not one of Gemini's, or a tuned one.
    #[default]
    Unknown,
    Numbered(u64, u64),
    Latest,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Size {
    Pro,
    #[default]
    Flash,
    Lite,
}

/// How a model's thinking is steered: <https://ai.google.dev/gemini-api/docs/thinking>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// By a budget in tokens.
    Budget {
        /// The least that it takes.
        least: u64,
        /// The most.
        most: u64,
        /// It takes 0.
        off: bool,
    },
    /// By a level in words.
    Level {
        /// It takes `minimal`.
        minimal: bool,
        /// It takes `medium`.
        medium: bool,
    },
}

impl Model {
    /// The model behind a name, with or without `models/`.
    pub fn of(name: &str) -> Self {
        let name = name.rsplit('/').next().unwrap_or(name);
        let Some(rest) = name.strip_prefix("gemini-") else { return Model::default() };
        let mut numbers = rest.split('-').next().unwrap_or_default().split('.').map(str::parse::<u64>);
        let version = match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Version::Numbered(major, minor),
            (Some(Ok(major)), None) => Version::Numbered(major, 0),
            _ if rest.ends_with("-latest") => Version::Latest,
            _ => Version::Unknown,
        };
        let size = match rest {
            _ if rest.contains("lite") => Size::Lite,
            _ if rest.contains("pro") => Size::Pro,
            _ => Size::Flash,
        };
        Model { version, size, thinker: rest.contains("thinking") }
    }

    /// True for Gemini 3 and newer: calls must carry their thought signatures
    /// (<https://ai.google.dev/gemini-api/docs/thought-signatures>), and results of functions may hold media
    /// (<https://ai.google.dev/gemini-api/docs/function-calling#multimodal>).
    pub fn is_third(self) -> bool {
        self.version >= Version::Numbered(3, 0)
    }

    /// True for a model that does not search the web in a request with functions: those before Gemini 3
    /// (<https://ai.google.dev/gemini-api/docs/tool-combination>).
    pub fn searches_alone(self) -> bool {
        matches!(self.version, Version::Numbered(..=2, _))
    }

    /// True when it does not think unless it is asked to, or cannot.
    pub fn is_off_by_default(self) -> bool {
        let light = (self.version, self.size) == (Version::Numbered(2, 5), Size::Lite);
        (self.version < Version::Numbered(2, 5) || light) && !self.thinker
    }

    /// How its thinking is steered.
    pub fn control(self) -> Control {
        match (self.version, self.size) {
            (Version::Numbered(..=2, _), Size::Pro) => {
                Control::Budget { least: 128, most: 32_768, off: false }
            }
            (Version::Numbered(..=2, _), Size::Lite) => {
                Control::Budget { least: 512, most: 24_576, off: true }
            }
            (Version::Numbered(..=2, _), Size::Flash) => {
                Control::Budget { least: 1, most: 24_576, off: true }
            }
            (version, size) => Control::Level {
                // The Pro models never took it, Flash ones no longer do.
                minimal: size != Size::Pro
                    && (Version::Numbered(3, 0)..Version::Numbered(3, 7)).contains(&version),
                medium: (version, size) != (Version::Numbered(3, 0), Size::Pro),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_the_generation_and_how_thinking_is_steered() {
        let level = |minimal, medium| Control::Level { minimal, medium };
        let budget = |least, most, off| Control::Budget { least, most, off };
        for (name, third, control) in [
            ("gemini-2.5-pro", false, budget(128, 32_768, false)),
            ("gemini-2.5-flash-preview-09-2025", false, budget(1, 24_576, true)),
            ("models/gemini-2.5-flash-lite", false, budget(512, 24_576, true)),
            ("gemini-2.0-flash", false, budget(1, 24_576, true)),
            ("gemini-3-pro-preview", true, level(false, false)),
            ("gemini-3.1-pro-preview", true, level(false, true)),
            ("gemini-3-flash-preview", true, level(true, true)),
            ("gemini-3.1-flash-lite", true, level(true, true)),
            ("gemini-3.8-flash", true, level(false, true)),
            ("gemini-10-flash", true, level(false, true)),
            ("gemini-pro-latest", true, level(false, true)),
            ("gemma-3-27b-it", false, level(false, true)),
            ("tunedModels/mine", false, level(false, true)),
        ] {
            let model = Model::of(name);
            assert_eq!((model.is_third(), model.control()), (third, control), "{name}");
        }
        assert!(Model::of("gemini-2.5-pro").searches_alone() && !Model::of("gemini-3-pro").searches_alone());
        assert!(!Model::of("tunedModels/mine").searches_alone());
        assert!(Model::of("gemini-2.0-flash").is_off_by_default());
        assert!(!Model::of("gemini-2.5-flash").is_off_by_default());
    }
}
