"""Split documents into passages and tokenize them, once."""

from collections.abc import Callable, Iterator

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.metrics import Metrics

from transforms.errors import BadInput
from transforms.ingest.options import PassageOptions
from transforms.ingest.row_errors import naming_rows
from transforms.ingest.windows import Window, cut
from transforms.models.options import ModelOptions
from transforms.models.resolve import find_model
from transforms.models.tokenizer import Tokenizer, load_tokenizer
from transforms.models.unknown_texts import mostly_unknown
from transforms.models.word_tokens import Ints, TokenizedTexts, ranges
from transforms.runtime.checked_fn import CheckedFn
from transforms.runtime.once import Once
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

#: The Beam counter of embedded texts that are mostly unknown to the model.
UNKNOWN_TEXTS = "unknown_texts"


def check_passage_options(options: PassageOptions, tokenizer: Tokenizer) -> None:
    """Raise BadInput if a window of these options could not hold text or could not move forward."""
    prompt = len(tokenizer.encode([options.prompt]).ids) if options.prompt else 0
    room = options.max_tokens - tokenizer.special_tokens - prompt
    if room < 1:
        raise BadInput(
            "max_tokens",
            options.max_tokens,
            f"leaves no room for text after {tokenizer.special_tokens} special and {prompt} prompt "
            "tokens",
            "Raise it",
        )
    if options.stride >= room:
        raise BadInput(
            "stride",
            options.stride,
            f"must be below {room}, the tokens of text in a passage (max-tokens "
            f"{options.max_tokens} minus {tokenizer.special_tokens} special and {prompt} prompt "
            "tokens)",
            f"Give 0 to {room - 1}",
        )


def split_passages(
    table: pa.Table,
    tokenizer: Tokenizer,
    options: PassageOptions,
    count_unknown: Callable[[int], None] | None = None,
) -> pa.Table:
    """Split documents into passages and tokenize them.

    Args:
        table: ``document_id, text, metadata_hash, _file, _row, _reject`` and metadata columns. A
            row with a reject reason passes through as one row without a passage.
        tokenizer: the model's tokenizer.
        options: window size, overlap, prompt.
        count_unknown: called with the number of texts that are mostly unknown to the model.

    Returns:
        A table with the columns of a passage, ``_tokens`` (framed ids), the source columns and the
        metadata. A document without tokens becomes a reject. Order and schema metadata are kept.
    """
    reasons = table.column(REJECT)
    texts = table.column("text").combine_chunks()
    good = np.flatnonzero(pc.is_null(reasons).to_numpy())
    chosen = texts.take(pa.array(good))
    tokens = tokenizer.encode(_with_prompt(chosen, options.prompt))
    lead = _prompt_tokens(tokens, len(options.prompt))
    lengths = np.diff(tokens.bounds) - lead
    fits = lengths <= options.max_tokens - tokenizer.special_tokens - lead
    if count_unknown is not None:
        unknown = mostly_unknown(tokens, tokenizer.unknown, len(options.prompt))
        count_unknown(int((unknown & (lengths > 0)).sum()))
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

    # The rows of texts that are one passage, and of texts that are several.
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
    """Return how many tokens of each text lie in its first ``length`` characters."""
    inside = np.cumsum((tokens.ends <= length) & (length > 0))
    before = np.concatenate([np.zeros(1, np.int64), inside])
    return np.diff(before[tokens.bounds])


def _frame_all(
    tokens: TokenizedTexts,
    one: Ints,
    wholes: Ints,
    cuts: list[Window],
    parts: Ints,
    absent: npt.NDArray[np.bool_],
    tokenizer: Tokenizer,
) -> pa.ListArray:
    """Return the framed ids of all rows: ``one`` at ``wholes``, and ``cuts`` at ``parts``."""
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


#: The tokenizer that all threads of a worker share; its cache of words is large.
_tokenizer_of = Once(load_tokenizer, 1)


def forget_tokenizer() -> None:
    """Drop the tokenizer that this process caches, and its cache of words."""
    _tokenizer_of.forget()


@beam.typehints.with_input_types(pa.Table)
@beam.typehints.with_output_types(pa.Table)
class _SplitFn(CheckedFn):
    def __init__(self, model: ModelOptions, options: PassageOptions) -> None:
        super().__init__()
        self._model = model
        self._options = options

    def setup(self) -> None:
        super().setup()
        self._tokenizer = _tokenizer_of(find_model(self._model))

    def process(self, element: pa.Table) -> Iterator[pa.Table]:
        unknown = Metrics.counter(METRICS, UNKNOWN_TEXTS)
        with naming_rows(element, "split"):
            passages = split_passages(element, self._tokenizer, self._options, unknown.inc)
        yield passages
        slow = Metrics.counter(METRICS, "texts_tokenized_slowly")
        slow.inc(self._tokenizer.take_slow_texts())


class SplitPassages(beam.PTransform):
    """The transform from tables of documents to tables of passages with token ids."""

    def __init__(self, model: ModelOptions, options: PassageOptions) -> None:
        super().__init__()
        self._model = model
        self._options = options

    def expand(self, pcoll: beam.PCollection[pa.Table]) -> beam.PCollection[pa.Table]:
        """Wire `split_passages`."""
        return pcoll | "Split" >> beam.ParDo(_SplitFn(self._model, self._options))
