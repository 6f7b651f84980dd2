//! How long a request may take: in all, until the first byte of a stream, and in silence.
//!
//! Invariant: a client can shorten what the deployment allows, and never lengthen it.

use crate::config::Config;
use crate::error::Error;
use crate::headers::Headers;

/// The deadlines of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Until when an answer must have begun, in Unix milliseconds: no attempt begins later.
    pub begun_by: u64,
    /// Until when all of it must be over, where the client said so.
    pub over_by: Option<u64>,
    /// The longest wait for the first byte of a streamed answer, in milliseconds.
    pub first_token_ms: u32,
    /// The client said how long that may be.
    pub awaits_first_token: bool,
    /// The longest silence inside an answer, in milliseconds.
    pub idle_ms: u32,
}

impl Deadlines {
    /// What the deployment allows a request that came at `started`.
    pub fn of(config: &Config, started: u64) -> Self {
        Deadlines {
            begun_by: started + u64::from(config.upstream_timeout_ms),
            over_by: None,
            first_token_ms: config.first_token_timeout_ms,
            awaits_first_token: false,
            idle_ms: config.upstream_timeout_ms,
        }
    }

    /// The deadlines of a request that came at `started`. Errors: 400 for a header that is no number of milliseconds.
    pub fn read(headers: Headers<'_>, config: &Config, started: u64) -> Result<Self, Error> {
        let total = milliseconds(headers, "x-gateway-timeout-ms", config.upstream_timeout_ms)?;
        let first_token =
            milliseconds(headers, "x-gateway-first-token-timeout-ms", config.first_token_timeout_ms)?;
        let allowed = Deadlines::of(config, started);
        let over_by = total.map(|total| started + u64::from(total));
        Ok(Deadlines {
            begun_by: over_by.unwrap_or(allowed.begun_by),
            over_by,
            first_token_ms: first_token.unwrap_or(allowed.first_token_ms),
            awaits_first_token: first_token.is_some(),
            ..allowed
        })
    }

    /// How long an attempt that begins at `now` may take until its answer begins, in milliseconds.
    pub fn attempt_ms(&self, now: u64, streams: bool) -> u32 {
        let left = u32::try_from(self.begun_by.saturating_sub(now)).unwrap_or(u32::MAX);
        if streams { left.min(self.first_token_ms) } else { left }
    }

    /// The longest wait from `now` on for the rest of an answer that has begun, in milliseconds.
    pub fn rest_ms(&self, now: u64) -> u32 {
        let left = self.over_by.map(|by| u32::try_from(by.saturating_sub(now)).unwrap_or(u32::MAX));
        left.map_or(self.idle_ms, |left| left.min(self.idle_ms))
    }
}

fn milliseconds(headers: Headers<'_>, name: &str, most: u32) -> Result<Option<u32>, Error> {
    let Some(text) = headers.get(name) else { return Ok(None) };
    match text.trim().parse::<u64>() {
        Ok(value @ 1..) => Ok(Some(u32::try_from(value).unwrap_or(most).min(most))),
        _ => Err(Error::invalid(
            name,
            format!(
                "{name} must be a whole number of milliseconds, at least 1. The gateway allows up to {most}."
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let vars = [("UPSTREAM_TIMEOUT_MS", "9000"), ("FIRST_TOKEN_TIMEOUT_MS", "700")];
        Config::read(|name| {
            vars.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
        .unwrap()
    }

    #[test]
    fn a_client_can_shorten_what_the_deployment_allows_and_never_lengthen_it() {
        let read = |lines: &str| Deadlines::read(Headers::from_lines(lines), &config(), 1_000).unwrap();
        let defaults = Deadlines {
            begun_by: 10_000,
            over_by: None,
            first_token_ms: 700,
            awaits_first_token: false,
            idle_ms: 9_000,
        };
        assert_eq!(read(""), defaults);
        assert_eq!(
            read("x-gateway-timeout-ms: 500\nx-gateway-first-token-timeout-ms: 20"),
            Deadlines {
                begun_by: 1_500,
                over_by: Some(1_500),
                first_token_ms: 20,
                awaits_first_token: true,
                idle_ms: 9_000
            }
        );
        assert_eq!(
            read("x-gateway-timeout-ms: 99999999999\nx-gateway-first-token-timeout-ms: 701"),
            Deadlines { over_by: Some(10_000), awaits_first_token: true, ..defaults }
        );
    }

    #[test]
    fn what_is_no_number_of_milliseconds_is_named() {
        for value in ["0", "-5", "1.5", "soon", ""] {
            let lines = format!("x-gateway-timeout-ms: {value}");
            let error = Deadlines::read(Headers::from_lines(&lines), &config(), 0).unwrap_err();
            assert_eq!(
                (error.status(), error.body()["error"]["param"].as_str()),
                (400, Some("x-gateway-timeout-ms"))
            );
        }
    }

    #[test]
    fn what_is_left_shrinks_as_time_goes_by() {
        let all = Deadlines {
            begun_by: 1_000,
            over_by: Some(1_000),
            first_token_ms: 300,
            awaits_first_token: false,
            idle_ms: 800,
        };
        assert_eq!((all.attempt_ms(0, true), all.attempt_ms(0, false)), (300, 1_000));
        assert_eq!((all.attempt_ms(900, true), all.attempt_ms(2_000, true)), (100, 0));
        assert_eq!((all.rest_ms(0), all.rest_ms(500), all.rest_ms(1_001)), (800, 500, 0));
        assert_eq!(Deadlines { over_by: None, ..all }.rest_ms(5_000), 800);
    }
}
