"""Benchmarks that are longer than a coffee."""
