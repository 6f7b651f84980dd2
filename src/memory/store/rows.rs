//! The rows of a thread as they are, for moving it.
//!
//! Invariant: a row that is brought is either the one that is there already, or new; nothing that is there is changed. What
//! was noted is taken only until the first message is there, because from then on the thread takes its own notes.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Store, to_json};
use crate::memory::database::{Database, Row, Value};
use crate::memory::schema::{may_go_on, pieces};
use crate::portable::{KINDS, Kind};

/// So many rows are looked at for one page.
const PAGE_ROWS: i64 = 500;

/// What became of rows that were brought.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brought {
    /// How many were new.
    pub added: u64,
    /// How many were there already.
    pub known: u64,
    /// The place of the first that stands against what is there, and why; nothing was added then.
    pub conflict: Option<(usize, String)>,
}

impl<D: Database> Store<D> {
    /// The rows of a kind behind `after`, with the number of each: as many as have `bytes`, and one at least where there is
    /// any.
    pub fn rows_after(&self, kind: &Kind, after: i64, bytes: u64) -> Result<Vec<(i64, Row)>, D::Error> {
        let (key, table) = (kind.key(), kind.table);
        let sizes = self.grown()?.query(
            &format!(
                "SELECT {key}, {} FROM {table} WHERE {key} > ?1 ORDER BY {key} LIMIT {PAGE_ROWS}",
                kind.size
            ),
            &[after.into()],
        )?;
        let mut sum = 0;
        let last = sizes.iter().take_while(|row| {
            let is_first = sum == 0;
            sum += row.unsigned(1).max(1);
            is_first || sum <= bytes
        });
        let Some(last) = last.last().map(|row| row.integer(0)) else { return Ok(Vec::new()) };
        let rows = self.grown()?.query(
            &format!(
                "SELECT {} FROM {table} WHERE {key} > ?1 AND {key} <= ?2 ORDER BY {key}",
                kind.columns()
            ),
            &[after.into(), last.into()],
        )?;
        rows.into_iter()
            .map(|row| {
                let number = row.integer(0);
                Ok((number, if table == "messages" { self.with_rest(number, row)? } else { row }))
            })
            .collect()
    }

    /// A message's row with all of its body, which is its last column.
    fn with_rest(&self, seq: i64, mut row: Row) -> Result<Row, D::Error> {
        if let Some(Value::Text(body)) = row.0.last_mut()
            && may_go_on(body)
        {
            let rest = self
                .grown()?
                .query("SELECT body FROM message_rest WHERE seq = ?1 ORDER BY part", &[seq.into()])?;
            rest.iter().for_each(|piece| body.push_str(&piece.text(0)));
        }
        Ok(row)
    }

    /// Takes rows, all or none; `is_begun` tells that the thread has messages, from before these rows.
    pub fn bring(&self, rows: &[(usize, Row)], is_begun: bool) -> Result<Brought, D::Error> {
        let mut brought = Brought::default();
        let mut new: Vec<(&Kind, &Row)> = Vec::new();
        let mut seen = BTreeSet::new();
        for (at, (index, row)) in rows.iter().enumerate() {
            let Some(kind) = KINDS.get(*index) else { continue };
            if !seen.insert((*index, row.integer(0))) {
                brought.known += 1;
                continue;
            }
            match self.stands(kind, row)? {
                Some(true) => brought.known += 1,
                Some(false) => {
                    let why =
                        format!("The thread has another {} with the number {}.", kind.name, row.integer(0));
                    return Ok(Brought { conflict: Some((at, why)), ..Brought::default() });
                }
                // The log, the state and the like follow from the rest, and are the thread's own by now.
                None if is_begun && kind.identity.is_empty() => brought.known += 1,
                None if is_begun && matches!(kind.name, "segment" | "note") => {
                    let why = format!(
                        "The thread has gone on without this {}. Delete it to bring it whole.",
                        kind.name
                    );
                    return Ok(Brought { conflict: Some((at, why)), ..Brought::default() });
                }
                None => new.push((kind, row)),
            }
        }
        for (kind, row) in new {
            brought.added += u64::from(self.insert(kind, row)?);
        }
        self.undone();
        Ok(brought)
    }

