//! The tables of a thread: the few that every turn needs, and those that only a thread needs which has grown.
//!
//! Most threads stay short. A table or index costs each of them a page of 4 kB and a good part of the time that its first turn
//! takes, so those for notes, search and the like are made when they are first written to or searched, at the latest in the
//! turn [`GROWN_BY`].
//!
//! Invariant: what is asked of a table that is not there yet is answered as if it were empty; both lists of scripts are only
//! ever appended to.

use super::Store;
use crate::memory::database::Database;
use crate::memory::schema::migrate;

/// By this turn a thread has all tables, and by this many messages of one: without their indices it is read from end to end.
pub const GROWN_BY: i64 = 16;

/// What every turn needs.
const TABLES: &[&str] = &["
    CREATE TABLE thread (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        project TEXT NOT NULL, id TEXT NOT NULL, resource TEXT NOT NULL,
        created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
        indexed_at INTEGER, index_retry_at INTEGER,
        title TEXT, metadata TEXT -- JSON
    ) STRICT;
    CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), body TEXT NOT NULL) STRICT;
    CREATE TABLE tombstone (one INTEGER PRIMARY KEY CHECK (one = 1), deleted_at INTEGER NOT NULL) STRICT;
    CREATE TABLE turns (
        seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, status TEXT NOT NULL,
        started_at INTEGER NOT NULL, finished_at INTEGER, messages INTEGER NOT NULL,
        superseded_by INTEGER, provider TEXT, model TEXT, usage TEXT, stop TEXT
    ) STRICT;
    CREATE INDEX pending_turns ON turns (started_at) WHERE status = 'pending';
    CREATE TABLE messages (
        seq INTEGER PRIMARY KEY, id TEXT NOT NULL, role TEXT NOT NULL,
        content_hash TEXT NOT NULL, chain_hash TEXT, incomplete INTEGER NOT NULL,
        created_at INTEGER NOT NULL, tokens INTEGER NOT NULL, superseded_by INTEGER,
        segment INTEGER, -- the segment that has claimed it; -1 once a branch replaced it unclaimed
        covered INTEGER NOT NULL DEFAULT 0, -- 1 while the notes of an active segment stand for it
        body TEXT NOT NULL -- last, because the columns behind a long text are slow to read
    ) STRICT;
    CREATE INDEX inputs_by_chain ON messages (chain_hash) WHERE chain_hash IS NOT NULL;
    CREATE INDEX inputs_by_content ON messages (content_hash) WHERE chain_hash IS NOT NULL;
    CREATE INDEX superseded_messages ON messages (superseded_by, seq) WHERE superseded_by IS NOT NULL;
    -- Stored responses that were made in the thread: they go when it goes.
    CREATE TABLE linked_responses (
        id TEXT PRIMARY KEY, chain TEXT NOT NULL, created_at INTEGER NOT NULL,
        leaving INTEGER NOT NULL DEFAULT 0 -- 1 once it is to be deleted
    ) STRICT, WITHOUT ROWID;
"];

