-- Requests without their last prompt, which many entries share, under the blake3 of their body.
CREATE TABLE contexts (
    digest BYTEA NOT NULL PRIMARY KEY,
    body   BYTEA NOT NULL,
    size   BIGINT NOT NULL
);

-- Answers. `id` rises with every write and is never used twice; times are Unix milliseconds.
CREATE TABLE entries (
    id                BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key               BYTEA NOT NULL UNIQUE,
    owner             BYTEA NOT NULL,
    tenant            TEXT NOT NULL,
    namespace         TEXT NOT NULL,
    end_user          TEXT,
    model             TEXT NOT NULL,
    provider          TEXT NOT NULL,
    answer_model      TEXT NOT NULL,
    created_at        BIGINT NOT NULL,
    expires_at        BIGINT NOT NULL,
    output_limit      BIGINT,
    completion_tokens BIGINT,
    cost_usd          DOUBLE PRECISION,
    semantic_key      BYTEA,
    hits              BIGINT NOT NULL,
    last_hit          BIGINT,
    size              BIGINT NOT NULL,
    gain              DOUBLE PRECISION NOT NULL,
    worth             DOUBLE PRECISION NOT NULL,
    checksum          BYTEA NOT NULL,
    context           BYTEA NOT NULL REFERENCES contexts (digest),
    prompt            TEXT,
    answer            BYTEA NOT NULL
);

-- With the size in it, the sum of all sizes is read from this index alone.
CREATE INDEX entries_by_expiry ON entries (expires_at, size);
CREATE INDEX entries_by_worth ON entries (worth, size);
CREATE INDEX entries_by_scope ON entries (tenant, namespace, model);
CREATE INDEX entries_by_context ON entries (context);

-- One row: the worth that the last evicted entry had. `src/store/eviction.rs` says what for.
CREATE TABLE eviction (
    floor DOUBLE PRECISION NOT NULL
);

INSERT INTO eviction (floor) VALUES (0);

CREATE TABLE tags (
    entry BIGINT NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
    tag   TEXT NOT NULL,
    PRIMARY KEY (tag, entry)
);

CREATE INDEX tags_by_entry ON tags (entry);

-- One row per entry and embedder: a changed model means other rows. `seq` rises like `entries.id`.
CREATE TABLE vectors (
    seq       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    entry     BIGINT NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
    embedder  TEXT NOT NULL,
    partition BYTEA NOT NULL,
    vector    BYTEA NOT NULL,
    UNIQUE (entry, embedder)
);

CREATE INDEX vectors_by_embedder ON vectors (embedder, seq);

-- Which entry answered which request, for feedback; no texts, and gone after a day.
CREATE TABLE requests (
    tenant      TEXT NOT NULL,
    request_id  TEXT NOT NULL,
    request_key BYTEA NOT NULL,
    entry_key   BYTEA,
    at          BIGINT NOT NULL,
    PRIMARY KEY (tenant, request_id)
);

CREATE INDEX requests_by_time ON requests (at);

-- Pairs of prompts that were reported as a wrong match; the smaller key comes first.
CREATE TABLE blocked_pairs (
    smaller BYTEA NOT NULL,
    larger  BYTEA NOT NULL,
    PRIMARY KEY (smaller, larger)
);
