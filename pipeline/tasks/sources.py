"""What is predicted, and the stages that predict it: texts of an input, or vectors of a store."""

import functools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa

from pipeline.runners.dataflow import embedding_hints
from pipeline.tasks.options import PredictOptions
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.options import ColumnOptions
from transforms.catalog.plan import Plan
from transforms.catalog.snapshot import Snapshot
from transforms.encoder.placement import expected_rate, resolve_placement
from transforms.errors import BadInput
from transforms.ingest.embed_passages import AlbertEmbeddingHandler, EmbedPassages
from transforms.ingest.options import PassageOptions
from transforms.ingest.part_writer import RowFormat
from transforms.ingest.partitioning import MOST_ROWS, plan_parts
from transforms.ingest.passages import SplitPassages, check_passage_options
from transforms.ingest.read_parts import ReadParts
from transforms.ingest.survey import Survey, survey_input
from transforms.models.resolve import find_model, options_for
from transforms.models.tokenizer import load_tokenizer
from transforms.storage import filesystem
from transforms.storage.input_files import find_inputs
from transforms.tasks.networks.network_files import network_digest
from transforms.tasks.prediction.predict import Predict, PredictionFormat
from transforms.tasks.prediction.text_predictions import PredictTexts
from transforms.tasks.vector_heads.vector_head import VectorHead
from transforms.transactions.compaction import Source as StoredSegment
from transforms.transactions.compaction import check_compaction, compacted_format, plan_compaction
from transforms.transactions.compaction_rows import open_live

#: From the pipeline, the paths and the parts to write to tables of predictions.
_Predicting = Callable[[beam.Pipeline, SegmentPaths, list[int]], "beam.PCollection[pa.Table]"]
#: The tokens a second that a whole network is expected to read, for the size of parts.
_NETWORK_RATE = 4_000.0


@dataclass(frozen=True)
class Source:
    """What documents are predicted, and how.

    Attributes:
        identity: a JSON value that is equal for equal documents and equal heads.
        form: the format of the files of predictions.
        plan: makes the plan of the parts.
        check: raises Damaged if a stored plan, in the file that it is given, reads anything else.
        predict: adds the stages that give tables of predictions.
        hinted: whether these stages want the accelerator of a worker.
    """

    identity: dict[str, Any]
    form: RowFormat
    plan: Callable[[], Plan]
    check: Callable[[Plan, str], None]
    predict: _Predicting
    hinted: bool


def input_source(folder: str, head: VectorHead, options: PredictOptions) -> Source:
    """Return the documents of Parquet files, which the head's encoder embeds.

    Args:
        folder: the absolute path of the head.
        head: the head.
        options: with inputs.

    Raises:
        BadInput: the input or the encoder can't be used.
    """
    model = find_model(options_for(head.encoder, options.model))
    placement = resolve_placement(options.placement, model)
    survey = survey_texts(options)
    pinned = options_for(model.identity)
    passages = PassageOptions(
        model.identity.max_tokens, options.stride, model.identity.passage_prompt
    )
    check_passage_options(passages, load_tokenizer(model))
    wanted = options.placement
    handler = AlbertEmbeddingHandler(pinned, wanted.device, wanted.dtype).for_tables()

    def predict(pipeline: beam.Pipeline, paths: SegmentPaths, parts: list[int]) -> Any:
        # On the whole chain: a hint on one stage breaks its fusion with the next.
        hints = embedding_hints(pipeline.options)
        return (
            pipeline
            | "ReadParts" >> ReadParts(paths, parts).with_resource_hints(**hints)
            | "SplitPassages" >> SplitPassages(pinned, passages).with_resource_hints(**hints)
            | "EmbedPassages" >> EmbedPassages(handler).with_resource_hints(**hints)
            | "Predict" >> Predict(folder, head.digest()).with_resource_hints(**hints)
        )

    return Source(
        {**_identity(survey), "stride": options.stride, "head": head.digest()},
        PredictionFormat(head.classes),
        lambda: plan_parts(survey, options.rows_per_part, expected_rate(model, placement)),
        lambda plan, where: plan.check_inputs(survey.files, survey.columns, where),
        predict,
        hinted=True,
    )


def texts_source(
    folder: str, task: str, form: RowFormat, survey: Survey, options: PredictOptions
) -> Source:
    """Return the documents of Parquet files, which a whole network reads.

    Args:
        folder: the absolute path of the network.
        task: its task.
        form: the format of its predictions.
        survey: the input.
        options: with inputs.
    """

    def predict(pipeline: beam.Pipeline, paths: SegmentPaths, parts: list[int]) -> Any:
        hints = embedding_hints(pipeline.options)
        read = PredictTexts(folder, task, options.placement)
        return (
            pipeline
            | "ReadParts" >> ReadParts(paths, parts).with_resource_hints(**hints)
            | "PredictTexts" >> read.with_resource_hints(**hints)
        )

    return Source(
        {**_identity(survey), "head": network_digest(folder)},
        form,
        lambda: plan_parts(survey, options.rows_per_part, _NETWORK_RATE),
        lambda plan, where: plan.check_inputs(survey.files, survey.columns, where),
        predict,
        hinted=True,
    )


def survey_texts(options: PredictOptions) -> Survey:
    """Survey files of documents; raises BadInput if they can't be used."""
    listing = find_inputs(tuple(filesystem.absolute(url) for url in options.inputs))
    columns = ColumnOptions(options.id_column, options.text_column)
    return survey_input(list(listing.files), columns)


def _identity(survey: Survey) -> dict[str, Any]:
    files = [asdict(file) for file in survey.files]
    return {"files": files, "columns": survey.columns.to_dict()}


def store_source(
    folder: str, head: VectorHead, store: str, snapshot: Snapshot, options: PredictOptions
) -> Source:
    """Return the live documents of a snapshot, whose vectors are read.

    Args:
        folder: the absolute path of the head.
        head: the head.
        store: the store's URL.
        snapshot: the snapshot.
        options: how large parts are.

    Raises:
        BadInput: there are no documents.
        Damaged: a file of a segment can't be read.
    """
    refs = snapshot.segments
    if not snapshot.documents:
        raise BadInput("store", store, "has no documents", "Embed some first")

    def plan() -> Plan:
        segments = [StoredSegment.open(store, ref) for ref in refs]
        form = compacted_format(segments)
        return plan_compaction(segments, form.metadata, options.rows_per_part or MOST_ROWS)

    def check(stored: Plan, where: str) -> None:
        check_compaction(stored, plan(), where)

    def predict(pipeline: beam.Pipeline, paths: SegmentPaths, parts: list[int]) -> Any:
        reader = functools.partial(_open_stored, store, refs)
        return (
            pipeline
            | "ReadStored" >> ReadParts(paths, parts, reader)
            | "Predict" >> Predict(folder, head.digest())
        )

    identity = {"segments": [ref.to_dict() for ref in refs], "head": head.digest()}
    return Source(identity, PredictionFormat(head.classes), plan, check, predict, hinted=False)


def _open_stored(store: str, refs: Any, paths: SegmentPaths, plan: Plan) -> Any:
    """Return the reader of a store's live rows, whose plan lies in another folder."""
    return open_live(refs, SegmentPaths(store, paths.name), plan)
