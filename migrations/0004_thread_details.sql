-- What the list of threads shows.

ALTER TABLE threads ADD COLUMN title TEXT; -- NULL: none
ALTER TABLE threads ADD COLUMN metadata TEXT; -- JSON; NULL: none

CREATE INDEX threads_by_use ON threads (project_id, updated_at);
