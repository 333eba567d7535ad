"""Lists of columns as options write them: ``a,new=old,"a,b"``."""

import re

from transforms.errors import BadInput

_QUOTED = re.compile(r'"((?:[^"]|"")*)"\s*')


def parse_pairs(option: str, value: str) -> tuple[tuple[str, str], ...]:
    """Return the ``(new, old)`` pairs of a list such as ``a,new=old``.

    A name in double quotes may hold commas, equals signs and blanks at its ends; a double quote in
    it is written twice. Outside of quotes, only the first equals sign of an item separates.

    Raises:
        BadInput: the list can't be read.
    """
    pairs = []
    place = 0
    while place <= len(value):
        new, place, given = _part(option, value, place)
        old = ""
        if value[place : place + 1] == "=":
            old, place, quoted = _part(option, value, place + 1, stops=",")
            if not (new or given):
                problem = f"has no name before {value[place - len(old) - 1 : place]!r}"
                raise BadInput(option, value, problem, "Give new=old")
            pairs.append((new, old if old or quoted else new))
        elif new or given:
            pairs.append((new, new))
        if place < len(value) and value[place] != ",":
            problem = f"has {value[place:]!r} after a name in quotes"
            raise BadInput(option, value, problem, "Separate the columns by commas")
        place += 1
    return tuple(pairs)


def parse_names(option: str, value: str) -> tuple[str, ...]:
    """Return the names of a list such as ``a,b``, which are written as in `parse_pairs`.

    Raises:
        BadInput: the list can't be read, or renames a column.
    """
    pairs = parse_pairs(option, value)
    for new, old in pairs:
        if new != old:
            remedy = f'If that is a name, write it in quotes: "{new}={old}"'
            raise BadInput(option, value, f"renames {old!r}", remedy)
    return tuple(new for new, _ in pairs)


def written(name: str) -> str:
    """Return a name as a list has it: in quotes if it needs them."""
    plain = name and not re.search(r'[,="]', name) and name == name.strip()
    return name if plain else '"' + name.replace('"', '""') + '"'


def written_pair(new: str, old: str) -> str:
    """Return an item of a list that takes a column under a new name."""
    return f"{written(new)}={written(old)}"


def _part(option: str, value: str, place: int, stops: str = ",=") -> tuple[str, int, bool]:
    """Return the name that starts at a place, where it ends, and whether it is in quotes."""
    start = len(value) - len(value[place:].lstrip())
    if value[start : start + 1] == '"':
        found = _QUOTED.match(value, start)
        if found is None:
            problem = "has a double quote without a second one"
            raise BadInput(option, value, problem, 'Close it; write "" for a double quote')
        return found[1].replace('""', '"'), found.end(), True
    end = next((n for n in range(place, len(value)) if value[n] in stops), len(value))
    return value[place:end].strip(), end, False
