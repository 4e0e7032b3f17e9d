-- +goose Up
CREATE TABLE export_ledger (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    operator    TEXT NOT NULL,
    domain      TEXT NOT NULL,
    job         TEXT NOT NULL,
    fingerprint BLOB NOT NULL
);
CREATE INDEX export_ledger_operator ON export_ledger (operator, domain);

-- +goose Down
DROP TABLE export_ledger;
