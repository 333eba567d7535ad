"""Vectors between Arrow columns and numpy arrays."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.errors import BadInput


def vectors_to_arrow(vectors: npt.NDArray[np.floating[Any]], dtype: pa.DataType) -> pa.Array:
    """Vectors of shape ``[rows, dim]`` as a fixed-size list array of ``dtype``, float32 or float16.

    A row with a value that is not finite in ``dtype`` becomes null.
    """
    rows, dim = vectors.shape
    with np.errstate(over="ignore"):
        vectors = np.ascontiguousarray(vectors).astype(dtype.to_pandas_dtype(), copy=False)
    flat = pa.array(vectors.reshape(-1))
    finite = np.isfinite(vectors).all(axis=1)
    mask = None if finite.all() else pa.array(~finite)
    assert len(flat) == rows * dim
    return pa.FixedSizeListArray.from_arrays(flat, dim, mask=mask)


def vectors_to_numpy(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.float32]:
    """A vector column without nulls as a float32 array of shape ``[rows, dim]``."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    dim = column.type.list_size
    # `flatten`, not `values`: a slice's `values` are its parent's.
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(-1, dim).astype(np.float32, copy=False)  # type: ignore[no-any-return]


def question_vectors(vectors: npt.ArrayLike, dim: int) -> npt.NDArray[np.float32]:
    """Vectors to search for, as float32 ``[n, dim]`` that lies in one piece.

    Raises:
        BadInput: they have another shape, are no numbers, or one is not finite.
    """
    try:
        # What float32 can't hold becomes infinite, which is told below.
        with np.errstate(over="ignore"):
            found = np.ascontiguousarray(vectors, np.float32)
    except (TypeError, ValueError) as error:
        raise BadInput(
            f"question vectors can't be taken for numbers: {error}; the store needs [n, {dim}]"
        ) from error
    if found.ndim != 2 or found.shape[1] != dim:
        raise BadInput(f"question vectors of shape {found.shape}; the store needs [n, {dim}]")
    wrong = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(wrong):
        raise BadInput(
            f"question vector {int(wrong[0])} has a number that is not finite; leave it out"
        )
    return found
