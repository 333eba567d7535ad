"""An encoder with one of transformers' heads, in training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from transforms.encoder.network import without_logs
from transforms.errors import BadInput
from transforms.models.model_files import refusing
from transforms.models.options import Placement
from transforms.models.resolve import read_config
from transforms.models.tokenizer import Tokenizer, load_fast_tokenizer
from transforms.tasks.data.labels import Classes
from transforms.tasks.networks.batches import WindowBatch
from transforms.training.inputs import check_model
from transforms.training.student import autocast, training_attention

#: transformers' class of each task's head.
_HEADS = {
    "classify": AutoModelForSequenceClassification,
    "tag": AutoModelForTokenClassification,
    "read": AutoModelForQuestionAnswering,
    "rerank": AutoModelForSequenceClassification,
}
_FAMILIES = ("albert", "bert")


class HeadNetwork:
    """An encoder with a head: one score for each class, of each text or of each token."""

    def __init__(
        self,
        folder: Path,
        task: str,
        classes: Classes,
        placement: Placement,
        *,
        dropout: float = 0.0,
        seed: int = 0,
        trained: bool = False,
    ) -> None:
        """Load an encoder and put a head on it.

        A head that the folder has for as many classes is taken; otherwise the head is random.

        Args:
            folder: the folder of an ALBERT or BERT.
            task: ``classify``, ``tag``, ``read`` or ``rerank``.
            classes: the classes, in the order of the scores.
            placement: what `resolve_training_placement` returned.
            dropout: the share of activations and attentions that a training step drops.
            seed: the seed of a random head.
            trained: whether the folder must have the head.

        Raises:
            BadInput: the folder has no such encoder, files that can't be used, or weights that are
                not those of its config.
        """
        name = str(folder)
        if not (folder / "config.json").is_file():
            raise BadInput("model", name, "has no config.json", "Name the folder of a model")
        check_model(folder, "model")
        config = read_config(name, name)
        if config.model_type not in _FAMILIES:
            raise BadInput(
                "model",
                name,
                f"is a model of type {config.model_type}",
                f"Name one of type {' or '.join(_FAMILIES)}",
            )
        config.id2label = dict(enumerate(classes.names))
        config.label2id = {each: place for place, each in enumerate(classes.names)}
        if task == "classify":
            config.problem_type = (
                "multi_label_classification" if classes.several else "single_label_classification"
            )
        config.hidden_dropout_prob = config.attention_probs_dropout_prob = dropout
        # BERT's and ALBERT's names of the head's dropout.
        config.classifier_dropout = config.classifier_dropout_prob = dropout
        problem = "can't be loaded"
        with (
            refusing(name, problem, "Restore the model's files"),
            without_logs(),
            torch.random.fork_rng([]),
        ):
            torch.manual_seed(seed)
            loaded: tuple[Any, dict[str, Any]] = _HEADS[task].from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                attn_implementation=training_attention(placement.device),
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                # Only the head may differ: see below.
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
        self.model, info = loaded
        random = {*info["missing_keys"], *(each[0] for each in info["mismatched_keys"])}
        for weight in sorted(random):
            if trained or not weight.startswith(self.head_names()):
                problem = f"lacks the weights {weight}, or they have another shape than its config"
                remedy = "Restore the model.safetensors that belongs to the config"
                raise BadInput("model", name, problem, remedy)
        self.task, self.classes, self.config = task, classes, config
        self.device = torch.device(placement.device)
        self.precision: torch.dtype = getattr(torch, placement.dtype)
        self.model = self.model.to(self.device).train()

    def logits(self, batch: WindowBatch) -> torch.Tensor:
        """Score a batch, in float32.

        Returns:
            ``[rows, classes]``; of a tagger and a reader ``[rows, longest, classes]``.
        """
        ids = batch.ids().to(self.device)
        types = batch.types()
        mask = ids >= 0
        with autocast(self.device, self.precision):
            found = self.model(
                input_ids=ids.clamp(min=0),
                attention_mask=None if bool(mask.all()) else mask.long(),
                token_type_ids=None if types is None else types.to(self.device),
            )
        if self.task == "read":
            return torch.stack([found.start_logits, found.end_logits], dim=-1).float()
        return found.logits.float()  # type: ignore[no-any-return]

    def head_names(self) -> tuple[str, ...]:
        """Return how the names of weights begin that are not the encoder's own.

        An encoder's pooler is the head's where the folder had none, so it counts as the head's.
        """
        base = self.model.base_model_prefix
        heads = {n.split(".")[0] for n, _ in self.model.named_parameters()} - {base}
        return (f"{base}.pooler.", *sorted(f"{name}." for name in heads))


def load_tokenizer(folder: Path) -> tuple[Any, Tokenizer]:
    """Return a model's tokenizer as transformers' and as albeam's, without truncation.

    Raises:
        BadInput: there is no fast tokenizer, or one that does not fit the model.
    """
    fast = load_fast_tokenizer(str(folder), str(folder))
    fast.backend_tokenizer.no_truncation()
    fast.backend_tokenizer.no_padding()
    return fast, Tokenizer(fast.backend_tokenizer, fast.unk_token_id)


def pooled(logits: np.ndarray[Any, Any], texts: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the mean score of each text's windows, float32 ``[texts, classes]``."""
    sums = np.zeros((int(texts.max()) + 1, logits.shape[1]), np.float32)
    np.add.at(sums, texts, logits)
    return sums / np.bincount(texts)[:, None].astype(np.float32)
