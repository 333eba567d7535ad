"""Heads on encoders and on stored vectors: their labels, metrics, files and predictions."""
