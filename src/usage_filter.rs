//! Hides the token counts of a chat stream from a client that did not ask for them: the gateway asks every time.
//!
//! Invariant: the client gets the stream as it would have come without the asking; every event that says nothing of usage
//! keeps its bytes.

use serde_json::Value;

/// An event longer than this is let through as it is: one that only counts tokens is short.
const LONGEST_COUNT: usize = 64 * 1024;

/// Takes token counts out of a stream.
#[derive(Debug, Default)]
pub struct UsageFilter {
    /// The beginning of an event whose end has not come.
    held: Vec<u8>,
    /// The event that is going by is too long to be one of counts.
    passing: bool,
}

impl UsageFilter {
    /// Takes the next bytes, gives those that may go on.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.held.len() + bytes.len());
        self.held.extend_from_slice(bytes);
        let mut rest = std::mem::take(&mut self.held);
        while let Some(end) = event_end(&rest) {
            let tail = rest.split_off(end);
            if self.passing {
                out.extend_from_slice(&rest);
            } else {
                out.extend_from_slice(&without_usage(&rest));
            }
            self.passing = false;
            rest = tail;
        }
        if self.passing || rest.len() > LONGEST_COUNT {
            self.passing = true;
            // The last bytes may be the first of the blank line that ends the event.
            let keep = rest.iter().rev().take(3).take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            self.held = rest.split_off(rest.len() - keep);
            out.extend_from_slice(&rest);
        } else {
            self.held = rest;
        }
        out
    }

    /// The end of the stream: what was still held.
    pub fn finish(&mut self) -> Vec<u8> {
        without_usage(&std::mem::take(&mut self.held))
    }
}

/// Where the first event ends, blank line included.
fn event_end(bytes: &[u8]) -> Option<usize> {
    let of =
        |mark: &[u8]| bytes.windows(mark.len()).position(|window| window == mark).map(|at| at + mark.len());
    of(b"\n\n").into_iter().chain(of(b"\r\n\r\n")).min()
}

fn without_usage(event: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(event).unwrap_or_default();
    if !text.contains("\"usage\"") {
        return event.to_vec();
    }
    let data: String = text.lines().filter_map(|line| line.strip_prefix("data:")).collect();
    let Ok(chunk) = serde_json::from_str::<Value>(&data) else { return event.to_vec() };
    match chunk.get("usage") {
        Some(Value::Null) => ["\"usage\":null", "\"usage\": null"]
            .into_iter()
            .find_map(|field| cut_field(text, field))
            .unwrap_or_else(|| event.to_vec()),
        Some(Value::Object(_))
            if chunk.get("choices").and_then(Value::as_array).is_some_and(Vec::is_empty) =>
        {
            Vec::new()
        }
        _ => event.to_vec(),
    }
}

/// The text without a field and the comma that parts it from its neighbour.
fn cut_field(text: &str, field: &str) -> Option<Vec<u8>> {
    let (before, after) = text.rsplit_once(field)?;
    let shorter = before.trim_end_matches(' ').strip_suffix(',');
    let (before, after) = match shorter {
        Some(before) => (before, after),
        None => (before, after.trim_start_matches(' ').strip_prefix(',')?.trim_start_matches(' ')),
    };
    Some([before, after].concat().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HIDDEN: &str =
        "data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}\n\n";

    fn filtered(stream: &str, cut: usize) -> String {
        let mut filter = UsageFilter::default();
        let mut out: Vec<u8> = stream.as_bytes().chunks(cut).flat_map(|chunk| filter.push(chunk)).collect();
        out.extend(filter.finish());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_stream_is_as_if_nobody_had_asked_however_it_is_cut() {
        let words =
            "data: {\"id\":\"c\",\"choices\":[{\"delta\":{\"content\":\"a \\\"usage\\\":null b\"}}]}\n\n";
        let asked = words.replace("}\n", ",\"usage\":null}\n");
        let spaced = words.replace("{\"id\"", "{\"usage\": null, \"id\"");
        let stream = format!(": hi\n\n{asked}{spaced}{words}{HIDDEN}data: [DONE]\n\n");
        let expected = format!(": hi\n\n{words}{words}{words}data: [DONE]\n\n");
        for cut in [1, 2, 7, 64, 100_000] {
            assert_eq!(filtered(&stream, cut), expected, "cut at {cut}");
            let crlf = filtered(&stream.replace('\n', "\r\n"), cut);
            assert_eq!(crlf, expected.replace('\n', "\r\n"), "cut at {cut}");
        }
    }

    #[test]
    fn counts_beside_content_and_events_without_an_end_stay() {
        let beside = "data: {\"choices\":[{\"delta\":{}}],\"usage\":{\"prompt_tokens\":3}}\n\n";
        assert_eq!(filtered(beside, 5), beside);
        assert_eq!(filtered("data: {\"choices\":[{\"del", 5), "data: {\"choices\":[{\"del");
    }

    #[test]
    fn a_long_event_goes_by_as_it_comes() {
        let long =
            format!("data: {{\"choices\":[],\"usage\":{{\"x\":\"{}\"}}}}\n\n", "y".repeat(2 * LONGEST_COUNT));
        assert_eq!(
            filtered(&format!("{long}{HIDDEN}data: [DONE]\n\n"), 1_000),
            format!("{long}data: [DONE]\n\n")
        );
        let mut filter = UsageFilter::default();
        assert_eq!(filter.push(long.as_bytes().get(..LONGEST_COUNT + 1).unwrap()).len(), LONGEST_COUNT + 1);
    }
}
