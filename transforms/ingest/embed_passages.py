"""Beam model handlers of the encoder, and the transform that embeds passages."""

import platform
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.metrics import Metrics
from apache_beam.ml.inference.base import ModelHandler, PredictionResult, RunInference

from transforms.encoder.encoding import PassageEncoder
from transforms.encoder.load import load_passage_encoder
from transforms.errors import BadInput
from transforms.ingest.part_tables import count_tokens
from transforms.ingest.read_parts import reject_reasons
from transforms.ingest.row_errors import naming_rows
from transforms.models.identity import INT8
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_model
from transforms.runtime.counters import COUNTERS
from transforms.storage import arrow_coder  # noqa: F401
from transforms.storage.schema import METRICS, REJECT, TOKENS, VECTOR
from transforms.storage.vectors import vectors_to_arrow


class _EncoderHandler(ModelHandler[Any, Any, PassageEncoder]):
    def __init__(self, model: ModelOptions, placement: Placement) -> None:
        super().__init__()
        self._options = model
        self._placement = placement

    def load_model(self) -> PassageEncoder:
        """Load the encoder, once in each worker process; its threads share it.

        Raises:
            BadInput: this worker does not have the model.
        """
        try:
            model = find_model(self._options)
        except BadInput as error:
            raise BadInput(
                "model",
                self._options.model,
                f"can't be loaded on the worker {platform.node()}: {error}",
                "Put the model at the same place on every worker, or give a hub name",
            ) from error
        encoder = load_passage_encoder(model, self._placement)
        if model.exported is None:
            _check_precision(encoder, self._options)
        COUNTERS.add_load()
        return encoder

    def get_metrics_namespace(self) -> str:
        """Return the namespace in which Beam counts inferences and model loads."""
        return METRICS


def _check_precision(encoder: PassageEncoder, options: ModelOptions) -> None:
    """Raise BadInput if the vectors of a run would not all have its precision."""
    wanted = options.expected and options.expected.precision
    if wanted and (wanted == INT8) != (encoder.dtype == "int8"):
        raise BadInput(
            "dtype",
            encoder.dtype,
            f"is what the worker {platform.node()} embeds in, but the run has the precision "
            f"{wanted!r}",
            "Give --dtype auto, or use workers that have the units of this machine's CPU",
        )


