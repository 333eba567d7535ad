"""Candidates of a reranker, found by the searches of a store."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from transforms.errors import BadInput
from transforms.search.options import RankOptions
from transforms.search.store import Store
from transforms.tasks.data.candidates import Int64, Mined
from transforms.training.pairs import Pairs

#: Questions that are ranked at once.
_AT_ONCE = 256
#: Passages that are read at once.
_ROWS_AT_ONCE = 20_000


class StoreSearch:
    """Searches a store for the questions of a corpus."""

    def __init__(
        self, url: str, mode: str | None, device: str, depth: int, tell: Callable[[str], object]
    ) -> None:
        """Open the store.

        Args:
            url: the store.
            mode: how to search it; see `Store.search`.
            device: where questions are embedded.
            depth: documents of a question.
            tell: receives progress.

        Raises:
            BadInput: there is no store, or its indexes don't allow the mode.
        """
        self.store = Store.open(url, device=device)
        self.options = RankOptions(depth, self.store.mode(mode))
        self.tell = tell

    def settings(self) -> list[object]:
        """Return what decides the results."""
        segments = [segment.sha256 for segment in self.store.snapshot.segments]
        return [self.options.mode, self.store.weight(), segments]

    def find(self, pairs: Pairs, questions: Int64) -> Mined:
        """Search for the questions of a corpus with these numbers.

        Raises:
            BadInput: the store has none of the passages of the corpus.
        """
        ranked: list[list[int]] = []
        for start in range(0, len(questions), _AT_ONCE):
            texts = [pairs.questions[n] for n in questions[start : start + _AT_ONCE]]
            ranked += [each.rows.tolist() for each in self.store.rank(texts, self.options)]
            if start and start % (_AT_ONCE * 40) == 0:
                self.tell(f"searched for {start} of {len(questions)} questions")
        rows = np.unique(np.asarray([row for own in ranked for row in own], np.int64))
        first = len(pairs.passages)
        owners, texts = list(range(first)), list(pairs.passages)
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            found = self.store.read_rows(
                rows[start : start + _ROWS_AT_ONCE], ["document_id", "text"]
            )
            owners += [pairs.numbers.get(name, -1) for name in found["document_id"].to_pylist()]
            texts += found["text"].to_pylist()
        if len(questions) and max(owners[first:], default=-1) < 0:
            raise BadInput(
                "store",
                self.store.url,
                f"has none of the {first} passages of {pairs.name}",
                "Embed the passages of --pairs, with their ids",
            )
        places = [(np.searchsorted(rows, own) + first).tolist() for own in ranked]
        return Mined(texts, np.asarray(owners, np.int64), places)
