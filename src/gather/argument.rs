//! Arguments that come as values at paths (`$.items[0].name`), as Vertex streams them:
//! <https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/function-calling>.
//!
//! Invariant: a piece of a string joins the string that is there, any other value takes its place; a path that leads
//! nowhere changes nothing.

use serde_json::{Map, Value};

/// One step of a path.
#[derive(Debug, PartialEq, Eq)]
enum Segment<'a> {
    Name(&'a str),
    Index(usize),
}

/// Puts a piece where the path says.
pub(super) fn put(root: &mut Value, path: &str, piece: Value) {
    let Some(segments) = segments(path) else { return };
    let mut place = root;
    for segment in segments {
        let next = match segment {
            Segment::Name(name) => {
                if place.is_null() {
                    *place = Value::Object(Map::new());
                }
                place.as_object_mut().map(|fields| fields.entry(name).or_insert(Value::Null))
            }
            Segment::Index(at) => {
                if place.is_null() {
                    *place = Value::Array(Vec::new());
                }
                place.as_array_mut().and_then(|items| {
                    // Elements come in order.
                    if at == items.len() {
                        items.push(Value::Null);
                    }
                    items.get_mut(at)
                })
            }
        };
        let Some(next) = next else { return };
        place = next;
    }
    match (place, piece) {
        (Value::String(text), Value::String(more)) => text.push_str(&more),
        (place, piece) => *place = piece,
    }
}

/// The steps of a JSON path as far as it names one place: `.name`, `[0]`, `['any name']`.
fn segments(path: &str) -> Option<Vec<Segment<'_>>> {
    let mut rest = path.strip_prefix('$')?;
    let mut out = Vec::new();
    while !rest.is_empty() {
        if let Some(named) = rest.strip_prefix('.') {
            let end = named.find(['.', '[']).unwrap_or(named.len());
            let (name, after) = named.split_at_checked(end)?;
            out.push(Segment::Name(name));
            rest = after;
            continue;
        }
        let inner = rest.strip_prefix('[')?;
        let quote = inner.chars().next().filter(|first| matches!(first, '\'' | '"'));
        let after = match quote {
            Some(quote) => {
                let (name, after) = inner.get(1..)?.split_once(quote)?;
                out.push(Segment::Name(name));
                after.strip_prefix(']')?
            }
            None => {
                let (number, after) = inner.split_once(']')?;
                out.push(Segment::Index(number.parse().ok()?));
                after
            }
        };
        rest = after;
    }
    (!out.is_empty()).then_some(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pieces_find_their_places() {
        let mut root = Value::Null;
        for (path, piece) in [
            ("$.to", json!("Bos")),
            ("$.to", json!("ton")),
            ("$.items[0].name", json!("")),
            ("$.items[0].name", json!("é")),
            ("$.items[0].price", json!(0.5)),
            ("$.items[1]", json!(null)),
            ("$['a.b'][\"c]\"]", json!(true)),
            ("$.items[7]", json!("a gap")),
            ("$.to.deeper", json!("inside a string")),
            ("$.items.name", json!("inside an array")),
            ("items", json!("no path")),
            ("$", json!("all of it")),
            ("$..x[", json!("torn")),
        ] {
            put(&mut root, path, piece);
        }
        assert_eq!(
            root,
            json!({"to": "Boston", "items": [{"name": "é", "price": 0.5}, null], "a.b": {"c]": true}})
        );
    }
}
