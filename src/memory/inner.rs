//! What a model did with the gateway's own tools on the way to an answer: its calls, their results, and the thoughts that
//! led to them. Of all this the client saw at most the words of thoughts; it is kept inside the assistant's one message,
//! marked. Calls that the model made beside the client's own are kept in the same way, with their results.
//!
//! Invariant: a stored answer is one message, whatever was looked up for it, so that it lines up with the client's copy.
//! The mark never goes to a provider; before one reads the message again it is unfolded into calls and results, or what
//! is marked is left out.

use serde_json::Value;

use super::context::Item;
use crate::tokens;
use crate::turn::{Message, Part, PartKind, Role};

/// The field of a part that marks it.
const MARK: &str = "gateway";

/// Marks a part as one of the gateway's own.
pub fn mark(part: &mut Part) {
    part.extra.insert(MARK.to_owned(), Value::Bool(true));
}

/// True for a part that is not the client's.
pub fn is_inner(part: &Part) -> bool {
    part.extra.get(MARK) == Some(&Value::Bool(true))
}

/// True for a message with such parts.
pub fn has_inner(message: &Message) -> bool {
    message.parts.iter().any(is_inner)
}

/// The message as the client saw it.
pub fn visible(mut message: Message) -> Message {
    message.parts.retain(|part| !is_inner(part));
    message
}

/// The message as its provider said it: the assistant's words and calls, the results behind them, the words behind those.
pub fn unfolded(message: Message) -> Vec<Message> {
    let Message { role, parts, name, origin, extra } = message;
    let mut said: Vec<Message> = Vec::new();
    for mut part in parts {
        part.extra.shift_remove(MARK);
        let of = match part.kind {
            PartKind::ToolResult(_) => Role::Tool,
            _ => role,
        };
        match said.last_mut() {
            Some(last) if last.role == of && of != Role::Tool => last.parts.push(part),
            _ => {
                // A result is written in the gateway's words, wherever the call came from.
                let origin = origin.clone().filter(|_| of != Role::Tool);
                said.push(Message { name: None, origin, ..Message::new(of, vec![part]) });
            }
        }
    }
    if let Some(last) = said.iter_mut().rfind(|message| message.role == role) {
        (last.name, last.extra) = (name, extra);
    }
    said
}

/// What a prompt's items become where the model has the gateway's tools (`shown`) or not; and by how many tokens, as
/// estimated, they have become fewer. `incoming` are the client's messages, which are kept where they say the same.
pub fn settled(items: Vec<Item>, incoming: &[Message], shown: bool) -> (Vec<Item>, u64) {
    let mut out = Vec::with_capacity(items.len());
    let mut left_out = 0;
    for item in items {
        match item {
            Item::Insert(message) if has_inner(&message) => {
                let whole = tokens::of_message(&message);
                let shown = if shown { unfolded(message) } else { vec![visible(message)] };
                let kept: u64 = shown.iter().map(tokens::of_message).sum();
                left_out += whole.saturating_sub(kept);
                out.extend(shown.into_iter().filter(|message| !message.parts.is_empty()).map(Item::Insert));
            }
            Item::Replace(at, message) if has_inner(&message) => {
                let whole = tokens::of_message(&message);
                let copy = incoming.get(at);
                let shown = if shown { unfolded(message) } else { vec![visible(message)] };
                let kept: u64 = shown.iter().map(tokens::of_message).sum();
                left_out += whole.saturating_sub(kept);
                let last = shown.iter().rposition(|message| message.role == Role::Assistant);
                for (place, message) in shown.into_iter().enumerate() {
                    let is_copy = Some(place) == last;
                    if is_copy && copy.is_some_and(|copy| copy.content_hash() == message.content_hash()) {
                        out.push(Item::Keep(at));
                    } else if is_copy {
                        out.push(Item::Replace(at, message));
                    } else {
                        out.push(Item::Insert(message));
                    }
                }
            }
            other => out.push(other),
        }
    }
    (out, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::{ToolCall, ToolResult};

    fn call(id: &str) -> Part {
        let call = ToolCall { id: id.into(), name: "web_search".into(), ..ToolCall::default() };
        PartKind::ToolCall(call).into()
    }

    fn result(id: &str) -> Part {
        let content = vec![Part::text("found")];
        PartKind::ToolResult(ToolResult { call_id: id.into(), content, custom: false, is_error: false })
            .into()
    }

    fn marked(mut part: Part) -> Part {
        mark(&mut part);
        part
    }

    fn answer(parts: Vec<Part>) -> Message {
        Message::new(Role::Assistant, parts)
    }

    fn looked_up() -> Message {
        answer(vec![
            Part::text("I look. "),
            marked(call("a")),
            marked(call("b")),
            marked(result("a")),
            marked(result("b")),
            Part::text("It is so."),
        ])
    }

    #[test]
    fn an_answer_unfolds_into_what_was_said_called_and_found() {
        let tool = |id| Message::new(Role::Tool, vec![result(id)]);
        assert_eq!(
            unfolded(looked_up()),
            vec![
                answer(vec![Part::text("I look. "), call("a"), call("b")]),
                tool("a"),
                tool("b"),
                answer(vec![Part::text("It is so.")]),
            ]
        );
        assert_eq!(visible(looked_up()), answer(vec![Part::text("I look. "), Part::text("It is so.")]));
    }

    #[test]
    fn the_client_s_copy_is_kept_where_the_last_words_are_the_same_and_the_rest_comes_before_it() {
        let copy = answer(vec![Part::text("It is so.")]);
        let stored = answer(vec![marked(call("a")), marked(result("a")), Part::text("It is so.")]);
        let (shown, left_out) =
            settled(vec![Item::Replace(0, stored.clone())], std::slice::from_ref(&copy), true);
        assert_eq!(
            shown,
            vec![
                Item::Insert(answer(vec![call("a")])),
                Item::Insert(Message::new(Role::Tool, vec![result("a")])),
                Item::Keep(0),
            ]
        );
        assert_eq!(left_out, 0);
        let (hidden, left_out) = settled(vec![Item::Replace(0, stored.clone())], &[copy], false);
        assert_eq!(hidden, vec![Item::Keep(0)]);
        assert!(left_out > 0);
        let (hidden, _) = settled(vec![Item::Insert(stored)], &[], false);
        assert_eq!(hidden, vec![Item::Insert(answer(vec![Part::text("It is so.")]))]);
    }

    #[test]
    fn what_was_found_beside_the_client_s_calls_stands_with_its_results() {
        let stored = answer(vec![Part::text("Both."), marked(call("a")), call("mine"), marked(result("a"))]);
        let copy = answer(vec![Part::text("Both."), call("mine")]);
        let incoming = [copy.clone(), Message::new(Role::Tool, vec![result("mine")])];
        let items = || vec![Item::Replace(0, stored.clone()), Item::Keep(1)];
        let (shown, _) = settled(items(), &incoming, true);
        assert_eq!(
            shown,
            vec![
                Item::Replace(0, answer(vec![Part::text("Both."), call("a"), call("mine")])),
                Item::Insert(Message::new(Role::Tool, vec![result("a")])),
                Item::Keep(1),
            ]
        );
        assert_eq!(settled(items(), &incoming, false).0, vec![Item::Keep(0), Item::Keep(1)]);
    }

    #[test]
    fn an_answer_that_is_nothing_but_marked_is_left_out_where_it_is_hidden() {
        let stored = answer(vec![marked(call("a")), marked(result("a"))]);
        assert_eq!(settled(vec![Item::Insert(stored)], &[], false).0, Vec::new());
    }
}
