"""The lexical index, on tantivy."""
