-- What was asked of providers before the one that answered, and what that cost.

ALTER TABLE ledger ADD COLUMN failed_attempts TEXT; -- a JSON array; NULL: none
