-- +goose Up
CREATE TABLE export_releases (
    id         TEXT PRIMARY KEY,
    grant_id   TEXT NOT NULL,
    operator   TEXT NOT NULL,
    subject    TEXT NOT NULL,
    mode       TEXT NOT NULL,
    state      TEXT NOT NULL,
    sql        TEXT NOT NULL,
    literals   TEXT NOT NULL,
    checks     TEXT NOT NULL,
    cells      INTEGER NOT NULL,
    result     TEXT NOT NULL,
    asked_at   TIMESTAMPTZ NOT NULL,
    decided_at TIMESTAMPTZ,
    officer    TEXT NOT NULL DEFAULT '',
    reason     TEXT NOT NULL DEFAULT ''
);
CREATE INDEX export_releases_state ON export_releases (state, asked_at);
CREATE INDEX export_releases_grant ON export_releases (grant_id, asked_at);

-- +goose Down
DROP TABLE export_releases;
