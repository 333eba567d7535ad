"""The rows of a tagging task: words with BIO tags, or texts with the spans of their entities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.errors import BadInput
from transforms.tasks.data.bio import (
    OUTSIDE,
    TAG,
    Span,
    Spans,
    find_words,
    join_words,
    repair,
    tag_words,
)
from transforms.tasks.data.labels import LONGEST_NAME, MOST_CLASSES, Classes
from transforms.training.inputs import read_columns


@dataclass(frozen=True)
class TagRows:
    """Texts whose words have tags.

    Attributes:
        option: the option that named the files, for messages.
        source: the files, for messages.
        texts: the texts; words that came alone are joined by blanks.
        words: the code points of each text's words, int64 ``[words, 2]``.
        tags: the tag of each word; every entity begins with ``B-``.
        repaired: ``I-`` tags that continued no entity, and became ``B-``.
        lost: entities without a word, such as one of white space alone, which are left out.
    """

    option: str
    source: str
    texts: list[str]
    words: list[Spans]
    tags: list[list[str]]
    repaired: int
    lost: int = 0

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: npt.NDArray[np.int64]) -> TagRows:
        """Return some of the rows."""
        return replace(
            self,
            texts=[self.texts[row] for row in rows],
            words=[self.words[row] for row in rows],
            tags=[self.tags[row] for row in rows],
        )

    def codes(self, classes: Classes) -> list[npt.NDArray[np.int64]]:
        """Return the class of each word, for each text.

        Raises:
            BadInput: a tag is not among the classes.
        """
        known = {name: place for place, name in enumerate(classes.names)}
        for tags in self.tags:
            for tag in tags:
                if tag not in known:
                    raise BadInput(
                        self.option,
                        self.source,
                        f"has the tag {tag[:80]!r}, whose type no training row has",
                        "Remove its rows, or train with rows of that type",
                    )
        return [np.asarray([known[tag] for tag in tags], np.int64) for tags in self.tags]


def learn_tags(rows: TagRows) -> Classes:
    """Return the classes of training rows: ``O``, then ``B-`` and ``I-`` of each type.

    Raises:
        BadInput: no word is in an entity, or there are too many types.
    """
    types = sorted({tag[2:] for tags in rows.tags for tag in tags if tag != OUTSIDE})
    if not types:
        problem = "has one class only: no word is in an entity"
        raise BadInput(rows.option, rows.source, problem, "Add rows with entities")
    if 2 * len(types) > MOST_CLASSES or max(map(len, types)) > LONGEST_NAME:
        problem = f"has {len(types)} types of entities, or types with long names"
        raise BadInput(rows.option, rows.source, problem, "Name the column of tags")
    return Classes((OUTSIDE, *(f"{place}-{kind}" for kind in types for place in "BI")))


def read_tagged(
    files: Sequence[Path],
    option: str,
    *,
    tokens: str = "tokens",
    tags: str = "tags",
    text: str = "text",
    spans: str | None = None,
) -> TagRows:
    """Read tagged rows of Parquet files.

    Args:
        files: the files.
        option: the option that names them, for messages.
        tokens: the column of words, lists of texts.
        tags: the column of their BIO tags, lists of texts.
        text: the column of texts, with ``spans``.
        spans: the column of entities, instead of words and tags: lists of ``start``, ``end`` (code
            points of the text) and ``type``. They don't overlap.

    Raises:
        BadInput: a file can't be read, a column is missing or of another type, tags are not BIO or
            as many as the words, spans lie outside of their text or overlap, or there are no rows.
    """
    source = ", ".join(map(str, files))
    made = TagRows(option, source, [], [], [], 0)
    repaired = lost = 0
    for path in files:
        if spans is None:
            table = read_columns(path, option, {tokens: "texts", tags: "texts"})
            pairs = _tagged_words(table[tokens].to_pylist(), table[tags].to_pylist(), option, path)
        else:
            table = read_columns(path, option, {text: "text", spans: "spans"})
            pairs = _tagged_texts(table[text].to_pylist(), table[spans].to_pylist(), option, path)
        for one, words, given, blank in pairs:
            sound = repair(given)
            lost += blank
            repaired += sum(a != b for a, b in zip(given, sound, strict=True))
            made.texts.append(one)
            made.words.append(words)
            made.tags.append(sound)
    if not made.texts:
        raise BadInput(option, source, "has no rows", "Give a file with tagged rows")
    return TagRows(option, source, made.texts, made.words, made.tags, repaired, lost)


def _tagged_words(
    tokens: Sequence[Any], tags: Sequence[Any], option: str, path: Path
) -> Iterator[tuple[str, Spans, list[str], int]]:
    for row, (words, given) in enumerate(zip(tokens, tags, strict=True)):
        if words is None or given is None or None in words or None in given:
            raise BadInput(
                option, str(path), f"row {row} has no token or no tag", "Fill it in or remove it"
            )
        if len(words) != len(given):
            problem = f"row {row} has {len(words)} tokens and {len(given)} tags"
            raise BadInput(option, str(path), problem, "Give each token one tag")
        for tag in given:
            if not TAG.fullmatch(tag):
                problem = f"row {row} has the tag {tag[:80]!r}, which is not O, B-TYPE or I-TYPE"
                raise BadInput(option, str(path), problem, "Write the tags as BIO")
        yield *join_words(words), list(given), 0


def _tagged_texts(
    texts: Sequence[Any], spans: Sequence[Any], option: str, path: Path
) -> Iterator[tuple[str, Spans, list[str], int]]:
    for row, (text, given) in enumerate(zip(texts, spans, strict=True)):
        if text is None:
            raise BadInput(option, str(path), f"row {row} has no text", "Fill it in or remove it")
        found = []
        for each in given or ():
            start, end, kind = each["start"], each["end"], each["type"]
            if start is None or end is None or not kind or not 0 <= start < end <= len(text):
                problem = (
                    f"row {row} has an entity from {start} to {end} of type {kind!r}, and its text "
                    f"has {len(text)} characters"
                )
                raise BadInput(option, str(path), problem, "Count code points of the text")
            found.append(Span(start, end, kind))
        found.sort(key=lambda span: span.start)
        for one, other in pairwise(found):
            if other.start < one.end:
                problem = f"row {row} has entities that overlap at {other.start}"
                raise BadInput(option, str(path), problem, "Keep one of them")
        words = find_words(text, [edge for span in found for edge in (span.start, span.end)])
        blank = sum(not text[span.start : span.end].strip() for span in found)
        yield text, words, tag_words(words, found), blank
