"""Documents become passages: windows of tokens with their character spans.

A window starts and ends between words where it can, so that a passage's text alone gives the same
tokens, and so the same vector, again.
"""

import functools
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.metrics import Metrics

from transforms.errors import BadInput
from transforms.models.options import ModelOptions
from transforms.models.resolve import Model, find_model
from transforms.models.tokenizer import Tokenizer, load_tokenizer
from transforms.models.word_tokens import Ints, TokenizedTexts, Tokens, ranges
from transforms.storage import arrow_coder  # noqa: F401
from transforms.storage.hashing import text_hashes
from transforms.storage.schema import (
    FILE,
    METRICS,
    NO_TOKENS,
    PASSAGE_FIELDS,
    REJECT,
    ROW,
    SOURCE_FIELDS,
    TOKEN_FIELD,
    TOKENS,
)

#: How far a window's edge may move to reach a word's start, as a share of the window.
_REACH = 4
#: Which code points are white space; there is none behind these.
_IS_SPACE = np.array([chr(point).isspace() for point in range(0x3002)])


@dataclass(frozen=True)
class PassageOptions:
    """How documents are cut.

    Attributes:
        max_tokens: tokens of a passage at most, special tokens and prompt counted.
        stride: tokens that neighbouring passages share at least.
        prompt: text before each passage, which the model sees and the store does not keep.
    """

    max_tokens: int
    stride: int
    prompt: str = ""


def check_passage_options(options: PassageOptions, tokenizer: Tokenizer) -> None:
    """Raise BadInput where no window of these options would move forward."""
    prompt = len(tokenizer.encode([options.prompt]).ids) if options.prompt else 0
    room = options.max_tokens - tokenizer.special_tokens - prompt
    if room < 1:
        raise BadInput(
            f"max-tokens {options.max_tokens} leaves no room for text beside "
            f"{tokenizer.special_tokens} special and {prompt} prompt tokens; raise it"
        )
    if not 0 <= options.stride < room:
        raise BadInput(
            f"stride {options.stride} is not below the {room} tokens of text in a passage "
            f"(max-tokens {options.max_tokens} less {tokenizer.special_tokens} special and "
            f"{prompt} prompt tokens); give 0 to {room - 1}"
        )


