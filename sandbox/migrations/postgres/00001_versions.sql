-- +goose Up
CREATE TABLE sandbox_versions (
    name     TEXT    NOT NULL,
    version  INTEGER NOT NULL CHECK (version > 0),
    rows     BIGINT  NOT NULL CHECK (rows > 0),
    hash     TEXT    NOT NULL,
    manifest TEXT    NOT NULL,
    taken_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (name, version)
);

-- +goose Down
DROP TABLE sandbox_versions;
