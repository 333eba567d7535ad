"""The student in training: its network and its distillation loss."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import AlbertConfig, AlbertModel, BertConfig, BertModel

from transforms.errors import BadInput
from transforms.models.options import Placement
from transforms.runtime.devices import best_dtype, resolve_device
from transforms.training.distillation_data import DistillationBatch
from transforms.training.losses import sentence_loss, similarity_loss, word_loss
from transforms.training.teacher import mean_pool, word_means


def resolve_training_placement(device: str, precision: str) -> Placement:
    """Choose the device and the dtype of matrix products, float32 or bfloat16.

    ``auto`` is bfloat16 where the device computes fast in it, and float32 elsewhere: gradients fall
    below the range of float16. Raises BadInput if CUDA is asked for but missing.
    """
    device = resolve_device(device)
    if precision == "auto":
        precision = "bfloat16" if best_dtype(device) == "bfloat16" else "float32"
    return Placement(device, precision)


def training_attention(device: str) -> str:
    """Return transformers' attention with the fastest backward pass on a device."""
    return "eager" if device == "cpu" else "sdpa"


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[None]:
    """Return a context in which matrix products have a precision."""
    return torch.autocast(device.type, precision, enabled=precision != torch.float32)


@dataclass(frozen=True)
class LossWeights:
    """The weights of the parts of the distillation loss."""

    sentence: float = 2.0
    similarity: float = 10.0
    word: float = 1.0


class Student:
    """An ALBERT or a BERT with mean pooling, in training."""

    def __init__(
        self,
        config: AlbertConfig | BertConfig,
        weights: Mapping[str, npt.NDArray[Any]],
        placement: Placement,
        dropout: float = 0.0,
    ) -> None:
        """Build the network.

        Args:
            config: the network's size.
            weights: arrays named as in `AlbertModel` or `BertModel`.
            placement: what `resolve_training_placement` returned.
            dropout: the share of activations and attentions that a training step drops.

        Raises:
            BadInput: the weights are not those that the config asks for.
        """
        config = copy.deepcopy(config)
        config._attn_implementation = training_attention(placement.device)
        config.hidden_dropout_prob = config.attention_probs_dropout_prob = dropout
        network: Any = BertModel if isinstance(config, BertConfig) else AlbertModel
        model: Any = network(config, add_pooling_layer=False)
        tensors = {name: torch.from_numpy(np.asarray(a, np.float32)) for name, a in weights.items()}
        wanted = {name: tuple(t.shape) for name, t in model.state_dict().items()}
        given = {name: tuple(t.shape) for name, t in tensors.items()}
        for name in sorted(wanted.keys() | given.keys()):
            if wanted.get(name) != given.get(name):
                raise BadInput(
                    "weights",
                    name,
                    f"have the shape {given.get(name)}, and by the model's config "
                    f"{wanted.get(name)}",
                    "Restore the model.safetensors that belongs to the config",
                )
        model.load_state_dict(tensors)
        self.device = torch.device(placement.device)
        self.precision: torch.dtype = getattr(torch, placement.dtype)
        self.model = model.to(self.device).train()

    def states(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode int64 ids [batch, tokens], padded with -1; return the last states and the mask."""
        mask = ids >= 0
        with autocast(self.device, self.precision):
            found = self.model(
                input_ids=ids.clamp(min=0), attention_mask=None if bool(mask.all()) else mask.long()
            )
        return found.last_hidden_state, mask

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """Encode ids [batch, tokens] as unit vectors, float32 [batch, dim]."""
        return mean_pool(*self.states(ids))

    def weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """Copy the weights, by name."""
        return {n: t.detach().float().cpu().numpy() for n, t in self.model.state_dict().items()}

    def mix(self, others: Mapping[str, npt.NDArray[Any]], share: float) -> None:
        """Replace the weights by their mean with others; ``share`` is the part of the own ones."""
        mixed = {n: share * own + (1 - share) * others[n] for n, own in self.weights().items()}
        tensors = {name: torch.from_numpy(np.asarray(a, np.float32)) for name, a in mixed.items()}
        self.model.load_state_dict(tensors)

    def distillation_loss(
        self, batch: DistillationBatch, weights: LossWeights
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Compare one batch with the teacher; return the loss and the parts to report."""
        batch = batch.to(self.device)
        states, mask = self.states(batch.ids)
        states = states.float()
        vectors = mean_pool(states, mask)
        words = word_means(states, batch.word_ids, batch.word_vectors.shape[1])[batch.word_mask]
        parts = (
            (weights.sentence, sentence_loss(vectors, batch.vectors)),
            (weights.similarity, similarity_loss(vectors, batch.vectors)),
            (weights.word, word_loss(words, batch.word_vectors[batch.word_mask])),
        )
        loss: torch.Tensor = sum(
            (w * part for w, part in parts), torch.zeros((), device=self.device)
        )
        return loss, {"cosine": 1 - parts[0][1].item(), "words": parts[2][1].item()}

    def teacher_cosine(self, batches: Sequence[DistillationBatch]) -> dict[str, float]:
        """Return the mean cosine to the teacher over held-out batches, as the metric "score"."""
        total, count = 0.0, 0
        for batch in batches:
            vectors = self.embed(batch.ids.to(self.device)).cpu()
            total += float((vectors * batch.vectors).sum())
            count += len(vectors)
        return {"score": total / count}
