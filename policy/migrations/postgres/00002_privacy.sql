-- +goose Up
-- The budget of differential privacy: what a grant allows, and what a scenario has used up on a data set, in
-- millionths of epsilon.
ALTER TABLE policy_grants ADD COLUMN epsilon DOUBLE PRECISION NOT NULL DEFAULT 0;
ALTER TABLE policy_grants ADD COLUMN delta DOUBLE PRECISION NOT NULL DEFAULT 0;
ALTER TABLE policy_grants ADD COLUMN query_epsilon DOUBLE PRECISION NOT NULL DEFAULT 0;

CREATE TABLE policy_budgets (
    scenario TEXT NOT NULL,
    dataset  TEXT NOT NULL,
    spent    BIGINT NOT NULL CHECK (spent >= 0),
    PRIMARY KEY (scenario, dataset)
);

CREATE TRIGGER policy_grants_privacy BEFORE UPDATE OF epsilon, delta, query_epsilon ON policy_grants
    FOR EACH ROW EXECUTE FUNCTION policy_refuse('the terms of a grant do not change');
CREATE TRIGGER policy_budgets_charged BEFORE UPDATE ON policy_budgets
    FOR EACH ROW WHEN (NEW.spent < OLD.spent) EXECUTE FUNCTION policy_refuse('what was spent is not refunded');
CREATE TRIGGER policy_budgets_kept BEFORE DELETE ON policy_budgets
    FOR EACH ROW EXECUTE FUNCTION policy_refuse('what was spent is not refunded');

-- +goose Down
DROP TABLE policy_budgets;
DROP TRIGGER policy_grants_privacy ON policy_grants;
ALTER TABLE policy_grants DROP COLUMN epsilon;
ALTER TABLE policy_grants DROP COLUMN delta;
ALTER TABLE policy_grants DROP COLUMN query_epsilon;
