-- What must be listed across objects. Conversations themselves live in the threads' Durable Objects.

CREATE TABLE projects (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  created_at INTEGER NOT NULL -- Unix milliseconds, here and below
) STRICT;

CREATE TABLE api_keys (
  hash TEXT PRIMARY KEY, -- SHA-256 of the whole key, lower-case hex; the key itself is stored nowhere
  id TEXT NOT NULL UNIQUE, -- public, for logs and management
  project_id TEXT NOT NULL REFERENCES projects (id),
  label TEXT NOT NULL,
  prefix TEXT NOT NULL, -- the first characters of the key, to recognise it by
  created_at INTEGER NOT NULL,
  revoked_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX api_keys_by_project ON api_keys (project_id, created_at);

CREATE TABLE resources (
  project_id TEXT NOT NULL,
  id TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (project_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE threads (
  project_id TEXT NOT NULL,
  id TEXT NOT NULL,
  resource_id TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (project_id, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX threads_by_resource ON threads (project_id, resource_id, updated_at);
