"""The voters: one file a strategy, the registry, and the weighted vote."""
