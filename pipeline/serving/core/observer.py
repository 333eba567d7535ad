"""What the service tells of its work; `Observer` itself keeps nothing."""


class Observer:
    """Receives what happens; a subclass counts it."""

    def stage(self, stage: str, seconds: float) -> None:
        """Take the duration of a stage of one request, waiting included."""

    def batch(self, stage: str, items: int) -> None:
        """Take the number of items that went through a stage together."""

    def condition(self, kept: bool) -> None:
        """Take a condition of a search: whether the rows that meet it were known already."""
