//! Items: those of a request's input, those of a response's output, and the public list of them.
//!
//! Invariant: an item's JSON text is not touched; only the public list completes items (an id, a type, content as parts),
//! because its readers take those for granted.

use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use super::id::response_of_item;
use super::protocol::{Items, ReadItems};
use crate::body::Body;
use crate::dialect::Dialect;
use crate::error::Error;
use crate::keys::digest;
use crate::seal;
use crate::turn::{Origin, hex};

/// The items of a request's `input`; a text is one message of the user. Errors: 400 that names the field.
pub fn of_input(body: &Body<'_>) -> Result<Vec<Box<RawValue>>, Error> {
    let Some(input) = body.raw("input").filter(|_| body.has("input")) else { return Ok(Vec::new()) };
    if !input.get().starts_with('"') {
        return Ok(body.array("input")?.unwrap_or_default().into_iter().map(ToOwned::to_owned).collect());
    }
    // The text as it was written, escapes and all.
    let item = format!(
        r#"{{"type":"message","role":"user","content":[{{"type":"input_text","text":{}}}]}}"#,
        input.get()
    );
    let item = RawValue::from_string(item).map_err(|_| Error::internal())?;
    Ok(vec![item])
}

/// The ids that a request's `input` names items by, where it does not send them themselves (`item_reference`), as far as
/// they are of items that were made here.
pub fn references(body: &Body<'_>) -> Vec<String> {
    if !body.raw("input").is_some_and(|input| input.get().contains("item_reference")) {
        return Vec::new();
    }
    let items = body.array("input").ok().flatten().unwrap_or_default();
    items.into_iter().filter_map(reference).filter(|id| response_of_item(id).is_some()).collect()
}

fn reference(item: &RawValue) -> Option<String> {
    let item = Body::parse(item.get().as_bytes()).ok()?;
    let kind = item.string("type").ok()??;
    (kind == "item_reference").then(|| item.string("id").ok().flatten().map(|id| id.into_owned())).flatten()
}

/// The request with the items in the place of their references; a reference whose item is not among the outputs of
/// `responses` stays.
pub fn resolved(body: &Body<'_>, responses: &[Box<RawValue>]) -> Result<Vec<u8>, Error> {
    let known: Vec<(String, Box<RawValue>)> = responses
        .iter()
        .flat_map(|response| of_output(response.get()))
        .filter_map(|item| {
            let id = Body::parse(item.get().as_bytes()).ok()?.string("id").ok()??.into_owned();
            Some((id, item))
        })
        .collect();
    let items = body.array("input")?.unwrap_or_default();
    let texts: Vec<&str> = items
        .into_iter()
        .map(|item| {
            let found = reference(item).and_then(|id| known.iter().find(|(known, _)| *known == id));
            found.map_or(item.get(), |(_, item)| item.get())
        })
        .collect();
    Ok(body.edited(vec![body.set("input", format!("[{}]", texts.join(",")))]))
}

/// The items of a response object's `output`; none where it has no list of them.
pub fn of_output(response: &str) -> Vec<Box<RawValue>> {
    #[derive(Deserialize)]
    struct Response<'a> {
        #[serde(borrow)]
        output: Option<&'a RawValue>,
    }
    serde_json::from_str::<Response<'_>>(response)
        .ok()
        .and_then(|response| serde_json::from_str(response.output?.get()).ok())
        .unwrap_or_default()
}

/// The item with the name of its maker on what it holds of sealed reasoning.
pub fn wrapped(item: Box<RawValue>, maker: &str) -> Box<RawValue> {
    let Ok(body) = Body::parse(item.get().as_bytes()) else { return item };
    let Ok(Some(sealed)) = body.string("encrypted_content") else { return item };
    let origin = Origin { dialect: Dialect::Responses, provider: maker.to_owned() };
    let edit = body.set("encrypted_content", Value::from(seal::wrap(&origin, &sealed)).to_string());
    String::from_utf8(body.edited(vec![edit]))
        .ok()
        .and_then(|text| RawValue::from_string(text).ok())
        .unwrap_or(item)
}

