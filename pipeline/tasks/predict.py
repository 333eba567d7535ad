"""``albeam predict``: predict the classes of many documents as a Beam job."""

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pipeline.runners.launch import check_reachable, make_pipeline, pipeline_options
from pipeline.tasks.label_store import label_store
from pipeline.tasks.options import PredictOptions
from pipeline.tasks.prediction_job import write_predictions
from pipeline.tasks.question_survey import survey_questions
from pipeline.tasks.sources import input_source, store_source, survey_texts, texts_source
from transforms.catalog.segment import PartInfo
from transforms.catalog.snapshot import read_snapshot
from transforms.errors import BadInput
from transforms.ingest.part_writer import RowFormat
from transforms.storage import filesystem
from transforms.tasks.networks.network_files import read_network, read_reader, read_task
from transforms.tasks.prediction.answers import AnswerFormat
from transforms.tasks.prediction.entities import EntityFormat
from transforms.tasks.prediction.label_column import check_column
from transforms.tasks.prediction.predict import PredictionFormat
from transforms.tasks.prediction.prediction_files import count_documents, count_nulls, count_values
from transforms.tasks.vector_heads.head_files import read_head


@dataclass(frozen=True)
class PredictSummary:
    """Summary of predictions.

    Attributes:
        head: folder of the head.
        output: folder of the predictions; None if they only went into the store.
        documents: documents with a prediction, or questions.
        rejects: reason to number of rejected documents.
        task: ``vector``, ``classify``, ``tag`` or ``read``: the kind of the head.
        labels: label to number of documents, or type to number of entities; empty without an
            output folder.
        empty: documents without an entity, or questions without an answer; else 0.
        parts: number of files.
        parts_found_done: files that an earlier run of the same command had finished.
        store: URL of the store; None if the documents came from an input.
        snapshot: the snapshot that has the labels, or else the one that was read; None without a
            store.
        column: the metadata column that has the labels; None if there is none.
        documents_per_second: the speed of this command, with the start of its job.
    """

    head: str
    output: str | None
    documents: int
    rejects: dict[str, int]
    task: str
    labels: dict[str, int]
    empty: int
    parts: int
    parts_found_done: int
    store: str | None
    snapshot: int | None
    column: str | None
    seconds: float
    documents_per_second: float


def run(options: PredictOptions) -> PredictSummary:
    """Predict, and write the labels into a folder, into the store, or into both.

    Raises:
        BadInput: the head, the input, the store or an option can't be used.
        Damaged: a file of the store can't be read.
        Conflict: other writers of the store were faster.
    """
    started = time.monotonic()
    places = (options.store, options.output, *options.inputs)
    check_reachable(options.runner, *(place for place in places if place is not None))
    # Checks the runner before anything is read.
    make_pipeline(options.runner, pipeline_options(options.runner, options.beam_args))
    folder = str(Path(options.head).absolute())
    store = number = None
    task = read_task(options.head)
    if task == "rerank":
        raise BadInput(
            "head",
            options.head,
            "is a reranker, which scores the passages of a question, and predicts nothing of a "
            "document alone",
            "Search with albeam search STORE QUESTION --rerank N --reranker HEAD, or measure it "
            "with albeam evaluate STORE QUESTIONS --rerank N --reranker HEAD",
        )
    if task != "vector":
        _check_texts(options)
        form = _format(options.head, task)
        survey = survey_questions(options) if task == "read" else survey_texts(options)
        source = texts_source(folder, task, form, survey, options)
    else:
        head = read_head(options.head)
        if options.store is None:
            source = input_source(folder, head, options)
        else:
            store = filesystem.absolute(options.store)
            snapshot = read_snapshot(store, options.snapshot)
            number = snapshot.number
            head.check_encoder(options.head, snapshot.identity, f"the store {store}")
            if options.column is not None:
                check_column(options.column, store, snapshot)
            source = store_source(folder, head, store, snapshot, options)
    parts: tuple[PartInfo, ...] = ()
    done = empty = 0
    labels: dict[str, int] = {}
    if options.output is not None:
        paths, parts, done = write_predictions(source, options)
        if task == "read":
            empty = count_nulls(paths, parts, "answer")
        else:
            labels = count_values(paths, parts, "type" if task == "tag" else "label")
        if task == "tag":
            empty = sum(part.documents for part in parts) - count_documents(paths, parts)
    if options.column is not None:
        assert store is not None
        number, info = label_store(store, snapshot, folder, head, options)
        parts = parts or info.parts
    rejects: Counter[str] = Counter()
    for part in parts:
        rejects.update(part.rejects)
    seconds = time.monotonic() - started
    documents = sum(part.documents for part in parts)
    return PredictSummary(
        head=options.head,
        output=options.output,
        documents=documents,
        rejects=dict(sorted(rejects.items())),
        task=task,
        labels=labels,
        empty=empty,
        parts=len(parts),
        parts_found_done=done,
        store=store,
        snapshot=number,
        column=options.column,
        seconds=round(seconds, 3),
        documents_per_second=round(documents / seconds, 1),
    )


def _check_texts(options: PredictOptions) -> None:
    """Raise BadInput if a network, which reads texts, is to work on a store."""
    if options.store is not None:
        problem = "has vectors, and a network reads texts"
        raise BadInput("store", options.store, problem, "Give the texts as INPUT")


def _format(head: str, task: str) -> RowFormat:
    """Return the format of the predictions of a network.

    Raises:
        BadInput: its folder is not as it should be, or no prediction is known for its task.
    """
    if task == "tag":
        read_network(head, task)
        return EntityFormat()
    if task == "read":
        read_reader(head)
        return AnswerFormat()
    return PredictionFormat(read_network(head, "classify").classes)
