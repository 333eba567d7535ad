"""Inner products and cosines that are the same for equal vectors, wherever these stand.

A product of matrices sums in another order for some rows, by their place and by how many there are.
Equal vectors then get scores that differ in the last bits. These functions sum each pair of vectors
in one order, and round what is left of the noise of an encoder's batches.
"""

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float32]

#: Scores are multiples of the product of both lengths, as a power of two, by two to the minus this.
_BITS = 20
#: Smaller powers of two have no inverse in float32.
_LEAST = -100
#: The largest difference of a fast score from an exact one, relative to both lengths.
NOISE = 1e-5


def products(vectors: Vectors, queries: Vectors) -> Scores:
    """Return the inner products of each query with its own vectors, rounded to about six digits.

    Args:
        vectors: float32 ``[queries, n, dim]``.
        queries: float32 ``[queries, dim]``.

    Returns:
        Float32 ``[queries, n]``.
    """
    vectors, queries = np.ascontiguousarray(vectors), np.ascontiguousarray(queries)
    found = np.einsum("qnd,qd->qn", vectors, queries)
    return _rounded(found, lengths(vectors) * lengths(queries)[:, None])


def cosines(vectors: Vectors, query: Vectors) -> Scores:
    """Return the cosines of vectors ``[n, dim]`` and a query ``[dim]``, rounded as `products`."""
    vectors, query = np.ascontiguousarray(vectors), np.ascontiguousarray(query)
    both = lengths(vectors) * lengths(query[None])
    found = np.einsum("nd,d->n", vectors, query) / np.maximum(both, np.finfo(np.float32).tiny)
    return _rounded(found, np.ones_like(found))


def lengths(vectors: Vectors) -> Scores:
    """Return the lengths of vectors ``[…, dim]``, the same for equal vectors."""
    found: Scores = np.sqrt(np.einsum("...d,...d->...", vectors, vectors))
    return found


def _rounded(scores: Scores, scales: Scores) -> Scores:
    # The factor keeps lengths of about 1 away from the limit between two powers of two.
    _, exponents = np.frexp(scales * np.float32(1.5))
    units = np.ldexp(np.float32(1), np.maximum(exponents - 1 - _BITS, _LEAST))
    return np.asarray(np.rint(scores / units) * units, np.float32)
