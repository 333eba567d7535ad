"""Which columns of an input a run reads, and under which names and types it keeps them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.types as pt

from transforms.catalog.column_lists import written, written_pair
from transforms.catalog.options import ColumnOptions
from transforms.errors import BadInput
from transforms.ingest.folder_columns import folder_columns, folder_type, folder_values
from transforms.storage.column_types import (
    TypesDiffer,
    common_schema,
    common_type,
    stored_type,
    type_in_store,
)
from transforms.storage.file_columns import FileColumns, fault_of
from transforms.storage.filesystem import FileInfo
from transforms.storage.schema import RESERVED

_OPTIONS = {"id": "--id-column", "text": "--text-column", "metadata": "--metadata-columns"}


@dataclass(frozen=True)
class InputFile:
    """A file of an input, and the columns inside it."""

    file: FileInfo
    columns: FileColumns

    @property
    def url(self) -> str:
        """The file's URL."""
        return self.file.url

    @property
    def folders(self) -> dict[str, str | None]:
        """The columns of the file's folders; a column inside the file wins over them."""
        return folder_columns(self.url)

    def has(self, name: str) -> bool:
        """Return whether the file, or a folder of it, has one column of a name."""
        times = self.columns.times(name)
        return times == 1 or (times == 0 and name in self.folders)


def resolve_columns(columns: ColumnOptions, inputs: Sequence[InputFile]) -> ColumnOptions:
    """Return the options with all columns by name.

    Raises:
        BadInput: a column is missing, doubled or has a wrong type, or two have one name.
    """
    for each in inputs:
        _check_key(each, columns.id_column, "id", _is_id, "strings or integers")
        _check_key(each, columns.text_column, "text", _is_text, "strings")
    every = _further_columns(columns, inputs) if columns.all_columns else ()
    pairs = (*columns.metadata, *every)
    for _, old in columns.metadata:
        _check_given(old, inputs, columns.all_columns)
    for new, old in pairs:
        holders = [each for each in inputs if each.has(old)]
        if new in RESERVED:
            rename = written_pair(f"{new}_", old)
            raise BadInput(
                "metadata column",
                new,
                f"in {holders[0].url} has a name that the store uses itself",
                f"Rename it: --metadata-columns {rename}" + _or_exclude(columns, old),
            )
        olds = [theirs for name, theirs in pairs if name == new]
        if len(olds) > 1 and every:
            names = " and ".join(map(repr, olds))
            problem = f"in {holders[0].url} is the name for the columns {names}"
            remedy = "Give one of them another name with --metadata-columns new=old"
            raise BadInput("metadata column", new, problem, remedy + _or_exclude(columns, olds[-1]))
        if len(olds) > 1:
            problem = f"is given {len(olds)} times"
            raise BadInput("metadata column", new, problem, "Give it once")
    return ColumnOptions(columns.id_column, columns.text_column, pairs, label=columns.label)


def check_excluded(columns: ColumnOptions, inputs: Sequence[InputFile]) -> None:
    """Raise BadInput if a column is to be left out that no file has."""
    for name in columns.excluded:
        if not any(each.columns.times(name) or name in each.folders for each in inputs):
            raise BadInput(
                "exclude_columns",
                name,
                f"is no column of the input; {inputs[0].url} has {_listed(inputs[0])}",
                "Check the name, or leave the option out",
            )


def metadata_schema(
    columns: ColumnOptions, inputs: Sequence[InputFile], stored: Iterable[pa.Schema] = ()
) -> pa.Schema:
    """Return the schema of the metadata columns as they are written.

    Args:
        columns: the options, resolved.
        inputs: the files.
        stored: the metadata schemas of the store's segments, whose types stay where they can.

    Raises:
        BadInput: files differ in the type of a column, or a type can't be stored.
    """
    theirs = stored_types(stored)
    fields = []
    for new, old in columns.metadata:
        ours, holder = _input_type(old, inputs)
        if ours is None:
            # Only folders have it, so its values are texts that may take any type.
            texts = {each.folders[old] for each in inputs if old in each.folders}
            known = theirs.get(new)
            kind = folder_type(texts) if known is None or pt.is_null(known) else known
        elif new in theirs:
            found = type_in_store(theirs[new], ours)
            if found is None:
                raise BadInput(
                    "metadata columns",
                    None,
                    f"differ from those of the store: {new!r} has type {theirs[new]} there, but "
                    f"{ours} in {holder}",
                    "Cast or rename it, or give --mode replace to start from an empty store",
                )
            kind = found
        else:
            kind = stored_type(ours)
        if pt.is_nested(kind) and _holds_null(kind):
            raise BadInput(
                "metadata column",
                old,
                f"in {holder} has type {kind}, in which columns of type null have no values to "
                "keep",
                "Cast the inner null columns to another type, or leave the column out",
            )
        _check_folders(old, kind, inputs)
        fields.append(pa.field(new, kind))
    return pa.schema(fields)


