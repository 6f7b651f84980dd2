//! The index of words over messages and notes.
//!
//! It is made behind the turns, not in them: a turn only leaves messages that the index has not come to. The index holds
//! words and no texts; a message's row is its place, a note's row its number below zero.
//!
//! Invariant: what a message or note is indexed as follows from its text alone, so a row can be written any number of times.
//! What a branch replaced, or a note that left the log, is never found; a row that is deleted leaves the index with it.

use super::{Store, from_json, to_json};
use crate::memory::database::{Database, Row, Value};
use crate::memory::search::{Candidate, Place, Rarity, indexed, text_of};
use crate::turn::Message;

/// So much is indexed in one step: tens of milliseconds.
const STEP_ROWS: u32 = 500;
/// What is read at once, in characters, unless a single message has more.
const READ_CHARS: u64 = 1_000_000;
/// So many matches are weighed, of the rarest terms: tens of milliseconds.
const MAX_MATCHES: u64 = 20_000;
/// Relevance crosses the border as a whole number of millionths.
const MILLIONTHS: f64 = 1e6;

/// What of a message is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundMessage {
    /// Its place in the conversation.
    pub seq: i64,
    /// Its public id.
    pub id: String,
    /// When it was stored, in Unix milliseconds.
    pub created_at: u64,
    /// True for an answer that was cut short.
    pub incomplete: bool,
    /// The message.
    pub message: Message,
}

impl<D: Database> Store<D> {
    /// Takes the index a step further. True when more is left to do.
    pub fn index_words(&self) -> Result<bool, D::Error> {
        let (message, note, was_behind) = self.index_progress()?;
        let late = self.rows_to_index(
            "SELECT seq, length(body) FROM messages WHERE seq IN (SELECT seq FROM unindexed_messages)
             ORDER BY seq LIMIT ?1",
            &[i64::from(STEP_ROWS).into()],
        )?;
        let next = self.rows_to_index(
            "SELECT seq, length(body) FROM messages WHERE seq > ?2 ORDER BY seq LIMIT ?1",
            &[i64::from(STEP_ROWS).into(), message.into()],
        )?;
        self.index_messages(&late)?;
        self.index_messages(&next)?;
        if !late.is_empty() {
            let seqs: Vec<i64> = late.iter().map(|(seq, _)| *seq).collect();
            self.grown()?.query(
                "DELETE FROM unindexed_messages WHERE seq IN (SELECT value FROM json_each(?1))",
                &[to_json(&seqs).into()],
            )?;
        }
        let notes = self.grown()?.query(
            "SELECT id, text FROM notes WHERE id > ?2 ORDER BY id LIMIT ?1",
            &[i64::from(STEP_ROWS).into(), note.into()],
        )?;
        self.put_words(notes.iter().map(|row| (-row.integer(0), indexed(&row.text(1)))).collect())?;
        let full = STEP_ROWS as usize;
        let is_behind = [late.len(), next.len(), notes.len()].contains(&full);
        let reached = (
            next.last().map_or(message, |(seq, _)| *seq),
            notes.last().map_or(note, |row| row.integer(0)),
            is_behind,
        );
        if reached != (message, note, was_behind) {
            self.grown()?.query(
                "UPDATE search_progress SET message = ?1, note = ?2, is_behind = ?3",
                &[reached.0.into(), reached.1.into(), i64::from(is_behind).into()],
            )?;
        }
        Ok(is_behind)
    }

    fn index_progress(&self) -> Result<(i64, i64, bool), D::Error> {
        let rows = self.grown()?.query("SELECT message, note, is_behind FROM search_progress", &[])?;
        Ok(rows.first().map_or((0, 0, false), |row| (row.integer(0), row.integer(1), row.integer(2) != 0)))
    }

    fn rows_to_index(&self, sql: &str, values: &[Value]) -> Result<Vec<(i64, u64)>, D::Error> {
        Ok(self.grown()?.query(sql, values)?.iter().map(|row| (row.integer(0), row.unsigned(1))).collect())
    }

