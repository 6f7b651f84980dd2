//! The variables that say how threads are remembered.
//!
//! Invariant: what is set holds together with what is not: a small threshold draws the others down with it.

use super::misconfigured;
use crate::error::Error;
use crate::memory::address::{Scope, is_zone_name};
use crate::memory::settings::Settings;

/// How threads are remembered.
pub fn settings(
    set: &impl Fn(&str) -> Option<String>,
    number: &impl Fn(&str, u64) -> Result<u64, Error>,
) -> Result<Settings, Error> {
    let standard = Settings::default();
    let model = |name: &str, default: &str| match set(name) {
        Some(model)
            if model
                .split_once('/')
                .is_none_or(|(provider, model)| provider.is_empty() || model.is_empty()) =>
        {
            Err(misconfigured(name, &format!("must name a model as `provider/model`, not `{model}`")))
        }
        model => Ok(model.unwrap_or_else(|| default.to_owned())),
    };
    let idle_activation = match set("MEMORY_IDLE_ACTIVATION").as_deref() {
        None | Some("on") => true,
        Some("off") => false,
        Some(other) => {
            return Err(misconfigured(
                "MEMORY_IDLE_ACTIVATION",
                &format!("must be on or off, not `{other}`"),
            ));
        }
    };
    let gap_ms = match set("MEMORY_GAP_MINUTES").as_deref() {
        Some("0") => 0,
        _ => number("MEMORY_GAP_MINUTES", standard.gap_ms / 60_000)? * 60_000,
    };
    let scope = match set("MEMORY_SCOPE").as_deref() {
        None | Some("thread") => Scope::Thread,
        Some("resource") => Scope::Resource,
        Some(other) => {
            return Err(misconfigured("MEMORY_SCOPE", &format!("must be thread or resource, not `{other}`")));
        }
    };
    let observer_model = model("OBSERVER_MODEL", &standard.observer_model)?;
    Ok(Settings {
        observe_tokens: number("MEMORY_OBSERVE_TOKENS", standard.observe_tokens)?,
        buffer_tokens: number("MEMORY_BUFFER_TOKENS", standard.buffer_tokens)?,
        keep_tokens: number("MEMORY_KEEP_TOKENS", standard.keep_tokens)?,
        window_tokens: number("MEMORY_WINDOW_TOKENS", standard.window_tokens)?,
        reflect_tokens: number("MEMORY_REFLECT_TOKENS", standard.reflect_tokens)?,
        swap_tokens: number("MEMORY_SWAP_TOKENS", standard.swap_tokens)?,
        answer_tokens: number("MEMORY_ANSWER_TOKENS", standard.answer_tokens)?,
        deadline_ms: number("OBSERVER_DEADLINE_MS", standard.deadline_ms)?,
        attempts: u32::try_from(number("OBSERVER_ATTEMPTS", u64::from(standard.attempts))?)
            .unwrap_or(u32::MAX),
        reflector_model: model("REFLECTOR_MODEL", &observer_model)?,
        time_zone: plain_zone(set)?.unwrap_or(standard.time_zone),
        observer_model,
        idle_activation,
        gap_ms,
        scope,
    }
    .consistent())
}

/// `MEMORY_TIME_ZONE`, by its form; the platform knows which ones there are.
fn plain_zone(set: &impl Fn(&str) -> Option<String>) -> Result<Option<String>, Error> {
    match set("MEMORY_TIME_ZONE") {
        Some(name) if !is_zone_name(&name) => {
            Err(misconfigured("MEMORY_TIME_ZONE", "must be an IANA time zone such as Europe/Berlin"))
        }
        name => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn read(vars: &[(&str, &str)]) -> Config {
        Config::read(|name| {
            vars.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
        .unwrap()
    }

    #[test]
    fn memory_is_set_by_variables_and_numbers_that_do_not_fit_together_are_brought_together() {
        assert_eq!(read(&[]).memory, Settings::default());
        let set = read(&[
            ("OBSERVER_MODEL", "openai/gpt-5-mini"),
            ("MEMORY_OBSERVE_TOKENS", "1000"),
            ("MEMORY_GAP_MINUTES", "0"),
            ("MEMORY_SCOPE", "resource"),
            ("MEMORY_TIME_ZONE", "Europe/Berlin"),
        ])
        .memory;
        assert_eq!((set.observe_tokens, set.buffer_tokens, set.keep_tokens), (1_000, 500, 500));
        assert_eq!(
            (set.observer_model.as_str(), set.reflector_model.as_str()),
            ("openai/gpt-5-mini", "openai/gpt-5-mini")
        );
        assert_eq!((set.gap_ms, set.scope, set.time_zone.as_str()), (0, Scope::Resource, "Europe/Berlin"));
    }
}
