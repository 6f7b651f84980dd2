//! The observer: what it is shown and asked, and how its answers are read.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

mod answer;
mod degenerate;
mod question;
mod random;
mod transcript;

use chrono::{DateTime, Datelike, NaiveDate, Weekday};
use memory_gateway::memory::fault::Fault;
use memory_gateway::memory::note::{Draft, Priority};
use memory_gateway::memory::observer::{self, Observed};
use memory_gateway::memory::transcript::Said;
use memory_gateway::time;
use memory_gateway::turn::{Media, Message, Part, PartKind, Role, Source, Stop, ToolCall, ToolResult};

/// Tuesday, 24 November 2026, 14:03 UTC.
const TUESDAY: u64 = 1_795_528_980_000;

fn utc(_: u64) -> i32 {
    0
}

/// Central European time: summer time from 01:00 UTC on the last Sunday of March to 01:00 UTC on that of October.
fn berlin(ms: u64) -> i32 {
    let at = DateTime::from_timestamp_millis(ms.try_into().unwrap()).unwrap().naive_utc();
    let switch = |month: u32| {
        let last = NaiveDate::from_ymd_opt(at.year(), month, 31).unwrap();
        let sunday = last.week(Weekday::Sun).first_day();
        sunday.and_hms_opt(1, 0, 0).unwrap()
    };
    if (switch(3)..switch(10)).contains(&at) { 120 } else { 60 }
}

fn at(text: &str) -> u64 {
    time::from_rfc3339(text).unwrap()
}

fn user(text: &str) -> Message {
    Message::new(Role::User, vec![Part::text(text)])
}

fn assistant(parts: Vec<Part>) -> Message {
    Message::new(Role::Assistant, parts)
}

fn call(id: &str, name: &str, arguments: &str) -> Part {
    let call =
        ToolCall { id: id.into(), name: name.into(), arguments: arguments.into(), ..ToolCall::default() };
    PartKind::ToolCall(call).into()
}

fn result(id: &str, content: Vec<Part>, is_error: bool) -> Message {
    let result = ToolResult { call_id: id.into(), content, custom: false, is_error };
    Message::new(Role::Tool, vec![PartKind::ToolResult(result).into()])
}

fn media(source: Source, media_type: Option<&str>, name: Option<&str>) -> Media {
    Media { source, media_type: media_type.map(Into::into), name: name.map(Into::into), detail: None }
}

/// The transcript of messages that were all said on that Tuesday, with this log.
fn written_with(messages: &[Message], log: &str) -> String {
    let said: Vec<Said<'_>> =
        messages.iter().map(|message| Said { message, at: TUESDAY, incomplete: false }).collect();
    memory_gateway::memory::transcript::write(&said, log, &utc)
}

fn written(messages: &[Message]) -> String {
    written_with(messages, "")
}

/// The content of a message, as the observer sees it, without the frame.
fn content(message: Message) -> String {
    content_with(message, "")
}

fn content_with(message: Message, log: &str) -> String {
    let text = written_with(&[message], log);
    let lines: Vec<&str> = text.lines().skip(1).map(|line| line.strip_prefix("| ").unwrap()).collect();
    lines.join("\n")
}

fn read(answer: &str, messages: usize) -> Result<Observed, Fault> {
    observer::read(Some(answer), Some(&Stop::End), messages, false).map(|(observed, left_out)| {
        assert_eq!(left_out, 0, "nothing is left out of an answer that is read strictly");
        observed
    })
}

fn drafts(answer: &str, messages: usize) -> Vec<Draft> {
    match read(answer, messages) {
        Ok(Observed::Notes(drafts)) => drafts,
        other => panic!("no notes but {other:?}"),
    }
}

fn draft(priority: Priority, sources: &[usize], text: &str) -> Draft {
    let sources = sources.to_vec();
    Draft { priority, sources, refers: None, key: None, text: text.into(), children: Vec::new() }
}

fn malformed(line: usize, why: &str) -> Result<Observed, Fault> {
    Err(Fault::malformed(line, why))
}
