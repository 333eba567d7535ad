"""Conversion of vectors between Arrow columns and numpy arrays."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.errors import BadInput


def vectors_to_arrow(vectors: npt.NDArray[np.floating[Any]], dtype: pa.DataType) -> pa.Array:
    """Return vectors ``[rows, dim]`` as a fixed-size list array of ``dtype``, float32 or float16.

    A row with a value that is not finite in ``dtype`` becomes null.
    """
    rows, dim = vectors.shape
    # Not `to_pandas_dtype`: it needs pandas, which is not installed with albeam.
    number = {pa.float16(): np.float16, pa.float32(): np.float32}[dtype]
    with np.errstate(over="ignore"):
        vectors = np.ascontiguousarray(vectors).astype(number, copy=False)
    flat = pa.array(vectors.reshape(-1))
    finite = np.isfinite(vectors).all(axis=1)
    mask = None if finite.all() else pa.array(~finite)
    assert len(flat) == rows * dim
    return pa.FixedSizeListArray.from_arrays(flat, dim, mask=mask)


def vectors_to_numpy(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.float32]:
    """Return a vector column without nulls as a float32 array of shape ``[rows, dim]``."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    dim = column.type.list_size
    # `flatten`, not `values`: a slice's `values` are its parent's.
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(-1, dim).astype(np.float32, copy=False)  # type: ignore[no-any-return]


def question_vectors(vectors: npt.ArrayLike, dim: int) -> npt.NDArray[np.float32]:
    """Return question vectors as a contiguous float32 array ``[n, dim]``.

    Raises:
        BadInput: the shape is wrong, a value is not a number, or a number is not finite.
    """
    remedy = f"Give an array of numbers of shape [n, {dim}]"
    try:
        # Values that float32 can't hold become infinite and are rejected below.
        with np.errstate(over="ignore"):
            found = np.ascontiguousarray(vectors, np.float32)
    except (TypeError, ValueError) as error:
        problem = f"are not numbers: {error}"
        raise BadInput("question vectors", None, problem, remedy) from error
    if found.ndim != 2 or found.shape[1] != dim:
        raise BadInput("question vectors", None, f"have shape {found.shape}", remedy)
    wrong = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(wrong):
        problem = "has a number that is not finite"
        raise BadInput("question vector", int(wrong[0]), problem, "Leave the vector out")
    return found
