"""Training and filling of FAISS indexes, and the measurement of how well rows fit them.

`transforms.index.vector.kmeans` finds centres and lists where it is faster than FAISS.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np

from transforms.errors import BadInput
from transforms.index.vector.faiss_search import (
    Vectors,
    count_lists,
    empty_index,
    gpus,
    has_plain_lists,
    inner_of,
    reason,
    transformed,
    transforms_of,
)
from transforms.index.vector.kmeans_choice import worthwhile

if TYPE_CHECKING:
    from transforms.index.vector.kmeans import Centres


_LOGGER = logging.getLogger(__name__)


def train_index(factory: str, dim: int, sample: Vectors, gpu: bool = False) -> Any:
    """Return an empty index that is trained on a sample ``[n, dim]``.

    If ``gpu`` is true, it is trained on the GPUs that FAISS sees, and on the CPU if that fails.

    Raises:
        BadInput: FAISS can't train on these vectors.
    """
    index = empty_index(factory, dim)
    if gpu and count_lists(index) and gpus() and not index.is_trained:
        try:
            with _clustering_on_gpus(index):
                train_quietly(index, sample)
        except RuntimeError as error:
            _LOGGER.warning("the index is trained on the CPU: the GPU failed (%s)", reason(error))
            index = empty_index(factory, dim)
    if not index.is_trained:
        try:
            train_quietly(index, sample)
        except RuntimeError as error:
            problem = f"can't be trained on {len(sample)} rows ({reason(error)})"
            raise BadInput("index", factory, problem, "Give --index flat") from error
    return index


@contextmanager
def _clustering_on_gpus(index: Any) -> Iterator[None]:
    """Let an inverted file's centres be found on the GPUs, and free their memory afterwards."""
    make: Any = faiss
    lists = make.extract_index_ivf(index)
    # Transforms may change the width, so that the lists' width differs from the index's.
    clustering = make.index_cpu_to_all_gpus(make.IndexFlatIP(lists.d))
    lists.clustering_index = clustering
    try:
        yield
    finally:
        # The assignment took it from Python, and an inverted file never frees it.
        lists.clustering_index = None
        clustering.this.own(True)


