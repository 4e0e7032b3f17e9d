-- +goose Up
-- What the answers of the noised modes have cost: a fold of the log's account.* entries, kept so that it need not be read
-- again for each question. Amounts are whole billionths of rho, and whole 10^-15 of delta.
CREATE TABLE account_state (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    position BIGINT NOT NULL, -- index of the last of the log's entries that is in here
    opening  BIGINT NOT NULL  -- what a domain may spend that no act has set
);
CREATE TABLE account_domains (
    domain      VARCHAR(200) PRIMARY KEY,
    spent       BIGINT NOT NULL CHECK (spent >= 0), -- ever
    most        BIGINT NOT NULL,                    -- what spent may reach
    delta       BIGINT NOT NULL CHECK (delta >= 0),
    delta_most  BIGINT NOT NULL,
    period      BIGINT NOT NULL, -- how often the account was refilled
    refilled_at BIGINT NOT NULL  -- in whole seconds since 1970; 0: never
);
CREATE TABLE account_shares (
    operator VARCHAR(200) NOT NULL,
    domain   VARCHAR(200) NOT NULL,
    period   BIGINT NOT NULL,                    -- in which spent was spent
    spent    BIGINT NOT NULL CHECK (spent >= 0),
    total    BIGINT NOT NULL CHECK (total >= 0), -- ever
    PRIMARY KEY (operator, domain)
);

-- +goose Down
DROP TABLE account_shares;
DROP TABLE account_domains;
DROP TABLE account_state;