def split_passages(table: pa.Table, tokenizer: Tokenizer, options: PassageOptions) -> pa.Table:
    """Cut documents into passages and tokenize them, once.

    Args:
        table: ``document_id, text, metadata_hash, _file, _row, _reject`` and metadata columns; rows
            with a reject reason pass through as one row each, without passage.
        tokenizer: the model's.
        options: window size, overlap, prompt.

    Returns:
        The columns of a passage, ``_tokens`` (framed ids), the source columns and the metadata; a
        document that has no tokens becomes a reject. Order is kept; the table's metadata too.
    """
    reasons = table.column(REJECT)
    texts = table.column("text").combine_chunks()
    good = np.flatnonzero(pc.is_null(reasons).to_numpy())
    chosen = texts.take(pa.array(good))
    tokens = tokenizer.encode(_with_prompt(chosen, options.prompt))
    lead = _prompt_tokens(tokens, len(options.prompt))
    lengths = np.diff(tokens.bounds) - lead
    fits = lengths <= options.max_tokens - tokenizer.special_tokens - lead
    one, many = (np.flatnonzero((lengths > 0) & fit) for fit in (fits, ~fits))
    cuts: list[Window] = []
    pieces: list[str] = []
    counts = np.ones(table.num_rows, np.int64)
    for place in many.tolist():
        text = chosen[place].as_py()
        found = list(cut(tokens[place], text, tokenizer, options))
        counts[good[place]] = len(found)
        cuts += found
        pieces += [text[window.start : window.end] for window in found]

    # Where the passages of whole texts and of cut ones come to lie among the rows.
    rows = np.repeat(np.arange(table.num_rows), counts)
    first = np.cumsum(counts) - counts
    wholes = first[good[one]]
    parts = ranges(first[good[many]], counts[good[many]])
    absent = np.ones(len(rows), np.bool_)
    absent[wholes] = absent[parts] = False
    starts, ends = np.zeros(len(rows), np.int32), np.zeros(len(rows), np.int32)
    ends[wholes] = pc.utf8_length(chosen).to_numpy()[one]
    starts[parts] = [window.start for window in cuts]
    ends[parts] = [window.end for window in cuts]
    sources = rows.copy()
    sources[parts] = len(texts) + np.arange(len(parts))
    empty = np.zeros(table.num_rows, np.bool_)
    empty[good[lengths == 0]] = True
    hashes = text_hashes(pc.if_else(pc.is_null(reasons), texts, None))
    reasons = pc.if_else(pa.array(empty), NO_TOKENS, reasons)

    places = pa.array(rows)
    taken = table.drop_columns(["text"]).take(places)
    columns = {
        "document_id": taken.column("document_id"),
        "passage": pa.array((np.arange(len(rows)) - first[rows]).astype(np.int32), mask=absent),
        "start": pa.array(starts, mask=absent),
        "end": pa.array(ends, mask=absent),
        "text": pa.concat_arrays([texts, pa.array(pieces, texts.type)]).take(
            pa.array(sources, mask=absent)
        ),
        "text_hash": hashes.take(places),
        "metadata_hash": taken.column("metadata_hash"),
        TOKENS: _frame_all(tokens, one, wholes, cuts, parts, absent, tokenizer),
        FILE: taken.column(FILE),
        ROW: taken.column(ROW),
        REJECT: reasons.take(places),
    }
    own = {field.name for field in (*PASSAGE_FIELDS, *SOURCE_FIELDS)}
    metadata = [field for field in table.schema if field.name not in own]
    schema = pa.schema(
        [*PASSAGE_FIELDS, TOKEN_FIELD, *SOURCE_FIELDS, *metadata], metadata=table.schema.metadata
    )
    columns |= {field.name: taken.column(field.name) for field in metadata}
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _with_prompt(texts: pa.StringArray, prompt: str) -> pa.StringArray:
    if not prompt:
        return texts
    before, nothing = pa.scalar(prompt, pa.large_string()), pa.scalar("", pa.large_string())
    return pc.binary_join_element_wise(before, texts.cast(pa.large_string()), nothing)


def _prompt_tokens(tokens: TokenizedTexts, length: int) -> Ints:
    """How many tokens of each text lie in its first ``length`` characters; none without any."""
    inside = np.cumsum((tokens.ends <= length) & (length > 0))
    before = np.concatenate([np.zeros(1, np.int64), inside])
    return np.diff(before[tokens.bounds])


def _frame_all(
    tokens: TokenizedTexts,
    one: Ints,
    wholes: Ints,
    cuts: list["Window"],
    parts: Ints,
    absent: npt.NDArray[np.bool_],
    tokenizer: Tokenizer,
) -> pa.ListArray:
    """Framed ids of all rows: at ``wholes`` of the texts ``one``, at ``parts`` of ``cuts``."""
    counts = np.diff(tokens.bounds)[one]
    lengths = np.zeros(len(absent), np.int64)
    lengths[wholes] = counts + tokenizer.special_tokens
    lengths[parts] = [len(window.ids) for window in cuts]
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.zeros(bounds[-1], np.int32)
    framed, _ = tokenizer.frame_runs(tokens.ids, tokens.bounds[one], counts)
    ids[ranges(bounds[wholes], lengths[wholes])] = framed
    if cuts:
        ids[ranges(bounds[parts], lengths[parts])] = np.concatenate([each.ids for each in cuts])
    offsets = pa.array(bounds.astype(np.int32))
    return pa.ListArray.from_arrays(offsets, pa.array(ids), mask=pa.array(absent))


@dataclass(frozen=True)
class Window:
    """One passage of a text: its span in code points, and its framed ids, int32."""

    start: int
    end: int
    ids: npt.NDArray[np.int32]


