//! Where a conversation may be cut, which messages an observer is given together, and which stay as they were said.
//!
//! Invariant: no cut stands between a tool call and its result, or behind a call whose result may still come; batches are
//! bounded, in order, and between them leave nothing out.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::turn::{Message, Role};

/// A call without a result is waited for until the user has gone on so many times.
const PATIENCE: usize = 2;

/// What planning has to know of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// Its place in the conversation.
    pub seq: i64,
    /// Who speaks.
    pub role: Role,
    /// Its estimated tokens.
    pub tokens: u64,
    /// The ids of the calls that it makes.
    pub calls: Vec<String>,
    /// The ids of the calls that it answers.
    pub results: Vec<String>,
}

impl Outline {
    /// The outline of a message.
    pub fn of(seq: i64, tokens: u64, message: &Message) -> Self {
        Outline {
            seq,
            role: message.role,
            tokens,
            calls: message.tool_calls().map(|call| call.id.clone()).collect(),
            results: message.tool_results().map(|result| result.call_id.clone()).collect(),
        }
    }
}

/// The places where the messages may be cut: `n` stands for a cut in front of the `n`th, so that `0` is no cut at all and
/// `len` takes all of them.
pub fn cuts(messages: &[Outline]) -> Vec<usize> {
    let answered: BTreeSet<&str> =
        messages.iter().flat_map(|message| message.results.iter().map(String::as_str)).collect();
    let users_behind = |at: usize| {
        messages.iter().skip(at + 1).filter(|message| message.role == Role::User).take(PATIENCE).count()
    };
    let mut open: BTreeSet<&str> = BTreeSet::new();
    let mut cuts = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        for id in &message.results {
            open.remove(id.as_str());
        }
        for id in &message.calls {
            if answered.contains(id.as_str()) || users_behind(at) < PATIENCE {
                open.insert(id.as_str());
            }
        }
        if open.is_empty() {
            cuts.push(at + 1);
        }
    }
    cuts
}

/// The batches in which messages become notes: each ends at a cut and holds at most `window` tokens, unless a single
/// stretch without a cut is larger. What stands behind the last cut is left for later.
pub fn batches(messages: &[Outline], window: u64) -> Vec<Range<usize>> {
    let mut batches = Vec::new();
    let (mut start, mut end) = (0, 0);
    let tokens = |range: Range<usize>| -> u64 {
        messages.get(range).unwrap_or_default().iter().map(|message| message.tokens).sum()
    };
    for cut in cuts(messages) {
        if end > start && tokens(start..cut) > window {
            batches.push(start..end);
            start = end;
        }
        end = cut;
    }
    if end > start {
        batches.push(start..end);
    }
    batches
}

/// The cut nearest the middle of a batch's tokens; `None` where it has none inside.
pub fn middle(messages: &[Outline]) -> Option<usize> {
    let total: u64 = messages.iter().map(|message| message.tokens).sum();
    let before = |cut: usize| messages.iter().take(cut).map(|message| message.tokens).sum::<u64>();
    cuts(messages)
        .into_iter()
        .filter(|cut| *cut < messages.len())
        .min_by_key(|cut| before(*cut).abs_diff(total / 2))
}

/// What stays as it was said when notes take the place of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Everything from this place on.
    pub from: i64,
    /// The newest message of the user, wherever it stands.
    pub user: Option<i64>,
}

