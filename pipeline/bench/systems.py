"""albeam's own rows of the benchmark, and the floor under all of them: bare linear layers.

A system is prepared once for a model and then turns texts into vectors, as often as it is asked.
"""

import json
import os
import shutil
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import torch

from pipeline.bench.corpora import cut_texts, framed_ids
from pipeline.ingest.options import EmbedOptions
from transforms.encoder.encoder import Encoder, load_encoder
from transforms.encoder.fused_layers import Product, make_product
from transforms.ingest.passages import forget_tokenizer
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import Model
from transforms.models.tokenizer import Tokenizer, load_tokenizer
from transforms.runtime.devices import best_dtype

Vectors = npt.NDArray[np.float32]

#: Two texts: what a run needs to start up, and nearly nothing else.
_TINY = ("A river.", "A stone.")


@dataclass(frozen=True)
class Bench:
    """What every system is given.

    Attributes:
        model: the weights, a folder that transformers and sentence-transformers load too.
        placement: resolved device and dtype of albeam's own choice.
        work: an empty folder of its own.
        batch_sizes: of which a peer takes the quickest, in rising order.
        tried: texts on which it finds that out.
    """

    model: Model
    placement: Placement
    work: Path
    batch_sizes: tuple[int, ...] = (8,)
    tried: int = 32


class System:
    """One way from texts to vectors.

    Attributes:
        name: of its rows.
        dtype: in which its linear layers compute.
        note: a sentence for its rows.
        packages: import names of what it needs beside albeam's own requirements.
        starts: each run loads a model, so that a run of `start` is to be subtracted.
    """

    name: str
    dtype: str = "float32"
    note: str = ""
    packages: tuple[str, ...] = ()
    starts: bool = False

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def prepare(self, texts: Sequence[str]) -> None:
        """Load, and choose settings for these texts; not timed."""

    def run(self, texts: Sequence[str]) -> Vectors | None:
        """Vectors, float32 ``[texts, dim]``, in the order of the texts; None where there are none.

        What counts is the time of this call: tokenization is part of it.
        """
        raise NotImplementedError

    def start(self) -> None:
        """A run on two texts: what every run spends to start up, and nearly nothing else."""
        self.run(_TINY)

    def tokens(self) -> int | None:
        """Tokens of the last run, where they are not simply those of its texts."""
        return None

    def positions(self) -> int | None:
        """Token positions that the last run computed on, padding among them; None: not known."""
        return None


class Albeam(System):
    """The encoder in a plain loop, in its own choice of dtype."""

    name = "albeam"

    def prepare(self, texts: Sequence[str]) -> None:  # noqa: ARG002
        """Load the encoder once; it checks itself."""
        if not hasattr(self, "encoder"):
            self.encoder: Encoder = load_encoder(self.bench.model, self._placement())
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
        """As the word embeddings saw them."""
        return self._positions

    def _placement(self) -> Placement:
        return self.bench.placement


class AlbeamFloat32(Albeam):
    """The same in float32."""

    name = "albeam-float32"

    def _placement(self) -> Placement:
        return Placement(self.bench.placement.device, "float32")


