"""Upper bounds: the model's linear layers alone, and one large matrix product."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from pipeline.bench.corpora import framed_ids
from pipeline.bench.systems.albeam import Albeam
from pipeline.bench.systems.system import System, Vectors
from transforms.encoder.fused_layers import Product, make_product
from transforms.models.resolve import Model
from transforms.runtime.devices import best_dtype


class LinearPeak(System):
    """The linear layers alone, on the encoder's batches, in its dtype and with its products.

    Each batch passes the mapping of the embeddings once. In each layer it passes the four
    projections of attention, three of them as one product, and the two feed-forward layers. The
    weights are random and have the shapes of the model's.
    """

    name = "linear-peak"
    note = "no tokenization, no attention: linear layers only"

    def __init__(self, albeam: Albeam) -> None:
        super().__init__(albeam.setup)
        self._albeam = albeam

    def prepare(self, texts: Sequence[str]) -> None:
        """Record the encoder's batches, and make weights and inputs."""
        self.dtype = self._albeam.dtype
        encoder, model = self._albeam.encoder, self.setup.model
        ids = framed_ids(encoder.tokenizer, texts, model)
        batches: list[int] = []
        encoder.encode(
            pa.array(ids, pa.list_(pa.int32())), lambda _rows, tokens: batches.append(tokens)
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
        # Groups of layers that share their weights follow one another, as in ALBERT.
        self._layers = [own[number * len(own) // model.layers] for number in range(model.layers)]
        self._inputs = [torch.randn(tokens, narrow, **place) for tokens in batches]
        self._hidden, self._tokens = hidden, sum(batches)

    def run(self, texts: Sequence[str]) -> Vectors | None:  # noqa: ARG002
        """Multiply, one batch for each core: the fastest way, here and in the encoder."""
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
        """Return the tokens of the batches."""
        return self._tokens

    def positions(self) -> int | None:
        """Return the tokens of the batches: nothing is padded."""
        return self._tokens


class MatrixPeak(System):
    """One large square product, the most that the matrix units of a CUDA device achieve."""

    name = "matrix-peak"
    note = "one 8192 by 8192 product again and again, in tokens of this model"

    def __init__(self, albeam: Albeam) -> None:
        super().__init__(albeam.setup)
        self._albeam = albeam

    def prepare(self, texts: Sequence[str]) -> None:  # noqa: ARG002
        """Make the factors."""
        # Not the encoder's dtype: an encoder that fell back to float32 must not look good here.
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
        """Return the tokens that need as many operations."""
        return self._times * 2 * 8192**3 // flops_per_token(self.setup.model)


def flops_per_token(model: Model) -> int:
    """Return the operations of one token's linear layers: in each layer, six products."""
    width, inner = model.hidden_size, model.intermediate_size
    return 2 * model.layers * (4 * width * width + 2 * width * inner)
