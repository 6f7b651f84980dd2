//! A thread as lines, and lines as a thread.
//!
//! Invariant: what is brought twice is there once; of the lines that come together all are taken or none.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Surroundings, add, owns, plan};
use crate::memory::activation::{Moment, put_to_use};
use crate::memory::database::{Database, Row};
use crate::memory::note::{Note, Speaker};
use crate::memory::plan::kept;
use crate::memory::render;
use crate::memory::secrets;
use crate::memory::store::{
    Brought, Kind as SegmentKind, NewNote, NoteStatus, SegmentState, Store, Thread, Turn, TurnStatus,
    first_seq,
};
use crate::portable::observed;
use crate::portable::said::{self, Said};
use crate::portable::{KINDS, Kind};
use crate::protocol::{Bring, ReadRows, Rows};
use crate::tokens;
use crate::turn::{Message, hex};
use crate::{keys, time::Zone};

/// A page of the thread's lines, its `thread` line first. Cut at rows: a page has at least one where there is any.
pub fn rows<D: Database>(store: &Store<D>, request: &ReadRows) -> Result<Rows, D::Error> {
    let Some(thread) = store.thread()?.filter(|thread| owns(thread, &request.key)) else {
        return Ok(Rows::NotFound);
    };
    let mut lines = Vec::new();
    let (first, mut after) = match request.after {
        Some((kind, number)) => (kind, number),
        None => {
            lines.push(thread_line(&thread));
            (0, 0)
        }
    };
    let mut left = request.bytes;
    for (index, kind) in KINDS.iter().enumerate().skip(first) {
        loop {
            let rows = store.rows_after(kind, after, left)?;
            let Some((last, _)) = rows.last() else { break };
            after = *last;
            for (_, row) in &rows {
                let line = kind.line(&thread.id, row);
                left = left.saturating_sub(line.len() as u64);
                lines.push(line);
            }
            if left == 0 {
                return Ok(Rows::Page { lines, next: Some((index, after)) });
            }
        }
        after = 0;
    }
    Ok(Rows::Page { lines, next: None })
}

fn thread_line(thread: &Thread) -> String {
    json!({
        "type": "thread",
        "thread": thread.id,
        "resourceId": thread.resource,
        "title": thread.title,
        "metadata": thread.metadata.as_ref().map(|text| serde_json::from_str::<Value>(text).unwrap_or_default()),
        "createdAt": thread.created_at,
        "updatedAt": thread.updated_at,
    })
    .to_string()
}

/// What a line brings.
enum Line {
    Thread(Thread),
    Row(usize, Row),
    Said(Box<Said>),
    Observed { text: String, until: u64 },
}

/// Takes lines of one thread, all or none.
pub fn bring<D: Database>(
    store: &Store<D>,
    request: &Bring,
    now: u64,
    around: Surroundings<'_>,
) -> Result<Brought, D::Error> {
    let refused = |at: usize, why: String| Ok(Brought { conflict: Some((at, why)), ..Brought::default() });
    let mut lines = Vec::with_capacity(request.lines.len());
    for (at, text) in request.lines.iter().enumerate() {
        match read(text, request) {
            Ok(line) => lines.push(line),
            Err(why) => return refused(at, why),
        }
    }
    let known = store.thread()?;
    let mut brought = Brought::default();
    let mut new_thread = None;
    let mut rows: Vec<(usize, Row)> = Vec::new();
    let mut row_places: Vec<usize> = Vec::new();
    let mut told: Vec<(usize, Line)> = Vec::new();
    for (at, line) in lines.into_iter().enumerate() {
        match line {
            Line::Thread(thread) => match &known {
                Some(there) if !owns(there, &request.key) || there.resource != thread.resource => {
                    return refused(at, "The thread exists and belongs to another resource.".into());
                }
                Some(_) => brought.known += 1,
                None => new_thread = Some(thread),
            },
            Line::Row(kind, row) => {
                rows.push((kind, row));
                row_places.push(at);
            }
            line => told.push((at, line)),
        }
    }
    if known.as_ref().is_some_and(|there| !owns(there, &request.key)) {
        return refused(0, "The thread exists and belongs to another resource.".into());
    }
    if known.is_none() && new_thread.is_none() {
        return refused(0, "The line of type `thread` of this thread did not come before.".into());
    }
    let is_begun = store.is_begun()?;
    let moved = store.bring(&rows, is_begun)?;
    if let Some((row, why)) = moved.conflict {
        return refused(row_places.get(row).copied().unwrap_or_default(), why);
    }
    if let Some(thread) = new_thread {
        store.save_thread(&thread)?;
        brought.added += 1;
    }
    brought.added += moved.added;
    brought.known += moved.known;
    take(store, told, &mut brought, now, around)?;
    Ok(brought)
}

