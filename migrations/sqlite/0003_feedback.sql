-- Pairs of prompts that somebody judged: one answer serves both (`right`), or must not (`wrong`). The smaller key comes
-- first; `asked` and `stored` are the prompts as they were met, where they are known.
ALTER TABLE blocked_pairs RENAME TO judged_pairs;
ALTER TABLE judged_pairs ADD COLUMN verdict TEXT NOT NULL DEFAULT 'wrong';
ALTER TABLE judged_pairs ADD COLUMN tenant TEXT;
ALTER TABLE judged_pairs ADD COLUMN asked TEXT;
ALTER TABLE judged_pairs ADD COLUMN stored TEXT;
ALTER TABLE judged_pairs ADD COLUMN at INTEGER;

-- What was asked, for requests that another request's entry answered: a verdict over them is about two prompts.
ALTER TABLE requests ADD COLUMN prompt TEXT;
