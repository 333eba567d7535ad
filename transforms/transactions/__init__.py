"""Everything that makes or retires a snapshot."""
