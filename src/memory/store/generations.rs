//! The log as it was before each rewrite.
//!
//! Invariant: a generation is written once, as it ends; of what is forgotten later its text goes, and that it was stays.

use super::{Store, from_json, to_json};
use crate::memory::database::Database;
use crate::memory::record::Record;
use crate::memory::schema::pieces;

impl<D: Database> Store<D> {
    /// Keeps a generation that ends.
    pub fn add_generation(&self, record: &Record) -> Result<(), D::Error> {
        let generation = record.reflections;
        self.grown()?.query(
            "INSERT OR REPLACE INTO generations (generation, created_at, body) VALUES (?1, ?2, ?3)",
            &[
                generation.into(),
                record.created_at.into(),
                to_json(&Record { log: None, ..record.clone() }).into(),
            ],
        )?;
        for (part, piece) in (0i64..).zip(record.log.iter().flat_map(|log| pieces(log))) {
            self.grown()?.query(
                "INSERT OR REPLACE INTO generation_log (generation, part, text) VALUES (?1, ?2, ?3)",
                &[generation.into(), part.into(), piece.into()],
            )?;
        }
        Ok(())
    }

    /// When the newest generation ended, in Unix milliseconds.
    pub fn last_generation_ended(&self) -> Result<Option<u64>, D::Error> {
        let rows =
            self.grown()?.query("SELECT body FROM generations ORDER BY generation DESC LIMIT 1", &[])?;
        let record = rows.first().and_then(|row| from_json::<Record>(&row.text(0)));
        Ok(record.map(|record| record.updated_at))
    }

    /// Generations that began in a time, newest first.
    pub fn generations(
        &self,
        (from, to): (u64, u64),
        limit: u32,
        offset: u32,
    ) -> Result<Vec<Record>, D::Error> {
        let rows = self.grown()?.query(
            "SELECT generation, body FROM generations WHERE created_at >= ?1 AND created_at <= ?2
             ORDER BY generation DESC LIMIT ?3 OFFSET ?4",
            &[from.into(), to.into(), i64::from(limit).into(), i64::from(offset).into()],
        )?;
        let mut out = Vec::with_capacity(rows.len());
        for row in rows {
            if let Some(record) = from_json::<Record>(&row.text(1)) {
                out.push(Record { log: self.generation_log(row.integer(0))?, ..record });
            }
        }
        Ok(out)
    }

    fn generation_log(&self, generation: i64) -> Result<Option<String>, D::Error> {
        let rows = self.grown()?.query(
            "SELECT text FROM generation_log WHERE generation = ?1 ORDER BY part",
            &[generation.into()],
        )?;
        let log: String = rows.iter().map(|row| row.text(0)).collect();
        Ok(Some(log).filter(|log| !log.is_empty()))
    }

    /// Takes the text out of the generations that say any of these.
    pub fn forget_in_generations(&self, texts: &[String]) -> Result<(), D::Error> {
        let rows = self.grown()?.query("SELECT DISTINCT generation FROM generation_log", &[])?;
        for generation in rows.iter().map(|row| row.integer(0)) {
            let log = self.generation_log(generation)?.unwrap_or_default();
            if texts.iter().any(|text| log.contains(text)) {
                self.grown()?
                    .query("DELETE FROM generation_log WHERE generation = ?1", &[generation.into()])?;
            }
        }
        Ok(())
    }
}
