"""The exit codes of every command."""

DONE = 0
#: The command failed, or the store is damaged.
FAILED = 1
BAD_INPUT = 2
#: A quality target was missed, such as the recall of an index.
TARGET_MISSED = 3
#: Another writer's commit can't be combined with the result of this command.
CONFLICT = 4
INTERRUPTED = 130
#: Nobody reads the output any more, as after ``| head``: 128 and the number of SIGPIPE.
OUTPUT_CLOSED = 141

#: The line that ends each command's help.
EPILOG = (
    f"exit codes: {DONE} done, {FAILED} failed or damaged, {BAD_INPUT} bad input or options, "
    f"{TARGET_MISSED} a quality target missed, {CONFLICT} conflict with another writer, "
    f"{INTERRUPTED} interrupted, {OUTPUT_CLOSED} output closed early"
)
