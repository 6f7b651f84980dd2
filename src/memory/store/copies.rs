//! Rows on their way from one thread's storage into another's.
//!
//! Invariant: places, numbers and texts stay the same, so that what is put before a model begins with the same bytes; ids of
//! turns and messages become the copy's own. What is under way stays behind, and its messages are free in the copy.

use super::{Store, to_json};
use crate::memory::database::{Database, Row, Value};
use crate::protocol::Filter;
use crate::turn::chain_hash;

/// The tables that are copied, with their columns and which of their rows; `{chosen}` stands for the messages.
const TABLES: [(&str, &str, &str); 7] = [
    (
        "turns",
        "seq, id, status, started_at, finished_at, messages, superseded_by, provider, model, usage, stop",
        "true",
    ),
    (
        "messages",
        "seq, id, role, content_hash, chain_hash, incomplete, created_at, tokens, body, segment, covered",
        "seq IN (SELECT value FROM json_each(?1))",
    ),
    ("message_rest", "seq, part, body", "seq IN (SELECT value FROM json_each(?1))"),
    (
        "segments",
        "id, kind, state, seq_from, seq_to, tokens, attempt, level, not_before, planned_at, ready_at, activated_at,
         provider, model, tokens_in, tokens_out",
        "kind = 'observe' AND state IN ('ready', 'active')",
    ),
    (
        "notes",
        "id, segment, parent, priority, speaker, said_at, refers, key, text, sources, last_source, tokens, status,
         superseded_by, frozen, created_at, corrected_at",
        "true",
    ),
    ("render", "ord, segment, last_day, bytes", "true"),
    ("gaps", "seq, text", "seq IN (SELECT value FROM json_each(?1))"),
];

impl<D: Database> Store<D> {
    /// The places of the standing messages that may be known in a copy, the newest first.
    pub fn chosen(&self, filter: &Filter) -> Result<Vec<i64>, D::Error> {
        let ids = filter.ids.as_ref().map(to_json);
        let rows = self.grown()?.query(
            "SELECT seq FROM messages WHERE superseded_by IS NULL AND created_at >= ?1 AND created_at <= ?2
             AND (?3 IS NULL OR id IN (SELECT value FROM json_each(?3))) ORDER BY seq DESC",
            &[filter.from.unwrap_or(0).into(), filter.to.unwrap_or(u64::MAX).into(), ids.into()],
        )?;
        Ok(rows.iter().map(|row| row.integer(0)).collect())
    }

    /// The segments that rest on a standing message which is not among the chosen.
    pub fn segments_beside(&self, chosen: &[i64]) -> Result<Vec<i64>, D::Error> {
        let rows = self.grown()?.query(
            "SELECT DISTINCT segment FROM messages WHERE superseded_by IS NULL AND segment > 0
             AND seq NOT IN (SELECT value FROM json_each(?1)) ORDER BY segment",
            &[to_json(&chosen).into()],
        )?;
        Ok(rows.iter().map(|row| row.integer(0)).collect())
    }

    /// How many bytes the texts of a copy take: of these messages, and of all notes.
    pub fn copy_bytes(&self, chosen: &[i64]) -> Result<u64, D::Error> {
        let rows = self.grown()?.query(
            "SELECT
                 (SELECT coalesce(sum(octet_length(body)), 0) FROM messages
                  WHERE seq IN (SELECT value FROM json_each(?1)))
                 + (SELECT coalesce(sum(octet_length(body)), 0) FROM message_rest
                    WHERE seq IN (SELECT value FROM json_each(?1)))
                 + (SELECT coalesce(sum(octet_length(text)), 0) FROM notes)",
            &[to_json(&chosen).into()],
        )?;
        Ok(rows.first().map_or(0, |row| row.unsigned(0)))
    }

    /// The rows of a copy that has these messages.
    pub fn copy_out(&self, chosen: &[i64]) -> Result<Vec<(String, Vec<Row>)>, D::Error> {
        let seqs = to_json(&chosen);
        TABLES
            .iter()
            .map(|(table, columns, which)| {
                let values: &[Value] = if which.contains("?1") { &[seqs.as_str().into()] } else { &[] };
                let sql = format!("SELECT {columns} FROM {table} WHERE {which}");
                Ok(((*table).to_owned(), self.grown()?.query(&sql, values)?))
            })
            .collect()
    }

    /// Writes the rows of a copy into storage that has none. `token` makes the ids.
    pub fn copy_in(&self, tables: &[(String, Vec<Row>)], token: &str) -> Result<(), D::Error> {
        for (table, columns, _) in &TABLES {
            let rows = tables.iter().find(|(name, _)| name == table).map(|(_, rows)| rows.as_slice());
            let places: Vec<String> =
                (1..=columns.split(',').count()).map(|place| format!("?{place}")).collect();
            let sql = format!("INSERT INTO {table} ({columns}) VALUES ({})", places.join(", "));
            for row in rows.unwrap_or_default() {
                self.grown()?.query(&sql, &row.0)?;
            }
        }
        // Nobody will report the end of a turn that is under way elsewhere.
        self.grown()?.query("UPDATE turns SET status = 'lost' WHERE status = 'pending'", &[])?;
        self.grown()?.query(
            "UPDATE turns SET id = iif(id GLOB 'post_*', 'post_', 'turn_') || ?1 || '_' || seq",
            &[token.into()],
        )?;
        self.grown()?.query(
            "UPDATE messages SET segment = NULL, covered = 0
             WHERE segment IS NOT NULL AND segment NOT IN (SELECT id FROM segments)",
            &[],
        )?;
        let inputs = self.grown()?.query("SELECT seq, role, content_hash FROM messages ORDER BY seq", &[])?;
        let mut chain: Option<String> = None;
        for (nth, row) in (0i64..).zip(&inputs) {
            let is_input = row.text(1) != "assistant";
            if is_input {
                chain = Some(chain_hash(chain.as_deref(), &row.text(2)));
            }
            self.grown()?.query(
                "UPDATE messages SET id = ?2, chain_hash = ?3 WHERE seq = ?1",
                &[
                    row.integer(0).into(),
                    format!("msg_{token}_{nth}").into(),
                    chain.clone().filter(|_| is_input).into(),
                ],
            )?;
        }
        Ok(())
    }

    /// Makes the messages of a segment free and raw again, and gives the numbers of its notes.
    pub fn release(&self, segment: i64) -> Result<Vec<i64>, D::Error> {
        self.grown()?
            .query("UPDATE messages SET segment = NULL, covered = 0 WHERE segment = ?1", &[segment.into()])?;
        self.grown()?.query("UPDATE segments SET state = 'superseded' WHERE id = ?1", &[segment.into()])?;
        Ok(self.notes_of(segment)?.into_iter().map(|note| note.id).collect())
    }
}
