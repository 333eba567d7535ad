"""The options of an export; nothing heavy is imported here."""

from dataclasses import dataclass
from pathlib import Path

from transforms.errors import BadInput, check_choice
from transforms.models.options import ModelOptions

FORMATS = ("onnx",)


@dataclass(frozen=True)
class ExportOptions:
    """Options of ``albeam export``.

    Attributes:
        model: the model, and how it makes vectors; a folder with a head ignores the latter.
        output: the folder to write, which must not exist.
        format: one of `FORMATS`.
        int8: whether ONNX Runtime's quantizer makes the weights of products bytes.
        texts: Parquet files with a column ``text``, on which the loss is measured; empty for the
            built-in texts.
    """

    model: ModelOptions
    output: Path
    format: str = "onnx"
    int8: bool = False
    texts: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        """Raise BadInput if the format is unknown, or the folder holds something."""
        check_choice("format", self.format, FORMATS)
        if self.output.exists() and not (self.output.is_dir() and not any(self.output.iterdir())):
            raise BadInput("output", str(self.output), "exists", "Name a new folder")
