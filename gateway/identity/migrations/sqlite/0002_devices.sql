-- +goose Up
-- Whose attempts a row counts: the hash of the account's name, so that one command can forget them all. Empty where it
-- counts an address, or was written before.
ALTER TABLE identity_attempts ADD COLUMN account TEXT NOT NULL DEFAULT '';
CREATE INDEX identity_attempts_account ON identity_attempts (account);

-- +goose Down
DROP INDEX identity_attempts_account;
ALTER TABLE identity_attempts DROP COLUMN account;
