"""Heads on stored vectors: fitted with scikit-learn, read and written."""
