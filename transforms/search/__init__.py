"""Open a store and search it."""
