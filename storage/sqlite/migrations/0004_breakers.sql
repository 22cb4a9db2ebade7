-- See tierwise.storage.breakers; a deployment without a failure since its last success has no row.
CREATE TABLE breakers (
    deployment TEXT PRIMARY KEY,
    failures INTEGER NOT NULL,
    error TEXT,
    failed_at INTEGER NOT NULL,
    opened_at INTEGER,
    cooldown_ms INTEGER NOT NULL,
    probe_at INTEGER,
    lease_ms INTEGER NOT NULL
) WITHOUT ROWID;
