-- +goose Up
-- Counts that were withheld for being small are kept too: totals that leave them no room are not released.
ALTER TABLE export_cells ADD COLUMN withheld BOOLEAN NOT NULL DEFAULT FALSE;

-- +goose Down
ALTER TABLE export_cells DROP COLUMN withheld;
