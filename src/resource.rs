//! stub
use serde::{Deserialize, Serialize};
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum News {
    Promote(Vec<crate::memory::profile::Fact>),
    Forget(Vec<i64>),
}
