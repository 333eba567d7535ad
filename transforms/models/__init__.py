"""The model: identity, options, resolution and tokenizer."""
