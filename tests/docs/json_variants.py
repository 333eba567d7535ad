"""The keys of a command's JSON output, for the options with which it is called."""

import json

from deploy.docs.json_reference import keys_of

#: Keys of an output that only an option adds, and the options that do.
_ADDED = {
    "search": ({"answer"}, {"--reader"}),
    "evaluate": ({"modes", "success", "latency"}, {"--modes", "--beside"}),
}
#: Keys of an output that an option takes away, and the options that do.
_REMOVED = {"evaluate": ({"metrics"}, {"--modes", "--beside"})}
#: Keys that stand only for what is damaged.
_DAMAGE = {"snapshots": {"damaged"}}


def expected_keys(arguments: list[str]) -> set[str]:
    """Return the keys of each object that a command prints with these arguments."""
    command = arguments[0]
    for option in ("--output", "--tune"):
        if option in arguments and command in ("search", "evaluate"):
            command += f" {option}"
    keys = keys_of(command) - _DAMAGE.get(command, set())
    added, options = _ADDED.get(command, (set(), set()))
    keys -= set() if options & set(arguments) else added
    removed, options = _REMOVED.get(command, (set(), set()))
    return keys - removed if options & set(arguments) else keys


def check_json(arguments: list[str], printed: str) -> None:
    """Compare the keys of a JSON output with those that docs/reference/json.md lists."""
    if "--json" not in arguments:
        return
    values = [json.loads(line) for line in printed.splitlines()]
    rows = [row for value in values for row in (value if isinstance(value, list) else [value])]
    assert rows
    for row in rows:
        assert set(row) == expected_keys(arguments), arguments
