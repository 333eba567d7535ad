"""Prediction in bulk: documents in, labels out, into files or a store."""
