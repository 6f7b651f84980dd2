//! How much a model may do with the gateway's tools: `TOOLS_ROUNDS` and its siblings.
//!
//! Invariant: what is not set is as [`Limits::default`] has it.

use super::misconfigured;
use crate::error::Error;
use crate::ledger::prices::{NANO, decimal};
pub use crate::tools::limits::Limits;

/// Reads the limits. Errors: 500 that names the variable.
pub(super) fn limits(
    set: &impl Fn(&str) -> Option<String>,
    number: &impl Fn(&str, u64) -> Result<u64, Error>,
) -> Result<Limits, Error> {
    let default = Limits::default();
    let cost = match set("TOOLS_COST_USD") {
        None => default.cost,
        Some(text) => {
            let nano = decimal(&text, NANO.into()).and_then(|nano| u64::try_from(nano).ok());
            nano.filter(|nano| *nano > 0).ok_or_else(|| {
                misconfigured("TOOLS_COST_USD", &format!("must be an amount above 0 like 0.25, not `{text}`"))
            })?
        }
    };
    Ok(Limits {
        rounds: u32::try_from(number("TOOLS_ROUNDS", default.rounds.into())?).unwrap_or(u32::MAX),
        calls: usize::try_from(number("TOOLS_CALLS", default.calls as u64)?).unwrap_or(usize::MAX),
        time_ms: number("TOOLS_TIME_MS", default.time_ms)?,
        call_ms: number("TOOLS_CALL_MS", default.call_ms)?,
        cost,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn read(vars: &[(&str, &str)]) -> Result<Limits, Error> {
        Config::read(|name| {
            vars.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
        .map(|config| config.tool_limits)
    }

    #[test]
    fn each_limit_can_be_set_alone_and_none_can_be_nothing() {
        let default = Limits { rounds: 5, calls: 8, time_ms: 60_000, call_ms: 15_000, cost: 250_000_000 };
        assert_eq!(read(&[]).unwrap(), default);
        assert_eq!(read(&[("TOOLS_ROUNDS", "2")]).unwrap(), Limits { rounds: 2, ..default });
        assert_eq!(read(&[("TOOLS_CALLS", "1")]).unwrap(), Limits { calls: 1, ..default });
        assert_eq!(read(&[("TOOLS_TIME_MS", "9000")]).unwrap(), Limits { time_ms: 9_000, ..default });
        assert_eq!(read(&[("TOOLS_CALL_MS", "70")]).unwrap(), Limits { call_ms: 70, ..default });
        assert_eq!(read(&[("TOOLS_COST_USD", "1.5")]).unwrap(), Limits { cost: 1_500_000_000, ..default });
        for (name, value) in [
            ("TOOLS_ROUNDS", "0"),
            ("TOOLS_CALLS", "many"),
            ("TOOLS_COST_USD", "0"),
            ("TOOLS_COST_USD", "-1"),
        ] {
            assert!(read(&[(name, value)]).unwrap_err().message().contains(name), "{name}={value}");
        }
    }
}
