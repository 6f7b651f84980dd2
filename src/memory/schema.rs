//! Tables that grow with the Worker's versions, and texts longer than a row.
//!
//! Invariant: a schema's scripts are only ever appended to: objects of several versions of the Worker share a schema
//! while a rollout lasts.

use super::database::Database;

/// A row holds at most 2 MB on the platform: <https://developers.cloudflare.com/durable-objects/platform/limits/>.
const BYTES_PER_ROW: usize = 1_000_000;

/// Brings the tables up to date; the table `migrations` remembers how far a database has come with these scripts.
pub fn migrate<D: Database>(database: &D, migrations: &str, scripts: &[&str]) -> Result<(), D::Error> {
    database.query(
        &format!("CREATE TABLE IF NOT EXISTS {migrations} (version INTEGER PRIMARY KEY) STRICT"),
        &[],
    )?;
    let rows = database.query(&format!("SELECT coalesce(max(version), 0) FROM {migrations}"), &[])?;
    let done = rows.first().map_or(0, |row| row.integer(0));
    for (version, script) in (1i64..).zip(scripts).filter(|(version, _)| *version > done) {
        database.run(script)?;
        database.query(&format!("INSERT INTO {migrations} (version) VALUES (?1)"), &[version.into()])?;
    }
    Ok(())
}

/// True when there are tables at all; looking makes none.
pub fn exists<D: Database>(database: &D) -> Result<bool, D::Error> {
    let found = database.query("SELECT count(*) FROM sqlite_master WHERE name = 'migrations'", &[])?;
    Ok(found.first().is_some_and(|row| row.integer(0) > 0))
}

/// A text in pieces that fit into a row each, cut between characters; at least one.
pub fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let cut = text.floor_char_boundary(BYTES_PER_ROW);
        let (piece, more) = text.split_at(cut);
        rest = Some(more).filter(|more| !more.is_empty());
        Some(piece)
    })
}

/// True for a piece so long that others may follow it.
pub fn may_go_on(piece: &str) -> bool {
    piece.len() + 4 > BYTES_PER_ROW
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_cut_between_characters_and_make_the_text_again() {
        for text in ["", "short", &format!("a{}", "é".repeat(1_250_000))] {
            let cut: Vec<&str> = pieces(text).collect();
            assert_eq!(cut.concat(), text);
            assert_eq!(cut.len(), 1 + text.len() / (BYTES_PER_ROW + 1));
            let (last, before) = cut.split_last().unwrap();
            assert!(before.iter().all(|piece| may_go_on(piece)) && !may_go_on(last));
        }
    }
}
