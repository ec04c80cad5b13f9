-- Requests without their last prompt, which many entries share, under the blake3 of their body.
CREATE TABLE contexts (
    digest BLOB NOT NULL PRIMARY KEY,
    body   BLOB NOT NULL,
    size   INTEGER NOT NULL
) STRICT;

-- Answers. `id` rises with every write and is never used twice; times are Unix milliseconds.
CREATE TABLE entries (
    id                INTEGER PRIMARY KEY AUTOINCREMENT,
    key               BLOB NOT NULL UNIQUE,
    owner             BLOB NOT NULL,
    tenant            TEXT NOT NULL,
    namespace         TEXT NOT NULL,
    end_user          TEXT,
    model             TEXT NOT NULL,
    provider          TEXT NOT NULL,
    answer_model      TEXT NOT NULL,
    created_at        INTEGER NOT NULL,
    expires_at        INTEGER NOT NULL,
    output_limit      INTEGER,
    completion_tokens INTEGER,
    cost_usd          REAL,
    semantic_key      BLOB,
    hits              INTEGER NOT NULL,
    last_hit          INTEGER,
    size              INTEGER NOT NULL,
    gain              REAL NOT NULL,
    worth             REAL NOT NULL,
    checksum          BLOB NOT NULL,
    context           BLOB NOT NULL REFERENCES contexts (digest),
    prompt            TEXT,
    answer            BLOB NOT NULL
) STRICT;

-- With the size in it, the sum of all sizes is read from this index alone.
CREATE INDEX entries_by_expiry ON entries (expires_at, size);
CREATE INDEX entries_by_worth ON entries (worth, size);
CREATE INDEX entries_by_scope ON entries (tenant, namespace, model);
CREATE INDEX entries_by_context ON entries (context);

-- One row: the worth that the last evicted entry had. `src/store/eviction.rs` says what for.
CREATE TABLE eviction (
    floor REAL NOT NULL
) STRICT;

INSERT INTO eviction (floor) VALUES (0);

CREATE TABLE tags (
    entry INTEGER NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
    tag   TEXT NOT NULL,
    PRIMARY KEY (tag, entry)
) STRICT, WITHOUT ROWID;

CREATE INDEX tags_by_entry ON tags (entry);

-- One row per entry and embedder: a changed model means other rows. `seq` rises like `entries.id`.
CREATE TABLE vectors (
    seq       INTEGER PRIMARY KEY AUTOINCREMENT,
    entry     INTEGER NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
    embedder  TEXT NOT NULL,
    partition BLOB NOT NULL,
    vector    BLOB NOT NULL,
    UNIQUE (entry, embedder)
) STRICT;

CREATE INDEX vectors_by_embedder ON vectors (embedder, seq);

-- Which entry answered which request, for feedback; no texts, and gone after a day.
CREATE TABLE requests (
    tenant      TEXT NOT NULL,
    request_id  TEXT NOT NULL,
    request_key BLOB NOT NULL,
    entry_key   BLOB,
    at          INTEGER NOT NULL,
    PRIMARY KEY (tenant, request_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX requests_by_time ON requests (at);

-- Pairs of prompts that were reported as a wrong match; the smaller key comes first.
CREATE TABLE blocked_pairs (
    smaller BLOB NOT NULL,
    larger  BLOB NOT NULL,
    PRIMARY KEY (smaller, larger)
) STRICT, WITHOUT ROWID;
