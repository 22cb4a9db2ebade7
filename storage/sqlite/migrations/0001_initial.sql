-- Units and meanings are those of tierwise.storage.records, except where a name carries its unit.
-- Nothing newer than SQLite 3.24 is used: Python 3.11 on long-lived systems still links 3.34.

-- One row for each combination of dimensions that occurs, so that the tables that grow hold a small
-- number in place of six texts.
CREATE TABLE labels (
    id INTEGER PRIMARY KEY,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    tier TEXT NOT NULL,
    operation TEXT NOT NULL,
    tenant TEXT NOT NULL,
    agent TEXT NOT NULL,
    UNIQUE (model, provider, tier, operation, tenant, agent)
);

CREATE TABLE calls (
    id INTEGER PRIMARY KEY, -- what attempts refer to: a tenth of the size of call_id
    call_id TEXT NOT NULL UNIQUE,
    started_at INTEGER NOT NULL,
    latency_us INTEGER NOT NULL,
    labels INTEGER NOT NULL REFERENCES labels (id),
    status TEXT NOT NULL,
    error TEXT,
    tier_served TEXT,
    complexity_score REAL,
    cached INTEGER NOT NULL,
    saved_nano_usd INTEGER,
    finish_reason TEXT,
    metadata TEXT -- a JSON object; NULL where it is empty
);
CREATE INDEX calls_by_start ON calls (started_at);

CREATE TABLE attempts (
    call INTEGER NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    ordinal INTEGER NOT NULL, -- 0 is the first one tried
    labels INTEGER NOT NULL REFERENCES labels (id), -- those of the call, but for the model tried
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
    old_cost_nano_usd INTEGER,
    cost_note TEXT,
    PRIMARY KEY (call, ordinal)
) WITHOUT ROWID;

-- The roll-up: sums over the quarter-hours [quarter, quarter + span), counted from the Unix epoch.
-- A long period is read from a few rows of a day, and its ragged ends from hours and quarters.
CREATE TABLE usage (
    span INTEGER NOT NULL,
    quarter INTEGER NOT NULL, -- a multiple of span
    labels INTEGER NOT NULL REFERENCES labels (id),
    calls INTEGER NOT NULL,
    cached_calls INTEGER NOT NULL,
    failed_calls INTEGER NOT NULL,
    cancelled_calls INTEGER NOT NULL,
    unpriced_calls INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cost_nano_usd INTEGER NOT NULL,
    saved_nano_usd INTEGER NOT NULL,
    PRIMARY KEY (span, quarter, labels)
) WITHOUT ROWID;

CREATE TABLE spans (span INTEGER PRIMARY KEY); -- a quarter of an hour, an hour, a day
INSERT INTO spans VALUES (1), (4), (96);

-- What each call adds to the roll-up: itself under the model that served it, and each attempt under
-- its own. The one definition for recording, checking and rebuilding.
CREATE VIEW shares AS
    SELECT id AS call, started_at, started_at / 900000 AS quarter, labels, 1 AS calls,
        cached AS cached_calls, status = 'failed' AS failed_calls, status = 'cancelled' AS cancelled_calls,
        0 AS unpriced_calls, 0 AS input_tokens, 0 AS output_tokens, 0 AS cost_nano_usd,
        COALESCE(saved_nano_usd, 0) AS saved_nano_usd
    FROM calls
    UNION ALL
    SELECT calls.id, calls.started_at, calls.started_at / 900000, attempts.labels, 0,
        0, 0, 0,
        attempts.cost_nano_usd IS NULL, input_tokens, output_tokens, COALESCE(attempts.cost_nano_usd, 0), 0
    FROM calls JOIN attempts ON attempts.call = calls.id;

-- Raw rows of calls started before this (epoch ms, at the start of a UTC day) may be gone.
CREATE TABLE pruned (before INTEGER NOT NULL);
INSERT INTO pruned VALUES (0);

CREATE TABLE budgets (
    name TEXT PRIMARY KEY,
    scope TEXT NOT NULL,
    scope_value TEXT NOT NULL,
    period TEXT NOT NULL,
    limit_nano_usd INTEGER NOT NULL,
    thresholds TEXT NOT NULL, -- a JSON array of percents
    at_limit TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE spent (
    budget TEXT NOT NULL REFERENCES budgets (name) ON DELETE CASCADE,
    period_start INTEGER NOT NULL,
    nano_usd INTEGER NOT NULL,
    PRIMARY KEY (budget, period_start)
) WITHOUT ROWID;

CREATE TABLE reservations (
    budget TEXT NOT NULL REFERENCES budgets (name) ON DELETE CASCADE,
    period_start INTEGER NOT NULL,
    call_id TEXT NOT NULL,
    nano_usd INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (budget, period_start, call_id)
) WITHOUT ROWID;
CREATE INDEX reservations_by_call ON reservations (call_id);
CREATE INDEX reservations_by_expiry ON reservations (expires_at);

CREATE TABLE features (
    call INTEGER PRIMARY KEY REFERENCES calls (id) ON DELETE CASCADE,
    content BLOB NOT NULL
);

CREATE TABLE outcomes (
    id INTEGER PRIMARY KEY,
    call_id TEXT, -- NULL where it was imported without a call
    at INTEGER NOT NULL,
    verdict TEXT NOT NULL,
    source TEXT NOT NULL,
    note TEXT,
    tier_served TEXT,
    complexity_score REAL,
    features BLOB,
    UNIQUE (call_id, source)
);
CREATE INDEX outcomes_by_time ON outcomes (at);

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
