"""The words of a store's passages as postings, with the statistics of its lexical index."""

from array import array
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.bundles.arrays import ArrayFiles
from transforms.bundles.edge.lexicon import field_lengths
from transforms.index.lexical.analyzer import Analyzer

_MOST = np.iinfo(np.uint16).max


class Postings:
    """Collects the terms of passages. Dead ones count in the statistics, and are not found."""

    def __init__(self, language: str) -> None:
        """Take the language of the index."""
        self._language, self._analyzer = language, Analyzer(language)
        self._rows: dict[str, array[int]] = {}
        self._counts: dict[str, array[int]] = {}
        self._held: Counter[str] = Counter()
        self._lengths: list[int] = []
        self._every, self._tokens = 0, 0

    def add(self, texts: Sequence[str], live: npt.NDArray[np.bool_]) -> None:
        """Add passages, of which some are live."""
        for text, alive in zip(texts, live.tolist(), strict=True):
            terms = Counter(self._analyzer.terms(text))
            length = terms.total()
            self._every, self._tokens = self._every + 1, self._tokens + length
            self._held.update(terms.keys())
            if not alive:
                continue
            row = len(self._lengths)
            self._lengths.append(length)
            for term, count in terms.items():
                if term not in self._rows:
                    self._rows[term], self._counts[term] = array("I"), array("H")
                self._rows[term].append(row)
                self._counts[term].append(min(count, _MOST))

    def write(self, folder: Path, files: ArrayFiles) -> dict[str, Any]:
        """Write the postings, and return what the bundle's description says of them."""
        terms = sorted(self._held, key=str.encode)
        (folder / "terms.txt").write_bytes("\n".join(terms).encode())
        sizes = [len(self._rows.get(term, ())) for term in terms]
        files.write("held", np.array([self._held[term] for term in terms], np.uint32), "u4")
        files.write("starts", np.cumsum([0, *sizes]), "u4")
        for name, kept, kind in (("rows", self._rows, "u4"), ("counts", self._counts, "u2")):
            lists = [np.asarray(kept[term]) for term in terms if term in kept]
            files.write(name, np.concatenate([np.empty(0, kind), *lists]), kind)
        # The byte of the longest length that is not above a passage's own.
        codes = np.searchsorted(field_lengths(), self._lengths, side="right") - 1
        files.write("lengths", codes, "u1")
        return {"language": self._language, "rows": self._every, "tokens": self._tokens}
