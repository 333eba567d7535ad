"""albeam's own systems: the encoder, and ``albeam embed`` from Parquet to an index."""

import shutil
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from pipeline.bench.corpora import cut_texts, framed_ids
from pipeline.bench.systems.system import TINY, System, Vectors, counted_positions
from pipeline.ingest.embed import run as embed
from pipeline.ingest.options import EmbedOptions
from transforms.encoder.encoder import Encoder, load_encoder
from transforms.ingest.passages import forget_tokenizer
from transforms.models.options import ModelOptions, Placement
from transforms.runtime.devices import supports_int8


class Albeam(System):
    """The encoder in a plain loop, in the dtype that it chooses."""

    name = "albeam"

    def prepare(self, texts: Sequence[str]) -> None:  # noqa: ARG002
        """Load the encoder once; it checks itself."""
        if not hasattr(self, "encoder"):
            self.encoder: Encoder = load_encoder(self.setup.model, self.placement())
        self.dtype = self.encoder.dtype
        self._positions: int | None = None

    def run(self, texts: Sequence[str]) -> Vectors | None:
        """Tokenize and embed."""
        network: Any = self.encoder.backend.network
        with counted_positions([getattr(network, "embed", network)]) as positions:
            vectors = self.encoder.encode_texts(list(texts))
        self._positions = sum(positions) or None
        return vectors

    def positions(self) -> int | None:
        """Return the positions that passed the word embeddings."""
        return self._positions

    def placement(self) -> Placement:
        """Return where it computes, and in which dtype."""
        return self.setup.placement


class AlbeamFloat32(Albeam):
    """The encoder in float32."""

    name = "albeam-float32"

    def placement(self) -> Placement:
        """Return where it computes, and in which dtype."""
        return Placement(self.setup.placement.device, "float32")


class AlbeamInt8(Albeam):
    """The encoder with products of bytes."""

    name = "albeam-int8"

    def lacking(self) -> str | None:
        """Return why it can't run: without the units, the encoder would be in float32."""
        if self.setup.placement.device != "cpu":
            return "int8 is for CPUs"
        if not supports_int8():
            return "this CPU has no units for int8 (AVX2, VNNI or AMX)"
        return None

    def placement(self) -> Placement:
        """Return where it computes, and in which dtype."""
        return Placement(self.setup.placement.device, "int8")


class EndToEnd(System):
    """``albeam embed`` from Parquet to Parquet with an index, on Beam's direct runner.

    It embeds the texts several times over, so that the work takes longer than the start-up that is
    subtracted. The bare encoder is timed on the same passages in the same round.
    """

    note = "start-up subtracted: a run on two texts"
    starts = True

    def __init__(self, albeam: Albeam) -> None:
        super().__init__(albeam.setup)
        self.name = f"{albeam.name}-e2e"
        self._albeam = albeam

    def lacking(self) -> str | None:
        """Return what the encoder lacks."""
        return self._albeam.lacking()

    def prepare(self, texts: Sequence[str]) -> None:
        """Take the encoder's dtype, and cut the texts as a run does."""
        self.dtype = self._albeam.dtype
        tokenizer, model = self._albeam.encoder.tokenizer, self.setup.model
        self._passages = cut_texts(tokenizer, texts, model)
        self._passage_tokens = sum(map(len, framed_ids(tokenizer, self._passages, model)))
        self._repeats = 0
        self.bare_rates: list[float] = []

    def run(self, texts: Sequence[str]) -> Vectors | None:
        """Embed into a new store; return the vector of each text's first passage."""
        self._embed([*texts] * (self._repeats or 1))
        return self._read(len(texts))

    def start(self) -> None:
        """Embed two texts, once."""
        self._embed(TINY)

    def time_bare_encoder(self, seconds: float) -> None:
        """Record tokens a second of the encoder alone on the passages of a `run`.

        The first call chooses how often the texts are repeated, so that they take about
        ``seconds``.
        """
        if not self._repeats:
            started = time.perf_counter()
            self._albeam.run(self._passages)
            self._repeats = max(round(seconds / (time.perf_counter() - started)), 1)
        started = time.perf_counter()
        self._albeam.run(self._passages * self._repeats)
        took = time.perf_counter() - started
        self.bare_rates.append(self._passage_tokens * self._repeats / took)

    def tokens(self) -> int | None:
        """Return the job's own count."""
        return self._tokens

    def _embed(self, rows: Sequence[str]) -> None:
        shutil.rmtree(self.setup.work / "store", ignore_errors=True)
        # Each run starts as a new process would, without known words.
        forget_tokenizer()
        source = self.setup.work / "input.parquet"
        ids = [f"{number:09d}" for number in range(len(rows))]
        pq.write_table(pa.table({"id": ids, "text": list(rows)}), source)
        summary = embed(
            EmbedOptions(
                inputs=(str(source),),
                store=str(self.setup.work / "store"),
                model=ModelOptions(self.setup.model.identity.name),
                placement=self._albeam.placement(),
            )
        )
        self._tokens = summary.tokens

    def _read(self, count: int) -> Vectors:
        files = sorted(self.setup.work.glob("store/segments/*/vectors/*.parquet"))
        table = ds.dataset(files).to_table(
            columns=["document_id", "vector"], filter=ds.field("passage") == 0
        )
        column = table.sort_by("document_id").column("vector").combine_chunks()
        return np.stack(column.flatten().to_numpy().reshape(len(column), -1)[:count])
