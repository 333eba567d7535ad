"""Search many questions as a Beam job, which writes a run: one row per question and document.

Each worker opens the store once, then reads, embeds and answers one slice of questions at a time.
"""

import os
import re
import secrets
from collections.abc import Iterator, Sequence

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from transforms.errors import BadInput
from transforms.runtime.checked_fn import CheckedFn
from transforms.search.options import SearchOptions
from transforms.search.question_check import QuestionCheck, check_questions
from transforms.search.question_slices import ID, QUESTIONS_FILE, QuestionSlice, read_slice
from transforms.search.reading import Reading
from transforms.search.store import Store
from transforms.storage import filesystem
from transforms.storage.output_files import writing
from transforms.storage.parquet_files import open_parquet, reading

#: The columns of a run; ranks count from 1.
RUN_SCHEMA: pa.Schema = pa.schema(
    [
        ("question_id", pa.string()),
        ("rank", pa.int32()),
        ("document_id", pa.string()),
        ("passage", pa.int32()),
        ("score", pa.float32()),
    ]
)
#: The further columns of a run whose hits are read; ``start`` and ``end`` are code points of the
#: document's text. They are null where no answer is found.
ANSWER_SCHEMA: pa.Schema = pa.schema(
    [
        ("answer", pa.string()),
        ("answer_score", pa.float32()),
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("answer_probability", pa.float32()),
    ]
)
_PART = re.compile(r"part-\d{6}-[0-9a-f]{16}\.parquet")
#: Questions of which the hits are read at once.
_AT_ONCE = 64
#: The key of a part's and of a run's metadata that has a `QuestionCheck`, if there is something to
#: tell.
_CHECK = "albeam.question_check"


def open_store(options: SearchOptions) -> Store:
    """Open the store of the options."""
    return Store.open(options.store, options.snapshot, options.model, options.device, options.dtype)


def run_schema(options: SearchOptions) -> pa.Schema:
    """Return the columns of a run: `RUN_SCHEMA`, and with a reader `ANSWER_SCHEMA`."""
    further = ANSWER_SCHEMA if options.reading.reader is not None else ()
    return pa.schema([*RUN_SCHEMA, *further])


def answer(store: Store, piece: QuestionSlice, options: SearchOptions, models: Reading) -> pa.Table:
    """Return the rows of the run for a slice of questions, with `run_schema`."""
    ids, questions = read_slice(piece)
    if options.reading.wanted:
        table = _read(store, ids, questions, options, models)
    else:
        table = _ranked(store, ids, questions, options)
    if options.rank.mode == "lexical":
        return table
    check = check_questions(questions, store.encoder.tokenizer, store.snapshot.identity, ids)
    return table.replace_schema_metadata({_CHECK: check.to_json()})


def _read(
    store: Store,
    ids: Sequence[str],
    questions: Sequence[str],
    options: SearchOptions,
    models: Reading,
) -> pa.Table:
    rows = []
    for start in range(0, len(questions), _AT_ONCE):
        some = questions[start : start + _AT_ONCE]
        found = models.search(store, some, options.rank)
        for name, (hits, answers) in zip(ids[start:], found, strict=False):
            for hit, span in zip(hits, answers, strict=True):
                row = {ID: name, **{key: getattr(hit, key) for key in RUN_SCHEMA.names[1:]}}
                if span is not None:
                    row |= {"answer": span.text, "answer_score": span.score}
                    row["answer_probability"] = span.probability
                    row |= {"start": hit.start + span.start, "end": hit.start + span.end}
                rows.append(row)
    return pa.Table.from_pylist(rows, schema=run_schema(options))


def _ranked(
    store: Store, ids: Sequence[str], questions: Sequence[str], options: SearchOptions
) -> pa.Table:
    found = store.rank(questions, options.rank)
    first, counts = 1 + options.rank.offset, [len(each.rows) for each in found]
    names = store.names(np.concatenate([each.rows for each in found]))
    columns = {
        ID: pa.array(ids, pa.string()).take(pa.array(np.repeat(np.arange(len(ids)), counts))),
        "rank": np.concatenate([np.arange(count, dtype=np.int32) + first for count in counts]),
        "document_id": names.column("document_id"),
        "passage": names.column("passage"),
        "score": np.concatenate([each.scores for each in found]).astype(np.float32),
    }
    return pa.table(columns, schema=RUN_SCHEMA)


