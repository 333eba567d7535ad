"""Benchmarks that run for many minutes or need real corpora."""
