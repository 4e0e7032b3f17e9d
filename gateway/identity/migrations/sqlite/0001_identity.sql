-- +goose Up
-- Times are microseconds since 1970, UTC; 0 stands for "never".
CREATE TABLE identity_accounts (
    name         TEXT    PRIMARY KEY,
    display_name TEXT    NOT NULL,
    organisation TEXT    NOT NULL,
    roles        TEXT    NOT NULL,           -- JSON array
    password     TEXT    NOT NULL,           -- argon2id in PHC format; empty: signs in elsewhere only
    version      INTEGER NOT NULL,           -- counts changes that end every session
    changed_at   INTEGER NOT NULL,           -- when version last changed
    created_at   INTEGER NOT NULL,
    disabled_at  INTEGER NOT NULL
);

CREATE TABLE identity_links (
    issuer  TEXT NOT NULL,
    subject TEXT NOT NULL,
    account TEXT NOT NULL REFERENCES identity_accounts (name),
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX identity_links_account ON identity_links (account);

CREATE TABLE identity_sessions (
    id         TEXT    PRIMARY KEY,
    account    TEXT    NOT NULL REFERENCES identity_accounts (name),
    version    INTEGER NOT NULL,             -- the account's, when the session began
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    ended_at   INTEGER NOT NULL,
    forget_at  INTEGER NOT NULL              -- from when on nothing can refer to this row
);
CREATE INDEX identity_sessions_forget ON identity_sessions (forget_at);

CREATE TABLE identity_refresh (
    hash       TEXT    PRIMARY KEY,          -- SHA-256 of the refresh token, hex
    session    TEXT    NOT NULL REFERENCES identity_sessions (id) ON DELETE CASCADE,
    expires_at INTEGER NOT NULL,
    used_at    INTEGER NOT NULL
);
CREATE INDEX identity_refresh_session ON identity_refresh (session);

CREATE TABLE identity_attempts (
    scope         TEXT    PRIMARY KEY,       -- SHA-256 of what is counted, hex
    failures      INTEGER NOT NULL,
    last_at       INTEGER NOT NULL,          -- when the last attempt was charged
    trusted_until INTEGER NOT NULL           -- the account signed in from this address, and is known there
);
CREATE INDEX identity_attempts_last ON identity_attempts (last_at);

-- +goose Down
DROP TABLE identity_attempts;
DROP TABLE identity_refresh;
DROP TABLE identity_sessions;
DROP TABLE identity_links;
DROP TABLE identity_accounts;
