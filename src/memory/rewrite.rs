//! Writing a database anew, so that no bytes of deleted rows stay in its file.
//!
//! SQLite leaves the bytes of a deleted row where they were until something else needs the room, and the platform lets nobody
//! say otherwise (`secure_delete`) or pack the file (`VACUUM`). Only a database that is deleted as a whole leaves nothing.
//!
//! Invariant: what is pasted into an empty database of the same schema has the rows that were copied, and gives no number again
//! that was given before. Only tables that hold nothing but whole numbers and texts can be copied.

use super::database::{Database, Row, Value};

/// The most bytes of texts that are copied: what an object has in memory at once.
pub const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// What is in a database.
#[derive(Clone, Debug, PartialEq)]
pub struct Copy {
    tables: Vec<(String, Vec<Row>)>,
    /// The highest number that was ever given, of tables whose numbers are never given again.
    numbers: Vec<Row>,
}

/// Copies all tables but those that are `derived` from others. `None` where they hold more than [`MAX_BYTES`].
pub fn copy<D: Database>(database: &D, derived: &[&str]) -> Result<Option<Copy>, D::Error> {
    let mut tables = Vec::new();
    let mut bytes = 0;
    for name in names(database)? {
        if derived.contains(&name.as_str()) {
            continue;
        }
        bytes += size(database, &name)?;
        if bytes > MAX_BYTES {
            return Ok(None);
        }
        let rows = database.query(&format!("SELECT * FROM \"{name}\""), &[])?;
        tables.push((name, rows));
    }
    let counts = "SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_sequence'";
    let counted = database.query(counts, &[])?.first().is_some_and(|row| row.integer(0) > 0);
    let numbers =
        if counted { database.query("SELECT name, seq FROM sqlite_sequence", &[])? } else { Vec::new() };
    Ok(Some(Copy { tables, numbers }))
}

/// Writes what was copied into an empty database whose tables are there.
pub fn paste<D: Database>(database: &D, copy: &Copy) -> Result<(), D::Error> {
    let known = names(database)?;
    for (name, rows) in copy.tables.iter().filter(|(name, _)| known.contains(name)) {
        database.query(&format!("DELETE FROM \"{name}\""), &[])?;
        for row in rows {
            let places: Vec<String> = (1..=row.0.len()).map(|place| format!("?{place}")).collect();
            database.query(&format!("INSERT INTO \"{name}\" VALUES ({})", places.join(", ")), &row.0)?;
        }
    }
    for row in &copy.numbers {
        let values: Vec<Value> = row.0.clone();
        database.query("DELETE FROM sqlite_sequence WHERE name = ?1", &[row.text(0).into()])?;
        database.query("INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)", &values)?;
    }
    Ok(())
}

/// The tables, without the platform's (`_…`) and SQLite's own, indices of words, and the records of the schema's versions.
fn names<D: Database>(database: &D) -> Result<Vec<String>, D::Error> {
    let rows = database.query(
        "SELECT name FROM sqlite_master AS t
         WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE '\\_%' ESCAPE '\\'
           AND name NOT LIKE '%migrations' AND sql NOT LIKE 'CREATE VIRTUAL%'
           AND NOT EXISTS (
             SELECT 1 FROM sqlite_master AS v WHERE v.sql LIKE 'CREATE VIRTUAL%' AND t.name LIKE v.name || '\\_%' ESCAPE '\\'
           )
         ORDER BY name",
        &[],
    )?;
    Ok(rows.iter().map(|row| row.text(0)).collect())
}

/// The bytes of a table's columns.
fn size<D: Database>(database: &D, table: &str) -> Result<u64, D::Error> {
    let columns = database.query("SELECT name FROM pragma_table_info(?1)", &[table.into()])?;
    let sizes: Vec<String> =
        columns.iter().map(|row| format!("coalesce(octet_length(\"{}\"), 0)", row.text(0))).collect();
    let sum = format!("SELECT coalesce(sum({}), 0) FROM \"{table}\"", sizes.join(" + "));
    Ok(database.query(&sum, &[])?.first().map_or(0, |row| row.unsigned(0)))
}
