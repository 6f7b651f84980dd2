-- What requests used and cost: a row for each, and sums by the hour that outlive them.

CREATE TABLE ledger (
  project_id TEXT NOT NULL,
  started_at INTEGER NOT NULL, -- Unix milliseconds
  id TEXT NOT NULL, -- ours, for every attempt to serve; clients may send one request_id twice
  kind TEXT NOT NULL, -- inference, or memory: the gateway's own calls of a model
  request_id TEXT NOT NULL, -- as the answer carries it; of memory's calls the cycle's id
  key_id TEXT NOT NULL, -- empty for memory's calls
  source TEXT NOT NULL, -- whose credential was used upstream
  endpoint TEXT NOT NULL,
  dialect TEXT NOT NULL,
  provider TEXT NOT NULL, -- empty where a request was refused before a route was found
  model TEXT NOT NULL, -- as the provider calls it
  operation TEXT NOT NULL, -- of memory's calls: observe, reflect
  is_stream INTEGER NOT NULL,
  outcome TEXT NOT NULL, -- pending until the end is known
  status_code INTEGER, -- as the client got it
  prompt_tokens INTEGER NOT NULL,
  completion_tokens INTEGER NOT NULL,
  reasoning_tokens INTEGER NOT NULL,
  cached_tokens INTEGER NOT NULL,
  cache_write_tokens INTEGER NOT NULL,
  estimated INTEGER NOT NULL, -- 1 where the provider did not say all of the counts
  cost_nano_usd INTEGER, -- NULL where nobody knows the price
  latency_ms INTEGER,
  ttft_ms INTEGER, -- until the first byte of a streamed answer
  attempts INTEGER NOT NULL,
  error TEXT,
  thread_id TEXT,
  resource_id TEXT,
  message_ids TEXT, -- a JSON array
  memory_tokens INTEGER NOT NULL, -- injected, estimated
  trace_id TEXT,
  swept INTEGER NOT NULL, -- 1 where a sweep closed the row because nobody told its end
  PRIMARY KEY (project_id, started_at, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX ledger_by_request ON ledger (project_id, request_id);

CREATE INDEX ledger_pending ON ledger (started_at) WHERE outcome = 'pending';

CREATE TABLE ledger_hours (
  project_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  hour INTEGER NOT NULL, -- its first millisecond, Unix
  provider TEXT NOT NULL,
  model TEXT NOT NULL,
  key_id TEXT NOT NULL,
  operation TEXT NOT NULL,
  requests INTEGER NOT NULL,
  unsuccessful INTEGER NOT NULL, -- of them, those whose outcome is not complete
  estimated INTEGER NOT NULL, -- of them, those with an estimate among their counts
  unpriced INTEGER NOT NULL, -- of them, those whose cost nobody knows
  prompt_tokens INTEGER NOT NULL,
  completion_tokens INTEGER NOT NULL,
  reasoning_tokens INTEGER NOT NULL,
  cached_tokens INTEGER NOT NULL,
  cache_write_tokens INTEGER NOT NULL,
  memory_tokens INTEGER NOT NULL,
  cost_nano_usd INTEGER NOT NULL, -- of those whose cost is known
  latency_ms INTEGER NOT NULL, -- the sum
  PRIMARY KEY (project_id, kind, hour, provider, model, key_id, operation)
) STRICT, WITHOUT ROWID;

-- Before this time (Unix milliseconds, a whole hour) the sums hold, from it on the rows themselves. One row.
CREATE TABLE ledger_state (rolled_until INTEGER NOT NULL) STRICT;

INSERT INTO ledger_state (rolled_until) VALUES (0);
