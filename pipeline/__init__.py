"""What a user runs: one file a command, wiring only."""
