-- +goose Up
-- A first password is good for one sign-in, at which its owner chooses their own, until once_until; 0: it is the owner's.
-- admits is how many authorities a rescuer may still let in.
ALTER TABLE identity_accounts ADD COLUMN unit TEXT NOT NULL DEFAULT '';
ALTER TABLE identity_accounts ADD COLUMN once_until INTEGER NOT NULL DEFAULT 0;
ALTER TABLE identity_accounts ADD COLUMN admits INTEGER NOT NULL DEFAULT 0;

-- What one person of the authority proposed and another has to confirm.
CREATE TABLE identity_proposals (
    id          TEXT   PRIMARY KEY,
    kind        TEXT   NOT NULL CHECK (kind IN ('create', 'enable', 'reset', 'roles')),
    name        TEXT   NOT NULL,
    account     TEXT   NOT NULL,             -- JSON: what the account is to be
    password    TEXT   NOT NULL,             -- argon2id of the whole first password; empty once decided
    half        TEXT   NOT NULL,             -- the half that whoever confirms is told; empty once decided
    reason      TEXT   NOT NULL,
    proposed_by TEXT   NOT NULL,
    proposed_at INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    decided_by  TEXT   NOT NULL,
    decided_at  INTEGER NOT NULL,               -- 0: it waits
    confirmed   INTEGER NOT NULL                -- 1: it was done
);

-- +goose Down
DROP TABLE identity_proposals;
ALTER TABLE identity_accounts DROP COLUMN admits;
ALTER TABLE identity_accounts DROP COLUMN once_until;
ALTER TABLE identity_accounts DROP COLUMN unit;
