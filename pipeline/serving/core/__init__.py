"""What the service does, without HTTP: requests to answers, in batches, within limits."""
