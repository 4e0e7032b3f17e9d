-- +goose Up
CREATE TABLE audit_entries (
	idx      BIGINT PRIMARY KEY,
	at       BIGINT NOT NULL,
	kind     TEXT   NOT NULL,
	grant_id TEXT   NOT NULL,
	job      TEXT   NOT NULL,
	object   TEXT   NOT NULL,
	leaf     BYTEA  NOT NULL
);
CREATE INDEX audit_entries_at     ON audit_entries (at, idx);
CREATE INDEX audit_entries_kind   ON audit_entries (kind, idx);
CREATE INDEX audit_entries_grant  ON audit_entries (grant_id, idx) WHERE grant_id <> '';
CREATE INDEX audit_entries_job    ON audit_entries (job, idx) WHERE job <> '';
CREATE INDEX audit_entries_object ON audit_entries (object, idx) WHERE object <> '';

CREATE TABLE audit_hashes (
	idx    BIGINT PRIMARY KEY,
	hashes BYTEA NOT NULL
);

CREATE TABLE audit_checkpoints (
	size BIGINT PRIMARY KEY,
	note BYTEA NOT NULL
);

CREATE TABLE audit_private (
	idx          BIGINT PRIMARY KEY,
	actor_salt   BYTEA,
	actor        TEXT,
	payload_salt BYTEA,
	payload      BYTEA
);
CREATE INDEX audit_private_actor ON audit_private (actor, idx);

-- These stop accidents. Whoever owns the database can drop them first; the Merkle tree is what shows that.
-- +goose StatementBegin
CREATE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$;
-- +goose StatementEnd
CREATE TRIGGER audit_entries_keep BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entries
	FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only();
CREATE TRIGGER audit_hashes_keep BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_hashes
	FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only();
CREATE TRIGGER audit_checkpoints_keep BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_checkpoints
	FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only();
CREATE TRIGGER audit_private_keep BEFORE UPDATE OR TRUNCATE ON audit_private
	FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only();
