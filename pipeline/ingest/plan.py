"""``albeam plan``: what a run would read, write, take and cost, without a run."""

import json
import math
import os
import resource
import sys
from dataclasses import asdict, dataclass

from pipeline.ingest.options import PlanOptions
from pipeline.runners.launch import make_pipeline, pipeline_options
from transforms.catalog.parts import PartFormat
from transforms.catalog.plan import Plan
from transforms.encoder.encoder import load_encoder
from transforms.encoder.placement import expected_rate, resolve_placement
from transforms.errors import BadInput
from transforms.index.vector.faiss_factory import kind_of
from transforms.index.vector.faiss_search import EXACT
from transforms.index.vector.plan import max_shard_rows
from transforms.index.vector.selection import (
    IndexChoice,
    build_seconds,
    check_index_options,
    choose_index,
    index_bytes,
)
from transforms.ingest.options import PassageOptions
from transforms.ingest.partitioning import MOST_TEXT_BYTES, choose_rows_per_part, plan_parts
from transforms.ingest.passages import check_passage_options
from transforms.ingest.sample import Sample, take_sample
from transforms.ingest.survey import Survey, survey_input
from transforms.models.resolve import find_model
from transforms.models.tokenizer import load_tokenizer
from transforms.storage import filesystem, input_files

_SECONDS = 2.0


@dataclass(frozen=True)
class PlanReport:
    """What a run would take. Bytes, tokens and passages are drawn up from a sample.

    Attributes:
        rows: of the input, or as many as were asked about.
        sampled: rows that were read.
        rejects: rows that would be rejected.
        passages, tokens: of the others.
        parts, rows_per_part: as they would be cut.
        vector_bytes: of the parts, as a written sample was.
        index: FAISS factory, or ``none``; ``index_reason`` says why.
        index_bytes: of the index files; raw_bytes: of the float16 vectors beside them.
        shards: index files, each of which a search asks.
        build_seconds: of training and filling the index on one machine with as many cores as this.
        plan_bytes, manifest_bytes: of ``plan.json`` and ``segment.json``.
        shuffle_bytes: descriptions of parts that cross a shuffle on the way to the index.
        files: that the segment would have.
        worker_bytes: peak memory of this process, which embedded the sample.
        shard_bytes: codes and centres of the largest shard, which its worker holds.
        tokens_per_second: of one worker; ``speed`` says where that is from.
        embed_seconds: of all workers side by side.
        cost: of their time, embedding and index; None without a price.
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


def run(options: PlanOptions) -> PlanReport:
    """Read footers and a sample, embed it for two seconds, and draw up the whole.

    Raises:
        BadInput: the input, the model or an option can't be used as given.
    """
    _check(options)
    embed = options.embed
    make_pipeline(embed.runner, pipeline_options(embed.runner, embed.beam_args))
    model = find_model(embed.model)
    placement = resolve_placement(embed.placement, model)
    tokenizer = load_tokenizer(model)
    identity = model.identity
    passages = PassageOptions(identity.max_tokens, embed.stride, identity.passage_prompt)
    check_passage_options(passages, tokenizer)
    check_index_options(embed.index, identity.dim)
    files = input_files.list_inputs(tuple(filesystem.absolute(url) for url in embed.inputs))
    survey = survey_input(files, embed.columns)
    form = PartFormat(identity, embed.vector_dtype, survey.schema)
    encoder = load_encoder(model, placement)
    sample = take_sample(survey, tokenizer, passages, encoder, form, _SECONDS)
    plan = plan_parts(survey, embed.rows_per_part, expected_rate(model, placement))
    rows = options.rows or survey.rows
    parts, per_part = _parts(plan, survey, rows, expected_rate(model, placement), options)
    count = round(sample.passages / sample.rows * rows)
    tokens = round(sample.tokens / sample.rows * rows)
    choice = choose_index(embed.index, identity.dim, count)
    factory, dim = choice.factory, identity.dim
    shards = _shards(choice, embed.index.shards, parts, count, dim)
    raw = 2 * count * dim if factory not in (None, EXACT) else 0
    building = build_seconds(factory, dim, count) if factory else 0.0
    measured = sample.part.tokens / sample.seconds
    speed = options.tokens_per_second or measured
    embedding = tokens / (speed * options.workers)
    described = len(json.dumps(asdict(sample.part), indent=1))
    hours = (embedding * options.workers + building) / 3600
    return PlanReport(
        rows=rows,
        sampled=sample.rows,
        rejects=round(sample.rejected / sample.rows * rows),
        passages=count,
        tokens=tokens,
        parts=parts,
        rows_per_part=per_part,
        vector_bytes=round(sample.part.bytes / sample.part.rows * count),
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
        shard_bytes=_shard_bytes(factory, dim, math.ceil(count / shards)) if factory else 0,
        tokens_per_second=round(speed, 1),
        speed="as given" if options.tokens_per_second else _measured(sample),
        workers=options.workers,
        runner=embed.runner,
        embed_seconds=round(embedding, 1),
        cost=None if options.price_per_hour is None else round(hours * options.price_per_hour, 2),
        model=identity.name,
        device=placement.device,
        dtype=placement.dtype,
    )


def _check(options: PlanOptions) -> None:
    for name, value in (("rows", options.rows), ("parallel", options.workers)):
        if value is not None and value < 1:
            raise BadInput(f"{name} {value} is below 1; give 1 or more")
    speed, price = options.tokens_per_second, options.price_per_hour
    if speed is not None and not 0 < speed < math.inf:
        raise BadInput(f"tokens-per-second {speed} is no speed; give what a worker was measured at")
    if price is not None and not 0 <= price < math.inf:
        raise BadInput(f"price-per-hour {price} is no price; give that of one worker")


def _parts(
    plan: Plan, survey: Survey, rows: int, rate: float, options: PlanOptions
) -> tuple[int, int]:
    """How many parts, and input rows of one."""
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
    return f"measured here, {sample.part.rows} passages in {sample.seconds:.1f} s on {_cores()}"


def _cores() -> str:
    count = os.cpu_count() or 1
    return "1 core" if count == 1 else f"{count} cores"


def _peak_bytes() -> int:
    """Peak resident memory of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
