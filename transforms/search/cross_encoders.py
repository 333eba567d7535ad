"""Models that read a question and a passage together: rerankers, and readers that find answers.

Both are plain transformers folders of any family, ALBERT among them. The network below the head
computes in the chosen dtype, the head in float32, so that close scores stay apart.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from transforms.encoder.batching import batches_by_length
from transforms.encoder.network import cast_input, without_logs
from transforms.errors import BadInput
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_folder, load_config, usable_positions
from transforms.models.tokenizer import load_fast_tokenizer
from transforms.runtime.devices import best_dtype, resolve_device
from transforms.search.results import Hit

Pair = tuple[str, str]

#: Tokens of a pair at most, whatever a model allows.
_MOST_TOKENS = 512
_TOKENS_PER_BATCH = {"cpu": 4_096, "cuda": 65_536}
#: As in SQuAD's usual evaluation.
_STRIDE, _LONGEST_ANSWER = 128, 30


@dataclass(frozen=True)
class Answer:
    """A span of a passage.

    Attributes:
        text: ``passage[start:end]``.
        score: the sum of the logits of its first and last token. They are no probabilities within a
            passage, so that scores of several passages can be compared.
        start, end: in the passage's text, in Unicode code points.
    """

    text: str
    score: float
    start: int
    end: int


class _PairModel:
    """A network with a head over pairs of texts."""

    def __init__(self, name: str, head: str, placement: Placement) -> None:
        self.name = name
        self.device = resolve_device(placement.device)
        self.dtype = best_dtype(self.device) if placement.dtype == "auto" else placement.dtype
        folder, _ = find_folder(ModelOptions(name))
        config = load_config(folder, name)
        self.tokenizer = load_fast_tokenizer(folder, name)
        if self.tokenizer.pad_token_id is None:
            raise BadInput(
                f"model {name!r} has no padding token, which batches need; save its tokenizer "
                "with one"
            )
        self.limit = min(usable_positions(config), _MOST_TOKENS)
        self.network = _load(folder, name, head, config)
        if self.dtype != "float32":
            _narrow(self.network, self.device, getattr(torch, self.dtype))
        self.network.to(self.device)

    def frame(self, pairs: Sequence[Pair], **options: Any) -> Any:
        """Token ids of pairs; a passage that is too long is cut, or goes on in further rows."""
        return self.tokenizer(
            [self._cut(question) for question, _ in pairs],
            [passage for _, passage in pairs],
            truncation="only_second",
            max_length=self.limit,
            **options,
        )

    def forward(self, framed: Any, take: Callable[[Any], torch.Tensor]) -> list[torch.Tensor]:
        """``take(output)`` of each row, float32 on the CPU; batches are of similar length."""
        ids = framed["input_ids"]
        names = [name for name in self.tokenizer.model_input_names if name in framed]
        found: list[torch.Tensor] = [torch.empty(0)] * len(ids)
        lengths = np.array([len(row) for row in ids], np.int64)
        for rows in batches_by_length(lengths, _TOKENS_PER_BATCH[self.device]):
            batch = {name: [framed[name][row] for row in rows] for name in names}
            padded = self.tokenizer.pad(batch, padding_side="right", return_tensors="pt")
            with torch.inference_mode():
                output = take(self.network(**padded.to(self.device))).float().cpu()
            for row, values in zip(rows, output, strict=True):
                found[int(row)] = values
        return found

    def _cut(self, question: str) -> str:
        """A question that leaves half of the room to the passage."""
        framed = self.tokenizer(question, add_special_tokens=False, return_offsets_mapping=True)
        offsets, most = framed["offset_mapping"], self.limit // 2
        return question if len(offsets) <= most else question[: offsets[most - 1][1]]


class Reranker(_PairModel):
    """A cross-encoder: a sequence classifier with one logit, or two labels of which the second
    says that the passage answers the question."""

    def __init__(self, name: str, placement: Placement) -> None:
        """Load it from a folder or the hub.

        Raises:
            BadInput: there is no such model, it is no sequence classifier with one or two outputs,
                weights are missing, or the tokenizer is another model's.
        """
        super().__init__(name, "SequenceClassification", placement)
        labels = int(self.network.config.num_labels)
        if labels > 2:
            raise BadInput(
                f"model {name!r} tells {labels} labels apart; a reranker has one output, or two "
                "labels of which the second means relevant"
            )
        self._labels = labels

    def scores(self, pairs: Sequence[Pair]) -> npt.NDArray[np.float32]:
        """How well each passage answers its question, float32 ``[pairs]``: the logit, or the
        difference of the second label's and the first's."""
        if not pairs:
            return np.zeros(0, np.float32)
        # In another place of a batch the last bits may differ: equal pairs are scored once.
        places = {pair: place for place, pair in enumerate(dict.fromkeys(pairs))}
        logits = torch.stack(self.forward(self.frame(list(places)), _logits)).numpy()
        scores = logits[:, 0] if self._labels == 1 else logits[:, 1] - logits[:, 0]
        if not np.isfinite(scores).all():
            raise BadInput(
                f"model {self.name!r} gives scores that are not finite in {self.dtype}; "
                "give --dtype float32"
            )
        return np.asarray(scores[[places[pair] for pair in pairs]])


class Reader(_PairModel):
    """An extractive question answering model."""

    def __init__(self, name: str, placement: Placement) -> None:
        """Load it from a folder or the hub; raises BadInput as `Reranker` does."""
        super().__init__(name, "QuestionAnswering", placement)

    def spans(self, pairs: Sequence[Pair], none: bool = False) -> list[Answer | None]:
        """The best span of each passage, of at most 30 tokens.

        Args:
            pairs: questions and passages; long passages are read in windows that share 128 tokens.
            none: whether there may be no answer, as models know that learnt from SQuAD 2: where the
                first token's score is higher in each window, the result is None.

        A passage without a token gives None as well.

        Raises:
            BadInput: there may be no answer, and the model has no first token that says so.
        """
        if none and self.tokenizer.cls_token_id is None:
            raise BadInput(
                f"model {self.name!r} has no token before the question that says that there is no "
                "answer; leave --no-answer out"
            )
        if not pairs:
            return []
        framed = self._windows(pairs)
        logits = self.forward(framed, _start_and_end)
        best: list[Answer | None] = [None] * len(pairs)
        nothing = np.full(len(pairs), np.inf)
        for window, values in enumerate(logits):
            pair = int(framed["overflow_to_sample_mapping"][window])
            encoding = framed.encodings[window]
            start, end = values.numpy().astype(np.float64)
            if none:
                first = encoding.ids.index(self.tokenizer.cls_token_id)
                nothing[pair] = min(nothing[pair], start[first] + end[first])
            found = _best_span(start, end, encoding, pairs[pair][1])
            known = best[pair]
            if found is not None and (known is None or found.score > known.score):
                best[pair] = found
        if none:
            return [
                answer if answer is not None and answer.score >= null else None
                for answer, null in zip(best, nothing, strict=True)
            ]
        return best

    def _windows(self, pairs: Sequence[Pair]) -> Any:
        special = self.tokenizer.num_special_tokens_to_add(pair=True)
        return self.frame(
            pairs,
            stride=max(0, min(_STRIDE, (self.limit - self.limit // 2 - special) // 2)),
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )


def rerank(hits: Sequence[Hit], question: str, model: Reranker) -> list[Hit]:
    """The hits in the order of the model's scores, which they then have."""
    scores = model.scores([(question, hit.text) for hit in hits])
    order = np.argsort(-scores, kind="stable")
    return [
        replace(hits[place], rank=rank, score=float(scores[place]))
        for rank, place in enumerate(order, 1)
    ]


