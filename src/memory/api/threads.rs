//! Bodies about a thread itself.

use super::body::{self, Fields};
use crate::error::Error;

/// `POST /v1/memory/threads`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewThread {
    /// Its id; `None` to have one made.
    pub id: Option<String>,
    /// Its owner.
    pub resource: String,
    /// What its owner calls it.
    pub title: Option<String>,
    /// What its owner keeps with it: JSON.
    pub metadata: Option<String>,
}

/// `PATCH /v1/memory/threads/{id}`: what is to be set, each to a value or to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::option_option)]
pub struct Change {
    /// What its owner calls it.
    pub title: Option<Option<String>>,
    /// What its owner keeps with it: JSON.
    pub metadata: Option<Option<String>>,
}

impl NewThread {
    /// Reads the body. Errors: 400 that names the field.
    pub fn read(body: &[u8]) -> Result<Self, Error> {
        let object = body::read(body)?;
        let fields = Fields::of(&object);
        let resource = fields.id("resourceId")?.ok_or_else(|| {
            fields.refuse("resourceId", "is missing: the id of the user or entity that owns the thread")
        })?;
        Ok(NewThread {
            id: fields.id("id")?.map(str::to_owned),
            resource: resource.to_owned(),
            title: fields.title()?,
            metadata: fields.metadata()?,
        })
    }
}

impl Change {
    /// Reads the body. Errors: 400 that names the field, and for a body that changes nothing.
    pub fn read(body: &[u8]) -> Result<Self, Error> {
        let object = body::read(body)?;
        let fields = Fields::of(&object);
        let (title, metadata) = (fields.title()?, fields.metadata()?);
        if !fields.has("title") && !fields.has("metadata") {
            return Err(Error::invalid("title", "Give title, metadata or both; null takes one away."));
        }
        Ok(Change {
            title: fields.has("title").then_some(title),
            metadata: fields.has("metadata").then_some(metadata),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused<T: std::fmt::Debug>(read: Result<T, Error>) -> (String, String) {
        let body = read.unwrap_err().body();
        let text = |field: &str| body["error"][field].as_str().unwrap_or_default().to_owned();
        (text("param"), text("message"))
    }

    #[test]
    fn a_thread_is_read_with_its_limits() {
        let long = "é".repeat(512);
        let body =
            format!(r#"{{"id":"a/b","resourceId":"r","title":"{long}","metadata":{{"b":1,"a":[]}},"x":1}}"#);
        assert_eq!(
            NewThread::read(body.as_bytes()),
            Ok(NewThread {
                id: Some("a/b".into()),
                resource: "r".into(),
                title: Some(long),
                metadata: Some(r#"{"b":1,"a":[]}"#.into()),
            })
        );
        let bare = NewThread::read(br#"{"resourceId":"r","id":null,"title":null,"metadata":null}"#).unwrap();
        assert_eq!((bare.id, bare.title, bare.metadata), (None, None, None));
        let fat = format!(r#"{{"resourceId":"r","metadata":{{"a":"{}"}}}}"#, "x".repeat(16 * 1024));
        let long = format!(r#"{{"resourceId":"r","title":"{}"}}"#, "é".repeat(513));
        let id = format!(r#"{{"resourceId":"r","id":"{}"}}"#, "x".repeat(513));
        for (body, param) in [
            ("{}", "resourceId"),
            (r#"{"resourceId":""}"#, "resourceId"),
            (r#"{"resourceId":7}"#, "resourceId"),
            (r#"{"resourceId":"r","id":["t"]}"#, "id"),
            (r#"{"resourceId":"r","metadata":[]}"#, "metadata"),
            (r#"{"resourceId":"r","title":{}}"#, "title"),
            (&fat, "metadata"),
            (&long, "title"),
            (&id, "id"),
            ("[]", ""),
            ("", ""),
        ] {
            assert_eq!(refused(NewThread::read(body.as_bytes())).0, param, "{body:.80}");
        }
        assert_eq!(
            refused(NewThread::read(b"{\"resourceId\":\n oops}")).1,
            "The body is not valid JSON: expected value at line 2 column 2."
        );
    }

    #[test]
    fn a_change_tells_what_is_absent_from_what_is_null() {
        let read = |body: &str| Change::read(body.as_bytes()).map(|change| (change.title, change.metadata));
        assert_eq!(read(r#"{"title":"T"}"#), Ok((Some(Some("T".into())), None)));
        assert_eq!(read(r#"{"title":null,"metadata":{}}"#), Ok((Some(None), Some(Some("{}".into())))));
        assert_eq!(refused(read("{}")).0, "title");
        assert_eq!(refused(read(r#"{"title":1}"#)).0, "title");
    }
}
