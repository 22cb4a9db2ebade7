"""The models that can be used: where they come from, what they cost and can do."""
