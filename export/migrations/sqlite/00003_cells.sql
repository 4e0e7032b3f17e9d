-- +goose Up
-- Fingerprints have another form now, and one cannot be made from the other.
DROP TABLE export_ledger;
CREATE TABLE export_cells (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    operator    TEXT NOT NULL,
    domain      TEXT NOT NULL,
    job         TEXT NOT NULL,
    fingerprint BLOB NOT NULL
);
CREATE INDEX export_cells_operator ON export_cells (operator, domain, id);

-- +goose Down
DROP TABLE export_cells;
