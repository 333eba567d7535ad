"""What the service found."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Found:
    """The result of a search for one question.

    Attributes:
        question: its text; "" with ``like``.
        hits: the hits with the keys of ``albeam search --json``.
        notes: what the client should know besides.
    """

    question: str
    hits: list[dict[str, Any]]
    notes: list[str]


@dataclass(frozen=True)
class SearchResult:
    """The result of a search.

    Attributes:
        store: the name of the store.
        snapshot: the number of the snapshot that was searched.
        mode: how it was ranked.
        results: what was found for each question.
        milliseconds: the duration of each stage, waiting included.
    """

    store: str
    snapshot: int
    mode: str
    results: list[Found]
    milliseconds: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, and those of the results, as plain values."""
        # `asdict` copies each value of each hit, which takes longer than to write them.
        return vars(self) | {"results": [vars(each) for each in self.results]}
