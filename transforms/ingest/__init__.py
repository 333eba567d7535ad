"""Read, split, embed and write documents."""
