"""What a training reads and where it may write, checked before any work."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms.errors import BadInput

_KINDS: dict[str, tuple[str, Callable[[pa.DataType], bool]]] = {
    "text": ("text", lambda t: pa.types.is_string(t) or pa.types.is_large_string(t)),
    "id": (
        "text or whole numbers",
        lambda t: pa.types.is_string(t) or pa.types.is_large_string(t) or pa.types.is_integer(t),
    ),
    "ids": (
        "lists of ids",
        lambda t: (pa.types.is_list(t) or pa.types.is_large_list(t)) and _is_id(t.value_type),
    ),
}


def _is_id(kind: pa.DataType) -> bool:
    return pa.types.is_null(kind) or _KINDS["id"][1](kind)


def read_columns(path: Path, what: str, columns: Mapping[str, str]) -> pa.Table:
    """Read named columns of a Parquet file.

    Args:
        path: the file.
        what: names the file in messages.
        columns: name to ``text``, ``id`` (text or whole numbers) or ``ids`` (lists of them). Nulls
            are only let through in columns of ``ids``, and in one of ``text`` that is alone.

    Raises:
        BadInput: the file is missing or no Parquet, or a column is missing, of another type, or has
            nulls.
    """
    if not path.is_file():
        raise BadInput(f"{what} {path} does not exist: name a Parquet file")
    try:
        schema = pq.read_schema(path)
        for name, kind in columns.items():
            if name not in schema.names:
                raise BadInput(f"{what} {path} has no column {name}: add or rename it")
            wanted, fits = _KINDS[kind]
            if not fits(schema.field(name).type):
                raise BadInput(
                    f"column {name} of {what} {path} is of type {schema.field(name).type}: "
                    f"it must hold {wanted}"
                )
        table = pq.read_table(path, columns=list(columns))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(f"{what} {path} is not readable as Parquet ({reason}): mend it") from error
    for name, kind in columns.items():
        if kind != "ids" and len(columns) > 1 and table[name].null_count:
            row = pc.index(pc.is_null(table[name]), True).as_py()
            raise BadInput(f"row {row} of {what} {path} has no {name}: fill it in or leave it out")
    return table


def check_output(output: Path, work: Path) -> None:
    """Refuse an output that would cost something to write, or can't be written.

    Raises:
        BadInput: the output is a file or holds something else than a model, or the work folder is
            in it, or its parent can't be written to.
    """
    output, work = output.absolute(), work.absolute()
    if output.exists() and not output.is_dir():
        raise BadInput(f"--output {output} is a file: name a folder to make")
    if output.is_dir() and any(output.iterdir()) and not (output / "modules.json").is_file():
        raise BadInput(
            f"--output {output} holds something else than a model, which would be lost: "
            "name a new folder"
        )
    if work == output or output in work.parents:
        raise BadInput(
            f"--work {work} lies in --output {output}, which is replaced in the end: "
            "keep them apart"
        )
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"--output {output} can't be made: {error.strerror}") from error
    if not os.access(output.parent, os.W_OK):
        raise BadInput(f"--output {output} can't be made: {output.parent} is not writable")