def write_run(output: str, parts: list[tuple[int, str]], schema: pa.Schema = RUN_SCHEMA) -> int:
    """Join the parts of a run, in order, in one Parquet file. Return its number of rows.

    Args:
        output: the file's URL.
        parts: numbers and URLs of the parts.
        schema: the columns of the parts.
    """
    rows, check = 0, QuestionCheck()
    with (
        writing(output) as path,
        pq.ParquetWriter(path, schema, compression="zstd") as writer,
    ):
        for _, url in sorted(parts):
            with open_parquet(url) as part, reading(url):
                table = part.read()
            writer.write_table(table)
            rows += table.num_rows
            known = (table.schema.metadata or {}).get(_CHECK.encode())
            check += QuestionCheck() if known is None else QuestionCheck.from_json(known)
        if check.notes():
            writer.add_key_value_metadata({_CHECK: check.to_json()})
    return rows


def check_of_run(file: pq.ParquetFile) -> QuestionCheck:
    """Return how many questions of a run the model read only in part."""
    known = (file.metadata.metadata or {}).get(_CHECK.encode())
    return QuestionCheck() if known is None else QuestionCheck.from_json(known)


def check_output(output: str, slices: list[QuestionSlice]) -> None:
    """Raise BadInput if the output would overwrite the questions."""
    for url in {piece.url for piece in slices}:
        if _real(url) == _real(output):
            problem = "is the file that holds the questions"
            raise BadInput("output", output, problem, "Give another name")


def _real(url: str) -> str:
    return os.path.realpath(filesystem.local_path(url)) if filesystem.is_local(url) else url


def parts_folder(output: str) -> str:
    """Return the name of a new folder for the parts of a run, next to the run's file."""
    return f"{output}.parts-{secrets.token_hex(8)}"


def remove_parts(folder: str) -> None:
    """Remove the parts of a run, with those of earlier attempts."""
    for name in filesystem.list_names(folder):
        if _PART.fullmatch(name) or name == QUESTIONS_FILE:
            filesystem.remove(filesystem.join(folder, name))
    filesystem.remove_folder(folder)


class _AnswerFn(CheckedFn):
    def __init__(self, options: SearchOptions, folder: str) -> None:
        super().__init__()
        self._options, self._folder = options, folder

    def setup(self) -> None:
        super().setup()
        self._store = open_store(self._options)
        self._models = Reading(self._options.reading)

    def process(self, element: QuestionSlice) -> Iterator[tuple[int, str]]:
        table = answer(self._store, element, self._options, self._models)
        stem = f"part-{element.number:06d}"
        with filesystem.put_by_content(self._folder, stem, ".parquet") as written:
            pq.write_table(table, written.path, compression="zstd")
        yield element.number, filesystem.join(self._folder, written.name)


class _WriteRunFn(CheckedFn):
    def __init__(self, output: str, schema: pa.Schema) -> None:
        super().__init__()
        self._output, self._schema = output, schema

    def process(self, _: None, parts: list[tuple[int, str]]) -> Iterator[int]:
        # Attempts at the same slice have the same number.
        yield write_run(self._output, list(dict(parts).items()), self._schema)


class SearchQuestions(beam.PTransform):
    """A transform of `QuestionSlice`s into one Parquet file, which gives its number of rows.

    The file has `run_schema`. Its parts are written to ``folder`` and stay there.
    """

    def __init__(self, options: SearchOptions, folder: str, output: str) -> None:
        super().__init__()
        self._options, self._folder, self._output = options, folder, output

    def expand(self, pcoll: beam.PCollection[QuestionSlice]) -> beam.PCollection[int]:
        """Spread the slices over the workers, then wire `answer` and `write_run`."""
        answered = (
            pcoll
            | "Spread" >> beam.Reshuffle()
            | "Answer"
            >> beam.ParDo(_AnswerFn(self._options, self._folder)).with_output_types(tuple[int, str])
        )
        write_fn = _WriteRunFn(self._output, run_schema(self._options))
        write = beam.ParDo(write_fn, beam.pvalue.AsList(answered))
        start = pcoll.pipeline | "Start" >> beam.Create([None])
        return start | "WriteRun" >> write.with_output_types(int)
