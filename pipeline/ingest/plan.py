"""``albeam plan``: estimate what a run would read, write, take and cost."""

import json
import math
import os
import resource
import sys
from dataclasses import asdict, dataclass, field

from pipeline.command_line.console import counted
from pipeline.ingest.options import PlanOptions
from pipeline.ingest.resolve import new_pipeline, resolve
from transforms.catalog.parts import PartFormat
from transforms.catalog.plan import Plan
from transforms.encoder.load import load_passage_encoder
from transforms.index.vector.faiss_factory import kind_of
from transforms.index.vector.faiss_search import EXACT
from transforms.index.vector.plan import max_shard_rows
from transforms.index.vector.selection import (
    IndexChoice,
    build_seconds,
    choose_index,
    index_bytes,
)
from transforms.ingest.partitioning import MOST_TEXT_BYTES, choose_rows_per_part, plan_parts
from transforms.ingest.sample import Sample, take_sample
from transforms.ingest.survey import Survey, survey_input
from transforms.storage import input_files

#: How long a sample is embedded.
_SECONDS = 2.0


@dataclass(frozen=True)
class PlanReport:
    """The estimate of a run. Bytes, tokens and passages are extrapolated from a sample.

    Attributes:
        rows: the rows of the input, or as many as the user asked about.
        sampled: rows that were read.
        rejects: rows that would be rejected.
        passages, tokens: those of the rows that are not rejected.
        parts: number of parts.
        rows_per_part: input rows of a part.
        vector_bytes: the size of the parts, extrapolated from a written sample.
        index: the FAISS factory, or ``none``.
        index_reason: why this index would be chosen, and how large it would be.
        index_bytes: the size of the index files.
        raw_bytes: the size of the float16 vectors next to them.
        shards: index files, all of which a search reads.
        build_seconds: training and filling the index on one machine with as many cores as this.
        plan_bytes, manifest_bytes: the sizes of ``plan.json`` and ``segment.json``.
        shuffle_bytes: descriptions of parts that cross a shuffle on the way to the index.
        files: the files of the segment.
        worker_bytes: the peak memory of this process, which embedded the sample.
        shard_bytes: codes and centres of the largest shard, which its worker holds in memory.
        tokens_per_second: the speed of one worker.
        speed: the source of that number.
        workers: workers that embed at the same time.
        runner: the runner that was asked for.
        embed_seconds: seconds that all workers need together to embed.
        cost: the price of their time, for embedding and the index; None without a price.
        left_out: reason to number of names below the inputs that were left out; a folder counts
            once.
    """

    rows: int
    sampled: int
    rejects: int
    passages: int
    tokens: int
    parts: int
    rows_per_part: int
    vector_bytes: int
    index: str
    index_reason: str
    index_bytes: int
    raw_bytes: int
    shards: int
    build_seconds: float
    plan_bytes: int
    manifest_bytes: int
    shuffle_bytes: int
    files: int
    worker_bytes: int
    shard_bytes: int
    tokens_per_second: float
    speed: str
    workers: int
    runner: str
    embed_seconds: float
    cost: float | None
    model: str
    device: str
    dtype: str
    left_out: dict[str, int] = field(default_factory=dict)


def run(options: PlanOptions) -> PlanReport:
    """Read footers and a sample, embed it for two seconds, and extrapolate.

    Raises:
        BadInput: the input, the model or an option can't be used.
    """
    embed = options.embed
    # Checks the runner before anything is read.
    new_pipeline(embed)
    job = resolve(embed)
    identity = job.identity
    listing = input_files.find_inputs(job.inputs)
    survey = survey_input(list(listing.files), embed.columns)
    form = PartFormat(identity, embed.vector_dtype, survey.schema)
    encoder = load_passage_encoder(job.model, job.placement)
    sample = take_sample(survey, job.tokenizer, job.passages, encoder, form, _SECONDS)
    plan = plan_parts(survey, embed.rows_per_part, job.rate)
    rows = options.rows or survey.rows
    parts, per_part = _parts(plan, survey, rows, job.rate, options)
    count = round(sample.passages / sample.rows * rows)
    tokens = round(sample.tokens / sample.rows * rows)
    choice = choose_index(embed.index, identity.dim, count)
    factory, dim = choice.factory, identity.dim
    shards = _shards(choice, embed.index.shards, parts, count, dim)
    raw = 2 * count * dim if factory not in (None, EXACT) else 0
    building = build_seconds(factory, dim, count) if factory else 0.0
    # An input of which nothing can be embedded is no error: `embed` rejects its rows.
    measured = sample.part.tokens / sample.seconds if sample.part.rows else job.rate
    speed = options.tokens_per_second or measured
    embedding = tokens / (speed * options.parallel)
    described = len(json.dumps(asdict(sample.part), indent=1))
    hours = (embedding * options.parallel + building) / 3600
    return PlanReport(
        rows=rows,
        sampled=sample.rows,
        rejects=round(sample.rejected / sample.rows * rows),
        passages=count,
        tokens=tokens,
        parts=parts,
        rows_per_part=per_part,
        vector_bytes=round(sample.part.bytes / max(sample.part.rows, 1) * count),
        index=factory or "none",
        index_reason=choice.why,
        index_bytes=index_bytes(factory, dim, count) if factory else 0,
        raw_bytes=raw,
        shards=shards,
        build_seconds=round(building, 1),
        plan_bytes=round(len(plan.to_json()) / len(plan.parts) * parts),
        manifest_bytes=described * parts,
        shuffle_bytes=described * parts,
        files=2 * parts + (sample.rejected > 0) * parts + shards * (2 if raw else 1) + 2,
        worker_bytes=_peak_bytes(),
        shard_bytes=_shard_bytes(factory, dim, math.ceil(count / max(shards, 1))) if factory else 0,
        tokens_per_second=round(speed, 1),
        speed="as given" if options.tokens_per_second else _measured(sample),
        workers=options.parallel,
        runner=embed.runner,
        embed_seconds=round(embedding, 1),
        cost=None if options.price_per_hour is None else round(hours * options.price_per_hour, 2),
        model=identity.name,
        device=job.placement.device,
        dtype=job.placement.dtype,
        left_out=listing.left_out,
    )


def _parts(
    plan: Plan, survey: Survey, rows: int, rate: float, options: PlanOptions
) -> tuple[int, int]:
    """Return the number of parts, and of input rows of one."""
    text_bytes = sum(group.text_bytes for file in survey.groups for group in file)
    limit = options.embed.rows_per_part or choose_rows_per_part(survey.rows, text_bytes, rate)
    per_part = min(limit, max(int(MOST_TEXT_BYTES / max(text_bytes / survey.rows, 1.0)), 1))
    return (len(plan.parts) if options.rows is None else math.ceil(rows / per_part)), per_part


def _shards(choice: IndexChoice, asked: int, parts: int, rows: int, dim: int) -> int:
    if choice.factory is None:
        return 0
    return min(asked or math.ceil(rows / max_shard_rows(choice.factory, dim)), parts)


def _shard_bytes(factory: str, dim: int, rows: int) -> int:
    return index_bytes(factory, dim, rows) + 4 * dim * kind_of(factory, dim).lists


def _measured(sample: Sample) -> str:
    if not sample.part.rows:
        return f"expected here; none of {counted(sample.rows, 'sampled row')} can be embedded"
    return f"measured here, {sample.part.rows} passages in {sample.seconds:.1f} s on {_cores()}"


def _cores() -> str:
    count = os.cpu_count() or 1
    return "1 core" if count == 1 else f"{count} cores"


def _peak_bytes() -> int:
    """Return the peak resident memory of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
