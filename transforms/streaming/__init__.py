"""Unbounded input: watched folders, messages, Kafka."""
