"""The command line, with one package for each group of commands."""
