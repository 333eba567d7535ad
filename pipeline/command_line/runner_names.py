"""Names of runners; nothing heavy is imported here."""

#: Beam's FnApiRunner, in this process.
DIRECT = "direct"
#: The runner if none is given.
DEFAULT_RUNNER = DIRECT
