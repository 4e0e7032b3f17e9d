-- +goose Up
-- How much of a domain's privacy account the operator may spend, in rho; 0: what the mode says.
ALTER TABLE policy_grants ADD COLUMN share DOUBLE PRECISION NOT NULL DEFAULT 0;

-- +goose StatementBegin
CREATE TRIGGER policy_grants_share BEFORE UPDATE OF share ON policy_grants
BEGIN SELECT RAISE(ABORT, 'the terms of a grant do not change'); END;
-- +goose StatementEnd

-- +goose Down
DROP TRIGGER policy_grants_share;
ALTER TABLE policy_grants DROP COLUMN share;
