"""Token ids become vectors: backends, batching, attention, reference."""
