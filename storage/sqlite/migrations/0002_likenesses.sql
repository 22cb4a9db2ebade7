-- What answers kept for calls that say the same are found by. Neither column holds prompt text.
CREATE TABLE likenesses (
    answer INTEGER PRIMARY KEY REFERENCES answers (id) ON DELETE CASCADE,
    scope BLOB NOT NULL,
    embedding BLOB NOT NULL
);
CREATE INDEX likenesses_by_scope ON likenesses (scope); -- and by answer, which every index holds
