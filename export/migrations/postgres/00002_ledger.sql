-- +goose Up
CREATE TABLE export_ledger (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    operator    TEXT NOT NULL,
    domain      TEXT NOT NULL,
    job         TEXT NOT NULL,
    fingerprint BYTEA NOT NULL
);
CREATE INDEX export_ledger_operator ON export_ledger (operator, domain);

-- +goose Down
DROP TABLE export_ledger;
