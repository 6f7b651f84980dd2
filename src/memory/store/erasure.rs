//! Rows that go for good.
//!
//! Invariant: what a row held is written over before the row goes, and the index of words loses it with the row.

use super::{Store, to_json};
use crate::memory::database::Database;
use crate::memory::news::News;
use crate::memory::rewrite::{Copy, copy, paste};

/// A list in JSON is one parameter; so many go into one.
const AT_ONCE: usize = 10_000;

/// Tables that follow from messages and notes.
const DERIVED: &[&str] = &["search_progress", "unindexed_messages"];

/// A response that was made in the thread, and the chain whose object keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedResponse {
    /// The response's id.
    pub id: String,
    /// The chain.
    pub chain: String,
}

impl<D: Database> Store<D> {
    /// The places of the messages with these public ids, whatever became of them.
    pub fn places_of(&self, ids: &[String]) -> Result<Vec<i64>, D::Error> {
        self.numbers(
            "SELECT seq FROM messages WHERE id IN (SELECT value FROM json_each(?1)) ORDER BY seq",
            ids.chunks(AT_ONCE).map(|some| to_json(&some)),
        )
    }

    /// The places of messages that say the same as one of these and that a branch replaced: nobody can see and name them.
    pub fn replaced_twins(&self, seqs: &[i64]) -> Result<Vec<i64>, D::Error> {
        self.numbers(
            "SELECT seq FROM messages WHERE superseded_by IS NOT NULL AND content_hash IN (
                 SELECT content_hash FROM messages WHERE seq IN (SELECT value FROM json_each(?1))
             ) ORDER BY seq",
            seqs.chunks(AT_ONCE).map(|some| to_json(&some)),
        )
    }

    /// The segments that have claimed any of these messages.
    pub fn segments_claiming(&self, seqs: &[i64]) -> Result<Vec<i64>, D::Error> {
        self.numbers(
            "SELECT DISTINCT segment FROM messages
             WHERE segment > 0 AND seq IN (SELECT value FROM json_each(?1)) ORDER BY segment",
            seqs.chunks(AT_ONCE).map(|some| to_json(&some)),
        )
    }

    /// The notes that name any of these messages as a source, whatever became of them.
    pub fn notes_resting_on(&self, seqs: &[i64]) -> Result<Vec<i64>, D::Error> {
        self.numbers(
            "SELECT id FROM notes WHERE EXISTS (
                 SELECT 1 FROM json_each(notes.sources) AS source
                 WHERE source.value IN (SELECT value FROM json_each(?1))
             ) ORDER BY id",
            seqs.chunks(AT_ONCE).map(|some| to_json(&some)),
        )
    }

    /// The note that a reflector made of a note, if it did.
    pub fn rewritten_as(&self, note: i64) -> Result<Option<i64>, D::Error> {
        let rows = self.grown()?.query(
            "SELECT superseded_by FROM notes WHERE id = ?1 AND status = 'superseded' AND superseded_by IS NOT NULL",
            &[note.into()],
        )?;
        Ok(rows.first().map(|row| row.integer(0)))
    }

    /// Deletes notes. Their numbers are not used again; details of theirs stand alone from now on.
    pub fn erase_notes(&self, ids: &[i64]) -> Result<(), D::Error> {
        for some in ids.chunks(AT_ONCE) {
            for statement in [
                "UPDATE notes SET parent = NULL WHERE parent IN (SELECT value FROM json_each(?1))",
                "UPDATE notes SET text = substr(replace(hex(zeroblob(octet_length(text))), '0', ' '), 1, octet_length(text)),
                     key = NULL, sources = '[]'
                 WHERE id IN (SELECT value FROM json_each(?1))",
                "DELETE FROM notes WHERE id IN (SELECT value FROM json_each(?1))",
            ] {
                self.grown()?.query(statement, &[to_json(&some).into()])?;
            }
        }
        Ok(())
    }

    /// Deletes messages.
    pub fn erase_messages(&self, seqs: &[i64]) -> Result<(), D::Error> {
        for some in seqs.chunks(AT_ONCE) {
            for statement in [
                "UPDATE message_rest
                 SET body = substr(replace(hex(zeroblob(octet_length(body))), '0', ' '), 1, octet_length(body))
                 WHERE seq IN (SELECT value FROM json_each(?1))",
                "UPDATE messages
                 SET body = substr(replace(hex(zeroblob(octet_length(body))), '0', ' '), 1, octet_length(body))
                 WHERE seq IN (SELECT value FROM json_each(?1))",
                "DELETE FROM message_rest WHERE seq IN (SELECT value FROM json_each(?1))",
                "DELETE FROM messages WHERE seq IN (SELECT value FROM json_each(?1))",
                "DELETE FROM gaps WHERE seq IN (SELECT value FROM json_each(?1))",
            ] {
                self.grown()?.query(statement, &[to_json(&some).into()])?;
            }
        }
        self.compact_index()
    }

    /// The hash of all inputs before a place that no branch replaced.
    pub fn chain_before(&self, seq: i64) -> Result<Option<String>, D::Error> {
        let rows = self.grown()?.query(
            "SELECT chain_hash FROM messages
             WHERE seq < ?1 AND superseded_by IS NULL AND chain_hash IS NOT NULL ORDER BY seq DESC LIMIT 1",
            &[seq.into()],
        )?;
        Ok(rows.first().map(|row| row.text(0)))
    }

    /// The inputs from a place on that no branch replaced, with the hashes of their contents, in order.
    pub fn standing_inputs_from(&self, seq: i64) -> Result<Vec<(i64, String)>, D::Error> {
        let rows = self.grown()?.query(
            "SELECT seq, content_hash FROM messages
             WHERE seq >= ?1 AND superseded_by IS NULL AND chain_hash IS NOT NULL ORDER BY seq",
            &[seq.into()],
        )?;
        Ok(rows.iter().map(|row| (row.integer(0), row.text(1))).collect())
    }

    /// Writes hashes of all inputs up to a place; those of replaced inputs from `first` on are no hash any more.
    pub fn save_chains(&self, first: i64, chains: &[(i64, String)]) -> Result<(), D::Error> {
        self.grown()?.query(
            "UPDATE messages SET chain_hash = ''
             WHERE seq >= ?1 AND superseded_by IS NOT NULL AND chain_hash IS NOT NULL",
            &[first.into()],
        )?;
        for some in chains.chunks(AT_ONCE) {
            self.grown()?.query(
                "UPDATE messages SET chain_hash = anew.value ->> 1 FROM json_each(?1) AS anew
                 WHERE messages.seq = anew.value ->> 0",
                &[to_json(&some).into()],
            )?;
        }
        Ok(())
    }

    /// Deletes the log as it was before each rewrite.
    pub fn erase_generations(&self) -> Result<(), D::Error> {
        self.grown()?.run("DELETE FROM generation_log; DELETE FROM generations;")
    }

    /// Puts something else in the place of what the resource's object is to be told.
    pub fn repost(&self, id: i64, news: &News) -> Result<(), D::Error> {
        self.grown()?
            .query("UPDATE outbox SET body = ?2 WHERE id = ?1", &[id.into(), to_json(news).into()])
            .map(drop)
    }

    /// Remembers that a response was made in the thread, at `created_at` in Unix milliseconds.
    pub fn link_response(&self, linked: &LinkedResponse, created_at: u64) -> Result<(), D::Error> {
        self.database
            .query(
                "INSERT INTO linked_responses (id, chain, created_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                &[linked.id.as_str().into(), linked.chain.as_str().into(), created_at.into()],
            )
            .map(drop)
    }

    /// All responses that were made in the thread are to be deleted; gives how many there are.
    pub fn send_responses_away(&self) -> Result<u64, D::Error> {
        self.database.query("UPDATE linked_responses SET leaving = 1 WHERE leaving = 0", &[])?;
        let rows = self.database.query("SELECT count(*) FROM linked_responses WHERE leaving = 1", &[])?;
        Ok(rows.first().map_or(0, |row| row.unsigned(0)))
    }

    /// The responses that are to be deleted, at most `limit`.
    pub fn leaving_responses(&self, limit: u32) -> Result<Vec<LinkedResponse>, D::Error> {
        let rows = self.database.query(
            "SELECT id, chain FROM linked_responses WHERE leaving = 1 ORDER BY id LIMIT ?1",
            &[i64::from(limit).into()],
        )?;
        Ok(rows.iter().map(|row| LinkedResponse { id: row.text(0), chain: row.text(1) }).collect())
    }

    /// Knows no more of these responses.
    pub fn unlink_responses(&self, ids: &[String]) -> Result<(), D::Error> {
        self.database
            .query(
                "DELETE FROM linked_responses WHERE id IN (SELECT value FROM json_each(?1))",
                &[to_json(&ids).into()],
            )
            .map(drop)
    }

    /// The deletion of the thread that is under way, in JSON, if one is.
    pub fn departure(&self) -> Result<Option<String>, D::Error> {
        if !self.has_grown()? {
            return Ok(None);
        }
        Ok(self.database.query("SELECT body FROM departure", &[])?.first().map(|row| row.text(0)))
    }

    /// Keeps a deletion that is under way; `None` when it is over.
    pub fn save_departure(&self, body: Option<String>) -> Result<(), D::Error> {
        self.grown()?.run("DELETE FROM departure")?;
        match body {
            None => Ok(()),
            Some(body) => self
                .grown()?
                .query("INSERT INTO departure (one, body) VALUES (1, ?1)", &[body.into()])
                .map(drop),
        }
    }

    /// All rows but those of the index of words; `None` where they are more than fit into memory.
    pub fn copy(&self) -> Result<Option<Copy>, D::Error> {
        copy(self.grown()?, DERIVED)
    }

    /// Writes them into an empty storage. The index of words is made anew.
    pub fn paste(&self, rows: &Copy) -> Result<(), D::Error> {
        paste(self.grown()?, rows)?;
        self.undone();
        self.grown()?.run("UPDATE search_progress SET is_behind = 1")
    }

    fn numbers(&self, sql: &str, lists: impl Iterator<Item = String>) -> Result<Vec<i64>, D::Error> {
        let mut numbers = Vec::new();
        for list in lists {
            numbers.extend(self.grown()?.query(sql, &[list.into()])?.iter().map(|row| row.integer(0)));
        }
        Ok(numbers)
    }
}
