"""The options of ``albeam bench``, without heavy imports."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from transforms.errors import BadInput, check_at_least, check_choice
from transforms.models.options import DEFAULT_MODEL

CORPORA = ("squad", "skewed")
SHAPES = ("albert-base", "albeam-small")
#: The systems, in the order of a round.
SYSTEMS = (
    *("albeam", "albeam-float32", "albeam-int8", "linear-peak", "albeam-e2e", "albeam-int8-e2e"),
    *("sentence-transformers", "sentence-transformers-best", "beam"),
    *("openvino-bf16", "onnxruntime"),
    *("sentence-transformers-openvino-int8", "sentence-transformers-onnx-int8", "fastembed"),
    "matrix-peak",
)
#: The folder with an environment for each peer that needs other versions of libraries.
PEERS = ".venv-peers"


@dataclass(frozen=True)
class Effort:
    """Options that decide how long a benchmark measures.

    Attributes:
        rounds: the number of rounds; their median is reported.
        seconds: the time of the slowest system in a round, by a first estimate.
        fewest: texts at least, whatever the estimate says.
        most: texts at most.
        limit: seconds of all preparations and rounds. Each corpus gets its share. No round but the
            first starts that would end later.
        embedded: seconds that the encoder works in an end-to-end run.
        batch_sizes: batch sizes that a peer tries on a CPU; on CUDA they are 16 times as large.
        tried: texts of such a trial, 16 times as many on CUDA.
    """

    rounds: int = 5
    seconds: float = 30.0
    fewest: int = 128
    most: int = 4096
    limit: float = 3600.0
    embedded: float = 40.0
    batch_sizes: tuple[int, ...] = (4, 8, 16, 32)
    tried: int = 64

    def __post_init__(self) -> None:
        """Raise BadInput if nothing would be measured."""
        for option, value in (
            ("texts", self.fewest),
            ("texts", self.most),
            ("rounds", self.rounds),
        ):
            check_at_least(option, value, 1)


QUICK = Effort(
    rounds=3,
    seconds=6.0,
    fewest=32,
    most=512,
    limit=420.0,
    embedded=5.0,
    batch_sizes=(4, 16),
    tried=16,
)


@dataclass(frozen=True)
class MemoryOptions:
    """The options of the memory test, which embeds so many rows, and ten times as many.

    Attributes:
        rows: rows of the small corpus.
        model: the model that embeds them.
    """

    rows: int = 1000
    model: str = DEFAULT_MODEL


@dataclass(frozen=True)
class StoreOptions:
    """The options of the test of stores.

    Attributes:
        rows: rows of the corpus that is synchronized.
        parts: parts of the store that is opened.
        model: the model that embeds.
    """

    rows: int = 20_000
    parts: int = 1_000
    model: str = DEFAULT_MODEL


@dataclass(frozen=True)
class SampleOptions:
    """The questions that all systems answer with their own vectors.

    Attributes:
        questions: how many are drawn.
        passages: how many are ranked, those that answer the questions among them; None for all.
    """

    questions: int
    passages: int | None = None

    def __post_init__(self) -> None:
        """Raise BadInput if nothing would be ranked."""
        check_at_least("questions", self.questions, 1)
        check_at_least("passages", self.passages, 1)


@dataclass(frozen=True)
class BenchOptions:
    """The options of ``albeam bench``.

    Attributes:
        effort: how long to measure.
        pairs: shape and corpus of each comparison, in order.
        systems: names of the systems to run; empty for all.
        device: ``auto``, ``cpu`` or ``cuda``.
        data: a folder with ``squad_dev/passages.parquet``; None for generated texts.
        memory: the memory test; None to leave it out.
        store: the test of stores; None to leave it out.
        sample: the questions for the nDCG@10 of each system; None to leave it out. A shape with
            random weights has none.
        peers: a folder with an environment for each peer that needs one.
        folders: model folders by shape, instead of those of `model_folder`.
    """

    effort: Effort = Effort()
    pairs: tuple[tuple[str, str], ...] = tuple((s, c) for s in SHAPES for c in CORPORA)
    systems: tuple[str, ...] = ()
    device: str = "auto"
    data: Path | None = None
    memory: MemoryOptions | None = MemoryOptions()
    store: StoreOptions | None = StoreOptions()
    sample: SampleOptions | None = None
    peers: Path = Path(PEERS)
    folders: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise BadInput for unknown names, or if nothing would be measured."""
        if not self.pairs and self.memory is None and self.store is None:
            raise BadInput(
                "pairs", None, "there is nothing to measure", "Give a shape and a corpus"
            )
        shapes = tuple(dict.fromkeys((*SHAPES, *self.folders)))
        for option, names, known in (
            ("shapes", [shape for shape, _ in self.pairs], shapes),
            ("corpora", [corpus for _, corpus in self.pairs], CORPORA),
            ("systems", self.systems, SYSTEMS),
        ):
            for name in names:
                check_choice(option, name, known)


def quick(options: BenchOptions) -> BenchOptions:
    """Return options that measure less: a first answer within ten minutes on two cores."""
    pairs = tuple(pair for pair in options.pairs if pair != ("albeam-small", "skewed"))
    memory = replace(options.memory, rows=400) if options.memory is not None else None
    return replace(options, effort=QUICK, pairs=pairs, memory=memory, store=None)
