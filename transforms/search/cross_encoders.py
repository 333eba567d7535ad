"""Cross-encoders in torch, which read a question and a passage together; see `pair_model`.

They are transformers folders of any family, such as ALBERT. The network below the head computes in
the chosen dtype. The head computes in float32, so that close scores stay different.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from transforms.encoder.answer_spans import MOST_TOKENS, question_room
from transforms.encoder.batching import batches_by_length
from transforms.encoder.light.pairs import Framed
from transforms.encoder.network import cast_input, without_logs
from transforms.encoder.out_of_memory import is_out_of_memory, release_memory
from transforms.errors import BadInput
from transforms.models.model_files import refusing
from transforms.models.options import Placement
from transforms.models.resolve import load_config, usable_positions
from transforms.models.tokenizer import load_fast_tokenizer
from transforms.runtime.devices import best_dtype, check_process, resolve_device
from transforms.runtime.forks import Lock, loading

_TOKENS_PER_BATCH = {"cpu": 4_096, "cuda": 65_536}
#: The outputs of each head.
_OUTPUTS = {
    "SequenceClassification": ["logits"],
    "QuestionAnswering": ["start_logits", "end_logits"],
}


class TorchPairs:
    """A network with a head over pairs of texts. Threads may share one.

    Attributes:
        limit: the most tokens of a row.
        cls: the id of the first token; None if the tokenizer has none.
        special: how many tokens frame a pair.
        labels: how many logits the head gives.
    """

    def __init__(self, name: str, folder: str, head: str, placement: Placement) -> None:
        """Load the model of a folder.

        Args:
            name: the user's name of the model, for errors.
            folder: its folder.
            head: the end of transformers' ``AutoModelFor…``.
            placement: device and dtype.

        Raises:
            BadInput: the model has another head or lacks weights, or its tokenizer belongs to
                another model.
        """
        self.name, self._outputs = name, _OUTPUTS[head]
        self.device = resolve_device(placement.device)
        self.dtype = best_dtype(self.device) if placement.dtype == "auto" else placement.dtype
        # transformers' tokenizers change their settings in each call.
        self._tokenizing, self._process = Lock(), os.getpid()
        with refusing(name, "can't be loaded"), loading():
            config = load_config(folder, name)
            self.tokenizer = load_fast_tokenizer(folder, name)
            if self.tokenizer.pad_token_id is None:
                problem = "has no padding token, which batches need"
                raise BadInput("model", name, problem, "Save its tokenizer with one")
            most = self.tokenizer.model_max_length
            self.limit = int(min(usable_positions(config), most, MOST_TOKENS))
            self.network = _load_network(folder, name, head, config)
        if self.dtype != "float32":
            _narrow(self.network, self.device, getattr(torch, self.dtype))
        self.network.to(self.device)
        self.cls: int | None = self.tokenizer.cls_token_id
        self.special = int(self.tokenizer.num_special_tokens_to_add(pair=True))
        self.labels = int(self.network.config.num_labels)

    def frame(self, pairs: Sequence[tuple[str, str]], overlap: int | None = None) -> Framed:
        """Tokenize pairs; see `transforms.encoder.light.pairs.LightPairs.frame`."""
        windows = {"stride": overlap, "return_overflowing_tokens": True}
        with self._tokenizing:
            framed = self.tokenizer(
                [self._cut(question) for question, _ in pairs],
                [passage for _, passage in pairs],
                truncation="only_second",
                max_length=self.limit,
                **({} if overlap is None else windows),
            )
        owners = framed.get("overflow_to_sample_mapping", range(len(pairs)))
        return Framed(list(framed.encodings), [int(each) for each in owners])

    def forward(self, framed: Framed) -> list[npt.NDArray[np.float32]]:
        """Return the head's logits of each row, float32: ``[2, tokens]`` or ``[1, labels]``.

        Rows of a batch have similar lengths; further tokens are padding.
        """
        check_process(self.device, self._process)
        rows = [_inputs(each) for each in framed.encodings]
        names = [name for name in self.tokenizer.model_input_names if name in _NAMES]
        found = [np.zeros(0, np.float32)] * len(rows)
        lengths = np.array([len(row["input_ids"]) for row in rows], np.int64)
        waiting = batches_by_length(lengths, _TOKENS_PER_BATCH[self.device])[::-1]
        while waiting:
            some = waiting.pop()
            batch = {name: [rows[row][name] for row in some] for name in names}
            stacked = self._stacked(batch, alone=len(some) == 1)
            if stacked is None:
                release_memory(self.device)
                waiting += [some[len(some) // 2 :], some[: len(some) // 2]]
                continue
            for row, values in zip(some, stacked, strict=True):
                found[int(row)] = values
        return found

    def _stacked(self, batch: dict[str, Any], *, alone: bool) -> npt.NDArray[np.float32] | None:
        """Return the outputs of a batch; None if memory ran out for several rows."""
        padded = self.tokenizer.pad(batch, padding_side="right", return_tensors="pt")
        try:
            with torch.inference_mode():
                given = self.network(**padded.to(self.device))
                stacked = torch.stack([getattr(given, name) for name in self._outputs], dim=1)
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


_NAMES = ("input_ids", "token_type_ids", "attention_mask")


def _inputs(encoding: Any) -> dict[str, list[int]]:
    """Return what a network may be given of a row, by transformers' names."""
    values = encoding.ids, encoding.type_ids, encoding.attention_mask
    return dict(zip(_NAMES, values, strict=True))


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
