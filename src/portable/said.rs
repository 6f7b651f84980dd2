//! Messages that were said elsewhere: `said` lines.
//!
//! Invariant: nothing of a message is dropped in silence: a part that has no word here makes the line one that is refused.

use serde_json::{Map, Value};

use crate::turn::{Media, Message, Part, PartKind, Reasoning, Role, Source, ToolCall, ToolResult};

/// A message of somewhere else.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// Its id, unique in the thread.
    pub id: String,
    /// When it was said, in Unix milliseconds.
    pub at: u64,
    /// The message.
    pub message: Message,
}

/// Reads a line `{id, role, content, createdAt, name?}`; `content` is a text or a list of parts as the memory API shows them.
/// Errors: what is wrong.
pub fn read(line: &Map<String, Value>) -> Result<Said, String> {
    let text = |name: &str| line.get(name).and_then(Value::as_str);
    let id = text("id")
        .filter(|id| !id.is_empty() && id.len() <= 512)
        .ok_or("`id` must be a text of 1 to 512 bytes.")?;
    let role = text("role").and_then(Role::from_word).ok_or("`role` must be user, assistant or tool.")?;
    let at = line.get("createdAt").and_then(Value::as_u64).ok_or("`createdAt` must be Unix milliseconds.")?;
    let parts = match line.get("content") {
        Some(Value::String(text)) => vec![Part::text(text)],
        Some(Value::Array(parts)) => parts.iter().map(part).collect::<Result<_, _>>()?,
        _ => return Err("`content` must be a text or a list of parts.".into()),
    };
    let mut message = Message::new(role, parts);
    message.name = text("name").map(str::to_owned);
    Ok(Said { id: id.to_owned(), at, message })
}

fn part(value: &Value) -> Result<Part, String> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let need = |name: &str| text(name).ok_or_else(|| format!("A part of `content` lacks `{name}`."));
    let media = || {
        let source = text("url").map(Source::Url).or_else(|| text("data").map(Source::Data));
        let source = source.or_else(|| text("fileId").map(Source::FileId));
        let source = source.ok_or("A picture, sound or file needs `url`, `data` or `fileId`.")?;
        Ok::<_, String>(Media { source, media_type: text("mediaType"), name: text("name"), detail: None })
    };
    let kind = match need("type")?.as_str() {
        "text" => PartKind::Text(need("text")?),
        "refusal" => PartKind::Refusal(need("refusal")?),
        "image" => PartKind::Image(media()?),
        "audio" => PartKind::Audio(media()?),
        "file" => PartKind::File(media()?),
        "reasoning" => PartKind::Reasoning(Reasoning { text: need("text")?, ..Reasoning::default() }),
        "tool_call" => PartKind::ToolCall(ToolCall {
            id: need("toolCallId")?,
            name: need("toolName")?,
            arguments: need("arguments")?,
            ..ToolCall::default()
        }),
        "tool_result" => {
            let content = match value.get("content") {
                Some(Value::String(text)) => vec![Part::text(text)],
                Some(Value::Array(parts)) => parts.iter().map(part).collect::<Result<_, _>>()?,
                _ => return Err("A tool's result needs `content`.".into()),
            };
            PartKind::ToolResult(ToolResult {
                call_id: need("toolCallId")?,
                content,
                custom: false,
                is_error: false,
            })
        }
        other => return Err(format!("A part of `content` has the type `{other}`, which has no word here.")),
    };
    Ok(kind.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Map<String, Value> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_message_is_read_with_all_its_parts() {
        let said = read(&line(
            r#"{"id":"m","role":"assistant","createdAt":5,"name":"Ann","content":[{"type":"text","text":"a"},
                {"type":"tool_call","toolCallId":"c","toolName":"f","arguments":"{}"},
                {"type":"image","url":"https://example.com/a.png","mediaType":"image/png"}]}"#,
        ))
        .unwrap();
        assert_eq!((said.id.as_str(), said.at, said.message.name.as_deref()), ("m", 5, Some("Ann")));
        let call =
            ToolCall { id: "c".into(), name: "f".into(), arguments: "{}".into(), ..ToolCall::default() };
        let media = Media {
            source: Source::Url("https://example.com/a.png".into()),
            media_type: Some("image/png".into()),
            name: None,
            detail: None,
        };
        let parts = vec![Part::text("a"), PartKind::ToolCall(call).into(), PartKind::Image(media).into()];
        assert_eq!(said.message.parts, parts);
        let result = read(&line(
            r#"{"id":"m","role":"tool","createdAt":5,"content":[{"type":"tool_result","toolCallId":"c","content":"12"}]}"#,
        ));
        let result = result.unwrap();
        assert_eq!(result.message.tool_results().next().unwrap().content, vec![Part::text("12")]);
    }

    #[test]
    fn what_has_no_word_here_is_refused_by_name() {
        for (text, word) in [
            (r#"{"role":"user","createdAt":1,"content":"a"}"#, "`id`"),
            (r#"{"id":"m","role":"system","createdAt":1,"content":"a"}"#, "`role`"),
            (r#"{"id":"m","role":"user","content":"a"}"#, "`createdAt`"),
            (r#"{"id":"m","role":"user","createdAt":1}"#, "`content`"),
            (r#"{"id":"m","role":"user","createdAt":1,"content":[{"type":"hologram"}]}"#, "hologram"),
            (r#"{"id":"m","role":"user","createdAt":1,"content":[{"type":"text"}]}"#, "`text`"),
        ] {
            assert!(read(&line(text)).unwrap_err().contains(word), "{text}");
        }
    }
}