def read_answers(
    hits: Sequence[Hit], question: str, model: Reader, none: bool = False
) -> list[Answer | None]:
    """The best span of each hit's passage; see `Reader.spans`."""
    return model.spans([(question, hit.text) for hit in hits], none)


def best_answer(answers: Sequence[Answer | None]) -> int | None:
    """The place of the answer with the highest score; None where there is none."""
    places = [place for place, answer in enumerate(answers) if answer is not None]
    return max(places, key=lambda place: answers[place].score, default=None)  # type: ignore[union-attr]


def _best_span(
    start: npt.NDArray[np.float64], end: npt.NDArray[np.float64], encoding: Any, passage: str
) -> Answer | None:
    """The best of all spans that lie in the passage and are short enough."""
    inside = np.array([number == 1 for number in encoding.sequence_ids], np.bool_)
    places = np.flatnonzero(inside)
    if not len(places):
        return None
    # Padding may follow, but no window's passage has a gap.
    scores = start[places][:, None] + end[places][None, :]
    allowed = np.triu(np.tril(np.ones(scores.shape, np.bool_), _LONGEST_ANSWER - 1))
    scores = np.where(allowed, scores, -np.inf)
    first, last = np.unravel_index(int(scores.argmax()), scores.shape)
    begins, ends = encoding.offsets[places[first]][0], encoding.offsets[places[last]][1]
    text = passage[begins:ends]
    # A piece may begin with the blank before its word.
    begins += len(text) - len(text.lstrip())
    text = text.strip()
    return Answer(text, float(scores[first, last]), begins, begins + len(text))


def _load(folder: str, name: str, head: str, config: Any) -> Any:
    """The network with its head, float32, in eval mode."""
    import transformers

    auto = getattr(transformers, f"AutoModelFor{head}")
    try:
        with without_logs():
            network, report = auto.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BadInput(
            f"model {name!r} can't be loaded as {auto.__name__}: {reason}; "
            "give a folder that was saved with that head"
        ) from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise BadInput(
            f"model {name!r} was not saved as {auto.__name__}: it lacks {len(missing)} weights, "
            f"{missing[0]!r} among them; give a folder that was trained with that head"
        )
    return network.eval()


def _narrow(network: Any, device: str, dtype: torch.dtype) -> None:
    """Compute what is below the head in ``dtype`` where torch's autocast holds that to be safe."""
    below = network.base_model
    forward = below.forward

    def narrow(*given: Any, **named: Any) -> Any:
        with torch.autocast(device, dtype):
            return forward(*given, **named)

    below.forward = narrow
    for child in network.children():
        if child is not below:
            for module in child.modules():
                if isinstance(module, torch.nn.Linear):
                    module.register_forward_pre_hook(cast_input)


def _logits(output: Any) -> torch.Tensor:
    return torch.as_tensor(output.logits)


def _start_and_end(output: Any) -> torch.Tensor:
    return torch.stack([output.start_logits, output.end_logits], dim=1)
