"""The transforms from a segment's parts to its indexes and its manifest."""

from collections.abc import Iterator

import apache_beam as beam

from transforms.catalog.index_manifest import IndexFile, IndexInfo
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.lexical_manifest import LexicalInfo
from transforms.catalog.parts import PartFormat, complete_parts
from transforms.catalog.plan import Plan
from transforms.catalog.segment import PartInfo, SegmentInfo
from transforms.errors import Conflict
from transforms.index.lexical.build import IndexTexts
from transforms.index.options import IndexOptions
from transforms.index.shard_layout import ShardPlan
from transforms.index.vector.build import (
    BuiltShard,
    TrainedIndex,
    build_shard,
    finish_index,
    train,
)
from transforms.index.vector.index_files import create_index_info
from transforms.index.vector.plan import EMPTY_CONTEXT, IndexContext, IndexPlan, plan_index
from transforms.index.vector.sampling import ShardSample, sample_shard
from transforms.runtime.checked_fn import CheckedFn


def describe_segment(
    paths: SegmentPaths,
    plan: Plan,
    form: PartFormat,
    parts: tuple[PartInfo, ...],
    index: IndexInfo | None,
    lexical: LexicalInfo | None = None,
) -> SegmentInfo:
    """Return the segment's manifest."""
    return SegmentInfo(
        name=paths.name,
        identity=form.identity,
        vector_dtype=form.vector_dtype,
        inputs=plan.files,
        metadata=plan.schema,
        parts=parts,
        index=index,
        lexical=lexical,
    )


def build_index(
    paths: SegmentPaths,
    parts: tuple[PartInfo, ...],
    dim: int,
    options: IndexOptions,
    context: IndexContext = EMPTY_CONTEXT,
) -> IndexInfo | None:
    """Build the index in this process, shard by shard; see `IndexParts`."""
    plan = plan_index(parts, dim, options, context)
    if plan is None:
        return None
    shards = plan.shards
    samples = [] if plan.exact else [sample_shard(paths, plan, shard) for shard in shards]
    trained = train(paths, plan, samples)
    built = [build_shard(paths, plan, shard, samples, trained) for shard in shards]
    return finish_index(paths, plan, samples, trained, built)


class _PlanFn(CheckedFn):
    def __init__(self, dim: int, options: IndexOptions, context: IndexContext) -> None:
        super().__init__()
        self._dim, self._options, self._context = dim, options, context

    def process(self, element: tuple[PartInfo, ...]) -> Iterator[IndexPlan]:
        plan = plan_index(element, self._dim, self._options, self._context)
        if plan is not None:
            yield plan


class _ShardsFn(CheckedFn):
    def process(self, element: IndexPlan) -> Iterator[tuple[IndexPlan, ShardPlan]]:
        for shard in element.shards:
            yield element, shard


class _SampleFn(CheckedFn):
    def __init__(self, paths: SegmentPaths) -> None:
        super().__init__()
        self._paths = paths

    def process(self, element: tuple[IndexPlan, ShardPlan]) -> Iterator[ShardSample]:
        plan, shard = element
        if not plan.exact:
            yield sample_shard(self._paths, plan, shard)


class _TrainFn(CheckedFn):
    def __init__(self, paths: SegmentPaths) -> None:
        super().__init__()
        self._paths = paths

    def process(self, element: IndexPlan, samples: list[ShardSample]) -> Iterator[TrainedIndex]:
        yield train(self._paths, element, samples)


class _BuildFn(CheckedFn):
    def __init__(self, paths: SegmentPaths) -> None:
        super().__init__()
        self._paths = paths

    def process(
        self,
        element: tuple[IndexPlan, ShardPlan],
        samples: list[ShardSample],
        trained: list[TrainedIndex],
    ) -> Iterator[BuiltShard]:
        plan, shard = element
        yield build_shard(self._paths, plan, shard, samples, trained[0])


class _FinishFn(CheckedFn):
    def __init__(self, paths: SegmentPaths) -> None:
        super().__init__()
        self._paths = paths

    def process(
        self,
        element: IndexPlan,
        samples: list[ShardSample],
        trained: list[TrainedIndex],
        built: list[BuiltShard],
    ) -> Iterator[IndexInfo]:
        yield finish_index(self._paths, element, samples, trained[0], built)