    /// Whether a row is there: `Some(false)` where another has its number or, for a turn, its id.
    fn stands(&self, kind: &Kind, row: &Row) -> Result<Option<bool>, D::Error> {
        let key = kind.key();
        let columns = if kind.identity.is_empty() { key.to_owned() } else { kind.identity.join(", ") };
        let mut sql = format!("SELECT {columns} FROM {} WHERE {key} = ?1", kind.table);
        let mut values = vec![Value::Integer(row.integer(0))];
        if kind.table == "turns" {
            sql.push_str(" OR id = ?2");
            values.push(row.text(1).into());
        }
        let there = self.grown()?.query(&sql, &values)?;
        if there.is_empty() {
            return Ok(None);
        }
        let own = |column: &&str| {
            let at = kind.fields.iter().position(|field| field.column == *column);
            at.and_then(|at| row.0.get(at)).cloned().unwrap_or(Value::Null)
        };
        let own = Row(kind.identity.iter().map(own).collect());
        Ok(Some(kind.identity.is_empty() || there.iter().all(|row| *row == own)))
    }

    fn insert(&self, kind: &Kind, row: &Row) -> Result<bool, D::Error> {
        let mut values = row.0.clone();
        let mut rest: Vec<String> = Vec::new();
        if kind.table == "messages"
            && let Some(Value::Text(body)) = values.last_mut()
        {
            let mut all = pieces(body).map(str::to_owned);
            let first = all.next().unwrap_or_default();
            rest = all.collect();
            *body = first;
        }
        let places: Vec<String> = (1..=values.len()).map(|at| format!("?{at}")).collect();
        let sql = format!(
            "INSERT OR IGNORE INTO {} ({}) VALUES ({}) RETURNING {}",
            kind.table,
            kind.columns(),
            places.join(", "),
            kind.key()
        );
        let is_new = !self.grown()?.query(&sql, &values)?.is_empty();
        for (part, piece) in (1i64..).zip(rest).filter(|_| is_new) {
            self.grown()?.query(
                "INSERT INTO message_rest (seq, part, body) VALUES (?1, ?2, ?3)",
                &[row.integer(0).into(), part.into(), piece.into()],
            )?;
        }
        Ok(is_new)
    }

    /// True when the thread has a message.
    pub fn is_begun(&self) -> Result<bool, D::Error> {
        Ok(!self.grown()?.query("SELECT 1 FROM messages LIMIT 1", &[])?.is_empty())
    }

    /// Those of these message ids that the thread has.
    pub fn known_ids(&self, ids: &[&str]) -> Result<BTreeSet<String>, D::Error> {
        let rows = self.grown()?.query(
            "SELECT id FROM messages WHERE id IN (SELECT value FROM json_each(?1))",
            &[to_json(&ids).into()],
        )?;
        Ok(rows.iter().map(|row| row.text(0)).collect())
    }

    /// Gives a message the id that it had elsewhere.
    pub fn rename_message(&self, seq: i64, id: &str) -> Result<(), D::Error> {
        self.grown()?.query("UPDATE messages SET id = ?2 WHERE seq = ?1", &[seq.into(), id.into()]).map(drop)
    }

    /// The places of unclaimed messages that were said until `at`, in order, with their estimated tokens in all.
    pub fn unclaimed_until(&self, at: u64) -> Result<(Vec<i64>, u64), D::Error> {
        let rows = self.grown()?.query(
            "SELECT seq, tokens FROM messages WHERE segment IS NULL AND created_at <= ?1 ORDER BY seq",
            &[at.into()],
        )?;
        Ok((rows.iter().map(|row| row.integer(0)).collect(), rows.iter().map(|row| row.unsigned(1)).sum()))
    }
}
