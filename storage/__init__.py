"""What tierwise remembers: the ledger of calls and the cache of answers."""
