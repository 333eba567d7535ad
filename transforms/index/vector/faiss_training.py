"""Train FAISS indexes, fill them, and see how well rows fit them.

Centres and lists are found by `transforms.index.vector.kmeans` where that is faster than FAISS.
"""

from collections.abc import Iterable
from typing import Any

import faiss
import numpy as np

from transforms.errors import BadInput
from transforms.index.vector import kmeans
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


def train_index(factory: str, dim: int, sample: Vectors, gpu: bool = False) -> Any:
    """An empty index, trained on a sample ``[n, dim]``; with ``gpu`` on the GPUs that FAISS sees.

    Raises:
        BadInput: FAISS can't train on these vectors.
    """
    index = empty_index(factory, dim)
    if gpu and count_lists(index) and gpus():
        make: Any = faiss
        lists = make.extract_index_ivf(index)
        # Behind transforms that change the width it has another than the index.
        lists.clustering_index = make.index_cpu_to_all_gpus(make.IndexFlatIP(lists.d))
    if not index.is_trained:
        try:
            train_quietly(index, sample)
        except RuntimeError as error:
            raise BadInput(
                f"index {factory!r} can't be trained on {len(sample)} rows ({reason(error)}); "
                "give --index flat"
            ) from error
    return index


def train_quietly(index: Any, sample: Vectors) -> None:
    """Train without what is not needed.

    That is a warning a codebook of small samples, as the recall is measured anyway, and an order
    of codes for a search that nothing here does: minutes of annealing.
    """
    make: Any = faiss
    rotations = []
    inner = inner_of(index)
    for transform in transforms_of(index):
        if isinstance(transform, make.OPQMatrix):
            # It trains by codes of its own; what it is given it uses, and does not keep.
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
            # FAISS would choose as many, but of a transformed copy of all.
            most = inner.train_encoder_num_vectors() or len(sample)
            inner.train(transformed(index, sample[:: max(1, len(sample) // most)]))
            index.is_trained = True
        else:
            index.train(sample)
    finally:
        for transform, _ in rotations:
            transform.pq = None


def _place_centres(index: Any, rows: Vectors) -> bool:
    """Give an inverted file its centres where they are found faster than FAISS finds them."""
    make: Any = faiss
    transforms, lists = transforms_of(index), inner_of(index)
    if not has_plain_lists(lists) or lists.clustering_index is not None:
        return False
    centres = make.downcast_index(lists.quantizer)
    if not isinstance(centres, (make.IndexFlat, make.IndexHNSWFlat)) or centres.ntotal:
        return False
    if len(rows) < lists.nlist or not kmeans.worthwhile(len(rows), lists.nlist, lists.d):
        return False
    # Rows and centres may be turned after they were compared: the same are near, and there is no
    # second copy of the rows.
    turned = len(transforms) <= 1 and all(map(_turns, transforms))
    for transform in transforms:
        if not transform.is_trained:
            transform.train(rows)
        if not turned:
            rows = transform.apply(rows)
    found = kmeans.cluster(rows, lists.nlist)
    centres.add(transformed(index, found) if turned else found)
    return True


def _turns(transform: Any) -> bool:
    """Whether a transform leaves all inner products as they are."""
    rotation = isinstance(transform, (faiss.RandomRotationMatrix, faiss.OPQMatrix))
    return rotation and transform.d_in == transform.d_out and not transform.have_bias


def fill_index(index: Any, rows: int, chunks: Iterable[Vectors]) -> None:
    """Add so many rows, chunks of float32 ``[n, dim]``, to a trained index that has none."""
    inner = inner_of(index)
    found = _centres(inner, rows)
    if found is None:
        for chunk in chunks:
            index.add(np.ascontiguousarray(chunk))
        return
    # Rows whose list is known can't be added to codes in blocks; these are made of plain ones.
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


def _centres(index: Any, rows: int) -> kmeans.Centres | None:
    """The centres of an inverted file, where the lists of so many rows are found faster by them."""
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
    if not kmeans.worthwhile(rows, index.nlist, index.d):
        return None
    return kmeans.Centres(centres.reconstruct_n(0, index.nlist))


def _unpacked(index: Any) -> Any:
    """An empty index of the same codes as one of fast scans, each row's in a place of its own."""
    make: Any = faiss
    codes = index.pq
    plain = make.IndexIVFPQ(
        index.quantizer, index.d, index.nlist, codes.M, codes.nbits, index.metric_type
    )
    plain.pq, plain.by_residual, plain.is_trained = codes, index.by_residual, True
    return plain


def fit_error(index: Any, vectors: Vectors) -> float | None:
    """Mean squared distance of vectors from what a trained index takes them for, if it can say.

    That is the nearest centre of an inverted file, and otherwise the vector that a code stands for.
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
