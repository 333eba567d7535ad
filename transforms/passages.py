"""Documents become passages: windows of tokens with their character spans.

A window starts and ends between words where it can, so that a passage's text alone gives the same
tokens, and so the same vector, again.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms import coder  # noqa: F401
from transforms.errors import BadInput
from transforms.model import ModelOptions, find_model
from transforms.records import (
    FILE,
    PASSAGE_FIELDS,
    REJECT,
    ROW,
    SOURCE_FIELDS,
    TOKEN_FIELD,
    TOKENS,
    text_hashes,
)
from transforms.tokenizer import Tokenizer, Tokens, load_tokenizer

#: How far a window's edge may move to reach a word's start, as a share of the window.
_REACH = 4


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
    prompt = len(tokenizer.encode([options.prompt])[0].ids) if options.prompt else 0
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
    texts = table.column("text").to_pylist()
    reasons = table.column(REJECT).to_pylist()
    keep = [place for place, reason in enumerate(reasons) if reason is None]
    encoded = tokenizer.encode([options.prompt + texts[place] for place in keep])
    tokens = dict(zip(keep, encoded, strict=True))

    rows: list[int] = []
    passages: list[int | None] = []
    spans: list[tuple[int | None, int | None]] = []
    ids: list[list[int] | None] = []
    for place, reason in enumerate(reasons):
        windows: list[Window] = []
        if reason is None:
            windows = list(cut(tokens[place], texts[place], tokenizer, options))
            if not windows:
                reasons[place] = "no tokens"
        if not windows:
            rows.append(place)
            passages.append(None)
            spans.append((None, None))
            ids.append(None)
        for number, window in enumerate(windows):
            rows.append(place)
            passages.append(number)
            spans.append((window.start, window.end))
            ids.append(window.ids)

    taken = table.take(pa.array(rows, pa.int64()))
    hashes = text_hashes(
        [text if reason is None else None for text, reason in zip(texts, reasons, strict=True)]
    )
    columns = {
        "document_id": taken.column("document_id"),
        "passage": pa.array(passages, pa.int32()),
        "start": pa.array([start for start, _ in spans], pa.int32()),
        "end": pa.array([end for _, end in spans], pa.int32()),
        "text": pa.array(
            [
                None if start is None else texts[place][start:end]
                for place, (start, end) in zip(rows, spans, strict=True)
            ],
            pa.string(),
        ),
        "text_hash": hashes.take(pa.array(rows, pa.int64())),
        "metadata_hash": taken.column("metadata_hash"),
        TOKENS: pa.array(ids, TOKEN_FIELD.type),
        FILE: taken.column(FILE),
        ROW: taken.column(ROW),
        REJECT: pa.array([reasons[place] for place in rows], pa.string()),
    }
    own = {field.name for field in (*PASSAGE_FIELDS, *SOURCE_FIELDS)}
    metadata = [field for field in table.schema if field.name not in own]
    schema = pa.schema(
        [*PASSAGE_FIELDS, TOKEN_FIELD, *SOURCE_FIELDS, *metadata], metadata=table.schema.metadata
    )
    columns |= {field.name: taken.column(field.name) for field in metadata}
    return pa.table([columns[name] for name in schema.names], schema=schema)


@dataclass(frozen=True)
class Window:
    """One passage of a text: its span in code points, and its framed ids."""

    start: int
    end: int
    ids: list[int]


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
    lead = sum(1 for _, end in tokens.offsets if end <= shift) if shift else 0
    prompt, ids = tokens.ids[:lead], tokens.ids[lead:]
    room = options.max_tokens - tokenizer.special_tokens - lead
    if 0 < len(ids) <= room:
        yield Window(0, len(text), tokenizer.frame(tokens.ids))
        return
    offsets = [(max(0, start - shift), end - shift) for start, end in tokens.offsets[lead:]]
    bounds = windows(len(ids), room, options.stride, word_starts(text, offsets))
    for number, (first, stop) in enumerate(bounds):
        start = 0 if number == 0 else offsets[first][0]
        end = len(text) if stop == len(ids) else max(end for _, end in offsets[first:stop])
        yield Window(start, end, tokenizer.frame([*prompt, *ids[first:stop]]))


def word_starts(text: str, offsets: list[tuple[int, int]]) -> npt.NDArray[np.bool_]:
    """For each token, whether a word begins with it: the text begins or white space ends there."""
    # A word's marker and its first letters may be two tokens that start at one place.
    before = [-1, *(start for start, _ in offsets)]
    return np.fromiter(
        (
            start != previous and (start == 0 or text[start - 1].isspace())
            for (start, _), previous in zip(offsets, before, strict=False)
        ),
        np.bool_,
        len(offsets),
    )


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


@beam.typehints.with_input_types(pa.Table)
@beam.typehints.with_output_types(pa.Table)
class _SplitFn(beam.DoFn):
    def __init__(self, model: ModelOptions, options: PassageOptions) -> None:
        self._model = model
        self._options = options

    def setup(self) -> None:
        self._tokenizer = load_tokenizer(find_model(self._model))

    def process(self, element: pa.Table) -> Iterator[pa.Table]:
        yield split_passages(element, self._tokenizer, self._options)


class SplitPassages(beam.PTransform):
    """``PCollection[pa.Table]`` of documents to one of passages with token ids."""

    def __init__(self, model: ModelOptions, options: PassageOptions) -> None:
        super().__init__()
        self._model = model
        self._options = options

    def expand(self, pcoll: beam.PCollection[pa.Table]) -> beam.PCollection[pa.Table]:
        """Wire `split_passages`."""
        return pcoll | "Split" >> beam.ParDo(_SplitFn(self._model, self._options))
