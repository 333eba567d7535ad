"""ALBERT and BERT in numpy: the sums of transformers' modules, in float32, without torch.

As in `transforms.encoder.network`, sequences lie end to end without padding.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.encoder.light.functions import ACTIVATIONS, Floats, normalized, softmax
from transforms.encoder.light.products import MOST, Group, Linear, groups_of
from transforms.models.plain_config import PlainConfig

_FAMILIES = {"albert": "albert.", "bert": "bert."}


class MissingTensor(Exception):
    """A tensor that the config describes is missing or has another shape."""


@dataclass(frozen=True)
class _Norm:
    weight: Floats
    bias: Floats
    epsilon: float

    def __call__(self, states: Floats) -> Floats:
        return normalized(states, self.weight, self.bias, self.epsilon)


@dataclass(frozen=True)
class _Layer:
    """One layer: four products and two layer norms."""

    mix: Linear
    output: Linear
    attention_norm: _Norm
    expand: Linear
    shrink: Linear
    output_norm: _Norm
    activation: Callable[[Floats], Floats]
    heads: int

    def __call__(self, states: Floats, groups: Sequence[Group]) -> Floats:
        attended = self.output(self._attend(self.mix(states, groups), groups), groups)
        attended += states
        states = self.attention_norm(attended)
        stretched = self.shrink(self.activation(self.expand(states, groups)), groups)
        stretched += states
        return self.output_norm(stretched)

    def _attend(self, mixed: Floats, groups: Sequence[Group]) -> Floats:
        """Attend within each sequence: ``[tokens, 3 * hidden] -> [tokens, hidden]``."""
        width = mixed.shape[1] // 3
        head = width // self.heads
        scale = np.float32(head**-0.5)
        attended = np.empty((len(mixed), width), np.float32)
        for group in groups:
            count, length = group.count, group.length
            parts = mixed[group.rows].reshape(count, length, 3, self.heads, head)
            query, key, value = parts.transpose(2, 0, 3, 1, 4)
            block = attended[group.rows].reshape(count, length, self.heads, head)
            # So many queries at once that each product is a small one.
            step = max(1, MOST // (length * head))
            for start in range(0, length, step):
                some = slice(start, start + step)
                scores = query[:, :, some] @ key.swapaxes(2, 3)
                scores *= scale
                block[:, some] = (softmax(scores) @ value).swapaxes(1, 2)
        return attended


class LightNetwork:
    """A loaded ALBERT or BERT."""

    def __init__(self, config: PlainConfig, tensors: dict[str, Floats]) -> None:
        """Take the weights of transformers' ``AlbertModel`` or ``BertModel``.

        Raises:
            MissingTensor: a tensor is missing or has another shape than the config describes.
        """
        read = _Reader(config, tensors)
        width = config.embedding_size or config.hidden_size
        table = "embeddings.{}_embeddings.weight".format
        self._words = read.tensor(table("word"), config.vocab_size, width)
        self._positions = read.tensor(table("position"), config.max_position_embeddings, width)
        self._types = read.tensor(table("token_type"), config.type_vocab_size, width)
        self._norm = read.norm("embeddings.LayerNorm", width)
        albert = config.model_type == "albert"
        mapping = "encoder.embedding_hidden_mapping_in"
        self._widen = read.linear(mapping, config.hidden_size, width) if albert else None
        self._layers = read.albert_layers() if albert else read.bert_layers()

    def __call__(
        self,
        ids: npt.NDArray[Any],
        lengths: npt.NDArray[np.int64],
        layer: int = -1,
        types: npt.NDArray[Any] | None = None,
    ) -> Floats:
        """Return the states after a layer, float32 ``[tokens, hidden]``.

        Args:
            ids: ``[tokens]``, sequences end to end.
            lengths: ``[sequences]``, at least 1 each.
            layer: an index into transformers' ``hidden_states``: 0 is before the first layer, -1
                after the last. Later layers are not run.
            types: the type of each token, such as 1 in the second text of a pair; by default 0.
        """
        starts = np.cumsum(lengths) - lengths
        positions = np.arange(len(ids)) - np.repeat(starts, lengths)
        typed = self._types[0 if types is None else types]
        states = self._norm(self._words[ids] + typed + self._positions[positions])
        groups = groups_of(lengths)
        if self._widen is not None:
            states = self._widen(states, groups)
        last = layer if layer >= 0 else len(self._layers) + 1 + layer
        for one in self._layers[:last]:
            states = one(states, groups)
        return states


class _Reader:
    """Reads the parts of a network from its tensors."""

    def __init__(self, config: PlainConfig, tensors: dict[str, Floats]) -> None:
        self._config, self._tensors = config, tensors
        family = _FAMILIES[config.model_type]
        # With a head, the encoder's tensors have the family's name before theirs.
        self._prefix = family if any(name.startswith(family) for name in tensors) else ""

    def tensor(self, name: str, *shape: int) -> Floats:
        found = self._tensors.get(self._prefix + name)
        if found is None or found.shape != shape:
            raise MissingTensor(name)
        return found

    def linear(self, name: str, rows: int, columns: int) -> Linear:
        weight = self.tensor(f"{name}.weight", rows, columns)
        return Linear.of(weight, self.tensor(f"{name}.bias", rows))

    def norm(self, name: str, width: int) -> _Norm:
        weight, bias = (self.tensor(f"{name}.{part}", width) for part in ("weight", "bias"))
        return _Norm(weight, bias, self._config.layer_norm_eps)

    def albert_layers(self) -> list[_Layer]:
        """Return the layers in the order in which they run; shared layers are one object."""
        config = self._config
        groups = [
            [
                self._layer(
                    f"encoder.albert_layer_groups.{group}.albert_layers.{inner}",
                    *("attention", "attention.dense", "attention.LayerNorm"),
                    *("ffn", "ffn_output", "full_layer_layer_norm"),
                )
                for inner in range(config.inner_group_num)
            ]
            for group in range(config.num_hidden_groups)
        ]
        share = config.num_hidden_layers / config.num_hidden_groups
        return [
            layer
            for number in range(config.num_hidden_layers)
            for layer in groups[int(number / share)]
        ]

    def bert_layers(self) -> list[_Layer]:
        return [
            self._layer(
                f"encoder.layer.{number}",
                *("attention.self", "attention.output.dense", "attention.output.LayerNorm"),
                *("intermediate.dense", "output.dense", "output.LayerNorm"),
            )
            for number in range(self._config.num_hidden_layers)
        ]

    def _layer(self, place: str, own: str, *names: str) -> _Layer:
        config = self._config
        width, inner = config.hidden_size, config.intermediate_size
        output, attention_norm, expand, shrink, output_norm = (f"{place}.{name}" for name in names)
        parts = [f"{place}.{own}.{part}" for part in ("query", "key", "value")]
        weights = [self.tensor(f"{part}.weight", width, width) for part in parts]
        biases = [self.tensor(f"{part}.bias", width) for part in parts]
        return _Layer(
            Linear.of(np.concatenate(weights), np.concatenate(biases)),
            self.linear(output, width, width),
            self.norm(attention_norm, width),
            self.linear(expand, inner, width),
            self.linear(shrink, width, inner),
            self.norm(output_norm, width),
            ACTIVATIONS[config.hidden_act],
            config.num_attention_heads,
        )
