"""Flink clusters: as processes, for Docker Compose and for Kubernetes."""
