"""Options of the store's metadata; nothing heavy is imported here."""

from dataclasses import dataclass

#: The languages of Snowball's stemmers, and ``none`` for no stemming.
LANGUAGES = (
    *("arabic", "danish", "dutch", "english", "finnish", "french", "german", "greek", "hungarian"),
    *("italian", "norwegian", "portuguese", "romanian", "russian", "spanish", "swedish", "tamil"),
    *("turkish", "none"),
)


@dataclass(frozen=True)
class ColumnOptions:
    """The columns of the input that a run reads.

    Attributes:
        id_column: the column of the ids, strings or integers.
        text_column: the column of the texts.
        metadata: ``(new, old)`` name pairs of further columns to keep.
        all_columns: keep every further column under its own name.
    """

    id_column: str = "id"
    text_column: str = "text"
    metadata: tuple[tuple[str, str], ...] = ()
    all_columns: bool = False
