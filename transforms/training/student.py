"""The student as a network: its loss against the teacher, and how near it has come."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import AlbertConfig, AlbertModel

from transforms.errors import BadInput
from transforms.models.options import Placement
from transforms.runtime.devices import best_dtype, resolve_device
from transforms.training.distillation_data import Lesson
from transforms.training.losses import sentence_loss, similarity_loss, word_loss
from transforms.training.teacher import mean_pool, word_means


def place(device: str, precision: str) -> Placement:
    """Settle where to train, and the dtype of matrix products: float32 or bfloat16.

    ``auto`` is bfloat16 where the device is fast in it. Gradients fall below float16's range, so
    that a device without bfloat16 gets float32. Raises BadInput where CUDA is not there.
    """
    device = resolve_device(device)
    if precision == "auto":
        precision = "bfloat16" if best_dtype(device) == "bfloat16" else "float32"
    return Placement(device, precision)


@dataclass(frozen=True)
class LossWeights:
    """How much each part of the distillation loss counts."""

    sentence: float = 2.0
    similarity: float = 10.0
    word: float = 1.0


class Student:
    """An ALBERT with mean pooling, in training."""

    def __init__(
        self,
        config: AlbertConfig,
        weights: Mapping[str, npt.NDArray[Any]],
        placement: Placement,
    ) -> None:
        """Build it with the given weights where `place` settled.

        Attention is eager: its backward is faster on CPU. Raises BadInput where the weights are not
        those that the config asks for.
        """
        config = copy.deepcopy(config)
        config._attn_implementation = "eager"
        # Dropout would be drawn anew after a resume.
        config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
        model: Any = AlbertModel(config, add_pooling_layer=False)
        tensors = {name: torch.from_numpy(np.asarray(a, np.float32)) for name, a in weights.items()}
        wanted = {name: tuple(t.shape) for name, t in model.state_dict().items()}
        given = {name: tuple(t.shape) for name, t in tensors.items()}
        for name in sorted(wanted.keys() | given.keys()):
            if wanted.get(name) != given.get(name):
                raise BadInput(
                    f"the weights {name} have the shape {given.get(name)}, and by the model's "
                    f"config {wanted.get(name)}: restore the model.safetensors that belongs to it"
                )
        model.load_state_dict(tensors)
        self.device = torch.device(placement.device)
        self.precision: torch.dtype = getattr(torch, placement.dtype)
        self.model = model.to(self.device).train()

    def autocast(self) -> AbstractContextManager[None]:
        """Compute matrix products in the chosen precision."""
        on = self.precision != torch.float32
        return torch.autocast(self.device.type, self.precision, enabled=on)

    def states(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode int64 ids [batch, tokens] (-1 is padding): last states and the mask."""
        mask = ids >= 0
        with self.autocast():
            found = self.model(
                input_ids=ids.clamp(min=0), attention_mask=None if bool(mask.all()) else mask.long()
            )
        return found.last_hidden_state, mask

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """Encode ids [batch, tokens]: unit vectors, float32 [batch, dim]."""
        return mean_pool(*self.states(ids))

    def weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """Copy the weights out, by name."""
        return {n: t.detach().float().cpu().numpy() for n, t in self.model.state_dict().items()}

    def distillation_loss(
        self, lesson: Lesson, weights: LossWeights
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Compare one batch with the teacher: the loss, and its parts for the report."""
        lesson = lesson.to(self.device)
        states, mask = self.states(lesson.ids)
        states = states.float()
        vectors = mean_pool(states, mask)
        words = word_means(states, lesson.slots, lesson.words.shape[1])[lesson.known]
        parts = (
            (weights.sentence, sentence_loss(vectors, lesson.vectors)),
            (weights.similarity, similarity_loss(vectors, lesson.vectors)),
            (weights.word, word_loss(words, lesson.words[lesson.known])),
        )
        loss: torch.Tensor = sum(
            (w * part for w, part in parts), torch.zeros((), device=self.device)
        )
        return loss, {"cosine": 1 - parts[0][1].item(), "words": parts[2][1].item()}

    def teacher_cosine(self, lessons: Sequence[Lesson]) -> dict[str, float]:
        """Average the cosine to the teacher over held-out batches, as the metric "score"."""
        total, count = 0.0, 0
        for lesson in lessons:
            vectors = self.embed(lesson.ids.to(self.device)).cpu()
            total += float((vectors * lesson.vectors).sum())
            count += len(vectors)
        return {"score": total / count}
