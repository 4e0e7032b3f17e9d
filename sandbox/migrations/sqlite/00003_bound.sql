-- +goose Up

-- The vault that this store belongs to, and how often its files were changed.
CREATE TABLE sandbox_vault (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    id      TEXT    NOT NULL,
    changes INTEGER NOT NULL
);

-- +goose Down
DROP TABLE sandbox_vault;
