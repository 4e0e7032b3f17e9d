-- +goose Up

-- The queue. A job that waits keeps its text, sealed under a key of the platform, until it begins; it is taken by
-- whichever process has a place for it. One that runs belongs to its process until the lease runs out.
ALTER TABLE gateway_jobs ADD COLUMN progress BIGINT NOT NULL DEFAULT 0; -- of the engine, in steps of ten percent

DROP INDEX gateway_jobs_alive;
CREATE INDEX gateway_jobs_queued  ON gateway_jobs (operator, id) WHERE state = 'queued';
CREATE INDEX gateway_jobs_running ON gateway_jobs (node, lease_until) WHERE state = 'running';
CREATE INDEX gateway_jobs_closing ON gateway_jobs (grant_id, owner) WHERE state IN ('queued', 'running');
CREATE INDEX gateway_jobs_old     ON gateway_jobs (ended_at) WHERE state IN ('released', 'denied', 'failed', 'cancelled');

CREATE TABLE gateway_job_texts (
    job    TEXT NOT NULL PRIMARY KEY REFERENCES gateway_jobs (id),
    sealed BYTEA NOT NULL
);

-- Whose turn it is, and what was taken today. The operator without a name is the platform as a whole.
CREATE TABLE gateway_operators (
    operator   TEXT    NOT NULL PRIMARY KEY,
    turn       BIGINT NOT NULL DEFAULT 0,  -- of the last job that began: the least is served next
    day        TEXT    NOT NULL DEFAULT '', -- the figures are of
    cpu_us     BIGINT NOT NULL DEFAULT 0,
    read_bytes BIGINT NOT NULL DEFAULT 0
);
INSERT INTO gateway_operators (operator) SELECT '' UNION SELECT operator FROM gateway_jobs;

-- What each job that began took, for billing. It is kept when the job is purged.
CREATE TABLE gateway_usage (
    job        TEXT    NOT NULL PRIMARY KEY,
    operator   TEXT    NOT NULL,
    grant_id   TEXT    NOT NULL,
    state      TEXT    NOT NULL, -- in which nothing of it ran any more
    started_at BIGINT NOT NULL,
    ended_at   BIGINT NOT NULL,
    cpu_us     BIGINT NOT NULL,
    wall_us    BIGINT NOT NULL, -- of its processes, added up
    peak_bytes BIGINT NOT NULL,
    read_bytes BIGINT NOT NULL
);
CREATE INDEX gateway_usage_by_time ON gateway_usage (ended_at, operator);

-- +goose Down
DROP TABLE gateway_usage;
DROP TABLE gateway_operators;
DROP TABLE gateway_job_texts;
DROP INDEX gateway_jobs_old;
DROP INDEX gateway_jobs_closing;
DROP INDEX gateway_jobs_running;
DROP INDEX gateway_jobs_queued;
ALTER TABLE gateway_jobs DROP COLUMN progress;
CREATE INDEX gateway_jobs_alive ON gateway_jobs (state, lease_until) WHERE state IN ('queued', 'running');
