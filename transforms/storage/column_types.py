"""The types of metadata columns: which are one type to a store, and which hold another's values.

Writers note the same values under many Arrow types: strings as ``string``, ``large_string``, views
or dictionaries, whole numbers in any width, times in any unit.
"""

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.types as pt

#: The most digits of the decimal types of Arrow.
_DIGITS_128, _DIGITS_256 = 38, 76
#: The most decimal digits of whole numbers, by their bits.
_DIGITS_OF_BITS = {8: 3, 16: 5, 32: 10, 64: 20}
#: The widest whole numbers that a double holds without loss, in bits.
_BITS_OF_DOUBLE = 32
_UNITS = ("s", "ms", "us", "ns")


class TypesDiffer(ValueError):
    """A column has types that no type can hold together.

    Attributes:
        name: the column.
        types: the two types.
    """

    def __init__(self, name: str, *types: pa.DataType) -> None:
        super().__init__(f"column {name!r} has the types {types[0]} and {types[1]}")
        self.name, self.types = name, types


def stored_type(kind: pa.DataType) -> pa.DataType:
    """Return the type under which a new store keeps a column: one for each kind of values.

    Dictionaries become their values, because Parquet encodes them again. Strings, bytes and lists
    lose the widths of their offsets. Fields of nested types may be null.
    """
    if pt.is_dictionary(kind):
        return stored_type(kind.value_type)
    if _is_text(kind):
        return pa.string()
    if pt.is_large_binary(kind) or pt.is_binary_view(kind):
        return pa.binary()
    if pt.is_struct(kind):
        return pa.struct([(field.name, stored_type(field.type)) for field in kind])
    if pt.is_map(kind):
        return pa.map_(stored_type(kind.key_type), stored_type(kind.item_type))
    if pt.is_fixed_size_list(kind):
        return pa.list_(stored_type(kind.value_type), kind.list_size)
    if _is_list(kind):
        return pa.list_(stored_type(kind.value_type))
    return kind


def common_type(first: pa.DataType, second: pa.DataType) -> pa.DataType | None:
    """Return the type that holds the values of both types, or None if there is none.

    Times of two units take the finer one, which may be too narrow for times that are far away.
    """
    first, second = stored_type(first), stored_type(second)
    if first == second or pt.is_null(second):
        return first
    if pt.is_null(first):
        return second
    for join in (_numbers, _times, _bytes, _nested, _extensions):
        found = join(first, second)
        if found is not None:
            return found
    return None


def type_in_store(theirs: pa.DataType, ours: pa.DataType) -> pa.DataType | None:
    """Return the type of an input's column in a store that has it, or None if it does not fit.

    It is the store's own type if that can hold the values, and a wider one if not. Times always
    take the unit of the store: a value that does not fit into it is an error of its row.
    """
    if theirs == ours:
        return theirs
    adapted = _with_times_of(stored_type(theirs), stored_type(ours))
    return _kept(theirs, common_type(theirs, adapted))


def common_schema(schemas: Iterable[pa.Schema], same_times: bool = False) -> pa.Schema:
    """Return all columns of some schemas, each under the type that holds all its values.

    Args:
        schemas: the schemas.
        same_times: take times of two units for types that differ, because the finer unit may be too
            narrow for times that are far away.

    Raises:
        TypesDiffer: there is no such type for a column.
    """
    found: dict[str, pa.DataType] = {}
    for schema in schemas:
        for field in schema:
            known = found.setdefault(field.name, field.type)
            if known == field.type:
                continue
            kind = _kept(known, common_type(known, field.type))
            if kind is None or (same_times and not _same_units(known, field.type)):
                raise TypesDiffer(field.name, known, field.type)
            found[field.name] = kind
    return pa.schema(list(found.items()))


