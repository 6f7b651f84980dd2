//! A request body that is edited, not rebuilt: top-level fields by name, and replacements spliced into the bytes.
//!
//! Invariant: every byte outside an edited value leaves as it came: key order, white space, unknown fields, numbers of
//! any size.

use std::borrow::Cow;
use std::ops::Range;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::Error;

/// A JSON object and where its top-level values lie.
#[derive(Debug)]
pub struct Body<'a> {
    text: &'a str,
    fields: Vec<(Cow<'a, str>, &'a RawValue)>,
}

/// One value to replace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The bytes that go.
    pub range: Range<usize>,
    /// The JSON text that comes.
    pub json: String,
}

impl<'a> Body<'a> {
    /// Reads the body. Errors: 400 with line and column for malformed JSON, for anything but an object, and for a
    /// top-level field that occurs twice (two readers could take different ones).
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            Error::bad_request(format!(
                "The body is not UTF-8: byte {} is not part of a character.",
                error.valid_up_to()
            ))
            .with_code("invalid_json")
        })?;
        let mut reader = serde_json::Deserializer::from_str(text);
        let fields = reader
            .deserialize_map(Fields)
            .and_then(|fields| reader.end().map(|()| fields))
            .map_err(|error| {
                let what = if error.is_data() {
                    "The body must be a JSON object"
                } else {
                    "The body is not valid JSON"
                };
                Error::bad_request(format!("{what}: {error}.")).with_code("invalid_json")
            })?;
        for (at, (name, _)) in fields.iter().enumerate() {
            if fields.iter().take(at).any(|(earlier, _)| earlier == name) {
                return Err(Error::invalid(name, format!("The field `{name}` occurs twice. Send it once.")));
            }
        }
        Ok(Body { text, fields })
    }

    /// A field's JSON text.
    pub fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    /// The names of the fields, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(name, _)| name.as_ref())
    }

    /// A field that must be a string if it is there. Errors: 400 that names the field.
    pub fn string(&self, name: &str) -> Result<Option<Cow<'a, str>>, Error> {
        self.typed(name, "a string", |text| {
            serde_json::from_str::<Text<'a>>(text).ok().map(|Text(value)| value)
        })
    }

    /// A field that must be true or false if it is there; null counts as absent. Errors: 400 that names the field.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, Error> {
        self.typed(name, "true or false", |text| serde_json::from_str(text).ok())
    }

    /// The elements of a field that must be an array if it is there. Errors: 400 that names the field.
    pub fn array(&self, name: &str) -> Result<Option<Vec<&'a RawValue>>, Error> {
        self.typed(name, "an array", |text| serde_json::from_str(text).ok())
    }

    /// True when the field is there and not null.
    pub fn has(&self, name: &str) -> bool {
        self.raw(name).is_some_and(|raw| raw.get() != "null")
    }

    fn typed<T>(
        &self,
        name: &str,
        kind: &str,
        read: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        match self.raw(name).map(RawValue::get) {
            None | Some("null") => Ok(None),
            Some(text) => read(text)
                .map(Some)
                .ok_or_else(|| Error::invalid(name, format!("The field `{name}` must be {kind}."))),
        }
    }

    /// An edit that gives a field a new value; a field that is not there yet comes first.
    pub fn set(&self, name: &str, json: String) -> Edit {
        match self.raw(name) {
            Some(raw) => self.replace(raw, json),
            None => {
                let start = self.text.find('{').map_or(0, |brace| brace + 1);
                let comma = if self.fields.is_empty() { "" } else { "," };
                Edit { range: start..start, json: format!("\"{name}\":{json}{comma}") }
            }
        }
    }

    /// An edit that puts another value in the place of one that lies in this body, at whatever depth.
    pub fn replace(&self, value: &RawValue, json: String) -> Edit {
        let end = self.end_of(value);
        Edit { range: end - value.get().len()..end, json }
    }

    /// An edit that takes a field out, with the comma that parts it from its neighbour; `None` when it is not there.
    pub fn remove(&self, name: &str) -> Option<Edit> {
        let at = self.fields.iter().position(|(known, _)| known == name)?;
        let (_, value) = self.fields.get(at)?;
        let end = self.end_of(value);
        let range = match at.checked_sub(1).and_then(|before| self.fields.get(before)) {
            Some((_, before)) => self.end_of(before)..end,
            None => {
                let comma = self.text.get(end..)?.find([',', '}'])? + end;
                let end = if self.fields.len() > 1 { comma + 1 } else { comma };
                self.text.find('{')? + 1..end
            }
        };
        Some(Edit { range, json: String::new() })
    }

    fn end_of(&self, value: &RawValue) -> usize {
        value.get().as_ptr() as usize - self.text.as_ptr() as usize + value.get().len()
    }

    /// The body with the edits made. Edits must not overlap.
    pub fn edited(&self, mut edits: Vec<Edit>) -> Vec<u8> {
        edits.sort_by_key(|edit| edit.range.start);
        let added: usize = edits.iter().map(|edit| edit.json.len()).sum();
        let mut out = Vec::with_capacity(self.text.len() + added);
        let mut done = 0;
        for edit in &edits {
            out.extend_from_slice(self.text.get(done..edit.range.start).unwrap_or_default().as_bytes());
            out.extend_from_slice(edit.json.as_bytes());
            done = edit.range.end;
        }
        out.extend_from_slice(self.text.get(done..).unwrap_or_default().as_bytes());
        out
    }
}