def train_quietly(index: Any, sample: Vectors) -> None:
    """Train an index without superfluous warnings and work.

    FAISS warns about each codebook with a small sample, but recall is measured anyway. It also
    spends minutes on ordering codes for a polysemous search, which albeam does not use.
    """
    make: Any = faiss
    rotations = []
    inner = inner_of(index)
    for transform in transforms_of(index):
        if isinstance(transform, make.OPQMatrix):
            # The rotation uses these codes during training; they are removed below.
            codes = make.ProductQuantizer(transform.d_out, transform.M, 8)
            codes.cp.min_points_per_centroid = 1
            transform.pq = codes
            rotations.append((transform, codes))
    owners = [inner, *(getattr(inner, name, None) for name in ("pq", "rq"))]
    if count_lists(index):
        lists = make.downcast_index(make.extract_index_ivf(index))
        owners += [lists, make.downcast_index(lists.quantizer)]
    for owner in owners:
        if hasattr(owner, "cp"):
            owner.cp.min_points_per_centroid = 1
        if hasattr(owner, "do_polysemous_training"):
            owner.do_polysemous_training = False
    sample = np.ascontiguousarray(sample)
    try:
        if _place_centres(index, sample):
            # FAISS would choose as many rows, but from a transformed copy of all of them.
            most = inner.train_encoder_num_vectors() or len(sample)
            inner.train(transformed(index, sample[:: max(1, len(sample) // most)]))
            index.is_trained = True
        else:
            index.train(sample)
    finally:
        for transform, _ in rotations:
            transform.pq = None


def _place_centres(index: Any, rows: Vectors) -> bool:
    """Find and set an inverted file's centres; return False if FAISS should find them."""
    make: Any = faiss
    transforms, lists = transforms_of(index), inner_of(index)
    if not has_plain_lists(lists) or lists.clustering_index is not None:
        return False
    centres = make.downcast_index(lists.quantizer)
    if not isinstance(centres, (make.IndexFlat, make.IndexHNSWFlat)) or centres.ntotal:
        return False
    if len(rows) < lists.nlist or not worthwhile(len(rows), lists.nlist, lists.d):
        return False
    # A rotation keeps all distances, so the centres can be found first and rotated afterwards. This
    # avoids a second copy of the rows.
    rotated = len(transforms) <= 1 and all(map(_is_rotation, transforms))
    for transform in transforms:
        if not transform.is_trained:
            transform.train(rows)
        if not rotated:
            rows = transform.apply(rows)
    from transforms.index.vector import kmeans

    found = kmeans.cluster(rows, lists.nlist)
    centres.add(transformed(index, found) if rotated else found)
    return True


def _is_rotation(transform: Any) -> bool:
    """Return whether a transform preserves all inner products."""
    rotation = isinstance(transform, (faiss.RandomRotationMatrix, faiss.OPQMatrix))
    return rotation and transform.d_in == transform.d_out and not transform.have_bias


def fill_index(index: Any, rows: int, chunks: Iterable[Vectors]) -> None:
    """Add so many rows, in float32 chunks ``[n, dim]``, to an empty trained index."""
    inner = inner_of(index)
    found = _centres(inner, rows)
    if found is None:
        for chunk in chunks:
            index.add(np.ascontiguousarray(chunk))
        return
    # Rows with given lists can't be added to fast-scan codes, which store rows in blocks. They are
    # added to plain codes first, and then converted.
    make: Any = faiss
    packed = type(inner) is make.IndexIVFPQFastScan
    target = _unpacked(inner) if packed else inner
    for chunk in chunks:
        some = transformed(index, chunk)
        near = found.nearest(some)
        target.add_core(len(some), make.swig_ptr(some), None, make.swig_ptr(near), None)
    if packed:
        inner.merge_from(make.IndexIVFPQFastScan(target), 0)
    index.ntotal = inner.ntotal


def _centres(index: Any, rows: int) -> "Centres | None":
    """Return an inverted file's centres; None if FAISS finds the lists of so many rows faster."""
    make: Any = faiss
    kinds = (
        make.IndexIVFFlat,
        make.IndexIVFScalarQuantizer,
        make.IndexIVFPQ,
        make.IndexIVFPQFastScan,
    )
    if type(index) not in kinds:
        return None
    centres = make.downcast_index(index.quantizer)
    if not isinstance(centres, make.IndexFlat):
        return None
    if not worthwhile(rows, index.nlist, index.d):
        return None
    from transforms.index.vector.kmeans import Centres

    return Centres(centres.reconstruct_n(0, index.nlist))


def _unpacked(index: Any) -> Any:
    """Return an empty index with the same codes as a fast-scan index, but without its blocks."""
    make: Any = faiss
    codes = index.pq
    plain = make.IndexIVFPQ(
        index.quantizer, index.d, index.nlist, codes.M, codes.nbits, index.metric_type
    )
    plain.pq, plain.by_residual, plain.is_trained = codes, index.by_residual, True
    return plain


def fit_error(index: Any, vectors: Vectors) -> float | None:
    """Return the mean squared distance of vectors from their approximations in a trained index.

    The approximation is the nearest centre in an inverted file, else the decoded vector. Returns
    None if the index can't decode.
    """
    vectors, index = transformed(index, vectors), inner_of(index)
    try:
        if count_lists(index):
            _, near = index.quantizer.search(vectors, 1)
            centres = index.quantizer.reconstruct_n(0, index.nlist)[near[:, 0]]
        else:
            centres = index.sa_decode(index.sa_encode(vectors))
    except RuntimeError:
        return None
    return float(np.square(centres - vectors).sum(axis=1).mean())