class IndexParts(beam.PTransform):
    """Transform from all parts of a segment, as one element, to its `IndexInfo`.

    The output is empty if the options ask for no index. Each shard is sampled, built and searched
    on its own worker. Training and the choice of settings are single steps.
    """

    def __init__(
        self,
        paths: SegmentPaths,
        dim: int,
        options: IndexOptions,
        context: IndexContext = EMPTY_CONTEXT,
    ) -> None:
        super().__init__()
        self._paths, self._dim, self._options, self._context = paths, dim, options, context

    def expand(self, pcoll: beam.PCollection[tuple[PartInfo, ...]]) -> beam.PCollection[IndexInfo]:
        """Wire the functions of `transforms.index.vector.build`."""
        paths = self._paths
        as_list = beam.pvalue.AsList
        plan = pcoll | "PlanIndex" >> beam.ParDo(
            _PlanFn(self._dim, self._options, self._context)
        ).with_output_types(IndexPlan)
        shards = (
            plan
            | "Shards" >> beam.ParDo(_ShardsFn()).with_output_types(tuple[IndexPlan, ShardPlan])
            | "Spread" >> beam.Reshuffle()
        )
        sampled = as_list(
            shards | "Sample" >> beam.ParDo(_SampleFn(paths)).with_output_types(ShardSample)
        )
        trained = as_list(
            plan | "Train" >> beam.ParDo(_TrainFn(paths), sampled).with_output_types(TrainedIndex)
        )
        built = as_list(
            shards
            | "BuildShard"
            >> beam.ParDo(_BuildFn(paths), sampled, trained).with_output_types(BuiltShard)
        )
        finish = beam.ParDo(_FinishFn(paths), sampled, trained, built)
        return plan | "ChooseSettings" >> finish.with_output_types(IndexInfo)


class _CompleteFn(CheckedFn):
    def __init__(self, paths: SegmentPaths, parts: int) -> None:
        super().__init__()
        self._paths, self._parts = paths, parts

    def process(self, _: None, infos: list[PartInfo]) -> Iterator[tuple[PartInfo, ...]]:
        yield complete_parts(self._paths, self._parts, infos)


class _DescribeFn(CheckedFn):
    def __init__(self, paths: SegmentPaths, form: PartFormat) -> None:
        super().__init__()
        self._paths, self._form = paths, form

    def process(
        self, element: tuple[PartInfo, ...], index: list[IndexInfo], lexical: list[LexicalInfo]
    ) -> Iterator[SegmentInfo]:
        plan = self._paths.read_plan()
        if plan is None:
            raise Conflict(
                "plan",
                self._paths.plan,
                "no longer exists, because a vacuum removed it",
                "Run again",
            )
        made = (index[0] if index else None, lexical[0] if lexical else None)
        yield describe_segment(self._paths, plan, self._form, element, *made)


class BuildIndex(beam.PTransform):
    """Transform from all `PartInfo` of a segment to its `SegmentInfo`, with its indexes.

    Parts that an earlier run finished are read from their markers. ``language`` is that of the
    lexical index; None builds no lexical index.
    """

    def __init__(
        self,
        paths: SegmentPaths,
        parts: int,
        form: PartFormat,
        options: IndexOptions,
        context: IndexContext = EMPTY_CONTEXT,
        language: str | None = None,
    ) -> None:
        super().__init__()
        self._paths, self._parts, self._language = paths, parts, language
        self._form, self._options, self._context = form, options, context

    def expand(self, pcoll: beam.PCollection[PartInfo]) -> beam.PCollection[SegmentInfo]:
        """Wire `IndexParts`, `IndexTexts` and `describe_segment`."""
        complete = _CompleteFn(self._paths, self._parts)
        parts = (
            pcoll.pipeline
            | "Start" >> beam.Create([None])
            | "Complete"
            >> beam.ParDo(complete, beam.pvalue.AsList(pcoll)).with_output_types(
                tuple[PartInfo, ...]
            )
        )
        index = parts | "IndexParts" >> IndexParts(
            self._paths, self._form.identity.dim, self._options, self._context
        )
        if self._language is None:
            lexical = pcoll.pipeline | "NoTexts" >> beam.Create([]).with_output_types(LexicalInfo)
        else:
            lexical = parts | "IndexTexts" >> IndexTexts(self._paths, self._language)
        describe, as_list = _DescribeFn(self._paths, self._form), beam.pvalue.AsList
        return parts | "Describe" >> beam.ParDo(describe, as_list(index), as_list(lexical))


class _CreateIndexInfoFn(CheckedFn):
    def __init__(
        self, paths: SegmentPaths, options: IndexOptions, questions: IndexFile | None
    ) -> None:
        super().__init__()
        self._paths, self._options, self._questions = paths, options, questions

    def process(self, element: IndexInfo) -> Iterator[IndexFile]:
        yield create_index_info(self._paths, self._options, self._questions, element)


class CreateIndexInfo(beam.PTransform):
    """Transform from an `IndexInfo` to its file, for a segment that already has a manifest."""

    def __init__(
        self, paths: SegmentPaths, options: IndexOptions, questions: IndexFile | None = None
    ) -> None:
        super().__init__()
        self._paths, self._options, self._questions = paths, options, questions

    def expand(self, pcoll: beam.PCollection[IndexInfo]) -> beam.PCollection[IndexFile]:
        """Wire `create_index_info`."""
        create = beam.ParDo(_CreateIndexInfoFn(self._paths, self._options, self._questions))
        return pcoll | "CreateFile" >> create.with_output_types(IndexFile)
