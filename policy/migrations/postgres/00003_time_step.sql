-- +goose Up
-- How coarsely answers are timed, in seconds.
ALTER TABLE policy_grants ADD COLUMN time_step INTEGER NOT NULL DEFAULT 0;

CREATE TRIGGER policy_grants_time_step BEFORE UPDATE OF time_step ON policy_grants
    FOR EACH ROW EXECUTE FUNCTION policy_refuse('the terms of a grant do not change');

-- +goose Down
DROP TRIGGER policy_grants_time_step ON policy_grants;
ALTER TABLE policy_grants DROP COLUMN time_step;
