//! What a call of a Durable Object that failed means for the next: whether it is made again, and after how long.
//!
//! Invariant: an overloaded object is never asked again at once, and a failure that the platform does not call passing only
//! where giving up would lose something.
//!
//! Source: <https://developers.cloudflare.com/durable-objects/best-practices/error-handling/>.

/// The longest pause before a client's request is put again, in milliseconds: what memory may take is short.
const SHORT_PAUSE_MS: u32 = 20;

/// The pauses between attempts to have something stored, in milliseconds. The sum stays well below the 30 s that the
/// platform leaves a Worker after its answer.
const PAUSES_MS: [u32; 5] = [50, 200, 1_000, 3_000, 8_000];

/// The same for an object that is overloaded: seldom enough to be no part of its load.
const OVERLOADED_PAUSES_MS: [u32; 4] = [1_000, 2_000, 5_000, 10_000];

/// What the platform says of an error, by properties of the thrown object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `overloaded`: more requests wait for the object than it can take.
    pub overloaded: bool,
    /// `retryable`: it may go well the next time.
    pub retryable: bool,
    /// `durableObjectReset`: the object was started anew, as by a deployment.
    pub reset: bool,
}

/// How a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectFailure {
    /// More requests wait for the object than it can take; each further one makes it worse.
    Overloaded,
    /// It may go well with a new stub.
    Passing,
    /// It would fail again: an exception, an answer that is none.
    Lasting,
}

/// What the caller of an object needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A client waits, and goes on without it.
    Answer,
    /// Nobody waits, and what is not stored is lost.
    Storage,
}

impl ObjectFailure {
    /// The failure that a thrown error tells of.
    pub fn of(flags: Flags) -> Self {
        match flags {
            Flags { overloaded: true, .. } => ObjectFailure::Overloaded,
            Flags { retryable: true, .. } | Flags { reset: true, .. } => ObjectFailure::Passing,
            _ => ObjectFailure::Lasting,
        }
    }

    /// The word for it in the log.
    pub fn word(self) -> &'static str {
        match self {
            ObjectFailure::Overloaded => "overloaded",
            ObjectFailure::Passing => "passing",
            ObjectFailure::Lasting => "lasting",
        }
    }

    /// How many milliseconds to wait before the call is made again, after `failed` calls that failed; `None` to give up.
    /// `random` is any number: callers that failed together do not come back together.
    pub fn pause_ms(self, need: Need, failed: usize, random: u32) -> Option<u32> {
        let full = match (need, self) {
            (Need::Answer, ObjectFailure::Passing) if failed <= 1 => SHORT_PAUSE_MS,
            (Need::Answer, _) => return None,
            (Need::Storage, ObjectFailure::Overloaded) => {
                *OVERLOADED_PAUSES_MS.get(failed.checked_sub(1)?)?
            }
            (Need::Storage, _) => *PAUSES_MS.get(failed.checked_sub(1)?)?,
        };
        Some(full / 2 + random % (full / 2 + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::ObjectFailure::{Lasting, Overloaded, Passing};
    use super::*;

    #[test]
    fn the_platforms_flags_say_what_a_failure_is() {
        for (overloaded, retryable, reset, failure) in [
            (false, false, false, Lasting),
            (false, true, false, Passing),
            (false, false, true, Passing),
            (false, true, true, Passing),
            // The platform sets both for some: the load decides.
            (true, true, false, Overloaded),
            (true, false, true, Overloaded),
            (true, false, false, Overloaded),
        ] {
            let flags = Flags { overloaded, retryable, reset };
            assert_eq!(ObjectFailure::of(flags), failure, "{flags:?}");
        }
    }

    /// All pauses that a caller makes while its calls go on failing, at their longest.
    fn pauses(failure: ObjectFailure, need: Need) -> Vec<u32> {
        let at_longest = |failed: usize| {
            [0, 7, 1_234, u32::MAX].iter().filter_map(|random| failure.pause_ms(need, failed, *random)).max()
        };
        (1..).map_while(at_longest).collect()
    }

    #[test]
    fn who_waits_is_put_off_once_and_only_by_what_passes() {
        assert_eq!(pauses(Passing, Need::Answer).len(), 1);
        assert!(pauses(Overloaded, Need::Answer).is_empty());
        assert!(pauses(Lasting, Need::Answer).is_empty());
    }

    #[test]
    fn what_would_be_lost_is_tried_with_growing_pauses_within_the_platforms_time() {
        for failure in [Overloaded, Passing, Lasting] {
            let pauses = pauses(failure, Need::Storage);
            assert!(pauses.len() >= 4 && pauses.is_sorted(), "{failure:?}: {pauses:?}");
            assert!(pauses.iter().sum::<u32>() < 20_000, "{failure:?}: {pauses:?}");
        }
        for random in [0, 1, 499, 500, 501, u32::MAX] {
            let pause = Overloaded.pause_ms(Need::Storage, 1, random);
            assert!(pause.is_some_and(|ms| (500..=1_000).contains(&ms)), "{random}: {pause:?}");
        }
    }
}
