//! Parts of a content, as they are read and written.
//!
//! Invariant: a part is taken apart only when all that is in it has a word in the hub or stands beside it in the part's
//! extras; any other stays whole. Signatures and extras go back only to where they came from.

use serde_json::{Map, Value, json};

use super::camel_names;
use crate::dialect::fields::{take_object, take_string, take_text, without_empty};
use crate::free_text;
use crate::seal;
use crate::turn::{Media, Origin, Part, PartKind, Reasoning, Source, ToolCall};

/// Where a signature stands in a part.
pub const SIGNATURE: &str = "thoughtSignature";

/// Extras that are the gateway's own and no field of a part.
const OURS: &[&str] = &["annotations", "citations", "logprobs", "cache_control"];

/// Reads one part of a model's content, or of a user's that holds no result.
pub fn read(value: Value) -> Part {
    let Value::Object(object) = value else { return PartKind::Other(value).into() };
    let mut object = camel_names(object);
    let thought = object.get("thought").and_then(Value::as_bool).unwrap_or(false);
    let kind = match () {
        () if object.get("text").is_some_and(Value::is_string) => {
            let text = take_text(&mut object, "text");
            if thought {
                let sealed = take_string(&mut object, SIGNATURE);
                PartKind::Reasoning(Reasoning { text, sealed, id: None })
            } else {
                PartKind::Text(text)
            }
        }
        // A picture among the thoughts is no part of the answer.
        () if thought => return PartKind::Other(object.into()).into(),
        () => match take_call(&mut object).or_else(|| take_media(&mut object)) {
            Some(kind) => kind,
            None => return PartKind::Other(object.into()).into(),
        },
    };
    object.shift_remove("thought");
    Part { kind, extra: without_empty(object) }
}

/// Takes a whole call.
fn take_call(object: &mut Map<String, Value>) -> Option<PartKind> {
    let call = object.get("functionCall")?.as_object()?;
    let known = |name: &String| matches!(name.as_str(), "name" | "args" | "id");
    let named = call.get("name").and_then(Value::as_str).is_some_and(|name| !name.is_empty());
    let args = call.get("args").is_none_or(|args| args.is_object() || args.is_null());
    if !named || !args || !call.keys().all(known) {
        return None;
    }
    let mut call = take_object(object, "functionCall")?;
    Some(PartKind::ToolCall(ToolCall {
        id: take_text(&mut call, "id"),
        name: take_text(&mut call, "name"),
        arguments: Value::from(take_object(&mut call, "args").unwrap_or_default()).to_string(),
        custom: false,
        sealed: take_string(object, SIGNATURE),
    }))
}

/// Takes bytes or the address of a file.
pub fn take_media(object: &mut Map<String, Value>) -> Option<PartKind> {
    for (field, content) in [("inlineData", "data"), ("fileData", "fileUri")] {
        let Some(media) = object.get(field).and_then(Value::as_object) else { continue };
        let mut media = camel_names(media.clone());
        let known = |name: &String| name == "mimeType" || name == content;
        if !media.get(content).is_some_and(Value::is_string) || !media.keys().all(known) {
            return None;
        }
        let text = take_text(&mut media, content);
        let media_type = take_string(&mut media, "mimeType");
        let source = if content == "data" { Source::Data(text) } else { Source::Url(text) };
        object.shift_remove(field);
        let kind = match media_type.as_deref().and_then(|kind| kind.split('/').next()) {
            Some("image") => PartKind::Image,
            Some("audio") => PartKind::Audio,
            _ => PartKind::File,
        };
        return Some(kind(Media { source, media_type, name: None, detail: None }));
    }
    None
}

