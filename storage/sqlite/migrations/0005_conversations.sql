-- Filled only where the settings say that conversations may be stored.
CREATE TABLE conversations (
    conversation_id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    version INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    content TEXT NOT NULL
);
CREATE INDEX conversations_by_update ON conversations (updated_at);
