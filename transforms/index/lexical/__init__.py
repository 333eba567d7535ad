"""The lexical index, based on tantivy."""
