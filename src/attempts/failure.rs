//! What went wrong with one attempt, and what that means for the next.
//!
//! Invariant: a refusal of the request itself is never tried again: it would be refused everywhere, and cost each time.

use crate::headers::Headers;
use crate::refusal::refusal;
use crate::route::Route;

/// How an attempt failed, before anything of an answer was passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection, or one that broke before an answer began.
    Unreachable,
    /// No answer began in time.
    Slow,
    /// The answer began and broke off before its first byte.
    Broken,
    /// An answer that no provider of models gives: another type of content, a redirect.
    Nonsense,
    /// The provider answered with a status that is no success.
    Status {
        /// The status.
        status: u16,
        /// How long to wait before the next request, in milliseconds, where the provider said so.
        retry_after_ms: Option<u64>,
    },
    /// The provider answered with success, and said in the place of an answer that it failed.
    Reported {
        /// The status that its error stands for.
        status: u16,
    },
}

/// What a failure means for what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It is the request's own fault, or its sender's: the answer is passed on.
    Final,
    /// A credential that the gateway chose was refused: for this model, or for all.
    Credential {
        /// True when only this model was refused.
        of_model: bool,
    },
    /// Too many requests; how long to wait in milliseconds, where the provider said so.
    RateLimited {
        /// How long.
        wait_ms: Option<u64>,
    },
    /// It may go well the next time.
    Transient,
    /// It may go well elsewhere; to wait for the same again would cost as long again.
    Slow,
    /// It may go well elsewhere, and not here.
    Elsewhere,
}

impl Failure {
    /// The failure that an answer's head tells of; `None` for a success.
    pub fn of_status(status: u16, answer: Headers<'_>) -> Option<Self> {
        if (200..300).contains(&status) {
            return None;
        }
        Some(Failure::Status { status, retry_after_ms: retry_after_ms(answer) })
    }

    /// The failure that the head of a route's answer tells of; `None` for an answer to deliver.
    pub fn of_answer(route: &Route<'_>, status: u16, lines: &str) -> Option<Self> {
        let answer = Headers::from_lines(lines);
        Failure::of_status(status, answer)
            .or_else(|| refusal(route, status, answer).map(|_| Failure::Nonsense))
    }

    /// What it means. `is_stored` says whether the credential was the gateway's to choose.
    pub fn class(&self, is_stored: bool) -> Class {
        match self {
            Failure::Unreachable | Failure::Broken => Class::Transient,
            Failure::Slow => Class::Slow,
            Failure::Nonsense => Class::Elsewhere,
            Failure::Status { status, retry_after_ms } => class_of(*status, *retry_after_ms, is_stored),
            Failure::Reported { status } => class_of(*status, None, is_stored),
        }
    }

    /// The status that the provider answered with, or that its report stands for.
    pub fn status(&self) -> Option<u16> {
        match self {
            Failure::Status { status, .. } | Failure::Reported { status } => Some(*status),
            Failure::Unreachable | Failure::Slow | Failure::Broken | Failure::Nonsense => None,
        }
    }

    /// The word for it in lists.
    pub fn word(&self) -> &'static str {
        match self {
            Failure::Unreachable => "unreachable",
            Failure::Slow => "timeout",
            Failure::Broken => "broken_off",
            Failure::Nonsense => "nonsense",
            Failure::Status { .. } => "refused",
            Failure::Reported { .. } => "reported",
        }
    }

    /// The words for it in messages.
    pub fn told(&self) -> String {
        match self {
            Failure::Unreachable => "could not be reached".to_owned(),
            Failure::Slow => "did not begin to answer in time".to_owned(),
            Failure::Broken => "broke off before its answer".to_owned(),
            Failure::Nonsense => "answered with something that is no answer".to_owned(),
            Failure::Status { status, .. } => format!("answered with status {status}"),
            Failure::Reported { status } => format!("reported an error ({status}) in the place of an answer"),
        }
    }
}

fn class_of(status: u16, wait_ms: Option<u64>, is_stored: bool) -> Class {
    match status {
        401 | 402 if is_stored => Class::Credential { of_model: false },
        403 if is_stored => Class::Credential { of_model: true },
        429 => Class::RateLimited { wait_ms },
        300..=399 => Class::Elsewhere,
        408 | 500.. => Class::Transient,
        _ => Class::Final,
    }
}

/// How long a provider wants to be left alone, in milliseconds: `retry-after-ms`, else `retry-after` in seconds. A date is
/// taken for nothing: no provider of models sends one.
fn retry_after_ms(answer: Headers<'_>) -> Option<u64> {
    const LONGEST_SECONDS: f64 = 86_400.0;
    let number = |name: &str| answer.get(name)?.trim().parse::<f64>().ok().filter(|value| *value >= 0.0);
    let seconds = number("retry-after-ms").map(|ms| ms / 1_000.0).or_else(|| number("retry-after"))?;
    Some((seconds.min(LONGEST_SECONDS) * 1_000.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_class() {
        let class = |status, is_stored| {
            Failure::of_status(status, Headers::from_lines("")).map(|failure| failure.class(is_stored))
        };
        for status in [200, 201, 299] {
            assert_eq!(class(status, true), None);
        }
        for status in [401, 402] {
            assert_eq!(class(status, true), Some(Class::Credential { of_model: false }), "{status}");
            assert_eq!(class(status, false), Some(Class::Final), "{status}");
        }
        assert_eq!(class(403, true), Some(Class::Credential { of_model: true }));
        assert_eq!(class(403, false), Some(Class::Final));
        for status in [400, 404, 405, 409, 413, 415, 422, 424] {
            assert_eq!(class(status, true), Some(Class::Final), "{status}");
        }
        for status in [408, 500, 502, 503, 504, 520, 529] {
            assert_eq!(class(status, false), Some(Class::Transient), "{status}");
        }
        assert_eq!(class(429, false), Some(Class::RateLimited { wait_ms: None }));
        for (status, is_stored) in
            [(400, true), (401, true), (403, false), (429, true), (500, true), (529, false)]
        {
            let reported = Failure::Reported { status }.class(is_stored);
            assert_eq!(Some(reported), class(status, is_stored), "{status}");
        }
        assert_eq!(Failure::Slow.class(true), Class::Slow);
        assert_eq!(Failure::Nonsense.class(true), Class::Elsewhere);
        for failure in [Failure::Unreachable, Failure::Broken] {
            assert_eq!(failure.class(true), Class::Transient);
        }
    }

    #[test]
    fn a_provider_says_in_two_ways_how_long_to_wait() {
        for (lines, ms) in [
            ("retry-after: 2", Some(2_000)),
            ("retry-after: 0.25", Some(250)),
            ("retry-after-ms: 30\nretry-after: 2", Some(30)),
            ("retry-after: -1", None),
            ("retry-after: NaN", None),
            ("retry-after: 1e300", Some(86_400_000)),
            ("retry-after: Wed, 21 Oct 2026 07:28:00 GMT", None),
            ("", None),
        ] {
            assert_eq!(retry_after_ms(Headers::from_lines(lines)), ms, "{lines}");
        }
    }
}
