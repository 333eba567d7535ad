"""Cross-encoders, which read a question and a passage together; rerankers and readers are some.

Both are transformers folders of any family, such as ALBERT. The network below the head computes in
the chosen dtype. The head computes in float32, so that close scores stay different.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from transforms.encoder.answer_spans import question_room
from transforms.encoder.batching import batches_by_length
from transforms.encoder.network import cast_input, without_logs
from transforms.encoder.out_of_memory import is_out_of_memory, release_memory
from transforms.errors import BadInput
from transforms.models.model_files import refusing
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_folder, load_config, usable_positions
from transforms.models.tokenizer import load_fast_tokenizer
from transforms.runtime.devices import best_dtype, check_process, resolve_device
from transforms.runtime.forks import Lock, loading

Pair = tuple[str, str]

#: The most tokens of a pair, even if a model allows more.
_MOST_TOKENS = 512
_TOKENS_PER_BATCH = {"cpu": 4_096, "cuda": 65_536}
#: A pair that each model reads when it is loaded, and an output of each head.
_PROBE = ("Which river?", "The river by the bridge.")
_OUTPUTS = {"SequenceClassification": ["logits"], "QuestionAnswering": ["start_logits"]}


class PairModel:
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
        with naming(self.option), refusing(name, "can't be loaded"), loading():
            self.folder = folder = find_folder(ModelOptions(name))[0]
            config = load_config(folder, name)
            self.tokenizer = load_fast_tokenizer(folder, name)
            if self.tokenizer.pad_token_id is None:
                problem = "has no padding token, which batches need"
                raise BadInput("model", name, problem, "Save its tokenizer with one")
            most = self.tokenizer.model_max_length
            self.limit = int(min(usable_positions(config), most, _MOST_TOKENS))
            self.network = _load_network(folder, name, self.head, config)
        if self.dtype != "float32":
            _narrow(self.network, self.device, getattr(torch, self.dtype))
        self.network.to(self.device)
        with naming(self.option), refusing(name, "can't read a pair of texts"):
            self.forward(self.frame([_PROBE]), _OUTPUTS[self.head])

    def frame(self, pairs: Sequence[Pair], **options: Any) -> Any:
        """Tokenize pairs; cut a passage that is too long, or continue it in further rows."""
        problem = "has a tokenizer that can't tokenize a text"
        with self._tokenizing, naming(self.option), refusing(self.name, problem):
            return self.tokenizer(
                [self._cut(question) for question, _ in pairs],
                [passage for _, passage in pairs],
                truncation="only_second",
                max_length=self.limit,
                **options,
            )

    def forward(self, framed: Any, outputs: Sequence[str]) -> list[npt.NDArray[np.float32]]:
        """Return the outputs of these names for each row, stacked. Batches have similar lengths."""
        check_process(self.device, self._process)
        ids = framed["input_ids"]
        names = [name for name in self.tokenizer.model_input_names if name in framed]
        found = [np.zeros(0, np.float32)] * len(ids)
        lengths = np.array([len(row) for row in ids], np.int64)
        waiting = batches_by_length(lengths, _TOKENS_PER_BATCH[self.device])[::-1]
        while waiting:
            rows = waiting.pop()
            batch = {name: [framed[name][row] for row in rows] for name in names}
            stacked = self._stacked(batch, outputs, alone=len(rows) == 1)
            if stacked is None:
                release_memory(self.device)
                waiting += [rows[len(rows) // 2 :], rows[: len(rows) // 2]]
                continue
            for row, values in zip(rows, stacked, strict=True):
                found[int(row)] = values
        return found

    def _stacked(
        self, batch: dict[str, Any], outputs: Sequence[str], *, alone: bool
    ) -> npt.NDArray[np.float32] | None:
        """Return the outputs of a batch; None if memory ran out for several rows."""
        padded = self.tokenizer.pad(batch, padding_side="right", return_tensors="pt")
        try:
            with torch.inference_mode():
                given = self.network(**padded.to(self.device))
                stacked = torch.stack([getattr(given, name) for name in outputs], dim=1)
                return stacked.float().cpu().numpy()
        except (MemoryError, RuntimeError) as error:
            if alone or not is_out_of_memory(error):
                raise
            return None

    def _cut(self, question: str) -> str:
        """Cut a question, so that half of the tokens are left for the passage."""
        framed = self.tokenizer(question, add_special_tokens=False, return_offsets_mapping=True)
        offsets, most = framed["offset_mapping"], question_room(self.limit)
        return question if len(offsets) <= most else question[: offsets[most - 1][1]]


@contextmanager
def naming(option: str) -> Iterator[None]:
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
    problem, remedy = f"can't be loaded as {auto.__name__}", "Give a folder saved with that head"
    with refusing(name, problem, remedy), without_logs():
        network, report = auto.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
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
