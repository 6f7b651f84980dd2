//! `POST /v1/memory/threads/{id}/clone`.

use serde_json::{Map, Value};

use super::body::{self, Fields};
use crate::error::Error;
use crate::protocol::Filter;

/// What a copy is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::option_option)]
pub struct Copying {
    /// Its id; `None` to have one made.
    pub id: Option<String>,
    /// Its owner; `None` for the original's.
    pub resource: Option<String>,
    /// What it is called; `None` for what the original is called.
    pub title: Option<Option<String>>,
    /// What is kept with it; `None` for what is kept with the original.
    pub metadata: Option<Option<String>>,
    /// So many messages, the newest.
    pub limit: Option<u32>,
    /// What it may know.
    pub filter: Filter,
}

impl Copying {
    /// Reads the body; an empty one asks for all. Errors: 400 that names the field.
    pub fn read(body: &[u8]) -> Result<Self, Error> {
        let object = if body.iter().all(u8::is_ascii_whitespace) { Map::new() } else { body::read(body)? };
        let fields = Fields::of(&object);
        let (title, metadata) = (fields.title()?, fields.metadata()?);
        let empty = Map::new();
        let options = Fields::at(fields.object("options")?.unwrap_or(&empty), "options");
        let filter = options.object("messageFilter")?.unwrap_or(&empty);
        let filter = Fields::at(filter, "options.messageFilter");
        let ids = filter.get("messageIds").map(|ids| texts(ids).ok_or(ids));
        let ids = ids.transpose().map_err(|_| filter.refuse("messageIds", "must be a list of texts"))?;
        Ok(Copying {
            id: fields.id("newThreadId")?.map(str::to_owned),
            resource: fields.id("resourceId")?.map(str::to_owned),
            title: fields.has("title").then_some(title),
            metadata: fields.has("metadata").then_some(metadata),
            limit: options.count("messageLimit")?,
            filter: Filter { from: filter.time("startDate")?, to: filter.time("endDate")?, ids },
        })
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_asked_for_in_full_or_in_part() {
        assert_eq!(Copying::read(b" "), Ok(Copying::default()));
        assert_eq!(Copying::read(b"{}"), Ok(Copying::default()));
        assert_eq!(
            Copying::read(
                br#"{"newThreadId":"n","resourceId":"r","title":null,"metadata":{"a":1},"options":{"messageLimit":3,
                "messageFilter":{"startDate":"1970-01-01T00:00:00.001Z","endDate":"1970-01-01T00:00:01Z",
                "messageIds":["a"]}}}"#
            ),
            Ok(Copying {
                id: Some("n".into()),
                resource: Some("r".into()),
                title: Some(None),
                metadata: Some(Some(r#"{"a":1}"#.into())),
                limit: Some(3),
                filter: Filter { from: Some(1), to: Some(1_000), ids: Some(vec!["a".into()]) },
            })
        );
        for (body, param) in [
            (r#"{"newThreadId":1}"#, "newThreadId"),
            (r#"{"options":[]}"#, "options"),
            (r#"{"options":{"messageLimit":0}}"#, "options.messageLimit"),
            (r#"{"options":{"messageFilter":7}}"#, "options.messageFilter"),
            (r#"{"options":{"messageFilter":{"startDate":7}}}"#, "options.messageFilter.startDate"),
            (r#"{"options":{"messageFilter":{"endDate":"soon"}}}"#, "options.messageFilter.endDate"),
            (r#"{"options":{"messageFilter":{"messageIds":[1]}}}"#, "options.messageFilter.messageIds"),
        ] {
            assert_eq!(Copying::read(body.as_bytes()).unwrap_err().body()["error"]["param"], param, "{body}");
        }
    }
}
