//! Where an answer's words come from: sources of a search, of maps, of files, and texts that were recited.
//!
//! Invariant: a source without an address is left out. Gemini counts bytes; the place is turned into characters where
//! the text is known (see [`crate::dialect::citation::placed`]).

use serde_json::{Map, Value, json};

/// The sources of a candidate, as annotations that still tell their place in bytes:
/// <https://ai.google.dev/api/generate-content#GroundingMetadata>.
pub fn annotations(candidate: &Map<String, Value>) -> Vec<Value> {
    let list = |value: Option<&Value>, name: &str| {
        value.and_then(|value| value.get(name)).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let grounding = candidate.get("groundingMetadata");
    let sources: Vec<Option<Map<String, Value>>> =
        list(grounding, "groundingChunks").iter().map(source).collect();
    let supports = list(grounding, "groundingSupports");
    let mut out = Vec::new();
    for support in &supports {
        for number in list(Some(support), "groundingChunkIndices") {
            let at = number.as_u64().and_then(|number| usize::try_from(number).ok());
            if let Some(Some(source)) = at.and_then(|at| sources.get(at)) {
                let mut annotation = source.clone();
                annotation
                    .extend(support.get("segment").map(|segment| ("segment".to_owned(), segment.clone())));
                out.push(annotation.into());
            }
        }
    }
    if supports.is_empty() {
        out.extend(sources.into_iter().flatten().map(Value::Object));
    }
    // Vertex calls the list otherwise.
    let recited = candidate.get("citationMetadata");
    for citation in list(recited, "citationSources").into_iter().chain(list(recited, "citations")) {
        if let Some(mut annotation) = source(&json!({ "recited": citation })) {
            annotation.insert("segment".into(), citation);
            out.push(annotation.into());
        }
    }
    out
}

/// The source in a chunk, whatever kind it is (`web`, `maps`, `retrievedContext`).
fn source(chunk: &Value) -> Option<Map<String, Value>> {
    let inner = chunk.as_object()?.values().find(|inner| inner.get("uri").is_some())?;
    let mut annotation = Map::new();
    annotation.insert("type".into(), "url_citation".into());
    annotation.insert("url".into(), inner.get("uri")?.as_str()?.into());
    annotation.extend(
        inner.get("title").filter(|title| title.is_string()).map(|title| ("title".to_owned(), title.clone())),
    );
    Some(annotation)
}

/// The log probabilities of a candidate's tokens, in the form that OpenAI gives them.
pub fn logprobs(candidate: &Map<String, Value>) -> Option<Value> {
    let result = candidate.get("logprobsResult")?;
    let chosen = result.get("chosenCandidates")?.as_array()?;
    let tops = result.get("topCandidates").and_then(Value::as_array);
    let tokens = chosen.iter().enumerate().map(|(at, token)| {
        let top = tops.and_then(|tops| tops.get(at)?.get("candidates")?.as_array());
        let mut entry = logprob(token);
        entry.insert(
            "top_logprobs".into(),
            top.into_iter().flatten().map(|token| Value::from(logprob(token))).collect(),
        );
        Value::Object(entry)
    });
    Some(tokens.collect())
}

fn logprob(token: &Value) -> Map<String, Value> {
    let text = token.get("token").and_then(Value::as_str).unwrap_or_default();
    let mut entry = Map::new();
    entry.insert("token".into(), text.into());
    entry.insert("logprob".into(), token.get("logProbability").cloned().unwrap_or_else(|| 0.into()));
    entry.insert("bytes".into(), text.bytes().map(u64::from).collect());
    entry
}