    /// Indexes the messages at these places, given with their lengths, so many at a time as memory allows.
    fn index_messages(&self, places: &[(i64, u64)]) -> Result<(), D::Error> {
        let mut group: Vec<i64> = Vec::new();
        let mut chars = 0;
        for (seq, length) in places {
            if !group.is_empty() && chars + length > READ_CHARS {
                self.index_group(&std::mem::take(&mut group))?;
                chars = 0;
            }
            group.push(*seq);
            chars += length;
        }
        if group.is_empty() { Ok(()) } else { self.index_group(&group) }
    }

    fn index_group(&self, seqs: &[i64]) -> Result<(), D::Error> {
        let messages = self.messages_at(seqs)?;
        self.put_words(messages.iter().map(|found| (found.seq, indexed(&text_of(&found.message)))).collect())
    }

    /// Writes the words of rows, given as place and text; those without any are passed over.
    pub(super) fn put_words(&self, rows: Vec<(i64, String)>) -> Result<(), D::Error> {
        let rows: Vec<(i64, String)> = rows.into_iter().filter(|(_, words)| !words.is_empty()).collect();
        if rows.is_empty() {
            return Ok(());
        }
        self.grown()?
            .query(
                "INSERT OR REPLACE INTO words (rowid, text)
                 SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?1)",
                &[to_json(&rows).into()],
            )
            .map(drop)
    }

    /// Writes the index anew in one piece, so that nothing is left in it of rows that were deleted.
    pub fn compact_index(&self) -> Result<(), D::Error> {
        self.grown()?.query("INSERT INTO words (words) VALUES ('optimize')", &[]).map(drop)
    }

    /// How rare the terms are among what is indexed.
    pub fn rarity(&self, terms: &[String]) -> Result<Rarity, D::Error> {
        let total = self.grown()?.query("SELECT count(*) FROM words_docsize", &[])?;
        let having = self.grown()?.query(
            "SELECT (SELECT count(*) FROM words WHERE words MATCH term.value) FROM json_each(?1) AS term ORDER BY term.key",
            &[to_json(&terms).into()],
        )?;
        Ok(Rarity {
            total: total.first().map_or(0, |row| row.unsigned(0)),
            having: having.iter().map(|row| row.unsigned(0)).collect(),
        })
    }

    /// The standing messages and live notes that have any of the terms, best first, at most `limit`. In a long
    /// thread the terms that very many have are not asked for, where rarer ones are.
    pub fn matching(
        &self,
        terms: &[String],
        rarity: &Rarity,
        limit: u32,
    ) -> Result<Vec<Candidate>, D::Error> {
        let most = rarity.most_common(MAX_MATCHES);
        let weights = rarity.weights();
        // The index weighs a term itself, by a rule that leaves the common ones nothing; that is taken out again.
        let asked: Vec<(usize, &String, f64, f64)> = (0..)
            .zip(terms)
            .zip(rarity.having.iter().zip(&weights))
            .filter(|(_, (having, _))| (1..=most).contains(*having))
            .map(|((at, term), (having, weight))| (at, term, rarity.own_weight(*having), *weight))
            .collect();
        let rows = self.grown()?.query(
            "WITH term AS MATERIALIZED (
                 SELECT json_extract(value, '$[0]') AS at, json_extract(value, '$[1]') AS expression,
                     json_extract(value, '$[2]') AS own, json_extract(value, '$[3]') AS weight FROM json_each(?1)
             ), share AS MATERIALIZED (
                 SELECT words.rowid AS place, term.at AS at, term.weight AS weight, -bm25(words) / term.own AS share
                 FROM term CROSS JOIN words WHERE words MATCH term.expression
             ), best AS MATERIALIZED (
                 SELECT place, sum(share * weight) AS score FROM share GROUP BY place
             ), standing AS MATERIALIZED (
                 SELECT place, score, coalesce(
                     (SELECT created_at FROM messages WHERE seq = place AND superseded_by IS NULL),
                     (SELECT said_at FROM notes WHERE id = -place AND status = 'active')
                 ) AS said FROM best WHERE said IS NOT NULL ORDER BY score DESC, abs(place) DESC LIMIT ?2
             ), told AS MATERIALIZED (
                 SELECT share.place AS place, said,
                     json_group_array(json_array(at, CAST(share * 1000000 AS INTEGER))) AS shares
                 FROM share JOIN standing ON standing.place = share.place GROUP BY share.place
             )
             SELECT place, said, shares,
                 (SELECT json_group_array(json_array(seq, created_at)) FROM (SELECT seq, created_at FROM messages
                  WHERE seq < place AND place > 0 AND superseded_by IS NULL ORDER BY seq DESC LIMIT 2)),
                 (SELECT json_group_array(json_array(seq, created_at)) FROM (SELECT seq, created_at FROM messages
                  WHERE seq > place AND place > 0 AND superseded_by IS NULL ORDER BY seq LIMIT 2))
             FROM told",
            &[to_json(&asked).into(), i64::from(limit).into()],
        )?;
        Ok(rows.iter().map(|row| read_candidate(row, terms.len())).collect())
    }

    /// The places of the standing messages around one, in order: at most `count` on each side, said within `within` ms of it.
    pub fn around(&self, seq: i64, count: u32, within: u64) -> Result<Vec<i64>, D::Error> {
        let rows = self.grown()?.query(
            "WITH it AS (SELECT created_at AS at FROM messages WHERE seq = ?1)
             SELECT seq FROM (
                 SELECT * FROM (SELECT seq, created_at FROM messages
                     WHERE seq < ?1 AND superseded_by IS NULL ORDER BY seq DESC LIMIT ?2)
                 UNION ALL SELECT * FROM (SELECT seq, created_at FROM messages
                     WHERE seq > ?1 AND superseded_by IS NULL ORDER BY seq LIMIT ?2)
             ), it WHERE abs(created_at - at) <= ?3 ORDER BY seq",
            &[seq.into(), i64::from(count).into(), within.into()],
        )?;
        Ok(rows.iter().map(|row| row.integer(0)).collect())
    }

    /// The places of a standing message and of those before and behind it, in order; none where it is not there.
    pub fn seqs_around(&self, id: &str, before: u32, behind: u32) -> Result<Vec<i64>, D::Error> {
        let found = self.grown()?.query(
            "SELECT seq FROM messages WHERE id = ?1 AND superseded_by IS NULL ORDER BY seq DESC LIMIT 1",
            &[id.into()],
        )?;
        let Some(seq) = found.first().map(|row| row.integer(0)) else { return Ok(Vec::new()) };
        let rows = self.grown()?.query(
            "SELECT seq FROM (
                 SELECT seq FROM messages WHERE seq < ?1 AND superseded_by IS NULL ORDER BY seq DESC LIMIT ?2
             )
             UNION ALL SELECT seq FROM (
                 SELECT seq FROM messages WHERE seq >= ?1 AND superseded_by IS NULL ORDER BY seq LIMIT ?3
             )
             ORDER BY 1",
            &[seq.into(), i64::from(before).into(), (i64::from(behind) + 1).into()],
        )?;
        Ok(rows.iter().map(|row| row.integer(0)).collect())
    }

    /// The messages at these places that no branch replaced, in order.
    pub fn messages_at(&self, seqs: &[i64]) -> Result<Vec<FoundMessage>, D::Error> {
        let rows = self.grown()?.query(
            "SELECT seq, id, created_at, incomplete, body FROM messages
             WHERE seq IN (SELECT value FROM json_each(?1)) AND superseded_by IS NULL ORDER BY seq",
            &[to_json(&seqs).into()],
        )?;
        rows.iter()
            .map(|row| {
                Ok(FoundMessage {
                    seq: row.integer(0),
                    id: row.text(1),
                    created_at: row.unsigned(2),
                    incomplete: row.integer(3) != 0,
                    message: self.read_body(row.integer(0), row.text(4))?,
                })
            })
            .collect()
    }
}

fn read_candidate(row: &Row, terms: usize) -> Candidate {
    let mut shares = vec![0.0; terms];
    let told: Vec<(usize, i64)> = from_json(&row.text(2)).unwrap_or_default();
    for (at, share) in told {
        if let Some(slot) = shares.get_mut(at) {
            *slot = share.max(1) as f64 / MILLIONTHS;
        }
    }
    let around = |column| {
        let mut places = from_json::<Vec<(i64, u64)>>(&row.text(column)).unwrap_or_default().into_iter();
        [places.next(), places.next()]
    };
    let place = row.integer(0);
    Candidate {
        place: if place < 0 { Place::Note(-place) } else { Place::Message(place) },
        at: row.unsigned(1),
        shares,
        neighbours: [around(3), around(4)],
    }
}
