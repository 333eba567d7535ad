"""The indexes of a segment: options, shards, top-k lists, and the transforms that build them."""
