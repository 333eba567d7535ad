"""A seeded sample of a store: the lengths of its passages, and a map of its vectors."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.errors import BadInput
from transforms.index.top_k import Rows
from transforms.search.store import Store
from transforms.storage.vectors import vectors_to_numpy

SAMPLE = 5_000
MAPPED = 1_500
#: Number of values of a column that get a colour of their own.
_NAMED = 5
OTHER = "other"


@dataclass(frozen=True)
class CorpusSample:
    """A sample of a store's passages.

    Attributes:
        passages: number of sampled passages.
        tokens, characters: lengths of the passages, int64 ``[passages]``; tokens include special
            tokens.
        places: places of some passages on the map, float64 ``[mapped, 2]``.
        explained: share of the vectors' variance along each axis of the map.
        names: document ids of the passages on the map.
        groups: what colours each passage on the map; "" without a column.
    """

    passages: int
    tokens: npt.NDArray[np.int64]
    characters: npt.NDArray[np.int64]
    places: npt.NDArray[np.float64]
    explained: tuple[float, float]
    names: tuple[str, ...]
    groups: tuple[str, ...]


def check_colour(store: Store, column: str | None) -> None:
    """Raise BadInput if the store has no such metadata column."""
    names = [name for name in store.columns.names if name != "document_id"]
    if column is not None and column not in names:
        problem = f"is not a metadata column of {store.url}"
        remedy = f"Give one of {', '.join(names)}" if names else "Leave it out"
        raise BadInput("colour", column, problem, remedy)


def sample_corpus(store: Store, colour: str | None = None, seed: int = 0) -> CorpusSample:
    """Sample up to 5,000 live passages, and put up to 1,500 of them on a map.

    Args:
        store: a store with any number of passages.
        colour: a metadata column that groups the points of the map.
        seed: the seed of the sample.

    Raises:
        BadInput: the store has no such column.
    """
    check_colour(store, colour)
    live = store.live.numbers()
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(live, min(SAMPLE, len(live)), replace=False))
    if not len(rows):
        none = np.zeros(0, np.int64)
        return CorpusSample(0, none, none, np.zeros((0, 2)), (0.0, 0.0), (), ())
    texts = store.read_rows(rows, ["text"]).column(0).to_pylist()
    identity = store.snapshot.identity
    framed = store.encoder.tokenizer.encode_framed(
        [identity.passage_prompt + text for text in texts], identity.max_tokens
    )
    mapped = np.sort(rng.choice(rows, min(MAPPED, len(rows)), replace=False))
    table = store.read_rows(mapped, ["document_id", "vector"])
    places, explained = principal_places(vectors_to_numpy(table.column("vector")))
    return CorpusSample(
        passages=len(rows),
        tokens=np.array([len(ids) for ids in framed], np.int64),
        characters=np.array([len(text) for text in texts], np.int64),
        places=places,
        explained=explained,
        names=tuple(table.column("document_id").to_pylist()),
        groups=tuple(most_frequent(_values(store, mapped, colour))),
    )


def principal_places(
    vectors: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float64], tuple[float, float]]:
    """Project vectors on their first two principal components.

    The sign of an axis makes its largest coordinate positive.

    Returns:
        Places, float64 ``[rows, 2]``, and the share of the variance along each axis.
    """
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    values, axes = np.linalg.eigh(centred.T @ centred)
    two = axes[:, [-1, -2]]
    two = two * np.sign(two[np.abs(two).argmax(axis=0), [0, 1]])
    total = float(values.sum()) or 1.0
    return centred @ two, (float(values[-1]) / total, float(values[-2]) / total)


def most_frequent(values: Sequence[str], most: int = _NAMED) -> list[str]:
    """Replace all but the ``most`` frequent values by ``other``."""
    counts = Counter(values)
    kept = {value for value, _ in sorted(counts.items(), key=_by_count)[:most]}
    if len(counts) <= most:
        return list(values)
    return [value if value in kept else OTHER for value in values]


def _by_count(item: tuple[str, int]) -> tuple[int, str]:
    return (-item[1], item[0])


def _values(store: Store, rows: Rows, column: str | None) -> list[str]:
    """Return a column of ascending global rows as text; "" for each row without a column."""
    if column is None:
        return [""] * len(rows)
    values: list[str] = []
    first = 0
    for segment in store.segments:
        mine = rows[(rows >= first) & (rows < first + segment.rows)]
        first += segment.rows
        if column not in segment.metadata.names or not len(mine):
            values += ["none"] * len(mine)
            continue
        found = store.read_rows(mine, [column]).column(0).to_pylist()
        values += ["none" if value is None else str(value) for value in found]
    return values