/// What is kept of the raw messages, given newest first as places, tokens and roles: at least `keep_tokens` of the newest,
/// and the user's newest answered message with all that follows. Where that alone is more than `most` (a model that has
/// been calling tools for a long time), the message itself is kept, and of what follows it as much as of anything else.
pub fn kept(newest_first: &[(i64, u64, Role)], keep_tokens: u64, most: u64) -> Kept {
    let mut sum = 0;
    let mut by_tokens = None;
    // The newest message of the user that something follows; one at the very end is the question of the turn itself.
    let mut user = None;
    let mut answered = false;
    let mut since_user = 0;
    for (seq, tokens, role) in newest_first {
        sum += tokens;
        if by_tokens.is_none() && sum >= keep_tokens {
            by_tokens = Some(*seq);
        }
        if user.is_none() {
            match role {
                Role::User if answered => {
                    user = Some(*seq);
                    since_user = sum;
                }
                Role::User => {}
                Role::Assistant | Role::Tool => answered = true,
            }
        }
        if by_tokens.is_some() && user.is_some() {
            break;
        }
    }
    let by_tokens = by_tokens.unwrap_or(i64::MIN);
    match user {
        Some(seq) if since_user <= most => Kept { from: by_tokens.min(seq), user },
        _ => Kept { from: by_tokens, user },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `u`, `a` for words; `c1`, `r1` for a call and its result; `c1c2` for parallel calls; 10 tokens each.
    fn outlines(words: &str) -> Vec<Outline> {
        let ids = |word: &str, mark: char| -> Vec<String> {
            word.split(mark).skip(1).map(|id| id.trim_end_matches(['c', 'r']).to_owned()).collect()
        };
        words
            .split(' ')
            .zip(1..)
            .map(|(word, seq)| Outline {
                seq,
                role: match word.chars().next() {
                    Some('u') => Role::User,
                    Some('r') => Role::Tool,
                    _ => Role::Assistant,
                },
                tokens: 10,
                calls: ids(word, 'c'),
                results: ids(word, 'r'),
            })
            .collect()
    }

    #[test]
    fn a_cut_never_separates_a_call_from_its_result_nor_waits_for_ever() {
        for (words, expected) in [
            ("u a u a", vec![1, 2, 3, 4]),
            ("u c1 r1 a", vec![1, 3, 4]),
            ("u c1c2 r1 r2 a", vec![1, 4, 5]),
            ("u c1c2 r2 r1 c3 r3 a", vec![1, 4, 6, 7]),
            // A pending call: nothing behind it is cut off, however much there is.
            ("u a u c1", vec![1, 2, 3]),
            ("u c1 u a", vec![1]),
            // Results that come in another turn than expected.
            ("u c1 u a r1 a", vec![1, 5, 6]),
            // The user went on twice: nobody waits any more.
            ("u c1 u a u a", vec![1, 2, 3, 4, 5, 6]),
        ] {
            assert_eq!(cuts(&outlines(words)), expected, "{words}");
        }
    }

    #[test]
    fn batches_are_bounded_end_at_cuts_and_leave_nothing_out() {
        let spans = |words: &str, window| -> Vec<(usize, usize)> {
            batches(&outlines(words), window).into_iter().map(|batch| (batch.start, batch.end)).collect()
        };
        assert_eq!(spans("u a u a u a", 20), [(0, 2), (2, 4), (4, 6)]);
        assert_eq!(spans("u a u a u a", 1_000), [(0, 6)]);
        assert_eq!(spans("u a u c1", 1_000), [(0, 3)]);
        // Larger than the window, and without a cut inside.
        assert_eq!(spans("u a c1 r1 c2c3 r3 r2 a", 20), [(0, 2), (2, 4), (4, 7), (7, 8)]);
        assert_eq!(spans("c1", 20), []);
        assert_eq!(batches(&[], 20).len(), 0);
    }

    #[test]
    fn a_batch_is_split_at_the_cut_nearest_its_middle() {
        assert_eq!(middle(&outlines("u a u a")), Some(2));
        assert_eq!(middle(&outlines("u c1c2 r1 r2 a")), Some(1));
        assert_eq!(middle(&outlines("u")), None);
        assert_eq!(middle(&outlines("c1 r1")), None);
    }

    #[test]
    fn what_is_kept_reaches_back_to_the_floor_and_the_last_answered_question() {
        let newest_first = |words: &str| -> Vec<(i64, u64, Role)> {
            outlines(words).iter().rev().map(|message| (message.seq, message.tokens, message.role)).collect()
        };
        for (words, keep, most, from, user) in [
            // The last question with its answer, and the question that is being asked.
            ("u a u a u", 0, 1_000, 3, Some(3)),
            ("u a u a", 0, 1_000, 3, Some(3)),
            ("u a u a u", 40, 1_000, 2, Some(3)),
            ("u a u a u", 10_000, 1_000, i64::MIN, Some(3)),
            // A long run of tool calls: its question stays, and the newest 20 tokens.
            ("u a u c1 r1 c2 r2 c3 r3", 20, 40, 8, Some(3)),
            ("u a u c1 r1 c2 r2 c3 r3", 20, 70, 3, Some(3)),
            ("u", 0, 1_000, 1, None),
            ("", 0, 1_000, i64::MIN, None),
        ] {
            let newest_first = if words.is_empty() { Vec::new() } else { newest_first(words) };
            assert_eq!(kept(&newest_first, keep, most), Kept { from, user }, "{words}");
        }
    }
}
