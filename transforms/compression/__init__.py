"""Smaller models: pruning, and what it costs in quality."""
