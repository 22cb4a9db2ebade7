-- What each call was charged to each budget, so that an account can be proved: it holds what it opened
-- with and the charges since. Imported calls and those that were under way when the budget was made have
-- none; a correction of prices leaves them as they are.
CREATE TABLE charges (
    call INTEGER NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    budget TEXT NOT NULL,
    period_start INTEGER NOT NULL,
    nano_usd INTEGER NOT NULL,
    assumed INTEGER NOT NULL, -- 1 where the cost was unknown, and what was reserved stands for it
    PRIMARY KEY (call, budget),
    FOREIGN KEY (budget, period_start) REFERENCES spent (budget, period_start) ON DELETE CASCADE
) WITHOUT ROWID;

-- What was in the account before the first of its charges that are still there.
ALTER TABLE spent ADD COLUMN opened_with INTEGER NOT NULL DEFAULT 0;
UPDATE spent SET opened_with = nano_usd;

-- The account of a call that is pruned keeps what the call was charged.
CREATE TRIGGER charge_removed AFTER DELETE ON charges BEGIN
    UPDATE spent SET opened_with = opened_with + OLD.nano_usd
    WHERE budget = OLD.budget AND period_start = OLD.period_start;
END;
