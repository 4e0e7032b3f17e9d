-- +goose Up
-- The end of a grant, once the platform has acted on it: what was held back is refused, and what is kept under the grant
-- is deleted from a moment on, unless a hold is on it. Times are whole seconds since 1970.
CREATE TABLE policy_grant_ends (
    grant_id     TEXT    NOT NULL PRIMARY KEY REFERENCES policy_grants (id),
    ended_at     BIGINT  NOT NULL,
    delete_after BIGINT  NOT NULL,
    deleted_at   BIGINT  NOT NULL DEFAULT 0
);
CREATE INDEX policy_grant_ends_due ON policy_grant_ends (delete_after) WHERE deleted_at = 0;
CREATE INDEX policy_grants_until ON policy_grants (valid_until);

-- A hold keeps what is held under a grant from being deleted. One is over when somebody has lifted it.
CREATE TABLE policy_grant_holds (
    seq       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    grant_id  TEXT    NOT NULL REFERENCES policy_grants (id),
    at        BIGINT  NOT NULL,
    subject   TEXT    NOT NULL,
    reason    TEXT    NOT NULL,
    lifted_at BIGINT  NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX policy_grant_holds_one ON policy_grant_holds (grant_id) WHERE lifted_at = 0;

-- +goose Down
DROP TABLE policy_grant_holds;
DROP TABLE policy_grant_ends;
DROP INDEX policy_grants_until;