class EndToEnd(System):
    """``albeam embed`` from Parquet to Parquet with an index, by Beam's direct runner.

    It embeds the texts several times over, so that the work outweighs the start-up that is
    subtracted; the bare encoder's time on the very same passages is taken beside it.
    """

    name = "albeam-e2e"
    note = "start-up subtracted: a run on two texts"
    starts = True

    def __init__(self, albeam: Albeam) -> None:
        super().__init__(albeam.bench)
        self._albeam = albeam

    def prepare(self, texts: Sequence[str]) -> None:
        """Take over what the encoder chose, and cut the texts as a run will."""
        self.dtype = self._albeam.dtype
        tokenizer, model = self._albeam.encoder.tokenizer, self.bench.model
        self._passages = cut_texts(tokenizer, texts, model)
        self._passage_tokens = sum(map(len, framed_ids(tokenizer, self._passages, model)))
        self._repeats = 0
        self.bare_rates: list[float] = []

    def run(self, texts: Sequence[str]) -> Vectors | None:
        """Embed into a new store; the vectors of each text's first passage."""
        self._embed([*texts] * (self._repeats or 1))
        return self._read(len(texts))

    def start(self) -> None:
        """Embed two texts, once."""
        self._embed(_TINY)

    def _embed(self, rows: Sequence[str]) -> None:
        from pipeline.ingest.embed import run

        shutil.rmtree(self.bench.work / "store", ignore_errors=True)
        # Each run is to start as a process does, without words.
        forget_tokenizer()
        source = self.bench.work / "input.parquet"
        ids = [f"{number:09d}" for number in range(len(rows))]
        pq.write_table(pa.table({"id": ids, "text": list(rows)}), source)
        summary = run(
            EmbedOptions(
                inputs=(str(source),),
                store=str(self.bench.work / "store"),
                model=ModelOptions(self.bench.model.identity.name),
                placement=self.bench.placement,
            )
        )
        self._tokens = summary.tokens

    def time_bare_encoder(self, seconds: float) -> None:
        """Note tokens a second of the encoder alone on the passages of a `run`.

        The first time, so many of them are settled on that they take about ``seconds``.
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
        """By the job's own counter."""
        return self._tokens

    def _read(self, count: int) -> Vectors:
        files = sorted(self.bench.work.glob("store/segments/*/vectors/*.parquet"))
        table = ds.dataset(files).to_table(
            columns=["document_id", "vector"], filter=ds.field("passage") == 0
        )
        column = table.sort_by("document_id").column("vector").combine_chunks()
        return np.stack(column.flatten().to_numpy().reshape(len(column), -1)[:count])


