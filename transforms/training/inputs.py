"""Checks of the files that a training reads and of the folder that it writes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from transforms.errors import BadInput
from transforms.models.resolve import load_config
from transforms.storage.parquet_files import CheckedFile


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _is_span(kind: pa.DataType) -> bool:
    if not pa.types.is_struct(kind):
        return False
    found = {field.name: field.type for field in kind}
    return (
        {"start", "end", "type"} <= found.keys()
        and pa.types.is_integer(found["start"])
        and pa.types.is_integer(found["end"])
        and _is_text(found["type"])
    )


def _is_answers(kind: pa.DataType) -> bool:
    """Say whether a type is text, a text with its start, lists of either, or SQuAD's struct."""
    # A struct outside a list may have lists as fields.
    within = _inner if not _is_list(kind) else lambda inner: inner
    kind = _inner(kind)
    if not pa.types.is_struct(kind):
        return _is_text(kind) or pa.types.is_null(kind)
    found = {field.name: within(field.type) for field in kind}
    starts = [found[name] for name in ("start", "answer_start") if name in found]
    return "text" in found and _is_text(found["text"]) and all(map(_is_number, starts))


def _inner(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if _is_list(kind) else kind


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_null(kind))


_KINDS: dict[str, tuple[str, Callable[[pa.DataType], bool]]] = {
    "text": ("text", _is_text),
    "id": (
        "text or whole numbers",
        lambda t: _is_text(t) or pa.types.is_integer(t),
    ),
    "ids": ("lists of ids", lambda t: _is_list(t) and _is_id(t.value_type)),
    "texts": ("lists of text", lambda t: _is_list(t) and _is_text(t.value_type)),
    "number": ("numbers", lambda t: pa.types.is_integer(t) or pa.types.is_floating(t)),
    "numbers": ("lists of whole numbers", lambda t: _is_list(t) and _is_number(t.value_type)),
    "answers": ("text, lists of text, or lists of text and start", _is_answers),
    "spans": (
        "lists of start and end (whole numbers) and type (text)",
        lambda t: _is_list(t) and _is_span(t.value_type),
    ),
}

#: Kinds of columns that may have nulls.
_LISTS = {"ids", "texts", "spans", "numbers", "answers"}


def _is_id(kind: pa.DataType) -> bool:
    return pa.types.is_null(kind) or _KINDS["id"][1](kind)


def check_model(folder: Path, option: str) -> None:
    """Check all files of a model's folder before any of them is loaded.

    Raises:
        BadInput: a file is not as it should be, or leads out of the folder.
    """
    try:
        load_config(str(folder), str(folder))
    except BadInput as error:
        raise BadInput(option, str(folder), error.problem, error.remedy) from error


def read_columns(path: Path, option: str, columns: Mapping[str, str]) -> pa.Table:
    """Read named columns of a Parquet file.

    Args:
        path: the file.
        option: the option that names the file, for messages.
        columns: kind by name: ``text``, ``number``, ``id`` (text or whole numbers), ``ids`` (lists
            of them), ``texts`` (lists of text), ``spans`` (lists of start, end and type),
            ``numbers`` (lists of whole numbers) or ``answers`` (texts, with their starts or
            without). Nulls are allowed in columns of lists, and in a column that is read alone.

    Raises:
        BadInput: the file does not exist or is not Parquet, or a column is missing, has another
            type or has nulls.
    """
    if not path.is_file():
        raise BadInput(option, str(path), "does not exist", "Name a Parquet file")
    try:
        with CheckedFile(path) as file:
            file.check_single(columns)
            schema = file.schema_arrow
            for name, kind in columns.items():
                if name not in schema.names:
                    raise BadInput(
                        option, str(path), f"has no column {name!r}", "Add or rename the column"
                    )
                wanted, fits = _KINDS[kind]
                if not fits(schema.field(name).type):
                    raise BadInput(
                        option,
                        str(path),
                        f"column {name!r} has the type {schema.field(name).type}",
                        f"Convert it to {wanted}",
                    )
            table = file.read(columns=list(columns))
            # Arrow reads text that is not UTF-8, and Python can't.
            table.validate(full=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, option, error) from error
    for name, kind in columns.items():
        if kind not in _LISTS and len(columns) > 1 and table[name].null_count:
            row = pc.index(pc.is_null(table[name]), True).as_py()
            raise BadInput(
                option, str(path), f"row {row} has no {name}", "Fill it in or remove the row"
            )
    return table


def _unreadable(path: Path, option: str, error: Exception) -> BadInput:
    problem = f"is not readable as Parquet ({str(error).splitlines()[0]})"
    return BadInput(option, str(path), problem, "Write the file again")


def column_names(path: Path, option: str) -> list[str]:
    """Return the names of a Parquet file's columns; raises BadInput if it can't be read."""
    if not path.is_file():
        raise BadInput(option, str(path), "does not exist", "Name a Parquet file")
    try:
        with CheckedFile(path) as file:
            return list(file.schema_arrow.names)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, option, error) from error


def check_output(output: Path, work: Path, mark: str = "modules.json") -> None:
    """Check that a model can be written to ``output`` without loss of other files.

    Args:
        output: the folder of the model.
        work: the work folder.
        mark: a file that every model of this kind has.

    Raises:
        BadInput: the output is a file, holds something other than a model or contains the work
            folder, or its parent is not writable.
    """
    output, work = output.absolute(), work.absolute()
    if output.exists() and not output.is_dir():
        raise BadInput("output", str(output), "is a file", "Name a new folder")
    if output.is_dir() and any(output.iterdir()) and not (output / mark).is_file():
        raise BadInput(
            "output",
            str(output),
            "holds something other than a model, which would be lost",
            "Name a new folder",
        )
    if work == output or output in work.parents:
        raise BadInput(
            "work",
            str(work),
            f"lies in the output {output}, which the finished model replaces",
            "Name a folder outside of the output",
        )
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(
            "output", str(output), f"can't be created ({error.strerror})", "Name another folder"
        ) from error
    if not os.access(output.parent, os.W_OK):
        raise BadInput(
            "output",
            str(output),
            f"can't be created: {output.parent} is not writable",
            "Name another folder",
        )
