-- Who may do what: projects' settings, keys' rules, providers' credentials.

ALTER TABLE projects ADD COLUMN settings TEXT NOT NULL DEFAULT '{}'; -- JSON, checked when it was set
ALTER TABLE projects ADD COLUMN budget TEXT; -- JSON; NULL: none
ALTER TABLE projects ADD COLUMN updated_at INTEGER NOT NULL DEFAULT 0; -- 0: never changed
-- The id of a deleted project is never given again: its conversations' objects are named after it.
ALTER TABLE projects ADD COLUMN deleted_at INTEGER;

ALTER TABLE api_keys ADD COLUMN disabled INTEGER NOT NULL DEFAULT 0; -- 0 or 1
ALTER TABLE api_keys ADD COLUMN expires_at INTEGER; -- NULL: never
ALTER TABLE api_keys ADD COLUMN models TEXT; -- JSON array of patterns; NULL: all
ALTER TABLE api_keys ADD COLUMN endpoints TEXT; -- JSON array of names; NULL: all
ALTER TABLE api_keys ADD COLUMN limits TEXT NOT NULL DEFAULT '{}'; -- JSON: what differs from the deployment's
ALTER TABLE api_keys ADD COLUMN budget TEXT; -- JSON; NULL: none
ALTER TABLE api_keys ADD COLUMN updated_at INTEGER NOT NULL DEFAULT 0; -- 0: never changed

CREATE TABLE bindings (
  project_id TEXT NOT NULL REFERENCES projects (id),
  key_id TEXT NOT NULL, -- '' for the project's own
  provider TEXT NOT NULL,
  sealed TEXT NOT NULL, -- the credential under a master key; opens in this row only
  hint TEXT NOT NULL, -- its last characters, to recognise it by
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (project_id, key_id, provider)
) STRICT, WITHOUT ROWID;
