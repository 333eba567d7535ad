"""Options of the store's metadata; nothing heavy is imported here."""

from dataclasses import asdict, dataclass
from typing import Any

from transforms.catalog.column_lists import written
from transforms.errors import BadInput

#: The languages of Snowball's stemmers, and ``none`` for no stemming.
LANGUAGES = (
    *("arabic", "danish", "dutch", "english", "finnish", "french", "german", "greek", "hungarian"),
    *("italian", "norwegian", "portuguese", "romanian", "russian", "spanish", "swedish", "tamil"),
    *("turkish", "none"),
)
#: The analyzer of new lexical indexes, which turns texts into terms. Indexes of albeam 0.1 have
#: version 1; `transforms.index.lexical.analyzer` has them all.
ANALYZER_VERSION = 2


@dataclass(frozen=True)
class LabelColumn:
    """A metadata column that no input has: a head fills it in.

    Attributes:
        name: the column.
        head: the digest of the head.
        integers: whether labels are whole numbers.
        several: whether a document has a list of labels.
    """

    name: str
    head: str
    integers: bool = False
    several: bool = False


@dataclass(frozen=True)
class ColumnOptions:
    """The columns of the input that a run reads.

    Attributes:
        id_column: the column of the ids, strings or integers.
        text_column: the column of the texts.
        metadata: ``(new, old)`` name pairs of further columns to keep.
        all_columns: keep every further column under its own name.
        excluded: the columns that ``all_columns`` leaves out.
        label: a further metadata column, which a head fills in; None for none.
    """

    id_column: str = "id"
    text_column: str = "text"
    metadata: tuple[tuple[str, str], ...] = ()
    all_columns: bool = False
    excluded: tuple[str, ...] = ()
    label: LabelColumn | None = None

    def __post_init__(self) -> None:
        """Raise BadInput if columns are to be left out where none is taken unasked."""
        if self.excluded and not self.all_columns:
            names = ",".join(map(written, self.excluded))
            remedy = "Give --all-columns with it, or leave it out"
            raise BadInput("exclude_columns", names, "needs --all-columns", remedy)

    def to_dict(self) -> dict[str, Any]:
        """Return the options as JSON has them; what 0.1 did not know is there only if given."""
        value = asdict(self)
        for name in ("excluded", "label"):
            if not value[name]:
                del value[name]
        return value
