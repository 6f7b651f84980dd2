//! An import on its way in: bytes become lines, lines become batches of one thread each.
//!
//! Invariant: every line is in one batch, in order; a batch is of one thread, and is bounded. What was read is counted, so that
//! whoever sent a file learns which line was refused and whether all of it came.

use serde_json::{Map, Value};

use super::FORMAT;
use crate::error::{Error, Kind as ErrorKind};
use crate::memory::address::check_id;
use crate::memory::profile::Fact;

/// The longest line, in bytes: a message as large as the gateway takes one, and room for its escapes.
pub const MAX_LINE_BYTES: usize = 32 * 1024 * 1024;
/// The largest file, in bytes.
pub const MAX_BYTES: u64 = 1024 * 1024 * 1024;
/// What is brought to a thread at once, unless a single line is longer.
const BATCH_BYTES: usize = 512 * 1024;
const BATCH_LINES: usize = 500;

/// Lines that belong together.
#[derive(Clone, Debug, PartialEq)]
pub enum Batch {
    /// Lines of one thread.
    Thread {
        /// The thread's id.
        thread: String,
        /// Its owner, where its `thread` line was seen.
        resource: Option<String>,
        /// The number of the first line in the file, from 1; the lines stand one after the other but for `cursor` lines.
        numbers: Vec<u64>,
        /// The lines.
        lines: Vec<String>,
    },
    /// Facts of a resource's profile.
    Facts {
        /// The resource.
        resource: String,
        /// The facts.
        facts: Vec<Fact>,
    },
}

/// A file as far as it has come.
#[derive(Debug, Default)]
pub struct Intake {
    bytes: Vec<u8>,
    read: u64,
    number: u64,
    has_header: bool,
    owner: Option<String>,
    waiting: Waiting,
    ended: Option<bool>,
}

#[derive(Debug, Default)]
struct Waiting {
    thread: Option<(String, Option<String>)>,
    numbers: Vec<u64>,
    lines: Vec<String>,
    bytes: usize,
    facts: Vec<Fact>,
    fact_owner: String,
}

