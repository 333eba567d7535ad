"""Token ids and character offsets, identical to those of transformers' fast tokenizers."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.errors import BadInput
from transforms.models.model_files import refusing
from transforms.models.plain_tokenizer import PlainTokenizer, load_plain_tokenizer
from transforms.models.resolve import Model, read_config
from transforms.models.tokenizer_checks import RESTORE, check_fit, check_tokenizer_files
from transforms.models.word_locality import find_locality
from transforms.models.word_tokens import Ints, TokenizedTexts, WordTokens, ranges
from transforms.runtime.forks import Lock, loading

#: The bytes of text that are tokenized at once: larger arrays do not fit into CPU caches.
_BYTES_AT_ONCE = 1 << 20
#: Difficult texts; when a tokenizer is loaded, word by word and whole must agree on them.
_PROBES = (
    "",
    "ALBERT shares one layer's weights; see Fig. 2 (page 12).",
    " two  spaces\tand\nlines\r\nof\r\r\n\n several  \t kinds ",
    "``Quoted'' na\u00efve caf\u00e9s cafe\u0301s \ufb01nd \u00bd \u2126",
    "\u0130stanbul Stra\u00dfe \u03a3\u03a3 \u2581x a\u2581b \u2581",
    "no\u00a0break \u00a0 zero\u200bwidth \u3000 \x1c \x85 \u00a8 \u00b4x soft\u00adhyphen",
    "\u0301mark \u200djoin \ufeffbom \x01\u0301 \ufffd\u0301 \U0001f44d\U0001f3fd \u0e33",
    "\u65e5\u672c\u8a9e\u306e \ud55c\uad6d\uc5b4 \u0939\u093f\u0928\u094d\u0926\u0940",
    "a[MASK]b [MASK] <unk> [CLS](x) <pad> [mask]",
)

Ids = npt.NDArray[np.int32]

_REPLACE = "Decode the source with errors='replace'"

_LOGGER = logging.getLogger(__name__)


class Tokenizer:
    """A model's tokenizer, with the special tokens around a passage. Threads may share one.

    A text's tokens are assembled from the tokens of its words if that is exact. Other texts are
    tokenized whole, which is many times slower.

    Attributes:
        backend: the ``tokenizers.Tokenizer``.
        prefix: the ids of the special tokens before a passage.
        suffix: the ids of the special tokens after it.
        unknown: the id of a piece of text that the vocabulary lacks; None if it lacks nothing.
        slow_texts: the texts that were tokenized whole since the last `take_slow_texts`.
    """

    def __init__(self, backend: Any, unknown: int | None = None, name: str = "") -> None:
        """Wrap a ``tokenizers.Tokenizer``, and find out whether it can tokenize word by word.

        Args:
            backend: the ``tokenizers.Tokenizer``.
            unknown: the id of a piece of text that the vocabulary lacks.
            name: the user's name of the model, for errors.
        """
        self.unknown, self._name = unknown, name
        backend.no_truncation()
        backend.no_padding()
        self.backend = backend
        self.prefix, self.suffix = _frame(backend)
        self.slow_texts = 0
        self._lock = Lock()
        self._words = self._find_words()

    @property
    def special_tokens(self) -> int:
        """Return the number of special tokens around a passage."""
        return len(self.prefix) + len(self.suffix)

    def encode(self, texts: pa.Array | pa.ChunkedArray | Sequence[str]) -> TokenizedTexts:
        """Return the tokens of each text, without special tokens.

        Args:
            texts: strings without nulls: an Arrow array of any string type, or Python strings.

        Raises:
            BadInput: a text is null or is not valid Unicode, such as one with a lone surrogate.
        """
        column = _column(texts)
        try:
            runs = [self._encode_run(run) for run in _runs(column)]
        except UnicodeDecodeError as error:
            raise _encoding_error(column) from error
        found = runs[0] if len(runs) == 1 else _join(runs)
        if found.slow:
            with self._lock:
                self.slow_texts += found.slow
        return found

    def take_slow_texts(self) -> int:
        """Return ``slow_texts`` and reset it, so that threads count each text once."""
        with self._lock:
            taken, self.slow_texts = self.slow_texts, 0
        return taken

    def frame_runs(self, ids: Ids, starts: Ints, counts: Ints) -> tuple[Ids, Ints]:
        """Concatenate runs of ids, each with the special tokens around it.

        Args:
            ids: the ids of all texts.
            starts: where each run starts in ``ids``.
            counts: the length of each run.

        Returns:
            The ids, int32, and the bounds of the runs among them, int64 ``[runs + 1]``.
        """
        bounds = np.concatenate([[0], np.cumsum(counts + self.special_tokens)])
        framed = np.empty(bounds[-1], np.int32)
        prefix, suffix = np.array(self.prefix, np.int32), np.array(self.suffix, np.int32)
        framed[bounds[:-1, None] + np.arange(len(prefix))] = prefix
        framed[bounds[1:, None] - len(suffix) + np.arange(len(suffix))] = suffix
        framed[ranges(bounds[:-1] + len(prefix), counts)] = ids[ranges(starts, counts)]
        return framed, bounds

    def frame_all(self, texts: Sequence[str], max_tokens: int) -> pa.ListArray:
        """Return each text's ids with special tokens, ``list<int32>``, cut to ``max_tokens``."""
        return self.frame(self.encode(texts), max_tokens)

    def frame(self, found: TokenizedTexts, max_tokens: int) -> pa.ListArray:
        """Return the ids of tokenized texts as `frame_all` does."""
        room = max_tokens - self.special_tokens
        if room < 1:
            problem = f"leaves no room for text: there are {self.special_tokens} special tokens"
            remedy = f"Give {self.special_tokens + 1} or more"
            raise BadInput("max_tokens", max_tokens, problem, remedy)
        counts = np.minimum(np.diff(found.bounds), room)
        ids, bounds = self.frame_runs(found.ids, found.bounds[:-1], counts)
        return pa.ListArray.from_arrays(pa.array(bounds.astype(np.int32)), pa.array(ids))

    def encode_framed(self, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
        """Return the ids of `frame_all` as lists."""
        framed: list[list[int]] = self.frame_all(texts, max_tokens).to_pylist()
        return framed

    def _encode_run(self, texts: pa.LargeStringArray) -> TokenizedTexts:
        if self._words is not None:
            return self._words.encode(texts)
        found = self._encode_whole(texts.to_pylist())
        return replace(found, slow=len(found))

    def _encode_whole(self, texts: list[str]) -> TokenizedTexts:
        # A pattern of a tokenizer that backtracks too long ends in what is no Exception.
        with refusing(self._name, "has a tokenizer that can't tokenize a text"):
            encodings = self.backend.encode_batch(texts, add_special_tokens=False)
        counts = np.fromiter(map(len, encodings), np.int64, len(encodings))
        total = int(counts.sum())
        ids = np.fromiter(chain.from_iterable(each.ids for each in encodings), np.int32, total)
        pairs = chain.from_iterable(each.offsets for each in encodings)
        offsets = np.fromiter(chain.from_iterable(pairs), np.int32, 2 * total).reshape(total, 2)
        bounds = np.concatenate([[0], np.cumsum(counts)])
        return TokenizedTexts(ids, offsets[:, 0].copy(), offsets[:, 1].copy(), bounds)

    def _find_words(self) -> WordTokens | None:
        """Return the word-by-word tokenizer; log and return None if it is not exact."""
        locality = find_locality(self.backend)
        if locality.obstacle:
            _LOGGER.info("texts are tokenized whole, which is slow: %s", locality.obstacle)
            return None
        words = WordTokens(self._encode_whole, locality.holds)
        expected = self._encode_whole(list(_PROBES))
        found = words.encode(_column(_PROBES))
        if all(
            np.array_equal(getattr(found, name), getattr(expected, name))
            for name in ("ids", "starts", "ends", "bounds")
        ):
            return words
        _LOGGER.warning("texts are tokenized whole, which is slow: their words' tokens differ")
        return None


def load_tokenizer(model: Model) -> Tokenizer:
    """Return the tokenizer of a model's folder; raises BadInput as `load_fast_tokenizer` does."""
    name = model.identity.name
    with loading():
        plain = load_plain_tokenizer(model.folder, name)
    if plain is None:
        fast = load_fast_tokenizer(model.folder, name)
        plain = PlainTokenizer(fast.backend_tokenizer, fast.unk_token_id)
    with refusing(name, "has a tokenizer that can't be used", RESTORE):
        return Tokenizer(plain.backend, plain.unknown, name)


def load_fast_tokenizer(folder: str, name: str) -> Any:
    """Return transformers' fast tokenizer of a folder; ``name`` is the user's name of the model.

    Raises:
        BadInput: there is no fast tokenizer, or its vocabulary does not fit the model.
    """
    problem = "has a tokenizer that transformers can't load"
    check_tokenizer_files(folder, name)
    with refusing(name, problem, RESTORE), loading():
        from transformers import AutoTokenizer

        slow_or_fast = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    vocabulary = int(getattr(read_config(folder, name), "vocab_size", 0))
    if getattr(slow_or_fast, "backend_tokenizer", None) is None:
        raise BadInput("model", name, "has no fast tokenizer", "Save it with a tokenizer.json")
    check_fit(slow_or_fast.backend_tokenizer, vocabulary, name)
    return slow_or_fast


def _frame(backend: Any) -> tuple[list[int], list[int]]:
    mask = backend.encode("a").special_tokens_mask
    ids = backend.encode("a").ids
    inside = [place for place, special in enumerate(mask) if not special]
    if not inside:
        # "a" is unknown to a tiny vocabulary and mapped to a special token.
        bare = len(backend.encode("a", add_special_tokens=False).ids)
        inside = list(range(1, 1 + bare))
    return ids[: inside[0]], ids[inside[-1] + 1 :]


def _column(texts: pa.Array | pa.ChunkedArray | Sequence[str]) -> pa.LargeStringArray:
    if isinstance(texts, pa.Array | pa.ChunkedArray):
        column = texts.cast(pa.large_string())
    else:
        try:
            column = pa.array(texts, pa.large_string())
        except (TypeError, UnicodeEncodeError, pa.ArrowException) as error:
            raise _text_error(texts, str(error)) from error
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if column.null_count:
        number = column.is_null().index(True).as_py()
        raise BadInput("text", number, "is null", "Leave such rows out")
    return column


def _runs(texts: pa.LargeStringArray) -> Iterator[pa.LargeStringArray]:
    """Yield slices of bounded size, at least one text each; one slice if there are no texts."""
    sizes = np.cumsum(pc.binary_length(texts).to_numpy(zero_copy_only=False))
    first = 0
    while True:
        before = sizes[first - 1] if first else 0
        stop = max(int(np.searchsorted(sizes, before + _BYTES_AT_ONCE, side="right")), first + 1)
        yield texts.slice(first, stop - first)
        if stop >= len(texts):
            return
        first = stop


def _join(runs: list[TokenizedTexts]) -> TokenizedTexts:
    before = np.cumsum([0, *(len(run.ids) for run in runs)])
    bounds = [run.bounds[1:] + base for run, base in zip(runs, before, strict=False)]
    return TokenizedTexts(
        np.concatenate([run.ids for run in runs]),
        np.concatenate([run.starts for run in runs]),
        np.concatenate([run.ends for run in runs]),
        np.concatenate([[0], *bounds]),
        sum(run.slow for run in runs),
    )


def _encoding_error(texts: pa.LargeStringArray) -> BadInput:
    """Return the error for the first text that is not UTF-8."""
    for number, text in enumerate(texts.cast(pa.large_binary())):
        try:
            text.as_py().decode()
        except UnicodeDecodeError as error:
            problem = f"is not UTF-8: {error.reason} at byte {error.start}"
            return BadInput("text", number, problem, _REPLACE)
    raise AssertionError("a word is not UTF-8 but all texts are")


def _text_error(texts: Sequence[object], reason: str) -> BadInput:
    """Return the error for the first value that is not a text; ``reason`` if there is none."""
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            kind = type(text).__name__
            problem = f"is {str(text)[:60]!r}, of type {kind}"
            return BadInput("text", number, problem, "Give only strings")
        for place, letter in enumerate(text):
            if "\ud800" <= letter <= "\udfff":
                problem = f"has a lone surrogate U+{ord(letter):04X} at character {place}"
                return BadInput("text", number, problem, _REPLACE)
    return BadInput("texts", None, f"can't be read: {reason}", "Give only strings")