/// An item, and what a stable id for it is made from.
pub struct Placed {
    /// The response that it was input or output of.
    pub response: String,
    /// True for an item of the output.
    pub output: bool,
    /// Its place there.
    pub at: usize,
    /// The item.
    pub item: Box<RawValue>,
}

/// A page of the public list: `{object, data, first_id, last_id, has_more}`. `items` are oldest first.
/// <https://platform.openai.com/docs/api-reference/responses/input-items>
pub fn page(mut items: Vec<Placed>, asked: &ReadItems) -> Result<Items, serde_json::Error> {
    if asked.descending {
        items.reverse();
    }
    let mut rest = items.iter();
    if let Some(after) = &asked.after
        && !rest.any(|placed| id_of(placed) == *after)
    {
        return Ok(Items::UnknownAfter);
    }
    let data: Vec<Value> =
        rest.by_ref().take(usize::try_from(asked.limit).unwrap_or(usize::MAX)).map(public).collect();
    let id = |item: Option<&Value>| item.and_then(|item| item.get("id")).cloned();
    let (first, last) = (id(data.first()), id(data.last()));
    let list = json!({
        "object": "list", "data": data, "first_id": first, "last_id": last, "has_more": rest.next().is_some(),
    });
    to_raw_value(&list).map(Items::Page)
}

/// The item with everything that a reader of the public list takes for granted.
fn public(placed: &Placed) -> Value {
    let Ok(Value::Object(item)) = serde_json::from_str(placed.item.get()) else {
        // Nothing that an input holds or a provider answers; shown as it is, beside an id.
        return json!({ "id": id_of(placed), "value": serde_json::from_str::<Value>(placed.item.get()).ok() });
    };
    let mut whole = Map::new();
    whole.insert("id".to_owned(), id_of(placed).into());
    whole.insert("type".to_owned(), kind_of(&item).into());
    let is_message = kind_of(&item) == "message";
    whole.extend(item.into_iter().filter(|(name, _)| name != "id" && name != "type"));
    if is_message {
        let assistant = whole.get("role").and_then(Value::as_str) == Some("assistant");
        if let Some(content) = whole.get_mut("content")
            && content.is_string()
        {
            let text = content.take();
            *content = if assistant {
                json!([{ "type": "output_text", "text": text, "annotations": [] }])
            } else {
                json!([{ "type": "input_text", "text": text }])
            };
        }
        whole.entry("status").or_insert_with(|| "completed".into());
    }
    Value::Object(whole)
}

/// The item's own id, or one made from where it stands, which is the same each time.
fn id_of(placed: &Placed) -> String {
    #[derive(Deserialize)]
    struct Named {
        id: Option<Value>,
        #[serde(rename = "type")]
        kind: Option<Value>,
    }
    let named = serde_json::from_str(placed.item.get()).unwrap_or(Named { id: None, kind: None });
    if let Some(Value::String(id)) = named.id.filter(|id| id.as_str() != Some("")) {
        return id;
    }
    let part = if placed.output { "output" } else { "input" };
    let digits: String =
        hex(&digest(&[&placed.response, part, &placed.at.to_string()])).chars().take(48).collect();
    let kind = named.kind.as_ref().and_then(Value::as_str).unwrap_or("message");
    format!("{}_{digits}", prefix(kind))
}

fn kind_of(item: &Map<String, Value>) -> String {
    item.get("type").and_then(Value::as_str).unwrap_or("message").to_owned()
}

