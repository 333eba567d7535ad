"""Which model: identity, options, resolution, tokenizer."""
