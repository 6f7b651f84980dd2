//! How an observer or reflector is asked through the gateway's own providers, and what their answers mean.
//!
//! Invariant: a provider that is down, slow or refuses the credential says nothing about the question, which is asked again;
//! one that refuses the question itself, or whose model does, says something about the question.

use super::cycle::{Heard, Job, Reply};
use super::observer::Asked;
use super::store::Kind;
use crate::ledger::{MemoryCost, MemoryOperation};
use crate::request::{Entry, Request, Thinking};
use crate::turn::{Answer, Ending, Message, Part, PartKind, Role};

/// What Gemini's small models may think before they take notes, in tokens: left to themselves they can think the whole answer
/// away. <https://ai.google.dev/gemini-api/docs/thinking>
const FLASH_THINKING: u64 = 512;

/// Statuses that say that the question cannot be answered, whoever asks and however often.
const REFUSALS: [u16; 3] = [400, 413, 422];

/// The request for a model, by its name at the provider.
pub fn request(asked: &Asked, model: &str, answer_tokens: u64) -> Request {
    let budget = model.contains("gemini-2.5-flash").then_some(FLASH_THINKING);
    Request {
        model: model.to_owned(),
        entries: vec![
            Entry::Instruction(vec![Part::text(asked.system.as_str())]),
            Entry::Message {
                message: Message::new(Role::User, vec![Part::text(asked.user.as_str())]),
                place: None,
            },
        ],
        max_tokens: Some(answer_tokens),
        thinking: Thinking { budget, ..Thinking::default() },
        ..Request::default()
    }
}

/// What came of a question that was answered with a status and, where it could be read, an answer.
pub fn heard(status: u16, answer: Option<&Answer>) -> Heard {
    if REFUSALS.contains(&status) {
        return Heard::Refused(status.to_string());
    }
    if !(200..300).contains(&status) {
        return Heard::Unreachable(format!("status {status}"));
    }
    let Some(answer) = answer else { return Heard::Unreachable("unreadable answer".to_owned()) };
    if answer.ending == Ending::Failed {
        return Heard::Unreachable("error inside the answer".to_owned());
    }
    let declines = |message: &Message| {
        message.parts.iter().any(|part| matches!(part.kind, PartKind::Refusal(_)))
            && message.text().is_empty()
    };
    let text = answer.message.as_ref().filter(|message| !declines(message)).map(Message::text);
    let stop = answer.stop.clone().filter(|_| answer.ending == Ending::Complete);
    Heard::Answer { text, stop }
}

/// What a question cost, for the ledger. No words of the conversation are in it.
pub fn cost(job: &Job, reply: &Reply, started_at: u64, latency_ms: u64) -> MemoryCost {
    let error = match &reply.heard {
        Heard::Answer { .. } => None,
        Heard::Refused(why) | Heard::Unreachable(why) => Some(why.clone()),
    };
    MemoryCost {
        id: job.cycle.clone(),
        project: job.thread.project.clone(),
        thread: job.thread.id.clone(),
        resource: job.thread.resource.clone(),
        cycle: job.cycle.clone(),
        operation: match job.kind {
            Kind::Observe => MemoryOperation::Observe,
            Kind::Reflect => MemoryOperation::Reflect,
        },
        provider: reply.provider.clone(),
        model: reply.model.clone(),
        usage: reply.usage,
        estimated: reply.estimated,
        status: reply.status,
        error,
        started_at,
        latency_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::Stop;

    fn answer(text: &str, stop: Option<Stop>, ending: Ending) -> Answer {
        let message = Some(Message::new(Role::Assistant, vec![Part::text(text)]));
        Answer { message, usage: None, stop, ending }
    }

    #[test]
    fn only_what_is_about_the_question_counts_as_an_answer_to_it() {
        let whole = answer("END", Some(Stop::End), Ending::Complete);
        let said = |text: &str, stop| Heard::Answer { text: Some(text.to_owned()), stop };
        assert_eq!(heard(200, Some(&whole)), said("END", Some(Stop::End)));
        // The words say that they are whole, the connection does not.
        let torn = answer("END", Some(Stop::End), Ending::Truncated);
        assert_eq!(heard(200, Some(&torn)), said("END", None));
        let failed = answer("", None, Ending::Failed);
        assert_eq!(heard(200, Some(&failed)), Heard::Unreachable("error inside the answer".into()));
        assert_eq!(heard(200, None), Heard::Unreachable("unreadable answer".into()));
        for status in [400, 413, 422] {
            assert_eq!(heard(status, None), Heard::Refused(status.to_string()));
        }
        for status in [401, 402, 403, 404, 408, 429, 500, 503, 529] {
            assert_eq!(heard(status, Some(&whole)), Heard::Unreachable(format!("status {status}")));
        }
        let refusal = Message::new(Role::Assistant, vec![PartKind::Refusal("no".into()).into()]);
        let declined = Answer { message: Some(refusal), ..whole };
        assert_eq!(heard(200, Some(&declined)), Heard::Answer { text: None, stop: Some(Stop::End) });
    }

    #[test]
    fn the_question_is_a_system_text_and_a_users_text_with_a_limit() {
        let asked = Asked { system: "s".into(), user: "u".into() };
        let written = request(&asked, "gpt-5-mini", 8_192);
        assert_eq!(
            (written.max_tokens, written.thinking.is_set(), written.entries.len()),
            (Some(8_192), false, 2)
        );
        assert_eq!(request(&asked, "gemini-2.5-flash", 1).thinking.budget, Some(512));
    }
}
