"""Flink clusters made of processes."""