fn read(text: &str, request: &Bring) -> Result<Line, String> {
    let line: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| format!("The line is no JSON object: {error}."))?;
    let name = line.get("type").and_then(Value::as_str).unwrap_or_default();
    let number = |field: &str| {
        let value = line.get(field).and_then(Value::as_u64).filter(|number| *number <= 1 << 53);
        value.ok_or_else(|| format!("`{field}` must be Unix milliseconds."))
    };
    match name {
        "thread" => Ok(Line::Thread(Thread {
            project: request.key.project.clone(),
            id: request.key.thread.clone(),
            resource: line.get("resourceId").and_then(Value::as_str).unwrap_or_default().to_owned(),
            title: line.get("title").and_then(Value::as_str).map(str::to_owned),
            metadata: line.get("metadata").filter(|value| value.is_object()).map(Value::to_string),
            created_at: number("createdAt")?,
            updated_at: number("updatedAt")?,
            indexed_at: None,
            index_retry_at: None,
        })),
        "said" => said::read(&line).map(|said| Line::Said(Box::new(said))),
        "observed" => Ok(Line::Observed {
            text: line.get("text").and_then(Value::as_str).ok_or("`text` must be a text.")?.to_owned(),
            until: number("until")?,
        }),
        name => {
            let (index, kind) =
                Kind::of(name).ok_or_else(|| format!("Lines of type `{name}` are not known."))?;
            let wrong =
                |field: &str| format!("The field `{field}` of a {name} is missing or of another type.");
            let row = kind.row(&line).map_err(wrong)?;
            if kind.name == "message" {
                let message: Message = line
                    .get("message")
                    .cloned()
                    .and_then(|message| serde_json::from_value(message).ok())
                    .ok_or_else(|| wrong("message"))?;
                if line.get("role").and_then(Value::as_str) != Some(message.role.as_str()) {
                    return Err(wrong("role"));
                }
            }
            Ok(Line::Row(index, row))
        }
    }
}

/// Takes what comes from elsewhere: messages, each as a turn of its own, and logs.
fn take<D: Database>(
    store: &Store<D>,
    told: Vec<(usize, Line)>,
    brought: &mut Brought,
    now: u64,
    around: Surroundings<'_>,
) -> Result<(), D::Error> {
    let ids: Vec<&str> = told
        .iter()
        .filter_map(|(_, line)| match line {
            Line::Said(said) => Some(said.id.as_str()),
            _ => None,
        })
        .collect();
    let mut known: BTreeSet<String> = if ids.is_empty() { BTreeSet::new() } else { store.known_ids(&ids)? };
    for (_, line) in &told {
        let is_new = match line {
            Line::Said(said) => known.insert(said.id.clone()) && say(store, said).map(|()| true)?,
            Line::Observed { text, until } => observe(store, text, *until, now, around)?,
            Line::Thread(_) | Line::Row(..) => continue,
        };
        *(if is_new { &mut brought.added } else { &mut brought.known }) += 1;
    }
    Ok(())
}

fn say<D: Database>(store: &Store<D>, said: &Said) -> Result<(), D::Error> {
    let seq = store.last_turn()? + 1;
    let mut turn = Turn {
        seq,
        id: format!("turn_{}", hex(&keys::digest(&["said", &said.id]))),
        status: TurnStatus::Complete,
        started_at: said.at,
        finished_at: Some(said.at),
        messages: 0,
        superseded_by: None,
        provider: None,
        model: None,
        usage: None,
        stop: None,
    };
    let mut chain = store.last_input(seq)?.map(|input| input.chain_hash);
    add(store, &mut turn, &said.message, said.at, false, &mut chain)?;
    store.rename_message(first_seq(seq), &said.id)?;
    store.save_turn(&turn)
}

/// Takes a log: its observations become notes in use, and stand for the messages that were said until then. False where it was
/// taken before.
fn observe<D: Database>(
    store: &Store<D>,
    text: &str,
    until: u64,
    now: u64,
    around: Surroundings<'_>,
) -> Result<bool, D::Error> {
    let cycle = format!("log_{}", hex(&keys::digest(&["observed", text])));
    let observations = observed::read(text);
    if observations.is_empty() || store.segment_by_cycle(&cycle)?.is_some() {
        return Ok(false);
    }
    let Some(thread) = store.thread()? else { return Ok(false) };
    let mut state = store.state()?;
    let settings = around.settings(&state);
    let zone = |at: u64| (around.zones)(&settings.time_zone, at);
    let zone: Zone<'_> = &zone;
    let (seqs, sum) = store.unclaimed_until(until)?;
    let range = (seqs.first().copied().unwrap_or_default(), seqs.last().copied().unwrap_or_default());
    let id = store.plan_segment(SegmentKind::Observe, range, sum, now)?;
    let Some(mut segment) =
        store.segments(SegmentState::Planned)?.into_iter().find(|segment| segment.id == id)
    else {
        return Ok(false);
    };
    segment.cycle = Some(cycle);
    segment.ready_at = Some(now);
    store.claim(&seqs, Some(id))?;
    let mut parent = None;
    for observation in observations {
        // The log tells times of day by the user's clock.
        let local = |at: u64| at.saturating_add_signed(-i64::from(zone(at)) * 60_000);
        let note = Note {
            id: 0,
            segment: id,
            parent: parent.filter(|_| observation.is_detail),
            priority: observation.priority,
            speaker: Speaker::User,
            said_at: observation.at.map_or(until, local),
            refers: None,
            key: None,
            text: secrets::mask(&observation.text).into_owned(),
            sources: Vec::new(),
        };
        let tokens = tokens::of_text(&render::line(&note, zone));
        let is_detail = note.parent.is_some();
        let number =
            store.add_note(&NewNote { note, status: NoteStatus::Buffered, tokens, created_at: now })?;
        if !is_detail {
            parent = Some(number);
        }
    }
    let kept = kept(&store.raw_places()?, settings.keep_tokens, settings.observe_tokens / 2);
    let leaving: Vec<i64> =
        seqs.into_iter().filter(|seq| *seq < kept.from && Some(*seq) != kept.user).collect();
    store.cover(&leaving, true)?;
    let moment = Moment { settings: &settings, now, is_idle: false, thread: &thread.id, zone };
    put_to_use(store, &mut state, &moment, segment)?;
    state.log_version += 1;
    state.prefix_changed = true;
    state.last_observed_at = Some(until.max(state.last_observed_at.unwrap_or_default()));
    store.save_state(&state)?;
    plan(store, &state, now, around)?;
    Ok(true)
}
