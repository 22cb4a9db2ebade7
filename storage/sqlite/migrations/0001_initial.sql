-- Units and meanings are those of tierwise.storage.records, except where a name carries its unit.
-- Nothing newer than SQLite 3.24 is used: Python 3.11 on long-lived systems still links 3.34.

CREATE TABLE calls (
    id INTEGER PRIMARY KEY, -- what attempts refer to: a tenth of the size of call_id
    call_id TEXT NOT NULL UNIQUE,
    started_at INTEGER NOT NULL,
    latency_us INTEGER NOT NULL,
    operation TEXT NOT NULL,
    status TEXT NOT NULL,
    error TEXT,
    tier TEXT NOT NULL,
    tier_served TEXT,
    complexity_score REAL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    cached INTEGER NOT NULL,
    saved_nano_usd INTEGER,
    finish_reason TEXT,
    metadata TEXT -- a JSON object; NULL where it is empty
);

CREATE TABLE attempts (
    call INTEGER NOT NULL REFERENCES calls (id),
    ordinal INTEGER NOT NULL, -- 0 is the first one tried
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    outcome TEXT NOT NULL,
    error TEXT,
    started_at INTEGER NOT NULL,
    latency_us INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cache_read_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    estimated INTEGER NOT NULL,
    cost_nano_usd INTEGER,
    cost_note TEXT,
    PRIMARY KEY (call, ordinal)
) WITHOUT ROWID;

CREATE TABLE usage (
    quarter INTEGER NOT NULL, -- quarter-hours from the Unix epoch to the call's start
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    tier TEXT NOT NULL,
    operation TEXT NOT NULL,
    calls INTEGER NOT NULL,
    cached_calls INTEGER NOT NULL,
    failed_calls INTEGER NOT NULL,
    unpriced_calls INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cost_nano_usd INTEGER NOT NULL,
    saved_nano_usd INTEGER NOT NULL,
    PRIMARY KEY (quarter, provider, model, tier, operation)
) WITHOUT ROWID;

CREATE TABLE answers (
    id INTEGER PRIMARY KEY, -- grows with every insert, so the lowest is the oldest
    digest BLOB NOT NULL UNIQUE,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    tier TEXT NOT NULL,
    finish_reason TEXT NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cost_nano_usd INTEGER,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    content TEXT NOT NULL -- last, so that reading the other columns stays on one page
);
CREATE INDEX answers_by_expiry ON answers (expires_at);

CREATE TABLE cache_size (bytes INTEGER NOT NULL); -- one row: the sum of answers.bytes
INSERT INTO cache_size VALUES (0);
CREATE TRIGGER answer_added AFTER INSERT ON answers BEGIN
    UPDATE cache_size SET bytes = bytes + NEW.bytes;
END;
CREATE TRIGGER answer_removed AFTER DELETE ON answers BEGIN
    UPDATE cache_size SET bytes = bytes - OLD.bytes;
END;
