//! Real exchanges with providers, for the tests that read them. They are large and not part of this repository:
//! `MEMORY_GATEWAY_FIXTURES` names their folder, and without them a test says so and passes.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::value::RawValue;

/// One exchange.
#[derive(Deserialize)]
pub struct Exchange {
    pub id: String,
    pub provider: String,
    pub endpoint: String,
    pub status: u16,
    /// `json` or `sse`.
    pub kind: String,
    pub request: Option<Box<RawValue>>,
    #[serde(default)]
    pub response_text: String,
}

impl Exchange {
    /// True for an answer that came as a stream.
    pub fn streams(&self) -> bool {
        self.kind == "sse" && self.status == 200
    }
}

/// The exchanges of an endpoint, or all of them; `None`, with a line that says so, where there are none.
pub fn exchanges(endpoint: Option<&str>) -> Option<Vec<Exchange>> {
    let folder = std::env::var("MEMORY_GATEWAY_FIXTURES")
        .map_or_else(|_| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures"), PathBuf::from);
    let Ok(packed) = std::fs::File::open(folder.join("exchanges.jsonl.xz")) else {
        println!("No recordings in {}: nothing compared.", folder.display());
        return None;
    };
    let mut text = Vec::new();
    lzma_rs::xz_decompress(&mut std::io::BufReader::new(packed), &mut text).unwrap();
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let exchanges = lines.map(|line| serde_json::from_slice::<Exchange>(line).unwrap());
    Some(exchanges.filter(|exchange| endpoint.is_none_or(|wanted| exchange.endpoint == wanted)).collect())
}