/// Writes a part; `None` for what has no place here: a thought of another model, a part of another dialect, results
/// (written with their call's name, in [`super::result`]).
pub fn write(part: &Part, native: bool, target: &Origin) -> Option<Map<String, Value>> {
    let mut object = Map::new();
    match &part.kind {
        PartKind::Text(text) | PartKind::Refusal(text) => {
            let signed = native && part.extra.contains_key(SIGNATURE);
            if text.is_empty() && !signed {
                return None;
            }
            object.insert("text".into(), text.as_str().into());
        }
        PartKind::Reasoning(reasoning) => {
            let seal = reasoning.sealed.as_deref().and_then(|seal| seal::opened(seal, native, target));
            if !native && seal.is_none() {
                return None;
            }
            object.insert("text".into(), reasoning.text.as_str().into());
            object.insert("thought".into(), true.into());
            object.extend(seal.map(|seal| (SIGNATURE.to_owned(), seal.into())));
        }
        PartKind::Image(media) => object = write_media(media, "image/jpeg", native)?,
        PartKind::Audio(media) => object = write_media(media, "audio/mpeg", native)?,
        PartKind::File(media) => object = write_media(media, "application/pdf", native)?,
        PartKind::ToolCall(call) => {
            let mut inner = Map::new();
            if native && !call.id.is_empty() {
                inner.insert("id".into(), call.id.as_str().into());
            }
            inner.insert("name".into(), legal_name(&call.name).into());
            inner.insert("args".into(), free_text::object(call));
            object.insert("functionCall".into(), inner.into());
            let seal = call.sealed.as_deref().and_then(|seal| seal::opened(seal, native, target));
            object.extend(seal.map(|seal| (SIGNATURE.to_owned(), seal.into())));
        }
        PartKind::Other(Value::Object(fields)) if native => object = fields.clone(),
        PartKind::Other(_) | PartKind::ToolResult(_) => return None,
    }
    if native {
        let extra = part.extra.iter().filter(|(name, _)| !OURS.contains(&name.as_str()));
        object.extend(extra.map(|(name, value)| (name.clone(), value.clone())));
    }
    Some(object)
}

/// Bytes go inline; an address becomes a file of Google's or one that Google fetches, which newer models do for `https`.
/// `usual` is the type of one whose address tells none. A provider's file id has no place here.
fn write_media(media: &Media, usual: &str, native: bool) -> Option<Map<String, Value>> {
    let told = media.media_type.as_deref().map(media_type);
    let (field, inner) = match &media.source {
        Source::Data(data) => {
            ("inlineData", json!({"mimeType": told.unwrap_or_else(|| usual.to_owned()), "data": data}))
        }
        Source::Url(url) => {
            let kind = told
                .or_else(|| type_of_address(url).map(str::to_owned))
                .or_else(|| (!native).then(|| usual.to_owned()));
            let mut file = Map::new();
            file.extend(kind.map(|kind| ("mimeType".to_owned(), kind.into())));
            file.insert("fileUri".into(), url.as_str().into());
            ("fileData", file.into())
        }
        Source::FileId(_) => return None,
    };
    Some(Map::from_iter([(field.to_owned(), inner)]))
}

/// A MIME type, from a bare format if need be. Bare ones are of sounds.
fn media_type(word: &str) -> String {
    match word {
        "pcm16" => "audio/pcm".to_owned(),
        bare if !bare.contains('/') => format!("audio/{bare}"),
        whole => whole.to_owned(),
    }
}

fn type_of_address(url: &str) -> Option<&'static str> {
    let path = url.split(['?', '#']).next()?;
    let (_, extension) = path.rsplit('/').next()?.rsplit_once('.')?;
    Some(match extension.to_ascii_lowercase().as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "heic" => "image/heic",
        "heif" => "image/heif",
        "pdf" => "application/pdf",
        "txt" | "md" => "text/plain",
        "html" | "htm" => "text/html",
        "csv" => "text/csv",
        "json" => "application/json",
        "wav" => "audio/wav",
        "mp3" => "audio/mpeg",
        "ogg" => "audio/ogg",
        "flac" => "audio/flac",
        "aac" => "audio/aac",
        "m4a" => "audio/mp4",
        "mp4" => "video/mp4",
        "mov" => "video/quicktime",
        "webm" => "video/webm",
        _ => return None,
    })
}

/// True for a name that a function may have: <https://ai.google.dev/api/caching#FunctionDeclaration>.
pub fn is_legal_name(name: &str) -> bool {
    !name.is_empty() && legal_name(name) == name
}

/// A name in the API's alphabet: what other providers allowed, a call and its result change alike.
pub fn legal_name(name: &str) -> String {
    let mut out: String =
        name.chars()
            .map(|char| {
                if char.is_ascii_alphanumeric() || matches!(char, '_' | '.' | ':' | '-') { char } else { '_' }
            })
            .collect();
    if !out.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
        out.insert(0, '_');
    }
    out.truncate(64);
    out
}