def cut(
    tokens: Tokens, text: str, tokenizer: Tokenizer, options: PassageOptions
) -> Iterator[Window]:
    """The windows of one document, in order; none where it has no tokens.

    Args:
        tokens: of ``options.prompt + text``.
        text: the document's.
        tokenizer: frames each window.
        options: window size, overlap, prompt.

    The spans cover the text: the first starts at 0, the last ends at its end.
    """
    shift = len(options.prompt)
    lead = int((tokens.ends <= shift).sum()) if shift else 0
    ids = tokens.ids[lead:]
    before = np.array([*tokenizer.prefix, *tokens.ids[:lead].tolist()], np.int32)
    behind = np.array(tokenizer.suffix, np.int32)
    starts = np.maximum(tokens.starts[lead:] - shift, 0)
    ends = tokens.ends[lead:] - shift
    room = options.max_tokens - tokenizer.special_tokens - lead
    for number, (first, stop) in enumerate(
        windows(len(ids), room, options.stride, word_starts(text, starts))
    ):
        start = 0 if number == 0 else int(starts[first])
        end = len(text) if stop == len(ids) else int(ends[first:stop].max())
        yield Window(start, end, np.concatenate([before, ids[first:stop], behind]))


def word_starts(text: str, starts: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """For each token, whether a word begins with it: the text begins or white space ends there."""
    letters = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    before = np.minimum(letters[np.maximum(starts - 1, 0)], len(_IS_SPACE) - 1)
    begins: npt.NDArray[np.bool_] = _IS_SPACE[before]
    begins[starts == 0] = True
    # A word's marker and its first letters may be two tokens that start at one place.
    begins[1:] &= starts[1:] != starts[:-1]
    return begins


def windows(
    count: int, room: int, stride: int, starts: npt.NDArray[np.bool_]
) -> Iterator[tuple[int, int]]:
    """Token ranges ``(first, stop)`` that cover ``count`` tokens.

    Each holds at most ``room`` tokens, shares at least ``stride`` with the one before and ends
    behind it. An edge that would cut a word moves back to the word's start, where that is no more
    than a quarter of the window.
    """
    first = previous_stop = 0
    reach = room // _REACH
    while previous_stop < count:
        stop = min(first + room, count)
        if stop < count:
            lowest = max(stop - reach, first + stride + 1, previous_stop + 1)
            stop = _at_word(starts, lowest, stop)
        yield first, stop
        # The next window must start behind this one and be able to end behind it.
        latest = stop - stride
        first = _at_word(starts, max(latest - reach, first + 1, stop + 1 - room), latest)
        previous_stop = stop


def _at_word(starts: npt.NDArray[np.bool_], lowest: int, place: int) -> int:
    """The last word start in ``[lowest, place]``, or ``place`` where there is none."""
    found = np.flatnonzero(starts[lowest : place + 1])
    return lowest + int(found[-1]) if len(found) else place


_LOADING = threading.Lock()


def _tokenizer_of(model: Model) -> Tokenizer:
    """One for all threads of a worker: what a tokenizer remembers of words is large."""
    with _LOADING:
        return _load(model)


@functools.lru_cache(maxsize=1)
def _load(model: Model) -> Tokenizer:
    return load_tokenizer(model)


def forget_tokenizer() -> None:
    """Let go of the tokenizer that a worker keeps, and of the words that it knows."""
    with _LOADING:
        _load.cache_clear()


@beam.typehints.with_input_types(pa.Table)
@beam.typehints.with_output_types(pa.Table)
class _SplitFn(beam.DoFn):
    def __init__(self, model: ModelOptions, options: PassageOptions) -> None:
        self._model = model
        self._options = options

    def setup(self) -> None:
        self._tokenizer = _tokenizer_of(find_model(self._model))

    def process(self, element: pa.Table) -> Iterator[pa.Table]:
        yield split_passages(element, self._tokenizer, self._options)
        slow = Metrics.counter(METRICS, "texts_tokenized_slowly")
        slow.inc(self._tokenizer.take_slow_texts())


class SplitPassages(beam.PTransform):
    """``PCollection[pa.Table]`` of documents to one of passages with token ids."""

    def __init__(self, model: ModelOptions, options: PassageOptions) -> None:
        super().__init__()
        self._model = model
        self._options = options

    def expand(self, pcoll: beam.PCollection[pa.Table]) -> beam.PCollection[pa.Table]:
        """Wire `split_passages`."""
        return pcoll | "Split" >> beam.ParDo(_SplitFn(self._model, self._options))
