"""``albeam serve --add-key`` and ``--remove-key``: change the file of the keys."""

from pathlib import Path

from pipeline.command_line.console import note, say
from pipeline.serving.core.keys import add_key, remove_key


def run(
    file: Path, name: str, removes: bool, store: str | None = None, where: str | None = None
) -> None:
    """Add a key and print it, or remove one.

    Args:
        file: the file of the keys.
        name: the name of the key.
        removes: whether the key is removed.
        store: the only store that a new key opens.
        where: a condition that the documents meet that a new key shows.

    Raises:
        BadInput: the key can't be added or removed.
    """
    if removes:
        remove_key(file, name)
        note(f"{file} has no key of the name {name} any more.")
        return
    say(add_key(file, name, store, where))
    note(f"This key is shown once. {file} has its digest alone.")
