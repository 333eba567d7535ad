"""The Beam job of a run that embeds."""

from dataclasses import dataclass

import apache_beam as beam

from pipeline.dataflow import embedding_hints
from pipeline.options import EmbedOptions
from pipeline.runners import make_pipeline, pipeline_options
from transforms.carrying import CarryParts
from transforms.embedding import AlbertEmbeddingHandler, EmbedPassages
from transforms.index_plan import IndexHelp
from transforms.indexing import BuildIndex, CommitSnapshot
from transforms.model import Model, ModelIdentity, Placement, options_for
from transforms.parquet import PartFormat
from transforms.passages import PassageOptions, SplitPassages
from transforms.planning import Plan
from transforms.segment import PartInfo, SegmentPaths
from transforms.source import ReadParts
from transforms.storage import FileInfo
from transforms.writing import WriteParts


@dataclass(frozen=True)
class EmbedJob:
    """What is settled before work: options, what they resolve to, and when it began."""

    options: EmbedOptions
    store: str
    model: Model
    placement: Placement
    passages: PassageOptions
    files: list[FileInfo]
    started: float

    @property
    def identity(self) -> ModelIdentity:
        """Of the model."""
        return self.model.identity

    def pipeline(self) -> beam.Pipeline:
        """An empty one for the runner that was asked for."""
        options = pipeline_options(self.options.runner, self.options.beam_args)
        return make_pipeline(self.options.runner, options)


def add_embedding(
    pipeline: beam.Pipeline,
    job: EmbedJob,
    paths: SegmentPaths,
    plan: Plan,
    done: set[int],
    help_: IndexHelp,
    language: str | None,
) -> None:
    """Wire what does the parts of a plan that are not done, indexes and commits them."""
    options, identity = job.options, job.identity
    form = PartFormat(identity, options.vector_dtype, plan.schema)
    # Workers find the very model that was checked here, or say that theirs is another.
    pinned = options_for(identity)
    handler = AlbertEmbeddingHandler(
        pinned, options.placement.device, options.placement.dtype
    ).for_tables()
    pending = [part for part in plan.parts if part.number not in done]
    carried = [part.number for part in pending if part.carry]
    written = []
    if carried:
        written.append(
            pipeline
            | "CarryParts" >> CarryParts(paths, carried)
            | "WriteCarried" >> WriteParts(paths, form)
        )
    numbers = [part.number for part in pending if not part.carry]
    if numbers:
        # On all of the chain: a hint on one stage breaks its fusion with the next.
        hints = embedding_hints(pipeline.options)
        written.append(
            pipeline
            | "ReadParts" >> ReadParts(paths, numbers).with_resource_hints(**hints)
            | "SplitPassages" >> SplitPassages(pinned, job.passages).with_resource_hints(**hints)
            | "EmbedPassages" >> EmbedPassages(handler).with_resource_hints(**hints)
            | "WriteParts" >> WriteParts(paths, form).with_resource_hints(**hints)
        )
    if not written:
        written.append(pipeline | "NoParts" >> beam.Create([]).with_output_types(PartInfo))
    _ = (
        (tuple(written) | "AllParts" >> beam.Flatten() if len(written) > 1 else written[0])
        | "BuildIndex" >> BuildIndex(paths, len(plan.parts), form, options.index, help_, language)
        | "CommitSnapshot" >> CommitSnapshot(job.store, options.mode)
    )
