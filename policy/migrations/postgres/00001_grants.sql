-- +goose Up
-- Times are whole seconds since 1970. A grant's terms never change: what was agreed is what holds, and another
-- agreement is another grant. Its state is final once it is terminated.
CREATE TABLE policy_grants (
    id              TEXT PRIMARY KEY,
    operator        TEXT NOT NULL,
    scenario        TEXT NOT NULL,
    title           TEXT NOT NULL,
    datasets        TEXT NOT NULL,
    mode            TEXT NOT NULL,
    k               INTEGER NOT NULL,
    dominance_p     DOUBLE PRECISION NOT NULL,
    dominance_share DOUBLE PRECISION NOT NULL,
    digits          INTEGER NOT NULL,
    jobs_per_day    INTEGER NOT NULL,
    cells_per_day   INTEGER NOT NULL,
    valid_from      BIGINT NOT NULL,
    valid_until     BIGINT NOT NULL CHECK (valid_until > valid_from),
    state           TEXT NOT NULL CHECK (state IN ('active', 'suspended', 'terminated'))
);
CREATE INDEX policy_grants_operator ON policy_grants (operator);

CREATE TABLE policy_grant_changes (
    seq      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    grant_id TEXT NOT NULL REFERENCES policy_grants (id),
    at       BIGINT NOT NULL,
    subject  TEXT NOT NULL,
    state    TEXT NOT NULL CHECK (state IN ('active', 'suspended', 'terminated')),
    reason   TEXT NOT NULL
);
CREATE INDEX policy_grant_changes_grant ON policy_grant_changes (grant_id, seq);

CREATE TABLE policy_usage (
    grant_id TEXT NOT NULL REFERENCES policy_grants (id),
    day      TEXT NOT NULL,
    jobs     INTEGER NOT NULL CHECK (jobs >= 0),
    cells    INTEGER NOT NULL CHECK (cells >= 0),
    PRIMARY KEY (grant_id, day)
);

-- +goose StatementBegin
CREATE FUNCTION policy_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '%', TG_ARGV[0]; END $$;
-- +goose StatementEnd

CREATE TRIGGER policy_grants_terms BEFORE UPDATE OF id, operator, scenario, title, datasets, mode, k, dominance_p,
    dominance_share, digits, jobs_per_day, cells_per_day, valid_from, valid_until ON policy_grants
    FOR EACH ROW EXECUTE FUNCTION policy_refuse('the terms of a grant do not change');
CREATE TRIGGER policy_grants_final BEFORE UPDATE OF state ON policy_grants
    FOR EACH ROW WHEN (OLD.state = 'terminated') EXECUTE FUNCTION policy_refuse('a terminated grant stays terminated');
CREATE TRIGGER policy_grants_kept BEFORE DELETE ON policy_grants
    FOR EACH ROW EXECUTE FUNCTION policy_refuse('grants are kept');
CREATE TRIGGER policy_grant_changes_fixed BEFORE UPDATE ON policy_grant_changes
    FOR EACH ROW EXECUTE FUNCTION policy_refuse('the history of grants does not change');
CREATE TRIGGER policy_grant_changes_kept BEFORE DELETE ON policy_grant_changes
    FOR EACH ROW EXECUTE FUNCTION policy_refuse('the history of grants is kept');
CREATE TRIGGER policy_usage_charged BEFORE UPDATE ON policy_usage
    FOR EACH ROW WHEN (NEW.jobs < OLD.jobs OR NEW.cells < OLD.cells)
    EXECUTE FUNCTION policy_refuse('what was spent is not refunded');
CREATE TRIGGER policy_usage_kept BEFORE DELETE ON policy_usage
    FOR EACH ROW EXECUTE FUNCTION policy_refuse('what was spent is not refunded');
