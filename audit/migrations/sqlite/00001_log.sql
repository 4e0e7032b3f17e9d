-- +goose Up
CREATE TABLE audit_entries (
	idx      INTEGER PRIMARY KEY,
	at       INTEGER NOT NULL,
	kind     TEXT    NOT NULL,
	grant_id TEXT    NOT NULL,
	job      TEXT    NOT NULL,
	object   TEXT    NOT NULL,
	leaf     BLOB    NOT NULL
) STRICT;
CREATE INDEX audit_entries_at     ON audit_entries (at, idx);
CREATE INDEX audit_entries_kind   ON audit_entries (kind, idx);
CREATE INDEX audit_entries_grant  ON audit_entries (grant_id, idx) WHERE grant_id <> '';
CREATE INDEX audit_entries_job    ON audit_entries (job, idx) WHERE job <> '';
CREATE INDEX audit_entries_object ON audit_entries (object, idx) WHERE object <> '';

CREATE TABLE audit_hashes (
	idx    INTEGER PRIMARY KEY,
	hashes BLOB NOT NULL
) STRICT;

CREATE TABLE audit_checkpoints (
	size INTEGER PRIMARY KEY,
	note BLOB NOT NULL
) STRICT;

CREATE TABLE audit_private (
	idx          INTEGER PRIMARY KEY,
	actor_salt   BLOB,
	actor        TEXT,
	payload_salt BLOB,
	payload      BLOB
) STRICT;
CREATE INDEX audit_private_actor ON audit_private (actor, idx);

-- These stop accidents. Whoever can write to the database can drop them first; the Merkle tree is what shows that.
-- +goose StatementBegin
CREATE TRIGGER audit_entries_keep BEFORE DELETE ON audit_entries
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_entries_fix BEFORE UPDATE ON audit_entries
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_hashes_keep BEFORE DELETE ON audit_hashes
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_hashes_fix BEFORE UPDATE ON audit_hashes
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_checkpoints_keep BEFORE DELETE ON audit_checkpoints
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_checkpoints_fix BEFORE UPDATE ON audit_checkpoints
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_private_fix BEFORE UPDATE ON audit_private
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
-- +goose StatementEnd
