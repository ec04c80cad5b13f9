-- What an answer was worth when it was stored, in [0, 1].
ALTER TABLE entries ADD COLUMN quality REAL;

-- Upstreams' models that are left alone, until when (Unix milliseconds); only those that are not well have a row.
-- `openings` counts how often in a row the breaker opened, which decides over how long the next time will be.
CREATE TABLE breakers (
    upstream      TEXT NOT NULL,
    model         TEXT NOT NULL,
    open_until    INTEGER,
    openings      INTEGER NOT NULL,
    cooling_until INTEGER,
    PRIMARY KEY (upstream, model)
) STRICT, WITHOUT ROWID;

-- Generations in the background. `state` is queued, running, done, failed or cancelled; `owner` is the process that runs
-- it, where one does. `request` is what is asked and goes when the job is over, `result` is what came of it, both as
-- JSON; `webhook` is the configured name of whoever is to be told.
CREATE TABLE jobs (
    id         TEXT NOT NULL PRIMARY KEY,
    tenant     TEXT NOT NULL,
    state      TEXT NOT NULL,
    owner      TEXT,
    request    BLOB,
    webhook    TEXT,
    result     BLOB,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX jobs_by_state ON jobs (state, created_at);
CREATE INDEX jobs_by_tenant ON jobs (tenant, state);
CREATE INDEX jobs_by_expiry ON jobs (expires_at);
