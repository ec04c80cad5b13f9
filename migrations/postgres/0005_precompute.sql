-- Who buys answers ahead of time now, so that two never do it at once: one row at most.
CREATE TABLE precompute_lease (
    id    BIGINT PRIMARY KEY,
    run   TEXT NOT NULL,
    until BIGINT NOT NULL
);

-- Runs that bought answers ahead of time. `state` is running, done, stopped, failed or cancelled; `report` says what came
-- of it, as JSON.
CREATE TABLE precompute_runs (
    id         TEXT NOT NULL PRIMARY KEY,
    state      TEXT NOT NULL,
    began_at   BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    report     BYTEA NOT NULL
);

CREATE INDEX precompute_runs_by_time ON precompute_runs (began_at);

-- Entries that were bought ahead of time, written in the commit of the entry. `hits_before` is how often the key had been
-- hit by then.
CREATE TABLE warmed (
    key         BYTEA NOT NULL PRIMARY KEY,
    run         TEXT NOT NULL,
    template    TEXT NOT NULL,
    at          BIGINT NOT NULL,
    cost_usd    DOUBLE PRECISION,
    hits_before BIGINT NOT NULL
);

CREATE INDEX warmed_by_time ON warmed (at);
