"""What a user runs: the command line, in one slice for each group of commands."""
