-- +goose Up
-- How coarsely answers are timed, in seconds.
ALTER TABLE policy_grants ADD COLUMN time_step INTEGER NOT NULL DEFAULT 0;

-- +goose StatementBegin
CREATE TRIGGER policy_grants_time_step BEFORE UPDATE OF time_step ON policy_grants
BEGIN SELECT RAISE(ABORT, 'the terms of a grant do not change'); END;
-- +goose StatementEnd

-- +goose Down
DROP TRIGGER policy_grants_time_step;
ALTER TABLE policy_grants DROP COLUMN time_step;
