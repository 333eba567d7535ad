"""The result of a bundle."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BundleSummary:
    """What ``albeam bundle`` wrote.

    Attributes:
        output: the folder.
        kind: ``edge``, or ``web`` for a page.
        store, snapshot: what it was made of.
        documents, passages: how many it holds.
        modes: the modes in which it can be asked, the usual one first.
        vectors: ``float32``, ``float16`` or ``int8``.
        bytes: the size of all files.
        parts: the size of each part: ``encoder``, ``vectors``, ``words``, ``passages``,
            ``program``.
        encoder_difference: the largest difference of a number of a question's vector to that of
            the store's own model.
        first_answer_seconds: from the start of ``ask.py`` as a new process to its end, with one
            answer; None for a page.
        processor_seconds: what this process took of processors; None for a page.
        memory_bytes: the most memory that this process took; None for a page.
    """

    output: str
    kind: str
    store: str
    snapshot: int
    documents: int
    passages: int
    modes: tuple[str, ...]
    vectors: str
    bytes: int
    parts: dict[str, int]
    encoder_difference: float
    first_answer_seconds: float | None = None
    processor_seconds: float | None = None
    memory_bytes: int | None = None
