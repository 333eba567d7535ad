"""The encoder: turns token ids into vectors."""
