"""Cross-encoders, which read a question and a passage together: rerankers and readers.

Both are transformers folders of any family, such as ALBERT. The network below the head computes in
the chosen dtype. The head computes in float32, so that close scores stay different.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from transforms.encoder.batching import batches_by_length
from transforms.encoder.network import cast_input, without_logs
from transforms.errors import BadInput
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_folder, load_config, usable_positions
from transforms.models.tokenizer import load_fast_tokenizer
from transforms.runtime.devices import best_dtype, check_process, resolve_device
from transforms.runtime.forks import Lock, loading
from transforms.search.results import Hit

Pair = tuple[str, str]

#: The most tokens of a pair, even if a model allows more.
_MOST_TOKENS = 512
_TOKENS_PER_BATCH = {"cpu": 4_096, "cuda": 65_536}
#: The values of the usual SQuAD evaluation.
_STRIDE, _LONGEST_ANSWER = 128, 30


@dataclass(frozen=True)
class Answer:
    """An answer: a span of a passage.

    Attributes:
        text: ``passage[start:end]``.
        score: the sum of the logits of its first and last token. Unlike probabilities within one
            passage, these can be compared between passages.
        start, end: the span in the passage's text, in Unicode code points.
    """

    text: str
    score: float
    start: int
    end: int


class _PairModel:
    """A network with a head over pairs of texts. Threads may share one."""

    #: The option that names the model, and the head that transformers calls ``AutoModelFor…``.
    option: ClassVar[str]
    head: ClassVar[str]

    def __init__(self, name: str, placement: Placement) -> None:
        """Load the model from a folder or the hub.

        Raises:
            BadInput: the model does not exist, has another head or lacks weights, or its tokenizer
                belongs to another model.
        """
        self.name = name
        self.device = resolve_device(placement.device)
        self.dtype = best_dtype(self.device) if placement.dtype == "auto" else placement.dtype
        # transformers' tokenizers change their settings in each call.
        self._tokenizing, self._process = Lock(), os.getpid()
        with _naming(self.option), loading():
            folder, _ = find_folder(ModelOptions(name))
            config = load_config(folder, name)
            self.tokenizer = load_fast_tokenizer(folder, name)
            if self.tokenizer.pad_token_id is None:
                problem = "has no padding token, which batches need"
                raise BadInput("model", name, problem, "Save its tokenizer with one")
            self.limit = min(usable_positions(config), _MOST_TOKENS)
            self.network = _load_network(folder, name, self.head, config)
        if self.dtype != "float32":
            _narrow(self.network, self.device, getattr(torch, self.dtype))
        self.network.to(self.device)

    def frame(self, pairs: Sequence[Pair], **options: Any) -> Any:
        """Tokenize pairs; cut a passage that is too long, or continue it in further rows."""
        with self._tokenizing:
            return self.tokenizer(
                [self._cut(question) for question, _ in pairs],
                [passage for _, passage in pairs],
                truncation="only_second",
                max_length=self.limit,
                **options,
            )

    def forward(self, framed: Any, take: Callable[[Any], torch.Tensor]) -> list[torch.Tensor]:
        """Return ``take(output)`` of each row, float32 on the CPU. Batches have similar lengths."""
        check_process(self.device, self._process)
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
        """Cut a question, so that half of the tokens are left for the passage."""
        framed = self.tokenizer(question, add_special_tokens=False, return_offsets_mapping=True)
        offsets, most = framed["offset_mapping"], self.limit // 2
        return question if len(offsets) <= most else question[: offsets[most - 1][1]]


class Reranker(_PairModel):
    """A sequence classifier that scores passages, with one output or two labels.

    The second of two labels means that the passage answers the question.
    """

    option, head = "reranker", "SequenceClassification"

    def __init__(self, name: str, placement: Placement) -> None:
        """Load the model as `_PairModel` does; raises BadInput if it has more than two labels."""
        super().__init__(name, placement)
        self._labels = int(self.network.config.num_labels)
        if self._labels > 2:
            remedy = "Give a model with one output, or with two labels, the second for relevant"
            raise BadInput(self.option, name, f"has {self._labels} labels", remedy)

    def scores(self, pairs: Sequence[Pair]) -> npt.NDArray[np.float32]:
        """Return how well each passage answers its question, float32 ``[pairs]``.

        A score is the logit, or the second label's logit less the first's.
        """
        if not pairs:
            return np.zeros(0, np.float32)
        # The last bits may depend on the place in a batch, so equal pairs are scored once.
        places = {pair: place for place, pair in enumerate(dict.fromkeys(pairs))}
        logits = torch.stack(self.forward(self.frame(list(places)), _logits)).numpy()
        scores = logits[:, 0] if self._labels == 1 else logits[:, 1] - logits[:, 0]
        if not np.isfinite(scores).all():
            problem = f"gives scores that are not finite in {self.dtype}"
            raise BadInput(self.option, self.name, problem, "Give --dtype float32")
        return np.asarray(scores[[places[pair] for pair in pairs]])


class Reader(_PairModel):
    """An extractive question answering model."""

    option, head = "reader", "QuestionAnswering"

    def spans(self, pairs: Sequence[Pair], no_answer: bool = False) -> list[Answer | None]:
        """Return the best span of each passage, of at most 30 tokens.

        A passage without a token gives None.

        Args:
            pairs: questions and passages. Long passages are read in windows that share 128 tokens.
            no_answer: also return None for a passage in which the first token scores higher in
                every window. Models trained on SQuAD 2 mean by this that there is no answer.

        Raises:
            BadInput: ``no_answer`` is set, and the model's tokenizer has no such first token.
        """
        if no_answer and self.tokenizer.cls_token_id is None:
            problem = "has no first token that can mean that there is no answer"
            raise BadInput(self.option, self.name, problem, "Leave --no-answer out")
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
            if no_answer:
                first = encoding.ids.index(self.tokenizer.cls_token_id)
                nothing[pair] = min(nothing[pair], start[first] + end[first])
            found = _best_span(start, end, encoding, pairs[pair][1])
            known = best[pair]
            if found is not None and (known is None or found.score > known.score):
                best[pair] = found
        if no_answer:
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
    """Return the hits in the order of the model's scores, with these scores."""
    scores = model.scores([(question, hit.text) for hit in hits])
    order = np.argsort(-scores, kind="stable")
    return [
        replace(hits[place], rank=rank, score=float(scores[place]))
        for rank, place in enumerate(order, 1)
    ]


