-- +goose Up
CREATE TABLE sandbox_keys (
    purpose TEXT PRIMARY KEY,
    master  TEXT NOT NULL,
    wrapped BLOB NOT NULL,
    made_at TIMESTAMP NOT NULL
);

-- How often a version's file was sealed; 0 is one that lies in the clear, from before files were sealed.
ALTER TABLE sandbox_versions ADD COLUMN sealing INTEGER NOT NULL DEFAULT 0;

CREATE TABLE sandbox_kept (
    workspace TEXT    NOT NULL,
    name      TEXT    NOT NULL,
    version   INTEGER NOT NULL CHECK (version > 0),
    rows      INTEGER NOT NULL,
    bytes     INTEGER NOT NULL CHECK (bytes > 0),
    hash      TEXT    NOT NULL,
    columns   TEXT    NOT NULL,
    most_rows TEXT    NOT NULL,
    manifest  BLOB NOT NULL,
    job       TEXT    NOT NULL,
    made_at   TIMESTAMP NOT NULL,
    PRIMARY KEY (workspace, name)
);

-- +goose Down
DROP TABLE sandbox_kept;
ALTER TABLE sandbox_versions DROP COLUMN sealing;
DROP TABLE sandbox_keys;
