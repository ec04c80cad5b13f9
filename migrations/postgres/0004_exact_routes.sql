-- Routes that answer equal requests only, since when (Unix milliseconds) and why: `checks` found too many wrong answers
-- to similar ones, or a `person` said so. The counts are those of the checks at that moment.
CREATE TABLE exact_routes (
    route     TEXT NOT NULL PRIMARY KEY,
    since     BIGINT NOT NULL,
    reason    TEXT NOT NULL,
    checked   BIGINT NOT NULL,
    different BIGINT NOT NULL
);