def _kept(known: pa.DataType, wanted: pa.DataType | None) -> pa.DataType | None:
    """Return a known type if it holds the values of the wanted one as it is, else that one.

    The hash of a row depends on its types, so a type that is known stays where it can.
    """
    return known if wanted == stored_type(known) and _holds_any(known) else wanted


def _holds_any(kind: pa.DataType) -> bool:
    """Return whether a type has no bound of its own: no dictionary, and no field without null."""
    if pt.is_dictionary(kind):
        return False
    if pt.is_map(kind):
        return _holds_any(kind.key_type) and _holds_any(kind.item_type)
    fields = [kind.field(number) for number in range(kind.num_fields)]
    return all(field.nullable and _holds_any(field.type) for field in fields)


def cast_column(
    column: pa.Array | pa.ChunkedArray, kind: pa.DataType
) -> pa.Array | pa.ChunkedArray:
    """Return a column with another type.

    Raises:
        pa.ArrowException: a value does not fit.
    """
    # The names of what is in lists don't count for equality, but for the hashes of a row.
    if column.type == kind and str(column.type) == str(kind):
        return column
    if pt.is_dictionary(column.type) and pt.is_string_view(column.type.value_type):
        # Arrow can't take from views.
        values = pa.dictionary(column.type.index_type, pa.string())
        column = column.cast(values)
    return column.cast(kind)


