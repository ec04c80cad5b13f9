-- Who buys answers ahead of time now, so that two never do it at once: one row at most.
CREATE TABLE precompute_lease (
    id    INTEGER PRIMARY KEY,
    run   TEXT NOT NULL,
    until INTEGER NOT NULL
) STRICT;

-- Runs that bought answers ahead of time. `state` is running, done, stopped, failed or cancelled; `report` says what came
-- of it, as JSON.
CREATE TABLE precompute_runs (
    id         TEXT NOT NULL PRIMARY KEY,
    state      TEXT NOT NULL,
    began_at   INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    report     BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX precompute_runs_by_time ON precompute_runs (began_at);

-- Entries that were bought ahead of time, written in the commit of the entry. `hits_before` is how often the key had been
-- hit by then.
CREATE TABLE warmed (
    key         BLOB NOT NULL PRIMARY KEY,
    run         TEXT NOT NULL,
    template    TEXT NOT NULL,
    at          INTEGER NOT NULL,
    cost_usd    REAL,
    hits_before INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX warmed_by_time ON warmed (at);