/// A JSON string, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some((Text(name), value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
            fields.push((name, value));
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_leaves_every_other_byte_alone() {
        let text = "{ \"z\":1e400,\r\n\t\"model\" : \"a/b\" , \"\\u0061\":[ 12345678901234567890 ],\"messages\":[]} ";
        let body = Body::parse(text.as_bytes()).unwrap();
        let edits = ["messages", "model"].map(|name| body.set(name, format!("<{name}>")));
        assert_eq!(
            String::from_utf8(body.edited(edits.to_vec())).unwrap(),
            text.replace("\"a/b\"", "<model>").replace("[]", "<messages>")
        );
        assert_eq!(body.edited(vec![]), text.as_bytes());
        assert!(body.edited(vec![body.set("new", "1".into())]).starts_with(b"{\"new\":1, \"z\""));
        let empty = Body::parse(b" {}").unwrap();
        assert_eq!(empty.edited(vec![empty.set("new", "1".into())]), b" {\"new\":1}");
    }

    #[test]
    fn a_field_is_taken_out_with_its_comma() {
        let text = "{ \"a\" : 1 , \"b\":[2,3],\n\"c\":{\"a\":4} }";
        let body = Body::parse(text.as_bytes()).unwrap();
        let without = |name: &str| String::from_utf8(body.edited(vec![body.remove(name).unwrap()])).unwrap();
        assert_eq!(without("a"), "{ \"b\":[2,3],\n\"c\":{\"a\":4} }");
        assert_eq!(without("b"), "{ \"a\" : 1,\n\"c\":{\"a\":4} }");
        assert_eq!(without("c"), "{ \"a\" : 1 , \"b\":[2,3] }");
        assert_eq!(body.remove("d"), None);
        let one = Body::parse(b" {\"a\":1 } ").unwrap();
        assert_eq!(one.edited(vec![one.remove("a").unwrap()]), b" {} ");
    }

    #[test]
    fn fields_are_read_by_type_and_null_is_absent() {
        let body = Body::parse(br#"{"model":"a\"b","stream":true,"n":null,"messages":[1,"x"]}"#).unwrap();
        assert_eq!(body.string("model").unwrap().as_deref(), Some("a\"b"));
        assert_eq!((body.flag("stream").unwrap(), body.flag("n").unwrap()), (Some(true), None));
        let elements = body.array("messages").unwrap().unwrap();
        assert_eq!(elements.iter().map(|raw| raw.get()).collect::<Vec<_>>(), ["1", "\"x\""]);
        assert_eq!(body.string("stream").unwrap_err().body()["error"]["param"], "stream");
    }

    #[test]
    fn malformed_bodies_are_refused_with_a_position() {
        for (bytes, part) in [
            (&b"{\"a\":"[..], "line 1 column 5"),
            (b"", "line 1 column 0"),
            (b"[]", "must be a JSON object"),
            (b"{} {}", "line 1 column 4"),
            (b"{\"a\":1,\"a\":2}", "occurs twice"),
            (b"{\"a\":\"\xff\"}", "byte 6"),
            (b"{\"a\":01}", "line 1"),
        ] {
            let error = Body::parse(bytes).unwrap_err();
            assert!(error.message().contains(part), "{error}");
            assert_eq!(error.status(), 400);
        }
    }

    #[test]
    fn deep_nesting_does_not_exhaust_the_stack() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(500_000), "]".repeat(500_000));
        // Accepted or refused, but never a crash.
        let _ = Body::parse(deep.as_bytes()).is_ok();
    }
}
