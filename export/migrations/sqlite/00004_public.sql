-- +goose Up
-- Public parts of questions that depended on secrets, encrypted; entries are only ever added.
CREATE TABLE export_public (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    operator TEXT NOT NULL,
    domain   TEXT NOT NULL,
    job      TEXT NOT NULL,
    sketch   BLOB NOT NULL
);
CREATE INDEX export_public_operator ON export_public (operator, domain, id);

-- +goose Down
DROP TABLE export_public;
