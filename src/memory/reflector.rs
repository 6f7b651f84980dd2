//! stub
use super::fault::Fault;
use super::note::*;
use super::observer::Asked;
use crate::turn::Stop;
#[derive(Clone, Debug)]
pub struct Edit;
pub struct Replacement {
    pub ids: Vec<i64>,
    pub note: Note,
}
pub struct Outcome {
    pub drop: Vec<(i64, Option<i64>)>,
    pub replace: Vec<Replacement>,
}
impl Outcome {
    pub fn tokens(&self, _active: &[Note]) -> (u64, u64) {
        (0, 0)
    }
}
pub fn ask(_n: &[Note], _level: u8, _zone: &dyn Fn(u64) -> i32) -> Asked {
    Asked { system: String::new(), user: String::new() }
}
pub fn read(_a: Option<&str>, _s: Option<&Stop>) -> Result<Vec<Edit>, Fault> {
    Err(Fault::Empty)
}
pub fn apply(_e: &[Edit], _a: &[Note]) -> Outcome {
    Outcome { drop: vec![], replace: vec![] }
}
pub fn to_stored(_e: &[Edit]) -> String {
    String::new()
}
pub fn from_stored(_s: &str) -> Option<Vec<Edit>> {
    None
}
