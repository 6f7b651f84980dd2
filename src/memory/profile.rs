//! stub
use serde::{Deserialize, Serialize};
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    pub key: String,
}
impl Fact {
    pub fn of(note: &super::note::Note, _thread: &str) -> Option<Fact> {
        note.key.clone().map(|key| Fact { key })
    }
}
