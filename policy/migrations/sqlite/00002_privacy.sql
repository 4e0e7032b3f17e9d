-- +goose Up
-- The budget of differential privacy: what a grant allows, and what a scenario has used up on a data set, in
-- millionths of epsilon.
ALTER TABLE policy_grants ADD COLUMN epsilon DOUBLE PRECISION NOT NULL DEFAULT 0;
ALTER TABLE policy_grants ADD COLUMN delta DOUBLE PRECISION NOT NULL DEFAULT 0;
ALTER TABLE policy_grants ADD COLUMN query_epsilon DOUBLE PRECISION NOT NULL DEFAULT 0;

CREATE TABLE policy_budgets (
    scenario TEXT NOT NULL,
    dataset  TEXT NOT NULL,
    spent    INTEGER NOT NULL CHECK (spent >= 0),
    PRIMARY KEY (scenario, dataset)
);

-- +goose StatementBegin
CREATE TRIGGER policy_grants_privacy BEFORE UPDATE OF epsilon, delta, query_epsilon ON policy_grants
BEGIN SELECT RAISE(ABORT, 'the terms of a grant do not change'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER policy_budgets_charged BEFORE UPDATE ON policy_budgets WHEN NEW.spent < OLD.spent
BEGIN SELECT RAISE(ABORT, 'what was spent is not refunded'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER policy_budgets_kept BEFORE DELETE ON policy_budgets
BEGIN SELECT RAISE(ABORT, 'what was spent is not refunded'); END;
-- +goose StatementEnd

-- +goose Down
DROP TABLE policy_budgets;
DROP TRIGGER policy_grants_privacy;
ALTER TABLE policy_grants DROP COLUMN epsilon;
ALTER TABLE policy_grants DROP COLUMN delta;
ALTER TABLE policy_grants DROP COLUMN query_epsilon;
