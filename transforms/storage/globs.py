"""Globs and hidden names, as in Spark and Hive.

``*``, ``?`` and ``[...]`` match inside a name. ``**`` as a name of its own matches any number of
folders.
"""

import fnmatch
import os
import re

_MAGIC = re.compile(r"[*?\[]")


def is_hidden(name: str) -> bool:
    """Return whether Spark and Hive hide a name; ``_year=2024`` is a partition, and is not hidden.

    They also hide a file while Hadoop copies it.
    """
    marked = name.startswith("_") and "=" not in name
    return marked or name.startswith(".") or name.endswith("._COPYING_")


def is_glob(path: str) -> bool:
    """Return whether a path has a letter that makes it a glob."""
    return _MAGIC.search(path) is not None


def split_glob(path: str, local: bool) -> tuple[str, list[str]]:
    """Return the fixed part of a glob, and the components after it."""
    parts = path.split("/")
    place = 0
    while not _MAGIC.search(parts[place]) or (local and _is_literal(parts[: place + 1])):
        place += 1
    components = parts[place:]
    twice = {n for n in range(1, len(components)) if components[n - 1 : n + 1] == ["**", "**"]}
    return (
        "/".join(parts[:place]) or ("/" if local else ""),
        [component for n, component in enumerate(components) if n not in twice],
    )


def _is_literal(parts: list[str]) -> bool:
    """Return whether the last part is the name of something that exists, as in ``run[1]/*``."""
    return not re.search(r"[*?]", parts[-1]) and os.path.lexists("/".join(parts))


def matches(name: str, component: str) -> bool:
    """Return whether a component of a glob matches a name; it also matches itself."""
    return name == component or fnmatch.fnmatchcase(name, component)


def spells(component: str, name: str) -> bool:
    """Return whether a component of a glob means hidden names like this one."""
    return component == name or component[0] == name[0] or component.endswith("._COPYING_")


def covers(glob: str, path: str, suffix: str) -> bool:
    """Return whether a path, folder or glob means a file, if no rule leaves the file out."""
    return _covers(glob.split("/"), path.split("/"), suffix)


def _covers(components: list[str], names: list[str], suffix: str) -> bool:
    if not components:
        # What is left is below a folder.
        return not names or names[-1].endswith(suffix)
    if components[0] == "**":
        rest = components[1:] or ["*"]
        return any(_covers(rest, names[place:], suffix) for place in range(len(names)))
    return (
        bool(names)
        and matches(names[0], components[0])
        and _covers(components[1:], names[1:], suffix)
    )
