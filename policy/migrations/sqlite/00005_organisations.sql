-- +goose Up
-- Accounts, grants and data sets refer to an organisation by id. Of active ones, no two names are alike.
CREATE TABLE policy_organisations (
    id           TEXT PRIMARY KEY,
    canonical    TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('active', 'waiting', 'merged')),
    first_person TEXT NOT NULL,
    merged_into  TEXT NOT NULL,
    created_at   INTEGER NOT NULL
);
CREATE UNIQUE INDEX policy_organisations_canonical ON policy_organisations (canonical) WHERE state = 'active';

-- What an organisation is, or was, admitted for. 0 stands for "not ended".
CREATE TABLE policy_organisation_capacities (
    organisation TEXT NOT NULL REFERENCES policy_organisations (id),
    capacity     TEXT NOT NULL,
    since        INTEGER NOT NULL,
    ended_at     INTEGER NOT NULL
);
CREATE UNIQUE INDEX policy_organisation_capacities_open ON policy_organisation_capacities (organisation, capacity) WHERE ended_at = 0;

CREATE TABLE policy_organisation_changes (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    organisation TEXT NOT NULL REFERENCES policy_organisations (id),
    at           INTEGER NOT NULL,
    subject      TEXT NOT NULL,
    change       TEXT NOT NULL,
    reason       TEXT NOT NULL
);

-- +goose Down
DROP TABLE policy_organisation_changes;
DROP TABLE policy_organisation_capacities;
DROP TABLE policy_organisations;
