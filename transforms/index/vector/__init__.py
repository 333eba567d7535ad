"""The vector index, based on FAISS."""
