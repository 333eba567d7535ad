"""Metrics, significance, run files and the report page."""