impl Intake {
    /// Takes the next bytes; gives the batches that are whole. Errors: 400 with the number of the line, 413 for a line or a
    /// file that is too long.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Batch>, Error> {
        self.read += bytes.len() as u64;
        if self.read > MAX_BYTES {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "An import takes at most {MAX_BYTES} bytes. Send the file in parts: export it by thread."
                ),
            ));
        }
        let mut batches = Vec::new();
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, more) = rest.split_at(end);
            rest = more.get(1..).unwrap_or_default();
            self.bytes.extend_from_slice(line);
            let line = std::mem::take(&mut self.bytes);
            self.line(line, &mut batches)?;
        }
        self.bytes.extend_from_slice(rest);
        self.check_length(self.bytes.len())?;
        Ok(batches)
    }

    /// The file is over; gives the last batches.
    pub fn finish(&mut self) -> Result<Vec<Batch>, Error> {
        let mut batches = Vec::new();
        let line = std::mem::take(&mut self.bytes);
        self.line(line, &mut batches)?;
        self.flush(&mut batches);
        if !self.has_header {
            return Err(Error::bad_request(
                "There is no line in the body. Send an export, one JSON object a line.",
            ));
        }
        Ok(batches)
    }

    /// How many lines were read.
    pub fn lines(&self) -> u64 {
        self.number
    }

    /// True when the last line was there and counted as many lines as came.
    pub fn is_whole(&self) -> bool {
        self.ended == Some(true)
    }

    fn check_length(&self, length: usize) -> Result<(), Error> {
        if length > MAX_LINE_BYTES {
            let number = self.number + 1;
            let why = format!(
                "Line {number} is longer than {MAX_LINE_BYTES} bytes, the most that a line may have."
            );
            return Err(Error::new(ErrorKind::TooLarge, why));
        }
        Ok(())
    }

    fn line(&mut self, line: Vec<u8>, batches: &mut Vec<Batch>) -> Result<(), Error> {
        if line.iter().all(u8::is_ascii_whitespace) {
            self.number += u64::from(!line.is_empty());
            return Ok(());
        }
        self.check_length(line.len())?;
        let counted = self.number;
        self.number += 1;
        let number = self.number;
        let wrong = |why: &str| Error::bad_request(format!("Line {number}: {why}")).with("line", number);
        let text = String::from_utf8(line).map_err(|_| wrong("it is not UTF-8."))?;
        let object: Map<String, Value> =
            serde_json::from_str(&text).map_err(|error| wrong(&format!("it is no JSON object: {error}.")))?;
        let word = |name: &str| object.get(name).and_then(Value::as_str);
        let name = word("type").unwrap_or_default();
        if !self.has_header {
            if name != "export" {
                return Err(wrong("an import begins with a line of type `export`, as every export does."));
            }
            if object.get("format").and_then(Value::as_u64) != Some(FORMAT) {
                return Err(wrong(&format!("this gateway reads exports of format {FORMAT} only.")));
            }
            self.has_header = true;
            self.owner = word("resourceId").map(str::to_owned);
            return Ok(());
        }
        match name {
            // Parts of an export, one behind the other.
            "export" | "cursor" => {}
            "end" => self.ended = Some(object.get("lines").and_then(Value::as_u64) == Some(counted)),
            "fact" => {
                let fact: Fact = serde_json::from_value(Value::Object(object.clone()))
                    .map_err(|error| wrong(&format!("it is no fact: {error}.")))?;
                let owner = word("resourceId").map(str::to_owned).or_else(|| self.owner.clone());
                let owner = owner.ok_or_else(|| wrong("a fact needs `resourceId`."))?;
                check_id("resourceId", &owner)?;
                if self.waiting.facts.is_empty() || self.waiting.fact_owner != owner {
                    self.flush(batches);
                    self.waiting.fact_owner = owner;
                }
                self.waiting.facts.push(fact);
            }
            _ => {
                let thread =
                    word("thread").ok_or_else(|| wrong("it needs `thread`, the id of its thread."))?;
                check_id("thread", thread)?;
                let is_begin = name == "thread";
                let resource = if is_begin { word("resourceId").map(str::to_owned) } else { None };
                if is_begin {
                    check_id("resourceId", resource.as_deref().unwrap_or_default())?;
                }
                let is_other = self.waiting.thread.as_ref().is_none_or(|(waiting, _)| waiting != thread);
                if is_other || is_begin {
                    self.flush(batches);
                    self.waiting.thread = Some((thread.to_owned(), resource));
                } else if self.waiting.bytes + text.len() > BATCH_BYTES
                    || self.waiting.lines.len() >= BATCH_LINES
                {
                    self.flush(batches);
                }
                self.waiting.bytes += text.len();
                self.waiting.numbers.push(number);
                self.waiting.lines.push(text);
            }
        }
        Ok(())
    }

    fn flush(&mut self, batches: &mut Vec<Batch>) {
        let waiting = &mut self.waiting;
        if !waiting.facts.is_empty() {
            let resource = std::mem::take(&mut waiting.fact_owner);
            batches.push(Batch::Facts { resource, facts: std::mem::take(&mut waiting.facts) });
        }
        if let (Some((thread, resource)), false) = (&waiting.thread, waiting.lines.is_empty()) {
            batches.push(Batch::Thread {
                thread: thread.clone(),
                resource: resource.clone(),
                numbers: std::mem::take(&mut waiting.numbers),
                lines: std::mem::take(&mut waiting.lines),
            });
        }
        waiting.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "{\"type\":\"export\",\"format\":1,\"projectId\":\"p\",\"resourceId\":\"r\"}\n\
        {\"type\":\"thread\",\"thread\":\"a\",\"resourceId\":\"r\"}\n{\"type\":\"gap\",\"thread\":\"a\"}\n\
        {\"type\":\"cursor\",\"after\":\"x\"}\n{\"type\":\"gap\",\"thread\":\"a\",\"seq\":2}\n\
        {\"type\":\"thread\",\"thread\":\"b\",\"resourceId\":\"r\"}\n\
        {\"type\":\"fact\",\"key\":\"k\",\"text\":\"t\",\"said_at\":1,\"thread\":\"a\",\"note\":1,\"priority\":\"high\"}\n\
        {\"type\":\"end\",\"lines\":7,\"threads\":2}\n";

    fn taken(file: &str, chunk: usize) -> (Vec<Batch>, bool, u64) {
        let mut intake = Intake::default();
        let mut batches = Vec::new();
        for bytes in file.as_bytes().chunks(chunk) {
            batches.extend(intake.push(bytes).unwrap());
        }
        batches.extend(intake.finish().unwrap());
        (batches, intake.is_whole(), intake.lines())
    }

    #[test]
    fn lines_become_batches_of_one_thread_however_the_bytes_are_cut() {
        let (batches, whole, lines) = taken(FILE, 1_000_000);
        let told: Vec<(String, Option<String>, Vec<u64>)> = batches
            .iter()
            .map(|batch| match batch {
                Batch::Thread { thread, resource, numbers, .. } => {
                    (thread.clone(), resource.clone(), numbers.clone())
                }
                Batch::Facts { resource, facts } => {
                    (format!("{} facts", facts.len()), Some(resource.clone()), vec![])
                }
            })
            .collect();
        let owner = Some("r".to_owned());
        assert_eq!(
            told,
            [
                ("a".into(), owner.clone(), vec![2, 3, 5]),
                ("b".into(), owner.clone(), vec![6]),
                ("1 facts".into(), owner, vec![]),
            ]
        );
        assert_eq!((whole, lines), (true, 8));
        for chunk in [1, 7, 64] {
            assert_eq!(taken(FILE, chunk), (batches.clone(), true, 8));
        }
    }

    #[test]
    fn a_file_that_was_cut_is_seen_to_be() {
        let cut = FILE.rsplit_once("{\"type\":\"end\"").unwrap().0;
        assert!(!taken(cut, 100).1);
        let lacking = FILE.replacen("{\"type\":\"gap\",\"thread\":\"a\"}\n", "", 1);
        assert!(!taken(&lacking, 100).1);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named() {
        for (file, status, words) in [
            ("", 400, "no line"),
            ("{}\n", 400, "Line 1: an import begins"),
            ("{\"type\":\"export\",\"format\":2}\n", 400, "format 1"),
            ("{\"type\":\"export\",\"format\":1}\n{\"type\":\n", 400, "Line 2: it is no JSON"),
            ("{\"type\":\"export\",\"format\":1}\n[]\n", 400, "Line 2: it is no JSON object"),
            ("{\"type\":\"export\",\"format\":1}\n{\"type\":\"gap\"}\n", 400, "`thread`"),
            (
                "{\"type\":\"export\",\"format\":1}\n{\"type\":\"fact\",\"key\":\"k\"}",
                400,
                "Line 2: it is no fact",
            ),
        ] {
            let mut intake = Intake::default();
            let error = intake.push(file.as_bytes()).and_then(|_| intake.finish()).unwrap_err();
            assert!(
                error.status() == status && error.message().contains(words),
                "{file}: {}",
                error.message()
            );
        }
        let mut intake = Intake::default();
        assert_eq!(intake.push(&vec![b' '; MAX_LINE_BYTES + 1]).unwrap_err().status(), 413);
    }
}
