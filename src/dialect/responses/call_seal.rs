//! The sealed thoughts of a tool call (Gemini's thought signature) on their way through a client of Responses, whose
//! calls have no field for them: a reasoning item beside the call carries them, in `encrypted_content`, which every client
//! that keeps its own history sends back.
//!
//! Invariant: the seal names its call, so it comes back to it whatever a client does to the order and the ids of items.

use crate::seal;
use crate::turn::{Origin, Part, PartKind};

/// What stands behind the mark of all wrapped seals: `mgw1:call:CALL_ID:WRAPPED_SEAL`.
const KIND: &str = "call";

/// The seal of a call as a reasoning item carries it.
pub(super) fn wrap(origin: &Origin, call_id: &str, seal: &str) -> String {
    format!("{}:{KIND}:{call_id}:{}", seal::MARK, seal::wrap(origin, seal))
}

/// Gives the seals back to the calls of a message that they name. One whose call is gone becomes a seal like
/// any other.
pub(super) fn restore(parts: &mut Vec<Part>) {
    let carried: Vec<(usize, String, String)> = parts
        .iter()
        .enumerate()
        .filter_map(|(at, part)| match &part.kind {
            PartKind::Reasoning(reasoning) => {
                let (call_id, seal) = read(reasoning.sealed.as_deref()?)?;
                Some((at, call_id.to_owned(), seal.to_owned()))
            }
            _ => None,
        })
        .collect();
    for (at, call_id, seal) in carried.into_iter().rev() {
        let call = parts.iter_mut().find_map(|part| match &mut part.kind {
            PartKind::ToolCall(call) if call.id == call_id => Some(call),
            _ => None,
        });
        if let Some(call) = call {
            call.sealed = Some(seal);
            parts.remove(at);
        } else if let Some(PartKind::Reasoning(reasoning)) = parts.get_mut(at).map(|part| &mut part.kind) {
            reasoning.sealed = Some(seal);
        }
    }
}

/// The call's id and its wrapped seal. An id may hold colons itself, so the seal is where one begins.
fn read(sealed: &str) -> Option<(&str, &str)> {
    let rest = sealed.strip_prefix(seal::MARK)?.strip_prefix(':')?.strip_prefix(KIND)?.strip_prefix(':')?;
    rest.match_indices(':').find_map(|(colon, _)| {
        let (call_id, seal) = (rest.get(..colon)?, rest.get(colon + 1..)?);
        seal::is_wrapped(seal).then_some((call_id, seal))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Dialect;
    use crate::turn::{Reasoning, ToolCall};

    #[test]
    fn a_seal_finds_its_call_wherever_it_stands() {
        let origin = Origin { dialect: Dialect::Google, provider: "google".into() };
        let call = |id: &str, sealed: Option<&str>| -> Part {
            let call = ToolCall {
                id: id.into(),
                name: "f".into(),
                sealed: sealed.map(str::to_owned),
                ..ToolCall::default()
            };
            PartKind::ToolCall(call).into()
        };
        let carrier = |id: &str, seal: &str| -> Part {
            let sealed = Some(wrap(&origin, id, seal));
            PartKind::Reasoning(Reasoning { sealed, ..Reasoning::default() }).into()
        };
        let mut parts = vec![
            carrier("f.g:0", "A:a="),
            call("f.g:0", None),
            call("c2", None),
            carrier("c2", "B"),
            carrier("gone", "C"),
        ];
        restore(&mut parts);
        assert_eq!(
            parts,
            [
                call("f.g:0", Some("mgw1:google:google:A:a=")),
                call("c2", Some("mgw1:google:google:B")),
                PartKind::Reasoning(Reasoning {
                    sealed: Some("mgw1:google:google:C".into()),
                    ..Reasoning::default()
                })
                .into(),
            ]
        );
    }
}
