//! Where an answer's words come from: the sources that providers name beside a text.
//!
//! Invariant: a citation is kept among the extras of its text in the form in which its provider gave it, so that nothing
//! is lost at home; other dialects are given what they have a place for: address, title, and where in the text it belongs.

use serde_json::{Map, Value, json};

use crate::turn::Part;

/// A source of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Citation {
    /// Its address.
    pub url: String,
    /// Its title.
    pub title: Option<String>,
    /// The words of the source.
    pub quote: Option<String>,
    /// Where in the text it belongs, in characters: the first, and the one behind the last.
    pub place: Option<(u64, u64)>,
}

/// The citations of a text that name a web address, in whichever form they stand.
pub fn citations(part: &Part) -> Vec<Citation> {
    let list = |name: &str| part.extra.get(name).and_then(Value::as_array).into_iter().flatten();
    list("annotations").chain(list("citations")).filter_map(read).collect()
}

/// Reads one entry: an annotation of Chat Completions or Responses, or a citation of Messages.
pub fn read(value: &Value) -> Option<Citation> {
    let inner = value.get("url_citation").unwrap_or(value);
    let text = |name: &str| inner.get(name).and_then(Value::as_str).map(str::to_owned);
    let number = |name: &str| inner.get(name).and_then(Value::as_u64);
    Some(Citation {
        url: text("url")?,
        title: text("title"),
        quote: text("cited_text"),
        place: number("start_index").zip(number("end_index")),
    })
}

/// Annotations that tell their place in bytes (Gemini's `segment`: `startIndex`, `endIndex`, and often the words
/// themselves in `text`), with the place in characters. The words decide where the bytes disagree with them; a place that
/// is not in the text is left out.
pub fn placed(annotations: Value, text: &str) -> Value {
    let Value::Array(mut items) = annotations else { return annotations };
    for item in items.iter_mut().filter_map(Value::as_object_mut) {
        let Some(segment) = item.shift_remove("segment") else { continue };
        let byte = |name: &str| {
            segment.get(name).and_then(Value::as_u64).map_or(Some(0), |at| usize::try_from(at).ok())
        };
        let told = byte("startIndex").zip(byte("endIndex")).map(|(start, end)| start..end);
        let words = segment.get("text").and_then(Value::as_str);
        let told = told.filter(|range| {
            text.get(range.clone())
                .is_some_and(|cut| !cut.is_empty() && words.is_none_or(|words| words == cut))
        });
        let found = told.or_else(|| {
            let words = words.filter(|words| !words.is_empty())?;
            text.find(words).map(|start| start..start + words.len())
        });
        let Some(range) = found else { continue };
        let before = |end: usize| text.get(..end).map_or(0, |head| head.chars().count());
        item.insert("start_index".to_owned(), before(range.start).into());
        item.insert("end_index".to_owned(), before(range.end).into());
    }
    items.into()
}

impl Citation {
    /// As an annotation of Chat Completions: <https://platform.openai.com/docs/api-reference/chat/object>.
    pub fn for_chat(&self) -> Value {
        json!({"type": "url_citation", "url_citation": self.fields()})
    }

    /// As an annotation of Responses: <https://platform.openai.com/docs/api-reference/responses/object>.
    pub fn for_responses(&self) -> Value {
        let mut object = Map::new();
        object.insert("type".to_owned(), "url_citation".into());
        object.extend(self.fields());
        Value::Object(object)
    }

    /// As a citation of Messages: <https://docs.anthropic.com/en/docs/build-with-claude/citations>.
    pub fn for_messages(&self) -> Value {
        json!({
            "type": "web_search_result_location",
            "url": self.url,
            "title": self.title,
            "encrypted_index": "",
            "cited_text": self.quote.as_deref().unwrap_or_default(),
        })
    }

    fn fields(&self) -> Map<String, Value> {
        let (start, end) = self.place.unwrap_or_default();
        let mut fields = Map::new();
        fields.insert("url".to_owned(), self.url.as_str().into());
        fields.insert("title".to_owned(), self.title.as_deref().unwrap_or_default().into());
        fields.insert("start_index".to_owned(), start.into());
        fields.insert("end_index".to_owned(), end.into());
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_bytes_becomes_one_in_characters() {
        let at = |segment: Value| {
            let placed = placed(json!([{"url": "u", "segment": segment}]), "Größe: 5 µm. Ja.");
            placed[0].get("start_index").cloned().zip(placed[0].get("end_index").cloned())
        };
        assert_eq!(at(json!({"endIndex": 7})), Some((0.into(), 5.into())));
        assert_eq!(
            at(json!({"startIndex": 9, "endIndex": 15, "text": "5 µm."})),
            Some((7.into(), 12.into()))
        );
        assert_eq!(at(json!({"startIndex": 1, "endIndex": 2, "text": "Ja."})), Some((13.into(), 16.into())));
        assert_eq!(at(json!({"startIndex": 3, "endIndex": 99})), None);
        assert_eq!(at(json!({"startIndex": 3, "endIndex": 5})), None, "inside a character");
        assert_eq!(at(json!({"endIndex": 3, "text": "Nein"})), None);
        let plain = json!([{"url": "u", "start_index": 1}, 2]);
        assert_eq!(placed(plain.clone(), "text"), plain);
    }

    #[test]
    fn a_source_reads_the_same_from_every_form() {
        let source = Citation {
            url: "https://example.com".into(),
            title: Some("Example".into()),
            quote: None,
            place: Some((3, 9)),
        };
        for form in [source.for_chat(), source.for_responses()] {
            let mut part = Part::text("Words.");
            part.extra.insert("annotations".into(), json!([form, {"type": "file_citation", "file_id": "f"}]));
            assert_eq!(citations(&part), vec![source.clone()]);
        }
        let mut part = Part::text("Words.");
        let quoted = Citation { quote: Some("said".into()), place: None, ..source };
        part.extra.insert("citations".into(), json!([quoted.for_messages(), {"type": "char_location"}]));
        assert_eq!(citations(&part), vec![quoted]);
    }
}
