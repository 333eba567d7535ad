"""The work folder of a training: settings that a resumed run must share."""

from collections.abc import Callable, Sequence
from pathlib import Path

from transforms.errors import BadInput
from transforms.storage.output_files import writing
from transforms.training.inputs import read_columns


def begin_work(work: Path, settings: dict[str, object], resume: bool) -> None:
    """Make the work folder.

    Raises BadInput where a resume cannot be, or a checkpoint would be lost.
    """
    from transforms.training.trainer import CHECKPOINT, same_settings

    work.mkdir(parents=True, exist_ok=True)
    if resume:
        same_settings(work, settings)
    elif (work / CHECKPOINT).exists():
        raise BadInput(
            f"{work / CHECKPOINT} is of an earlier training: give --resume to go on with it, "
            "another --work, or remove it"
        )


def remembered(path: Path, make: Callable[[], bytes]) -> bytes:
    """Read a file, or make its content and keep it there."""
    if not path.exists():
        content = make()
        with writing(str(path)) as partial:
            Path(partial).write_bytes(content)
    return path.read_bytes()


def read_texts(paths: Sequence[Path]) -> list[str]:
    """Read the column `text` of Parquet files, empty texts and doubled ones left out."""
    found: dict[str, None] = {}
    for path in paths:
        column = read_columns(path, "texts", {"text": "text"})["text"].to_pylist()
        found.update((" ".join(text.split()), None) for text in column if text and text.strip())
    return list(found)
