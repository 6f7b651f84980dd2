//! Server-sent events, decoded as the bytes come in.
//!
//! Invariant: the events do not depend on how the bytes were cut into chunks. Takes LF, CRLF and CR line ends, a byte
//! order mark, comments, several `data` lines in an event, and a last event without its blank line.
//! Format: <https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>

/// The largest event kept, in bytes of data. Providers repeat a whole answer in one event, pictures included; what is
/// larger than this passes through to the client all the same but cannot be remembered.
pub const MAX_EVENT_BYTES: usize = 16 * 1024 * 1024;

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The `event` field; empty when there is none.
    pub name: &'a str,
    /// The `data` lines, joined by line feeds.
    pub data: &'a str,
}

/// Turns chunks of bytes into events.
#[derive(Debug, Default)]
pub struct Decoder {
    line: Vec<u8>,
    name: String,
    data: Vec<u8>,
    has_data: bool,
    /// Set while the rest of an oversized event is skipped.
    dropping: bool,
    lost: bool,
    skip_line_feed: bool,
    started: bool,
}

impl Decoder {
    /// Takes the next bytes and hands each event that they complete to `on_event`.
    pub fn push(&mut self, bytes: &[u8], mut on_event: impl FnMut(Event<'_>)) {
        let mut rest = bytes;
        if self.skip_line_feed && !rest.is_empty() {
            self.skip_line_feed = false;
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let (line, tail) = rest.split_at(end);
            let carriage_return = tail.first() == Some(&b'\r');
            rest = tail.get(1..).unwrap_or_default();
            if carriage_return {
                match rest.first() {
                    Some(b'\n') => rest = rest.get(1..).unwrap_or_default(),
                    Some(_) => {}
                    None => self.skip_line_feed = true,
                }
            }
            if self.line.is_empty() {
                self.end_line(line, &mut on_event);
            } else {
                let mut whole = std::mem::take(&mut self.line);
                whole.extend_from_slice(line);
                self.end_line(&whole, &mut on_event);
                whole.clear();
                self.line = whole;
            }
        }
        if self.line.len() + rest.len() > MAX_EVENT_BYTES {
            self.drop_event();
        }
        if !self.dropping {
            self.line.extend_from_slice(rest);
        } else if self.line.is_empty() {
            // One byte is enough to know that the line is not blank.
            self.line.extend(rest.first());
        }
    }

    /// The end of the stream: hands over an event whose blank line never came.
    pub fn finish(&mut self, mut on_event: impl FnMut(Event<'_>)) {
        if !self.line.is_empty() {
            let line = std::mem::take(&mut self.line);
            self.end_line(&line, &mut on_event);
        }
        self.dispatch(&mut on_event);
    }

    /// True between events: what was pushed so far ends with a complete one.
    pub fn is_between_events(&self) -> bool {
        self.line.is_empty() && !self.has_data && !self.dropping && self.name.is_empty()
    }

    /// True when an event was too large to keep.
    pub fn lost_an_event(&self) -> bool {
        self.lost
    }

    fn drop_event(&mut self) {
        self.dropping = true;
        self.lost = true;
        self.line = Vec::new();
        self.data = Vec::new();
        self.has_data = false;
    }

    fn end_line(&mut self, line: &[u8], on_event: &mut impl FnMut(Event<'_>)) {
        let line = if self.started { line } else { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) };
        self.started = true;
        if line.is_empty() {
            return self.dispatch(on_event);
        }
        if self.dropping {
            return;
        }
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => {
                let (field, value) = line.split_at(colon);
                let value = value.get(1..).unwrap_or_default();
                (field, value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &b""[..]),
        };
        match field {
            b"data" => {
                if self.data.len() + value.len() > MAX_EVENT_BYTES {
                    return self.drop_event();
                }
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
                self.has_data = true;
            }
            b"event" => self.name = String::from_utf8_lossy(value).into_owned(),
            _ => {}
        }
    }

    fn dispatch(&mut self, on_event: &mut impl FnMut(Event<'_>)) {
        if self.has_data {
            on_event(Event { name: &self.name, data: &String::from_utf8_lossy(&self.data) });
            self.data.clear();
            self.has_data = false;
        }
        self.name.clear();
        self.dropping = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(chunks: &[&[u8]]) -> Vec<(String, String)> {
        let mut decoder = Decoder::default();
        let mut events = Vec::new();
        for chunk in chunks {
            decoder.push(chunk, |event| events.push((event.name.to_owned(), event.data.to_owned())));
        }
        decoder.finish(|event| events.push((event.name.to_owned(), event.data.to_owned())));
        events
    }

    const STREAM: &[u8] =
        "\u{feff}data: {\"a\":\"é\"}\n\nevent: x\r\ndata: 1\r\ndata:2\r\n\r\n: comment\rdata:  y\r\r\
        id: 7\nretry: 1\n\ndata\n\nevent: named but empty\n\ndata: [DONE]"
            .as_bytes();

    #[test]
    fn every_way_to_write_events_is_read() {
        let pair = |name: &str, data: &str| (name.to_owned(), data.to_owned());
        assert_eq!(
            decode(&[STREAM]),
            [pair("", "{\"a\":\"é\"}"), pair("x", "1\n2"), pair("", " y"), pair("", ""), pair("", "[DONE]")]
        );
    }

    #[test]
    fn any_cut_gives_the_same_events() {
        let whole = decode(&[STREAM]);
        for size in 1..STREAM.len() {
            assert_eq!(decode(&STREAM.chunks(size).collect::<Vec<_>>()), whole, "chunks of {size}");
        }
        for cut in 0..STREAM.len() {
            let (head, tail) = STREAM.split_at(cut);
            assert_eq!(decode(&[head, tail]), whole, "cut at {cut}");
        }
    }

    #[test]
    fn the_decoder_knows_whether_it_is_between_events() {
        let mut decoder = Decoder::default();
        assert!(decoder.is_between_events());
        for (bytes, between) in
            [("data: 1", false), ("\n", false), ("\n", true), ("event: x\n", false), ("\n", true)]
        {
            decoder.push(bytes.as_bytes(), |_| {});
            assert_eq!(decoder.is_between_events(), between, "{bytes:?}");
        }
    }

    #[test]
    fn an_event_beyond_the_limit_is_dropped_and_the_next_one_read() {
        let mut decoder = Decoder::default();
        let mut events = Vec::new();
        decoder.push(b"data: ", |_| panic!("nothing is complete"));
        for _ in 0..=MAX_EVENT_BYTES / (1 << 20) {
            decoder.push(&vec![b'x'; 1 << 20], |_| panic!("nothing is complete"));
            assert!(decoder.line.len() <= MAX_EVENT_BYTES);
        }
        decoder.push(b"\ndata: more\n\ndata: next\n\n", |event| events.push(event.data.to_owned()));
        assert!(decoder.lost_an_event());
        assert_eq!(events, ["next"]);
    }
}