class LinearPeak(System):
    """The linear layers alone, on the encoder's batches, in its dtype and by its products.

    For each batch the embedding's mapping once and, for each layer, the four projections of
    attention, three of them as one product, and the two feed-forward layers, with weights of the
    model's shapes.
    """

    name = "linear-peak"
    note = "no tokenization, no attention: linear layers only"

    def __init__(self, albeam: Albeam) -> None:
        super().__init__(albeam.bench)
        self._albeam = albeam

    def prepare(self, texts: Sequence[str]) -> None:
        """Note the encoder's batches and make weights and inputs."""
        self.dtype = self._albeam.dtype
        encoder, model = self._albeam.encoder, self.bench.model
        ids = framed_ids(encoder.tokenizer, texts, model)
        chunks: list[int] = []
        encoder.encode(
            pa.array(ids, pa.list_(pa.int32())), lambda _rows, tokens: chunks.append(tokens)
        )
        config = json.loads((Path(model.folder) / "config.json").read_text(encoding="utf-8"))
        hidden, inner = model.hidden_size, model.intermediate_size
        narrow = int(config.get("embedding_size", hidden))
        groups = int(config.get("num_hidden_groups", 1 if "embedding_size" in config else 0))
        place: dict[str, Any] = {"device": encoder.device, "dtype": getattr(torch, self.dtype)}

        def layer(inputs: int, outputs: int) -> Product:
            linear = torch.nn.Linear(inputs, outputs, **place)
            fused = encoder.backend_name in ("products", "fused")
            return make_product([linear], place["dtype"]) if fused else linear

        own = [
            [
                *(layer(hidden, 3 * hidden), layer(hidden, hidden)),
                *(layer(hidden, inner), layer(inner, hidden)),
            ]
            for _ in range(groups or model.layers)
        ]
        self._mapping = layer(narrow, hidden)
        # Groups of layers that share their weights lie one after another, as in ALBERT.
        self._layers = [own[number * len(own) // model.layers] for number in range(model.layers)]
        self._inputs = [torch.randn(tokens, narrow, **place) for tokens in chunks]
        self._hidden, self._tokens = hidden, sum(chunks)

    def run(self, texts: Sequence[str]) -> Vectors | None:  # noqa: ARG002
        """Multiply, a batch a core as the encoder does: that is the faster way here too."""
        self._albeam.encoder.cores.map(self._multiply, self._inputs)
        return None

    def _multiply(self, states: torch.Tensor) -> None:
        with torch.inference_mode():
            hidden = self._mapping(states)
            for mix, output, up, down in self._layers:
                attended = mix(hidden)[:, : self._hidden].contiguous()
                hidden = down(up(output(attended)))
            hidden[0, 0].item()

    def tokens(self) -> int | None:
        """Those of the batches."""
        return self._tokens

    def positions(self) -> int | None:
        """Those of the batches."""
        return self._tokens


def tokenizer_rate(tokenizer: Tokenizer, texts: Sequence[str]) -> float:
    """Tokens a second of albeam's tokenizer, by one thread."""
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        started = time.perf_counter()
        tokens = tokenizer.encode(list(texts))
        return len(tokens.ids) / (time.perf_counter() - started)
    finally:
        os.environ.pop("TOKENIZERS_PARALLELISM")
        if before is not None:
            os.environ["TOKENIZERS_PARALLELISM"] = before


def measure_tokenizer(model: Model, texts: Sequence[str], rounds: int) -> dict[str, Any]:
    """Tokens a second by a new tokenizer each round, and of a second pass, when words are known."""
    rates, again = [], []
    for _ in range(rounds):
        tokenizer = load_tokenizer(model)
        rates.append(tokenizer_rate(tokenizer, texts))
        again.append(tokenizer_rate(tokenizer, texts))
    return {
        "tokens_per_second": statistics.median(rates),
        "again_tokens_per_second": statistics.median(again),
        "texts": len(texts),
        "rounds": rounds,
    }


@contextmanager
def counted_positions(networks: Sequence[Any]) -> Iterator[list[int]]:
    """While it lasts, the positions that pass each network's word embeddings are noted."""
    noted: list[int] = []

    def note(_module: object, inputs: tuple[torch.Tensor, ...]) -> None:
        noted.append(inputs[0].numel())

    tables = [
        next(module for module in network.modules() if isinstance(module, torch.nn.Embedding))
        for network in networks
    ]
    hooks = [table.register_forward_pre_hook(note) for table in tables]
    try:
        yield noted
    finally:
        for hook in hooks:
            hook.remove()


def thread_count() -> int:
    """The threads that PyTorch, and every system here, computes with."""
    return torch.get_num_threads()


def describe_gpu() -> dict[str, Any] | None:
    """Name, compute capability and bytes of the GPU; None where there is none."""
    if not torch.cuda.is_available():
        return None
    found = torch.cuda.get_device_properties(torch.cuda.current_device())
    capability = f"{found.major}.{found.minor}"
    return {"name": found.name, "capability": capability, "bytes": found.total_memory}


def flops_per_token(model: Model) -> int:
    """Operations of a token's linear layers: four projections and two feed-forward layers each."""
    width, inner = model.hidden_size, model.intermediate_size
    return 2 * model.layers * (4 * width * width + 2 * width * inner)


class MatrixPeak(System):
    """One big square product, the most that the device's matrix units give; for CUDA."""

    name = "matrix-peak"
    note = "one 8192 by 8192 product again and again, in tokens of this model"

    def __init__(self, albeam: Albeam) -> None:
        super().__init__(albeam.bench)
        self._albeam = albeam

    def prepare(self, texts: Sequence[str]) -> None:  # noqa: ARG002
        """Make the factors."""
        # Not the encoder's: one that has given way to float32 is not to look good beside it.
        self.dtype = best_dtype(self._albeam.encoder.device)
        place: dict[str, Any] = {
            "device": self._albeam.encoder.device,
            "dtype": getattr(torch, self.dtype),
        }
        self._factor = torch.randn(8192, 8192, **place)
        self._times = 100

    def run(self, texts: Sequence[str]) -> Vectors | None:  # noqa: ARG002
        """Multiply."""
        with torch.inference_mode():
            for _ in range(self._times):
                product = self._factor @ self._factor
            product[0, 0].item()
        return None

    def tokens(self) -> int | None:
        """Of as many operations."""
        return self._times * 2 * 8192**3 // flops_per_token(self.bench.model)
