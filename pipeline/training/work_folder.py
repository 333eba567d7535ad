"""The work folder of a training, and the files that both trainings read and cache."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from transforms.errors import BadInput
from transforms.storage.output_files import writing
from transforms.training.checkpoints import CHECKPOINT, check_same_settings
from transforms.training.inputs import read_columns


def prepare_work_folder(work: Path, settings: dict[str, object], resume: bool) -> None:
    """Create the work folder.

    Raises BadInput if a resume has other settings, or if a checkpoint would be overwritten.
    """
    work.mkdir(parents=True, exist_ok=True)
    if resume:
        check_same_settings(work, settings)
    elif (work / CHECKPOINT).exists():
        raise BadInput(
            "work",
            str(work),
            "holds the checkpoint of an earlier training",
            f"Give --resume to continue it, name another folder, or remove {work / CHECKPOINT}",
        )


def read_or_create(path: Path, create: Callable[[], bytes]) -> bytes:
    """Read a file; create it first if it does not exist."""
    if not path.exists():
        content = create()
        with writing(str(path)) as partial:
            Path(partial).write_bytes(content)
    return path.read_bytes()


def read_texts(paths: Sequence[Path], *, keep_lines: bool = False) -> list[str]:
    """Read the column `text` of Parquet files, without empty texts and duplicates.

    Any white space becomes one blank; with ``keep_lines`` line ends stay.
    """
    found: dict[str, None] = {}
    for path in paths:
        column = read_columns(path, "texts", {"text": "text"})["text"].to_pylist()
        for text in column:
            lines = text.splitlines() if keep_lines and text else [text or ""]
            clean = "\n".join(filter(None, (" ".join(line.split()) for line in lines)))
            if clean:
                found[clean] = None
    return list(found)


def fingerprint(path: Path) -> str:
    """Hash a file: the first 16 hex digits of its sha256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def model_fingerprints(folder: Path) -> list[str]:
    """Hash the config and the weights of a model's folder."""
    weights = sorted(folder.glob("*.safetensors"))
    return [fingerprint(path) for path in (folder / "config.json", *weights)]
