"""Models that read a question and a passage together; rerankers and readers are some.

A few pairs are read in numpy, in the time that the import of torch would take. More are worth that
import, and are read by torch if it is installed; see `transforms.search.question_encoder`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from transforms.encoder.light.functions import Floats
from transforms.encoder.light.pairs import Framed, LightPairs, load_light_pairs
from transforms.errors import BadInput
from transforms.models.model_files import read_object, refusing
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_folder
from transforms.runtime.extras import check_installed, is_installed
from transforms.runtime.forks import Lock, loading
from transforms.runtime.once import Once
from transforms.search.question_encoder import MOST_WORK

if TYPE_CHECKING:
    from transforms.search.cross_encoders import TorchPairs

Pair = tuple[str, str]

#: A pair that each model reads when it is loaded.
_PROBE = ("Which river?", "The river by the bridge.")
#: What `albeam finetune` writes beside a network with a head, and the networks that it makes.
HEAD = "head.json"
_TASKS = {
    "classify": "a classifier, which reads one text at a time",
    "tag": "a tagger, which finds entities in one text at a time",
    "read": "a reader, which finds answers",
    "rerank": "a reranker, which orders passages",
}
#: The letters of a token, about.
_LETTERS_PER_TOKEN = 4


class PairModel:
    """A network with a head over pairs of texts. Threads may share one.

    Attributes:
        name: what the user calls the model.
        folder: its folder.
    """

    #: The option that names the model, the head that transformers calls ``AutoModelFor…``, and the
    #: task of `albeam finetune` that trains such models.
    option: ClassVar[str]
    head: ClassVar[str]
    task: ClassVar[str]

    def __init__(self, name: str, placement: Placement) -> None:
        """Load the model from a folder or the hub.

        Raises:
            BadInput: the model does not exist, has another head or lacks weights, albeam trained it
                for another task, its tokenizer belongs to another model, or it needs torch, which
                is not installed.
        """
        self.name, self._placement = name, placement
        self._light: LightPairs | None = None
        self._torch, self._loaded = Once(self._load_torch), False
        self._work, self._lock = 0.0, Lock()
        with naming(self.option):
            with refusing(name, "can't be loaded"), loading():
                self.folder = find_folder(ModelOptions(name))[0]
                _check_task(self.folder, name, self.task)
                if placement.device != "cuda" and placement.dtype in ("auto", "float32"):
                    self._light = load_light_pairs(self.folder, name, self.head)
            loaded = self._light or self.full()
            with refusing(name, "can't read a pair of texts"):
                loaded.forward(loaded.frame([_PROBE]))

    @property
    def dtype(self) -> str:
        """The dtype of the network below its head."""
        return self._torch().dtype if self._loaded or self._light is None else self._light.dtype

    @property
    def model(self) -> LightPairs | TorchPairs:
        """What is loaded at first: the network in numpy, or in torch where numpy can't read it."""
        return self._light or self.full()

    def full(self) -> TorchPairs:
        """Return the network in torch, loaded when first used; raises BadInput."""
        found = self._torch()
        self._loaded = True
        return found

    def read(
        self, pairs: Sequence[Pair], overlap: int | None = None
    ) -> tuple[Framed, list[Floats]]:
        """Return the rows of pairs, and the logits of each row.

        Args:
            pairs: questions and passages.
            overlap: the tokens that two rows of a long passage share; None cuts such a passage.
        """
        model = self._chosen(pairs)
        with naming(self.option):
            with refusing(self.name, "has a tokenizer that can't tokenize a text"):
                framed = model.frame(pairs, overlap)
            return framed, model.forward(framed)

    def _chosen(self, pairs: Sequence[Pair]) -> LightPairs | TorchPairs:
        """Return the network in numpy until its work would have been worth the import of torch."""
        light = self._light
        if light is None:
            return self.full()
        most = light.limit
        tokens = sum(
            min(most, (len(first) + len(second)) // _LETTERS_PER_TOKEN) for first, second in pairs
        )
        with self._lock:
            self._work += tokens * light.work_per_token
            worth = self._loaded or self._work > MOST_WORK
        if worth and is_installed("torch") and is_installed("transformers"):
            return self.full()
        return light

    def _load_torch(self) -> TorchPairs:
        for library in ("torch", "transformers"):
            check_installed(library, self.option, self.name)
        with loading():
            from transforms.search.cross_encoders import TorchPairs
        return TorchPairs(self.name, self.folder, self.head, self._placement)


def _check_task(folder: str, name: str, task: str) -> None:
    """Raise BadInput if albeam trained the network of a folder for another task."""
    other = str(read_object(folder, HEAD, name).get("task", task))
    if other != task:
        problem = f"is {_TASKS.get(other, f'a network for the task {other[:40]!r}')}"
        remedy = f"Name a model that albeam finetune {task} wrote, or one of that kind"
        raise BadInput("model", name, problem, remedy)


@contextmanager
def naming(option: str) -> Iterator[None]:
    """Make errors about the model name the option that the user gave."""
    try:
        yield
    except BadInput as error:
        if error.option != "model":
            raise
        raise BadInput(option, error.value, error.problem, error.remedy) from error