/// What a thread needs that has grown.
const MORE_TABLES: &[&str] = &["
    CREATE INDEX raw_messages ON messages (seq) WHERE covered = 0 AND superseded_by IS NULL;
    CREATE INDEX unclaimed_messages ON messages (seq) WHERE segment IS NULL;
    CREATE INDEX messages_by_segment ON messages (segment, seq) WHERE segment IS NOT NULL;
    CREATE INDEX messages_by_id ON messages (id);
    CREATE INDEX leaving_responses ON linked_responses (id) WHERE leaving = 1;
    CREATE TABLE message_rest (
        seq INTEGER NOT NULL, part INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (seq, part)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE segments (
        id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, state TEXT NOT NULL, cycle TEXT UNIQUE,
        seq_from INTEGER NOT NULL, seq_to INTEGER NOT NULL, tokens INTEGER NOT NULL,
        attempt INTEGER NOT NULL, level INTEGER NOT NULL, not_before INTEGER NOT NULL, lease_until INTEGER,
        planned_at INTEGER NOT NULL, ready_at INTEGER, activated_at INTEGER,
        provider TEXT, model TEXT, tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL,
        error TEXT, script TEXT
    ) STRICT;
    CREATE INDEX segments_by_state ON segments (state, id);
    CREATE TABLE notes (
        id INTEGER PRIMARY KEY AUTOINCREMENT, segment INTEGER NOT NULL, parent INTEGER,
        priority TEXT NOT NULL, speaker TEXT NOT NULL, said_at INTEGER NOT NULL, refers TEXT, key TEXT,
        text TEXT NOT NULL, sources TEXT NOT NULL, last_source INTEGER NOT NULL, tokens INTEGER NOT NULL,
        status TEXT NOT NULL, superseded_by INTEGER, frozen INTEGER NOT NULL DEFAULT 0, created_at INTEGER NOT NULL,
        corrected_at INTEGER -- when the thread's owner put it right; from then on no model changes it
    ) STRICT;
    CREATE INDEX notes_by_status ON notes (status, id);
    CREATE INDEX unfrozen_notes ON notes (status, id) WHERE frozen = 0;
    CREATE INDEX notes_by_segment ON notes (segment, id);
    CREATE INDEX notes_by_successor ON notes (superseded_by) WHERE superseded_by IS NOT NULL;
    CREATE TABLE render (
        ord INTEGER PRIMARY KEY, segment INTEGER NOT NULL, last_day TEXT, bytes TEXT NOT NULL
    ) STRICT;
    CREATE TABLE gaps (seq INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;
    CREATE TABLE outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL) STRICT;
    -- The log as it was before each rewrite: how it stood, and its text in pieces.
    CREATE TABLE generations (
        generation INTEGER PRIMARY KEY, created_at INTEGER NOT NULL, body TEXT NOT NULL
    ) STRICT;
    CREATE TABLE generation_log (
        generation INTEGER NOT NULL, part INTEGER NOT NULL, text TEXT NOT NULL, PRIMARY KEY (generation, part)
    ) STRICT, WITHOUT ROWID;
    -- A deletion of the thread of which not everybody was told yet, in JSON.
    CREATE TABLE departure (one INTEGER PRIMARY KEY CHECK (one = 1), body TEXT NOT NULL) STRICT;
    -- Requests that a client may send twice, each by its key: which turn it became, and its answer where that was whole.
    CREATE TABLE idempotency_keys (
        key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, turn TEXT NOT NULL, claimed_at INTEGER NOT NULL, answer TEXT
    ) STRICT;
    CREATE INDEX idempotency_keys_by_age ON idempotency_keys (claimed_at);
    -- Words of messages and notes. Marks (Mn, Mc) are parts of words: Indian scripts write vowels with them.
    CREATE VIRTUAL TABLE words USING fts5(
        text, content = '', contentless_delete = 1,
        tokenize = \"porter unicode61 remove_diacritics 2 categories 'L* N* Co Mn Mc'\"
    );
    CREATE TABLE search_progress (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        message INTEGER NOT NULL, note INTEGER NOT NULL, is_behind INTEGER NOT NULL
    ) STRICT;
    INSERT INTO search_progress (one, message, note, is_behind) VALUES (1, 0, 0, 0);
    -- Answers that came when the index had already passed their places.
    CREATE TABLE unindexed_messages (seq INTEGER PRIMARY KEY) STRICT;
    CREATE TRIGGER message_behind_index AFTER INSERT ON messages
    WHEN NEW.seq <= (SELECT message FROM search_progress) BEGIN
        INSERT OR IGNORE INTO unindexed_messages (seq) VALUES (NEW.seq);
    END;
    CREATE TRIGGER message_leaves_index AFTER DELETE ON messages BEGIN
        DELETE FROM words WHERE rowid = OLD.seq;
        DELETE FROM unindexed_messages WHERE seq = OLD.seq;
    END;
    CREATE TRIGGER note_leaves_index AFTER DELETE ON notes BEGIN
        DELETE FROM words WHERE rowid = -OLD.id;
    END;
"];

/// Where the versions of [`MORE_TABLES`] stand.
const MORE_MIGRATIONS: &str = "more_migrations";

/// A thread that had all tables from its first turn counted the versions of both lists as one.
const RENUMBER: &str = "
    CREATE TABLE more_migrations (version INTEGER PRIMARY KEY) STRICT;
    INSERT INTO more_migrations (version) VALUES (1);
    DELETE FROM migrations WHERE version > 1;
";

impl<D: Database> Store<D> {
    /// Brings the tables up to date that are there.
    pub(super) fn bring_up_to_date(&self) -> Result<(), D::Error> {
        let found = self.database.query(
            "SELECT count(*) FROM sqlite_master WHERE name IN ('idempotency_keys', ?1)",
            &[MORE_MIGRATIONS.into()],
        )?;
        let has_other_numbers = found.first().is_some_and(|row| row.integer(0) == 1);
        if has_other_numbers {
            self.database.run(RENUMBER)?;
        }
        migrate(&self.database, "migrations", TABLES)?;
        if self.has_grown()? {
            migrate(&self.database, MORE_MIGRATIONS, MORE_TABLES)?;
        }
        Ok(())
    }

    /// True when all tables are there.
    pub fn has_grown(&self) -> Result<bool, D::Error> {
        if let Some(known) = self.has_grown.get() {
            return Ok(known);
        }
        let sql = "SELECT count(*) FROM sqlite_master WHERE name = ?1";
        let rows = self.database.query(sql, &[MORE_MIGRATIONS.into()])?;
        let has_grown = rows.first().is_some_and(|row| row.integer(0) > 0);
        self.has_grown.set(Some(has_grown));
        Ok(has_grown)
    }

    /// The database with all tables; those that are missing are made.
    pub fn grown(&self) -> Result<&D, D::Error> {
        if !self.has_grown()? {
            migrate(&self.database, MORE_MIGRATIONS, MORE_TABLES)?;
            self.has_grown.set(Some(true));
        }
        Ok(&self.database)
    }
}
