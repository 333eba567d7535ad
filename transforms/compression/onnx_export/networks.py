"""Networks that are exported: an encoder with pooling, or a network with its head."""

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from transforms.encoder.network import load_network, without_logs
from transforms.errors import BadInput
from transforms.models.exported import EMBED
from transforms.models.model_files import read_object, refusing
from transforms.models.resolve import Model, load_config

#: What albeam writes beside a head.
_HEAD = "head.json"
#: transformers' class of each task's head.
_CLASSES = {
    "classify": "SequenceClassification",
    "tag": "TokenClassification",
    "read": "QuestionAnswering",
    "rerank": "SequenceClassification",
}
#: The heads of a pretraining; what is below them is exported.
_PRETRAINING = ("MaskedLM", "PreTraining", "NextSentencePrediction")
_VECTORS = "vectors"
_IDS, _MASK, _TYPES = "input_ids", "attention_mask", "token_type_ids"


@dataclass(frozen=True)
class ExportedNetwork:
    """A network to export.

    Attributes:
        network: from ids and masks, int64 ``[rows, length]``, to a tensor for each output.
        inputs, outputs: the names of these.
        labels: the classes of a head, in the order of its scores.
    """

    network: torch.nn.Module
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    labels: tuple[str, ...] = ()


class PooledEncoder(torch.nn.Module):
    """An encoder with its pooling and normalization."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.network = load_network(model, "cpu", "float32", "sdpa")
        self.identity = model.identity

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return vectors, float32 ``[rows, dim]``."""
        output = self.network(
            input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True
        )
        states = output.hidden_states[self.identity.layer]
        vectors = _pool(states, attention_mask, self.identity.pooling)
        return functional.normalize(vectors, dim=1) if self.identity.normalize else vectors


def _pool(states: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    if pooling == "cls":
        return states[:, 0]
    seen = mask[..., None].to(states.dtype)
    if pooling == "mean":
        return (states * seen).sum(1) / seen.sum(1)
    return states.masked_fill(seen == 0, float("-inf")).amax(1)


class HeadScores(torch.nn.Module):
    """A network with a head, which gives the logits of the head's outputs."""

    def __init__(self, network: Any, outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.network, self.outputs = network, outputs

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """Return logits: ``[rows, classes]`` of texts, ``[rows, length, …]`` of tokens."""
        types = {} if token_type_ids is None else {_TYPES: token_type_ids}
        given = self.network(input_ids=input_ids, attention_mask=attention_mask, **types)
        return tuple(getattr(given, name) for name in self.outputs)


def find_task(folder: str, name: str) -> str:
    """Return the task of a model's head, or `EMBED` if there is none to export.

    Raises:
        BadInput: the head has no ONNX form.
    """
    head = read_object(folder, _HEAD, name)
    if head:
        task = str(head.get("task"))
        if head.get("kind") == "network" and task in _CLASSES:
            return task
        problem = "is a head on the vectors of a store, which has no ONNX form"
        raise BadInput("model", name, problem, "Export the model that embedded the store")
    config = read_object(folder, "config.json", name)
    given = config.get("architectures") or [""]
    architecture = str(given[0] if isinstance(given, list) else given)
    _, found, kind = architecture.partition("For")
    if not found or kind in _PRETRAINING:
        return EMBED
    if kind == "SequenceClassification":
        labels = config.get("id2label")
        return "rerank" if isinstance(labels, dict) and len(labels) == 1 else "classify"
    for task, each in _CLASSES.items():
        if kind == each:
            return task
    problem = f"has the head {architecture[:80]}, which has no ONNX form here"
    remedy = "Give an encoder, or a model that classifies, tags, reads or reranks"
    raise BadInput("model", name, problem, remedy)


def load_head(folder: str, name: str, task: str) -> ExportedNetwork:
    """Load a network with its head, in float32.

    Raises:
        BadInput: its files can't be used, or its head is missing.
    """
    import transformers

    config = load_config(folder, name)
    auto = getattr(transformers, f"AutoModelFor{_CLASSES[task]}")
    with refusing(name, f"can't be loaded as {auto.__name__}"), without_logs():
        network, report = auto.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            attn_implementation="sdpa",
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    missing = sorted(report["missing_keys"])
    if missing:
        problem = f"lacks {len(missing)} of the weights of its head, such as {missing[0]!r}"
        raise BadInput("model", name, problem, "Give a folder that was saved with its head")
    labels: dict[int, str] = {} if task == "read" else config.id2label
    outputs = ("start_logits", "end_logits") if task == "read" else ("logits",)
    types = (_TYPES,) if int(getattr(config, "type_vocab_size", 0) or 0) > 1 else ()
    return ExportedNetwork(
        HeadScores(network, outputs).eval(),
        (_IDS, _MASK, *types),
        outputs,
        tuple(str(labels[place]) for place in sorted(labels)),
    )


def load_encoder_network(model: Model) -> ExportedNetwork:
    """Load an encoder with its pooling, in float32."""
    return ExportedNetwork(PooledEncoder(model).eval(), (_IDS, _MASK), (_VECTORS,))
