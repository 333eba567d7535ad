"""Resolve the options of a job: find the model, place it, and check that the options fit it."""

import os
from dataclasses import dataclass, replace

import apache_beam as beam

from pipeline.ingest.options import EmbedOptions
from pipeline.runners.gpus import keep_busy
from pipeline.runners.launch import check_reachable, make_pipeline, pipeline_options
from transforms.catalog.options import ColumnOptions, LabelColumn
from transforms.encoder.placement import expected_rate, resolve_placement, with_precision
from transforms.errors import BadInput
from transforms.index.vector.selection import check_index_options
from transforms.ingest.embed_passages import AlbertEmbeddingHandler, EmbedPassages
from transforms.ingest.options import PassageOptions
from transforms.ingest.passages import check_passage_options
from transforms.models.identity import ModelIdentity
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import Model, find_model, options_for
from transforms.models.tokenizer import Tokenizer, load_tokenizer
from transforms.runtime.devices import resolve_device
from transforms.storage import filesystem
from transforms.tasks.prediction.label_column import LabelPassages, find_label


@dataclass(frozen=True)
class ResolvedJob:
    """The options of a job, and what they resolve to on this machine.

    Attributes:
        options: the options as they were given.
        inputs: the absolute URLs of the inputs.
        store: the absolute URL of the store; "" for a plan.
        model: the model.
        tokenizer: the tokenizer of the model.
        placement: the device and the dtype of the model on this machine.
        passages: how documents are split.
        label: the metadata column that a head fills in; None for none.
    """

    options: EmbedOptions
    inputs: tuple[str, ...]
    store: str
    model: Model
    tokenizer: Tokenizer
    placement: Placement
    passages: PassageOptions
    label: LabelColumn | None

    @property
    def columns(self) -> ColumnOptions:
        """The columns of the options, and that of the labels."""
        return replace(self.options.columns, label=self.label)

    @property
    def identity(self) -> ModelIdentity:
        """The identity of the model."""
        return self.model.identity

    @property
    def pinned_model(self) -> ModelOptions:
        """Options by which workers find this very model, or fail."""
        exported = self.model.exported is not None
        return options_for(self.identity, self.model.folder if exported else None)

    @property
    def rate(self) -> float:
        """The tokens per second that a worker is expected to embed."""
        return expected_rate(self.model, self.placement)

    def embedding(self) -> beam.PTransform:
        """Return the transform that embeds passages, and labels them if that is wanted.

        Each worker resolves ``auto`` for itself.
        """
        wanted = self.options.placement
        handler = AlbertEmbeddingHandler(
            self.pinned_model, wanted.device, wanted.dtype, engine=wanted.engine
        )
        embed, labels = EmbedPassages(handler.for_tables()), self.labels()
        return embed if labels is None else "Embed" >> embed | "Label" >> labels

    def labels(self) -> LabelPassages | None:
        """Return the transform that labels embedded passages; None if none is wanted."""
        if self.label is None or self.options.classify is None:
            return None
        folder = os.path.abspath(self.options.classify)
        return LabelPassages(folder, self.label, self.options.vector_dtype)


def resolve(options: EmbedOptions) -> ResolvedJob:
    """Resolve options; nothing is written, and the store is not read.

    Raises:
        BadInput: the model or the head can't be used, or an option does not fit them.
    """
    found = find_model(options.model)
    placement = resolve_placement(options.placement, found)
    model = with_precision(found, placement)
    tokenizer = load_tokenizer(model)
    identity = model.identity
    passages = PassageOptions(identity.max_tokens, options.stride, identity.passage_prompt)
    check_passage_options(passages, tokenizer)
    check_index_options(options.index, identity.dim)
    return ResolvedJob(
        options=options,
        inputs=tuple(filesystem.absolute(url) for url in options.inputs),
        store=filesystem.absolute(options.store) if options.store else "",
        model=model,
        tokenizer=tokenizer,
        placement=placement,
        passages=passages,
        label=_label(options, identity),
    )


def _label(options: EmbedOptions, identity: ModelIdentity) -> LabelColumn | None:
    if options.classify is None or options.label_column is None:
        return None
    for new, _ in options.columns.metadata:
        if new == options.label_column:
            problem = "is also a metadata column of the input"
            raise BadInput("as", new, problem, "Give the name of a new column")
    return find_label(options.classify, options.label_column, identity)


def check_places(options: EmbedOptions) -> None:
    """Check the URLs of the store and the inputs without reading them.

    Raises:
        BadInput: the store is blank or has no exclusive create, or workers can't reach a URL.
    """
    if not options.store.strip():
        raise BadInput("store", options.store, "is blank", "Give a folder or a URL")
    filesystem.check_exclusive(options.store)
    check_reachable(options.runner, options.store, *options.inputs)


def new_pipeline(options: EmbedOptions, streaming: bool = False) -> beam.Pipeline:
    """Return an empty pipeline for the runner of the options.

    Raises:
        BadInput: the runner does not exist, or its engine does not answer.
    """
    beam_options = pipeline_options(options.runner, options.beam_args, streaming=streaming)
    if options.placement.device != "cpu" and resolve_device(options.placement.device) == "cuda":
        keep_busy(options.runner, beam_options)
    return make_pipeline(options.runner, beam_options)
