-- +goose Up
-- How much of a domain's privacy account the operator may spend, in rho; 0: what the mode says.
ALTER TABLE policy_grants ADD COLUMN share DOUBLE PRECISION NOT NULL DEFAULT 0;

CREATE TRIGGER policy_grants_share BEFORE UPDATE OF share ON policy_grants
    FOR EACH ROW EXECUTE FUNCTION policy_refuse('the terms of a grant do not change');

-- +goose Down
DROP TRIGGER policy_grants_share ON policy_grants;
ALTER TABLE policy_grants DROP COLUMN share;
