"""``albeam search --output``: answer many questions as a Beam job, and write a Parquet run."""

import time
from dataclasses import dataclass, replace

import apache_beam as beam
import pyarrow.parquet as pq

from pipeline.command_line.runner_names import DEFAULT_RUNNER
from pipeline.runners.launch import check_reachable, make_pipeline, pipeline_options, run_pipeline
from transforms.catalog.snapshot import read_snapshot
from transforms.errors import BadInput
from transforms.models.options import Placement
from transforms.search.batch_search import (
    SearchQuestions,
    check_of_run,
    check_output,
    open_store,
    parts_folder,
    remove_parts,
)
from transforms.search.options import SearchOptions
from transforms.search.predicate import check_condition
from transforms.search.question_slices import QuestionSlice, plan_questions, store_questions
from transforms.search.questions import STANDARD_INPUT
from transforms.search.reading import Reading
from transforms.storage import filesystem


@dataclass(frozen=True)
class RunSummary:
    """Summary of a run: what was searched, and where the run is.

    Attributes:
        questions: how many questions were asked.
        rows: rows of the run, one for each question and document.
        output: the Parquet file of the run.
        cut_questions: how many questions are longer than what the model reads.
        unknown_questions: how many are mostly unknown to the model, as another script is.
        notice: what else the user should know; often empty.
    """

    store: str
    snapshot: int
    questions: int
    rows: int
    output: str
    seconds: float
    cut_questions: int = 0
    unknown_questions: int = 0
    notice: str = ""


def run(
    options: SearchOptions,
    snapshot: int | None,
    questions: str,
    output: str,
    runner: str = DEFAULT_RUNNER,
    beam_args: tuple[str, ...] = (),
) -> RunSummary:
    """Answer all questions of Parquet files, and write one row per question and document.

    Args:
        options: how to search; its snapshot is set here.
        snapshot: the snapshot's number; the newest by default.
        questions: Parquet with ``question`` and, optionally, ``question_id``; or ``-`` for
            standard input.
        output: the Parquet file to write.
        runner: ``direct``, or the name of a Beam runner.
        beam_args: Beam's own options.

    Raises:
        BadInput: the store, the questions or an option can't be used; nothing was written.
    """
    started = time.monotonic()
    piped = questions == STANDARD_INPUT
    check_reachable(runner, options.store, output, *(() if piped else (questions,)))
    beam_options = pipeline_options(runner, beam_args)
    pipeline = make_pipeline(runner, beam_options)
    if not output.endswith(".parquet"):
        remedy = "Give the name of a Parquet file"
        raise BadInput("output", output, "does not end in .parquet", remedy)
    store, output = filesystem.absolute(options.store), filesystem.absolute(output)
    number = read_snapshot(store, snapshot).number
    options = replace(options, store=store, snapshot=number)
    opened = open_store(options)
    opened.mode(options.rank.mode)
    if options.rank.where is not None:
        check_condition(options.rank.where, opened.columns)
    # A model that can't be used is reported before the job starts, whatever device it will have.
    Reading(replace(options.reading, placement=Placement("cpu")))
    folder = parts_folder(output)
    try:
        slices = plan_questions(store_questions(folder) if piped else questions)
        check_output(output, slices)
        _ = (
            pipeline
            | "Questions" >> beam.Create(slices).with_output_types(QuestionSlice)
            | "SearchQuestions" >> SearchQuestions(options, folder, output)
        )
        run_pipeline(pipeline)
    finally:
        # Not in the job: a retried step must find the parts.
        remove_parts(folder)
    with filesystem.open_input(output) as source:
        written = pq.ParquetFile(source)
        rows, check = written.metadata.num_rows, check_of_run(written)
    return RunSummary(
        store=store,
        snapshot=number,
        questions=sum(piece.rows for piece in slices),
        rows=rows,
        output=output,
        seconds=round(time.monotonic() - started, 3),
        cut_questions=check.cut,
        unknown_questions=check.unknown,
        notice=" ".join(check.notes()),
    )
