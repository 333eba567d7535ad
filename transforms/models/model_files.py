"""The files of a model's folder, which anyone may have made: inside it, bounded, and readable.

A link may lead to another file of the folder, or into the ``blobs`` of the hub's cache.
"""

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transforms.errors import AlbeamError, BadInput

#: The most bytes of a file that transformers or albeam reads, by the end of its name. The largest
#: tokenizers of multilingual models have half as many.
_MOST_BYTES = {
    "tokenizer.json": 128 << 20,
    ".json": 16 << 20,
    ".model": 64 << 20,
    ".txt": 64 << 20,
    ".jinja": 1 << 20,
}
#: Weights have no bound but the disk; their headers have.
_WEIGHTS = ".safetensors"
#: An adapter names another model, and transformers would load that one.
_ADAPTER = "adapter_config.json"
_MOST_DEPTH = 64
_RESTORE = "Restore the model's files"


def refusal(name: str, file: str, problem: str, remedy: str = _RESTORE) -> BadInput:
    """Return the error about a file of a model; ``problem`` is the rest of a sentence about it."""
    return BadInput("model", name, f"has a {file} that {problem}", remedy)


def check_files(folder: str, name: str) -> None:
    """Check the files that transformers or albeam may read; ``name`` is the user's for the model.

    Raises:
        BadInput: a file is a link out of the folder, or is too large, or is an adapter.
    """
    for entry in sorted(os.listdir(folder)):
        most = _most_bytes(entry)
        if entry == _ADAPTER:
            problem = "makes it an adapter of another model"
            raise refusal(name, entry, problem, "Merge the two, and save the result")
        if most is None and not entry.endswith(_WEIGHTS):
            continue
        found = inner_path(folder, entry, name).stat()
        # What is not a regular file is not read, as if it were missing.
        if most is not None and stat.S_ISREG(found.st_mode) and found.st_size > most:
            raise refusal(name, entry, f"has {found.st_size} bytes, but at most {most} are read")


def _most_bytes(file: str) -> int | None:
    return next((most for end, most in _MOST_BYTES.items() if file.endswith(end)), None)


def inner_path(folder: str, file: str, name: str) -> Path:
    """Return the path of a file of a model's folder, which may be missing.

    Raises:
        BadInput: it leads out of the folder.
    """
    root = Path(folder)
    try:
        place = Path(os.path.realpath(root / file))
    except (OSError, ValueError) as error:
        raise refusal(name, repr(file), f"can't be found: {error}") from error
    allowed = [Path(os.path.realpath(root))]
    if root.parent.name == "snapshots":
        allowed.append(Path(os.path.realpath(root.parent.parent / "blobs")))
    if not any(place.is_relative_to(each) for each in allowed):
        remedy = "Copy the file into the folder"
        raise refusal(name, file, f"leads out of its folder, to {place}", remedy)
    return root / file


def read_json(folder: str, file: str, name: str) -> Any:
    """Return the value of a JSON file of a model's folder; None if there is no such file.

    Raises:
        BadInput: it leads out of the folder, is too large, is not JSON, or is too deep.
    """
    path = inner_path(folder, file, name)
    if not path.is_file():
        return None
    most = _MOST_BYTES[".json"]
    with open(path, "rb") as opened:
        content = opened.read(most + 1)
    if len(content) > most:
        raise refusal(name, file, f"has more than {most} bytes")
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise refusal(name, file, f"is not JSON: {error}") from error
    if _is_deeper(value, _MOST_DEPTH):
        raise refusal(name, file, f"has values inside more than {_MOST_DEPTH} others")
    return value


def read_object(folder: str, file: str, name: str) -> dict[str, Any]:
    """Return the object in a JSON file of a model's folder; {} if there is no such file.

    Raises:
        BadInput: as `read_json`, or it holds something else.
    """
    value = read_json(folder, file, name)
    if value is not None and not isinstance(value, dict):
        raise refusal(name, file, f"holds a {type(value).__name__} instead of an object")
    return value or {}


def _is_deeper(value: Any, most: int) -> bool:
    level = [value]
    for _ in range(most + 1):
        inner = [list(each.values()) if isinstance(each, dict) else each for each in level]
        level = [each for values in inner if isinstance(values, list) for each in values]
        if not level:
            return False
    return True


@contextmanager
def refusing(name: str, problem: str, remedy: str = _RESTORE) -> Iterator[None]:
    """Turn what transformers, tokenizers or torch raise about a model's files into BadInput.

    They raise nearly any error for files that are not as they should be. Errors about memory and
    devices pass, because they say nothing about the files.
    """
    try:
        yield
    except (AlbeamError, MemoryError):
        raise
    except Exception as error:
        if type(error).__name__ in ("OutOfMemoryError", "AcceleratorError"):
            raise
        raise BadInput("model", name, f"{problem}: {reason(error)}", remedy) from error
    except BaseException as error:
        # What a library in Rust raises if it fails is no Exception.
        if type(error).__name__ != "PanicException":
            raise
        raise BadInput("model", name, f"{problem}: {reason(error)}", remedy) from error


def reason(error: BaseException) -> str:
    """Return the first line of an error's text, or its type if it has none."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
