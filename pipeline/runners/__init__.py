"""Beam runners: launch, progress, diagnosis, worker."""
