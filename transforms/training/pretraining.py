"""Pretraining of an ALBERT: its network, the loss of masked tokens and of the order of segments."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import cross_entropy
from transformers import AlbertConfig, AlbertForPreTraining

from transforms.encoder.network import without_logs
from transforms.errors import BadInput
from transforms.models.model_files import refusing
from transforms.models.options import Placement
from transforms.training.pretraining_data import PretrainingBatch
from transforms.training.student import autocast, training_attention

#: How the names of the weights begin that an encoder alone lacks.
HEAD = ("predictions.", "sop_classifier.", "albert.pooler.")
#: Weights that transformers makes equal to others, so that files lack them.
_TIED = ("predictions.decoder.weight", "predictions.decoder.bias")


class PretrainingNetwork:
    """An ALBERT with the heads of pretraining.

    Attributes:
        model: transformers' `AlbertForPreTraining`.
        config: its config, with the dropout of the finished model.
    """

    def __init__(
        self,
        config: AlbertConfig,
        placement: Placement,
        *,
        counts: npt.NDArray[np.int64],
        start: Path | None = None,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        """Build a network with random weights, or load one.

        A new head for masked words guesses at first how frequent the pieces are, so that no step is
        needed to learn it.

        Args:
            config: the network's size.
            placement: what `resolve_training_placement` returned.
            counts: how often each piece occurs, ``[vocabulary]``.
            start: the folder of a model to start from, which may lack the heads.
            dropout: the share of activations and attentions that a training step drops.
            seed: the seed of random weights.

        Raises:
            BadInput: the folder has not the weights of an ALBERT of this config.
        """
        config = copy.deepcopy(config)
        config.num_labels = 2  # the head of a classifier may have had another number
        self.config = copy.deepcopy(config)
        config._attn_implementation = training_attention(placement.device)
        config.hidden_dropout_prob = config.attention_probs_dropout_prob = dropout
        config.classifier_dropout_prob = dropout
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            if start is None:
                self.model: Any = AlbertForPreTraining(config)
            else:
                self.model = _load(start, config)
            new = start is None or not bool(self.model.predictions.bias.any())
        if new:
            _calm(self.model, counts)
        self.device = torch.device(placement.device)
        self.precision: torch.dtype = getattr(torch, placement.dtype)
        self.model = self.model.to(self.device).train()

    def logits(self, batch: PretrainingBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Score the masked tokens, ``[masked, vocabulary]``, and the order, ``[rows, 2]``.

        The head for words computes masked tokens alone. Both results are float32.
        """
        mask = batch.ids >= 0
        with autocast(self.device, self.precision):
            found = self.model.albert(
                input_ids=batch.ids.clamp(min=0),
                attention_mask=None if bool(mask.all()) else mask.long(),
                token_type_ids=batch.types,
            )
            states = found.last_hidden_state.flatten(0, 1)[batch.places]
            words = self.model.predictions(states)
            order = self.model.sop_classifier(found.pooler_output)
        return words.float(), order.float()

    def mix(self, others: Mapping[str, npt.NDArray[np.float32]], share: float) -> None:
        """Replace the encoder's weights by their mean with others, named as in `AlbertModel`.

        ``share`` is the part of the own weights. The heads stay.
        """
        with torch.no_grad():
            for name, weight in self.model.albert.named_parameters():
                if name in others:
                    weight.lerp_(torch.from_numpy(others[name]).to(weight), 1 - share)

    def weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """Copy the weights, named as in `AlbertForPreTraining`, without those that are tied."""
        return {
            name: tensor.detach().float().cpu().numpy()
            for name, tensor in self.model.state_dict().items()
            if name not in _TIED
        }


def _calm(model: Any, counts: npt.NDArray[np.int64]) -> None:
    """Make a new head's guess the frequency of pieces, however long the word vectors are."""
    share = torch.from_numpy((counts + 1) / (counts + 1).sum())
    with torch.no_grad():
        model.predictions.bias.copy_(share.log())
        length = model.get_input_embeddings().weight.square().sum(1).mean().sqrt()
        model.predictions.LayerNorm.weight.div_(length.clamp(min=1.0))


def _load(folder: Path, config: AlbertConfig) -> Any:
    """Load a model; its heads are random where it has none."""
    with (
        refusing(str(folder), "can't be loaded", "Restore the model's files"),
        without_logs(),
    ):
        model, info = AlbertForPreTraining.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    lacking = sorted(name for name in info["missing_keys"] if not name.startswith(HEAD))
    if lacking:
        raise BadInput(
            "model",
            str(folder),
            f"lacks the weights {lacking[0]}",
            "Restore the model.safetensors that belongs to the config",
        )
    return model


class PretrainingObjective:
    """The loss and the validation of a pretraining."""

    def __init__(self, network: PretrainingNetwork, sentence: str) -> None:
        """Combine a network with ``sop``, ``nsp`` or ``none``."""
        self.network, self.has_order = network, sentence != "none"

    def loss(self, batch: PretrainingBatch) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the loss of a batch, the sum of the two cross entropies, and its parts."""
        batch = batch.to(self.network.device)
        words, order = self.network.logits(batch)
        loss = cross_entropy(words, batch.targets)
        parts = {"masked_loss": loss.item()}
        if self.has_order:
            more = cross_entropy(order, batch.labels)
            parts["order_loss"] = more.item()
            loss = loss + more
        return loss, parts

    @torch.inference_mode()
    def evaluate(self, batches: Sequence[PretrainingBatch]) -> dict[str, float]:
        """Measure held-out batches.

        Returns:
            ``score``: minus the loss; ``masked_accuracy``: the share of masked tokens that are
            guessed; ``perplexity``: of masked tokens; and but for ``none`` ``order_accuracy``: the
            share of rows whose order is guessed.
        """
        sums: dict[str, float] = {}
        for batch in batches:
            for name, value in self._sums(batch.to(self.network.device)).items():
                sums[name] = sums.get(name, 0.0) + value
        masked = sums["loss"] / sums["tokens"]
        metrics = {
            "score": -masked,
            "masked_accuracy": sums["right"] / sums["tokens"],
            "perplexity": math.exp(min(masked, 100.0)),
        }
        if self.has_order:
            metrics["score"] -= sums["order_loss"] / sums["rows"]
            metrics["order_accuracy"] = sums["order_right"] / sums["rows"]
        return metrics

    def _sums(self, batch: PretrainingBatch) -> Mapping[str, float]:
        words, order = self.network.logits(batch)
        return {
            "tokens": len(words),
            "rows": len(order),
            "loss": cross_entropy(words, batch.targets, reduction="sum").item(),
            "right": int((words.argmax(-1) == batch.targets).sum()),
            "order_loss": cross_entropy(order, batch.labels, reduction="sum").item(),
            "order_right": int((order.argmax(-1) == batch.labels).sum()),
        }
