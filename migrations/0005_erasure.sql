-- What is to be erased: a person's data, or a project's, piece by piece until nothing is left.

CREATE TABLE erasures (
  project_id TEXT NOT NULL,
  scope TEXT NOT NULL, -- resource or project
  digest TEXT NOT NULL, -- of the resource's id, which does not outlive the work; empty for a project
  resource_id TEXT, -- as long as there is work to do; NULL for a project
  requested_at INTEGER NOT NULL, -- Unix milliseconds; what was first used later stays
  finished_at INTEGER, -- NULL: there is work to do
  retry_at INTEGER NOT NULL, -- not to be carried on before
  threads INTEGER NOT NULL DEFAULT 0,
  messages INTEGER NOT NULL DEFAULT 0,
  notes INTEGER NOT NULL DEFAULT 0,
  jobs INTEGER NOT NULL DEFAULT 0,
  responses INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (project_id, scope, digest)
) STRICT, WITHOUT ROWID;

CREATE INDEX erasures_under_way ON erasures (retry_at) WHERE finished_at IS NULL;

-- Whose rows lose their names when somebody is forgotten.
CREATE INDEX ledger_by_thread ON ledger (project_id, thread_id) WHERE thread_id IS NOT NULL;
CREATE INDEX ledger_by_resource ON ledger (project_id, resource_id) WHERE resource_id IS NOT NULL;