class AlbertEmbeddingHandler(_EncoderHandler):
    """A model handler from strings to vectors, for a ``RunInference`` of your own.

    Each text gives a ``PredictionResult`` whose ``inference`` is a float32 array ``[dim]``. It is
    None for a text that ``albeam embed`` would reject: one that is None, empty or blank, has no
    tokens, or fails in the model. The counter ``rejects`` counts these. A text longer than the
    model's ``max_tokens`` is truncated. RunInference batches as usual.
    """

    def __init__(
        self,
        model: ModelOptions | str,
        device: str = "auto",
        dtype: str = "auto",
        prompt: str | None = None,
        min_batch_size: int = 1,
        max_batch_size: int = 256,
        engine: str = "auto",
    ) -> None:
        """Describe a model; `load_model` loads it.

        Args:
            model: a folder, a hub name, or options for one.
            device: ``auto``, ``cpu`` or ``cuda``.
            dtype: ``auto``, ``float32``, ``bfloat16``, ``float16`` or ``int8``.
            prompt: text before each text; the model's passage prompt by default.
            min_batch_size: the fewest texts in a batch of RunInference.
            max_batch_size: the most texts in a batch of RunInference.
            engine: ``auto``, ``torch``, ``onnx`` or ``openvino``.
        """
        options = model if isinstance(model, ModelOptions) else ModelOptions(model)
        super().__init__(options, Placement(device, dtype, engine))
        self._prompt = prompt
        self._batching = {"min_batch_size": min_batch_size, "max_batch_size": max_batch_size}

    def run_inference(
        self,
        batch: Sequence[str | None],
        model: PassageEncoder,
        inference_args: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> Iterable[PredictionResult]:
        """Embed a batch of texts.

        Raises:
            BadInput: an element is not a text, or is not valid Unicode; the error names it.
        """
        prompt = model.identity.passage_prompt if self._prompt is None else self._prompt
        # The tokenizer reports what is not a text, by its place in the batch.
        texts = [prompt + (text or "") if isinstance(text, str | None) else text for text in batch]
        tokens = model.tokenizer.encode(texts)
        reasons = reject_reasons([""] * len(texts), list(batch))
        empty = tokens.count_after(len(prompt)) == 0
        good = np.flatnonzero(~empty & [reason is None for reason in reasons])
        framed = model.tokenizer.frame(tokens, model.identity.max_tokens).take(pa.array(good))
        encoding = model.encode(framed)
        vectors: list[Any] = [None] * len(texts)
        for row, place in enumerate(good.tolist()):
            if row not in encoding.failed:
                vectors[place] = encoding.vectors[row]
        Metrics.counter(METRICS, "rejects").inc(len(texts) - len(good) + len(encoding.failed))
        return [PredictionResult(text, vector) for text, vector in zip(batch, vectors, strict=True)]

    def batch_elements_kwargs(self) -> dict[str, Any]:
        """Return the bounds of a batch."""
        return self._batching

    def get_num_bytes(self, batch: Sequence[str | None]) -> int:
        """Return the memory of a batch's texts."""
        return sum(sys.getsizeof(text) for text in batch)

    def for_tables(self) -> "AlbertTableHandler":
        """Return the handler that takes and gives whole tables."""
        return AlbertTableHandler(self._options, self._placement)


class AlbertTableHandler(_EncoderHandler):
    """A model handler from tables of passages to tables with vectors, without batching."""

    def run_inference(
        self,
        batch: pa.Table,
        model: PassageEncoder,
        inference_args: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> Iterable[pa.Table]:
        """Embed the rows of a table; see `embed_passages`."""
        with naming_rows(batch, "embedded"):
            embedded = embed_passages(batch, model)
        vectors = embedded.column(VECTOR)
        done = embedded.filter(pc.is_valid(vectors))
        tokens = count_tokens(done)
        Metrics.counter(METRICS, "passages").inc(done.num_rows)
        Metrics.counter(METRICS, "tokens").inc(tokens)
        Metrics.distribution(METRICS, "tokens_per_table").update(tokens)
        return [embedded]

    def should_skip_batching(self) -> bool:
        """Return True: an element is a batch already."""
        return True

    def get_num_bytes(self, batch: pa.Table) -> int:
        """Return the bytes of the rows."""
        return int(batch.nbytes)


def embed_passages(table: pa.Table, encoder: PassageEncoder) -> pa.Table:
    """Add the column ``vector: fixed_size_list<float32>[dim]`` to a table of passages.

    Args:
        table: passages with ``_tokens`` and ``_reject``; a rejected row gets a null vector.
        encoder: embeds the token ids.

    Returns:
        The table with vectors. A row that fails alone is rejected, with the reason.
    """
    reasons = table.column(REJECT)
    good = np.flatnonzero(pc.is_null(reasons).to_numpy())
    tokens = table.column(TOKENS).take(pa.array(good)).combine_chunks()
    encoding = encoder.encode(tokens, COUNTERS.add_batch)
    vectors = np.full((table.num_rows, encoder.identity.dim), np.nan, np.float32)
    vectors[good] = encoding.vectors
    if encoding.failed:
        updated = reasons.to_pylist()
        for row, reason in encoding.failed.items():
            updated[good[row]] = reason
        place = table.schema.get_field_index(REJECT)
        table = table.set_column(place, table.schema.field(place), pa.array(updated, pa.string()))
    return table.append_column(VECTOR, vectors_to_arrow(vectors, pa.float32()))


class EmbedPassages(beam.PTransform):
    """The transform from tables of passages with token ids to tables with vectors."""

    def __init__(self, handler: AlbertTableHandler) -> None:
        super().__init__()
        self._handler = handler

    def expand(self, pcoll: beam.PCollection[pa.Table]) -> beam.PCollection[pa.Table]:
        """Wire the handler into RunInference."""
        # RunInference declares Any, and an untyped stage would pickle its tables.
        return pcoll | "Embed" >> RunInference(self._handler).with_output_types(pa.Table)
