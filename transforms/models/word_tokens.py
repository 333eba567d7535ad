"""The tokens of texts, assembled from the tokens of their words.

A corpus has few distinct words, so each is tokenized once and cached. This module never loops over
texts, or over the words of a text, in Python.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.models.word_locality import SEPARATORS
from transforms.runtime.forks import renew_after_fork

#: The most words and tokens in the cache, about 150 MB; then the cache is emptied.
_MOST_WORDS = 500_000
_MOST_TOKENS = 4_000_000
#: Longer words are not cached: they rarely occur again.
_LONGEST_WORD = 64
#: New words that are tokenized as one text: calls have a cost, and so have long texts.
_WORDS_PER_LINE = 64

_INSIDE = np.ones(256, np.bool_)
_INSIDE[list(SEPARATORS.encode())] = False

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Tokens:
    """One text's tokens without special tokens: int32 arrays of one length.

    Attributes:
        ids: vocabulary ids.
        starts: the start of each token in the text, in Unicode code points.
        ends: the end of each token.
    """

    ids: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int32]


@dataclass(frozen=True)
class TokenizedTexts:
    """The concatenated tokens of texts, without special tokens.

    Attributes:
        ids: vocabulary ids, int32 ``[tokens]``.
        starts: the start of each token in its text, in Unicode code points, int32 ``[tokens]``.
        ends: the end of each token, int32 ``[tokens]``.
        bounds: the tokens of text ``n`` are ``bounds[n]`` to ``bounds[n + 1]``, int64.
        slow: the number of texts that were tokenized whole.
    """

    ids: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int32]
    bounds: Ints
    slow: int = 0

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.bounds) - 1

    def __getitem__(self, text: int) -> Tokens:
        """Return the tokens of one text, as views."""
        place = slice(self.bounds[text], self.bounds[text + 1])
        return Tokens(self.ids[place], self.starts[place], self.ends[place])

    def count_after(self, lead: int) -> Ints:
        """Return how many tokens of each text end after its first ``lead`` characters."""
        before = np.concatenate([[0], np.cumsum(self.ends > lead)])
        return np.diff(before[self.bounds])


def ranges(starts: Ints, lengths: Ints) -> Ints:
    """Return the integers of the ranges ``[start, start + length)``, concatenated."""
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(lengths.sum())


@dataclass(frozen=True)
class SplitTexts:
    """The words of texts, text after text.

    Attributes:
        distinct: each word once, ``large_string``.
        words: the place in ``distinct`` of each word, int32.
        texts: the text of each word, int64, ascending.
        starts: the first code point of each word in its text, int64.
    """

    distinct: pa.LargeStringArray
    words: npt.NDArray[np.int32]
    texts: Ints
    starts: Ints


def split_words(texts: pa.LargeStringArray) -> SplitTexts:
    """Split texts at runs of `SEPARATORS`; nulls are not allowed."""
    _, offsets_buffer, data_buffer = texts.buffers()
    first, count = texts.offset, len(texts)
    offsets = np.zeros(1, np.int64)
    if count:
        offsets = np.frombuffer(offsets_buffer, np.int64)[first : first + count + 1]
    data = np.zeros(0, np.uint8)
    if offsets[-1] > offsets[0]:
        data = np.frombuffer(data_buffer, np.uint8)[offsets[0] : offsets[-1]]
    bounds = offsets - offsets[0]

    inside = _INSIDE[data]
    begins = inside.copy()
    begins[1:] &= ~inside[:-1]
    edges = bounds[:-1][np.diff(bounds) > 0]
    begins[edges] = inside[edges]
    places = np.flatnonzero(begins)
    owners = np.repeat(np.arange(count), np.diff(np.searchsorted(places, bounds)))
    starts = places - bounds[owners]
    if len(data) and data.max() > 127:
        # A code point begins with each byte that does not continue one.
        points = np.concatenate([[0], np.cumsum((data & 0xC0) != 0x80)])
        starts = points[places] - points[bounds[owners]]

    letters = data[inside]
    edges = np.append((np.cumsum(inside) - 1)[places], len(letters))
    buffers = [None, pa.py_buffer(edges.astype(np.int64)), pa.py_buffer(letters)]
    words = pa.LargeStringArray.from_buffers(len(places), *buffers[1:])
    encoded = words.dictionary_encode()
    return SplitTexts(
        encoded.dictionary, encoded.indices.to_numpy(zero_copy_only=False), owners, starts
    )


class WordTokens:
    """A tokenizer of texts by their words, with a cache of words. Threads may share one."""

    def __init__(
        self, encode: Callable[[list[str]], TokenizedTexts], is_local: Callable[[str], bool]
    ) -> None:
        """Start with an empty cache.

        Args:
            encode: returns the tokens of whole texts.
            is_local: returns whether a word has the same tokens in any text.
        """
        self._encode = encode
        self._is_local = is_local
        self._lock = threading.Lock()
        self._clear()
        renew_after_fork(self)

    def encode(self, texts: pa.LargeStringArray) -> TokenizedTexts:
        """Return the tokens of texts; a text with a word that is not local is tokenized whole.

        Raises:
            UnicodeDecodeError: a text is not UTF-8.
        """
        split = split_words(texts)
        distinct = split.distinct.to_pylist()
        with self._lock:
            if self._kept > _MOST_WORDS or self._bounds[self._kept] > _MOST_TOKENS:
                self._clear()
            numbers = self._look_up(distinct)[split.words]
            owners, starts = split.texts, split.starts
            slow = np.unique(owners[numbers < 0])
            if len(slow):
                # A whole text replaces its words.
                others = ~np.isin(owners, slow)
                whole = self._encode(texts.take(pa.array(slow)).to_pylist())
                added = self._add(_stack(whole), np.diff(whole.bounds))
                owners = np.concatenate([owners[others], slow])
                order = np.argsort(owners, kind="stable")
                owners = owners[order]
                numbers = np.concatenate([numbers[others], added])[order]
                starts = np.concatenate([starts[others], np.zeros(len(slow), np.int64)])[order]
            counts = self._bounds[numbers + 1] - self._bounds[numbers]
            tokens = self._tokens[ranges(self._bounds[numbers], counts)]
            self._count = self._kept
        shift = np.repeat(starts.astype(np.int32), counts)
        before = np.concatenate([[0], np.cumsum(counts)])
        return TokenizedTexts(
            tokens[:, 0].copy(),
            tokens[:, 1] + shift,
            tokens[:, 2] + shift,
            before[np.searchsorted(owners, np.arange(len(texts) + 1))],
            len(slow),
        )

    def renew(self) -> None:
        """Replace the lock in a forked process, and the tables if they were half changed."""
        if self._lock.locked():
            self._lock = threading.Lock()
            self._clear()

    def _clear(self) -> None:
        """Empty the tables. Words before ``_kept`` outlive a call; the others are temporary."""
        self._numbers: dict[str, int] = {}
        self._tokens = np.zeros((1 << 12, 3), np.int32)
        self._bounds = np.zeros(1 << 12, np.int64)
        self._count = self._kept = 0

    def _look_up(self, words: list[str]) -> Ints:
        """Return the number of each word in the tables, adding new words; -1 if not local."""
        known = self._numbers.get
        numbers = np.fromiter((known(word, -2) for word in words), np.int64, len(words))
        new = np.flatnonzero(numbers == -2)
        short: list[int] = []
        long: list[int] = []
        for place in new.tolist():
            word = words[place]
            if not self._is_local(word):
                numbers[place] = -1
            else:
                (short if len(word) <= _LONGEST_WORD else long).append(place)
        for group in (short, long):
            if group:
                numbers[group] = self._add_new([words[place] for place in group])
            if group is short:
                self._numbers.update(
                    zip([words[place] for place in group], numbers[group].tolist(), strict=True)
                )
                self._kept = self._count
        return numbers

    def _add_new(self, words: list[str]) -> Ints:
        """Tokenize new words, many in one text, and append them; return their numbers."""
        lines = range(0, len(words), _WORDS_PER_LINE)
        found = self._encode([" ".join(words[line : line + _WORDS_PER_LINE]) for line in lines])
        lengths = np.fromiter(map(len, words), np.int64, len(words)) + 1
        begins = np.cumsum(lengths) - lengths
        line_begins = np.repeat(begins[::_WORDS_PER_LINE], np.diff(found.bounds))
        owners = np.searchsorted(begins, found.starts + line_begins, side="right") - 1
        tokens = _stack(found)
        tokens[:, 1:] += (line_begins - begins[owners]).astype(np.int32)[:, None]
        return self._add(tokens, np.bincount(owners, minlength=len(words)))

    def _add(self, tokens: npt.NDArray[np.int32], counts: Ints) -> Ints:
        """Append words by their tokens ``[tokens, 3]``; return their numbers."""
        first, end = self._count, self._count + len(counts)
        base = self._bounds[first]
        self._bounds = _with_room(self._bounds, end + 1)
        self._tokens = _with_room(self._tokens, base + len(tokens))
        self._bounds[first + 1 : end + 1] = base + np.cumsum(counts)
        self._tokens[base : base + len(tokens)] = tokens
        self._count = end
        return np.arange(first, end)


def _stack(found: TokenizedTexts) -> npt.NDArray[np.int32]:
    """Return ids, starts and ends as columns of one array, ``[tokens, 3]``."""
    return np.stack([found.ids, found.starts, found.ends], axis=1)


def _with_room(array: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    """Return the array, or a copy with room for twice ``size`` rows if it is too small."""
    if size <= len(array):
        return array
    larger = np.zeros((2 * size, *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger
