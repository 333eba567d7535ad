"""Encoders with a head: their training, their folders, and what they find in texts."""