def cast_table(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table with the columns of a schema, which it has under other types.

    Raises:
        pa.ArrowException: a value does not fit.
    """
    columns = [cast_column(table.column(field.name), field.type) for field in schema]
    return pa.table(columns, schema=schema)


def _numbers(first: pa.DataType, second: pa.DataType) -> pa.DataType | None:
    kinds = (first, second)
    if all(map(pt.is_integer, kinds)):
        return _integers(first, second)
    if all(pt.is_floating(kind) or pt.is_integer(kind) for kind in kinds):
        whole = [kind.bit_width for kind in kinds if pt.is_integer(kind)]
        if whole:
            return pa.float64() if whole[0] <= _BITS_OF_DOUBLE else None
        return first if first.bit_width > second.bit_width else second
    if all(pt.is_decimal(kind) or pt.is_integer(kind) for kind in kinds):
        digits = [
            (kind.precision, kind.scale)
            if pt.is_decimal(kind)
            else (_DIGITS_OF_BITS[kind.bit_width], 0)
            for kind in kinds
        ]
        scale = max(scale for _, scale in digits)
        return _decimal(max(precision - scale for precision, scale in digits) + scale, scale)
    return None


def _integers(first: pa.DataType, second: pa.DataType) -> pa.DataType | None:
    signed = {pt.is_signed_integer(kind): kind.bit_width for kind in (first, second)}
    if len(signed) == 1:
        return first if first.bit_width > second.bit_width else second
    # A signed type holds unsigned numbers of half its width.
    bits = max(signed[True], 2 * signed[False])
    wider = {16: pa.int16(), 32: pa.int32(), 64: pa.int64()}
    return wider.get(bits) or _decimal(_DIGITS_OF_BITS[64], 0)


def _decimal(precision: int, scale: int) -> pa.DataType | None:
    if precision > _DIGITS_256:
        return None
    make = pa.decimal128 if precision <= _DIGITS_128 else pa.decimal256
    return make(precision, scale)


def _times(first: pa.DataType, second: pa.DataType) -> pa.DataType | None:
    kinds = (first, second)
    if all(map(pt.is_date, kinds)):
        return pa.date64()
    if all(map(pt.is_duration, kinds)):
        return pa.duration(_finer(first, second))
    if all(map(pt.is_time, kinds)):
        unit = _finer(first, second)
        return pa.time32(unit) if unit in ("s", "ms") else pa.time64(unit)
    if all(map(pt.is_timestamp, kinds)) and (first.tz is None) == (second.tz is None):
        # The zone of a time says how it is shown, not when it was.
        return pa.timestamp(_finer(first, second), first.tz if first.tz == second.tz else "UTC")
    return None


def _finer(first: pa.DataType, second: pa.DataType) -> str:
    return str(max(first.unit, second.unit, key=_UNITS.index))


def _bytes(first: pa.DataType, second: pa.DataType) -> pa.DataType | None:
    both = all(pt.is_binary(kind) or pt.is_fixed_size_binary(kind) for kind in (first, second))
    return pa.binary() if both else None


def _nested(first: pa.DataType, second: pa.DataType) -> pa.DataType | None:
    if pt.is_struct(first) and pt.is_struct(second):
        try:
            return pa.struct(list(common_schema([pa.schema(list(first)), pa.schema(list(second))])))
        except TypesDiffer:
            return None
    if pt.is_map(first) and pt.is_map(second):
        key = common_type(first.key_type, second.key_type)
        item = common_type(first.item_type, second.item_type)
        return None if key is None or item is None else pa.map_(key, item)
    if not (_is_list(first) and _is_list(second)):
        return None
    item = common_type(first.value_type, second.value_type)
    if item is None:
        return None
    sizes = {kind.list_size if pt.is_fixed_size_list(kind) else -1 for kind in (first, second)}
    return pa.list_(item, sizes.pop() if len(sizes) == 1 else -1)


def _extensions(first: pa.DataType, second: pa.DataType) -> pa.DataType | None:
    kinds = [
        kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
        for kind in (first, second)
    ]
    # Those of other values have Python values of their own.
    return pa.string() if all(map(_is_text, kinds)) else None


def _with_times_of(theirs: pa.DataType, ours: pa.DataType) -> pa.DataType:
    """Return ``ours`` with the units and zones of ``theirs``, inside of nested types too."""
    for kinds in (pt.is_duration, pt.is_time, pt.is_date):
        if kinds(theirs) and kinds(ours):
            return theirs
    if pt.is_timestamp(theirs) and pt.is_timestamp(ours):
        return theirs if (theirs.tz is None) == (ours.tz is None) else ours
    if pt.is_struct(theirs) and pt.is_struct(ours):
        known = {field.name: field.type for field in theirs}
        return pa.struct(
            [
                field.with_type(_with_times_of(known.get(field.name, field.type), field.type))
                for field in ours
            ]
        )
    if pt.is_map(theirs) and pt.is_map(ours):
        return pa.map_(
            _with_times_of(theirs.key_type, ours.key_type),
            _with_times_of(theirs.item_type, ours.item_type),
        )
    if _is_list(theirs) and _is_list(ours):
        field = ours.value_field.with_type(_with_times_of(theirs.value_type, ours.value_type))
        return pa.list_(field, ours.list_size if pt.is_fixed_size_list(ours) else -1)
    return ours


def _same_units(first: pa.DataType, second: pa.DataType) -> bool:
    """Return whether all times of two types that have a common one are counted in one unit."""
    first, second = stored_type(first), stored_type(second)
    if pt.is_struct(first) and pt.is_struct(second):
        others = {field.name: field.type for field in second}
        return all(_same_units(each.type, others.get(each.name, each.type)) for each in first)
    if pt.is_map(first) and pt.is_map(second):
        pairs = ((first.key_type, second.key_type), (first.item_type, second.item_type))
        return all(_same_units(*pair) for pair in pairs)
    if _is_list(first) and _is_list(second):
        return _same_units(first.value_type, second.value_type)
    units = {getattr(kind, "unit", None) for kind in (first, second) if not pt.is_null(kind)}
    return len(units) <= 1


def _is_text(kind: pa.DataType) -> bool:
    return bool(pt.is_string(kind) or pt.is_large_string(kind) or pt.is_string_view(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pt.is_list(kind)
        or pt.is_large_list(kind)
        or pt.is_fixed_size_list(kind)
        or pt.is_list_view(kind)
        or pt.is_large_list_view(kind)
    )
