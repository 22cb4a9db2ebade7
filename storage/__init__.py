"""What tierwise remembers: the ledger of calls, budgets, outcomes, and the cache of answers."""
