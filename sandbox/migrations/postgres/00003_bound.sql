-- +goose Up

-- The vault that this store belongs to, and how often its files were changed.
CREATE TABLE sandbox_vault (
    one     SMALLINT PRIMARY KEY CHECK (one = 1),
    id      TEXT    NOT NULL,
    changes BIGINT NOT NULL
);

-- +goose Down
DROP TABLE sandbox_vault;
