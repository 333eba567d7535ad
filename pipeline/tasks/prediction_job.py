"""The Beam job that writes predictions: from an input, or from the vectors of a store."""

import functools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa

from pipeline.runners.dataflow import embedding_hints
from pipeline.runners.launch import make_pipeline, pipeline_options, run_pipeline
from pipeline.runners.progress import show_progress
from pipeline.tasks.options import PredictOptions
from transforms.catalog.integrity import intact_parts
from transforms.catalog.layout import SegmentPaths, segment_name
from transforms.catalog.options import ColumnOptions
from transforms.catalog.parts import complete_parts
from transforms.catalog.plan import Plan
from transforms.catalog.segment import PartInfo
from transforms.catalog.snapshot import Snapshot
from transforms.encoder.placement import expected_rate, resolve_placement
from transforms.errors import BadInput, Damaged
from transforms.ingest.embed_passages import AlbertEmbeddingHandler, EmbedPassages
from transforms.ingest.options import PassageOptions
from transforms.ingest.partitioning import MOST_ROWS, plan_parts
from transforms.ingest.passages import SplitPassages, check_passage_options
from transforms.ingest.read_parts import ReadParts
from transforms.ingest.survey import survey_input
from transforms.ingest.write_parts import WriteParts
from transforms.models.resolve import find_model, options_for
from transforms.models.tokenizer import load_tokenizer
from transforms.storage import filesystem, remedies
from transforms.storage.input_files import find_inputs
from transforms.tasks.predict import Predict, PredictionFormat
from transforms.tasks.prediction_files import PredictionPaths, prepare_folder
from transforms.tasks.vector_head import VectorHead
from transforms.transactions.compaction import Source as StoredSegment
from transforms.transactions.compaction import check_compaction, compacted_format, plan_compaction
from transforms.transactions.compaction_rows import open_live

#: From the pipeline, the paths and the parts to write to tables of embedded passages.
_Reading = Callable[[beam.Pipeline, SegmentPaths, list[int]], "beam.PCollection[pa.Table]"]


@dataclass(frozen=True)
class Source:
    """What documents are predicted, and how their vectors come about.

    Attributes:
        identity: a JSON value that is equal for equal documents.
        plan: makes the plan of the parts.
        check: raises Damaged if a stored plan, in the file that it is given, reads anything else.
        read: adds the stages that give tables of embedded passages.
    """

    identity: dict[str, Any]
    plan: Callable[[], Plan]
    check: Callable[[Plan, str], None]
    read: _Reading


def input_source(head: VectorHead, options: PredictOptions) -> Source:
    """Return the documents of Parquet files, which the head's encoder embeds.

    Raises:
        BadInput: the input or the encoder can't be used.
    """
    model = find_model(options_for(head.encoder, options.model))
    placement = resolve_placement(options.placement, model)
    listing = find_inputs(tuple(filesystem.absolute(url) for url in options.inputs))
    columns = ColumnOptions(options.id_column, options.text_column)
    survey = survey_input(list(listing.files), columns)
    pinned = options_for(model.identity)
    passages = PassageOptions(
        model.identity.max_tokens, options.stride, model.identity.passage_prompt
    )
    check_passage_options(passages, load_tokenizer(model))
    wanted = options.placement
    handler = AlbertEmbeddingHandler(pinned, wanted.device, wanted.dtype).for_tables()

    def read(pipeline: beam.Pipeline, paths: SegmentPaths, parts: list[int]) -> Any:
        # On the whole chain: a hint on one stage breaks its fusion with the next.
        hints = embedding_hints(pipeline.options)
        return (
            pipeline
            | "ReadParts" >> ReadParts(paths, parts).with_resource_hints(**hints)
            | "SplitPassages" >> SplitPassages(pinned, passages).with_resource_hints(**hints)
            | "EmbedPassages" >> EmbedPassages(handler).with_resource_hints(**hints)
        )

    def check(plan: Plan, where: str) -> None:
        plan.check_files(listing.files, where)
        if plan.columns != survey.columns or plan.schema.names:
            raise Damaged("file", where, "reads other columns than the run", remedies.NO_RESUME)

    files = [asdict(file) for file in listing.files]
    return Source(
        {"files": files, "columns": columns.to_dict(), "stride": options.stride},
        lambda: plan_parts(survey, options.rows_per_part, expected_rate(model, placement)),
        check,
        read,
    )


def store_source(store: str, snapshot: Snapshot, options: PredictOptions) -> Source:
    """Return the live documents of a snapshot, whose vectors are read.

    Raises:
        BadInput: there are none.
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

    def read(pipeline: beam.Pipeline, paths: SegmentPaths, parts: list[int]) -> Any:
        reader = functools.partial(_open_stored, store, refs)
        return pipeline | "ReadStored" >> ReadParts(paths, parts, reader)

    return Source({"segments": [ref.to_dict() for ref in refs]}, plan, check, read)


def _open_stored(store: str, refs: Any, paths: SegmentPaths, plan: Plan) -> Any:
    """Return the reader of a store's live rows, whose plan lies in another folder."""
    return open_live(refs, SegmentPaths(store, paths.name), plan)


def write_predictions(
    source: Source, folder: str, head: VectorHead, options: PredictOptions
) -> tuple[PredictionPaths, tuple[PartInfo, ...], int]:
    """Write the parts that are not finished.

    Args:
        source: the documents.
        folder: the absolute path of the head.
        head: the head.
        options: with an output.

    Returns:
        The paths, all parts, and how many of them an earlier run had finished.

    Raises:
        BadInput: the output has other files, or the predictions of another run.
    """
    assert options.output is not None
    identity = {**source.identity, "head": head.digest(), "rows_per_part": options.rows_per_part}
    paths = PredictionPaths(filesystem.absolute(options.output), segment_name(identity))
    prepare_folder(paths)
    plan = paths.read_plan() or paths.create_plan(source.plan())
    source.check(plan, paths.plan)
    done = intact_parts(paths)
    pending = [part.number for part in plan.parts if part.number not in done]
    if pending:
        beam_options = pipeline_options(options.runner, options.beam_args)
        pipeline = make_pipeline(options.runner, beam_options)
        form = PredictionFormat(head.classes)
        hints = embedding_hints(pipeline.options) if options.store is None else {}
        _ = (
            source.read(pipeline, paths, pending)
            | "Predict" >> Predict(folder).with_resource_hints(**hints)
            | "WriteParts" >> WriteParts(paths, form).with_resource_hints(**hints)
        )
        rows = sum(plan.parts[number].rows for number in pending)
        with show_progress(paths, len(plan.parts), len(done), rows):
            run_pipeline(pipeline)
    return paths, complete_parts(paths, len(plan.parts), ()), len(done)