/// What the ids of a type of items start with at OpenAI.
fn prefix(kind: &str) -> &str {
    match kind {
        "message" => "msg",
        "function_call" => "fc",
        "function_call_output" => "fco",
        "custom_tool_call" => "ctc",
        "custom_tool_call_output" => "ctco",
        "reasoning" => "rs",
        _ => "item",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(json: &str) -> Result<Vec<String>, u16> {
        of_input(&Body::parse(json.as_bytes()).unwrap())
            .map(|items| items.iter().map(|item| item.get().to_owned()).collect())
            .map_err(|error| error.status())
    }

    #[test]
    fn an_input_is_its_items_as_they_were_written_and_a_text_is_a_message_of_the_user() {
        assert_eq!(
            input(r#"{"input":"a\u00e9\n\"b\""}"#).unwrap(),
            [r#"{"type":"message","role":"user","content":[{"type":"input_text","text":"a\u00e9\n\"b\""}]}"#]
        );
        assert_eq!(
            input(r#"{"input":[{"b":1.0e400,"a": 0.10},"x"]}"#).unwrap(),
            [r#"{"b":1.0e400,"a": 0.10}"#, r#""x""#]
        );
        assert_eq!(input(r#"{"input":null}"#), Ok(vec![]));
        assert_eq!(input("{}"), Ok(vec![]));
        assert_eq!(input(r#"{"input":7}"#), Err(400));
    }

    #[test]
    fn an_output_is_its_items_and_nothing_where_there_is_no_list() {
        let output = |text| of_output(text).iter().map(|item| item.get().to_owned()).collect::<Vec<_>>();
        assert_eq!(output(r#"{"id":"r","output":[ {"n":1.50}, {} ]}"#), [r#"{"n":1.50}"#, "{}"]);
        for text in [r#"{"output":null}"#, "{}", r#"{"output":"x"}"#, "[]", "nonsense"] {
            assert_eq!(output(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn references_to_items_made_here_give_way_to_the_items() {
        let own = |kind: &str| format!("{kind}_{}1", "0f".repeat(24));
        let input = format!(
            r#"{{"model":"m","input":[{{"role":"user","content":"a"}},{{"type":"item_reference","id":"{}"}},{{"id":"{}","type":"item_reference"}},{{"type":"item_reference","id":"msg_other"}}]}}"#,
            own("msg"),
            own("rs")
        );
        let body = Body::parse(input.as_bytes()).unwrap();
        assert_eq!(references(&body), [own("msg"), own("rs")]);
        let item = format!(r#"{{"id":"{}","type":"message","n":1.50}}"#, own("msg"));
        let response = RawValue::from_string(format!(r#"{{"output":[{item}]}}"#)).unwrap();
        let bytes = resolved(&body, &[response]).unwrap();
        let reference = format!(r#"{{"type":"item_reference","id":"{}"}}"#, own("msg"));
        assert_eq!(String::from_utf8(bytes).unwrap(), input.replace(&reference, &item));
        assert!(references(&Body::parse(br#"{"input":"item_reference"}"#).unwrap()).is_empty());
    }

    fn placed(item: &str, at: usize) -> Placed {
        let item = RawValue::from_string(item.to_owned()).unwrap();
        Placed { response: "resp_1".into(), output: false, at, item }
    }

    fn listed(item: &str) -> Value {
        public(&placed(item, 0))
    }

    #[test]
    fn a_listed_item_has_an_id_and_a_type_and_a_message_its_content_in_parts() {
        let made = id_of(&placed("{}", 0));
        let id = |prefix: &str| made.replace("msg", prefix);
        assert_eq!(
            listed(r#"{"role":"user","content":"hi"}"#).to_string(),
            format!(
                r#"{{"id":"{}","type":"message","role":"user","content":[{{"type":"input_text","text":"hi"}}],"status":"completed"}}"#,
                id("msg")
            )
        );
        assert_eq!(
            listed(
                r#"{"id":"msg_1","type":"message","role":"assistant","content":"hi","status":"incomplete"}"#
            ),
            json!({"id": "msg_1", "type": "message", "role": "assistant", "status": "incomplete",
                   "content": [{"type": "output_text", "text": "hi", "annotations": []}]})
        );
        assert_eq!(
            listed(r#"{"type":"function_call_output","id":"","call_id":"c","output":"2"}"#),
            json!({"id": id("fco"), "type": "function_call_output", "call_id": "c", "output": "2"})
        );
        assert_eq!(listed("7"), json!({"id": id("msg"), "value": 7}));
    }

    #[test]
    fn ids_made_for_items_differ_by_place_and_stay_the_same() {
        let (one, two) = (id_of(&placed("{}", 0)), id_of(&placed("{}", 1)));
        let output = id_of(&Placed { output: true, ..placed("{}", 0) });
        assert!(one != two && one != output);
        assert_eq!(one, id_of(&placed("{}", 0)));
    }
}