def read_answers(
    hits: Sequence[Hit], question: str, model: Reader, no_answer: bool = False
) -> list[Answer | None]:
    """Return the best span of each hit's passage; see `Reader.spans`."""
    return model.spans([(question, hit.text) for hit in hits], no_answer)


def best_answer(answers: Sequence[Answer | None]) -> int | None:
    """Return the place of the answer with the highest score; None if there is no answer."""
    places = [place for place, answer in enumerate(answers) if answer is not None]
    return max(places, key=lambda place: answers[place].score, default=None)  # type: ignore[union-attr]


def _best_span(
    start: npt.NDArray[np.float64], end: npt.NDArray[np.float64], encoding: Any, passage: str
) -> Answer | None:
    """Return the best span that lies in the passage and is short enough."""
    inside = np.array([number == 1 for number in encoding.sequence_ids], np.bool_)
    places = np.flatnonzero(inside)
    if not len(places):
        return None
    # A window's passage has no gap; only padding may follow.
    scores = start[places][:, None] + end[places][None, :]
    allowed = np.triu(np.tril(np.ones(scores.shape, np.bool_), _LONGEST_ANSWER - 1))
    scores = np.where(allowed, scores, -np.inf)
    first, last = np.unravel_index(int(scores.argmax()), scores.shape)
    begins, ends = encoding.offsets[places[first]][0], encoding.offsets[places[last]][1]
    text = passage[begins:ends]
    # A token may begin with the blank before its word.
    begins += len(text) - len(text.lstrip())
    text = text.strip()
    return Answer(text, float(scores[first, last]), begins, begins + len(text))


@contextmanager
def _naming(option: str) -> Iterator[None]:
    """Make errors about the model name the option that the user gave."""
    try:
        yield
    except BadInput as error:
        if error.option != "model":
            raise
        raise BadInput(option, error.value, error.problem, error.remedy) from error


def _load_network(folder: str, name: str, head: str, config: Any) -> Any:
    """Load a network with its head, float32, in eval mode."""
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
        problem = f"can't be loaded as {auto.__name__}: {reason}"
        remedy = "Give a folder that was saved with that head"
        raise BadInput("model", name, problem, remedy) from error
    missing = sorted(report["missing_keys"])
    if missing:
        problem = (
            f"was not saved as {auto.__name__}: {len(missing)} weights are missing, such as "
            f"{missing[0]!r}"
        )
        raise BadInput("model", name, problem, "Give a folder that was trained with that head")
    return network.eval()


def _narrow(network: Any, device: str, dtype: torch.dtype) -> None:
    """Compute below the head in ``dtype`` wherever torch's autocast regards that as safe."""
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
