-- +goose Up
-- Whose a name is. Of names that several providers used before there was this table, the first one keeps it.
CREATE TABLE sandbox_names (
    name     TEXT PRIMARY KEY,
    provider TEXT NOT NULL
);
INSERT INTO sandbox_names (name, provider)
    SELECT v.name, coalesce(v.manifest::json ->> 'provider', '') FROM sandbox_versions v
    WHERE v.version = (SELECT min(w.version) FROM sandbox_versions w WHERE w.name = v.name);

-- What was taken in before there were reviews was never approved by anybody, so it waits for that.
ALTER TABLE sandbox_versions ADD COLUMN state TEXT NOT NULL DEFAULT 'waiting'
    CHECK (state IN ('waiting', 'approved', 'refused', 'withdrawn'));
ALTER TABLE sandbox_versions ADD COLUMN decided_at TIMESTAMPTZ;
ALTER TABLE sandbox_versions ADD COLUMN reason TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE sandbox_versions DROP COLUMN reason;
ALTER TABLE sandbox_versions DROP COLUMN decided_at;
ALTER TABLE sandbox_versions DROP COLUMN state;
DROP TABLE sandbox_names;
