-- +goose Up

-- A job, without its text: that is kept in memory while the job lives, and on the log as an erasable payload.
-- Times are microseconds since 1970.
CREATE TABLE gateway_jobs (
    id              TEXT    NOT NULL PRIMARY KEY, -- UUID version 7, so it sorts by time
    owner           TEXT    NOT NULL,
    operator        TEXT    NOT NULL,
    grant_id        TEXT    NOT NULL,
    state           TEXT    NOT NULL,
    problem         TEXT    NOT NULL,             -- JSON in both languages, or empty
    idempotency_key TEXT    NOT NULL,
    request_mac     TEXT    NOT NULL,             -- keyed, so that the text cannot be guessed from it
    node            TEXT    NOT NULL,             -- the process that runs it
    lease_until     INTEGER NOT NULL,             -- after that, the process counts as dead
    created_at      INTEGER NOT NULL,
    started_at      INTEGER NOT NULL,
    ended_at        INTEGER NOT NULL,
    events          INTEGER NOT NULL,             -- how many events it has
    UNIQUE (owner, idempotency_key)
);
CREATE INDEX gateway_jobs_by_owner ON gateway_jobs (owner, id);
CREATE INDEX gateway_jobs_by_operator ON gateway_jobs (operator, id);
CREATE INDEX gateway_jobs_alive ON gateway_jobs (state, lease_until) WHERE state IN ('queued', 'running');

CREATE TABLE gateway_job_events (
    job    TEXT    NOT NULL REFERENCES gateway_jobs (id),
    number INTEGER NOT NULL,
    state  TEXT    NOT NULL,
    at     INTEGER NOT NULL,
    PRIMARY KEY (job, number)
);

-- +goose Down
DROP TABLE gateway_job_events;
DROP TABLE gateway_jobs;
