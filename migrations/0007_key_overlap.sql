-- A key that was rotated may still be used by its secret of before, for a while.

ALTER TABLE api_keys ADD COLUMN previous_hash TEXT; -- of that secret, as `hash`; NULL: it stopped at once
ALTER TABLE api_keys ADD COLUMN previous_until INTEGER; -- from when on it is no longer valid

CREATE UNIQUE INDEX api_keys_by_previous_hash ON api_keys (previous_hash) WHERE previous_hash IS NOT NULL;
