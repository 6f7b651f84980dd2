//! The steps of a stream, and the grammar that they obey.
#![allow(dead_code)]

use memory_gateway::dialect::Growth;
use memory_gateway::gather::Step;
use memory_gateway::observe::Observer;
use memory_gateway::turn::{Answer, Ending, Origin, Part, PartKind, ToolCall};
use serde::de::IgnoredAny;

/// What an observer tells of a stream that comes in chunks of a size.
pub fn tell(origin: &Origin, bytes: &[u8], size: usize) -> (Answer, Vec<Step>) {
    tell_chunks(Observer::telling(origin.clone(), "5eed"), bytes.chunks(size.max(1)))
}

/// What an observer tells of a stream that comes in these chunks.
pub fn tell_chunks<'a>(
    mut observer: Observer,
    chunks: impl Iterator<Item = &'a [u8]>,
) -> (Answer, Vec<Step>) {
    let mut steps = Vec::new();
    for chunk in chunks {
        observer.push(chunk);
        steps.extend(observer.take_steps());
    }
    let (answer, rest) = observer.finish_telling(true);
    steps.extend(rest);
    (answer, steps)
}

struct Heard {
    head: Part,
    words: String,
    seal: Option<String>,
    closed: Option<Part>,
}

impl Heard {
    /// A call whose arguments are no whole JSON yet may stay open beside others.
    fn is_torn_call(&self) -> bool {
        matches!(self.head.kind, PartKind::ToolCall(_))
            && serde_json::from_str::<IgnoredAny>(&self.words).is_err()
    }
}

/// The closed parts, in order, if the steps obey the grammar and end as the answer does.
pub fn obeyed(answer: &Answer, steps: &[Step]) -> Result<Vec<Part>, String> {
    let mut parts: Vec<Heard> = Vec::new();
    let mut ended = false;
    for step in steps {
        if ended {
            return Err(format!("{step:?} follows the end"));
        }
        match step {
            Step::Open { at, part } => {
                let beside = |heard: &Heard| heard.closed.is_none() && !heard.is_torn_call();
                if *at != parts.len() || parts.iter().any(beside) {
                    return Err(format!("part {at} is opened out of turn"));
                }
                if !is_head(part) {
                    return Err(format!("part {at} is opened as {part:?}"));
                }
                parts.push(Heard { head: part.clone(), words: String::new(), seal: None, closed: None });
            }
            Step::Grow { at, growth } => grow(open_part(&mut parts, *at)?, *at, growth)?,
            Step::Close { at, part } => {
                let heard = open_part(&mut parts, *at)?;
                if !is_whole(heard, part) {
                    return Err(format!("part {at} grew to {:?} and is closed as {part:?}", heard.words));
                }
                heard.closed = Some(part.clone());
            }
            Step::Usage(_) => {}
            Step::End { stop, usage } => {
                ended = true;
                let open = parts.iter().any(|heard| heard.closed.is_none());
                if (stop, usage) != (&answer.stop, &answer.usage) || open {
                    return Err(format!("it ends with {step:?}, parts open: {open}"));
                }
            }
        }
    }
    if ended != (answer.ending == Ending::Complete) {
        return Err(format!("told to the end: {ended}, but it ends {:?}", answer.ending));
    }
    Ok(parts.into_iter().filter_map(|heard| heard.closed).collect())
}

fn open_part(parts: &mut [Heard], at: usize) -> Result<&mut Heard, String> {
    let open = parts.get_mut(at).filter(|heard| heard.closed.is_none());
    open.ok_or_else(|| format!("part {at} goes on and is not open"))
}

/// A text, refusal or reasoning without its words, a call that is named and without its arguments, anything else whole.
fn is_head(part: &Part) -> bool {
    match &part.kind {
        PartKind::Text(words) | PartKind::Refusal(words) => words.is_empty(),
        PartKind::Reasoning(reasoning) => reasoning.text.is_empty() && reasoning.sealed.is_none(),
        PartKind::ToolCall(ToolCall { id, name, arguments, .. }) => {
            !id.is_empty() && !name.is_empty() && arguments.is_empty()
        }
        _ => true,
    }
}

fn grow(heard: &mut Heard, at: usize, growth: &Growth) -> Result<(), String> {
    match (&heard.head.kind, growth) {
        (PartKind::Text(_) | PartKind::Refusal(_) | PartKind::Reasoning(_), Growth::Text(more))
        | (PartKind::ToolCall(_), Growth::Input(more))
            if !more.is_empty() =>
        {
            heard.words.push_str(more);
        }
        (PartKind::Reasoning(_), Growth::Sealed(seal)) => heard.seal = Some(seal.clone()),
        (_, Growth::Extra(..)) => {}
        (kind, growth) => return Err(format!("part {at}, {kind:?}, grows by {growth:?}")),
    }
    Ok(())
}

fn is_whole(heard: &Heard, part: &Part) -> bool {
    let grown = match &part.kind {
        PartKind::Text(words) | PartKind::Refusal(words) => *words == heard.words,
        PartKind::Reasoning(reasoning) => reasoning.text == heard.words && reasoning.sealed == heard.seal,
        PartKind::ToolCall(call) => {
            call.arguments == heard.words && (call.custom || !call.arguments.is_empty())
        }
        _ => true,
    };
    grown && !part.is_blank()
}