def _check_folders(old: str, kind: pa.DataType, inputs: Sequence[InputFile]) -> None:
    """Check that the values of folders have the type of their column."""
    checked = set()
    for each in inputs:
        if each.columns.place(old) is not None or old not in each.folders:
            continue
        text = each.folders[old]
        if text not in checked:
            checked.add(text)
            try:
                folder_values(text, kind, 1)
            except pa.ArrowException as error:
                raise BadInput(
                    "metadata column",
                    old,
                    f"has the type {kind}, but is {text!r} in a folder of {each.url}",
                    f"Rename it: --metadata-columns {written_pair(old + '_', old)}",
                ) from error


def stored_types(stored: Iterable[pa.Schema]) -> dict[str, pa.DataType]:
    """Return the types of the metadata columns of a store's segments."""
    schemas = list(stored)
    try:
        return {field.name: field.type for field in common_schema(schemas)}
    except TypesDiffer:
        # The commit of another writer slipped in; the newest types count.
        return {field.name: field.type for schema in schemas for field in schema}


def _input_type(old: str, inputs: Sequence[InputFile]) -> tuple[pa.DataType | None, str]:
    """Return the type of a column in all files that have it, and the first of those files."""
    kind: pa.DataType | None = None
    first = ""
    for each in inputs:
        found = each.columns.kind(old)
        if found is None or found == kind:
            first = first or (each.url if old in each.folders else "")
            continue
        fault = fault_of(found)
        if fault:
            remedy = f"Leave it out: --exclude-columns {written(old)}, or rename the fields"
            raise BadInput("metadata column", old, f"in {each.url} {fault}", remedy)
        both = found if kind is None else common_type(kind, found)
        if both is None:
            raise BadInput(
                "input file",
                each.url,
                f"has other metadata columns than {inputs[0].url}: {old!r} has type {found}, but "
                f"{kind} in {first}",
                f"Cast one of them, or leave it out: --exclude-columns {written(old)}",
            )
        if kind is None or pt.is_null(kind):
            first = each.url
        kind = both
    return kind, first


def _further_columns(
    columns: ColumnOptions, inputs: Sequence[InputFile]
) -> tuple[tuple[str, str], ...]:
    """Return the columns of all files and folders that the options do not name."""
    named = {old for _, old in columns.metadata}
    own = {columns.id_column, columns.text_column, *named, *columns.excluded}
    found: dict[str, None] = {}
    for each in inputs:
        taken = {each.columns.place(name) for name in own}
        columns_of = zip(each.columns.names, each.columns.plain, strict=True)
        for place, (name, plain) in enumerate(columns_of):
            if place in taken or plain in columns.excluded:
                continue
            if name != plain:
                count = each.columns.plain.count(plain)
                raise BadInput(
                    "input file",
                    each.url,
                    f"has {count} columns {plain!r}",
                    f"Take one or the other: --metadata-columns "
                    f"{written_pair(plain, name)},{written_pair(plain + '_2', plain + '#2')}; "
                    f"leave them out: --exclude-columns {written(plain)}; or rename them",
                )
            found[name] = None
    folders = [name for each in inputs for name in each.folders]
    found.update(dict.fromkeys(name for name in folders if name not in own))
    return tuple((name, name) for name in found)


def _check_key(
    each: InputFile, name: str, role: str, fits: Callable[[pa.DataType], bool], wanted: str
) -> None:
    """Check the column of the ids or of the texts in one file."""
    kind = each.columns.kind(name)
    if kind is None:
        raise _missing(each, name, role)
    if not fits(kind):
        raise BadInput(
            f"{role} column",
            name,
            f"in {each.url} has type {kind} instead of {wanted}",
            f"Cast it, or name another column with {_OPTIONS[role]}",
        )


def _check_given(old: str, inputs: Sequence[InputFile], some: bool) -> None:
    """Check that all files have a column that is given by name, or at least some of them."""
    lacking = [each for each in inputs if not each.has(old)]
    doubled = [each for each in lacking if each.columns.times(old) > 1]
    if doubled or (lacking and not (some and len(lacking) < len(inputs))):
        raise _missing((doubled or lacking)[0], old, "metadata")


def _missing(each: InputFile, name: str, role: str) -> BadInput:
    times = each.columns.times(name)
    remedy = f"Name one of them with {_OPTIONS[role]}"
    if role == "metadata" and times == 0:
        remedy += "; --all-columns takes what each file has, and null where it has nothing"
    return BadInput(
        "input file",
        each.url,
        f"has {'more than one' if times else 'no'} {role} column {name!r}; its columns are "
        f"{_listed(each)}",
        remedy,
    )


def _listed(each: InputFile) -> str:
    further = [name for name in each.folders if name not in each.columns.names]
    return ", ".join(map(written, (*each.columns.names, *further)))


def _or_exclude(columns: ColumnOptions, old: str) -> str:
    return f", or leave it out: --exclude-columns {written(old)}" if columns.all_columns else ""


def _is_id(kind: pa.DataType) -> bool:
    return _is_text(kind) or bool(pt.is_integer(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(stored_type(kind) == pa.string())


def _holds_null(kind: pa.DataType) -> bool:
    """Return whether a type is null or contains a column of type null."""
    return pt.is_null(kind) or any(
        _holds_null(kind.field(number).type) for number in range(kind.num_fields)
    )
