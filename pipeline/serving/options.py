"""Options of ``albeam serve``; nothing heavy is imported here."""

from dataclasses import dataclass, field
from pathlib import Path

from transforms.errors import BadInput, check_above_zero, check_at_least, check_choice
from transforms.models.options import Placement

#: Forms of the log.
LOGS = ("text", "json")
#: Hosts that only this machine can reach.
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Limits:
    """What a request may ask for, and how much the service takes on at once.

    Attributes:
        k: the most documents of a search, those left out by an offset included.
        questions: the most questions of a search.
        question: the most characters of a question.
        inputs: the most texts of an embedding, a prediction or a reranking.
        text: the most characters of such a text.
        body: the most bytes of a request.
        queue: the most requests at once; a further one is refused.
        seconds: how long a request may take.
        batch_tokens: about the most tokens that are embedded together. The light encoder takes no
            more; beyond, a question would wait until torch is imported.
        batch_seconds: how long a question waits for others at most.
    """

    k: int = 1_000
    questions: int = 256
    question: int = 8_192
    inputs: int = 2_048
    text: int = 100_000
    body: int = 8_000_000
    queue: int = 128
    seconds: float = 30.0
    batch_tokens: int = 512
    batch_seconds: float = 0.002

    def __post_init__(self) -> None:
        """Raise BadInput if a limit can't be used."""
        for name in ("k", "questions", "question", "inputs", "text", "body", "queue"):
            check_at_least(f"max_{name}" if name == "k" else name, getattr(self, name), 1)
        check_above_zero("timeout", self.seconds)


@dataclass(frozen=True)
class ServeOptions:
    """Options of the service.

    Attributes:
        stores: the URL of each store by its name; the first one is the default.
        host: the address to listen on.
        port: the port; 0 takes a free one.
        workers: how many processes serve.
        model: the present folder of the stores' model, if it has moved.
        reader: a model that finds answers, or None.
        reranker: a model that reranks hits, or None.
        heads: the folder of each head by its name.
        placement: device and dtype of all models.
        keys: the file of the keys; None serves everyone.
        allowed_hosts: further names by which the service may be asked, such as that of a proxy.
        origins: web sites whose scripts may ask, such as ``https://example.org``.
        follow: how often to look for a new snapshot, in seconds; None never looks.
        log: one of `LOGS`.
        traces: whether to send traces by OpenTelemetry.
        limits: what requests may ask for.
    """

    stores: dict[str, str]
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    model: str | None = None
    reader: str | None = None
    reranker: str | None = None
    heads: dict[str, str] = field(default_factory=dict)
    placement: Placement = Placement()
    keys: Path | None = None
    allowed_hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    follow: float | None = None
    log: str = "text"
    traces: bool = False
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        """Raise BadInput if an option can't be used."""
        if not self.stores:
            raise BadInput("store", None, "is missing", "Give the folder of a store")
        check_choice("log", self.log, LOGS)
        check_at_least("workers", self.workers, 1)
        check_above_zero("follow", self.follow)
        if not 0 <= self.port <= 65_535:
            problem = "is no port, which is a number from 0 to 65535"
            raise BadInput("port", self.port, problem, "Give 8080, for example")
        for origin in self.origins:
            if origin == "*" or not origin.startswith(("http://", "https://")):
                problem = "is no origin of a web site"
                raise BadInput("cors", origin, problem, "Give one such as https://example.org")

    @property
    def hosts(self) -> tuple[str, ...] | None:
        """The names by which the service may be asked; None for any."""
        if self.is_public and not self.allowed_hosts:
            return None
        return (*LOOPBACK, self.host, *self.allowed_hosts)

    @property
    def is_public(self) -> bool:
        """Whether other machines may reach the service."""
        return self.host not in LOOPBACK
