-- +goose Up
-- How much each part of the units gives to a sum is kept too: what is left of a total beside other sums must not be one unit's. So is,
-- of a set that a secret chose, how many could have been chosen: what is left of two must be neither nobody nor everybody.
ALTER TABLE export_cells ADD COLUMN family TEXT NOT NULL DEFAULT '';
ALTER TABLE export_cells ADD COLUMN mass BYTEA;
ALTER TABLE export_cells ADD COLUMN public BYTEA;

-- +goose Down
ALTER TABLE export_cells DROP COLUMN public;
ALTER TABLE export_cells DROP COLUMN mass;
ALTER TABLE export_cells DROP COLUMN family;
